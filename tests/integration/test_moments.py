"""What was live at a moment, asked of a real store: the same as all of the log tells, and by few rows."""

from __future__ import annotations

import random
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event as sql_events

from deployer.adapters.store import SqlStore
from deployer.adapters.store.moments import Moments
from deployer.core import past
from deployer.core.events import (
    Applied,
    Approved,
    Cancelled,
    Event,
    Failed,
    Good,
    Healthy,
    Kind,
    Observed,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Rejected,
    Seen,
    Started,
    State,
    Superseded,
    SyncAsked,
)
from deployer.core.provenance import provenance
from deployer.core.record import Pushing
from deployer.core.types import Policy
from tests.contract.histories import BROKEN
from tests.support import large_store
from tests.support.build import at, release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from deployer.core.history import Entry
    from deployer.core.past import Past
    from deployer.core.provenance import Provenance
    from deployer.core.record import Record
    from deployer.core.types import Release

NAMES = ("staging", "production")
PEOPLE = ("ada (token 1)", "grace (token 2)", "lin (local)")
RELEASES = [release(name) for name in "abcd"]
# The same config by another commit, as of a change beside it.
RELEASES.append(replace(RELEASES[0], revision=release("e").revision))


class Writer:
    """Writes what happens to an environment by chance: legal, and now and then odd."""

    def __init__(self, store: SqlStore, name: str, seed: int) -> None:
        """Begin with an empty log."""
        self._store = store
        self._chance = random.Random(f"{name} {seed}")
        self._record: Record = store.load(name)
        self._second = 0.0

    def write(self, rollouts: int) -> None:
        """So many rollouts, and what people say before each."""
        for _ in range(rollouts):
            self._wish()
            self._rollout()

    def _now(self) -> datetime:
        self._second += self._chance.choice((0, 1, 5, 60))
        return at(self._second)

    def _add(self, *events: Event) -> None:
        self._record = self._store.commit(self._record, events)

    def _wish(self) -> None:
        """Git wants something, and people say what they think of it."""
        wanted = self._chance.choice(RELEASES)
        commit = wanted.revision.commit
        if self._chance.random() < 0.3:
            self._promote(commit)
        self._add(Seen(at=self._now(), release=wanted))
        for _ in range(self._chance.randrange(4)):
            actor, said = self._chance.choice(PEOPLE), self._chance.choice((Approved, Approved, Rejected))
            digest = wanted.digest
            self._add(
                said(at=self._now(), actor=actor, reason="so", plan="sha256:1", digest=digest, commit=commit)
            )
        if self._chance.random() < 0.3:
            skipped = self._chance.choice(((), ("windows",)))
            asked = SyncAsked(
                at=self._now(), actor="ada", digest=wanted.digest, commit=commit, skipped=skipped
            )
            self._add(asked)

    def _promote(self, commit: str) -> None:
        """Of the commit itself, or of another one that it copies."""
        proved = self._chance.choice((commit, "f" * 40))
        copied = None if proved == commit else commit
        asked = PromotionAsked(
            at=self._now(), actor="lin", source="dev", rollout="dev#1", commit=proved, skipped=("soak",)
        )
        self._add(asked)
        match self._chance.randrange(3):
            case 0:
                self._add(PromotionFailed(at=self._now(), commit=proved, why="It is protected."))
            case 1:
                self._add(Promoted(at=self._now(), commit=proved, branch="main", copied=copied))
            case _:
                pass

    def _rollout(self) -> None:
        record, chance = self._record, self._chance
        rollout, wanted = record.next_rollout_id(), record.seen
        assert wanted is not None
        kind = Kind.DEPLOY if record.good is None else chance.choice((Kind.DEPLOY, Kind.DEPLOY, *Kind))
        what: Release = wanted if kind is Kind.DEPLOY else (record.good or wanted)
        trigger = "push" if kind is Kind.DEPLOY else "drift"
        self._add(
            Started(
                at=self._now(), rollout=rollout, kind=kind, release=what, policy=Policy(), trigger=trigger
            )
        )
        promotion = record.promotion
        if promotion is not None and promotion.result is Pushing.ASKED and chance.random() < 0.5:
            # Nobody knew before what had become of it.
            copied = promotion.copied or wanted.revision.commit
            self._add(Promoted(at=self._now(), commit=promotion.commit, branch="main", copied=copied))
        if chance.random() < 0.25:
            self._end(rollout, chance.choice(("failed", "superseded", "cancelled")))
            return
        self._add(Applied(at=self._now(), rollout=rollout))
        sick = chance.random() < 0.3
        state = State(app="fruit", status="RUNNING")
        self._add(Observed(at=self._now(), rollout=rollout, states=(state,), settled=not sick, sick=sick))
        self._end(rollout, chance.choice(("good", "good", "failed", "superseded", "cancelled")), sick=sick)

    def _end(self, rollout: str, how: str, *, sick: bool = False) -> None:
        now = self._now()
        match how:
            case "good" if not sick:
                self._add(Healthy(at=now, rollout=rollout), Good(at=now, rollout=rollout))
            case "superseded":
                self._add(Superseded(at=now, rollout=rollout, by="next"))
            case "cancelled":
                self._add(Cancelled(at=now, rollout=rollout))
            case _:
                self._add(Failed(at=now, rollout=rollout, failure=BROKEN))


class Known:
    """Everything that the log of an environment says, read in full."""

    def __init__(self, store: SqlStore, name: str) -> None:
        """Read it."""
        self.name = name
        self.rollouts: list[Entry] = store.history(name, limit=100_000)[::-1]
        self.events = [one.event for one in store.events(name, limit=1_000_000)]

    def times(self) -> list[datetime]:
        """Each at which something happened, and just before and after."""
        found = {event.at for event in self.events}
        step = timedelta(microseconds=1)
        return sorted({one + n * step for one in found for n in (-1, 0, 1)})

    def at(self, time: datetime) -> tuple[Past, Provenance | None]:
        """What was live, as all of it tells."""
        found = past.was_live(self.name, self.rollouts, time)
        if found.live is None:
            return found, None
        live = found.live.rollout
        if past.is_judging(found):
            seen = [
                one
                for one in self.events
                if isinstance(one, Observed) and one.rollout == live.id and one.at <= time
            ]
            found = past.with_seen(found, seen[-1] if seen else None)
        deploy = self._deploy(live)
        if deploy is None:
            return found, None
        same = {one.id for one in self.rollouts if one.release.digest == deploy.release.digest}
        begins = [isinstance(one, Started) and one.rollout == deploy.id for one in self.events].index(True)
        before = [one for one in self.events[:begins] if not isinstance(one, Good) or one.rollout in same]
        return found, provenance(deploy, before, self.events[begins:])

    def _deploy(self, live: Entry) -> Entry | None:
        """The newest deploy of the release, up to the live rollout."""
        until = self.rollouts[: self.rollouts.index(live) + 1]
        key = (live.release.revision, live.release.digest)
        deploys = [one for one in until if one.kind is Kind.DEPLOY]
        return next(
            (one for one in reversed(deploys) if (one.release.revision, one.release.digest) == key), None
        )


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_all_of_the_log_tells(tmp_path: Path, seed: int) -> None:
    """Of two environments with the same releases, at each moment at which something happened."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        for name in NAMES:
            Writer(store, name, seed).write(40)
        moments, careful = Moments(store.database), Moments(store.database, page=1)
        standings = set()
        for name in NAMES:
            known = Known(store, name)
            for time in known.times():
                found, who = moments.at(name, time)
                assert (found, who) == known.at(time), time
                assert careful.at(name, time) == (found, who), time
                standings.add(found.live.standing if found.live else None)
    assert standings >= {None, *past.Standing} - {past.Standing.ROLLING_BACK}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """A store as of some weeks, of four environments."""
    path = tmp_path_factory.mktemp("large") / "deployer.db"
    large_store.make(path, environments=4, rollouts=60, seed=7)
    with closing(SqlStore.open(path)) as store:
        yield store


def test_of_long_histories_too(large: SqlStore) -> None:
    """Where what is needed is on other pages."""
    moments = Moments(large.database)
    known = Known(large, "env-002")
    for time in random.Random(1).sample(known.times(), 150):
        assert moments.at("env-002", time) == known.at(time)


def test_what_was_never_deployed_to_has_no_past(large: SqlStore) -> None:
    """Also one that no settings have."""
    found, who = Moments(large.database).at("nowhere", large_store.END)

    assert (found.live, found.attempt, found.good, found.following, who) == (None, None, None, None, None)


def test_a_clock_that_was_set_back_is_followed_in_the_logs_order(tmp_path: Path) -> None:
    """The time came twice: the later one, in the log's order, is meant."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        record = store.load("staging")
        for second, name in ((0, "a"), (100, "b"), (200, "c"), (50, "d"), (60, "a"), (300, "b")):
            rollout, what = record.next_rollout_id(), release(name)
            started = Started(
                at=at(second),
                rollout=rollout,
                kind=Kind.DEPLOY,
                release=what,
                policy=Policy(),
                trigger="push",
            )
            applied = Applied(at=at(second), rollout=rollout)
            record = store.commit(record, [Seen(at=at(second), release=what), started, applied])
            record = store.commit(record, [Cancelled(at=at(second), rollout=rollout)])
        known, moments = Known(store, "staging"), Moments(store.database)
        # As many as the clock was set back over.
        by_three = Moments(store.database, page=3)
        lives = {}
        for second in (0, 55, 70, 100, 150, 250, 300):
            found = moments.at("staging", at(second))
            assert found == known.at(at(second)) == by_three.at("staging", at(second))
            lives[second] = found[0].live.rollout.id if found[0].live else None
    assert lives == {
        0: "staging#1",
        55: "staging#4",
        70: "staging#5",
        100: "staging#5",
        150: "staging#5",
        250: "staging#5",
        300: "staging#6",
    }


@contextmanager
def asked(store: SqlStore) -> Iterator[dict[str, tuple[object, ...]]]:
    """Every SELECT inside the block, with its values of the last time."""
    found: dict[str, tuple[object, ...]] = {}
    with store.database.reading() as connection:
        engine = connection.engine

    def keep(*executed: Any) -> None:
        _, _, statement, values, *_ = executed
        if statement.startswith("SELECT"):
            found[statement] = values

    sql_events.listen(engine, "before_cursor_execute", keep)
    try:
        yield found
    finally:
        sql_events.remove(engine, "before_cursor_execute", keep)


TABLES = ("events", "rollouts", "mentions", "releases", "records", "views", "outbox")


def test_every_read_is_a_search_in_an_index(tmp_path: Path) -> None:
    """None walks through a table, nor through a whole index, nor sorts more than a few rows."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        for name in NAMES:
            Writer(store, name, 1).write(40)
        moments, times = Moments(store.database), Known(store, "staging").times()
        with asked(store) as questions:
            for time in times:
                moments.at("staging", time)
        with store.database.reading() as connection:
            plans = {
                statement: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                for statement, values in questions.items()
            }
    lines = [str(row[3]) for plan in plans.values() for row in plan]
    assert len(plans) >= 12
    assert [line for line in lines if line.startswith("SCAN") and line.split()[1] in TABLES] == []
    assert all("USING" in line for line in lines if line.startswith("SEARCH"))
    searched = {word for line in lines for word in line.split() if "_" in word}
    assert searched >= {
        "rollouts_environment_started_event",
        "events_environment_id",
        "events_rollout_type_id",
        "mentions_digest",
        "mentions_revision",
    }
