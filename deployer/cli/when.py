"""Moments as people write them on a command line: a time, a date, or how long ago.

Owns their forms. Must not know what they are for. Invariant: a moment has a time zone; one that was written
without is of this machine.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from deployer.core import durations


class When(click.ParamType[datetime]):
    """`2026-11-23T14:00:00Z`, `2026-11-23 14:00`, `2026-11-23`, or `2h`: that long ago."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401 - click's
        """The moment."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.now(UTC) - timedelta(seconds=durations.parse(str(value)))
        except ValueError:
            pass
        try:
            return datetime.fromisoformat(str(value)).astimezone()
        except (ValueError, OverflowError, OSError):
            self.fail("is no time: write 2h (ago), 2026-11-23, or 2026-11-23T14:00:00Z.", param, ctx)
