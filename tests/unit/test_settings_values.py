"""Single values of the settings: what is taken, in which form, and that no error shows a secret."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core.errors import InvalidConfig
from tests.support.settings_files import SMALL, changed, errors, read, with_token

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are; a test writes them."""
    return tmp_path / "deployer.yaml"


# --- single values --------------------------------------------------------------------------------------


def url_of(file: Path, url: str) -> str:
    """The normal form of a repository URL."""
    text = yaml.safe_dump(yaml.safe_load(SMALL) | {"repositories": {"serve-configs": {"url": url}}})
    return read(file, text).repositories["serve-configs"].url


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/ml/serve-configs.git",
        "https://go.example.com/@scope/configs",
        "http://localhost:3000/configs",
        "https://[::1]:8443/configs",
        "ssh://git@git.example.com:2222/ml/configs.git",
        "git@git.example.com:ml/configs.git",
        "git.example.com:ml/configs.git",
        "file:///srv/git/configs.git",
        "/srv/git/my configs.git",
    ],
)
def test_repository_urls_that_git_takes(file: Path, url: str) -> None:
    """They stay as they are."""
    assert url_of(file, url) == url


def test_local_repositories_become_absolute(file: Path, tmp_path: Path) -> None:
    """Relative to the settings file, or to the home."""
    assert url_of(file, "./configs.git") == str(tmp_path / "configs.git")
    assert url_of(file, "../configs.git") == f"{tmp_path}/../configs.git"
    assert url_of(file, "~/configs.git") == "/home/ada/configs.git"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("configs.git", "must be https://..., ssh://..., http://..., file://..., git@host:path, or a path"),
        ("", "must be https://..."),
        ("github.com/org/configs", "must be https://..."),
        ("ext::sh -c id", "must be https://..."),
        ("ext::sh", "must be https://..."),
        ("git@host::x", "must be https://..."),
        ("-oProxyCommand=id:x", "must be https://..."),
        ("git@-oProxyCommand=id:x", "must be https://..."),
        ("ada:hunter2@git.example.com:configs", "must be https://..."),
        ("ftp://git.example.com/configs", "must begin with https://, ssh://, http://, git:// or file://"),
        ("git://ada@git.example.com/configs", "must be git://, a host and a path"),
        ("git:///configs", "must be a URL, and there is no host in it"),
        ("https://ada:hunter2@git.example.com/x", "holds a user name or a token: use username, and a file"),
        ("https://hunter2@git.example.com/x", "holds a user name or a token: use username, and a file"),
        ("https://git.example.com/x?private_token=hunter2", "must end with its path: remove what follows ?"),
        ("ssh://git:hunter2@git.example.com/x", "holds a password: use a key of ssh's own configuration"),
        ("ssh://-oProxyCommand=id/x", "must be a URL, and there is no host in it"),
        ("ssh://-l@git.example.com/x", "has a user name that ssh would take for an option"),
        ("https:///x", "must be a URL, and there is no host in it"),
        ("https://git.example.com:port/x", "must be a URL, and this one cannot be read"),
        ("https://[::1/x", "must be a URL, and this one cannot be read"),
        ("https://git.example.com/a b", "must be a URL, and URLs hold no spaces"),
        ("file://host/x", "must be file:// and an absolute path"),
        ("~ada/configs.git", "must be https://..."),
        ("/srv/\tconfigs", "must be a path in one line"),
    ],
)
def test_repository_urls_that_are_refused(file: Path, url: str, why: str) -> None:
    """What leaks a password, runs a command or is none, each with its reason."""
    with pytest.raises(InvalidConfig) as caught:
        url_of(file, url)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"repositories.serve-configs.url {why}")
    assert "hunter2" not in str(caught.value)


def address_of(file: Path, address: str) -> str:
    """The normal form of a cluster address."""
    document = yaml.safe_load(SMALL)
    document["environments"]["staging"]["cluster"]["address"] = address
    return read(file, yaml.safe_dump(document)).environments["staging"].cluster.address


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        ("http://ray-head:8265", "http://ray-head:8265"),
        ("HTTP://Ray-Head:8265/", "http://ray-head:8265"),
        ("http://ray-head:80", "http://ray-head"),
        ("https://ray-head:443/a//", "https://ray-head/a"),
        ("https://ray-head:80", "https://ray-head:80"),
        ("http://gateway/Clusters/A/", "http://gateway/Clusters/A"),
        ("http://[FD00:0::0001]:8265", "http://[fd00::1]:8265"),
        ("http://localhost:8265", "http://localhost:8265"),
    ],
)
def test_cluster_addresses_have_one_form(file: Path, address: str, normal: str) -> None:
    """Two spellings of an address are equal, and the normal form is its own normal form."""
    assert address_of(file, address) == normal
    assert address_of(file, normal) == normal


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ray-head:8265", "must be a URL: write http://ray-head:8265"),
        ("ray-head", "must be the http:// or https:// address of the Ray dashboard"),
        ("ray://ray-head:10001", "must be the http:// or https:// address of the Ray dashboard"),
        ("http://ada:hunter2@ray-head:8265", "holds a user name or a password: put Ray's token into a file"),
        ("http://ray-head:8265/?token=hunter2", "must end with its path"),
        ("http://ray-head:8265/#/jobs", "must end with its path"),
        ("http://", "must be a URL, and there is no host in it"),
        ("http://ray-head:99999", "must be a URL, and this one cannot be read"),
        ("http://[v1.a:b]:8265", "must be a URL, and this one cannot be read"),
    ],
)
def test_cluster_addresses_that_are_refused(file: Path, address: str, why: str) -> None:
    """With what to write instead."""
    with pytest.raises(InvalidConfig) as caught:
        address_of(file, address)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"environments.staging.cluster.address {why}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ray-head:8000", "must be a URL: write http://ray-head:8000"),
        ("grpc://ray-head:9000", "must be the http:// or https:// address of Serve's proxy"),
        ("http://ada:hunter2@ray-head:8000", "holds a user name or a password: checks are sent without"),
        ("http://ray-head:8000/?token=hunter2", "must end with its path"),
    ],
)
def test_serve_addresses_that_are_refused(file: Path, address: str, why: str) -> None:
    """By the same rules as those of clusters."""
    with pytest.raises(InvalidConfig) as caught:
        read(file, f'{SMALL}      serve_address: "{address}"\n')
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"environments.staging.cluster.serve_address {why}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("127.0.0.2:65535", "127.0.0.2", 65535),
        ("localhost:8700", "127.0.0.1", 8700),
        ("[::1]:8700", "::1", 8700),
        ("[0:0::0:1]:8700", "::1", 8700),
        ("0.0.0.0:8700, tls: {cert_file: c.pem, key_file: k.pem}", "0.0.0.0", 8700),
        ("[::]:443, trusted_proxy: {addresses: [10.0.0.7]}", "::", 443),
    ],
)
def test_where_the_daemon_listens(file: Path, listen: str, host: str, port: int) -> None:
    """Any address of loopback, and any port; 0 is a free one. Any other, where something protects it."""
    where, comma, more = listen.partition(",")
    text = f'{SMALL}server: {{listen: "{where}"{comma}{more}}}\n'
    server = read(file, text, check_files=False).server
    assert (server.host, server.port) == (host, port)


@pytest.mark.parametrize(
    ("listen", "why"),
    [
        ("'8700'", "must be an address and a port, such as 127.0.0.1:8700"),
        ("8700", "must be an address such as 127.0.0.1:8700, not a number"),
        ("127.0.0.1", "must be an address and a port, such as 127.0.0.1:8700"),
        ("127.0.0.1:65536", "must be an address and a port, such as 127.0.0.1:8700"),
        ("http://127.0.0.1:8700", "must be an address and a port, such as 127.0.0.1:8700"),
        ("'::1:8700'", "must be an address and a port, such as 127.0.0.1:8700"),
        ("0.0.0.0:8700", "is an address that other machines reach, and tokens could be read on their way"),
        ("'[::]:8700'", "is an address that other machines reach"),
        ("192.0.2.7:0", "is an address that other machines reach"),
        ("ray-head:8700", "must begin with an IP address of this machine"),
    ],
)
def test_where_the_daemon_cannot_listen(file: Path, listen: str, why: str) -> None:
    """Whoever reads a token on its way can deploy with it."""
    (error,) = errors(file, f"{SMALL}server:\n  listen: {listen}\n")
    assert error.startswith(f"12:11: server.listen {why}")


@pytest.mark.parametrize(
    ("interval", "why"),
    [
        ("30", "must be a duration such as 30s or 10m, not a number"),
        ("'30'", "cannot be read: 30 has no unit: write 30s for seconds or 30m for minutes"),
        (
            "soon",
            "cannot be read: 'soon' is not a duration: write whole numbers with units,"
            " as in 30s, 10m, 1h30m or 500ms",
        ),
        ("999ms", "must be at least 1s"),
    ],
)
def test_poll_intervals_that_are_refused(file: Path, interval: str, why: str) -> None:
    """A number without a unit is a guess, and a shorter poll is a load."""
    text = changed("configs.git\n", f"configs.git\n    poll_interval: {interval}\n")
    assert errors(file, text) == [f"4:20: repositories.serve-configs.poll_interval {why}"]


def test_the_shortest_poll_interval(file: Path) -> None:
    """The bound itself is allowed."""
    text = changed("configs.git\n", "configs.git\n    poll_interval: 1s\n")
    assert read(file, text).repositories["serve-configs"].poll_interval == 1.0


@pytest.mark.parametrize("number", ["0", "1001", "yes", "3.5", "'x'", "-1"])
def test_workers_that_are_refused(file: Path, number: str) -> None:
    """Only a sensible whole number."""
    assert errors(file, f"{SMALL}workers: {number}\n") == [
        "11:10: workers must be a whole number from 1 to 1000"
    ]


@pytest.mark.parametrize("path", ["/etc", "..", "a/../../b", "''", '"a\\nb"'])
def test_folders_that_are_refused(file: Path, path: str) -> None:
    """None that leaves the repository."""
    (error,) = errors(file, changed("path: environments/staging", f"path: {path}"))
    assert error.startswith("8:11: environments.staging.path must be a folder inside the repository")


def branch_or_none(file: Path, branch: str) -> str | None:
    """The normal form of a branch; None if it is refused."""
    document = yaml.safe_load(SMALL)
    document["environments"]["staging"]["branch"] = branch
    try:
        return read(file, yaml.safe_dump(document)).environments["staging"].branch
    except InvalidConfig as error:
        (problem,) = error.problems
        assert problem.message.startswith("environments.staging.branch must be a branch")
        return None


@settings(max_examples=120, deadline=None)
@given(
    name=st.lists(st.sampled_from([*"ab/.-@{~^:?*[\\ ", ".lock", "é"]), min_size=1, max_size=6).map("".join)
)
def test_branches_are_what_git_says(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """The same verdict as `git check-ref-format`, but for a leading dash, which would be an option."""
    file = tmp_path_factory.getbasetemp() / "branches.yaml"
    command = ["git", "check-ref-format", f"refs/heads/{name}"]
    is_good = subprocess.run(command, check=False, timeout=30).returncode == 0 and not name.startswith("-")
    assert branch_or_none(file, name) == (name if is_good else None)


@pytest.mark.parametrize("branch", ["refs/tags/v1", "refs/heads/", "HEAD", "", "-x"])
def test_branches_that_are_refused(file: Path, branch: str) -> None:
    """Other refs are no branches, and no name is an option of git."""
    assert branch_or_none(file, branch) is None


# --- files that hold secrets ----------------------------------------------------------------------------


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A token file as it should be."""
    token = tmp_path / "git.token"
    token.write_text("s3cret")
    token.chmod(0o600)
    return token


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_secret_that_others_can_read_is_refused(file: Path, token: Path, mode: int) -> None:
    """With the command that mends it."""
    token.chmod(mode)
    assert errors(file, with_token(token.name)) == [
        "4:17: repositories.serve-configs.token_file can be read or changed by others than its owner;"
        f" type: chmod 600 {token}"
    ]
    token.chmod(0o600)
    assert read(file, with_token(token.name)).repositories["serve-configs"].token_file == token


def test_the_command_quotes_what_a_shell_would_split(file: Path, tmp_path: Path) -> None:
    """So that it can be pasted."""
    token = tmp_path / "my token"
    token.write_text("s3cret")
    token.chmod(0o644)
    (error,) = errors(file, with_token(token))
    assert error.endswith(f"type: chmod 600 '{token}'")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_of_somebody_else(file: Path, token: Path) -> None:
    """To take the group's right to read away would lock the daemon out, so it is made the owner first."""
    token.chmod(0o640)
    os.chown(token, 12345, 12345)
    (error,) = errors(file, with_token(token))
    assert error.endswith(f"type: chown 0 {token} && chmod 600 {token}")


def test_credentials_are_systemds_to_protect(file: Path, token: Path, tmp_path: Path) -> None:
    """Their mode is not checked, but they must be there."""
    token.chmod(0o440)
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read(file, with_token(token), env).repositories["serve-configs"].token_file == token
    elsewhere = {"CREDENTIALS_DIRECTORY": "/run/credentials/deployer.service"}
    (error,) = errors(file, with_token(token), elsewhere)
    assert "can be read or changed by others" in error
    token.unlink()
    (error,) = errors(file, with_token(token), env)
    assert error.endswith(f"must name a file, and {token} does not exist")


def test_files_that_are_none(file: Path, tmp_path: Path) -> None:
    """Missing, a directory, empty, a pipe that would block for ever, a loop: each in words."""
    (tmp_path / "empty.token").touch(0o600)
    os.mkfifo(tmp_path / "a.pipe", 0o600)
    (tmp_path / "a.loop").symlink_to("a.loop")
    for name, why in {
        "no.token": "does not exist",
        ".": "is something else",
        "empty.token": "is empty",
        "a.pipe": "is something else",
        "a.loop": "cannot be read: Too many levels of symbolic links",
        "deployer.yaml/x": "cannot be read: Not a directory",
    }.items():
        (error,) = errors(file, with_token(name))
        assert (
            error
            == f"4:17: repositories.serve-configs.token_file must name a file, and {tmp_path / name} {why}"
        )


def test_certificates_are_no_secret(file: Path, tmp_path: Path) -> None:
    """Everybody may read them; they must be there."""
    ca = tmp_path / "ca.pem"
    text = changed("configs.git\n", "configs.git\n    ca_file: ca.pem\n")
    assert errors(file, text) == [
        f"4:14: repositories.serve-configs.ca_file must name a file, and {ca} does not exist"
    ]
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    ca.chmod(0o644)
    assert read(file, text).repositories["serve-configs"].ca_file == ca


def test_a_reader_of_the_store_needs_no_secrets(file: Path, tmp_path: Path) -> None:
    """`deployer status` works for who may not read the tokens, and while systemd has put them away."""
    found = read(file, with_token("gone.token"), check_files=False)
    assert found.repositories["serve-configs"].token_file == tmp_path / "gone.token"


def test_a_home_that_is_not_known(file: Path) -> None:
    """`~` needs a home to stand for, and no other person's is looked up."""
    for text, env in ("~/token", {}), ("~ada/token", {"HOME": "/home/ada"}):
        (error,) = errors(file, with_token(text), env)
        assert error.endswith(
            "token_file begins with ~, and whose home that is is not known: write the whole path"
        )


def test_a_username_is_one_line(file: Path, token: Path) -> None:
    """It is handed to git, which reads lines."""
    for name in '""', r'"a\nb"':
        (error,) = errors(
            file, with_token(token).replace("environments:", f"    username: {name}\nenvironments:")
        )
        assert error == "5:15: repositories.serve-configs.username must be a name in one line"


UNUSED = [
    (
        "git@git.example.com:x",
        "token_file: t",
        "token_file is only used with https:// or http://, and url is not",
    ),
    ("/srv/x.git", "token_file: t", "token_file is only used with https:// or http://, and url is not"),
    ("http://git.example.com/x", "ca_file: t", "ca_file is only used with https://, and url is not"),
    (
        "https://git.example.com/x",
        "username: ada",
        "username is only sent together with a token: add token_file",
    ),
]


@pytest.mark.parametrize(("url", "key", "why"), UNUSED)
def test_what_would_have_no_effect_is_refused(file: Path, url: str, key: str, why: str) -> None:
    """Somebody who wrote it believes that it does something."""
    text = changed("https://git.example.com/ml/serve-configs.git\n", f"{url}\n    {key}\n")
    (error,) = errors(file, text)
    assert error.partition(": ")[2].startswith(f"repositories.serve-configs.{why}")


def test_one_mistake_is_one_error(file: Path) -> None:
    """What depends on a value that is wrong itself is not complained about."""
    keys = "    token_file: ./gone\n    username: ada\n"
    (error,) = errors(file, changed("configs.git\n", f"configs.git\n{keys}"))
    assert error.startswith("4:17: repositories.serve-configs.token_file must name a file")
    found = errors(
        file, changed("https://git.example.com/ml/serve-configs.git\n", "foo\n    ca_file: ./gone\n")
    )
    assert [error.partition(" must")[0] for error in found] == [
        "3:10: repositories.serve-configs.url",
        "4:14: repositories.serve-configs.ca_file",
    ]


def test_a_certificate_for_a_cluster_without_tls(file: Path) -> None:
    """The same for clusters."""
    for proxy in "", "      serve_address: http://ray-head:8000\n":
        (error,) = errors(file, f"{SMALL}{proxy}      ca_file: t\n")
        assert "cluster.ca_file is only used with https://, and address is not" in error
    proxy = "      serve_address: https://ray-head:8000\n"
    found = read(file, f"{SMALL}{proxy}      ca_file: t\n", check_files=False)
    assert found.environments["staging"].cluster.ca_file == file.parent / "t"


# --- what no error shows --------------------------------------------------------------------------------

SECRET = "hunter2-0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        changed("https://git", f"https://ada:{SECRET}@git"),
        changed("https://git", f"https://ada:{SECRET}/@git"),
        changed("https://git", f"https://{SECRET}@git"),
        changed("https://git.example.com/ml", f"ssh://git:{SECRET}@git.example.com"),
        changed("https://git.example.com/ml", f"git:{SECRET}@git.example.com:ml"),
        changed("http://ray", f"http://ada:{SECRET}@ray"),
        with_token(SECRET),
        changed("configs.git\n", f"configs.git\n    token: {SECRET}\n"),
        changed("configs.git\n", f"configs.git\n    password: {SECRET}\n"),
        SMALL + f"      token: {SECRET}\n",
    ],
)
def test_no_error_shows_a_secret(file: Path, text: str) -> None:
    """Not in the message, not in the snippet, not in the exception's chain."""
    with pytest.raises(InvalidConfig) as caught:
        read(file, text)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@settings(max_examples=60, deadline=None)
@given(secret=st.text("hunter2/@:?#[]%&=+ \\'é", min_size=8, max_size=20).map(lambda tail: f"s3cr3t{tail}"))
def test_no_password_of_a_url_is_shown(tmp_path_factory: pytest.TempPathFactory, secret: str) -> None:
    """Whatever characters it has, escaped or not."""
    file = tmp_path_factory.getbasetemp() / "passwords.yaml"
    with pytest.raises(InvalidConfig) as caught:
        url_of(file, f"https://ada:{secret}@git.example.com/x")
    assert "s3cr3t" not in str(caught.value)
