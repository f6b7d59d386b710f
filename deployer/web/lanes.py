"""Which requests may keep which others waiting: each kind of work has a lane of its own.

Owns the lanes, and which route is in which. Must not know what a route does, nor who calls it. Invariant: of
each lane no more are worked on at once than it has places, and all places together have a thread each. So
what waits for a cluster that hangs takes no thread from a command, and a command none from a look.

A place is held from before the route runs until it has its answer; an export's, which is made as it is sent,
until that is over. What runs in the event loop (streams, signing in, `/healthz`) needs none.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from fastapi.routing import iter_route_contexts

from deployer.web.access import Right, Rule, rule_of
from deployer.web.origins import SAFE
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastapi import FastAPI, params


@dataclass(frozen=True, slots=True)
class _Room:
    places: int
    may_wait: int
    what: str


class Lane(Enum):
    """A kind of work. Together they stay below what the server lets in, so none can take another's room."""

    COMMANDS = _Room(8, 92, "commands")
    """What changes something. Each is a transaction or two."""
    ASKS = _Room(8, 24, "pages that ask before a command")
    """They show the plan, so they wait for the cluster; the command itself does not."""
    PROMOTIONS = _Room(4, 20, "promotions")
    """They ask git, and push to it: that can take a minute, and no rescue may wait for it."""
    LOOKS = _Room(4, 8, "looks at promotions")
    """They ask git as well, and push nothing: no promotion waits for its place because of them."""
    SLOW = _Room(12, 24, "requests that wait for clusters, or count for long")
    EXPORTS = _Room(8, 0, "exports")
    READS = _Room(24, 56, "requests")
    """What the store alone can tell."""


_SLOW = frozenset(
    {
        "/api/v1/doctor",
        "/api/v1/environments/{environment}/live",
        "/api/v1/environments/{environment}/logs",
        "/api/v1/environments/{environment}/plan",
        "/api/v1/stats",
        "/doctor",
        "/env/{environment}/plan",
        "/stats",
    }
)

_PROMOTIONS = frozenset({"/api/v1/environments/{environment}/promote", "/env/{environment}/promote"})

_LOOKS = frozenset({"/api/v1/promotions", "/promotions"})

_EXPORTS = frozenset({"/audit.{form}", "/history.{form}"})

_PATIENCE_SECONDS = 10.0
"""For a place. Whoever asks gives up soon after, and asks again."""

T = TypeVar("T")


class Threads:
    """Some of their own, for what is done beside a route."""

    def __init__(self, number: int) -> None:
        """So many at once."""
        self._number = number
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, CapacityLimiter] = WeakKeyDictionary()

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """What it gives. Waits where as many as may are under way."""
        loop = asyncio.get_running_loop()
        limiter = self._limiters.setdefault(loop, CapacityLimiter(self._number))
        return await to_thread.run_sync(work, *args, limiter=limiter)


USES = Threads(2)
"""Write that a token was used."""
ANSWERS = Threads(8)
"""Find and keep the answers of commands that may be sent twice."""
REFUSALS = Threads(2)
"""Write down what somebody had no right to."""
BEGINNINGS = Threads(4)
"""Find where a stream begins."""


class Lanes:
    """The lanes of one application."""

    def __init__(self) -> None:
        """No route is known yet."""
        self._of: dict[Callable[..., Any], Lane] = {}
        # What makes others wait is of one event loop. The daemon has one; tests have many.
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Lane, _Queue]] = WeakKeyDictionary()

    @property
    def dependencies(self) -> list[params.Depends]:
        """What the application makes each of its routes depend on."""

        async def working(request: Request) -> AsyncIterator[None]:
            lane = self._lane(request)
            if lane is None or lane is Lane.EXPORTS:
                yield
                return
            if request.method not in SAFE:
                # First, and FastAPI keeps it: who sends slowly holds no place meanwhile.
                await request.body()
            async with self._queue(lane).place():
                yield

        async def sending(request: Request) -> AsyncIterator[None]:
            if self._lane(request) is not Lane.EXPORTS:
                yield
                return
            async with self._queue(Lane.EXPORTS).place():
                yield

        return [Depends(working, scope="function"), Depends(sending, scope="request")]

    def know(self, app: FastAPI) -> None:
        """Find the lane of each route. Raises RuntimeError if one that is named here is not there."""
        missing = set(_SLOW | _EXPORTS | _PROMOTIONS | _LOOKS)
        for context in iter_route_contexts(app.routes):
            path, endpoint = str(context.path), context.endpoint
            missing.discard(path)
            if endpoint is None or iscoroutinefunction(endpoint):
                continue
            is_safe = SAFE.issuperset(context.methods or ())
            self._of[endpoint] = _lane(path, rule_of(context), is_safe=is_safe)
        if missing:
            message = f"no such routes, which have a lane: {', '.join(sorted(missing))}"
            raise RuntimeError(message)

    def of(self, endpoint: Callable[..., Any]) -> Lane | None:
        """The lane of a route; None for what needs no thread."""
        return self._of.get(endpoint)

    def _lane(self, request: Request) -> Lane | None:
        return self.of(request.scope["endpoint"])

    def _queue(self, lane: Lane) -> _Queue:
        loop = asyncio.get_running_loop()
        queues = self._queues.get(loop)
        if queues is None:
            queues = self._queues[loop] = {one: _Queue(one.value) for one in Lane}
            threads = to_thread.current_default_thread_limiter()
            threads.total_tokens = sum(one.value.places for one in Lane)
        return queues[lane]


class _Queue:
    """Who has a place in a lane of one event loop, and who waits for one."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._places = asyncio.Semaphore(room.places)
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place inside the block. Raises Problem (503) if there will be none soon."""
        if self._places.locked() and self._waiting >= self._room.may_wait:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()

    def _busy(self) -> Problem:
        detail = (
            f"The daemon has {self._room.places} {self._room.what} under way, which is as many as it works on"
            " at once. This one was not begun: try again in a moment."
        )
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)


def _lane(path: str, rule: Rule | None, *, is_safe: bool) -> Lane:
    if path in _PROMOTIONS | _LOOKS:
        return Lane.LOOKS if is_safe else Lane.PROMOTIONS
    if not is_safe:
        return Lane.COMMANDS
    if path in _SLOW:
        return Lane.SLOW
    if path in _EXPORTS:
        return Lane.EXPORTS
    return Lane.ASKS if rule is not None and rule.right is Right.DEPLOY else Lane.READS
