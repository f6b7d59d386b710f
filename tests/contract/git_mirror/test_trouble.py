"""Remotes that are down, hang or refuse; machines where something is missing."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import Access, GitUnavailable, Mirror
from tests.contract.git_mirror.world import CONFIG, MAIN, TOKEN, NewMirror, bring, children, put_program, text
from tests.support.eventually import eventually
from tests.support.git_server import serving
from tests.support.prerequisites import require
from tests.support.repos import BareRepo, run_git

if TYPE_CHECKING:
    from pathlib import Path


def test_a_remote_that_is_down_is_said_and_a_remote_that_is_back_is_read(
    tmp_path: Path, new_mirror: NewMirror
) -> None:
    """Down: one sentence with the repository and the next step. Back: the same mirror goes on."""
    origin = BareRepo(tmp_path / "origin.git")
    origin.commit({CONFIG: "1"})
    with serving(tmp_path) as server:
        port, url = server.port, server.url("origin.git")
        mirror = new_mirror(url)
        bring(mirror)

    with pytest.raises(GitUnavailable) as down:
        mirror.heads([MAIN])

    cause = "nothing answers there: check that the server runs, and the host and port in the URL"
    assert str(down.value) == f"cannot read {url}: {cause}"
    commit = origin.commit({CONFIG: "2"})
    with serving(tmp_path, port=port):
        assert bring(mirror) == {MAIN: commit}
    assert text(mirror, commit) == "2"


def test_a_remote_that_accepts_and_never_answers_ends_at_the_time_limit(new_mirror: NewMirror) -> None:
    """A hanging server costs the limit and no more, and leaves no process behind."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/origin.git"
        mirror = new_mirror(url, look_timeout_seconds=1.0)
        mirror.known_heads()
        before = time.monotonic()

        with pytest.raises(GitUnavailable, match=r"no answer within 1 s: check the server and the network"):
            mirror.heads([MAIN])

        assert 0.9 < time.monotonic() - before < 10.0
    mirror.release()
    assert children() == []


def test_a_fetch_that_hangs_is_ended_and_the_mirror_goes_on(tmp_path: Path, new_mirror: NewMirror) -> None:
    """A server that dies after it has named its branches: the next fetch works, whatever was left behind."""
    origin = BareRepo(tmp_path / "origin.git")
    commit = origin.commit({CONFIG: "1"})
    with serving(tmp_path) as server:
        mirror = new_mirror(server.url("origin.git"), fetch_timeout_seconds=0.5)
        heads = mirror.heads([MAIN])
        server.hold.set()
        with pytest.raises(GitUnavailable, match=r"no answer within 0\.5 s"):
            mirror.fetch(heads)
        server.hold.clear()

        eventually(lambda: mirror.fetch(heads) == {MAIN: commit}, within=5.0)
    mirror.release()
    assert children() == []


@pytest.mark.parametrize(
    ("options", "status", "cause"),
    [
        pytest.param(
            {"token_file": "bad"}, 200, "the server refused the credentials: check token_file", id="bad-token"
        ),
        pytest.param({}, 200, "the server asks for credentials: set token_file", id="no-token"),
        pytest.param({"token_file": "gone"}, 200, "No such file or directory", id="no-token-file"),
        pytest.param(
            {"token_file": "good"}, 403, "may not read this repository: ask for read access", id="forbidden"
        ),
        pytest.param(
            {"token_file": "good"},
            404,
            "there is no such repository, or the credentials may not",
            id="not-found",
        ),
        pytest.param({"token_file": "good"}, 503, "git says: fatal: unable to access", id="server-error"),
        pytest.param(
            {"token_file": "good"}, 302, "the server redirects elsewhere: write the final URL", id="redirect"
        ),
    ],
)
def test_what_a_server_refuses_is_one_sentence_with_the_next_step(
    tmp_path: Path, new_mirror: NewMirror, options: dict[str, str], status: int, cause: str
) -> None:
    """Each refusal says which repository, why, and what to do; no token is in it."""
    BareRepo(tmp_path / "origin.git")
    (tmp_path / "good").write_text(TOKEN)
    (tmp_path / "bad").write_text("wrong-token")
    with serving(tmp_path, token=TOKEN) as server, serving(tmp_path) as other:
        server.status, server.location = status, other.url("")[:-1] if status == 302 else ""
        url = server.url("origin.git")
        files = {name: tmp_path / file for name, file in options.items()}
        mirror = new_mirror(url, access=Access(token_file=files.get("token_file")))

        with pytest.raises(GitUnavailable) as caught:
            mirror.heads([MAIN])

        why = str(caught.value)
        assert why.startswith(f"cannot read {url}: ")
        assert cause in why
        assert "\n" not in why
        assert TOKEN not in why
        assert "wrong-token" not in why
        assert other.requests == 0


def test_a_state_directory_where_nothing_may_run_is_said(tmp_path: Path, new_mirror: NewMirror) -> None:
    """Git gets the token from a script in the mirror; on a disk mounted noexec it cannot."""
    BareRepo(tmp_path / "origin.git")
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    with serving(tmp_path, token=TOKEN) as server:
        mirror = new_mirror(server.url("origin.git"), access=Access(token_file=token_file))
        mirror.known_heads()
        (tmp_path / "mirror.git" / "askpass").chmod(0o600)

        with pytest.raises(GitUnavailable, match="mount the state directory without noexec"):
            mirror.heads([MAIN])


def test_a_server_is_trusted_by_the_ca_file_alone(tmp_path: Path, new_mirror: NewMirror) -> None:
    """With its certificate in ca_file a server is read over TLS; without, it is refused."""
    require("openssl", shutil.which("openssl") is not None, "apt-get install openssl")
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*asked, *files], check=True, capture_output=True, timeout=20)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    commit = BareRepo(tmp_path / "origin.git").commit({CONFIG: "1"})
    with serving(tmp_path, tls=tls) as server:
        url = server.url("origin.git")

        assert new_mirror(url, "trusting.git", access=Access(ca_file=certificate)).heads([MAIN]) == {
            MAIN: commit
        }
        with pytest.raises(GitUnavailable, match="certificate is not trusted: check the URL and ca_file"):
            new_mirror(url, "wary.git").heads([MAIN])


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        (
            "git@git.example.com: Permission denied (publickey).",
            "the ssh server refused the key: check the key",
        ),
        ("No ED25519 host key is known.\nHost key verification failed.", "add it to known_hosts"),
        (
            "ssh: Could not resolve hostname git.example.com: Name or service not known",
            "check the URL and the name",
        ),
        ("ssh: connect to host git.example.com port 22: Connection refused", "nothing answers there"),
        ("ssh: connect to host git.example.com port 22: Connection timed out", "does not answer"),
        ("ERROR: Repository not found.", "there is no such repository, or the credentials may not see it"),
        ("\033[2Jkex: closed by https://u:hunter22@x", "git says: [2Jkex: closed by https://x"),
        ("", "git says: fatal: Could not read from remote repository."),
    ],
)
def test_what_ssh_says_is_one_sentence_with_the_next_step(
    tmp_path: Path, new_mirror: NewMirror, monkeypatch: pytest.MonkeyPatch, printed: str, cause: str
) -> None:
    """The line of ssh is the cause, not git's last one, and nothing in it can move a cursor."""
    put_program(
        tmp_path / "bin" / "ssh", f"#!/bin/sh\nprintf '%s\n' '{printed}' >&2\nexit 255\n", monkeypatch
    )

    with pytest.raises(GitUnavailable) as caught:
        new_mirror("git@git.example.com:x.git").heads([MAIN])

    why = caught.value.why
    assert why.startswith("cannot read git@git.example.com:x.git: ")
    assert cause in why
    assert why.isprintable()
    assert "hunter22" not in why


def test_a_repository_that_is_not_there_is_said(tmp_path: Path, new_mirror: NewMirror) -> None:
    """A typing error in a path is told apart from a network."""
    mirror = new_mirror(f"{tmp_path}/nowhere")

    with pytest.raises(GitUnavailable, match=r"nowhere: there is no git repository: check the URL"):
        mirror.heads([MAIN])


def test_a_repository_with_sha256_names_is_refused(tmp_path: Path, new_mirror: NewMirror) -> None:
    """GitPython 3.2 reads SHA-1 names only; the sentence says so, where git would speak of algorithms."""
    run_git("init", "--quiet", "--bare", "--object-format=sha256", str(tmp_path / "origin.git"))
    origin = BareRepo(tmp_path / "origin.git")
    origin.commit({CONFIG: "1"})

    with pytest.raises(GitUnavailable, match="deployer cannot read SHA-256 object names"):
        new_mirror(origin.url).heads([MAIN])


def test_a_token_that_nobody_would_be_given_is_refused(tmp_path: Path) -> None:
    """A token has no use with ssh: who set one expects something that will not happen."""
    with pytest.raises(ValueError, match="tokens are for https"):
        Mirror(
            tmp_path / "mirror.git",
            "ssh://git.example.com/x.git",
            access=Access(token_file=tmp_path / "token"),
        )


def test_a_state_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The disk's own word is in the message."""
    origin = BareRepo(tmp_path / "origin.git")
    (tmp_path / "file").write_text("")
    mirror = Mirror(tmp_path / "file" / "mirror.git", origin.url)

    with pytest.raises(GitUnavailable, match=r"Not a directory: check the disk of the state directory"):
        mirror.known_heads()


def test_git_that_is_not_installed_is_said(
    tmp_path: Path, new_mirror: NewMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without git gives a sentence, not a traceback."""
    origin = BareRepo(tmp_path / "origin.git")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GitUnavailable, match=r"git command is not installed or not in PATH: install git"):
        new_mirror(origin.url).known_heads()
