"""The places where a daemon is killed, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.arrivals import Moment

if TYPE_CHECKING:
    import random

PLACES = (
    "PUT lost",
    "PUT late",
    "PUT unanswered",
    "GET lost",
    "GET unanswered",
    "probe unanswered",
    "event",
    "time",
)
"""A request is `lost` where the daemon dies before it is handled; `late` where it is handled after the daemon
died; `unanswered` where the daemon dies before the answer. `event`: after so many were committed."""


@dataclass(frozen=True)
class Kill:
    """One kill: after the daemon's start, at the n-th of these, or after so many seconds."""

    place: str
    number: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        """For the report."""
        return f"after {self.seconds:.2f} s" if self.place == "time" else f"{self.place} {self.number}"

    @property
    def goes_on(self) -> bool:
        """Whether the request that it was killed at is handled all the same."""
        return self.place == "PUT late"

    @property
    def is_watched(self) -> bool:
        """Whether no request is waited for."""
        return self.place in {"event", "time"}

    def is_at(self, kind: str, number: int, moment: Moment) -> bool:
        """Whether it is now, at this request."""
        at = Moment.DONE if self.place.endswith("unanswered") else Moment.ARRIVED
        return not self.is_watched and (self.place.split(maxsplit=1)[0], self.number, at) == (
            kind,
            number,
            moment,
        )

    def is_due(self, events: int, seconds: float) -> bool:
        """Whether it is now, after so many events and seconds."""
        return events >= self.number if self.place == "event" else seconds >= self.seconds


def draw(rng: random.Random, first: str) -> list[Kill]:
    """One to three kills, each after the start that follows the one before; where the first is, is given."""
    others = rng.choice((0, 0, 1, 1, 2))
    return [_at(rng, first), *(_at(rng, rng.choice(PLACES)) for _ in range(others))]


def _at(rng: random.Random, place: str) -> Kill:
    match place.split(maxsplit=1)[0]:
        case "PUT":
            return Kill(place, number=rng.choice((1, 1, 1, 2, 2)))
        case "probe":
            return Kill(place, number=rng.choice((1, 1, 2)))
        case "GET":
            return Kill(place, number=rng.randint(1, 25))
        case "event":
            return Kill(place, number=rng.randint(1, 14))
        case _:
            return Kill(place, seconds=rng.uniform(0.1, 4.0))
