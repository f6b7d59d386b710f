"""The faces of the daemon behind their guard, on a real socket; what they tell is made up (`pages_data`).

So that a test chooses what every page says, and needs no cluster. The routes, the guard and its headers, the
templates, the streams and the hub are the real ones.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from deployer.adapters.store.answers import Answers
from deployer.cli.faces import routes
from deployer.core.tokens import Role
from deployer.web import pages, serving
from deployer.web.access import opener
from deployer.web.guard import Guard
from deployer.web.hub import Hub
from deployer.web.site import Site
from tests.support import pages_data
from tests.support.door import Keys
from tests.support.faces import Measured, Ordered
from tests.support.pages_data import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from deployer.web import Service
    from deployer.web.models import Models
    from deployer.web.promotions import Promotions


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Where it is, the tokens that open it (the machine's, and one of ada), and what is behind it."""

    url: str
    token: str
    person: str
    told: Told
    hub: Hub


def every_state() -> list[dict[str, Any]]:
    """An environment in each state."""
    return [
        pages_data.view("dev"),
        pages_data.busy("staging"),
        pages_data.held("production"),
        pages_data.paused("ranker"),
        pages_data.degraded("fraud"),
        pages_data.unseen("sandbox"),
        pages_data.gated("europe"),
    ]


COPY: dict[str, Any] = {
    "how": "copy",
    "by_pull_request": True,
    "auto": True,
    "commits": [],
    "changes": [
        {"where": "fruit", "field": "args.price", "old": "3", "new": "5"},
        {"where": "fruit / MangoStand", "field": "user_config.colour", "old": '"green"', "new": '"red"'},
        {"where": "fruit", "field": "runtime_env.env_vars.KEY", "old": "", "new": "changed"},
        {"where": "math", "field": "", "old": "", "new": "added"},
    ],
    "kept": ["fruit / MangoStand num_replicas", "old (only here)"],
    "last": {
        "source": "dev",
        "rollout": "dev#19",
        "revision": "c0ffee" + "1" * 34,
        "by": "ada",
        "at": pages_data.ago(minutes=5),
        "reason": "season",
        "skipped": [],
        "result": "proposed",
        "why": None,
        "copied": None,
        "pull_request": "https://forge.example/ml/configs/pull/7",
    },
}


def lanes() -> list[dict[str, Any]]:
    """A way in each state."""
    return [
        pages_data.lane(
            "dev", "staging", auto=True, candidate=None, commits=[], why="Nothing to promote: staging has it."
        ),
        pages_data.lane("staging", "production"),
        pages_data.lane("ranker", "fraud", in_the_way=pages_data.lane("a", "b")["commits"][:2]),
        pages_data.lane("dev", "search", **COPY),
    ]


@contextmanager
def served(
    folder: Path,
    told: Told | Models,
    *,
    service: Service | None = None,
    names: Sequence[str] = (),
    hub: Hub | None = None,
    promotions: Promotions | None = None,
    now: Callable[[], datetime] = lambda: pages_data.NOW,
) -> Iterator[Served]:
    """Serve what is told, inside the `with` block; `service` takes the orders, by default to no avail."""
    hub = hub or Hub()
    with closing(Keys(folder)) as keys:
        site = Site(
            environments=tuple(told.views if isinstance(told, Told) else names),
            service=service or cast("Any", Ordered()),
            models=cast("Any", told),
            hub=hub,
            tokens=keys.tokens,
            answers=Answers(keys.database),
            ready=lambda: None,
            promotions=cast("Any", promotions or pages_data.Promotable(lanes())),
            write=lambda _event: None,
            outbox=cast("Any", pages_data.Letters()),
        )
        door = keys.door()
        render = pages.Renderer(now=now, strict=True)
        application = routes(site, door, cast("Any", Measured()), render)
        guard = Guard(application, door, opener(application))
        with serving(guard, folder, host="127.0.0.1", port=0, token=keys.local, before_stop=hub.close) as url:
            person = keys.give(Role.ADMIN)
            yield Served(url=url, token=keys.local, person=person, told=cast("Told", told), hub=hub)
