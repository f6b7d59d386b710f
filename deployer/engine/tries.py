"""When something that failed is tried again.

Owns the pauses. Must not know what is tried. Invariant: each pause is twice as long as the one before, up to
a limit, and the next success forgets them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_SECONDS = 5.0
"""A server that is restarted, or a lock that is held, is often over by then."""

LONGEST_SECONDS = 600.0

_MOST_DOUBLED = 30
"""Of many failures no number becomes too large to be one."""


@dataclass(slots=True)
class Tries:
    """How often one thing has failed in a row, and when it is tried again: seconds of the monotonic clock."""

    failed: int = 0
    next_at: float = 0.0

    def failure(self) -> float:
        """It failed; how many seconds until it is tried again."""
        pause: float = min(FIRST_SECONDS * 2 ** min(self.failed, _MOST_DOUBLED), LONGEST_SECONDS)
        self.failed += 1
        self.next_at = time.monotonic() + pause
        return pause

    def success(self) -> None:
        """It went well."""
        self.failed, self.next_at = 0, 0.0
