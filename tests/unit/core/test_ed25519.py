"""Ed25519: the vectors of RFC 8032, another implementation, and every second way to write a signature."""

from __future__ import annotations

import hashlib
import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core import ed25519
from tests.support.note_signer import public_key, raw_signature, signature_without_nonce
from tests.support.prerequisites import require

# RFC 8032, 7.1: private key, public key, message, signature. Left out is the one of 1,023 bytes.
VECTORS = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
        "3dca179c138ac17ad9bef1177331a704",
    ),
}
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
KEY, MESSAGE, SIGNATURE = (bytes.fromhex(text) for text in VECTORS["TEST 3"][1:])


def little(number: int) -> bytes:
    """A number as 32 bytes."""
    return number.to_bytes(32, "little")


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_the_rfc(name: str) -> None:
    """Each signature is one of its key and message; the signer of the tests makes the same."""
    private, public, message, signature = map(bytes.fromhex, VECTORS[name])

    assert ed25519.is_key(public)
    assert ed25519.verify(public, message, signature)
    assert (public_key(private), raw_signature(private, message)) == (public, signature)


@given(st.integers(0, 32 + 2 + 64 - 1), st.integers(0, 7))
def test_no_bit_can_be_another(place: int, bit: int) -> None:
    """Of the key, of the message, of the signature."""
    changed = bytearray(KEY + MESSAGE + SIGNATURE)
    changed[place] ^= 1 << bit

    assert not ed25519.verify(bytes(changed[:32]), bytes(changed[32:34]), bytes(changed[34:]))


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.data())
def test_it_agrees_with_another_implementation(seed: bytes, message: bytes, data: st.DataObject) -> None:
    """What `cryptography` signs is taken; of what was changed, each takes what the other takes."""
    require("cryptography", importlib.util.find_spec("cryptography") is not None, "make test")
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - asked for above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    signature = private.sign(message)
    assert ed25519.verify(public, message, signature)
    assert raw_signature(seed, message) == signature

    changed = bytearray(public + signature)
    changed[data.draw(st.integers(0, 95))] = data.draw(st.integers(0, 255))
    try:
        Ed25519PublicKey.from_public_bytes(bytes(changed[:32])).verify(bytes(changed[32:]), message)
        theirs = True
    except InvalidSignature:
        theirs = False
    assert ed25519.verify(bytes(changed[:32]), message, bytes(changed[32:])) is theirs


def test_a_number_that_is_not_reduced_is_refused() -> None:
    """With the order of the curve added it would fit as well: the same signature in a second way."""
    s = int.from_bytes(SIGNATURE[32:], "little")

    assert ed25519.verify(KEY, MESSAGE, SIGNATURE[:32] + little(s))
    assert not ed25519.verify(KEY, MESSAGE, SIGNATURE[:32] + little(s + ORDER))


@pytest.mark.parametrize(
    ("r", "is_taken"),
    [(1, True), (1 | 1 << 255, False), (P + 1, False), (P + 1 | 1 << 255, False)],
    ids=["as it is to be", "with a sign", "not reduced", "both"],
)
def test_a_point_is_written_in_one_way(r: int, *, is_taken: bool) -> None:
    """The signature fits, if another way to write its first half is let pass."""
    private = bytes.fromhex(VECTORS["TEST 3"][0])
    signature = signature_without_nonce(private, MESSAGE, little(r))

    assert ed25519.verify(KEY, MESSAGE, signature) is is_taken
    assert (ed25519._decoded(little(r)) is not None) is is_taken


@pytest.mark.parametrize("length", [0, 63, 65, 96])
def test_a_signature_has_64_bytes(length: int) -> None:
    """Neither more nor less."""
    assert not ed25519.verify(KEY, MESSAGE, (SIGNATURE * 2)[:length])


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(b"", id="empty"),
        pytest.param(KEY[:31], id="cut off"),
        pytest.param(KEY + b"\0", id="too long"),
        pytest.param(little(P), id="y is p, which is 0 in another way"),
        pytest.param(little(2**255 - 1), id="y beyond p"),
        pytest.param(little(2), id="not on the curve"),
        pytest.param(little(1 | 1 << 255), id="minus zero"),
    ],
)
def test_what_is_no_point_is_no_key(key: bytes) -> None:
    """Also where others would reduce a number, or pass over a sign."""
    assert not ed25519.is_key(key)
    assert not ed25519.verify(key, MESSAGE, SIGNATURE)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(little(1), id="order 1"),
        pytest.param(little(P - 1), id="order 2"),
        pytest.param(little(0), id="order 4"),
        pytest.param(little(0 | 1 << 255), id="order 4, the other"),
        pytest.param(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), id="order 8"
        ),
    ],
)
def test_a_key_of_a_small_order_is_no_key(key: bytes) -> None:
    """With it a signature that nobody made fits many messages."""
    assert ed25519._decoded(key) is not None
    assert not ed25519.is_key(key)
    # R = 1, s = 0: fits wherever the challenge is a multiple of the order, so one time in eight at least.
    assert not any(ed25519.verify(key, bytes([n]), little(1) + little(0)) for n in range(64))
