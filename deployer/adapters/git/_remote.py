"""Where a repository is, and the environment a git child gets in order to reach it and nothing else.

Owns the reading of URLs and the child's environment, with the reason beside each setting. Must not run
anything. Invariant: a credential is never in a URL, an argument or an environment value; the child learns
the token's file name and reads the file itself.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deployer.adapters.git._errors import GitUnavailable

_SCP_LIKE = re.compile(r"(?:[^/:@\s]+@)?[^/:@\s]+:(?!:)\S*")
"""`git@host:path`, ssh's short form. Two colons would be a remote helper (`ext::`), which runs commands."""

_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|[/.]$")
"""What `git check-ref-format` refuses, so that a name in the settings cannot become a wildcard refspec."""

ASKPASS = """\
#!/bin/sh
# git asks for a user name and a password: answer for the one server the token is meant for, and only for
# it (a proxy may ask as well). `read` and `printf` are built in, so the token is in no argument list.
case "$1" in
"Username for '$DEPLOYER_GIT_ORIGIN'"*) printf '%s\\n' "$DEPLOYER_GIT_USERNAME" ;;
"Password for '$DEPLOYER_GIT_SCHEME://"*"@$DEPLOYER_GIT_HOST'"*)
    IFS= read -r token <"$DEPLOYER_GIT_TOKEN_FILE"
    printf '%s\\n' "$token"
    ;;
*) exit 1 ;;
esac
"""

_CONFIG = {
    # Check what a server sends before it is believed; nothing in the mirror is ever run.
    "transfer.fsckObjects": "true",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "safe.bareRepository": "explicit",
    # Version 2 names the refs it wants, so a repository with 20,000 of them sends a few lines.
    "protocol.version": "2",
    "credential.helper": "",
    # A redirect would carry headers to another host (measured: a token header follows even when scoped).
    "http.followRedirects": "false",
    # Under 1 kB/s for 30 s is not slow, it is dead. The total has its own limit.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    # Housekeeping is done by `Mirror.tidy`, never in the middle of a look.
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.writeCommitGraph": "false",
}

_SSH = (
    # BatchMode: never ask a person. The user's own configuration, agent and known_hosts are used.
    "ssh -oBatchMode=yes -oConnectTimeout=10 -oServerAliveInterval=10 -oServerAliveCountMax=3"
    " -oPermitLocalCommand=no"
)


def check_ref(ref: str) -> str:
    """Return `ref` if it is a full branch name such as `refs/heads/env/staging`; ValueError if not."""
    if not ref.startswith("refs/heads/") or ref == "refs/heads/" or _BAD_IN_REF.search(ref):
        message = f"{ref!r} is not a full branch name: write it as refs/heads/<branch>"
        raise ValueError(message)
    return ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One repository's address and how to be let in. ValueError if the URL is not one we can use safely."""

    url: str
    token_file: Path | None
    username: str
    ca_file: Path | None

    def __post_init__(self) -> None:
        """Refuse what would leak a credential or run a command. No message shows the URL's userinfo."""
        url = self.url
        if "://" in url and urlsplit(url).password is not None:
            message = "the repository's URL holds a password: put it into a file and name that as token_file"
            raise ValueError(message)
        if self.protocol in {"http", "https"} and "@" in urlsplit(url).netloc:
            message = "the repository's URL holds a user name or a token: use username and token_file"
            raise ValueError(message)
        if self.token_file is not None and self.protocol not in {"http", "https"}:
            message = f"token_file has no use with {url}: tokens are for https"
            raise ValueError(message)

    @property
    def protocol(self) -> str:
        """`https`, `ssh`, `http` or `file`: the only one that the child may speak."""
        scheme, separator, _ = self.url.partition("://")
        if separator and scheme in {"https", "ssh", "http", "file"}:
            return scheme
        if self.url.startswith("/"):
            return "file"
        if not separator and _SCP_LIKE.fullmatch(self.url):
            return "ssh"
        message = (
            "a repository's URL starts with https://, ssh://, http:// or file://, or is an absolute path"
        )
        raise ValueError(message)

    def check_token(self) -> None:
        """Say that a token file cannot be read before a server says that nobody logged in."""
        if self.token_file is None:
            return
        try:
            with self.token_file.open("rb") as file:
                file.read(1)
        except OSError as error:
            message = (
                f"cannot read {self.url}: cannot read its token_file {self.token_file}: {error.strerror}"
            )
            raise GitUnavailable(message) from error

    def environment(self, git_dir: Path) -> dict[str, str]:
        """What a git child that works in `git_dir` gets, over what this process inherited.

        `git_dir` must hold what `lay_out` puts there.
        """
        nothing = str(git_dir / "nothing")
        variables = {
            "GIT_DIR": str(git_dir),
            # Only the configuration below counts: the machine's own may hold helpers and rewritten URLs.
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": self.protocol,
            "GIT_TERMINAL_PROMPT": "0",
            # Empty, not unset: unset falls back to SSH_ASKPASS, which opens a window on a desktop.
            "GIT_ASKPASS": "",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_SSH_COMMAND": _SSH,
            "LC_ALL": "C",
        }
        config = dict(_CONFIG)
        if self.protocol != "ssh":
            # curl reads ~/.netrc, and a line there replaces the token. ssh may need its user's home.
            variables["HOME"] = nothing
        if self.ca_file is not None:
            config["http.sslCAInfo"] = str(self.ca_file)
            # Or the system's authorities count as well, and gnutls parses them all (69 -> 29 ms a call).
            variables["GIT_SSL_CAPATH"] = nothing
        if self.token_file is not None:
            parts = urlsplit(self.url)
            variables |= {
                "GIT_ASKPASS": str(git_dir / "askpass"),
                "DEPLOYER_GIT_ORIGIN": f"{parts.scheme}://{parts.netloc}",
                "DEPLOYER_GIT_SCHEME": parts.scheme,
                "DEPLOYER_GIT_HOST": parts.netloc,
                "DEPLOYER_GIT_USERNAME": self.username,
                "DEPLOYER_GIT_TOKEN_FILE": str(self.token_file),
            }
        variables["GIT_CONFIG_COUNT"] = str(len(config))
        for number, (key, value) in enumerate(config.items()):
            variables[f"GIT_CONFIG_KEY_{number}"] = key
            variables[f"GIT_CONFIG_VALUE_{number}"] = value
        return variables

    def lay_out(self, git_dir: Path) -> None:
        """Put into `git_dir` what the environment points at: an empty folder and the answering script."""
        (git_dir / "nothing").mkdir(exist_ok=True)
        askpass = git_dir / "askpass"
        askpass.write_text(ASKPASS, encoding="ascii")
        askpass.chmod(0o700)
