"""What `contrib/verify-audit.py` has of its own: Ed25519, SSHSIG, notes and keys, each beside the core's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core import checkpoint, ed25519, ssh_keys, sshsig
from tests.support.audited import ORIGIN, script
from tests.support.note_signer import NoteSigner, public_key, raw_signature, signature_without_nonce
from tests.unit.core.test_checkpoint import TEXT as NOTE
from tests.unit.core.test_ed25519 import KEY, MESSAGE, ORDER, SIGNATURE, VECTORS, P, little
from tests.unit.core.test_ssh_keys import ADA, BOB
from tests.unit.core.test_sshsig import BLOB, CONTENT

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
SIGNER = NoteSigner("ada")
KEY_LINES = (
    f"{ADA}\n",
    f"{BOB} bob\n",
    f'ada namespaces="git" {ADA}\n',
    f'ada namespaces="deployer-*,!x" {BOB}\n',
    f'ada namespaces="*,!deployer-audit" {BOB}\n',
    f'ada namespaces="deployer.audit" {BOB}\n',
    f"ada cert-authority {ADA}\n",
    f"{ADA[:-1]}\n",
    "ssh-rsa AAAA\n",
    "# nothing\n",
    "\n",
    "x\n",
    "ssh-ed25519 \u00e4\n",
)


def texts(lines: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Some of these lines, one below the other."""
    return st.lists(lines, max_size=12).map("".join)


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_the_rfc(name: str) -> None:
    """As with our own."""
    _, public, message, signature = map(bytes.fromhex, VECTORS[name])

    assert script.is_key(public)
    assert script.signed(public, message, signature)
    assert not script.signed(public, message + b"x", signature)


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=50), st.integers(0, 95), st.integers(0, 255))
def test_both_take_the_same_signatures(seed: bytes, message: bytes, place: int, change: int) -> None:
    """Of whatever was signed, and of whatever was changed in it."""
    changed = bytearray(public_key(seed) + raw_signature(seed, message))
    changed[place] ^= change
    public, signature = bytes(changed[:32]), bytes(changed[32:])

    assert script.signed(public, message, signature) is (change == 0)
    assert ed25519.verify(public, message, signature) is (change == 0)


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        (KEY, SIGNATURE[:63]),
        (KEY, SIGNATURE + b"\0"),
        (KEY[:31], SIGNATURE),
        (KEY, SIGNATURE[:32] + little(int.from_bytes(SIGNATURE[32:], "little") + ORDER)),
        *(
            (KEY, signature_without_nonce(bytes.fromhex(VECTORS["TEST 3"][0]), MESSAGE, little(r)))
            for r in (1 | 1 << 255, P + 1, P + 1 | 1 << 255)
        ),
        # A key of order 1, with which s = 0 and R = 1 fit everything.
        (little(1), little(1) + little(0)),
    ],
    ids=["short", "long", "short key", "s + order", "signed zero", "y + p", "both", "small order"],
)
def test_a_signature_in_a_second_way_is_refused(key: bytes, signature: bytes) -> None:
    """As with our own."""
    assert not script.signed(key, MESSAGE, signature)
    assert not ed25519.verify(key, MESSAGE, signature)


def outcome(blob: bytes) -> tuple[str, str]:
    """What each of them says of a signature; "" if it is good."""
    said = ["", ""]
    try:
        script.require_signed(blob, CONTENT, SIGNER.key.raw)
    except script.BadSignature as error:
        said[0] = str(error)
    try:
        sshsig.verify(blob, CONTENT, namespace="deployer-audit", key=SIGNER.key)
    except sshsig.InvalidSignature as error:
        said[1] = str(error)
    return said[0], said[1]


@given(st.integers(0, len(BLOB) - 1), st.integers(0, 255), st.integers(0, len(BLOB)))
def test_both_say_the_same_of_a_signature(place: int, change: int, length: int) -> None:
    """With a byte changed, or cut off, or both."""
    changed = bytearray(BLOB)
    changed[place] ^= change
    for blob in (bytes(changed), bytes(changed[:length]), bytes(changed) + b"\0"):
        theirs, ours = outcome(blob)
        assert theirs == ours
        assert bool(theirs) is (blob != BLOB)


def result(read: Callable[[], T], refusal: type[Exception]) -> T | str:
    """What is read, or why it is refused."""
    try:
        return read()
    except refusal as error:
        return str(error)


LINES = st.sampled_from([*NOTE.splitlines(keepends=True), "\n", "x\n"])


@given(st.text(alphabet=st.sampled_from(f"{NOTE}0 \r\u00e4"), max_size=300) | texts(LINES))
def test_both_read_the_same_notes(text: str) -> None:
    """Or refuse them with the same words."""
    ours = result(
        lambda: [
            (f"x:{note.line}", note.checkpoint.origin, note.checkpoint.size, note.checkpoint.root)
            for note in checkpoint.parse_all(text)
        ],
        checkpoint.InvalidCheckpoint,
    )
    theirs = result(
        lambda: [(note.place, note.origin, note.size, note.root) for note in script.read_notes(text, "x")],
        script.CannotCheck,
    )

    assert theirs == ours


@given(texts(st.sampled_from(KEY_LINES)) | st.text(max_size=60))
def test_both_read_the_same_keys(text: str) -> None:
    """Or refuse them with the same words. One that stands there twice counts once."""
    ours = result(
        lambda: {key.raw for key in ssh_keys.public_keys(text, "deployer-audit")}, ssh_keys.InvalidKeys
    )
    theirs = result(lambda: set(script.read_keys(text)), script.CannotCheck)

    assert theirs == ours


def test_both_give_a_key_the_same_id() -> None:
    """So each finds the signatures that it is to check."""
    note = SIGNER.note(ORIGIN, 7, bytes(32))
    [theirs] = script.read_notes(note.text, "x")

    assert theirs.doubt(ORIGIN, [SIGNER.key.raw]) == ""
    assert theirs.doubt(ORIGIN, [NoteSigner("eve").key.raw]) == "is not signed with a key that was given"
    named = ORIGIN.encode() + b"\n" + script.KEY_TYPE + script.key_blob(SIGNER.key.raw)
    assert checkpoint.key_id(ORIGIN, SIGNER.key) == hashlib.sha256(named).digest()[:4]
