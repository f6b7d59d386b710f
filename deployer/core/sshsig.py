"""Signatures that `ssh-keygen -Y sign` makes (OpenSSH's PROTOCOL.sshsig).

Owns their form, and what of them is believed. Must not know what is signed, nor run a program. Invariant:
`verify` returns only if the owner of the very key that was asked for signed exactly this content for
exactly this namespace; all else raises InvalidSignature, and no byte is taken that another reader could
take in another way.

Only Ed25519: its signatures are made and checked without any choice that could be made wrongly, and are
short.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from deployer.core import ed25519
from deployer.core.ssh_keys import KIND, PublicKey, string

_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = ("sha256", "sha512")
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
_HARMLESS = re.compile(r"[A-Za-z0-9@._/-]{1,64}")
"""A namespace that may be repeated in a message. Whoever made the signature chose it."""


class InvalidSignature(ValueError):  # noqa: N818 - says what was wrong, not that it is an error
    """These bytes are no signature, or not one of that key, content or namespace. The message says which.

    It goes on after "the signature is no good: ", without a full stop.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a signature says of itself, none of it proven."""

    key: PublicKey
    namespace: str
    hash: str
    value: bytes

    def signed(self, content: bytes) -> bytes:
        """The bytes that were really signed, if this is a signature of that content."""
        digest = hashlib.new(self.hash, content).digest()
        return _MAGIC + b"".join(
            map(string, (self.namespace.encode(), b"", self.hash.encode(), digest)),
        )


def verify(blob: bytes, content: bytes, *, namespace: str, key: PublicKey) -> None:
    """Return if the owner of this key signed this content for this namespace. Raises InvalidSignature."""
    signature = parse(blob)
    if signature.key != key:
        message = f"it was made with the key {signature.key.fingerprint}, not with {key.fingerprint}"
        raise InvalidSignature(message)
    if signature.namespace != namespace:
        other = signature.namespace if _HARMLESS.fullmatch(signature.namespace) else "something else"
        message = f"it was made for {other}, not for {namespace}"
        raise InvalidSignature(message)
    if not ed25519.verify(key.raw, signature.signed(content), signature.value):
        message = "the key did not sign this text"
        raise InvalidSignature(message)


def parse(blob: bytes) -> Signature:
    """Take a signature apart: the bytes that stand in base64 between the lines of its armor.

    Raises InvalidSignature.
    """
    reader = _Reader(blob)
    if reader.take(len(_MAGIC)) != _MAGIC:
        message = "it does not begin as an ssh signature does"
        raise InvalidSignature(message)
    version = reader.number()
    if version != _VERSION:
        message = f"it is an ssh signature of version {version}, and only version {_VERSION} is known"
        raise InvalidSignature(message)
    key, namespace, reserved, named, value = (reader.string() for _ in range(5))
    if not reader.at_end:
        message = "something stands behind its end"
        raise InvalidSignature(message)
    if reserved:
        message = "it holds something where ssh reserves a place and writes nothing"
        raise InvalidSignature(message)
    if named not in {name.encode() for name in _HASHES}:
        message = f"its hash is neither {' nor '.join(_HASHES)}"
        raise InvalidSignature(message)
    try:
        purpose = namespace.decode()
    except UnicodeDecodeError:
        message = "its namespace is not text"
        raise InvalidSignature(message) from None
    return Signature(
        key=PublicKey(raw=_of_our_kind(key, ed25519.PUBLIC_KEY_BYTES)),
        namespace=purpose,
        hash=named.decode(),
        value=_of_our_kind(value, ed25519.SIGNATURE_BYTES),
    )


def unarmored(text: str) -> bytes:
    """The bytes of a signature as `ssh-keygen -Y sign` prints it. Raises InvalidSignature."""
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        message = "it does not stand between the lines that ssh writes around a signature"
        raise InvalidSignature(message)
    try:
        return base64.b64decode(text[len(_BEGIN) : -len(_END)].replace("\n", ""), validate=True)
    except ValueError:  # also for what is not ASCII
        message = "what stands between the lines of a signature is not base64"
        raise InvalidSignature(message) from None


def _of_our_kind(content: bytes, size: int) -> bytes:
    """What a key or a signature holds after the name of its kind."""
    reader = _Reader(content)
    if reader.string() != KIND.encode():
        message = f"it is not of an {KIND} key"
        raise InvalidSignature(message)
    value = reader.string()
    if len(value) != size or not reader.at_end:
        message = f"its key or its value has not the length of {KIND}"
        raise InvalidSignature(message)
    return value


class _Reader:
    """Reads ssh's numbers and strings, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place == len(self._content)

    def take(self, count: int) -> bytes:
        start, self._place = self._place, self._place + count
        if self._place > len(self._content):
            message = "it ends in the middle"
            raise InvalidSignature(message)
        return self._content[start : self._place]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())
