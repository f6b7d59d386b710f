"""What can go wrong with a git repository, as sentences: who, why, what to do next.

Owns the adapter's errors and the translation of what git prints. Must not know how git is run.
Invariant: no credential gets into a message, and nothing from a server but one short printable line.
"""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

import git

from deployer.adapters.git._limits import FILE_GIB, MEMORY_MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_LIMIT = 300
"""Characters of git's own words in a message: enough for any line of git, too few to flood a log."""

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")

_UNTRUSTED = "its TLS certificate is not trusted: check the URL and ca_file"
_NOT_ITS_NAME = "its TLS certificate is for another host: check the host in the URL"
_NO_TLS = "what answers there does not speak TLS as git does: check the URL and the server"
_NOBODY = "nothing answers there: check that the server runs, and the host and port in the URL"
_REFUSED = "the server refused the credentials: check token_file and username, or github_app"
_ASKS = "the server asks for credentials: set token_file or github_app"
_SILENT = "the server does not answer: check the network and the URL"
_UNKNOWN_HOST = "its host name is not known: check the URL and the name server"
_FULL = "no space is left on the disk of the state directory: free some"
_NO_GIT_THERE = "what answers there is not a git server: check the URL"
_BROKE_OFF = "the connection broke off: the next look tries again"
_HOST_KEY_CHANGED = (
    "the ssh server shows another host key than the known one: ask its owner before you change known_hosts"
)
_HOST_KEY_UNKNOWN = (
    "the ssh server's host key is not known: check it with its owner, then add it to known_hosts"
)
_KEY_UNUSABLE = (
    "ssh cannot use ssh_key_file: it must be a private key without a passphrase that nobody else can read"
)

_BIG_FILE = f"git may not write a file as big as that ({FILE_GIB} GiB, or less): keep big files out of it"

_REFUSALS = ("Authentication failed", "returned error: 401", "could not read Username")
"""What git says when it was not let in, or had nothing to be let in with."""

_CAUSES = (
    ("/askpass': Permission denied", "git may not run its helper: mount the state directory without noexec"),
    ("Authentication failed", _REFUSED),
    ("could not read Username", _ASKS),
    ("could not read Password", _ASKS),
    ("returned error: 401", _REFUSED),
    ("returned error: 403", "the credentials may not read this repository: ask for read access"),
    # ssh goes on without a key that it cannot use, and is then refused: these come first.
    ("UNPROTECTED PRIVATE KEY FILE", _KEY_UNUSABLE),
    ("Load key", _KEY_UNUSABLE),
    (
        "Permission denied (",
        "the ssh server refused the key: check the key (no passphrase), and that it may read this repository",
    ),
    (
        "Too many authentication failures",
        "the ssh server refused every key: set ssh_key_file",
    ),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", _HOST_KEY_CHANGED),
    ("Host key verification failed", _HOST_KEY_UNKNOWN),
    ("No user exists for uid", "ssh needs a user of this process's number in /etc/passwd: add one"),
    (
        "dubious ownership",
        "it belongs to another user: give it to the user that runs deployer, or use ssh or https",
    ),
    ("does not match target host name", _NOT_ITS_NAME),
    ("no alternative certificate subject name", _NOT_ITS_NAME),
    ("SSL certificate problem", _UNTRUSTED),
    ("certificate verification failed", _UNTRUSTED),
    ("non-properly terminated", _BROKE_OFF),
    ("gnutls_handshake() failed", _NO_TLS),
    ("SSL routines", _NO_TLS),
    ("from proxy after CONNECT", "the proxy in https_proxy does not let git through: check it"),
    ("Could not resolve proxy", "the host name in https_proxy is not known: check it"),
    ("Could not resolve host", _UNKNOWN_HOST),
    ("unable to look up", _UNKNOWN_HOST),
    ("Connection refused", _NOBODY),
    ("Failed to connect", _NOBODY),
    ("No route to host", _NOBODY),
    ("returned error: 30", "the server redirects elsewhere: write the final URL into the settings"),
    ("Operation too slow", "the server stopped sending: check the network; the next look tries again"),
    ("Connection timed out", _SILENT),
    ("Operation timed out", _SILENT),
    ("not our ref", "the branch points at something that is not there: run `git fsck` in the repository"),
    ("pack-objects died", "an object of it is missing or damaged: run `git fsck` in the repository"),
    ("fsck error", "git finds a damaged or hostile object in it: run `git fsck` in the repository"),
    ("No space left on device", _FULL),
    ("Disk quota exceeded", _FULL),
    (
        f"died of signal {signal.SIGXFSZ.value}",
        _BIG_FILE,
    ),
    (
        "File too large",
        _BIG_FILE,
    ),
    (
        f"died of signal {signal.SIGXCPU.value}",
        "git was busy with it for longer than it may: keep big and many files out of it",
    ),
    (
        "Out of memory",
        f"git would need more than the {MEMORY_MIB} MiB of memory that it may have: keep big files out of it",
    ),
    (
        "not found",
        "there is no such repository, or the credentials may not see it: check the URL and token_file",
    ),
    ("does not appear to be a git repository", "there is no git repository: check the URL"),
    (
        "repository not exported",
        "the git daemon does not export it: check the URL, and git-daemon-export-ok",
    ),
    ("HTTP/0.9", _NO_GIT_THERE),
    ("Unsupported protocol", _NO_GIT_THERE),
    ("bad line length", _NO_GIT_THERE),
    ("bad band", _NO_GIT_THERE),
    ("not valid: is this a git repository", _NO_GIT_THERE),
    ("unexpected disconnect", _BROKE_OFF),
    ("early EOF", _BROKE_OFF),
    ("hung up", _BROKE_OFF),
    ("Empty reply from server", _BROKE_OFF),
    ("Connection reset", _BROKE_OFF),
    ("transfer closed with", _BROKE_OFF),
    ("recv error", _BROKE_OFF),
    ("expected flush after", _BROKE_OFF),
    ("banner exchange", "what answers there is not an ssh server: check the URL"),
    ("kex_exchange_identification", _BROKE_OFF),
    ("ssh_dispatch_run_fatal", _BROKE_OFF),
    ("Connection closed by", _BROKE_OFF),
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


class TooMuch(Exception):  # noqa: N818 - says what happened
    """A git child printed without end and was killed."""

    def __init__(self, limit: int) -> None:
        """Take the limit in bytes that was passed."""
        self.limit = limit
        super().__init__(f"it printed more than {limit // 1024**2} MiB")


class NoGitServer(Exception):  # noqa: N818 - says what happened
    """The answer was as empty as that of a repository without branches, but not from a git server."""


class MirrorBroken(Exception):  # noqa: N818 - named by what follows: fetch it all again
    """What is on disk is not what git wrote there. Never leaves the mirror: it is a cache."""


@contextmanager
def translated(url: str, path: Path) -> Iterator[None]:
    """Turn what git, GitPython and the disk raise into `GitUnavailable`: the mirror of `url` is at `path`."""
    try:
        yield
    except Failed as error:
        message = f"cannot read {url}: {cause(url, error.printed)}"
        raise GitUnavailable(message) from error
    except TimedOut as error:
        message = f"cannot read {url}: no answer within {error.seconds:g} s: check the server and the network"
        raise GitUnavailable(message) from error
    except TooMuch as error:
        sent = f"it sends more than the {error.limit // 1024**2} MiB that are read of an answer"
        message = f"cannot read {url}: {sent}: check that it is the right server"
        raise GitUnavailable(message) from error
    except NoGitServer as error:
        message = f"cannot read {url}: {_NO_GIT_THERE}; the answer is empty"
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


def is_refusal(printed: str) -> bool:
    """Whether what git printed says that it was not let in."""
    return any(sign in printed for sign in _REFUSALS)


def cause(url: str, printed: str, more: Iterable[tuple[str, str]] = ()) -> str:
    """Why, and what to do, in half a sentence, for what git printed on stderr when it failed.

    `more` are signs and what they mean, which are looked for first.
    """
    # Without the URL, which may be named like an error.
    lines = [line.strip() for line in printed.replace(url, "").splitlines() if line.strip()]
    for sign, meaning in (*more, *_CAUSES):
        if any(sign in line for line in lines):
            return meaning
    # ssh says what is wrong, and then git says this, which is always true, and gives advice.
    told = list(takewhile(lambda line: "Could not read from remote repository" not in line, lines)) or lines
    # Of git's own lines the first is the cause.
    words = next(
        (line for line in told if line.startswith(("fatal:", "error:"))), told[0] if told else "nothing"
    )
    return f"git says: {harmless(words)}"


def harmless(text: str) -> str:
    """One short printable line without userinfo: what a server or git itself printed is not ours."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return _USERINFO.sub("", " ".join(printable.split()))[:_LIMIT]
