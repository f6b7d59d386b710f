"""Signatures by ssh-keygen, with a key that the operator keeps in a file.

Owns the call of ssh-keygen, and what its refusals mean. Must not know what is signed. Invariant: a private
key is used only if nobody but its owner can read it, nobody is ever asked for a passphrase, no agent signs,
and no signature is given away that the public half of the same file does not verify.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from typing import TYPE_CHECKING

from deployer.core.scrub import plain
from deployer.core.ssh_keys import KIND, InvalidKeys, PublicKey, public_keys
from deployer.core.sshsig import InvalidSignature, unarmored, verify

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 10.0
"""For one call of ssh-keygen, which takes 7 ms; longer on a machine that is out of memory."""

_WORDS = 200
"""Characters of ssh-keygen's own words in a message."""


class CannotSign(Exception):  # noqa: N818 - says what cannot be done now; the caller goes on without a signature
    """No signature could be made. The message says why, and what to do."""


def public_key(key_file: Path, *, timeout_seconds: float = _SECONDS) -> PublicKey:
    """The public half of the private key in this file. Raises CannotSign."""
    _require_private(key_file)
    # An empty passphrase is given, so that a key with another one is refused, and nobody asked.
    printed = _run(key_file, ["-y", "-P", "", "-f", str(key_file)], b"", timeout_seconds)
    try:
        [key] = public_keys(printed, "")
    except InvalidKeys as error:
        kind = (plain(printed).split() or ["no kind that ssh-keygen names"])[0][:_WORDS]
        message = f"{_cannot(key_file)}: it is a key of {kind}, and only {KIND} is taken. {_make(key_file)}"
        raise CannotSign(message) from error
    return key


def sign(key_file: Path, namespace: str, message: bytes, *, timeout_seconds: float = _SECONDS) -> bytes:
    """Sign a message for this namespace; the bytes of the signature, without its armor.

    Calls ssh-keygen twice, each call bounded by the time-out. Raises CannotSign.
    """
    key = public_key(key_file, timeout_seconds=timeout_seconds)
    arguments = ["-Y", "sign", "-q", "-f", str(key_file), "-n", namespace]
    printed = _run(key_file, arguments, message, timeout_seconds)
    try:
        signature = unarmored(printed)
        verify(signature, message, namespace=namespace, key=key)
    except InvalidSignature as error:
        why = f"ssh-keygen made a signature that does not fit: {error}. Look at its version"
        said = f"{_cannot(key_file)}: {why}."
        raise CannotSign(said) from error
    return signature


def _require_private(key_file: Path) -> None:
    """Say what ssh would say, in one sentence; and also of files of another owner, where ssh says nothing."""
    try:
        found = key_file.stat()
    except OSError as error:
        raise _unreadable(key_file, error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(key_file, "it is no file")
    if not os.access(key_file, os.R_OK):
        raise _unreadable(key_file, "this user may not read it")
    # Of another owner's file, such as a credential of systemd, the group's bits can be of a list of users.
    others = 0o077 if found.st_uid == os.geteuid() else 0o007
    if found.st_mode & others:
        change = f"`chmod 600 {shlex.quote(str(key_file))}`, or make another if somebody may have"
        message = f"{_cannot(key_file)}: others can read or change it. {change}."
        raise CannotSign(message)


def _run(key_file: Path, arguments: list[str], given: bytes, timeout_seconds: float) -> str:
    # Without the variables that lead to an agent, or to a window that asks for a passphrase; and in a session
    # of its own, so that there is no terminal to ask at either.
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the key's path stands behind -f
            ["ssh-keygen", *arguments],  # noqa: S607 - as with git, of the PATH that the operator gave
            input=given,
            env=environment | {"LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"},
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        message = (
            f"{_cannot(key_file)}: there is no ssh-keygen. Install it: `apt-get install openssh-client`."
        )
        raise CannotSign(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"{_cannot(key_file)}: ssh-keygen did not end within {timeout_seconds:g} s."
        raise CannotSign(message) from error
    except OSError as error:
        message = f"{_cannot(key_file)}: ssh-keygen could not be started: {error.strerror or error}."
        raise CannotSign(message) from error
    if done.returncode != 0:
        raise _refused(key_file, done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace")


def _refused(key_file: Path, said: str) -> CannotSign:
    if "incorrect passphrase" in said:
        return CannotSign(
            f"{_cannot(key_file)}: it has a passphrase, and nobody is there to type it. {_make(key_file)}"
        )
    if "No user exists" in said:
        return CannotSign(
            f"{_cannot(key_file)}: ssh needs a user of this process's number in /etc/passwd. Add one."
        )
    lines = [line for line in plain(said).splitlines() if line.strip()]
    words = lines[-1].strip()[:_WORDS] if lines else "it gave no reason"
    why = f"ssh-keygen refused it ({words}). It is to hold a private key"
    return CannotSign(f"{_cannot(key_file)}: {why}. {_make(key_file)}")


def _unreadable(key_file: Path, why: str) -> CannotSign:
    return CannotSign(f"{_cannot(key_file)}: {why}. It is to be a file that the daemon's user can read.")


def _cannot(key_file: Path) -> str:
    return f"cannot sign with {key_file}"


def _make(key_file: Path) -> str:
    path = shlex.quote(str(key_file.with_name(f"{key_file.name}.new")))
    return f"Make another: `ssh-keygen -t ed25519 -N '' -f {path}`."
