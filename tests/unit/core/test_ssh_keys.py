"""Public keys: the forms of files that hold them, and what a line may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.ssh_keys import InvalidKeys, PublicKey, public_keys, string

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
