"""Tells whoever watches that an environment changed: pages and clients that keep a stream open.

Owns the version of every environment, who waits for the next, and when they are told. Must not know what
changed, nor what is made of it. Invariant: the engine's threads never wait nor fail here, whatever becomes of
those who listen: a change costs them a dictionary entry or two, and one wake-up of the event loop for however
many changes come until the next telling. Who listens slowly gets each environment once, with its newest
version, and no more memory is held for it than names.

All are told at the same moments: so what is sent to those who listen to the same is made once. The first
change after a silence is told at once, and the more listen, the longer is the pause after that: what passes
and listeners share is one interpreter.

A version is of this process: it is the number of the last change that a person could see, counted over all
environments, and begins anew at a start.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deployer.core.status import view
from deployer.web import cache

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status

_CLOCKWORK = ("policy", "git")
"""Of a status: when the daemon looks again, and looked last. They move with each look, and tell nobody
anything as long as git answers; that it does not is looked at below."""

_PAUSE_SECONDS = 0.25
"""Between two tellings: a rollout changes ten times a second, and nobody reads that fast."""

_EACH_SECONDS = 0.005
"""At least so much of it for each who listens: 200 are told once a second. See docs/faces-figures.md."""

_LONGEST_PAUSE_SECONDS = 2.0


class Subscription:
    """The environments that changed since they were last asked for. Only for the event loop's thread."""

    def __init__(self, environments: Collection[str] | None, *, only_events: bool = False) -> None:
        """Listen to these; None is all of them. `only_events`: to what is recorded, and to no status."""
        self.only_events = only_events
        self._environments = None if environments is None else frozenset(environments)
        self._changed: dict[str, None] = {}
        self._awake = asyncio.Event()
        self._is_over = False

    async def changes(self, *, within: float) -> tuple[str, ...] | None:
        """The names of what changed, once anything did; none after `within` seconds, None at the end."""
        try:
            async with asyncio.timeout(within):
                await self._awake.wait()
        except TimeoutError:
            return ()
        self._awake.clear()
        if self._is_over:
            # The next call ends at once too.
            self._awake.set()
            return None
        changed = tuple(self._changed)
        self._changed.clear()
        return changed

    def tell(self, names: Collection[str]) -> None:
        """These changed."""
        mine = names if self._environments is None else self._environments.intersection(names)
        if mine:
            self._changed.update(dict.fromkeys(mine))
            self._awake.set()

    def end(self) -> None:
        """Nothing comes any more."""
        self._is_over = True
        self._awake.set()


class Hub:
    """Listens to the reconciler from any thread, and tells subscriptions in the event loop's."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._seen: dict[str, dict[str, Any]] = {}
        self._pending: dict[str, bool] = {}
        """Who changed and was not told of yet, and whether an event was recorded."""
        self._is_due = False
        """Whether a telling is to come, that of the present or the one after the pause."""
        self._number = 0
        self._told = 0
        self._events = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False
        self._subscriptions: set[Subscription] = set()

    # --- what the engine calls, from its threads -------------------------------------------------------

    def recorded(self, record: Record, event: Event) -> None:  # noqa: ARG002 - a listener's signature
        """An event became durable."""
        self.changed(record.environment, is_event=True)

    def observed(self, status: Status) -> None:
        """A status was published. Most are what was there before."""
        name = status.environment
        seen = {key: value for key, value in view(status).items() if key not in _CLOCKWORK}
        seen["trouble"] = status.git.trouble
        # An environment has one pass at a time, so nobody else writes this entry.
        if self._seen.get(name) != seen:
            self._seen[name] = seen
            self.changed(name)

    def changed(self, environment: str, *, is_event: bool = False) -> None:
        """Something about it is new."""
        with self._lock:
            self._number += 1
            self._versions[environment] = self._number
            self._events += is_event
            if self._loop is None or not self._subscriptions or self._is_over:
                return
            self._pending[environment] = is_event or self._pending.get(environment, False)
            if not self._is_due:
                self._is_due = True
                # Where the faces have failed the loop is closed, and the engine goes on.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._tell)

    # --- what the faces call -----------------------------------------------------------------------------

    def version(self, environment: str) -> int:
        """The number of its last change; 0 if it has not changed since this daemon started."""
        return self._versions.get(environment, 0)

    @property
    def number(self) -> int:
        """That of the last change of any environment."""
        return self._number

    @property
    def told(self) -> int:
        """Up to here everybody who listens was told. What is newer is still to come, to all of them."""
        return self._told

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._subscriptions)

    @property
    def events(self) -> int:
        """How many were recorded since this daemon started."""
        return self._events

    def subscribe(
        self, environments: Collection[str] | None = None, *, only_events: bool = False
    ) -> Subscription:
        """Listen, from now on. In the event loop's thread; end it with `unsubscribe`."""
        one = Subscription(environments, only_events=only_events)
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            if not self._subscriptions:
                self._told = self._number
            if self._is_over:
                one.end()
            self._subscriptions.add(one)
        return one

    def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no more. In the event loop's thread."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription, also those to come. From any thread; the loop must not be closed before."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end)

    def _tell(self) -> None:
        """Tell what is pending, and once more after the pause: what came in it, or that nothing did."""
        with self._lock:
            pending, self._pending = self._pending, {}
            self._told = self._number
            self._is_due = bool(pending)
        if not pending:
            return
        with_events = tuple(name for name, is_event in pending.items() if is_event)
        for one in self._subscriptions:
            one.tell(with_events if one.only_events else pending)
        pause = min(max(_PAUSE_SECONDS, _EACH_SECONDS * len(self._subscriptions)), _LONGEST_PAUSE_SECONDS)
        asyncio.get_running_loop().call_later(pause, self._tell)

    def _end(self) -> None:
        cache.end()
        for one in self._subscriptions:
            one.end()
