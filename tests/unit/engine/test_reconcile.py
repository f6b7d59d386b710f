"""One pass: what it leaves behind, what it says, and what becomes of errors."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import LogCapture

from deployer.adapters.serve import LogUnavailable, Unclear
from deployer.adapters.store import Conflict, StoreCorrupt, StoreUnavailable
from deployer.core.actions import Action, Note, Probe
from deployer.core.checks import Answer
from deployer.core.events import Applied, Checked, Kind, LogKept, Paused, RetryAsked, Seen
from deployer.core.live import Live
from deployer.core.record import Result
from deployer.core.scrub import scrub, secrets_of
from deployer.core.status import Freshness
from deployer.core.types import Check, Deadlines, NotRead, Policy, Release
from deployer.engine import reconcile
from deployer.engine.reconcile import After, Again, BackOff, GiveUp, NotYet, Outcome, Reconciler
from tests.support.build import at, desired, release
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from deployer.core.events import Event, LogSource
    from deployer.core.gates import Gating
    from deployer.core.live import Observation
    from deployer.core.messages import Told
    from deployer.core.record import Record, Rollout
    from deployer.core.status import Status
    from deployer.core.types import Revision, Wanted

NAME, OTHER = "staging", "production"
QUICK = Policy(stability_window=0, soak=0, deadlines=Deadlines(schedule=10))
A, BAD = release("a", "fruit"), release("bad", {"name": "fruit", "import_path": "import_error:app"})
MATH = release("math", "math")


class Scene:
    """A reconciler over fakes, whose parts a test can change. Both environments are on one cluster."""

    def __init__(self) -> None:
        """Git wants A in staging and nothing in production; the cluster is empty."""
        self.seconds = 0.0
        self.git: dict[str, Wanted] = {NAME: desired(A, QUICK), OTHER: NotRead(why="x")}
        self.store: MemoryStore = MemoryStore()
        self.cluster = FakeCluster(now=lambda: self.seconds)
        self.heard: list[str] = []
        self.unchecked: set[str] = set()
        self.passes = self.build()

    def build(self, **more: Any) -> Reconciler:
        """Build a reconciler over the scene's parts."""
        return Reconciler(
            **{
                "store": self.store,
                "sources": self,
                "clusters": {NAME: self.cluster, OTHER: self.cluster},
                "now": lambda: at(self.seconds),
                "listeners": [self],
                **more,
            }
        )

    def share(self) -> None:
        """The two environments know of each other."""
        self.passes = self.build(neighbours={NAME: (OTHER,), OTHER: (NAME,)})

    def want(self, what: Release, policy: Policy = QUICK, name: str = NAME) -> None:
        """Git wants this."""
        self.git[name] = desired(what, policy)

    def compared(self, environment: str, since: Revision | None) -> bool:
        """What it gives out was compared with whatever came before."""
        return True

    def freshness(self, environment: str) -> Freshness:
        """Nothing is known of when."""
        return Freshness()

    def runs(self, environment: str, ray_version: str) -> bool:
        """Whether what is wanted was checked for that Ray (the `Sources` port)."""
        return ray_version not in self.unchecked

    def wanted(self, environment: str) -> Wanted:
        """What git says (the `Sources` port)."""
        return self.git[environment]

    def recorded(self, record: Record, event: Event) -> None:
        """Remember the event (a `Listener`)."""
        self.heard.append(event.type)

    def observed(self, status: Status) -> None:
        """Remember that a state was told (a `Listener`)."""
        self.heard.append("told")

    def until_rest(self, name: str = NAME) -> Record:
        """Run passes, half a second apart, until nothing is in flight and a pass only waits."""
        for _ in range(200):
            self.seconds += 0.5
            outcome = self.passes.run(name)
            record = self.store.load(name)
            if record.rollout is None and isinstance(outcome, After):
                return record
        pytest.fail(f"no rest: {self.store.views[name]['message']}")

    def types(self, name: str = NAME) -> list[str]:
        """The types of all events."""
        return [event.type for event in self.store.events.get(name, [])]

    def message(self, name: str = NAME) -> str:
        """The sentence that was published last."""
        return str(self.store.views[name]["message"])


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


def test_what_was_checked_for_another_ray_is_not_deployed(scene: Scene) -> None:
    """It may hold what the cluster's Ray drops. Once it is checked for that one, it is."""
    scene.want(release("a", "fruit"))
    seen = scene.cluster.observe()
    assert isinstance(seen, Live)
    scene.unchecked.add(seen.ray_version)
    scene.passes.run(NAME)
    assert scene.types() == []
    assert f"being checked for Ray {seen.ray_version}" in scene.message()
    scene.unchecked.clear()
    scene.until_rest()
    assert "good" in scene.types()


def test_the_first_pass_sees_starts_and_puts(scene: Scene) -> None:
    """Notes of the same facts follow at once; the pass ends with the PUT and its outcome."""
    assert scene.passes.run(NAME) == Again()
    assert scene.types() == ["seen", "started", "applied"]
    assert scene.cluster.puts == [("staging#1", A.digest)]
    assert scene.heard == ["seen", "started", "told", "applied"]


def test_a_rollout_ends_well_and_is_announced_once(scene: Scene) -> None:
    """One message for an ending; the status is published for those who read while the daemon is down."""
    scene.until_rest()
    assert [line.split(":")[1].strip() for line in scene.store.outbox] == ["deploy staging#1"]
    assert scene.store.views[NAME]["sync"] == "Synced"
    assert isinstance(scene.passes.run(NAME), After)


def test_a_rejected_put_is_rolled_back(scene: Scene) -> None:
    """A 400 may be half applied: the outcome is durable, the good config is sent again."""
    scene.until_rest()
    scene.want(BAD)
    scene.cluster.reject_next = "Internal error in ServeController.apply_config"
    assert scene.passes.run(NAME) == Again()
    record = scene.until_rest()

    assert [digest for _, digest in scene.cluster.puts] == [A.digest, BAD.digest, A.digest]
    assert record.hold_of(BAD.digest) is not None
    assert record.last is not None
    assert record.last.release == A


def test_an_unclear_put_backs_off_and_is_read_back(scene: Scene) -> None:
    """A lost answer is not guessed: the next pass finds the config on the cluster and sends nothing."""
    scene.cluster.drop_answer_once = True
    outcome = scene.passes.run(NAME)
    assert isinstance(outcome, BackOff)
    assert not outcome.is_bug
    assert scene.message() == f'deploying 86f7e43 "commit a": {outcome.why}'

    scene.seconds += 1
    scene.passes.run(NAME)
    (applied,) = [event for event in scene.store.events[NAME] if isinstance(event, Applied)]
    assert applied.read_back
    assert applied.session == "session_1"
    assert len(scene.cluster.puts) == 1


def test_a_rollback_that_gets_no_answer_ends_at_its_deadline(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead controller answers every PUT with a 500: in the end that is a failure, not one more try."""
    short = replace(QUICK, rollback_deadline=30)
    scene.want(A, short)
    scene.until_rest()
    scene.want(BAD, short)
    scene.cluster.reject_next = "Internal error in ServeController.apply_config"
    scene.passes.run(NAME)

    def answer_500(rollout: Rollout, body: Mapping[str, Any]) -> None:
        why = "It answered 500."
        raise Unclear(why)

    monkeypatch.setattr(scene.cluster, "apply", answer_500)
    outcomes: list[Outcome] = []
    while scene.store.load(NAME).rollout is not None or not outcomes:
        scene.seconds += 5
        outcomes.append(scene.passes.run(NAME))
        assert len(outcomes) < 20
    last = scene.store.load(NAME).last

    assert [type(outcome) for outcome in outcomes] == [BackOff] * 7 + [Again]
    assert last is not None
    assert last.kind is Kind.ROLLBACK
    assert last.failure is not None
    assert last.failure.message == "not sent within 30s: It answered 500."


def test_a_silent_cluster_backs_off(scene: Scene, logged: list[Any]) -> None:
    """With the reason, once as a warning; nothing is sent."""
    scene.cluster.reachable = False
    outcome = scene.passes.run(NAME)

    assert isinstance(outcome, BackOff)
    assert "Nothing is changed until it answers." in outcome.why
    assert scene.cluster.puts == []
    scene.passes.run(NAME)
    levels = [entry["log_level"] for entry in logged if entry["event"] == "reconciled"]
    assert levels == ["warning", "debug"]


def test_a_cluster_at_rest_that_stays_out_of_sight_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute, once; and again only after it was seen."""
    scene.until_rest()
    clock = [0.0]
    monkeypatch.setattr(reconcile, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    before = len(scene.types())
    scene.cluster.reachable = False
    for clock[0] in (0.0, 59.0, 61.0, 90.0):
        scene.passes.run(NAME)
    assert scene.types()[before:] == ["drifted"]

    scene.cluster.reachable = True
    scene.passes.run(NAME)
    scene.cluster.reachable = False
    for clock[0] in (100.0, 159.0):
        scene.passes.run(NAME)
    assert scene.types()[before:] == ["drifted", "drift_ended"]


class BrokenStore(MemoryStore):
    """A store that fails as it is told."""

    error: Exception = StoreUnavailable("the disk is full")

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreUnavailable("the disk is full"), BackOff(why="the disk is full")),
        (Conflict("somebody else wrote"), BackOff(why="somebody else wrote")),
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

    def endless(
        wanted: Wanted,
        live: Observation,
        record: Record,
        now: datetime,
        neighbours: Mapping[str, str],
        gating: Gating,
    ) -> Action:
        return Note(line=1, events=(Seen(at=now, release=A),))

    outcome = scene.build(policy=endless).run(NAME)
    assert isinstance(outcome, BackOff)
    assert outcome.is_bug
    assert "does not converge" in outcome.why
    assert len(scene.types()) == 20


def test_one_wide_event_per_pass(scene: Scene, logged: list[Any]) -> None:
    """With the ids that join it to the audit row; a pass that says nothing new is for debugging."""
    scene.until_rest()
    logged.clear()
    scene.want(BAD)
    scene.passes.run(NAME)
    entry = next(entry for entry in logged if entry["event"] == "reconciled")
    assert entry["log_level"] == "info"
    assert (entry["environment"], entry["rollout"]) == (NAME, "staging#2")
    assert (entry["action"], entry["outcome"]) == ("put", "again")
    assert entry["noted"] == ["seen", "started", "applied"]
    assert len(entry["pass_id"]) == 8
    assert entry["ms"] >= 0

    scene.until_rest()
    logged.clear()
    for _ in range(3):
        scene.passes.run(NAME)
    levels = [entry["log_level"] for entry in logged if entry["event"] == "reconciled"]
    assert levels[1:] == ["debug", "debug"]


def test_waiting_writes_nothing(scene: Scene) -> None:
    """A wait leaves no event."""
    scene.until_rest()
    before = len(scene.types())
    for _ in range(5):
        assert isinstance(scene.passes.run(NAME), After)

    assert len(scene.types()) == before


class TestProbe:
    """A pass that makes one attempt of a check."""

    CHECKED = Policy(
        stability_window=0, soak=0, checks=(Check(app="fruit", path="/fruit", retries=1, latency=0.5),)
    )

    def test_a_check_that_passes(self, scene: Scene) -> None:
        """Its answer is durable, and the rollout goes on."""
        scene.want(A, self.CHECKED)
        record = scene.until_rest()

        assert record.good == A
        assert scene.cluster.probes == ["GET /fruit"]
        (checked,) = [event for event in scene.store.events[NAME] if isinstance(event, Checked)]
        assert (checked.check, checked.passed, checked.ms) == (0, True, 10.0)
        assert checked.message == "GET /fruit answered 200 in 10 ms"

    def test_one_attempt_per_pass(self, scene: Scene) -> None:
        """And the state is told before it, since it may take as long as its time-out."""
        scene.want(A, self.CHECKED)
        scene.cluster.answers["/fruit"] = Answer(seconds=0.1, status=500)
        told = []
        for _ in range(40):
            scene.seconds += 0.5
            probes = len(scene.cluster.probes)
            outcome = scene.passes.run(NAME)
            if len(scene.cluster.probes) > probes:
                assert len(scene.cluster.probes) == probes + 1
                assert outcome == Again()
                told.append(scene.message())

        assert told == ['deploying 86f7e43 "commit a": checking GET /fruit'] * 2

    def test_a_check_that_does_not_pass_rolls_back(self, scene: Scene) -> None:
        """After its retries, with what was answered."""
        scene.until_rest()
        scene.want(release("b", "fruit", "salad"), self.CHECKED)
        scene.cluster.answers["/fruit"] = Answer(seconds=0.7, status=200)
        record = scene.until_rest()

        assert record.good == A
        assert len(scene.cluster.probes) == 2
        (hold,) = record.held
        assert hold.reason == "GET /fruit answered 200 in 700 ms, expected at most 500 ms"

    def test_nothing_is_asked_of_a_cluster_that_cannot_be_seen(self, scene: Scene) -> None:
        """A policy that wants it has a bug, which costs one pass."""
        scene.want(A, self.CHECKED)
        inner = scene.passes

        def blind(
            wanted: Wanted, live: Observation, record: Record, now: datetime, neighbours: Mapping[str, str]
        ) -> Action:
            return scene_probe(record)

        for _ in range(20):
            scene.seconds += 0.5
            inner.run(NAME)
            if scene.store.views[NAME]["message"].endswith("checking GET /fruit"):
                break
        scene.cluster.reachable = False
        outcome = scene.build(policy=blind).run(NAME)
        assert isinstance(outcome, BackOff)
        assert outcome.is_bug


class TestKeepLog:
    """A pass that keeps the log of a replica that failed."""

    CRASHING = release("x", {"name": "fruit", "import_path": "constructor_raises:app"})

    def kept(self, scene: Scene) -> LogKept:
        """A deploy failed and was rolled back; the one log that was kept."""
        scene.until_rest()
        scene.want(self.CRASHING)
        record = scene.until_rest()
        assert record.last is not None
        assert (record.last.result, record.good) == (Result.GOOD, A)
        (kept,) = [event for event in scene.store.events[NAME] if isinstance(event, LogKept)]
        return kept

    def test_it_is_kept_after_the_rollback_was_sent(self, scene: Scene) -> None:
        """Evidence of the failed rollout, and not in the way of what follows."""
        kept = self.kept(scene)

        assert (kept.rollout, kept.reason) == ("staging#2", "")
        assert "Started initializing replica" in kept.text
        types = scene.types()
        assert types.index("log_kept") > len(types) - 1 - types[::-1].index("applied")

    def test_it_holds_no_secret_after_a_restart(self, scene: Scene) -> None:
        """The cluster does not show the config of the failed release any more; the record knows it."""
        told: set[str] = set()

        class Listening(FakeCluster):
            def remember(self, config: Mapping[str, Any]) -> None:
                """Keep the secrets, as a client does until its process ends."""
                told.update(secrets_of(config))

            def log_tail(self, source: LogSource) -> str:
                """Quote what was deployed."""
                return scrub("ValueError: bad token hunter2-hunter2", told)

        scene.cluster = Listening(now=lambda: scene.seconds)
        scene.passes = scene.build()
        scene.until_rest()
        env_vars = {"runtime_env": {"env_vars": {"TOKEN": "hunter2-hunter2"}}}
        scene.want(release("x", {"name": "fruit", "import_path": "constructor_raises:app"} | env_vars))
        while scene.store.load(NAME).last is None or "failed" not in scene.types():
            scene.seconds += 0.5
            scene.passes.run(NAME)
        assert "log_kept" not in scene.types()
        scene.passes = scene.build()
        told.clear()
        scene.until_rest()

        (kept,) = [event for event in scene.store.events[NAME] if isinstance(event, LogKept)]
        assert kept.text == "ValueError: bad token <redacted>"

    def test_why_there_is_none_is_kept_instead(self, scene: Scene) -> None:
        """It is asked for once."""

        class Forgetful(FakeCluster):
            asked = 0

            def log_tail(self, source: LogSource) -> str:
                """It is gone."""
                self.asked += 1
                why = "The node is gone."
                raise LogUnavailable(why)

        scene.cluster = Forgetful(now=lambda: scene.seconds)
        scene.passes = scene.build()
        kept = self.kept(scene)

        assert (kept.text, kept.reason, scene.cluster.asked) == ("", "The node is gone.", 1)


def scene_probe(record: Record) -> Action:
    """The order to make the first check of the rollout in flight."""
    assert record.rollout is not None
    return Probe(line=15, rollout=record.rollout, index=0, check=record.rollout.policy.checks[0])


class TestResources:
    """The free resources are a second request, made only where they decide something."""

    HUNGRY = release(
        "h",
        {
            "name": "fruit",
            "import_path": "good:app",
            "deployments": [{"name": "D", "ray_actor_options": {"resources": {"nowhere": 1}}}],
        },
    )

    def test_they_are_asked_for_while_a_release_waits_for_room(self, scene: Scene) -> None:
        """Not before, not in a rollout, and not after."""
        asked: list[bool] = []

        class Counting(FakeCluster):
            def observe(self, *, resources: bool = False) -> Observation:
                """Look, and remember what was asked."""
                asked.append(resources)
                return super().observe(resources=resources)

        scene.cluster = Counting(now=lambda: scene.seconds)
        scene.passes = scene.build()
        scene.until_rest()
        assert not any(asked)

        scene.want(self.HUNGRY)
        scene.until_rest()
        assert not any(asked), "only once the rollback has ended"
        scene.passes.run(NAME)
        assert asked[-1]
        starved = scene.store.load(NAME).starved
        assert starved is not None
        assert starved.free == {"CPU": 4.0}
        assert scene.message().startswith('27d5482 "commit h" found no room on the cluster')

        scene.seconds += 100
        scene.cluster.free = {"CPU": 8.0}
        scene.passes.run(NAME)
        assert scene.types()[-2:] == ["started", "applied"]
        scene.want(A)
        scene.until_rest()
        scene.passes.run(NAME)
        assert not asked[-1]


class TestNeighbours:
    """Two environments on one cluster."""

    def test_each_keeps_the_other_s_applications(self, scene: Scene) -> None:
        """A PUT replaces the whole set."""
        scene.share()
        scene.until_rest(NAME)
        scene.want(MATH, name=OTHER)
        scene.until_rest(OTHER)
        scene.want(release("b", {"name": "fruit", "import_path": "good:app", "args": {"version": "b"}}))
        scene.until_rest(NAME)
        live = scene.cluster.observe()

        assert isinstance(live, Live)
        assert {name: app.status for name, app in live.apps.items()} == {
            "fruit": "RUNNING",
            "math": "RUNNING",
        }
        assert scene.store.load(OTHER).drift is None
        assert isinstance(scene.passes.run(OTHER), After)
        assert scene.store.load(OTHER).drift is None
        assert scene.store.views[OTHER]["foreign"] == ["fruit"]

    def test_what_one_has_deployed_is_its_own(self, scene: Scene) -> None:
        """The other waits; the owner goes on."""
        scene.share()
        scene.until_rest(NAME)
        scene.want(release("b", "fruit", "math"), name=OTHER)
        scene.until_rest(OTHER)
        assert "Application fruit belongs to environment staging" in scene.message(OTHER)
        assert len(scene.cluster.puts) == 1

        newer = release("c", {"name": "fruit", "import_path": "good:app", "args": {"version": "c"}})
        scene.want(newer)
        assert scene.until_rest(NAME).good == newer

    def test_what_both_only_want_is_neither_s(self, scene: Scene) -> None:
        """Both wait and say so, before anything is touched; then one gives way."""
        scene.share()
        scene.want(A, name=OTHER)
        for name, other in ((NAME, OTHER), (OTHER, NAME)):
            scene.until_rest(name)
            assert f"Application fruit belongs to environment {other}" in scene.message(name)
            assert scene.store.views[name]["mode"] == "waiting"
        assert scene.cluster.puts == []

        scene.want(MATH, name=OTHER)
        assert scene.until_rest(NAME).good == A

    def test_what_one_claims_is_not_the_other_s(self, scene: Scene) -> None:
        """`owns` counts before anything of that name is deployed, on either side."""
        scene.share()
        scene.want(A, Policy(owns=("fruit", "math")))
        scene.want(MATH, name=OTHER)
        scene.until_rest(NAME)
        assert "claims math, which belongs to environment production" in scene.message(NAME)
        scene.until_rest(OTHER)
        assert "Application math belongs to environment staging" in scene.message(OTHER)
        assert scene.cluster.puts == []

    def test_alone_nobody_is_asked(self, scene: Scene) -> None:
        """Environments on clusters of their own may have applications of one name."""
        scene.want(A, name=OTHER)

        assert scene.until_rest(NAME).good == A

    def test_their_looks_never_overlap_and_nobody_waits_for_one(self, scene: Scene) -> None:
        """A list that is read before another PUT would bring back what that one deleted.

        And a cluster that hangs costs one worker, however many environments are on it.
        """
        entered: dict[str, threading.Event] = {name: threading.Event() for name in ("one", "two", "three")}
        leave = threading.Event()

        class Slow(FakeCluster):
            def __init__(self, name: str) -> None:
                super().__init__(now=lambda: 0.0)
                self.name = name

            def observe(self, *, resources: bool = False) -> Observation:
                """Say that a look is under way, and take as long as the test wants."""
                entered[self.name].set()
                assert leave.wait(10)
                return super().observe(resources=resources)

        names = tuple(entered)
        scene.git = dict.fromkeys(names, NotRead(why="x"))
        woken: list[str] = []
        passes = scene.build(
            clusters={name: Slow(name) for name in names},
            neighbours={"one": ("two",), "two": ("one",), "three": ()},
            wake=woken.append,
        )
        threads = [threading.Thread(target=passes.run, args=(name,)) for name in ("one", "three")]
        for thread in threads:
            thread.start()
        assert entered["one"].wait(5)
        assert entered["three"].wait(5), "another cluster's passes do not wait"
        assert passes.run("two") == passes.run("two") == NotYet(seconds=5)
        assert not entered["two"].is_set(), "two looks at one cluster at once"
        assert woken == []
        leave.set()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        assert woken == ["two"]
        assert passes.run("one") == NotYet(seconds=5), "it is the turn of who waited"
        assert isinstance(passes.run("two"), After)
        assert woken == ["two", "one"]

    def test_nobody_waits_for_a_check_or_a_log(self, scene: Scene) -> None:
        """They change nothing of which a neighbour's PUT is made, and may take a minute."""
        beside: list[tuple[str, Outcome]] = []

        class Slow(FakeCluster):
            def probe(self, check: Check, live: Live) -> Answer:
                """Look at the other environment meanwhile."""
                beside.append(("probe", scene.passes.run(OTHER)))
                return super().probe(check, live)

            def log_tail(self, source: LogSource) -> str:
                """Look at the other environment meanwhile."""
                beside.append(("log", scene.passes.run(OTHER)))
                return super().log_tail(source)

        scene.cluster = Slow(now=lambda: scene.seconds)
        scene.want(A, TestProbe.CHECKED)
        scene.share()
        scene.until_rest()
        scene.want(TestKeepLog.CRASHING)
        scene.until_rest()

        assert {what for what, _ in beside} == {"probe", "log"}
        assert all(isinstance(outcome, After) for _, outcome in beside), beside

    def test_a_pass_that_fails_lets_the_next_in(self, scene: Scene) -> None:
        """Whatever became of it."""
        broken = BrokenStore()
        scene.store = broken
        scene.share()

        for name in (NAME, OTHER, NAME):
            scene.want(A, name=name)
            assert isinstance(scene.passes.run(name), BackOff)


class TestCommit:
    """What a person wants becomes durable as what a pass notes does."""

    def test_it_is_announced_and_heard(self, scene: Scene) -> None:
        """One message, one call of each listener; the next pass acts on it."""
        record = scene.until_rest()
        scene.heard.clear()
        paused = Paused(at=at(scene.seconds), actor="ada", reason="a demo")
        after = scene.passes.commit(record, [paused])

        assert after.paused == paused
        assert scene.store.load(NAME) == after
        assert scene.heard == ["paused"]
        assert scene.store.outbox[-1] == "staging: Paused by ada (a demo), until somebody resumes it."

    def test_one_that_comes_too_late_is_refused(self, scene: Scene) -> None:
        """The record that it was decided on is not the newest any more."""
        record = scene.until_rest()
        scene.passes.commit(record, [RetryAsked(at=at(9), digest=A.digest)])

        with pytest.raises(Conflict):
            scene.passes.commit(record, [RetryAsked(at=at(9), digest=A.digest)])
