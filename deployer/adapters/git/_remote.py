"""Where a repository is, and how to be let in there.

Owns the reading of URLs, the files that let us in, and the answering script. Must not run git. Invariant: a
credential is never in a URL, an argument or an environment value; the child learns the name of a file and
reads it itself.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.adapters.git._environment import configured, environment, is_plain, ssh_command
from deployer.adapters.git._errors import GitUnavailable, is_refusal
from deployer.adapters.git._github_app import READ_CONTENT, WRITE_CONTENT, InstallationToken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.git._commands import Children

_SCP_LIKE = re.compile(r"(?!-)(?:[^/:@\s]+@)?(?!-)[^/:@\s]+:(?!:)\S*")
"""`git@host:path`, ssh's short form. Two colons would be a remote helper (`ext::`), which runs commands; what
begins with `-` ssh would take for an option."""

_SCHEMES = frozenset({"https", "ssh", "http", "git", "file"})

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

_APP_TOKEN = "app-token"  # noqa: S105 - the name of the file in the mirror's directory that holds an App's token

_APP_USERNAME = "x-access-token"
"""What GitHub wants as the user name beside an App's token."""


def check_ref(ref: str) -> str:
    """Return `ref` if it is a full branch name such as `refs/heads/env/staging`; ValueError if not.

    A branch may begin with `-` for git, but every tool that is given its short name takes it for an option.
    """
    is_full = ref.startswith("refs/heads/") and not ref.startswith(("refs/heads/-", "refs/heads/."))
    if not is_full or ref == "refs/heads/" or _BAD_IN_REF.search(ref):
        message = f"{ref!r} is not a full branch name: write it as refs/heads/<branch>"
        raise ValueError(message)
    return ref


@dataclass(frozen=True, slots=True, kw_only=True)
class GithubApp:
    """An installed GitHub App, whose private key is exchanged for tokens that live for an hour."""

    app_id: str
    installation_id: str
    private_key_file: Path
    api_url: str = "https://api.github.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to be let into a repository. Every secret by the name of the file that holds it.

    `username` goes with `token_file`, for http(s); `github_app` is instead of both. `ca_file` are the
    certificates that https trusts instead of the system's. `ssh_key_file` and `known_hosts_file` are for ssh:
    with the first, no other key and no agent is used, with the second, no other known_hosts.
    """

    username: str = "git"
    token_file: Path | None = None
    ca_file: Path | None = None
    ssh_key_file: Path | None = None
    known_hosts_file: Path | None = None
    github_app: GithubApp | None = None


class Remote:
    """One repository's address and how to be let in. One thread uses it."""

    def __init__(self, *, url: str, access: Access | None = None, is_written: bool = False) -> None:
        """Take both. Raises ValueError for what we cannot use safely; no message shows the URL's userinfo.

        `is_written`: an App is asked for a token that may push, too.
        """
        self.url = url
        self.access = access = access or Access()
        if "://" in url and urlsplit(url).password is not None:
            message = "the repository's URL holds a password: put it into a file and name that as token_file"
            raise ValueError(message)
        self.protocol = _protocol(url)
        if self.protocol in {"http", "https", "git"} and "@" in urlsplit(url).netloc:
            message = "the repository's URL holds a user name or a token: use username and token_file"
            raise ValueError(message)
        for problem in _misfits(access, self.protocol):
            message = f"the settings of {url} do not fit together: {problem}"
            raise ValueError(message)
        self._app: InstallationToken | None = None
        if access.github_app is not None:
            permissions = WRITE_CONTENT if is_written else READ_CONTENT
            self._app = InstallationToken(
                access.github_app, url=url, ca_file=access.ca_file, permissions=permissions
            )

    def prepare(self, git_dir: Path, children: Children) -> None:
        """See that what lets us in is there, before git runs and a server says that nobody logged in.

        With an App this may ask its forge for a token: some 10 s at most, which an interrupt of `children`
        ends. Raises GitUnavailable.
        """
        files = {
            "token_file": self.access.token_file,
            "ca_file": self.access.ca_file,
            "ssh_key_file": self.access.ssh_key_file,
            "known_hosts_file": self.access.known_hosts_file,
        }
        for setting, path in files.items():
            if path is not None:
                self._check_readable(setting, path)
        if self._app is not None:
            self._app.renew(children)
            if git_dir.is_dir():
                self._write_app_token(git_dir)

    def renew(self, printed: str, git_dir: Path, children: Children) -> bool:
        """Whether what git printed is a refusal of the App's token, which there is a new one for now.

        A token may end early: when the App's permissions change, or somebody revokes it.
        """
        if self._app is None or not is_refusal(printed):
            return False
        self._app.forget()
        self.prepare(git_dir, children)
        return True

    def secrets(self) -> frozenset[str]:
        """The tokens that a server was shown, so that a text of its own can be freed of them."""
        found = {self._app.token or ""} if self._app is not None else set()
        if self.access.token_file is not None:
            with suppress(OSError, UnicodeDecodeError):
                found.add(self.access.token_file.read_text(encoding="utf-8").partition("\n")[0].strip())
        return frozenset(found - {""})

    def environment(self, git_dir: Path) -> dict[str, str]:
        """The whole environment of a git child in `git_dir`, which is to hold what `lay_out` puts there."""
        access = self.access
        ssh = ssh_command(access.ssh_key_file, access.known_hosts_file)
        variables = environment(git_dir, self.protocol, ssh=ssh, is_users_ssh=access.ssh_key_file is None)
        config = {}
        if access.ca_file is not None:
            config["http.sslCAInfo"] = str(access.ca_file)
            # Or the system's authorities count as well, and gnutls parses them all (69 -> 29 ms a call).
            variables["GIT_SSL_CAPATH"] = str(git_dir / "nothing")
        token_file = access.token_file if self._app is None else git_dir / _APP_TOKEN
        if token_file is not None:
            parts = urlsplit(self.url)
            variables |= {
                "GIT_ASKPASS": str(git_dir / "askpass"),
                "DEPLOYER_GIT_ORIGIN": f"{parts.scheme}://{parts.netloc}",
                "DEPLOYER_GIT_SCHEME": parts.scheme,
                "DEPLOYER_GIT_HOST": parts.netloc,
                "DEPLOYER_GIT_USERNAME": access.username if self._app is None else _APP_USERNAME,
                "DEPLOYER_GIT_TOKEN_FILE": str(token_file),
            }
        return variables | configured(config)

    def lay_out(self, git_dir: Path) -> None:
        """Put into `git_dir` what the environment points at: an empty folder, a script, an App's token."""
        (git_dir / "nothing").mkdir(exist_ok=True)
        askpass = git_dir / "askpass"
        askpass.write_text(ASKPASS, encoding="ascii")
        askpass.chmod(0o700)
        self._write_app_token(git_dir)

    def _write_app_token(self, git_dir: Path) -> None:
        """The token we hold; no file where we hold none, such as one of a process before this."""
        path = git_dir / _APP_TOKEN
        if self._app is None or self._app.token is None:
            path.unlink(missing_ok=True)
            return
        content = self._app.token + "\n"
        with suppress(FileNotFoundError, UnicodeDecodeError):
            if path.read_text(encoding="ascii") == content:
                return
        # Beside it and renamed, so that git never reads half a token.
        new = git_dir / f"{_APP_TOKEN}.lock"
        with suppress(FileNotFoundError):
            new.unlink()
        with open(new, "x", encoding="ascii", opener=_private) as file:
            file.write(content)
        new.replace(path)

    def _check_readable(self, setting: str, path: Path) -> None:
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            message = f"cannot read {self.url}: cannot read its {setting} {path}: {error.strerror}"
            raise GitUnavailable(message) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _protocol(url: str) -> str:
    """The only protocol that the child may speak. Raises ValueError."""
    scheme, separator, _ = url.partition("://")
    if separator and scheme in _SCHEMES:
        return scheme
    if url.startswith("/"):
        return "file"
    if not separator and _SCP_LIKE.fullmatch(url):
        return "ssh"
    message = (
        "a repository's URL starts with https://, ssh://, http://, git:// or file://, or is an absolute path"
    )
    raise ValueError(message)


def _misfits(access: Access, protocol: str) -> Iterator[str]:
    """What somebody set who expects something that will not happen."""
    is_http, is_ssh = protocol in {"http", "https"}, protocol == "ssh"
    if access.token_file is not None and not is_http:
        yield "token_file has no use, tokens are for https"
    if access.github_app is not None and not is_http:
        yield "github_app has no use, its tokens are for https"
    if access.github_app is not None and access.token_file is not None:
        yield "github_app is instead of token_file"
    if access.ca_file is not None and protocol != "https":
        yield "ca_file has no use, certificates are for https"
    for setting, path in (
        ("ssh_key_file", access.ssh_key_file),
        ("known_hosts_file", access.known_hosts_file),
    ):
        if path is not None and not is_ssh:
            yield f"{setting} has no use, it is for ssh"
        if path is not None and not is_plain(path):
            yield f'{setting} has a name that ssh cannot be given: rename the file, without ", \\ and $'
    if access.ssh_key_file is not None and access.known_hosts_file is None:
        yield "ssh_key_file needs known_hosts_file beside it"
