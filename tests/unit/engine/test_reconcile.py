"""One pass: what it leaves behind, what it says, and what becomes of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import LogCapture

from deployer.adapters.store import StoreCorrupt, StoreUnavailable
from deployer.core.actions import Action, Note
from deployer.core.events import Seen
from deployer.engine.outbox import Outbox, Row
from deployer.engine.reconcile import After, Again, BackOff, GiveUp, Reconciler
from tests.support.build import at, desired, release
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.status import Status
    from deployer.core.types import Wanted

NAME = "staging"
A, BAD = release("a", "fruit"), release("bad", {"name": "fruit", "import_path": "import_error:app"})


class Scene:
    """A reconciler over fakes, whose parts a test can change."""

    def __init__(self) -> None:
        """Git wants A; the cluster is empty."""
        self.seconds = 0.0
        self.git: Wanted = desired(A)
        self.store: MemoryStore = MemoryStore()
        self.cluster = FakeCluster(now=lambda: self.seconds)
        self.heard: list[str] = []
        self.passes = self.build()

    def build(self, **more: Any) -> Reconciler:
        """Build a reconciler over the scene's parts."""
        return Reconciler(
            store=self.store,
            sources=self,
            clusters={NAME: self.cluster},
            now=lambda: at(self.seconds),
            listeners=[self],
            **more,
        )

    def wanted(self, environment: str) -> Wanted:
        """What git says (the `Sources` port)."""
        return self.git

    def recorded(self, record: Record, event: Event) -> None:
        """Remember the event (a `Listener`)."""
        self.heard.append(event.type)

    def observed(self, status: Status) -> None:
        """Remember that a state was told (a `Listener`)."""
        self.heard.append("observed")

    def until_live(self) -> None:
        """Run passes until nothing is in flight."""
        for _ in range(200):
            self.seconds += 0.5
            self.passes.run(NAME)
            if self.store.load(NAME).rollout is None:
                return
        pytest.fail("the rollout does not end")


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """What was logged, with the bound context."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture])
    yield capture.entries
    structlog.configure(**before)


def test_the_first_pass_sees_starts_and_puts(scene: Scene) -> None:
    """Notes of the same facts follow at once; the pass ends with the PUT and its outcome."""
    assert scene.passes.run(NAME) == Again()
    assert [event.type for event in scene.store.events[NAME]] == ["seen", "started", "applied"]
    assert scene.cluster.puts == [("staging#1", A.digest)]
    assert scene.heard == ["seen", "started", "observed", "applied"]


def test_a_rollout_ends_well_and_is_announced_once(scene: Scene) -> None:
    """One message for an ending; the status is published for those who read while the daemon is down."""
    scene.until_live()
    assert [line.split(":")[1].strip() for line in scene.store.outbox] == ["deploy staging#1"]
    assert scene.store.views[NAME]["sync"] == "Synced"
    assert isinstance(scene.passes.run(NAME), After)


def test_a_rejected_put_is_rolled_back(scene: Scene) -> None:
    """A 400 may be half applied: the outcome is durable, the good config is sent again."""
    scene.until_live()
    scene.git = desired(BAD)
    scene.cluster.reject_next = "Internal error in ServeController.apply_config"
    assert scene.passes.run(NAME) == Again()
    scene.until_live()

    assert [digest for _, digest in scene.cluster.puts] == [A.digest, BAD.digest, A.digest]
    record = scene.store.load(NAME)
    assert record.hold_of(BAD.digest) is not None
    assert record.last is not None
    assert record.last.release == A


def test_an_unclear_put_backs_off_and_is_read_back(scene: Scene) -> None:
    """A lost answer is not guessed: the next pass finds the config on the cluster and sends nothing."""
    scene.cluster.drop_answer_once = True
    outcome = scene.passes.run(NAME)
    assert isinstance(outcome, BackOff)
    assert not outcome.is_bug
    message = scene.store.views[NAME]["message"]
    assert message == f'deploying 86f7e43 "commit a": {outcome.why}'

    scene.seconds += 1
    scene.passes.run(NAME)
    applied = scene.store.events[NAME][-1]
    assert applied.type == "applied"
    assert applied.read_back
    assert len(scene.cluster.puts) == 1


def test_a_silent_cluster_backs_off(scene: Scene) -> None:
    """With the reason; nothing is sent."""
    scene.cluster.reachable = False
    outcome = scene.passes.run(NAME)

    assert isinstance(outcome, BackOff)
    assert "Nothing is changed until it answers." in outcome.why
    assert scene.cluster.puts == []


class BrokenStore(MemoryStore):
    """A store that fails as it is told."""

    error: Exception = StoreUnavailable("the disk is full")

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[str] = ()) -> Record:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreUnavailable("the disk is full"), BackOff(why="the disk is full")),
        (StoreCorrupt("restore a backup"), GiveUp(why="restore a backup")),
        (KeyError("oops"), BackOff(why="KeyError: 'oops'", is_bug=True)),
    ],
)
def test_without_a_durable_intent_nothing_is_sent(scene: Scene, error: Exception, outcome: object) -> None:
    """A full disk waits, a corrupt store gives up, a bug costs one pass; none sends a PUT."""
    broken = BrokenStore()
    broken.error = error
    scene.store = broken

    assert scene.build().run(NAME) == outcome
    assert scene.cluster.puts == []


def test_a_policy_that_does_not_converge_is_a_visible_bug(scene: Scene) -> None:
    """A bounded number of notes, then an error instead of a busy loop."""

    def endless(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
        return Note(events=(Seen(at=now, release=A),))

    outcome = scene.build(policy=endless).run(NAME)
    assert isinstance(outcome, BackOff)
    assert outcome.is_bug
    assert "does not converge" in outcome.why
    assert len(scene.store.events[NAME]) == 10


def test_one_wide_event_per_pass(scene: Scene, logged: list[Any]) -> None:
    """With the ids that join it to the audit row; a pass that says nothing new is for debugging."""
    scene.until_live()
    logged.clear()
    scene.git = desired(BAD)
    scene.passes.run(NAME)
    entry = next(entry for entry in logged if entry["event"] == "reconciled")
    assert entry["log_level"] == "info"
    assert (entry["environment"], entry["rollout"]) == (NAME, "staging#2")
    assert (entry["action"], entry["outcome"]) == ("put", "again")
    assert entry["noted"] == ["seen", "started", "applied"]
    assert len(entry["pass_id"]) == 8
    assert entry["ms"] >= 0

    scene.until_live()
    logged.clear()
    for _ in range(3):
        scene.passes.run(NAME)
    levels = [entry["log_level"] for entry in logged if entry["event"] == "reconciled"]
    assert levels[1:] == ["debug", "debug"]


class Rows:
    """An outbox in memory, that can be told to die between delivery and mark."""

    def __init__(self, *messages: str) -> None:
        """Hold these messages."""
        self.rows = dict(enumerate(messages, 1))
        self.failed: list[int] = []
        self.is_broken = False

    def undelivered(self, limit: int) -> list[Any]:
        """Those not marked."""
        return [OutboxLine(number, text) for number, text in list(self.rows.items())[:limit]]

    def mark_delivered(self, ids: Sequence[int]) -> None:
        """Mark, or die."""
        if self.is_broken:
            message = "down"
            raise StoreUnavailable(message)
        for number in ids:
            del self.rows[number]

    def mark_failed(self, ids: Sequence[int]) -> None:
        """Remember that they were not taken."""
        self.failed += ids


class OutboxLine:
    """One row."""

    def __init__(self, number: int, text: str) -> None:
        """Take id and text."""
        self.id, self.message, self.environment = number, text, NAME


def test_the_outbox_delivers_at_least_once_in_order() -> None:
    """A crash between delivery and mark sends the message again, with the same id."""
    rows, sent = Rows("one", "two"), list[tuple[int, str]]()
    outbox = Outbox(rows, deliver=lambda row: sent.append((row.id, row.message)))
    rows.is_broken = True
    with pytest.raises(StoreUnavailable):
        outbox.deliver_all()
    rows.is_broken = False

    assert outbox.deliver_all() == 2
    assert sent == [(1, "one"), (1, "one"), (2, "two")]


def test_a_target_that_fails_keeps_the_order_and_the_message() -> None:
    """The round ends, the attempt is counted, and the next round begins with the same message."""
    rows, sent = Rows("one", "two"), list[str]()
    is_down = True

    def deliver(row: Row) -> None:
        if is_down:
            message = "the target is down"
            raise OSError(message)
        sent.append(row.message)

    outbox = Outbox(rows, deliver=deliver)
    assert outbox.deliver_all() == 0
    assert rows.failed == [1]
    is_down = False

    assert outbox.deliver_all() == 2
    assert sent == ["one", "two"]


def test_waiting_writes_nothing(scene: Scene) -> None:
    """A wait leaves no event."""
    scene.until_live()
    before = len(scene.store.events[NAME])
    for _ in range(5):
        assert isinstance(scene.passes.run(NAME), After)

    assert len(scene.store.events[NAME]) == before
