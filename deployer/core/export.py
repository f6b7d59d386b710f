"""Items as files: JSON Lines, and CSV for spreadsheets.

Owns the two formats, and which columns a CSV file has. Must not know where items come from. Invariant: no
cell of a CSV file is a formula, whatever a commit says (spreadsheets carry out what begins with `=`); and
lines are made one by one, so that a log of any length needs no memory.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With what a formula begins (OWASP, CSV injection)."""

HISTORY_COLUMNS = (
    "id",
    "environment",
    "kind",
    "result",
    "release.revision",
    "release.subject",
    "release.author",
    "release.digest",
    "trigger",
    "actor",
    "reason",
    "plan",
    "started_at",
    "applied_at",
    "finished_at",
    "took_seconds",
    "failure.class",
    "failure.message",
    "followed_by",
    "superseded_by",
)
AUDIT_COLUMNS = (
    "id",
    "environment",
    "sequence",
    "at",
    "type",
    "actor",
    "reason",
    "rollout",
    "says",
    "hash",
)


def json_lines(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """An object per line."""
    return (f"{json.dumps(item)}\n" for item in items)


def csv_lines(items: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """A line with the names of the columns, then one for each item; `a.b` is what `a` has of `b`."""
    yield _line(columns)
    for item in items:
        yield _line([_cell(item, column) for column in columns])


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue()


def _cell(item: Mapping[str, Any], column: str) -> str:
    value: Any = item
    for step in column.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    text = "" if value is None else plain(str(value))
    return f"'{text}" if text.startswith(_FORMULA) and not isinstance(value, int | float) else text
