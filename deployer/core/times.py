"""How times are written where scripts read them. Invariant: RFC 3339, in UTC, whatever zone came in."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from datetime import datetime


@overload
def timestamp(at: datetime) -> str: ...
@overload
def timestamp(at: None) -> None: ...
@overload
def timestamp(at: datetime | None) -> str | None: ...
def timestamp(at: datetime | None) -> str | None:
    """Write an aware time to the millisecond: `2026-11-22T21:40:00.123Z`."""
    if at is None:
        return None
    return f"{at.astimezone(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
