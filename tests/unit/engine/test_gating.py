"""What other environments prove, and who is woken by it, over a store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.adapters.store import StoreCorrupt
from deployer.core.commands import GoodRelease
from deployer.core.events import Good, Paused, Promoted, PromotionAsked
from deployer.core.gates import NONE, BecameGood, Gating, Proof, Rules
from deployer.core.record import Record
from deployer.core.windows import Fixed
from deployer.engine.gating import Gatings
from tests.support.build import applied, at, ended_well, release, seen, started
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from deployer.core.events import Event

A, B = release("a"), release("b")
GOOD_A = (seen(A), started(A), applied(), *ended_well())
RULES = {
    "production": Rules(
        requires={"staging": 60.0}, freezes=(Fixed(begins=at(500), ends=at(600), reason="Christmas"),)
    ),
    "canary": Rules(requires={"staging": 0.0}),
    "staging": Rules(manual=True),
}


class Scene:
    """A store with what happened in staging, and the gatings over it at second 100."""

    def __init__(self, *events: Event) -> None:
        """So much happened in staging."""
        self.store = MemoryStore()
        self.store.commit(Record(environment="staging"), events)
        self.woken: list[str] = []
        self.second = 100.0
        self.gatings = Gatings(RULES, self.store, self.woken.append, lambda: at(self.second))


def test_what_is_required_is_looked_up_for_the_commit() -> None:
    """And only that: an environment without gates costs nothing."""
    gatings = Scene(*GOOD_A).gatings
    assert gatings.of("production", A.revision.commit) == Gating(
        rules=RULES["production"], proofs={"staging": Proof(good_since=at(10))}
    )
    assert gatings.of("production", B.revision.commit).proofs["staging"].good_since is None
    assert gatings.of("production", None) == Gating(rules=RULES["production"])
    assert gatings.of("staging", A.revision.commit) == Gating(rules=RULES["staging"])
    assert gatings.of("dev", A.revision.commit) == NONE


def test_what_cannot_be_read_proves_nothing_and_harms_nobody() -> None:
    """A damaged event of staging must not end the passes of production."""

    class Damaged(MemoryStore):
        def became_good(self, environment: str, commit: str) -> BecameGood | None:
            message = f"an event of {environment} is damaged"
            raise StoreCorrupt(message)

    scene = Scene(*GOOD_A)
    scene.gatings = Gatings(RULES, Damaged(), scene.woken.append, lambda: at(scene.second))
    proof = scene.gatings.of("production", A.revision.commit).proofs["staging"]
    assert proof == Proof(why="What staging proved cannot be read from the store: see the daemon's log.")


def test_a_copy_is_proved_by_what_it_copies() -> None:
    """As this daemon made it: what the commit itself says of where it is from counts for nothing."""
    scene = Scene(*GOOD_A)
    copied = "c" * 40
    assert scene.gatings.of("production", copied).proofs["staging"].good_since is None
    asked = PromotionAsked(at=at(20), source="staging", rollout="staging#1", commit=A.revision.commit)
    done = Promoted(at=at(21), commit=A.revision.commit, branch="main", copied=copied)
    scene.store.commit(Record(environment="production"), [asked, done])
    assert scene.gatings.of("production", copied).proofs["staging"] == Proof(good_since=at(10))
    assert scene.gatings.of("production", "d" * 40).proofs["staging"].good_since is None
    assert scene.gatings.of("canary", copied).proofs["staging"].good_since is None


def test_a_history_that_cannot_be_read_names_no_origin() -> None:
    """Then the commit is asked for as it is."""

    class Damaged(MemoryStore):
        def load(self, environment: str) -> Record:
            if environment == "production":
                message = f"an event of {environment} is damaged"
                raise StoreCorrupt(message)
            return super().load(environment)

    scene = Scene()
    damaged = Damaged()
    damaged.commit(Record(environment="staging"), GOOD_A)
    gatings = Gatings(RULES, damaged, scene.woken.append, lambda: at(scene.second))
    assert gatings.of("production", A.revision.commit).proofs["staging"] == Proof(good_since=at(10))


def test_who_waits_is_woken_by_what_may_open_its_gate() -> None:
    """Everybody who requires that environment, and nobody else."""
    scene = Scene(*GOOD_A)
    record = scene.store.load("staging")
    scene.gatings.recorded(record, Good(at=at(20), rollout="staging#1"))
    assert scene.woken == ["production", "canary"]
    scene.woken.clear()
    scene.gatings.recorded(record, Paused(at=at(20)))
    scene.gatings.recorded(Record(environment="dev"), Good(at=at(20), rollout="dev#1"))
    assert scene.woken == []


def test_a_promotion_by_itself_waits_for_the_gates_and_for_a_pause() -> None:
    """With the sentence of what it waits for."""
    scene = Scene(*GOOD_A)
    candidate = GoodRelease(rollout="staging#1", release=A, at=at(10))
    assert scene.gatings.may_promote("production", candidate) is None
    scene.second = 550.0
    why = scene.gatings.may_promote("production", candidate)
    assert why is not None
    assert why.startswith("staging#1 waits for the gate freezes. Frozen (Christmas) until ")
    scene.second = 100.0
    paused = Paused(at=at(50), actor="ada", reason="on fire")
    scene.store.commit(Record(environment="production"), [paused])
    assert "on fire" in (scene.gatings.may_promote("production", candidate) or "")
