"""Who watches is told that an environment changed: once, soon, and without keeping the engine waiting."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from deployer.web.hub import Hub

if TYPE_CHECKING:
    from deployer.web.hub import Subscription

SOON = 5.0
"""For what is expected to come."""

NEVER = 0.05
"""For what is expected not to."""


def test_each_listener_is_told_of_what_it_asked_for() -> None:
    """One of all, one of two, one of something else."""

    async def story() -> tuple[Any, ...]:
        hub = Hub()
        everything, some, other = hub.subscribe(), hub.subscribe({"a", "b"}), hub.subscribe({"z"})
        for name in ("a", "c"):
            await asyncio.to_thread(hub.changed, name)
        told = [sorted(await _collected(one, 1)) for one in (everything, some)]
        more = await everything.changes(within=NEVER)
        return told, more, await other.changes(within=NEVER), hub.version("a"), hub.version("z")

    told, more, other, of_a, of_z = asyncio.run(story())

    assert told[0] in (["a"], ["a", "c"])
    assert told[1] == ["a"]
    assert more in ((), ("c",))
    assert (other, of_a, of_z) == ((), 1, 0)


def test_who_follows_the_log_is_told_of_events_alone() -> None:
    """A status is none. Where both come together, the event counts."""

    async def story() -> tuple[object, ...]:
        hub = Hub()
        log, page = hub.subscribe(only_events=True), hub.subscribe()
        hub.changed("a")
        of_a = await page.changes(within=SOON), await log.changes(within=NEVER)
        for is_event in (False, True, False):
            hub.changed("b", is_event=is_event)
        hub.changed("c")
        return *of_a, await log.changes(within=SOON), hub.events

    assert asyncio.run(story()) == (("a",), (), ("b",), 1)


def test_a_burst_is_told_once() -> None:
    """However many changes come before anybody looks: one entry for each, and the newest version.

    Changes are numbered over all environments; who was told of all has been told up to the last number.
    """

    async def story() -> tuple[object, ...]:
        hub = Hub()
        one = hub.subscribe()
        for _ in range(1_000):
            hub.changed("a")
            hub.changed("b")
        told = await one.changes(within=SOON), await one.changes(within=NEVER)
        return *told, hub.version("a"), hub.version("b"), hub.number, hub.told

    assert asyncio.run(story()) == (("a", "b"), (), 1_999, 2_000, 2_000, 2_000)


def test_all_are_told_at_the_same_moments() -> None:
    """The first change at once, what comes in the pause after it together at its end."""

    async def story() -> list[object]:
        hub = Hub()
        early = hub.subscribe()
        hub.changed("a")
        first = await early.changes(within=SOON)
        late = hub.subscribe()
        for name in ("b", "c"):
            hub.changed(name)
            await asyncio.sleep(0)
        is_to_come = hub.told < hub.number
        told = await asyncio.gather(*(one.changes(within=SOON) for one in (early, late)))
        return [first, is_to_come, *told, hub.told]

    assert asyncio.run(story()) == [("a",), True, ("b", "c"), ("b", "c"), 3]


def test_the_more_listen_the_longer_is_the_pause() -> None:
    """So that however many they are, the interpreter is left to the passes. And none waits for ever."""

    async def pause(listeners: int) -> float:
        hub, loop = Hub(), asyncio.get_running_loop()
        one, *_ = [hub.subscribe() for _ in range(listeners)]
        hub.changed("a")
        await one.changes(within=SOON)
        began = loop.time()
        hub.changed("a")
        assert await one.changes(within=SOON)
        return loop.time() - began

    async def story() -> None:
        assert await pause(200) > 0.9
        assert await pause(2_000) > 1.9

    asyncio.run(story())


def test_what_changed_while_nobody_listened_is_told_to_nobody() -> None:
    """Whoever comes then reads the present first."""

    async def story() -> tuple[object, ...]:
        hub = Hub()
        hub.changed("a")
        hub.unsubscribe(hub.subscribe())
        hub.changed("b")
        one = hub.subscribe()
        return hub.told, await one.changes(within=NEVER)

    assert asyncio.run(story()) == (2, ())


def test_no_change_is_lost_between_threads() -> None:
    """Twenty threads change environments while somebody listens: each one is told after its last change."""
    threads, changes = 20, 200
    all_ = [f"e{n}" for n in range(threads)]

    async def story() -> tuple[dict[str, int], Hub]:
        hub = Hub()
        one = hub.subscribe()
        told: dict[str, int] = {}

        def work(name: str) -> None:
            for _ in range(changes):
                hub.changed(name)

        workers = [threading.Thread(target=work, args=(name,)) for name in all_]
        for worker in workers:
            worker.start()
        while hub.number < threads * changes or any(hub.version(name) > told.get(name, 0) for name in all_):
            names = await one.changes(within=SOON)
            assert names, f"nothing came any more: {told}"
            told |= {name: hub.version(name) for name in names}
        for worker in workers:
            worker.join()
        return told, hub

    told, hub = asyncio.run(story())

    assert max(told.values()) == hub.number == threads * changes
    assert hub.listeners == 1


def test_the_end_reaches_everybody_and_whoever_comes_later() -> None:
    """From another thread, as the daemon's main thread stops it; also who has changes waiting."""

    async def story() -> list[object]:
        hub = Hub()
        early = [hub.subscribe() for _ in range(3)]
        hub.changed("a")
        waiting = [asyncio.create_task(one.changes(within=SOON)) for one in early[:2]]
        await asyncio.sleep(0)
        await asyncio.to_thread(hub.close)
        await asyncio.to_thread(hub.close)
        ends = [await _end(one) for one in [*early, hub.subscribe()]]
        for one in waiting:
            await one
        return ends

    assert asyncio.run(story()) == [None] * 4


def test_who_has_left_costs_nothing() -> None:
    """No subscription is kept, and nothing is told."""

    async def story() -> tuple[int, object]:
        hub = Hub()
        one = hub.subscribe()
        hub.unsubscribe(one)
        hub.unsubscribe(one)
        hub.changed("a")
        return hub.listeners, await one.changes(within=NEVER)

    assert asyncio.run(story()) == (0, ())


def test_the_engine_goes_on_where_the_faces_have_failed() -> None:
    """Nobody is there to be told; the passes that tell it are not to fail for that."""
    hub = Hub()

    async def story() -> None:
        hub.subscribe()

    asyncio.run(story())
    hub.changed("a")
    assert hub.version("a") == 1


async def _collected(one: Subscription, count: int) -> Counter[str]:
    """The names that come until there are so many."""
    names: Counter[str] = Counter()
    while len(names) < count:
        changed = await one.changes(within=SOON)
        assert changed
        names.update(changed)
    return names


async def _end(one: Subscription) -> object:
    """What comes last."""
    while (changed := await one.changes(within=SOON)) is not None:
        assert changed != (), "the end did not come"
    return changed
