"""gpg's folder with the operator's keyring in it, and nothing else: no agent, no web of trust, no network.

Owns that folder. Must not know git or what is checked. Invariant: the folder holds what the operator's file
holds now, or `fill` raises; it is built beside and swapped, and one that an earlier process left is not used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from deployer.adapters.git._errors import Failed, GitUnavailable, harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CONF = """\
# To be in the operator's keyring is the trust: each key there is given the owner trust "ultimate". Not
# `trust-model always`: gpg then tells git no level, which git 2.39 takes for enough only because its -1 is
# compared as an unsigned number.
trust-model direct
no-auto-check-trustdb
no-autostart
no-auto-key-retrieve
no-auto-key-locate
lock-never
batch
no-tty
"""

_KEYBOX = b"KBXf"
"""At byte 8 of a .kbx file, which gpg uses as it is and does not import."""

_NO_AGENT = "%Assuan%\nsocket=/nonexistent/S.gpg-agent\n"
"""In place of the agent's socket: it is elsewhere, where there is none. gpg asks an agent when it imports
(2.2), and where its own path is too long for a socket (108 bytes) it fails, instead of finding none."""

_ADVICE = "write it with `gpg --armor --export KEY...`, without private keys"


class GpgHome:
    """One keyring's folder. For one thread."""

    def __init__(self, keyring: Path | None, home: Path) -> None:
        """Take the operator's file, None for no keys, and the folder below which ours is made."""
        self._keyring = keyring
        name = hashlib.sha256(os.fsencode(keyring or "")).hexdigest()[:16]
        self.path = home / f"gnupg-{name}"
        self._filled_for: object = None

    def fill(self, stamp: object, run: Callable[[Path, str, str, str], str]) -> None:
        """Make the folder, unless it was made for this very `stamp` of the operator's file.

        `run` takes gpg's folder and three arguments, runs gpg there and returns what it printed, or raises
        Failed. Raises GitUnavailable if gpg cannot use the file; OSError.
        """
        if self._filled_for == (stamp,) and self.path.is_dir():
            return
        fresh = self.path.with_name(self.path.name + ".fresh")
        with suppress(FileNotFoundError):
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        try:
            (fresh / "gpg.conf").write_text(_CONF, encoding="ascii")
            (fresh / "S.gpg-agent").write_text(_NO_AGENT, encoding="ascii")
            if self._keyring is not None:
                self._import(self._keyring, fresh, run)
            with suppress(FileNotFoundError):
                shutil.rmtree(self.path)
            fresh.rename(self.path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._filled_for = (stamp,)

    def _import(self, keyring: Path, fresh: Path, run: Callable[[Path, str, str, str], str]) -> None:
        with keyring.open("rb") as file:
            is_keybox = file.read(12)[8:] == _KEYBOX
        try:
            if is_keybox:
                shutil.copyfile(keyring, fresh / "pubring.kbx")
            else:
                run(fresh, "--quiet", "--import", str(keyring))
            listed = run(fresh, "--quiet", "--with-colons", "--list-keys")
            keys = re.findall(r"^pub:.*\nfpr:+([0-9A-F]+):", listed, re.MULTILINE)
            trust = fresh / "ownertrust"
            trust.write_text("".join(f"{key}:6:\n" for key in keys), encoding="ascii")
            run(fresh, "--quiet", "--import-ownertrust", str(trust))
        except Failed as error:
            says = harmless(error.printed.strip().rpartition("\n")[2])
            message = f"cannot use gpg_keyring_file {keyring}: gpg says: {says}: {_ADVICE}"
            raise GitUnavailable(message) from error
        if not keys:
            message = f"cannot use gpg_keyring_file {keyring}: there is no public key in it: {_ADVICE}"
            raise GitUnavailable(message)
