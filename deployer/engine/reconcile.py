"""One pass for one environment: load, look, decide, act, record.

Owns the order of those steps and what a pass leaves behind. Must not know threads, timers or the queue:
it returns what should happen next. Invariant: whatever must survive is in the store before the effect
happens, so a process killed anywhere resumes by running the next pass; a pass sends at most one PUT and
never sleeps.

The facts are gathered once per pass. Notes made of the same facts follow one another at once (seen,
started), because a second look between them would cost a GET and tell nothing new; a pass ends with the
first order that leaves the process, or a wait.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, assert_never

import structlog

from deployer.adapters.serve import LogUnavailable, Rejected, Unclear
from deployer.adapters.store import Conflict, StoreCorrupt, StoreUnavailable
from deployer.core import checks, gates, lineage, sentences
from deployer.core.actions import Action, KeepLog, Note, Probe, Put, Wait
from deployer.core.decide import decide, rejected, unanswered
from deployer.core.events import Applied, Checked, LogKept
from deployer.core.gates import Gating
from deployer.core.live import Live, Observation
from deployer.core.record import Record, evolve
from deployer.core.rollouts import is_live
from deployer.core.status import status, view
from deployer.core.types import Desired, NotRead, Wanted
from deployer.engine.news import News
from deployer.engine.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.messages import Message
    from deployer.core.status import Status
    from deployer.engine.ports import Cluster, Sources, Store

_NOTES_LIMIT = 20
"""Events that one pass may write of the same facts. The longest legal row is seen, regained sight, resumed,
observed, healthy, good, drifted, started, or one with failed and held in it; more means that `decide` does
not converge: a bug, shown as an error."""

_PUBLISHED_LIMIT = 10
"""How often a pass asks what git wants, if that changes while it asks."""

_COMPARE_SECONDS = 5.0
"""So long it is not told that a commit is being compared: it takes milliseconds, unless git is away."""

_TURN_SECONDS = 5.0
"""Before an environment asks again for its turn, if nobody has woken it: only for a wake-up that was lost."""

_PEOPLE_ALONE = News()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Look again at once: something was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Look again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """Nothing was done: another environment has its turn on the cluster, and this one is woken for its own.

    Else it looks again after so many seconds. What it backs off from is not forgotten: this was no pass.
    """

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackOff:
    """Something is in the way: look again with growing pauses. `why` is a sentence.

    `is_bug`: not the outside world but this program; the log has the traceback.
    """

    why: str
    is_bug: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Looking again cannot help until a person acts and restarts the daemon. `why` is a sentence."""

    why: str


Outcome = Again | After | NotYet | BackOff | GiveUp
"""What follows a pass: one switch in the controller."""


class Policy(Protocol):
    """What decides: `deployer.core.decide.decide`."""

    def __call__(
        self,
        wanted: Wanted,
        live: Observation,
        record: Record,
        now: datetime,
        neighbours: Mapping[str, str],
        gating: Gating,
        /,
    ) -> Action:
        """Return the one action to take now."""


class Listener(Protocol):
    """Told what a pass did, for people who watch. Must not raise and must not wait."""

    def recorded(self, record: Record, event: Event) -> None:
        """One event became durable; `record` is the one before it."""

    def observed(self, status: Status) -> None:
        """A pass ended in a wait: this is the state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a pass decides on, beside the record and the clock."""

    wanted: Wanted
    live: Observation
    neighbours: Mapping[str, str]
    gating: Gating


class Reconciler:
    """Runs passes. One instance serves all environments; a pass for one name never runs twice at once."""

    def __init__(
        self,
        *,
        store: Store,
        sources: Sources,
        clusters: Mapping[str, Cluster],
        now: Callable[[], datetime],
        listeners: Sequence[Listener] = (),
        neighbours: Mapping[str, tuple[str, ...]] | None = None,
        wake: Callable[[str], None] = lambda _environment: None,
        policy: Policy = decide,
        gating: Callable[[str, str | None], Gating] = lambda _environment, _commit: gates.NONE,
        news: News = _PEOPLE_ALONE,
    ) -> None:
        """Take the ports. `now` gives an aware time in UTC; `clusters` has one entry per environment.

        `neighbours` has, for an environment that shares its cluster, the others on it: they take turns to
        look, decide and PUT, so that no PUT is made of a list which another PUT has changed meanwhile.
        `wake` is told the environment whose turn it is now; it should get a pass soon. `policy` is `decide`;
        the state machine of the tests passes broken ones, which it must catch. `gating` tells what a deploy
        of a commit (None where git wants nothing that could be deployed) to an environment has to wait for.
        `news` says who is told what.
        """
        self._store = store
        self._sources = sources
        self._clusters = clusters
        self._now = now
        self._listeners = tuple(listeners)
        self._policy = policy
        self._gating = gating
        self._news = news
        self._neighbours = neighbours or {}
        self._turns = Turns(self._neighbours, wake)
        self._remembered: dict[str, frozenset[str]] = {}
        self._blind_since: dict[str, float] = {}
        self._said: dict[str, tuple[str, str]] = {}
        self._comparing: dict[str, float] = {}

    def run(self, environment: str) -> Outcome:
        """Run one pass. Errors of the outside world become outcomes; nothing else is caught but bugs."""
        started = time.monotonic()
        ids = {"environment": environment, "pass_id": uuid.uuid4().hex[:8], "rollout": None}
        with structlog.contextvars.bound_contextvars(**ids):
            try:
                outcome = self._pass(environment, started)
            except (Conflict, StoreUnavailable) as error:
                log.warning("store_unavailable", error=str(error))
                outcome = BackOff(why=str(error))
            except StoreCorrupt as error:
                log.critical("store_corrupt", error=str(error))
                outcome = GiveUp(why=str(error))
            except Exception as error:
                # A bug must cost one environment one pass, never the process.
                log.exception("pass_failed")
                outcome = BackOff(why=f"{type(error).__name__}: {error}", is_bug=True)
        return outcome

    def listen(self, listener: Listener) -> None:
        """Tell one more, who needs the reconciler first. Before the first pass."""
        self._listeners = (*self._listeners, listener)

    def commit(self, record: Record, events: Sequence[Event]) -> Record:
        """Make the events of a person's wish durable, as a pass does its own. Raises what the store does."""
        return self._commit(record, events, [])

    def _pass(self, environment: str, started: float) -> Outcome:
        if not self._turns.take(environment):
            return NotYet(seconds=_TURN_SECONDS)
        with ExitStack() as turn:
            turn.callback(self._turns.give, environment)
            return self._in_turn(environment, started, turn)

    def _in_turn(self, environment: str, started: float, turn: ExitStack) -> Outcome:
        record = self._store.load(environment)
        self._remember(record)
        is_starved = record.starved is not None and record.rollout is None
        needs_room = is_starved or self._gating(environment, None).rules.capacity
        live = self._aged(environment, self._clusters[environment].observe(resources=needs_room))
        wanted = self._wanted(environment, live, record)
        release = wanted.release if isinstance(wanted, Desired) else None
        is_new = release is not None and _may_begin(release.digest, record)
        commit = release.revision.commit if release is not None and is_new else None
        facts = _Facts(
            wanted=wanted,
            live=live,
            neighbours=self._owned_elsewhere(environment, record),
            gating=self._gating(environment, commit),
        )
        noted: list[str] = []
        action = self._decide(facts, record)
        while isinstance(action, Note) and len(noted) < _NOTES_LIMIT:
            record = self._commit(record, action.events, noted)
            action = self._decide(facts, record)
        structlog.contextvars.bind_contextvars(rollout=record.rollout.id if record.rollout else None)
        if isinstance(action, Probe | KeepLog):
            # They can take a minute, and change nothing that a neighbour's PUT is made of; what it does
            # meanwhile does not change whether this check, or this log, was due.
            turn.close()
        outcome = self._act(action, facts, record, noted)
        self._say(record, wanted, action, outcome, noted, started)
        return outcome

    def _wanted(self, environment: str, live: Observation, record: Record) -> Wanted:
        """What git wants, if it was read for this Ray and compared with what git wanted last; else NotRead.

        Another Ray may take what this one drops, and nobody has said yet whether the branch was rewritten.
        """
        before = record.seen.revision if record.seen is not None else None
        for _ in range(_PUBLISHED_LIMIT):
            wanted = self._sources.wanted(environment)
            fits = not isinstance(live, Live) or self._sources.runs(environment, live.ray_version)
            is_compared = self._sources.compared(environment, before)
            # Both answers are about what is published now: if that is another one by now, ask again.
            if self._sources.wanted(environment) is wanted:
                break
        else:
            return NotRead(why="git wants something else at every look")
        if is_compared:
            self._comparing.pop(environment, None)
        else:
            self._comparing.setdefault(environment, time.monotonic())
        if not fits:
            return _being_checked(live)
        return wanted if is_compared else NotRead(why="its commit is being compared with the one before")

    def _aged(self, environment: str, live: Observation) -> Observation:
        """The observation; if the cluster is out of sight, with for how long, as this process knows it."""
        if isinstance(live, Live):
            self._blind_since.pop(environment, None)
            return live
        now = time.monotonic()
        return replace(live, seconds=now - self._blind_since.setdefault(environment, now))

    def _remember(self, record: Record) -> None:
        """Tell the cluster the secrets of what it runs, or ran when it failed, before it is asked anything.

        It shows the config of what runs, but its logs and its applications can quote the one before; and who
        sent that one may have been another process than this.
        """
        releases = [record.good] if record.good else []
        releases += [one.release for one in (record.rollout, record.last) if one is not None]
        configs = {release.digest: release.config for release in releases}
        for digest in configs.keys() - self._remembered.get(record.environment, frozenset()):
            self._clusters[record.environment].remember(configs[digest].body())
        self._remembered[record.environment] = frozenset(configs)

    def _decide(self, facts: _Facts, record: Record) -> Action:
        return self._policy(facts.wanted, facts.live, record, self._now(), facts.neighbours, facts.gating)

    def _owned_elsewhere(self, environment: str, record: Record) -> Mapping[str, str]:
        """The applications of the environments that share the cluster.

        What one of them has deployed is its own. What two of them only want, or claim, is neither's: both
        wait, and say so, before anything is touched.
        """
        owned: dict[str, str] = {}
        for neighbour in self._neighbours.get(environment, ()):
            wanted = lineage.admitted(self._sources.wanted(neighbour), self._store.load(neighbour))
            if isinstance(wanted, Desired):
                names = {*wanted.release.config.applications(), *wanted.policy.owns} - record.apps
                owned |= dict.fromkeys(names, neighbour)
        for neighbour in self._neighbours.get(environment, ()):
            owned |= dict.fromkeys(self._store.load(neighbour).apps, neighbour)
        return owned

    def _act(self, action: Action, facts: _Facts, record: Record, noted: list[str]) -> Outcome:
        match action:
            case Note(events=events):
                message = f"decide does not converge: {[event.type for event in events]}"
                raise RuntimeError(message)
            case Put():
                return self._put(action, facts, record, noted)
            case Probe():
                return self._probe(action, facts, record, noted)
            case KeepLog():
                return self._keep_log(action, record, noted)
            case Wait(reason=reason, seconds=seconds):
                self._publish(facts, record)
                return After(seconds=seconds) if isinstance(facts.live, Live) else BackOff(why=reason)
            case _:
                assert_never(action)

    def _put(self, action: Put, facts: _Facts, record: Record, noted: list[str]) -> Outcome:
        rollout, live = action.rollout, facts.live
        self._publish(facts, record)
        try:
            self._clusters[record.environment].apply(rollout, action.body)
        except Rejected as error:
            self._commit(record, rejected(record, str(error), self._now()), noted)
            return Again()
        except Unclear as error:
            events = unanswered(record, str(error), self._now())
            if events:
                self._commit(record, events, noted)
                return Again()
            self._publish(facts, record, trouble=str(error))
            return BackOff(why=str(error))
        session = live.session if isinstance(live, Live) else None
        self._commit(record, (Applied(at=self._now(), rollout=rollout.id, session=session),), noted)
        return Again()

    def _probe(self, action: Probe, facts: _Facts, record: Record, noted: list[str]) -> Outcome:
        """One attempt of one check; the next pass decides what follows."""
        if not isinstance(facts.live, Live):
            message = "a check needs a cluster that can be seen"
            raise TypeError(message)
        self._publish(facts, record)
        answer = self._clusters[record.environment].probe(action.check, facts.live)
        passed, message = checks.passes(action.check, answer)
        checked = Checked(
            at=self._now(),
            rollout=action.rollout.id,
            check=action.index,
            passed=passed,
            message=message,
            ms=round(answer.seconds * 1000, 1),
        )
        self._commit(record, (checked,), noted)
        return Again()

    def _keep_log(self, action: KeepLog, record: Record, noted: list[str]) -> Outcome:
        """Keep the evidence, or the reason why there is none: it is asked for once, and never in the way."""
        try:
            text, why = self._clusters[record.environment].log_tail(action.source), ""
        except LogUnavailable as error:
            text, why = "", str(error)
        kept = LogKept(at=self._now(), reason=why, rollout=action.rollout, source=action.source, text=text)
        self._commit(record, (kept,), noted)
        return Again()

    def _commit(self, record: Record, events: Sequence[Event], noted: list[str]) -> Record:
        """Make events durable, with what they tell people; then let the listeners and the log know."""
        befores: list[Record] = []
        messages: list[Message] = []
        before = record
        for event in events:
            befores.append(before)
            messages += self._news.of(before, event)
            before = evolve(before, event)
        after = self._store.commit(record, events, messages)
        noted += [event.type for event in events]
        for listener in self._listeners:
            for earlier, event in zip(befores, events, strict=True):
                listener.recorded(earlier, event)
        return after

    def _publish(self, facts: _Facts, record: Record, trouble: str = "") -> None:
        """Tell the state; `trouble` is what came in the way of a PUT, which no policy line knows."""
        since = self._comparing.get(record.environment)
        if since is not None and time.monotonic() - since < _COMPARE_SECONDS:
            # For some milliseconds after a push: that git were not known then would only alarm people.
            return
        now = self._now()
        state = status(facts.wanted, facts.live, record, now, facts.neighbours, facts.gating)
        state = replace(state, git=self._sources.freshness(record.environment))
        if trouble and record.rollout is not None:
            state = replace(state, message=sentences.progressing(record.rollout, trouble))
        told = self._news.of_waiting(state)
        self._store.publish(record.environment, view(state), now, told, record.sequence)
        for listener in self._listeners:
            listener.observed(state)

    def _say(
        self,
        record: Record,
        wanted: Wanted,
        action: Action,
        outcome: Outcome,
        noted: list[str],
        started: float,
    ) -> None:
        """Log one wide event per pass: as a warning if something is in the way, for debugging if not new."""
        reason = action.reason if isinstance(action, Wait) else getattr(outcome, "why", "")
        said = (type(action).__name__, reason)
        is_news = bool(noted) or said != self._said.get(record.environment)
        self._said[record.environment] = said
        release = getattr(wanted, "release", None)
        tell = log.debug if not is_news else log.warning if isinstance(outcome, BackOff) else log.info
        tell(
            "reconciled",
            revision=release.revision.short if release else None,
            action=type(action).__name__.lower(),
            outcome=type(outcome).__name__.lower(),
            noted=noted,
            reason=reason,
            ms=round((time.monotonic() - started) * 1000, 1),
        )


def _may_begin(digest: str, record: Record) -> bool:
    """Whether a deploy of this could begin: only then it is looked up what its gates ask of others."""
    is_on_its_way = record.rollout is not None and record.rollout.release.digest == digest
    return not is_on_its_way and not is_live(record, digest)


def _being_checked(live: Observation) -> NotRead:
    version = live.ray_version if isinstance(live, Live) else ""
    return NotRead(why=f"the config is being checked for Ray {version}, which the cluster runs")
