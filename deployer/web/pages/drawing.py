"""The geometry of the two drawings: the last rollouts as bars, and the phases of a rollout over time.

Owns the numbers. Must not know how they are written down as SVG. Invariant: every number is finite and inside
the drawing, whatever the clocks said; a failure differs from a success in its shape, not in its colour alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer.web.pages import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

BARS = 20
STEP, WIDTH, HEIGHT = 6, 4, 22
"""Pixels from bar to bar, of a bar, and of the whole."""

_LEAST = 7
"""Of a bar: what takes no time is still seen, and room for the gap of one that failed."""

LENGTH = 1000.0
"""Of the line of time."""

_THINNEST = 6.0
"""A phase of no time is still seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One rollout: its outline (the `d` of an SVG path, in pixels), its result, and what is said of it."""

    outline: str
    result: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase on the line of time; `x` and `width` of `LENGTH`."""

    name: str
    x: float
    width: float
    took: str
    state: str
    """`over`, `running`, `failed` or `to come`."""


def bars(rollouts: Sequence[Mapping[str, Any]]) -> tuple[Bar, ...]:
    """Of the newest rollouts, oldest first, against the right edge. The one that took longest is highest."""
    newest = rollouts[-BARS:]
    first = BARS - len(newest)
    longest = max((_seconds(one) or 0.0 for one in newest), default=0.0)
    return tuple(_bar(first + index, one, longest) for index, one in enumerate(newest))


def _bar(place: int, rollout: Mapping[str, Any], longest: float) -> Bar:
    took, result = _seconds(rollout), str(rollout["result"])
    height = _LEAST
    if took is not None and longest:
        height += round(took / longest * (HEIGHT - _LEAST))
    begin = str(rollout.get("started_at") or "")[:16].replace("T", " ")
    how_long = "" if took is None else f" in {words.span(took)}"
    number = str(rollout["id"]).rpartition("#")[2]
    return Bar(
        outline=_outline(place * STEP, height, result),
        result=result,
        title=f"#{number} {rollout['kind']}: {words.result(result).word}{how_long}, {begin}",
    )


def _outline(x: int, height: int, result: str) -> str:
    """A bar that stands on the lower edge. One that failed is broken, one that never ended is hollow."""
    top = HEIGHT - height
    match result:
        case "failed":
            return f"M{x} {top}h{WIDTH}v{height - 5}h-{WIDTH}zM{x} {HEIGHT - 3}h{WIDTH}v3h-{WIDTH}z"
        case "superseded" | "cancelled":
            return f"M{x}.5 {top}.5h{WIDTH - 1}v{height - 1}h-{WIDTH - 1}z"
        case _:
            return f"M{x} {top}h{WIDTH}v{height}h-{WIDTH}z"


def _seconds(rollout: Mapping[str, Any]) -> float | None:
    took = rollout.get("took_seconds")
    return float(took) if isinstance(took, int | float) and math.isfinite(took) and took >= 0 else None


def told(rollouts: Sequence[Mapping[str, Any]]) -> str:
    """The bars in words: `last 20 rollouts: 17 good, 2 failed, 1 superseded`."""
    newest = rollouts[-BARS:]
    if not newest:
        return "no rollouts yet"
    counts: dict[str, int] = {}
    for one in newest:
        word = words.result(one["result"]).word
        counts[word] = counts.get(word, 0) + 1
    listed = ", ".join(
        f"{number} {word}" for word, number in sorted(counts.items(), key=lambda item: -item[1])
    )
    return f"last {words.count(len(newest), 'rollout')}: {listed}"


def phases(of: Sequence[Mapping[str, Any]], now: datetime, result: str = "in_progress") -> tuple[Phase, ...]:
    """The phases of a rollout, one after the other in time. One that is not over ends `now`.

    `result` is that of the rollout: one that failed did so in its last phase.
    """
    spans = [(one, words.parsed(one.get("started_at")), words.parsed(one.get("finished_at"))) for one in of]
    begun = [start for _, start, _ in spans if start is not None]
    if not begun:
        return tuple(_to_come(one["name"]) for one in of)
    begin = min(begun)
    end = max([*begun, *(end or now for _, start, end in spans if start is not None)])
    whole = max((end - begin).total_seconds(), 0.001)
    last = max(index for index, (_, start, _) in enumerate(spans) if start is not None)
    drawn = []
    for index, (one, start, finish) in enumerate(spans):
        if start is None:
            drawn.append(_to_come(one["name"]))
            continue
        seconds = max(0.0, ((finish or now) - start).total_seconds())
        x = min(LENGTH - _THINNEST, (start - begin).total_seconds() / whole * LENGTH)
        width = min(LENGTH - x, max(_THINNEST, seconds / whole * LENGTH))
        drawn.append(
            Phase(
                name=one["name"],
                x=round(x, 1),
                width=round(width, 1),
                took=words.span(seconds),
                state="failed" if result == "failed" and index == last else "over" if finish else "running",
            )
        )
    return tuple(drawn)


def _to_come(name: str) -> Phase:
    return Phase(name=name, x=0.0, width=0.0, took="-", state="to come")
