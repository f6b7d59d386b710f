"""Signing with the real ssh-keygen: what it makes is taken, and what keeps it from signing is said."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.ssh_signing import CannotSign, public_key, sign
from deployer.core.checkpoint import NAMESPACE, Checkpoint, parse, signed
from deployer.core.sshsig import parse as parse_signature
from deployer.core.sshsig import verify
from tests.support.note_signer import NoteSigner
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from pathlib import Path

require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")

MESSAGE = b"deployer.example.com/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


def made(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair of ssh-keygen's."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "audit", "-f", str(path)],
        check=True,
        timeout=20,
    )
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key, in a folder whose name a shell would split."""
    folder = tmp_path / "a folder; with $signs"
    folder.mkdir()
    return made(folder / "audit_key")


def refusal(key_file: Path) -> str:
    """What is said instead of a signature."""
    with pytest.raises(CannotSign) as caught:
        sign(key_file, NAMESPACE, MESSAGE)
    text = str(caught.value)
    assert text.startswith(f"cannot sign with {key_file}: ")
    assert text.isprintable()
    return text


def test_what_ssh_keygen_signs_is_taken(key: Path) -> None:
    """By our own check, and a checkpoint with it is a note that can be read again."""
    signature = sign(key, NAMESPACE, MESSAGE)
    half = public_key(key)
    checkpoint = Checkpoint(origin="deployer.example.com/audit", size=7, root=bytes(32))
    note = signed(checkpoint, half, sign(key, NAMESPACE, checkpoint.text.encode()))

    verify(signature, MESSAGE, namespace=NAMESPACE, key=half)
    assert f"{half.line} audit\n" == key.with_name("audit_key.pub").read_text()
    assert parse(note.text).is_signed_by(half)


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_ssh_keygen_takes_what_the_tests_sign(algorithm: str, tmp_path: Path) -> None:
    """The signer of the tests, which needs no process, makes what ssh-keygen would make."""
    ada = NoteSigner("ada")
    (tmp_path / "allowed").write_text(f"ada {ada.key.line}\n")
    (tmp_path / "signature").write_bytes(armored(ada.sign(MESSAGE, hash_=algorithm)))
    done = subprocess.run(
        [
            *("ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "allowed"), "-I", "ada", "-n", NAMESPACE),
            *("-s", str(tmp_path / "signature")),
        ],
        input=MESSAGE,
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert parse_signature(ada.sign(MESSAGE, hash_=algorithm)).hash == algorithm


def armored(blob: bytes) -> bytes:
    """A signature as ssh reads it."""
    lines = base64.encodebytes(blob)
    return b"-----BEGIN SSH SIGNATURE-----\n" + lines + b"-----END SSH SIGNATURE-----\n"


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And what is no file."""
    assert "No such file or directory. It is to be a file" in refusal(tmp_path / "nothing")
    assert "it is no file" in refusal(tmp_path)


def test_a_key_that_others_can_read_is_not_used(key: Path) -> None:
    """It may be known already, so a new one is asked for."""
    for mode in (0o644, 0o640, 0o602):
        key.chmod(mode)
        assert "others can read or change it" in refusal(key)
    key.chmod(0o400)
    assert sign(key, NAMESPACE, MESSAGE)


def test_a_credential_of_systemd_is_used(key: Path) -> None:
    """It is another user's, and its group bits are those of a list that names the daemon's user."""
    key.chmod(0o440)
    assert "others can read or change it" in refusal(key)
    if os.geteuid() != 0:
        return  # only root can give a file away
    os.chown(key, 1, 0)
    assert sign(key, NAMESPACE, MESSAGE)

    key.chmod(0o444)
    assert "others can read or change it" in refusal(key)


def test_a_key_that_this_user_may_not_read_is_named(key: Path) -> None:
    """Root may read any, so it cannot see this."""
    if os.geteuid() == 0:
        assert sign(key, NAMESPACE, MESSAGE)
        return
    key.chmod(0)
    assert "this user may not read it" in refusal(key)


def test_a_key_of_another_kind_is_named(tmp_path: Path) -> None:
    """With its kind, and how to make a good one."""
    text = refusal(made(tmp_path / "key", "ecdsa"))

    assert "it is a key of ecdsa-sha2-nistp256, and only ssh-ed25519 is taken" in text
    assert f"`ssh-keygen -t ed25519 -N '' -f {tmp_path / 'key.new'}`" in text


def test_a_key_with_a_passphrase_is_named_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where a desktop offers a window for it."""
    asked = tmp_path / "asked"
    program = tmp_path / "askpass"
    program.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(asked))}\necho secret\n")
    program.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("DISPLAY", ":0")

    assert "it has a passphrase" in refusal(made(tmp_path / "key", passphrase="secret"))
    assert not asked.exists()


@pytest.mark.parametrize("content", ["", "junk\n", "ssh-ed25519 AAAA\n"])
def test_what_is_no_key_is_named(content: str, tmp_path: Path) -> None:
    """With ssh-keygen's own words."""
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)

    assert "ssh-keygen refused it (" in refusal(path)


def test_a_public_key_does_not_let_an_agent_sign(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh-keygen would ask an agent for the private half."""
    public = key.with_name("audit_key.pub")
    public.chmod(0o600)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")

    assert "It is to hold a private key" in refusal(public)


def test_without_ssh_keygen_it_says_what_to_install(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is looked for where the PATH says."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "there is no ssh-keygen. Install it: `apt-get install openssh-client`." in refusal(key)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'No user exists for uid 4711' >&2; exit 255", "ssh needs a user of this process's number"),
        ("printf '\\033[2Jno\\n\\n' >&2; exit 1", "ssh-keygen refused it (no)"),
        ("exit 1", "ssh-keygen refused it (it gave no reason)"),
        ("echo", "it is a key of no kind that ssh-keygen names"),
        ("case $1 in -y) cat {key}.pub;; *) echo;; esac", "made a signature that does not fit"),
    ],
)
def test_an_ssh_keygen_that_does_other_things(
    script: str, why: str, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says is said on, as one harmless line; what it signs is checked before it is given away."""
    program = tmp_path / "ssh-keygen"
    program.write_text(f"#!/bin/sh\n{script.replace('{key}', shlex.quote(str(key)))}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert why in refusal(key)


def test_an_ssh_keygen_that_cannot_be_started(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and is no program."""
    program = tmp_path / "ssh-keygen"
    program.write_text("")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "ssh-keygen could not be started: Exec format error." in refusal(key)


def test_an_ssh_keygen_that_does_not_end_is_ended(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that it is given."""
    program = tmp_path / "ssh-keygen"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(CannotSign, match=r"ssh-keygen did not end within 0\.2 s\."):
        sign(key, NAMESPACE, MESSAGE, timeout_seconds=0.2)
