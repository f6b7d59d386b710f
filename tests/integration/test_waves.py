"""Fifty clusters in five waves, each of which requires the one before: passes of one reconciler, one clock.

The clusters and the store are in memory (their contract suites run on the real ones too).
"""

from __future__ import annotations

import heapq
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from deployer.core import commands
from deployer.core.events import Good, Kind, Started
from deployer.core.gates import Rules, Verdict
from deployer.core.status import Freshness
from deployer.core.types import Deadlines, Policy
from deployer.engine.gating import Gatings
from deployer.engine.reconcile import After, BackOff, Reconciler
from tests.support.build import at, desired, release
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status
    from deployer.core.types import Release, Revision, Wanted

A, B, C = release("a"), release("b"), release("c")
pytestmark = pytest.mark.timeout(300)

POLICY = Policy(stability_window=1.0, soak=1.0, deadlines=Deadlines(build=20, schedule=20, start=20))
WAVES = [[f"cluster-{wave * 10 + number:02}" for number in range(10)] for wave in range(5)]
SECONDS = 60.0
"""For so long a commit must be good in every cluster of the wave before."""
THROUGH = 500.0
"""In so many seconds a commit goes through all waves, if nothing stops it: it takes 260. So for what is to be
stopped it is long enough as well."""


class Fleet:
    """All of it. Passes run when they are due."""

    def __init__(self) -> None:
        """Nothing runs anywhere; git wants A everywhere."""
        self.seconds = 0.0
        self.names = [name for wave in WAVES for name in wave]
        self.store = MemoryStore()
        self.clusters = {name: FakeCluster(now=lambda: self.seconds) for name in self.names}
        self.statuses: dict[str, Status] = {}
        rules = {
            name: Rules(requires=dict.fromkeys(before, SECONDS))
            for before, wave in pairwise(WAVES)
            for name in wave
        }
        self.gatings = Gatings(rules, self.store, self.wake, lambda: at(self.seconds))
        self.due = [(0.0, name) for name in self.names]
        self.passes = Reconciler(
            store=self.store,
            sources=self,
            clusters=self.clusters,
            now=lambda: at(self.seconds),
            listeners=[self, self.gatings],
            gating=self.gatings.of,
        )
        self.push(A)

    def push(self, what: Release) -> None:
        """One commit, which all of them follow."""
        self.git: Wanted = desired(what, POLICY)
        for name in self.names:
            self.wake(name)

    def wake(self, environment: str) -> None:
        """A pass is asked for."""
        heapq.heappush(self.due, (self.seconds, environment))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.seconds + seconds
        while self.due[0][0] <= end:
            due, name = heapq.heappop(self.due)
            self.seconds = max(self.seconds, due)
            # Who was woken has an older pass in the list, which is now too many.
            self.due = [one for one in self.due if one[1] != name]
            heapq.heapify(self.due)
            match self.passes.run(name):
                case After(seconds=pause):
                    again = self.seconds + pause
                case BackOff(why=why, is_bug=is_bug):
                    assert not is_bug, why
                    again = self.seconds + 5
                case _:
                    again = self.seconds
            heapq.heappush(self.due, (again, name))
        self.seconds = end

    def started(self, name: str, what: Release) -> list[float]:
        """When deploys of it began there."""
        return [
            (event.at - at(0)).total_seconds()
            for event in self.store.events.get(name, [])
            if isinstance(event, Started) and event.kind is Kind.DEPLOY and event.release == what
        ]

    def good_since(self, name: str, what: Release) -> float | None:
        """When it became good there."""
        record = self.store.load(name)
        return (record.good_at - at(0)).total_seconds() if record.good == what and record.good_at else None

    # --- the ports ---------------------------------------------------------------------------------------

    def wanted(self, environment: str) -> Wanted:
        """The same everywhere."""
        return self.git

    def compared(self, environment: str, since: Revision | None) -> bool:
        """It was."""
        return True

    def runs(self, environment: str, ray_version: str) -> bool:
        """It fits."""
        return True

    def freshness(self, environment: str) -> Freshness:
        """Nothing is known of when."""
        return Freshness()

    def recorded(self, record: Record, event: Event) -> None:
        """Nothing to do."""

    def observed(self, status: Status) -> None:
        """Keep the newest."""
        self.statuses[status.environment] = status


def test_a_commit_goes_from_wave_to_wave_when_it_has_proved_itself() -> None:
    """In none it begins before it was good in all of the wave before for so long; and it is not late."""
    fleet = Fleet()
    fleet.run(THROUGH)
    for before, wave in pairwise(WAVES):
        proved = max(fleet.good_since(name, A) or float("inf") for name in before) + SECONDS
        for name in wave:
            (began,) = fleet.started(name, A)
            assert proved <= began <= proved + 1


def test_a_failure_in_a_wave_stops_those_after_it() -> None:
    """Which say where it failed; its wave goes on, as nothing stands before that; and the fix reaches all."""
    fleet = Fleet()
    fleet.run(THROUGH)
    fleet.clusters["cluster-13"].sick = True
    fleet.push(B)
    fleet.run(THROUGH)
    fleet.clusters["cluster-13"].sick = False
    fleet.run(THROUGH)

    assert all(fleet.good_since(name, B) for name in WAVES[0])
    assert all(fleet.good_since(name, B) for name in WAVES[1] if name != "cluster-13")
    assert fleet.store.load("cluster-13").hold_of(B.digest) is not None
    for wave in WAVES[2:]:
        for name in wave:
            assert fleet.started(name, B) == []
            assert fleet.good_since(name, A) is not None
    third, fourth = (fleet.statuses[wave[0]].gates for wave in WAVES[2:4])
    assert [gate.verdict for gate in (*third, *fourth)] == [Verdict.CLOSED] * 2
    assert third[0].evidence.startswith("It is held in cluster-13: ")
    assert "cluster-20 wants it, and has not made it good" in fourth[0].evidence

    fleet.push(C)
    fleet.run(THROUGH)
    assert all(fleet.good_since(name, C) for name in fleet.names)


def test_a_proof_that_is_lost_while_others_wait_opens_nothing() -> None:
    """A commit is rolled back in the first wave while the second waits for its time to be over."""
    fleet = Fleet()
    fleet.run(THROUGH)
    fleet.push(B)
    fleet.run(30)
    proved = [name for name in WAVES[0] if fleet.good_since(name, B)]
    assert proved == WAVES[0]

    record = fleet.store.load("cluster-00")
    answer = commands.rollback(
        record,
        to=None,
        releases=fleet.store.good_releases("cluster-00"),
        actor="ada",
        reason="it is wrong",
        now=at(fleet.seconds),
    )
    assert isinstance(answer, commands.Accepted)
    fleet.passes.commit(record, answer.events)
    fleet.wake("cluster-00")
    fleet.run(THROUGH)
    assert fleet.good_since("cluster-00", A) is not None
    assert not any(fleet.started(name, B) for wave in WAVES[1:] for name in wave)
    assert any(isinstance(event, Good) for event in fleet.store.events["cluster-00"])
