"""Public ssh keys as files hold them: `.pub` files, and lines of allowed signers.

Owns that form, and which keys of a file may be used. Must not know what they check, nor read a file.
Invariant: a restriction that a line states is kept, or the line is refused; none is passed over.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from deployer.core import ed25519

KIND = "ssh-ed25519"

_KINDS = re.compile(
    r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp[0-9]+|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256))"
    r"(?:-cert-v01)?(?:@openssh\.com)?"
)
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_OPTION = re.compile(r'(?:[^,"]|"[^"]*")+')


_ARMOR = ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----")
_PRIVATE = b"openssh-key-v1\0"
_OPEN = _PRIVATE + b"\0\0\0\4none" * 2 + bytes(4) + b"\0\0\0\1"
"""What a private key begins with (OpenSSH's PROTOCOL.key), and one that is not encrypted: cipher, what the
passphrase is made into, its options, how many keys. Behind it comes the public half."""


class InvalidKeys(ValueError):  # noqa: N818 - says what was wrong, not that it is an error
    """The text holds no key that can be used, or a line that cannot be kept to. One clause, with the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """An Ed25519 key: the 32 bytes of RFC 8032."""

    raw: bytes

    @property
    def blob(self) -> bytes:
        """As ssh writes it, with its kind before it."""
        return string(KIND.encode()) + string(self.raw)

    @property
    def line(self) -> str:
        """As a `.pub` file holds it, without a comment."""
        return f"{KIND} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def string(content: bytes) -> bytes:
    """A string as ssh writes it: its length, then what it holds."""
    return len(content).to_bytes(4, "big") + content


def public_keys(text: str, namespace: str) -> tuple[PublicKey, ...]:
    """The Ed25519 keys of a `.pub` file or of lines of allowed signers, of those for this namespace.

    Keys of other kinds are passed over: such a file may be there for commits as well. Who a line is for
    does not matter. Raises InvalidKeys, also if no key is left.
    """
    found: list[PublicKey] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            key = _key(line, f"line {number}", namespace)
            found += [key] if key else []
    if not found:
        message = f"there is no {KIND} key for {namespace} in it"
        raise InvalidKeys(message)
    return tuple(dict.fromkeys(found))


def private_key(text: str) -> PublicKey:
    """The public half of a private key, which is what its file begins with. Nothing behind it is looked at.

    Raises InvalidKeys for what could not sign by itself: another kind of key, or one with a passphrase.
    """
    lines = text.strip().splitlines()
    if len(lines) < 3 or (lines[0], lines[-1]) != _ARMOR:  # noqa: PLR2004 - the armor, and something in it
        message = "it holds no private key in the form that ssh-keygen writes"
        raise InvalidKeys(message)
    try:
        content = base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError:
        content = b""
    before = _OPEN + string(PublicKey(raw=bytes(ed25519.PUBLIC_KEY_BYTES)).blob)[: -ed25519.PUBLIC_KEY_BYTES]
    raw = content[len(before) : len(before) + ed25519.PUBLIC_KEY_BYTES]
    if content.startswith(before) and ed25519.is_key(raw):
        return PublicKey(raw=raw)
    if not content.startswith(_PRIVATE):
        message = "what stands between its first and its last line is no private key: is it whole?"
    elif not content.startswith(_OPEN):
        message = "its key has a passphrase, and nobody is there to type it"
    else:
        message = f"its key is of another kind, and only {KIND} is taken"
    raise InvalidKeys(message)


def _key(line: str, place: str, namespace: str) -> PublicKey | None:
    words = _WORD.findall(line)
    # `.pub`: kind, key, comment. Allowed signers: who, options (perhaps), kind, key, comment.
    start = next((index for index, word in enumerate(words[:3]) if _KINDS.fullmatch(word)), None)
    if start is None or len(words) < start + 2:
        message = f"{place} is neither of a .pub file nor of allowed signers"
        raise InvalidKeys(message)
    if words[start] != KIND:
        return None
    if not all(
        _admits(option, place, namespace) for word in words[1:start] for option in _OPTION.findall(word)
    ):
        return None
    return _decoded(words[start + 1], place)


def _admits(option: str, place: str, namespace: str) -> bool:
    name, _, value = option.partition("=")
    if name.lower() != "namespaces":
        message = (
            f"{place} has an option that a checkpoint cannot be held against, as it has no time and no"
            f" certificate: only namespaces can be given"
        )
        raise InvalidKeys(message)
    patterns = value.strip('"').split(",")
    refused = any(_matches(namespace, one[1:]) for one in patterns if one.startswith("!"))
    return not refused and any(_matches(namespace, one) for one in patterns)


def _matches(name: str, pattern: str) -> bool:
    """As ssh does it: `*` is anything, `?` one character, and all else is itself."""
    known = {"*": ".*", "?": "."}
    form = "".join(known.get(one, re.escape(one)) for one in pattern)
    return re.fullmatch(form, name, re.DOTALL) is not None


def _decoded(word: str, place: str) -> PublicKey:
    before = string(KIND.encode()) + ed25519.PUBLIC_KEY_BYTES.to_bytes(4, "big")
    try:
        blob = base64.b64decode(word, validate=True)
    except ValueError:  # not base64, or not even ASCII
        blob = b""
    raw = blob.removeprefix(before)
    if not blob.startswith(before) or not ed25519.is_key(raw):
        message = f"{place} holds no {KIND} key: is it whole?"
        raise InvalidKeys(message)
    return PublicKey(raw=raw)
