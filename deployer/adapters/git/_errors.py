"""What can go wrong with a git repository, as sentences: who, why, what to do next.

Owns the adapter's errors and the translation of what git prints. Must not know how git is run.
Invariant: no credential gets into a message, and nothing from a server but one short printable line.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

import git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIMIT = 300
"""Characters of git's own words in a message: enough for any line of git, too few to flood a log."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")

_UNTRUSTED = "its TLS certificate is not trusted: check the URL and ca_file"
_NOBODY = "nothing answers there: check that the server runs, and the host and port in the URL"

_CAUSES = (
    ("/askpass': Permission denied", "git may not run its helper: mount the state directory without noexec"),
    ("Authentication failed", "the server refused the credentials: check token_file and username"),
    ("could not read Username", "the server asks for credentials: set token_file"),
    ("could not read Password", "the server asks for credentials: set token_file"),
    ("returned error: 401", "the server refused the credentials: check token_file and username"),
    ("returned error: 403", "the credentials may not read this repository: ask for read access"),
    (
        "Permission denied (",
        "the ssh server refused the key: check the key and that it may read this repository",
    ),
    (
        "Host key verification failed",
        "the ssh server's host key is not known: check it with its owner, then add it to known_hosts",
    ),
    (
        "dubious ownership",
        "it belongs to another user: give it to the user that runs deployer, or use ssh or https",
    ),
    ("SSL certificate problem", _UNTRUSTED),
    ("certificate verification failed", _UNTRUSTED),
    ("Could not resolve host", "its host name is not known: check the URL and the name server"),
    ("Connection refused", _NOBODY),
    ("Failed to connect", _NOBODY),
    ("returned error: 30", "the server redirects elsewhere: write the final URL into the settings"),
    ("Operation too slow", "the server stopped sending: check the network; the next look tries again"),
    ("Connection timed out", "the server does not answer: check the network and the URL"),
    ("fsck error", "git finds a damaged or hostile object in it: run `git fsck` in the repository"),
    ("No space left on device", "no space is left on the disk of the state directory: free some"),
    (
        "not found",
        "there is no such repository, or the credentials may not see it: check the URL and token_file",
    ),
    ("does not appear to be a git repository", "there is no git repository: check the URL"),
)
"""What git says (LC_ALL=C, 2.39), and what it means. The first that fits wins; they are seen in tests where
they can be made without a network."""


class GitUnavailable(Exception):  # noqa: N818 - named by what follows: keep what is known, look again later
    """The repository cannot be read now. What was published stays; a later look may succeed.

    `why` is one sentence with the repository, the cause and the next step.
    """

    def __init__(self, why: str) -> None:
        """Take the sentence. It must not hold credentials."""
        self.why = why
        super().__init__(why)


class Interrupted(GitUnavailable):
    """The mirror was told to stop from another thread."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("git was stopped: the daemon is shutting down")


class Failed(Exception):  # noqa: N818 - says what happened
    """A git child ended with an error. `printed` is its stderr, unscrubbed: it stays inside the adapter."""

    def __init__(self, printed: str) -> None:
        """Take what git printed."""
        self.printed = printed
        super().__init__(harmless(printed))


class TimedOut(Exception):  # noqa: N818 - says what happened
    """A git child did not end in time and was killed."""

    def __init__(self, seconds: float) -> None:
        """Take the limit that passed."""
        self.seconds = seconds
        super().__init__(f"no end within {seconds:g} s")


class MirrorBroken(Exception):  # noqa: N818 - named by what follows: fetch it all again
    """What is on disk is not what git wrote there. Never leaves the mirror: it is a cache."""


@contextmanager
def translated(url: str, path: Path) -> Iterator[None]:
    """Turn what git, GitPython and the disk raise into `GitUnavailable`: the mirror of `url` is at `path`."""
    try:
        yield
    except Failed as error:
        raise GitUnavailable(_explain(url, error.printed)) from error
    except TimedOut as error:
        message = f"cannot read {url}: no answer within {error.seconds:g} s: check the server and the network"
        raise GitUnavailable(message) from error
    except git.GitCommandNotFound as error:
        message = "cannot read any repository: the git command is not installed or not in PATH: install git"
        raise GitUnavailable(message) from error
    except git.GitError as error:
        # The directory was just made, so it is not to blame; GitPython reads these two itself.
        names = "GIT_COMMON_DIR and GIT_OBJECT_DIRECTORY"
        message = f"cannot open the mirror of {url}: unset {names} in deployer's environment"
        raise GitUnavailable(message) from error
    except OSError as error:
        where = f"the mirror {path} of {url}"
        message = f"cannot use {where}: {error.strerror}: check the disk of the state directory"
        raise GitUnavailable(message) from error


def _explain(url: str, printed: str) -> str:
    """One sentence for what git printed on stderr when it failed."""
    # Without the URL, which may be named like an error.
    lines = [line.strip() for line in printed.replace(url, "").splitlines() if line.strip()]
    for sign, cause in _CAUSES:
        if any(sign in line for line in lines):
            return f"cannot read {url}: {cause}"
    # ssh says what is wrong, and then git says this, which is always true, and gives advice.
    told = list(takewhile(lambda line: "Could not read from remote repository" not in line, lines)) or lines
    # Of git's own lines the first is the cause.
    words = next(
        (line for line in told if line.startswith(("fatal:", "error:"))), told[0] if told else "nothing"
    )
    return f"cannot read {url}: git says: {harmless(words)}"


def harmless(text: str) -> str:
    """One short printable line without userinfo: what a server or git itself printed is not ours."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return _USERINFO.sub("", " ".join(printable.split()))[:_LIMIT]
