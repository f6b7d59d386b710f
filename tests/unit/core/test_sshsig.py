"""Signatures of ssh: what ssh-keygen made, and everything that is not quite it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.ssh_keys import PublicKey, public_keys, string
from deployer.core.sshsig import InvalidSignature, parse, unarmored, verify
from tests.support.note_signer import NoteSigner

ADA = NoteSigner("ada")
CONTENT = b"three\nlines\nof text\n"
BLOB = ADA.sign(CONTENT)

# Made by ssh-keygen of OpenSSH 9.2, over `hello` and a newline, for deployer-audit.
[SSH_KEY] = public_keys(
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOji0FmO3ZrsISHv/1O7sx1CT+J0ybmA9BYWXYtJPuQn", "deployer-audit"
)
OF_SSH = {
    "sha512": """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg6OLQWY7dmuwhIe//U7uzHUJP4n
TJuYD0FhZdi0k+5CcAAAAOZGVwbG95ZXItYXVkaXQAAAAAAAAABnNoYTUxMgAAAFMAAAAL
c3NoLWVkMjU1MTkAAABADRlIwHdqC6eow5ZeubHyJSxAhF3Rzzljh1aLUIeB2PHOpTXuA6
zA1W4F24HSUxo9ZMQ9nyJTRW1Vf/TChXlJCQ==
-----END SSH SIGNATURE-----
""",
    "sha256": """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg6OLQWY7dmuwhIe//U7uzHUJP4n
TJuYD0FhZdi0k+5CcAAAAOZGVwbG95ZXItYXVkaXQAAAAAAAAABnNoYTI1NgAAAFMAAAAL
c3NoLWVkMjU1MTkAAABAn5wFq+ljcf0+y950KcCVN0nkYUfbQtwZjte6ryEzQVS5nQ4O+I
IE49r80LbqSvQEfhGNIgaa0qKsOAZND2wrAQ==
-----END SSH SIGNATURE-----
""",
}
ECDSA = """\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE
EExlgENHAFniCHx0Yyg3GgYV9RzUWT6a1pIEfw0Z9rs2pO3T1LAXylF10cieZfHke2Jbqb
9SuNQ0dq+mC18O3k1gAAAA5kZXBsb3llci1hdWRpdAAAAAAAAAAGc2hhNTEyAAAAYwAAAB
NlY2RzYS1zaGEyLW5pc3RwMjU2AAAASAAAACBvvLEtuSa3tjxo56AOfDlcxChYnZHPtg/l
80xfd51CDAAAACBtdukBxy6gqTJP9u4WbWjjb4HPiKLzHYe/qOxAXOcc7g==
-----END SSH SIGNATURE-----
"""


def check(blob: bytes, content: bytes = CONTENT, key: PublicKey = ADA.key) -> None:
    """Verify, as it is done with checkpoints."""
    verify(blob, content, namespace="deployer-audit", key=key)


@pytest.mark.parametrize("algorithm", OF_SSH)
def test_what_ssh_signed_is_taken(algorithm: str) -> None:
    """With either hash that ssh offers, and for nothing else than what was signed."""
    blob = unarmored(OF_SSH[algorithm])
    signature = parse(blob)

    check(blob, b"hello\n", SSH_KEY)
    assert (signature.key, signature.namespace, signature.hash) == (SSH_KEY, "deployer-audit", algorithm)
    with pytest.raises(InvalidSignature, match="the key did not sign this text"):
        check(blob, b"hello", SSH_KEY)


def test_the_signer_of_the_tests_is_taken_too() -> None:
    """So what is refused below is refused for its one difference."""
    check(BLOB)
    check(ADA.sign(CONTENT, hash_="sha256"))


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (NoteSigner("eve").sign(CONTENT), "it was made with the key SHA256:"),
        (ADA.sign(CONTENT, namespace="git"), "it was made for git, not for deployer-audit"),
        (
            ADA.sign(CONTENT, namespace="git\n\x1b[2J"),
            "it was made for something else, not for deployer-audit",
        ),
        (ADA.sign(CONTENT, namespace=b"\xff"), "its namespace is not text"),
        (ADA.sign(b"three\nother\nlines\n"), "the key did not sign this text"),
        (ADA.sign(CONTENT, hash_="md5"), "its hash is neither sha256 nor sha512"),
        (ADA.sign(CONTENT, hash_="SHA512"), "its hash is neither sha256 nor sha512"),
        (
            ADA.sign(CONTENT, reserved=b"x"),
            "it holds something where ssh reserves a place and writes nothing",
        ),
        (ADA.sign(CONTENT, magic=b"SSHSIF"), "it does not begin as an ssh signature does"),
        (ADA.sign(CONTENT, version=2), "it is an ssh signature of version 2, and only version 1 is known"),
        (ADA.sign(CONTENT, kind="ssh-ed448"), "it is not of an ssh-ed25519 key"),
        (unarmored(ECDSA), "it is not of an ssh-ed25519 key"),
        (BLOB + b"\0", "something stands behind its end"),
        (BLOB[:-1], "it ends in the middle"),
        (b"", "it ends in the middle"),
        (BLOB[:10] + b"\xff\xff\xff\xff" + BLOB[14:], "it ends in the middle"),
    ],
)
def test_whatever_else_is_refused(blob: bytes, why: str) -> None:
    """With the reason, without control characters."""
    with pytest.raises(InvalidSignature) as caught:
        check(blob)

    assert str(caught.value).startswith(why)
    assert str(caught.value).isprintable()


@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_no_byte_can_be_another(place: int, change: int) -> None:
    """Not one of the whole signature."""
    changed = bytearray(BLOB)
    changed[place] ^= change

    with pytest.raises(InvalidSignature):
        check(bytes(changed))


@pytest.mark.parametrize("size", [31, 33])
def test_a_key_and_a_value_have_their_length(size: int) -> None:
    """Also where the lengths around them fit."""
    longer = string(b"ssh-ed25519") + string(bytes(size))
    start = b"SSHSIG\0\0\0\1"
    rest = BLOB[len(start) + 4 + 51 :]

    with pytest.raises(InvalidSignature, match="its key or its value has not the length of ssh-ed25519"):
        parse(start + string(longer) + rest)
    with pytest.raises(InvalidSignature, match="its key or its value has not the length of ssh-ed25519"):
        parse(start + string(string(b"ssh-ed25519") + string(bytes(32)) + b"\0") + rest)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_signature_or_refused(blob: bytes) -> None:
    """Nothing else is raised."""
    with pytest.raises(InvalidSignature):
        parse(b"SSHSIG\0\0\0\1" + blob)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it does not stand between the lines"),
        (OF_SSH["sha512"].replace("BEGIN", "BEGINN"), "it does not stand between the lines"),
        (OF_SSH["sha512"].removesuffix("\n"), "it does not stand between the lines"),
        (OF_SSH["sha512"].replace("==", "="), "what stands between the lines of a signature is not base64"),
        (
            OF_SSH["sha512"].replace("U1NI", "U1N\u00e4"),
            "what stands between the lines of a signature is not base64",
        ),
    ],
)
def test_what_is_not_armored_so_is_refused(text: str, why: str) -> None:
    """The lines of ssh, and base64 between them."""
    with pytest.raises(InvalidSignature, match=why):
        unarmored(text)
