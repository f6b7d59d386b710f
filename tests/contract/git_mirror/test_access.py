"""What lets us in, and what a child is given: the right files, nothing inherited, no secret in sight."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.adapters.git import Access, GithubApp, GitUnavailable, Mirror
from tests.contract.git_mirror.world import CONFIG, MAIN, TOKEN, NewMirror, bring, children, proc, put_program
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy, Kind
from tests.support.forge_api import forge_api
from tests.support.git_daemon import git_daemon
from tests.support.git_server import serving
from tests.support.repos import BareRepo
from tests.support.sshd import SshServer, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = GithubApp(app_id="1", installation_id="2", private_key_file=Path("/x"))

HTTPS = "https://git.example.com/x.git"
SSH = "ssh://git@git.example.com/x.git"
GIT = "git://git.example.com/x.git"


@pytest.fixture
def origin(tmp_path: Path) -> BareRepo:
    """A repository with one commit."""
    origin = BareRepo(tmp_path / "origin.git")
    origin.commit({CONFIG: "1"})
    return origin


# --- what fits together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "access", "why"),
    [
        (SSH, Access(token_file=Path("/x")), "tokens are for https"),
        (SSH, Access(github_app=APP), "github_app has no use"),
        (GIT, Access(token_file=Path("/x")), "tokens are for https"),
        (GIT, Access(github_app=APP), "github_app has no use"),
        (GIT, Access(ca_file=Path("/x")), "ca_file has no use"),
        (GIT, Access(known_hosts_file=Path("/x")), "known_hosts_file has no use"),
        (HTTPS, Access(github_app=APP, token_file=Path("/x")), "github_app is instead of token_file"),
        (HTTPS, Access(ssh_key_file=Path("/x"), known_hosts_file=Path("/x")), "ssh_key_file has no use"),
        (SSH, Access(ssh_key_file=Path("/x")), "ssh_key_file needs known_hosts_file"),
        (SSH, Access(known_hosts_file=Path("/${x}")), "rename the file"),
        (SSH, Access(known_hosts_file=Path('/"x')), "rename the file"),
        (SSH, Access(known_hosts_file=Path("/x\ny")), "rename the file"),
    ],
)
def test_what_has_no_use_or_no_safe_form_is_refused(
    tmp_path: Path, url: str, access: Access, why: str
) -> None:
    """Who set it expects something that will not happen."""
    with pytest.raises(ValueError, match=why):
        Mirror(tmp_path / "mirror.git", url, access=access)


@pytest.mark.parametrize("setting", ["token_file", "ca_file", "ssh_key_file", "known_hosts_file"])
def test_a_file_that_cannot_be_read_is_named_before_anybody_is_asked(
    tmp_path: Path, new_mirror: NewMirror, setting: str
) -> None:
    """A server would only say that nobody logged in."""
    (tmp_path / "there").write_text("x")
    files: dict[str, Any] = {"known_hosts_file": tmp_path / "there"} if setting == "ssh_key_file" else {}
    access = Access(**{**files, setting: tmp_path / "gone"})
    url = SSH if setting in {"ssh_key_file", "known_hosts_file"} else HTTPS

    with pytest.raises(GitUnavailable, match=f"cannot read its {setting} .*gone: No such file") as caught:
        new_mirror(url, access=access).heads([MAIN])

    assert caught.value.why.startswith(f"cannot read {url}: ")


# --- ssh -------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """An ssh server of this test's own."""
    server = SshServer(tmp_path / "ssh")
    with server.running():
        yield server


def test_with_a_key_file_neither_the_users_keys_nor_agent_nor_settings_count(
    tmp_path: Path,
    server: SshServer,
    origin: BareRepo,
    new_mirror: NewMirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Told so, and not told where they are: ssh finds a user's folder by their number, not by HOME."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    access = Access(ssh_key_file=server.key_file, known_hosts_file=server.known_hosts_file)
    put_program(
        tmp_path / "bin" / "ssh",
        f'#!/bin/sh\n(env; echo "$@") >"{tmp_path}/ssh.env"\nPATH="{os.environ["PATH"]}" exec ssh "$@"\n',
        monkeypatch,
    )

    assert bring(new_mirror(server.url(origin.path), access=access)) == {MAIN: origin.head()}

    seen = (tmp_path / "ssh.env").read_text()
    assert "SSH_AUTH_SOCK" not in seen
    assert str(home) not in seen
    called = seen.splitlines()[-1]
    assert called.startswith("-F none -oBatchMode=yes -oStrictHostKeyChecking=yes ")
    for option in ("IdentitiesOnly=yes", "IdentityAgent=none", "ForwardAgent=no", "ProxyCommand=none"):
        assert f" -o{option} " in called


def test_without_a_key_file_the_users_ssh_is_used(
    tmp_path: Path, origin: BareRepo, new_mirror: NewMirror, fake_ssh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their home and agent are what their ssh finds its configuration and keys by."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    mirror = new_mirror(f"ssh://git@git.example.com{origin.path}")
    environment = mirror._remote.environment(tmp_path / "mirror.git")

    assert bring(mirror) == {MAIN: origin.head()}
    assert (environment["HOME"], environment["SSH_AUTH_SOCK"]) == (str(tmp_path), "/run/agent")
    assert "StrictHostKeyChecking=yes" in environment["GIT_SSH_COMMAND"]
    assert "-F" not in environment["GIT_SSH_COMMAND"].split()


def test_known_hosts_is_read_and_never_written(
    server: SshServer, origin: BareRepo, new_mirror: NewMirror
) -> None:
    """What is trusted is the operator's alone: no server adds a key."""
    before = server.known_hosts_file.read_bytes()
    server.known_hosts_file.chmod(0o400)
    access = Access(ssh_key_file=server.key_file, known_hosts_file=server.known_hosts_file)

    bring(new_mirror(server.url(origin.path), access=access))

    assert server.known_hosts_file.read_bytes() == before
    assert sorted(path.name for path in server.known_hosts_file.parent.iterdir()) == [
        "id",
        "id.pub",
        "known hosts",
    ]


def test_a_key_that_ssh_cannot_use_is_said(
    tmp_path: Path, server: SshServer, origin: BareRepo, new_mirror: NewMirror
) -> None:
    """The file is no key; another key is not let in; one with a passphrase neither."""
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    new_key(tmp_path / "stranger")
    new_key(tmp_path / "locked", passphrase="hunter22")
    whys = {
        "text": "ssh cannot use ssh_key_file",
        "stranger": "the ssh server refused the key: check the key",
        "locked": r"the ssh server refused the key: check the key \(no passphrase\)",
    }
    for name, why in whys.items():
        access = Access(ssh_key_file=tmp_path / name, known_hosts_file=server.known_hosts_file)
        with pytest.raises(GitUnavailable, match=why):
            new_mirror(server.url(origin.path), access=access).heads([MAIN])


# --- what a child is given -------------------------------------------------------------------------------


@contextmanager
def under_way(mirror: Mirror) -> Iterator[None]:
    """A look that hangs, until the block ends."""

    def look() -> None:
        with pytest.raises(GitUnavailable):
            mirror.heads([MAIN])

    owner = threading.Thread(target=look)
    owner.start()
    try:
        yield
    finally:
        mirror.interrupt()
        owner.join(5.0)
        assert not owner.is_alive()


def our_processes(folder: Path) -> dict[str, str]:
    """The command line and environment of each process that a mirror below the folder started, by its id."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    seen = {pid: (proc(pid, "cmdline"), proc(pid, "environ")) for pid in pids}
    ours = f"GIT_DIR={folder}"
    return {str(pid): f"{command}\0{environ}" for pid, (command, environ) in seen.items() if ours in environ}


def test_a_child_inherits_only_what_is_named(
    tmp_path: Path, origin: BareRepo, new_mirror: NewMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets of the daemon's own environment, agents and proxies of http stay outside; PATH goes along."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-aws")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/canary/agent")
    monkeypatch.setenv("http_proxy", "http://canary-of-http.example.com")
    monkeypatch.setenv("https_proxy", "http://canary-of-https.example.com")
    monkeypatch.setenv("ALL_PROXY", "http://canary-of-all.example.com")
    monkeypatch.setenv("LD_PRELOAD_CANARY", "canary")
    with serving(tmp_path) as server:
        mirror = new_mirror(server.url("origin.git"))
        mirror.known_heads()
        server.hold.set()
        with under_way(mirror):
            eventually(lambda: server.requests, within=5.0)
            seen = our_processes(tmp_path)

    assert any("git-remote-http" in text for text in seen.values())
    assert not [text for text in seen.values() if "canary" in text]
    assert all(os.environ["PATH"] in text for text in seen.values())


def test_https_goes_through_the_operators_proxy_and_http_does_not(
    tmp_path: Path, new_mirror: NewMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a tunnel a proxy sees a host's name; over http it would see the token."""
    monkeypatch.setenv("no_proxy", "")
    with FaultProxy(9) as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(GitUnavailable):
            new_mirror("http://127.0.0.1:1/x.git", "http.git").heads([MAIN])
        assert proxy.connections == 0
        with pytest.raises(GitUnavailable):
            new_mirror("https://127.0.0.1:1/x.git", "https.git").heads([MAIN])
        assert proxy.connections == 1

        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(GitUnavailable):
            new_mirror("https://127.0.0.1:1/x.git", "https.git").heads([MAIN])
        assert proxy.connections == 1


def test_every_child_of_a_look_is_limited(tmp_path: Path, origin: BareRepo, new_mirror: NewMirror) -> None:
    """Memory, file size, processor time and core dumps, of git and of what it starts."""
    with serving(tmp_path) as server:
        mirror = new_mirror(server.url("origin.git"))
        mirror.known_heads()
        server.hold.set()
        with under_way(mirror):
            eventually(lambda: server.requests, within=5.0)
            limits = [proc(int(pid), "limits") for pid in our_processes(tmp_path)]

    assert len(limits) >= 2
    for text in limits:
        found = {line[:26].strip(): line[26:].split() for line in text.splitlines()}
        assert found["Max data size"][:2] == [str(768 * 1024**2)] * 2
        assert found["Max file size"][:2] == [str(2 * 1024**3)] * 2
        assert found["Max core file size"][:2] == ["0", "0"]
        assert found["Max cpu time"][:2] == ["900", "900"]


def test_what_starts_others_is_limited_from_its_first_instruction(
    tmp_path: Path, origin: BareRepo, new_mirror: NewMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that comes a moment later may miss what a fetch has started by then."""
    calls = tmp_path / "calls"
    real = shutil.which("prlimit")
    put_program(
        tmp_path / "bin" / "prlimit",
        f'#!/bin/sh\necho "$@" >>"{calls}"\nexec {real} "$@"\n',
        monkeypatch,
    )
    with serving(tmp_path) as server:
        bring(new_mirror(server.url("origin.git")))

    asked, fetched = calls.read_text().splitlines()
    limits = f"--data={768 * 1024**2} --fsize={2 * 1024**3} --cpu=900 --core=0 -- /"
    assert asked.startswith(limits)
    assert fetched.startswith(limits)
    assert "git ls-remote" in asked
    assert "git fetch" in fetched


def test_the_reading_child_is_limited_too(origin: BareRepo, new_mirror: NewMirror) -> None:
    """It has no limit by the clock, so that by processor time is tight."""
    mirror = new_mirror(origin.url)
    commit = bring(mirror)[MAIN]
    assert mirror.read(commit, CONFIG)
    batch = mirror._open().git.cat_file_all
    assert batch is not None
    assert batch.proc is not None
    limits = proc(batch.proc.pid, "limits")

    assert "60" in next(line for line in limits.splitlines() if line.startswith("Max cpu time")).split()
    assert str(768 * 1024**2) in limits


# --- no secret in sight ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["token", "app", "ssh"])
def test_no_secret_is_in_an_argument_an_environment_a_message_or_the_log(
    kind: str, tmp_path: Path, origin: BareRepo, new_mirror: NewMirror, server: SshServer
) -> None:
    """While git talks to a server that hangs, and after it was refused, `ps` and the log show none of it."""
    with (
        serving(tmp_path, token=TOKEN) as git,
        forge_api(tmp_path / "forge", git) as api,
        capture_logs() as logs,
    ):
        token_file = tmp_path / "token"
        token_file.write_text(TOKEN)
        access, url = {
            "token": (Access(token_file=token_file), git.url("origin.git")),
            "app": (Access(github_app=api.app), git.url("origin.git")),
            "ssh": (
                Access(ssh_key_file=server.key_file, known_hosts_file=server.known_hosts_file),
                server.url(origin.path),
            ),
        }[kind]
        mirror = new_mirror(url, access=access)
        bring(mirror)
        port = server.port if kind == "ssh" else git.port
        with FaultProxy(port) as proxy:
            proxy.fault = Fault(Kind.HANG, 0 if kind == "ssh" else 150)
            server.write_known_hosts(port=proxy.port)
            hanging = new_mirror(url.replace(f":{port}/", f":{proxy.port}/"), "hanging.git", access=access)
            hanging.known_heads()
            with under_way(hanging):
                eventually(lambda: len(children()) >= 2 and proxy.connections, within=5.0)
                seen = "".join(our_processes(tmp_path).values())
        secrets = [TOKEN, *api.tokens, *api.bearers]
        for key_file in (server.key_file, api.key_file):
            secrets += [line for line in key_file.read_text().splitlines() if "KEY-----" not in line]
        git.token = "another"
        api.behaviour.useless = True
        server.key_file.unlink()
        new_key(server.key_file)
        with pytest.raises(GitUnavailable) as refused:
            new_mirror(url, "refused.git", access=access).heads([MAIN])

    assert f"{tmp_path}/hanging.git" in seen
    assert len(secrets) > 10
    told = [seen, refused.value.why, repr(refused.value.__cause__), repr(logs), repr(mirror._remote.access)]
    config = (tmp_path / "mirror.git" / "config").read_text()
    assert not [secret for secret in secrets for text in (*told, config) if secret in text]


# --- git's own protocol ----------------------------------------------------------------------------------


def test_git_daemon_that_does_not_export_is_said(tmp_path: Path, new_mirror: NewMirror) -> None:
    """Told apart from a network."""
    with (
        git_daemon(tmp_path) as daemon,
        pytest.raises(GitUnavailable, match="the git daemon does not export it: check the URL"),
    ):
        new_mirror(daemon.url("nowhere.git")).heads([MAIN])


def test_a_machine_without_prlimit_still_reads(
    tmp_path: Path, origin: BareRepo, new_mirror: NewMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the limits are set a moment after the start."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))

    assert new_mirror(origin.url).known_heads() == {}
    mirror = new_mirror(origin.url)
    assert mirror.fetch(mirror.heads([MAIN]))
