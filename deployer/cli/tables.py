"""Plain tables and times for people.

Owns their look. Must not know what is in them. Invariant: text from git or Serve is made harmless first.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDEST = 40
"""A cell is cut here: a commit subject must not push the other columns off the screen."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, two spaces apart, without lines: readable, and easy for `awk`."""
    cells = [tuple(_cell(text) for text in row) for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def short(commit: str) -> str:
    """The first seven digits."""
    return commit[:7]


def ago(at: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was: `12s`, `4m`, `2h`, `3d`."""
    return _span((now - datetime.fromisoformat(at)).total_seconds())


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 2 * _HOUR:
        return f"{whole // _MINUTE}m"
    return f"{whole // _HOUR}h" if whole < 2 * _DAY else f"{whole // _DAY}d"


def _cell(text: str) -> str:
    line = " ".join(plain(text).split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
