"""A store as it is after years: many environments, many rollouts each, every event in its chain.

Owns the history that is made up. Must not take the way of a daemon, which makes each commit durable by
itself: 100,000 rollouts would take an hour. Invariant: it is what the store's own commits would have written
(the same codec, fold, history and hashes), the same for the same seed, and legal to the last event.

    python -m tests.support.large_store FILE [ENVIRONMENTS [ROLLOUTS_OF_EACH]]
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from deployer.adapters.store import SqlStore, codec
from deployer.adapters.store.sql import _mentioned, _values
from deployer.adapters.store.tables import CHAINED, EVENTS, MENTIONS, RECORDS, RELEASES, ROLLOUTS
from deployer.core import chain, history
from deployer.core.events import (
    Applied,
    Cancelled,
    Checked,
    DriftClass,
    Drifted,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Observed,
    Paused,
    Resumed,
    Seen,
    Started,
    State,
    Superseded,
)
from deployer.core.history import Entry
from deployer.core.record import Record, Result, evolve
from deployer.core.status import status, view
from deployer.core.types import Check, Desired, Person, Policy, Release, Revision, ServeConfig
from tests.support.build import running
from tests.support.canaries import plain_canary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

END = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""The newest rollout began some minutes before."""

_PERIOD = timedelta(days=400)
_ROLLOUTS_OF_AN_ATTEMPT = 1.13
"""A little less than come of one, on average: see `_attempt`."""

_PEOPLE = tuple(Person(name=f"Person {n:02}", email=f"p{n:02}@example.com") for n in range(40))
_CHECK = Check(app="fruit", path="/fruit/healthz")
_POLICY = Policy(checks=(_CHECK,))
SECRET = plain_canary("large")
"""The value of an environment variable in every config."""


def make(path: Path, *, environments: int = 500, rollouts: int = 200, seed: int = 20261123) -> list[str]:
    """Write such a store to a file that is not there yet; return the environments' names.

    `rollouts` is how many each has on average, and somewhat more: a failed deploy brings its rollback.
    """
    chance = random.Random(seed)
    names = [f"env-{number:03}" for number in range(environments)]
    places = {name: _Place(record=Record(environment=name)) for name in names}
    attempts = math.ceil(rollouts / _ROLLOUTS_OF_AN_ATTEMPT)
    pause = _PERIOD / (attempts * environments)
    now = END - _PERIOD
    with closing(SqlStore.open(path)) as store:
        with store._database.writing() as connection:
            writer = _Writer(connection)
            for _ in range(attempts):
                for name in chance.sample(names, len(names)):
                    now += pause
                    for events in _attempt(chance, places[name].record, now):
                        writer.add(places[name], events)
            writer.end(places.values())
        for place in places.values():
            wanted = place.record.seen or _release(chance, place.record, now)
            seen = Desired(release=wanted, policy=_POLICY)
            cluster = running(place.record.good or wanted)
            store.publish(place.record.environment, view(status(seen, cluster, place.record, END)), END)
    return names


@dataclass
class _Place:
    """An environment while its history is written."""

    record: Record
    hash: str = chain.GENESIS
    entries: dict[str, Entry] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)


class _Writer:
    """Collects rows, and writes many at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._digests: set[str] = set()
        self._id = 0

    def add(self, place: _Place, events: Sequence[Event]) -> None:
        """What one commit writes, less the record."""
        entries: dict[str, Entry] = place.entries
        for event in events:
            self._id += 1
            place.record = evolve(place.record, event)
            entries = dict(history.advance(entries, event))
            row: dict[str, Any] = {
                "environment": place.record.environment,
                "sequence": place.record.sequence,
                "type": event.type,
                "at": codec.stamp(event.at),
                "actor": event.actor,
                "reason": event.reason,
                "rollout": getattr(event, "rollout", ""),
                "data": codec.EVENT.encode(event),
            }
            linked = chain.link(place.hash, [row[name] for name in CHAINED])
            self._put(EVENTS.name, {"id": self._id, **row, "previous_hash": place.hash, "hash": linked})
            place.hash = linked
            commit, digest = _mentioned(event)
            if commit or digest:
                self._put(MENTIONS.name, {"event_id": self._id, "revision": commit, "digest": digest})
            if isinstance(event, Seen) and event.release.digest not in self._digests:
                self._digests.add(event.release.digest)
                config = event.release.config
                self._put(RELEASES.name, {"digest": config.digest, "config": config.text})
            if isinstance(event, Started):
                place.started[event.rollout] = self._id
        ended = [name for name, entry in entries.items() if entry.result is not Result.IN_PROGRESS]
        # The newest stays: the rollback after it points back at it.
        for name in ended[:-1]:
            self._keep(place, entries.pop(name))
        place.entries = entries
        if self._id % 5000 < len(events):
            self._write()

    def end(self, places: Iterable[_Place]) -> None:
        """Write what is left, and the records."""
        for place in places:
            for entry in place.entries.values():
                self._keep(place, entry)
            row = {"environment": place.record.environment, "sequence": place.record.sequence}
            self._put(RECORDS.name, {**row, "data": codec.RECORD.encode(place.record)})
        self._write()

    def _keep(self, place: _Place, entry: Entry) -> None:
        self._put(
            ROLLOUTS.name,
            {
                "id": entry.id,
                "environment": entry.environment,
                "number": int(entry.id.rpartition("#")[2]),
                "started_event": place.started.pop(entry.id),
                "author": entry.release.author,
                "revision": entry.release.revision,
                "digest": entry.release.digest,
                **_values(entry),
            },
        )

    def _put(self, table: str, row: dict[str, Any]) -> None:
        self._rows.setdefault(table, []).append(row)

    def _write(self) -> None:
        for table in (EVENTS, RELEASES, MENTIONS, ROLLOUTS, RECORDS):
            rows = self._rows.pop(table.name, [])
            if rows:
                self._connection.execute(insert(table), rows)


def _attempt(chance: random.Random, record: Record, now: datetime) -> Iterator[tuple[Event, ...]]:
    """What happens to an environment in one go: mostly a deploy that ends well, and what else there is."""
    what = chance.random()
    if record.good is None or what < 0.8:
        yield from _deployed(chance, record, now)
    elif what < 0.9:
        yield from _failed(chance, record, now)
    elif what < 0.93:
        yield _repaired(chance, record, now)
    elif what < 0.97:
        yield from _ended_early(chance, record, now)
    else:
        who = f"{chance.choice(_PEOPLE).name.lower().replace(' ', '-')} (local)"
        yield (
            Paused(at=now, actor=who, reason="demo at ten"),
            Resumed(at=now + timedelta(seconds=40), actor=who),
        )
        yield from _deployed(chance, record, now)


def _deployed(chance: random.Random, record: Record, now: datetime) -> Iterator[tuple[Event, ...]]:
    wanted = _release(chance, record, now)
    yield _begun(record, wanted, now)
    yield _ended_well(chance, record.next_rollout_id(), now)


def _failed(chance: random.Random, record: Record, now: datetime) -> Iterator[tuple[Event, ...]]:
    """A deploy that fails, and the rollback after it."""
    wanted = _release(chance, record, now)
    rollout, number = record.next_rollout_id(), record.rollouts
    later = now + timedelta(seconds=chance.randrange(20, 300))
    message = "fruit / MangoStand: ValueError: the price is negative"
    detail = "Traceback (most recent call last):\n" + "  ...\n" * 40 + "ValueError: the price is negative"
    failure = Failure(failure_class=chance.choice(list(FailureClass)), message=message, detail=detail)
    held = (Held(at=later, rollout=rollout, reason=message),) if failure.failure_class.holds else ()
    yield _begun(record, wanted, now)
    yield (_observed(rollout, now, "start"), Failed(at=later, rollout=rollout, failure=failure), *held)
    if record.good is not None:
        back = f"{record.environment}#{number + 2}"
        yield (
            Started(
                at=later,
                rollout=back,
                kind=Kind.ROLLBACK,
                release=record.good,
                policy=_POLICY,
                trigger=f"{rollout} failed",
                follows=rollout,
            ),
            Applied(at=later, rollout=back),
        )
        yield _ended_well(chance, back, later)


def _repaired(chance: random.Random, record: Record, now: datetime) -> tuple[Event, ...]:
    """A drift that is healed, or a cluster that is restored."""
    kind, drift = chance.choice(((Kind.HEAL, DriftClass.EDITED), (Kind.RESTORE, DriftClass.LOST)))
    rollout = record.next_rollout_id()
    assert record.good is not None
    return (
        Drifted(at=now, drift=drift, what="fruit: num_replicas is 7, not 3."),
        Started(at=now, rollout=rollout, kind=kind, release=record.good, policy=_POLICY, trigger=drift.value),
        Applied(at=now, rollout=rollout),
        *_ended_well(chance, rollout, now),
    )


def _ended_early(chance: random.Random, record: Record, now: datetime) -> Iterator[tuple[Event, ...]]:
    """Overtaken, or ended by a person; and then a deploy."""
    rollout = record.next_rollout_id()
    later = now + timedelta(seconds=30)
    ends: tuple[Event, ...] = (
        Superseded(at=later, rollout=rollout, by=_commit(chance)),
        Cancelled(at=later, rollout=rollout, actor="ada (local)"),
    )
    yield _begun(record, _release(chance, record, now), now)
    yield (chance.choice(ends),)
    after = f"{record.environment}#{record.rollouts + 2}"
    wanted = _release(chance, record, later)
    yield (
        Seen(at=later, actor=str(wanted.revision.author), release=wanted),
        Started(at=later, rollout=after, kind=Kind.DEPLOY, release=wanted, policy=_POLICY, trigger="push"),
        Applied(at=later, rollout=after),
    )
    yield _ended_well(chance, after, later)


def _begun(record: Record, wanted: Release, now: datetime) -> tuple[Event, ...]:
    rollout, author = record.next_rollout_id(), str(wanted.revision.author)
    return (
        Seen(at=now, actor=author, release=wanted),
        Started(
            at=now,
            actor=author,
            rollout=rollout,
            kind=Kind.DEPLOY,
            release=wanted,
            policy=_POLICY,
            trigger="push",
            plan="~ fruit: MangoStand.user_config.price 3 -> 4",
        ),
        Applied(at=now + timedelta(seconds=0.4), rollout=rollout, session="session_1"),
    )


def _observed(rollout: str, at: datetime, phase: str = "") -> Observed:
    state = State(
        app="fruit",
        deployment="MangoStand",
        status="UPDATING" if phase else "HEALTHY",
        running=0 if phase else 3,
        target=3,
    )
    return Observed(at=at, rollout=rollout, states=(state,), settled=not phase, phase=phase)


def _ended_well(chance: random.Random, rollout: str, now: datetime) -> tuple[Event, ...]:
    took = [now + timedelta(seconds=second) for second in (2, chance.randrange(4, 120), 130, 131, 160)]
    return (
        _observed(rollout, took[0], "start"),
        _observed(rollout, took[1]),
        Healthy(at=took[2], rollout=rollout),
        Checked(at=took[3], rollout=rollout, check=0, passed=True, message="GET /fruit/healthz: 200", ms=3.2),
        Good(at=took[4], rollout=rollout),
    )


def _release(chance: random.Random, record: Record, now: datetime) -> Release:
    who = chance.choice(_PEOPLE)
    app = {
        "name": "fruit",
        "import_path": "good:app",
        "route_prefix": "/fruit",
        "runtime_env": {"env_vars": {"TOKEN": SECRET}},
        "deployments": [{"name": "MangoStand", "user_config": {"price": record.sequence}}],
        "args": {"of": record.environment, "seed": chance.getrandbits(32)},
    }
    text = json.dumps({"applications": [app]}, sort_keys=True, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return Release(
        revision=Revision(
            commit=_commit(chance),
            author=who,
            committer=who,
            subject=f"raise the price of mangoes in {record.environment} to {record.sequence}",
            committed_at=now - timedelta(minutes=5),
        ),
        config=ServeConfig(text=text, digest=digest),
    )


def _commit(chance: random.Random) -> str:
    return f"{chance.getrandbits(160):040x}"


if __name__ == "__main__":
    make(Path(sys.argv[1]), **dict(zip(("environments", "rollouts"), map(int, sys.argv[2:]), strict=False)))
