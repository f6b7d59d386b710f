"""What single values of the settings may be, and their normal form.

Owns the rules for names, URLs, branches, folders, durations and secret files. Must not know the models or
where a value stands in a file. Invariant: each function returns the one normal form or raises ValueError
with a sentence, and no sentence repeats a value that can hold a password.
"""

from __future__ import annotations

import os
import re
import shlex
import ssl
import stat
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from deployer.core import durations, semver
from deployer.core.document import kind
from deployer.core.redact import quote

if TYPE_CHECKING:
    from typing import NoReturn

MIN_POLL_SECONDS = 1.0
"""Every poll is a git process of some 20 ms CPU and a request to a forge that counts them. A push to a local
repository is seen by the file watch, which does not wait for the poll."""

MAX_WORKERS = 1000
"""Each is a thread and may hold a connection; more than environments are never started."""

_NAME = re.compile("[a-z0-9][a-z0-9-]*")
_COMMIT = re.compile("[0-9a-f]{40}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCP_LIKE = re.compile(r"(?!-)(?:[^/:@\s]+@(?!-)[^/:@\s]+:(?!:)\S+|[^/:@\s]+:(?!:)[^@\s]+)")
"""ssh's short form, with or without a user. Two colons would be a remote helper of git (`ext::`), which runs
commands; a leading dash would be an option of ssh; and `user:password@host` would be a password."""
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.-]+:[0-9]+")
_UNREADABLE = "must be a URL, and this one cannot be read: check its host and port"
_LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))
_BAD_IN_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|[/.]$|^[/-]")
"""What `git check-ref-format` refuses below refs/heads/, so that no name is a pattern; and what looks like an
option of git."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What paths in the settings are relative to: the file's folder, and `~`.

    `credentials` is where systemd puts what `LoadCredential=` names, for the service alone to read.
    `check_files` False takes the files that are named on trust. `url` is that of the repository, where what
    is read stands in a group inside of it.
    """

    folder: Path
    home: Path | None
    credentials: Path | None
    check_files: bool
    url: str | None = None


def wrong_kind(value: object, wanted: str) -> str:
    """The sentence for a value that is not `wanted`, with the remedy where there is one."""
    if value is None:
        return f"must be {wanted}, and nothing stands here: give a value, or remove the line"
    quoting = ": put it in quotes" if wanted == "text" and isinstance(value, bool | int | float) else ""
    return f"must be {wanted}, not {kind(value)}{quoting}"


def name(text: str) -> str:
    """A name of a repository or an environment."""
    if not _NAME.fullmatch(text):
        _refuse(f"{quote(text)} is no name: use a-z, 0-9 and -, beginning with a letter or a digit")
    return text


def word(text: str, _base: Base) -> str:
    """A name on a server: not empty, in one line."""
    if not text or _CONTROL.search(text):
        _refuse("must be a name in one line")
    return text


def seconds(text: str, _base: Base) -> float:
    """A poll interval, in seconds."""
    try:
        interval = durations.parse(text)
    except ValueError as error:
        message = f"cannot be read: {error}"
        raise ValueError(message) from None
    if interval < MIN_POLL_SECONDS:
        _refuse(f"must be at least {durations.render(MIN_POLL_SECONDS)}")
    return interval


def workers(value: object) -> int:
    """A number of workers. Text comes from an environment variable."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_WORKERS:
        _refuse(f"must be a whole number from 1 to {MAX_WORKERS}")
    return value


def branch(text: str, _base: Base) -> str:
    """A branch, without `refs/heads/`."""
    short = text.removeprefix("refs/heads/")
    if short.startswith("refs/") or short == "HEAD":
        _refuse(f"must be a branch, such as env/staging, and {quote(text)} is none")
    if not short or _BAD_IN_BRANCH.search(short):
        _refuse(f"must be a branch, and git allows no such name: {quote(text)}")
    return short


def commit(text: str, _base: Base) -> str:
    """A commit, by its full id."""
    if not _COMMIT.fullmatch(text):
        _refuse("must be a commit's full id: 40 digits of 0-9 and a-f, as `git rev-parse` prints it")
    return text


def versions(text: str, _base: Base) -> str:
    """A range of semantic versions."""
    semver.parse_range(text)
    return text


def tag_pattern(text: str, _base: Base) -> str:
    """The name of tags, in which one `*` stands for the version."""
    if text.count("*") != 1 or _BAD_IN_BRANCH.search(text.replace("*", "1")):
        _refuse("must be the name of tags with one * for the version, such as v* or fruit-v*")
    return text


def number(text: str, _base: Base) -> str:
    """An id that a forge gives, as text, because YAML would read 0123 as another number."""
    if not re.fullmatch("[A-Za-z0-9.]{1,64}", text):
        _refuse("must be the id as the forge shows it, in quotes")
    return text


def api_url(text: str, _base: Base) -> str:
    """The URL of a forge's API."""
    return http_address(
        text,
        _base,
        what="the forge's API, such as https://api.github.com",
        instead_of_login="the App's key is what lets the daemon in",
    )


def folder(text: str, _base: Base) -> str:
    """A folder inside a repository; `.` is its root."""
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or _CONTROL.search(text):
        _refuse(
            "must be a folder inside the repository, such as environments/staging: no leading / and no .."
        )
    return str(path)


def directory(text: str, base: Base) -> Path:
    """A directory of this machine, which need not be there yet."""
    return _path(text, base)


def repository_url(text: str, base: Base) -> str:
    """A repository, as git takes it; a local one as an absolute path or a file:// URL."""
    if text.startswith(("/", "./", "../", "~/")):
        return str(_path(text, base))
    if "://" in text:
        return _remote_url(text)
    if not _SCP_LIKE.fullmatch(text):
        _refuse(
            "must be https://..., ssh://..., http://..., file://..., git@host:path,"
            " or a path that begins with / or ./"
        )
    return text


def cluster_address(text: str, _base: Base) -> str:
    """The URL of a Ray dashboard, so that two spellings of one address are equal."""
    return http_address(
        text,
        _base,
        what="the Ray dashboard, such as http://ray-head:8265",
        instead_of_login="put Ray's token into a file, and name that as token_file",
    )


def cluster_key(address: str) -> str:
    """What is equal for two addresses of one cluster: `localhost` stands for all names of this machine.

    To find out whether other names mean the same machine would take a name server, whose answers change.
    """
    url = urlsplit(address)
    if url.hostname is None or not is_this_machine(url.hostname):
        return address
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://localhost{port}{url.path}"


def serve_address(text: str, _base: Base) -> str:
    """The URL of Serve's proxy."""
    return http_address(
        text,
        _base,
        what="Serve's proxy, such as http://ray-head:8000",
        instead_of_login="checks are sent without",
    )


def secret_file(text: str, base: Base) -> Path:
    """A file that holds a secret, and that nobody but its owner can read."""
    path = _path(text, base)
    if not base.check_files:
        return path
    status = _check_file(path, text)
    is_systemds = base.credentials is not None and path.is_relative_to(base.credentials)
    if not is_systemds and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        shown = shlex.quote(str(path))
        mine = status.st_uid == os.geteuid()
        remedy = f"chmod 600 {shown}" if mine else f"chown {os.geteuid()} {shown} && chmod 600 {shown}"
        _refuse(f"can be read or changed by others than its owner; type: {remedy}")
    return path


def public_file(text: str, base: Base) -> Path:
    """A file that is no secret: a certificate."""
    path = _path(text, base)
    if base.check_files:
        _check_file(path, text)
    return path


def check_pair(cert_file: Path, key_file: Path) -> None:
    """Refuse a certificate and a key that TLS cannot use: now, and not when somebody connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL asks for one at the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror or str(error)
        _refuse(
            f"and server.tls.cert_file are no certificate with its key ({why}): both are PEM, the key has no"
            " passphrase, and is that of the first certificate in its file"
        )


def ssh_key_file(text: str, base: Base) -> Path:
    """A secret file whose name ssh can be given."""
    return _plain_for_ssh(secret_file(text, base))


def known_hosts_file(text: str, base: Base) -> Path:
    """A file that is no secret, whose name ssh can be given."""
    return _plain_for_ssh(public_file(text, base))


def _plain_for_ssh(path: Path) -> Path:
    """Refuse what ssh would read as its own: quotes, escapes, variables."""
    if not {'"', "\\", "$"}.isdisjoint(str(path)):
        _refuse('must be a path without ", \\ and $, which ssh does not take as they are')
    return path


def is_bare_word(text: str) -> bool:
    """Whether this may be a secret, put where its file's name belongs: then nothing shows it."""
    return "/" not in text and "." not in text


def http_address(text: str, _base: Base, *, what: str, instead_of_login: str) -> str:
    """The normal form: no capitals in scheme and host, no default port, no slash at the end."""
    if _HOST_AND_PORT.fullmatch(text):
        _refuse(f"must be a URL: write http://{text}")
    url = _split(text)
    if url.scheme not in {"http", "https"}:
        _refuse(f"must be the http:// or https:// address of {what}")
    if "@" in url.netloc:
        _refuse(f"holds a user name or a password: {instead_of_login}")
    if url.query or url.fragment:
        _refuse("must end with its path: remove what follows ? or #")
    host = _host(url)
    if ":" in host:
        try:
            host = f"[{ip_address(host)}]"
        except ValueError:
            _refuse(_UNREADABLE)
    default_port = {"http": 80, "https": 443}[url.scheme]
    port = f":{url.port}" if url.port not in {None, default_port} else ""
    return f"{url.scheme}://{host}{port}{url.path.rstrip('/')}"


def is_this_machine(host: str) -> bool:
    """Whether this name or address can be no other machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    # Whoever connects to 0.0.0.0 comes to 127.0.0.1 (Linux). Others of 127.0.0.0/8 can be other clusters.
    return address.is_unspecified or address in _LOOPBACK


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _path(text: str, base: Base) -> Path:
    if not text or _CONTROL.search(text):
        _refuse("must be a path in one line")
    if text.startswith("~"):
        if not text.startswith("~/") or base.home is None:
            _refuse("begins with ~, and whose home that is is not known: write the whole path")
        return base.home / text[2:]
    return base.folder / text


def _check_file(path: Path, text: str) -> os.stat_result:
    """Refuse what is no file with something in it. `text` is how the settings name it."""
    shown = "the file that it names" if is_bare_word(text) else str(path)
    try:
        status = path.stat()
        # Also because to open a named pipe waits for somebody to write into it.
        if not stat.S_ISREG(status.st_mode):
            _refuse(f"must name a file, and {shown} is something else")
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except FileNotFoundError:
        _refuse(f"must name a file, and {shown} does not exist")
    except OSError as error:
        _refuse(f"must name a file, and {shown} cannot be read: {error.strerror}")
    if is_empty:
        _refuse(f"must name a file, and {shown} is empty")
    return status


def _remote_url(text: str) -> str:
    url = _split(text)
    match url.scheme:
        case "http" | "https":
            if "@" in url.netloc:
                _refuse("holds a user name or a token: use username, and a file that token_file names")
            if url.query or url.fragment:
                _refuse("must end with its path: remove what follows ? or #")
            _host(url)
        case "ssh":
            if url.password is not None:
                _refuse("holds a password: use a key of ssh's own configuration")
            if (url.username or "").startswith("-"):
                _refuse("has a user name that ssh would take for an option")
            _host(url)
        case "git":
            if "@" in url.netloc or url.query or url.fragment:
                _refuse("must be git://, a host and a path: this protocol has no users")
            _host(url)
        case "file":
            if url.netloc or not url.path.startswith("/"):
                _refuse("must be file:// and an absolute path, as in file:///srv/git/configs.git")
        case _:
            _refuse(
                "must begin with https://, ssh://, http://, git:// or file://: other protocols are not used"
            )
    return text


def _split(text: str) -> SplitResult:
    if _CONTROL.search(text) or " " in text:
        _refuse("must be a URL, and URLs hold no spaces or control characters")
    try:
        url = urlsplit(text)
        _ = url.port  # parsed when it is asked for
    except ValueError:
        # Its own message repeats the text.
        raise ValueError(_UNREADABLE) from None
    return url


def _host(url: SplitResult) -> str:
    host = url.hostname
    if not host or host.startswith("-"):
        _refuse("must be a URL, and there is no host in it")
    return host
