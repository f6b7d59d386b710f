"""Parts of pages are made once for everybody, and again when something changed."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta
from typing import Any, cast

from deployer.web.cache import Cache
from deployer.web.hub import Hub
from deployer.web.pages import Renderer
from deployer.web.pages.fragments import Fragments
from tests.support import pages_data


class Clock:
    """One that is moved by hand."""

    def __init__(self) -> None:
        """At the data's now."""
        self.now = pages_data.NOW

    def __call__(self) -> datetime:
        """What it says."""
        return self.now


def parts(*names: str) -> tuple[Fragments, pages_data.Told, Hub, Clock]:
    """Fragments of such environments, with what they are made of."""
    models = pages_data.Told([pages_data.view(name) for name in names])
    hub, clock = Hub(), Clock()
    return Fragments(Renderer(now=clock, strict=True), cast("Any", models), hub), models, hub, clock


def test_a_row_is_made_again_only_for_what_changed() -> None:
    """The read models are asked for that one alone."""
    fragments, models, hub, _ = parts("a", "b")
    first = fragments.rows(("a", "b"))
    fragments.rows(("b", "a"))
    assert [asked[1]["names"] for asked in models.asked] == [{"a", "b"}]

    models.views["b"]["health"] = "Degraded"
    hub.changed("b")

    again = fragments.rows(("a", "b"))
    assert models.asked[-1][1]["names"] == {"b"}
    assert again[0] is first[0]
    assert again[1].row.category == "degraded"


def test_times_do_not_grow_old_where_nothing_changes() -> None:
    """A row is kept, and its times are told anew; the other parts are made again."""
    fragments, models, _, clock = parts("a")
    (row,) = fragments.rows(("a",))
    page = fragments.environment("a", may_deploy=False)
    assert "2 h ago" in row.html

    clock.now += timedelta(hours=3)

    assert fragments.rows(("a",))[0] is row
    assert len(models.asked) == 1
    assert "5 h ago" in Renderer(now=clock).fresh(row.html)
    assert "5 h ago" in fragments.environment("a", may_deploy=False) != page


def test_two_hundred_who_wait_for_one_part_have_it_made_once() -> None:
    """And the event loop does not make it itself."""
    made: list[str] = []

    def make() -> str:
        made.append(threading.current_thread().name)
        return "part"

    async def all_of_them() -> list[str]:
        cache: Cache[str] = Cache(10)
        return await asyncio.gather(*(cache.soon("key", 1, make) for _ in range(200)))

    assert asyncio.run(all_of_them()) == ["part"] * 200
    assert len(made) == 1
    assert made[0] != threading.main_thread().name


def test_one_part_is_made_at_a_time() -> None:
    """However many are wanted, for whatever cache: each thread more would be in the way of the passes."""
    at_once, most, lock = 0, 0, threading.Lock()
    stop = threading.Event()

    def make() -> str:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        stop.wait(0.01)
        with lock:
            at_once -= 1
        return "part"

    async def all_of_them() -> None:
        caches: list[Cache[str]] = [Cache(10), Cache(10)]
        await asyncio.gather(*(caches[number % 2].soon(number, 1, make) for number in range(20)))

    for _ in range(2):
        # Also in another event loop.
        asyncio.run(all_of_them())
    assert most == 1


def test_who_leaves_does_not_take_the_part_away_from_the_others() -> None:
    """A browser that is closed while a part is being made."""
    begin, go_on = threading.Event(), threading.Event()

    def make() -> str:
        begin.set()
        assert go_on.wait(10)
        return "part"

    async def story() -> str:
        cache: Cache[str] = Cache(10)
        leaves = asyncio.ensure_future(cache.soon("key", 1, make))
        stays = asyncio.ensure_future(cache.soon("key", 1, make))
        assert await asyncio.to_thread(begin.wait, 10)
        leaves.cancel()
        go_on.set()
        return await stays

    assert asyncio.run(story()) == "part"


def test_the_cache_has_an_end() -> None:
    """Who was not asked for longest goes first."""
    cache: Cache[int] = Cache(2)
    for number in (1, 2):
        cache.put(number, 0, number)
    assert cache.found(1, 0) == 1
    cache.put(3, 0, 3)

    assert (cache.found(1, 0), cache.found(2, 0), cache.found(3, 0)) == (1, None, 3)
    assert cache.found(1, 1) is None


def test_who_may_deploy_has_a_part_of_his_own() -> None:
    """Nobody is shown the buttons of somebody else."""
    fragments, *_ = parts("a")

    assert "/env/a/sync" in fragments.environment("a", may_deploy=True)
    assert "/env/a/sync" not in fragments.environment("a", may_deploy=False)
    assert "Roll back to this" in (fragments.rollout("a#1", may_deploy=True) or "")
    assert "Roll back to this" not in (fragments.rollout("a#1", may_deploy=False) or "")
    assert fragments.rollout("a#99", may_deploy=True) is None
