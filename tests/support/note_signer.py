"""A key that signs checkpoints as `ssh-keygen -Y sign` does, without a process for each.

Owns signing by RFC 8032, out of what `core.ed25519` can do, and the form of an ssh signature; each part can
be made wrong. `tests/unit/adapters/test_ssh_signing.py` holds it against the real ssh-keygen.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

from deployer.core import ed25519
from deployer.core.checkpoint import NAMESPACE, Checkpoint, SignedCheckpoint, signed
from deployer.core.ssh_keys import KIND, PublicKey, string


class NoteSigner:
    """An Ed25519 key that is made of a name: the same name, the same key."""

    def __init__(self, name: str = "ada") -> None:
        """Take the name."""
        self._seed = hashlib.sha256(name.encode()).digest()

    @cached_property
    def key(self) -> PublicKey:
        """Its public half."""
        return PublicKey(raw=public_key(self._seed))

    def sign(
        self,
        content: bytes,
        *,
        namespace: str | bytes = NAMESPACE,
        hash_: str = "sha512",
        reserved: bytes = b"",
        magic: bytes = b"SSHSIG",
        version: int = 1,
        kind: str = KIND,
    ) -> bytes:
        """The signature, as it stands in base64 between the lines of its armor."""
        purpose = namespace if isinstance(namespace, bytes) else namespace.encode()
        algorithm = hashlib.new(hash_ if hash_ in hashlib.algorithms_available else "sha512", content)
        to_sign = (purpose, reserved, hash_.encode(), algorithm.digest())
        value = raw_signature(self._seed, b"SSHSIG" + b"".join(map(string, to_sign)))
        key = string(kind.encode()) + string(self.key.raw)
        parts = (key, purpose, reserved, hash_.encode(), string(kind.encode()) + string(value))
        return magic + version.to_bytes(4, "big") + b"".join(map(string, parts))

    def note(self, origin: str, size: int, root: bytes) -> SignedCheckpoint:
        """A checkpoint with its signature."""
        checkpoint = Checkpoint(origin=origin, size=size, root=root)
        return signed(checkpoint, self.key, self.sign(checkpoint.text.encode()))


def public_key(seed: bytes) -> bytes:
    """The public half of a private key (RFC 8032, 5.1.5)."""
    return _times(_scalar(seed)[0])


def raw_signature(seed: bytes, message: bytes) -> bytes:
    """The 64 bytes of a signature (RFC 8032, 5.1.6)."""
    scalar, prefix = _scalar(seed)
    nonce = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % ed25519._L
    r = _times(nonce)
    challenge = hashlib.sha512(r + public_key(seed) + message).digest()
    s = (nonce + int.from_bytes(challenge, "little") * scalar) % ed25519._L
    return r + s.to_bytes(32, "little")


def signature_without_nonce(seed: bytes, message: bytes, r: bytes) -> bytes:
    """A signature whose R is the neutral point, written as it is given: sound but for how R is written."""
    challenge = hashlib.sha512(r + public_key(seed) + message).digest()
    s = int.from_bytes(challenge, "little") * _scalar(seed)[0] % ed25519._L
    return r + s.to_bytes(32, "little")


def _scalar(seed: bytes) -> tuple[int, bytes]:
    hashed = hashlib.sha512(seed).digest()
    number = int.from_bytes(hashed[:32], "little")
    return number & ((1 << 254) - 8) | 1 << 254, hashed[32:]


def _times(number: int) -> bytes:
    return ed25519._encoded(ed25519._combined(number, ed25519._BASE, 0, ed25519._NEUTRAL))
