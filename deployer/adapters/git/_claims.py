"""What a commit says of its own signature: whose it is, of what kind, by which key.

Owns the reading of that, none of which is proven. Must not run anything but the mirror's `git cat-file`.
Invariant: what comes out is for sentences, and for choosing the program that git asks; no signature counts
because of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from deployer.adapters.git._errors import GitUnavailable, MirrorBroken, harmless
from deployer.adapters.git._objects import parse_commit
from deployer.adapters.git._reader import header

if TYPE_CHECKING:
    import git

_COMMIT_LIMIT = 16 * 1024 * 1024
"""Bytes of a commit that is read, as in `_reader`."""

_SSHSIG = 10
"""Bytes before the public key in an ssh signature: `SSHSIG` and a version (PROTOCOL.sshsig)."""


class Kind(Enum):
    """What a commit is signed with, by the first line of its signature, as git decides it."""

    NONE = "no key"
    SSH = "ssh key"
    GPG = "GPG key"
    X509 = "S/MIME certificate"
    UNKNOWN = "unknown key"


_BEGINS = {
    b"-----BEGIN SSH SIGNATURE-----": Kind.SSH,
    b"-----BEGIN PGP SIGNATURE-----": Kind.GPG,
    b"-----BEGIN PGP MESSAGE-----": Kind.GPG,
    b"-----BEGIN SIGNED MESSAGE-----": Kind.X509,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`whose` names the commit and its people, to begin a sentence; `key` is an ssh fingerprint or ""."""

    whose: str
    kind: Kind
    key: str = ""


def claim(git: git.Git, commit: str) -> Claim:
    """What the commit of this full id says.

    Raises MirrorBroken if it cannot be read, GitUnavailable if it is absurdly big.
    """
    size = header(git, commit)[2]
    if size > _COMMIT_LIMIT:
        what = f"cannot check the signature of commit {commit[:7]}"
        message = f"{what}: it has {size:,} bytes: push one without such a message"
        raise GitUnavailable(message)
    try:
        raw = git.get_object_data(commit)[3]
    except (ValueError, OSError) as error:
        message = f"commit {commit}: {harmless(str(error))}"
        raise MirrorBroken(message) from error
    revision = parse_commit(commit, raw).revision
    whose = f"commit {revision.short} by {revision.author}"
    if revision.committer != revision.author:
        whose += f", committed by {revision.committer},"
    found = re.search(rb"^gpgsig (.*(?:\n .*)*)", raw.partition(b"\n\n")[0], re.MULTILINE)
    if found is None:
        return Claim(whose=harmless(whose), kind=Kind.NONE)
    signature = found[1].replace(b"\n ", b"\n")
    kind = next((kind for begin, kind in _BEGINS.items() if signature.startswith(begin)), Kind.UNKNOWN)
    return Claim(whose=harmless(whose), kind=kind, key=_ssh_key(signature) if kind is Kind.SSH else "")


def fingerprint(word: bytes) -> str:
    """The fingerprint of a public ssh key as files hold it (`AAAA...`); "" for what is none."""
    try:
        return _of_key(base64.b64decode(word))
    except binascii.Error:
        return ""


def _ssh_key(signature: bytes) -> str:
    """The key that an ssh signature names. Where the signature does not fit, git names none (2.39)."""
    try:
        blob = base64.b64decode(b"".join(signature.splitlines()[1:-1]))
    except binascii.Error:
        return ""
    start = _SSHSIG + 4
    size = int.from_bytes(blob[_SSHSIG:start], "big")
    key = blob[start : start + size]
    return _of_key(key) if len(key) == size > 0 else ""


def _of_key(key: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
