"""Public keys: the forms of files that hold them, and what a line may ask for."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.ssh_keys import InvalidKeys, PublicKey, private_key, public_keys, string
from tests.support.note_signer import NoteSigner

# Made by ssh-keygen, as is the fingerprint.
ADA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOji0FmO3ZrsISHv/1O7sx1CT+J0ybmA9BYWXYtJPuQn"
FINGERPRINT = "SHA256:u4GfJo08jvx8qDVr8RMUShk5X1hZ6mBrwji0hfg5VBE"
BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKs9z0QjVbYDnJWvXfCLHX8BBzNxi4b"
)
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7"


def lines(text: str) -> list[str]:
    """What is read of it, written down again."""
    return [key.line for key in public_keys(text, "deployer-audit")]


def test_a_key_is_shown_as_ssh_shows_it() -> None:
    """Its line and its fingerprint."""
    [key] = public_keys(f"{ADA} ada@example.com\n", "deployer-audit")

    assert (key.line, key.fingerprint) == (ADA, FINGERPRINT)
    assert len(key.raw) == 32
    assert key.blob.endswith(key.raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(ADA, [ADA], id="a .pub file, without an end of line"),
        pytest.param(f"# keys\n\n{ADA} ada\n  # more\n{BOB}\n", [ADA, BOB], id="two of them, and comments"),
        pytest.param(f"{ADA}\n{BOB}\n{ADA} again\n", [ADA, BOB], id="one twice"),
        pytest.param(f"ada@example.com {ADA} laptop\n", [ADA], id="allowed signers"),
        pytest.param(f"*.example.com,ssh-bot {ADA}\n", [ADA], id="patterns of people"),
        pytest.param(f'"ada the first" {ADA}\n', [ADA], id="a name with spaces"),
        pytest.param(f'ada namespaces="deployer-audit" {ADA}\n', [ADA], id="for checkpoints"),
        pytest.param(f'ada namespaces="git,deployer-*" {ADA}\n', [ADA], id="by a pattern"),
        pytest.param(f'ada namespaces="gi?,deployer?audit" {ADA}\n', [ADA], id="by a character"),
        pytest.param(f'ada namespaces="*,!deployer-*" {ADA}\n{BOB}\n', [BOB], id="for all but these"),
        pytest.param(f'ada namespaces="deployer.audit,[a-z]*" {ADA}\n{BOB}\n', [BOB], id="no other patterns"),
        pytest.param(
            f'ada NAMESPACES="git,file",namespaces="deployer-audit" {ADA}\n{BOB}\n', [BOB], id="for both"
        ),
        pytest.param(f'ada namespaces="git" {ADA}\nbob {BOB}\n', [BOB], id="one for commits only"),
        pytest.param(f"{RSA}\ncarol {ECDSA}\n{ADA}\n", [ADA], id="other kinds of keys are passed over"),
        pytest.param(f"sk-ssh-ed25519@openssh.com AAAA\n{ADA}\r\n", [ADA], id="a key in hardware"),
    ],
)
def test_the_keys_of_a_file(text: str, expected: list[str]) -> None:
    """Those that may sign checkpoints."""
    assert lines(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no ssh-ed25519 key for deployer-audit in it"),
        (f"# {ADA}\n", "there is no ssh-ed25519 key for deployer-audit in it"),
        (f"{RSA}\n", "there is no ssh-ed25519 key for deployer-audit in it"),
        (f'ada namespaces="git" {ADA}\n', "there is no ssh-ed25519 key for deployer-audit in it"),
        (f"{ADA}\nssh-ed25519\n", "line 2 is neither of a .pub file nor of allowed signers"),
        (f"\nada one two {ADA}\n", "line 2 is neither of a .pub file nor of allowed signers"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 1 is neither of a .pub file nor of allowed signers"),
        (f"{ADA[:-4]}\n", "line 1 holds no ssh-ed25519 key: is it whole?"),
        (f"{ADA[:-1]}\n", "line 1 holds no ssh-ed25519 key: is it whole?"),
        (f"{ADA}AAAA\n", "line 1 holds no ssh-ed25519 key: is it whole?"),
        (f"{ADA.replace('C3Nz', 'C3Nx')}\n", "line 1 holds no ssh-ed25519 key: is it whole?"),
        ("ssh-ed25519 \u00e4\n", "line 1 holds no ssh-ed25519 key: is it whole?"),
        (
            f'ada valid-before="20270101" {ADA}\n',
            "line 1 has an option that a checkpoint cannot be held against",
        ),
        (f"ada cert-authority {ADA}\n", "line 1 has an option that a checkpoint cannot be held against"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, why: str) -> None:
    """With the line. A restriction that cannot be kept is not passed over."""
    with pytest.raises(InvalidKeys) as caught:
        lines(text)

    assert why in str(caught.value)


def test_a_key_with_which_anything_fits_is_refused() -> None:
    """It is a point of the curve, but of a small order."""
    weak = PublicKey(raw=(1).to_bytes(32, "little"))

    with pytest.raises(InvalidKeys, match="line 1 holds no ssh-ed25519 key"):
        lines(weak.line)


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    """Nothing else is raised, and nothing of it is quoted."""
    with pytest.raises(InvalidKeys, match=r"\A[\x20-\x7e]+\Z"):
        lines(text)


def test_a_string_has_its_length_before_it() -> None:
    """Four bytes, the highest first."""
    assert string(b"ab") == b"\0\0\0\2ab"


# --- private keys: their public half ----------------------------------------------------------------------

_KEY_LINES = ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----")


def _private(cipher: bytes = b"none", kind: bytes = b"ssh-ed25519", raw: bytes | None = None) -> str:
    """A file as ssh-keygen writes one, without what is secret in it: that is never looked at."""
    key = string(kind) + string(NoteSigner("ada").key.raw if raw is None else raw)
    head = b"openssh-key-v1\0" + string(cipher) + string(b"none") + string(b"") + (1).to_bytes(4, "big")
    return "\n".join(
        [_KEY_LINES[0], base64.b64encode(head + string(key) + string(b"")).decode(), _KEY_LINES[1]]
    )


def test_the_public_half_of_a_private_key() -> None:
    """`tests/unit/test_settings_audit.py` does it with what ssh-keygen writes."""
    assert private_key(_private()) == NoteSigner("ada").key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it holds no private key in the form that ssh-keygen writes"),
        ("ssh-ed25519 AAAA\n", "it holds no private key in the form that ssh-keygen writes"),
        ("\n".join(_KEY_LINES), "it holds no private key in the form that ssh-keygen writes"),
        ("\n".join([_KEY_LINES[0], "%", _KEY_LINES[1]]), "is no private key: is it whole?"),
        ("\n".join([_KEY_LINES[0], "AAAA", _KEY_LINES[1]]), "is no private key: is it whole?"),
        (_private(cipher=b"aes256-ctr"), "its key has a passphrase, and nobody is there to type it"),
        (_private(kind=b"ssh-rsa"), "its key is of another kind, and only ssh-ed25519 is taken"),
        (_private(raw=bytes(32)), "its key is of another kind, and only ssh-ed25519 is taken"),
    ],
)
def test_a_private_key_that_cannot_sign_is_refused(text: str, why: str) -> None:
    """With what is wrong."""
    with pytest.raises(InvalidKeys, match=re.escape(why)):
        private_key(text)
