"""The settings of signed checkpoints: what is taken, and each refusal with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.settings import explained
from tests.support.anchored import make_key
from tests.support.settings_files import NO_ENV, SMALL, errors, read

if TYPE_CHECKING:
    from pathlib import Path

PUSH = "push: {url: https://git.example.com/ops/anchors.git"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of all kinds, as ssh-keygen makes them."""
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder / "key")
    make_key(folder / "locked", passphrase="swordfish")
    make_key(folder / "rsa", "rsa")
    return folder


@pytest.fixture
def file(keys: Path, tmp_path: Path) -> Path:
    """Where the settings are written, with the keys beside them."""
    for path in keys.iterdir():
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)
    (tmp_path / "open").write_bytes((keys / "key").read_bytes())
    (tmp_path / "open").chmod(0o644)
    for name, content in (("token", "0123456789abcdef\n"), ("text", "hello\n"), ("hosts", "something\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    whole = (keys / "key").read_text().splitlines(keepends=True)
    (tmp_path / "torn").write_text("".join([whole[0], "AAAA\n", whole[-1]]))
    (tmp_path / "torn").chmod(0o600)
    return tmp_path / "deployer.yaml"


def audit(text: str) -> str:
    """The small settings with this of the audit log."""
    return f"{SMALL}audit: {{{text}}}\n"


def with_more(text: str) -> str:
    """With what is required, and more."""
    return audit(f"name: deployer.example.com/audit, key_file: key, {text}")


def test_all_of_it_is_read(file: Path) -> None:
    """With its defaults, and with everything."""
    found = read(file, audit("name: a, key_file: key")).audit
    assert found is not None
    assert (found.every, found.push, found.syslog) == (600.0, None, None)
    more = f"every: 1h, syslog: true, {PUSH}, token_file: token, username: bot}}"
    found = read(file, with_more(more)).audit
    assert found is not None
    assert found.push is not None
    assert (found.every, found.syslog, found.push.username) == (3600.0, "/dev/log", "bot")
    assert found.key_file == file.parent / "key"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", "/dev/log"),
        ("false", None),
        ("/run/systemd/journal/syslog", "/run/systemd/journal/syslog"),
        ("logs.example.com:514", "logs.example.com:514"),
        (f"{'a' * 63}.b-1.c:514", f"{'a' * 63}.b-1.c:514"),
        ('"[::1]:1514"', "[::1]:1514"),
    ],
)
def test_where_syslog_is(file: Path, written: str, meant: str | None) -> None:
    """The machine's own, a socket, another machine."""
    found = read(file, with_more(f"syslog: {written}")).audit
    assert found is not None
    assert found.syslog == meant


def test_variables_set_it(file: Path) -> None:
    """As of other groups; a flag is text there; and one with a typing error is told."""
    variables = NO_ENV | {"DEPLOYER_AUDIT__SYSLOG": "True", "DEPLOYER_AUDIT__EVERY": "30s"}
    found = read(file, audit("name: a, key_file: key"), variables).audit
    assert found is not None
    assert (found.syslog, found.every) == ("/dev/log", 30.0)
    (error,) = errors(file, SMALL, NO_ENV | {"DEPLOYER_AUDIT_EVERY": "30s"})
    assert "did you mean DEPLOYER_AUDIT__EVERY?" in error


def test_whoever_only_reads_needs_no_key(file: Path) -> None:
    """It may be the daemon's alone to read."""
    found = read(file, audit("name: a, key_file: nowhere"), check_files=False)
    assert found.audit is not None
    assert any(
        (one.key, one.value) == ("audit.key_file", str(file.parent / "nowhere"))
        for one in explained(found, file, NO_ENV)
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (audit("key_file: key"), "audit.name is missing: add it, as in `name: deployer.example.com/audit`"),
        (audit("name: a"), "audit.key_file is missing"),
        (audit("name: a b, key_file: key"), "audit.name must be a name of at most 80 ASCII characters"),
        (audit("name: a+b, key_file: key"), "audit.name must be a name"),
        (audit("name: größe, key_file: key"), "audit.name must be a name"),
        (audit(f"name: {'a' * 81}, key_file: key"), "audit.name must be a name"),
        (audit("name: 5, key_file: key"), "audit.name must be text, not a number"),
        (
            audit("name: a, key_file: nowhere"),
            "audit.key_file must name a file, and the file that it names does not exist",
        ),
        (audit("name: a, key_file: open"), "audit.key_file can be read or changed by others than its owner"),
        (
            audit("name: a, key_file: locked"),
            "audit.key_file names a file that cannot sign: its key has a passphrase, and nobody is there to"
            " type it; type: ssh-keygen -t ed25519 -N ''",
        ),
        (audit("name: a, key_file: rsa"), "its key is of another kind, and only ssh-ed25519 is taken"),
        (audit("name: a, key_file: text"), "it holds no private key in the form that ssh-keygen writes"),
        (audit("name: a, key_file: torn"), "what stands between its first and its last line is no private"),
        (with_more("every: 10"), "audit.every must be a duration such as 10m or 1h, not a number"),
        (with_more("every: 500ms"), "audit.every must be at least 1s"),
        (
            with_more("syslog: 514"),
            "audit.syslog must be true, false, the path of a socket, or host:port, not",
        ),
        (
            with_more("syslog: logs"),
            "audit.syslog must be true, false, the path of a socket such as /dev/log",
        ),
        (with_more("syslog: 'logs:70000'"), "and 'logs:70000' is none of them"),
        (with_more("syslog: 'logs..example.com:514'"), "and 'logs..example.com:514' is none of them"),
        (with_more("syslog: 'logs-.example.com:514'"), "and 'logs-.example.com:514' is none of them"),
        (with_more(f"syslog: '{'a' * 64}.example.com:514'"), "is none of them"),
        (with_more("push: {}"), "audit.push.url is missing"),
        (with_more("push: {url: 'https://ada:secret@git.example.com/a.git'}"), "audit.push.url"),
        (with_more(f"{PUSH}, known_hosts_file: hosts}}"), "known_hosts_file is only used with ssh"),
        (with_more(f"{PUSH}, username: bot}}"), "username is only sent together with a token"),
        (with_more(f"{PUSH}, token_file: open}}"), "audit.push.token_file can be read or changed by others"),
        (with_more(f"{PUSH}, branch: main}}"), "unknown key 'branch' in audit.push"),
        (with_more("evry: 5m"), "unknown key 'evry' in audit (did you mean 'every'?)"),
    ],
)
def test_what_is_refused(file: Path, text: str, why: str) -> None:
    """Each by one error at its line."""
    (error,) = errors(file, text)
    assert why in error
    assert error.startswith("11:")
    assert "secret" not in error
