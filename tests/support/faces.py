"""The finished application behind its guard, with real tokens; what the routes show is made up.

`python -m tests.support.faces` writes the table of routes in docs/permissions.md anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deployer.adapters.store.answers import Answers
from deployer.cli.faces import routes
from deployer.web import pages
from deployer.web.access import opener, table
from deployer.web.guard import Guard
from deployer.web.hub import Hub
from deployer.web.site import Site
from tests.support import pages_data

if TYPE_CHECKING:
    from fastapi import FastAPI

    from deployer.settings import Server
    from deployer.web.guard import Door
    from tests.support.door import Keys

PAGE = Path(__file__).parents[2] / "docs/permissions.md"

NAMES = ("staging", "production")


class Watched:
    """The made-up read models, and every call of them."""

    def __init__(self) -> None:
        """Make them."""
        self._told = pages_data.Told([pages_data.view(name) for name in NAMES])
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        """The method, noting that it is called."""
        found = getattr(self._told, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            return found(*args, **kwargs)

        return call if callable(found) else found


class Ordered(pages_data.Ordered):
    """The made-up commands, and what only the API reads."""

    def status(self, environment: str, _visible: object = None) -> dict[str, Any]:
        """Some status."""
        return pages_data.view(environment)

    explain = live = status

    def refused(self, environment: str, command: str, actor: str, why: str, reason: str = "") -> None:
        """Remembered among the orders."""
        self.orders.append(
            (f"refused {command}", environment, {"actor": actor, "why": why, "reason": reason})
        )

    def logs(self, environment: str, _app: str | None) -> dict[str, Any]:
        """No logs."""
        return {"environment": environment, "logs": [], "left_out": 0}


class Measured:
    """A text of metrics."""

    def text(self, _only: object = None) -> bytes:
        """Nothing much."""
        return b"up 1\n"


class Faces:
    """The application, and the guard before it."""

    def __init__(self, keys: Keys, server: Server | None = None) -> None:
        """Put them together as the daemon does. Streams end at once."""
        self.models = Watched()
        self.door = keys.door(server)
        hub = Hub()
        hub.close()
        self.site = Site(
            environments=NAMES,
            service=cast("Any", Ordered()),
            models=cast("Any", self.models),
            hub=hub,
            tokens=keys.tokens,
            answers=Answers(keys.database),
            ready=lambda: None,
            promotions=cast("Any", pages_data.Promotable([pages_data.lane("staging", "production")])),
            write=lambda _event: None,
            outbox=cast("Any", pages_data.Letters()),
        )
        self.app = finished(self.site, self.door)
        self.guard = Guard(self.app, self.door, opener(self.app))


def finished(site: Site, door: Door) -> FastAPI:
    """Every route that the daemon has."""
    render = pages.Renderer(now=lambda: pages_data.NOW)
    return routes(site, door, cast("Any", Measured()), render)


class _Nothing:
    """What routes are made of if nobody calls them."""

    environments = ()

    def __getattr__(self, _name: str) -> Any:
        """Any part."""
        return self


def uncalled() -> FastAPI:
    """The same routes, for who only looks at them."""
    nothing = _Nothing()
    return finished(cast("Any", nothing), cast("Any", nothing))


def with_table(page: str) -> str:
    """The page with the table of routes as they are now."""
    return re.sub(
        r"(?<=<!-- routes -->\n).*?(?=<!-- end -->)", lambda _: table(uncalled()), page, flags=re.DOTALL
    )


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
