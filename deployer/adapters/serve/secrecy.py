"""What of a cluster's words people may read.

Owns the memory of secret values, and the cutting of long texts. Must not know what the texts are about.
Invariant: no text made here holds a value that was remembered before, nor a terminal code.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployer.core.scrub import first, last, plain, scrub

if TYPE_CHECKING:
    from collections.abc import Iterable

_MESSAGE_LIMIT = 20_000
"""Characters of one message. A traceback has 2-6 kB; a hostile or a looping one can have megabytes."""

_MESSAGE_HEAD = 2_000
"""Of those, from the start: Serve's own sentence. The rest is from the end, where the error is."""

_SEARCHED_LIMIT = 4 * _MESSAGE_LIMIT
"""Characters of a message that is searched as a whole: of a longer one, both ends are."""

_CAUSE_LIMIT = 1_000
"""Characters of what a sentence quotes."""

_SPACED_LIMIT = 4 * _CAUSE_LIMIT
"""Characters of what is taken for it, before its line breaks and indents are made single spaces."""

_KNOWN_LIMIT = 2_000
"""How many secret values are remembered. An old message can quote a config that is no longer there."""


class Secrecy:
    """The secrets that one cluster was seen with. For any thread."""

    def __init__(self) -> None:
        """Nothing is secret yet."""
        self._lock = threading.Lock()
        self._secrets: dict[str, None] = {}

    def remember(self, secrets: Iterable[str]) -> None:
        """Take these out of every text from now on."""
        with self._lock:
            for secret in secrets:
                self._secrets.pop(secret, None)
                self._secrets[secret] = None
            while len(self._secrets) > _KNOWN_LIMIT:
                del self._secrets[next(iter(self._secrets))]

    @property
    def known(self) -> frozenset[str]:
        """The secrets themselves."""
        with self._lock:
            return frozenset(self._secrets)

    def end(self, text: str, characters: int) -> str:
        """At most so many characters from the end of the text."""
        return last(text, self.known, characters)

    def message(self, message: str) -> str:
        """A message of the cluster: in full up to the limit, then its head and its end."""
        known = self.known
        if len(message) <= _SEARCHED_LIMIT:
            message = scrub(plain(message), known)
            if len(message) <= _MESSAGE_LIMIT:
                return message
        head = first(message, known, _MESSAGE_HEAD)
        end = last(message, known, _MESSAGE_LIMIT - _MESSAGE_HEAD)
        return f"{head}\n[{len(message) - len(head) - len(end)} characters left out]\n{end}"

    def quoted(self, text: str) -> str:
        """Words of somebody else, fit to stand inside a sentence."""
        line = " ".join(first(text, self.known, _SPACED_LIMIT).split())
        return line if len(line) <= _CAUSE_LIMIT else f"{line[: _CAUSE_LIMIT - 1]}…"
