"""Who gets in, as the settings say it: names, proxies, certificates, and the words for what is wrong."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from deployer.core.errors import InvalidConfig
from tests.support.settings_files import NO_ENV, SMALL, errors, read
from tests.support.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are; a test writes them."""
    return tmp_path / "deployer.yaml"


def test_by_default_nobody_gets_in_without_a_token(file: Path) -> None:
    """From this machine only, under its own names."""
    server = read(file, SMALL).server
    assert (server.tls, server.trusted_proxy, server.public_url) == (None, None, None)
    assert (server.allowed_hosts, server.anonymous_read) == ((), False)


PROXY = "trusted_proxy: {addresses: [10.0.0.7]"
REFUSED = [
    ("tls: {cert_file: deployer.yaml}", "12:8: server.tls.key_file is missing: add it"),
    ("tls: none", "12:8: server.tls must be a mapping, not text"),
    (
        "allowed_hosts: 7",
        "12:18: server.allowed_hosts must be a list of names such as deployer.example.com, not",
    ),
    ("allowed_hosts: [on]", "12:18: server.allowed_hosts must be a list of names such as"),
    (
        "allowed_hosts: [a:80]",
        "12:18: server.allowed_hosts must be names of hosts such as deployer.example.com,",
    ),
    ("allowed_hosts: ['*']", "12:18: server.allowed_hosts must be names of hosts"),
    ("trusted_proxy: {}", "12:18: server.trusted_proxy.addresses is missing: add it"),
    (
        "trusted_proxy: {addresses: []}",
        "12:30: server.trusted_proxy.addresses must be addresses such as 10.0.0.7",
    ),
    (
        "trusted_proxy: {addresses: [proxy]}",
        "12:30: server.trusted_proxy.addresses must be addresses such as",
    ),
    ("trusted_proxy: {addresses: [10.0.0.7/8]}", "12:30: server.trusted_proxy.addresses must be addresses"),
    (
        f"{PROXY}, user_header: 'X User'}}",
        "12:55: server.trusted_proxy.user_header must be the name of a header",
    ),
    (f"{PROXY}, user_header: cookie}}", "12:55: server.trusted_proxy.user_header cannot be cookie, which"),
    (
        f"{PROXY}, role: root}}",
        "12:48: server.trusted_proxy.role must be 'viewer', 'deployer', 'approver',",
    ),
    ("anonymous_read: maybe", "12:19: server.anonymous_read must be true or false"),
    ("anonymous_read: 1", "12:19: server.anonymous_read must be true or false"),
    (
        "public_url: deployer.example.com",
        "12:15: server.public_url must be the http:// or https:// address of",
    ),
    (
        "public_url: http://deployer.example.com",
        "12:15: server.public_url must begin with https://: over http",
    ),
    (
        "public_url: https://a.example.com/deployer",
        "12:15: server.public_url must end with its host: the daemon",
    ),
    (
        "public_url: https://ada:hunter2@a.example.com",
        "12:15: server.public_url holds a user name or a password",
    ),
]


@pytest.mark.parametrize(("line", "why"), REFUSED)
def test_what_is_refused_and_how(file: Path, line: str, why: str) -> None:
    """Each message says what, where and what to do, and shows no password."""
    with pytest.raises(InvalidConfig) as caught:
        read(file, f"{SMALL}server:\n  {line}\n")
    (error,) = errors(file, f"{SMALL}server:\n  {line}\n")
    assert error.startswith(why)
    assert "hunter2" not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(file: Path, tmp_path: Path) -> None:
    """As every secret."""
    Authority(tmp_path / "ca").copy(tmp_path / "c.pem", tmp_path / "k.pem")
    (tmp_path / "k.pem").chmod(0o640)
    text = f"{SMALL}server:\n  tls: {{cert_file: c.pem, key_file: k.pem}}\n"
    (error,) = errors(file, text)
    assert error.startswith("12:37: server.tls.key_file can be read or changed by others than its owner")
    (tmp_path / "k.pem").chmod(0o600)
    tls = read(file, text).server.tls
    assert tls is not None
    assert tls.key_file == tmp_path / "k.pem"


def test_files_that_tls_cannot_use_are_refused(file: Path, tmp_path: Path) -> None:
    """At the start, not by the first who connects; nobody is asked for a passphrase."""
    text = f"{SMALL}server:\n  tls: {{cert_file: c.pem, key_file: k.pem}}\n"
    authority = Authority(tmp_path / "ca")
    sound, key = tmp_path / "c.pem", tmp_path / "k.pem"
    for name in ("IP:127.0.0.1", "DNS:other.example"):
        authority.copy(sound, key, name)
    for cert, secret in (
        ("garbage", key.read_text()),
        (sound.read_text(), "garbage"),
        ((tmp_path / "ca/IP-127-0-0-1-False.pem").read_text(), key.read_text()),
        (sound.read_text(), locked(key)),
    ):
        sound.write_text(cert)
        key.write_text(secret)
        (error,) = errors(file, text)
        assert error.startswith("12:37: server.tls.key_file and server.tls.cert_file are no certificate with")
        assert read(file, text, check_files=False).server.tls is not None
        authority.copy(sound, key, "DNS:other.example")
    assert read(file, text).server.tls is not None


def locked(key: Path) -> str:
    """The same key, with a passphrase."""
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:hunter2"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def test_variables_say_it_too(file: Path) -> None:
    """Lists with commas, yes and no as words; a listener that only a variable opens is named by it."""
    env = NO_ENV | {
        "DEPLOYER_SERVER__ALLOWED_HOSTS": "a.example.com, b.example.com",
        "DEPLOYER_SERVER__ANONYMOUS_READ": "True",
        "DEPLOYER_SERVER__TRUSTED_PROXY__ADDRESSES": "10.0.0.7,fd00::7",
    }
    server = read(file, SMALL, env).server
    assert server.allowed_hosts == ("a.example.com", "b.example.com")
    assert server.anonymous_read
    assert server.trusted_proxy is not None
    assert server.trusted_proxy.addresses == ("10.0.0.7/32", "fd00::7/128")

    (error,) = errors(file, SMALL, NO_ENV | {"DEPLOYER_SERVER__LISTEN": "0.0.0.0:8700"})
    assert error.startswith("DEPLOYER_SERVER__LISTEN: server.listen is an address that other machines reach")


@pytest.mark.parametrize("url", ["http://localhost:8700", "http://127.0.0.1:8700", "https://[fd00::1]:8443"])
def test_public_urls_that_browsers_sign_in_to(file: Path, url: str) -> None:
    """Any https, and http on this machine."""
    assert read(file, f'{SMALL}server: {{public_url: "{url}"}}\n').server.public_url == url
