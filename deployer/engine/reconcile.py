"""One pass for one environment: load, look, decide, act, record.

Owns the order of those steps and what a pass leaves behind. Must not know threads, timers or the queue:
it returns what should happen next. Invariant: whatever must survive is in the store before the effect
happens, so a process killed anywhere resumes by running the next pass; a pass sends at most one PUT and
never sleeps.

The facts are gathered once per pass. Notes made of the same facts follow one another at once (seen,
started), because a second look between them would cost a GET and tell nothing new; a pass ends with the
first PUT or wait.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, assert_never

import structlog

from deployer.adapters.serve import Rejected, Unclear
from deployer.adapters.store import Conflict, StoreCorrupt, StoreUnavailable
from deployer.core import sentences
from deployer.core.actions import Action, Note, Put, Wait
from deployer.core.announce import announcement
from deployer.core.decide import decide, rejected
from deployer.core.events import Applied
from deployer.core.live import Live
from deployer.core.record import Record, evolve
from deployer.core.status import status, view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.live import Observation
    from deployer.core.status import Status
    from deployer.core.types import Wanted
    from deployer.engine.ports import Cluster, Sources, Store

_NOTES_LIMIT = 10
"""Events that one pass may write of the same facts. The longest legal row is seen, failed, held, started;
more means that `decide` does not converge: a bug, shown as an error."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Look again at once: something was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """Look again after so many seconds."""

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


Outcome = Again | After | BackOff | GiveUp
"""What follows a pass: one switch in the controller."""


class Policy(Protocol):
    """What decides: `deployer.core.decide.decide`."""

    def __call__(self, wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
        """Return the one action to take now."""


class Listener(Protocol):
    """Told what a pass did, for people who watch. Must not raise and must not wait."""

    def recorded(self, record: Record, event: Event) -> None:
        """One event became durable; `record` is the one before it."""

    def observed(self, status: Status) -> None:
        """A pass ended in a wait: this is the state."""


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
        policy: Policy = decide,
    ) -> None:
        """Take the ports. `now` gives an aware time in UTC; `clusters` has one entry per environment.

        `policy` is `decide`; the state machine of the tests passes broken ones, which it must catch.
        """
        self._store = store
        self._sources = sources
        self._clusters = clusters
        self._now = now
        self._listeners = listeners
        self._policy = policy
        self._said: dict[str, tuple[str, str]] = {}

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

    def _pass(self, environment: str, started: float) -> Outcome:
        record = self._store.load(environment)
        wanted = self._sources.wanted(environment)
        live = self._clusters[environment].observe()
        noted: list[str] = []
        action = self._policy(wanted, live, record, self._now())
        while isinstance(action, Note) and len(noted) < _NOTES_LIMIT:
            record = self._commit(record, action.events, noted)
            action = self._policy(wanted, live, record, self._now())
        structlog.contextvars.bind_contextvars(rollout=record.rollout.id if record.rollout else None)
        outcome = self._act(action, wanted, live, record, noted)
        self._say(record, wanted, action, outcome, noted, started)
        return outcome

    def _act(
        self, action: Action, wanted: Wanted, live: Observation, record: Record, noted: list[str]
    ) -> Outcome:
        match action:
            case Note(events=events):
                message = f"decide does not converge: {[event.type for event in events]}"
                raise RuntimeError(message)
            case Put():
                return self._put(action, wanted, live, record, noted)
            case Wait(reason=reason, seconds=seconds):
                self._publish(wanted, live, record)
                return After(seconds=seconds) if isinstance(live, Live) else BackOff(why=reason)
            case _:
                assert_never(action)

    def _put(
        self, action: Put, wanted: Wanted, live: Observation, record: Record, noted: list[str]
    ) -> Outcome:
        rollout = action.rollout
        self._publish(wanted, live, record)
        try:
            self._clusters[record.environment].apply(rollout)
        except Rejected as error:
            self._commit(record, rejected(record, str(error), self._now()).events, noted)
            return Again()
        except Unclear as error:
            self._publish(wanted, live, record, trouble=str(error))
            return BackOff(why=str(error))
        session = live.session if isinstance(live, Live) else None
        self._commit(record, (Applied(at=self._now(), rollout=rollout.id, session=session),), noted)
        return Again()

    def _commit(self, record: Record, events: Sequence[Event], noted: list[str]) -> Record:
        """Make events durable, with what they tell people; then let the listeners and the log know."""
        befores, messages = [], []
        before = record
        for event in events:
            befores.append(before)
            message = announcement(before, event)
            messages += [message] if message else []
            before = evolve(before, event)
        after = self._store.commit(record, events, messages)
        noted += [event.type for event in events]
        for listener in self._listeners:
            for earlier, event in zip(befores, events, strict=True):
                listener.recorded(earlier, event)
        return after

    def _publish(self, wanted: Wanted, live: Observation, record: Record, trouble: str = "") -> None:
        """Tell the state; `trouble` is what came in the way of a PUT, which no policy line knows."""
        now = self._now()
        state = status(wanted, live, record, now)
        if trouble and record.rollout is not None:
            state = replace(state, message=sentences.progressing(record.rollout, trouble))
        self._store.publish(record.environment, view(state), now)
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
        """Log one wide event per pass; one that only repeats what the last one said is for debugging."""
        reason = action.reason if isinstance(action, Wait) else getattr(outcome, "why", "")
        said = (type(action).__name__, reason)
        is_news = bool(noted) or said != self._said.get(record.environment)
        self._said[record.environment] = said
        release = getattr(wanted, "release", None)
        (log.info if is_news else log.debug)(
            "reconciled",
            revision=release.revision.short if release else None,
            action=type(action).__name__.lower(),
            outcome=type(outcome).__name__.lower(),
            noted=noted,
            reason=reason,
            ms=round((time.monotonic() - started) * 1000, 1),
        )
