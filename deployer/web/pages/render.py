"""Templates into HTML.

Owns the Jinja environment, and what every template may use. Must not know a route's data. Invariant:
autoescape is always on, and whatever text a template prints is made plain first (no control character, no
bidi control, no half of a character), so that a commit's subject can neither add markup nor make a line read
as another. Nothing here marks a text from outside as safe.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from deployer import __version__
from deployer.core.scrub import plain
from deployer.core.tokens import Right
from deployer.web.pages import assets, drawing, shown, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request

    from deployer.web.access import Caller

TEMPLATES = Path(__file__).parent.parent / "templates"

NAVIGATION = (
    # Path, words, the right that it needs (to administer: of all environments, as these pages are about all).
    # The one table of them: a new page is added here.
    ("/", "Environments", "read"),
    ("/promotions", "Promotions", "read"),
    ("/approvals", "Approvals", "read"),
    ("/history", "History", "read"),
    ("/audit", "Audit", "read"),
    ("/stats", "Stats", "read"),
    ("/doctor", "Doctor", "administer"),
    ("/settings", "Settings", "administer"),
)

_TIME = Markup('<time datetime="{}" title="{} UTC"{}>{}</time>')
_TICKS = Markup(" data-ago")
_TIMES = re.compile(r'(<time datetime="([^"]+)" title="[^"]+" data-ago>)[^<]*')
"""A time that `_time` wrote. No text can look like one: its `<` is escaped."""
_CODE = re.compile(r"`([^`\n]{1,200})`")
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")


class Renderer:
    """Renders templates. Thread-safe.

    `now` is the clock, in UTC. With `strict`, a name that a template uses and nobody gave is an error: for
    tests; in the daemon it is nothing, so that the view of an older daemon does not take a page away.
    """

    def __init__(
        self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), strict: bool = False
    ) -> None:
        """Read the templates."""
        self.now = now
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined if strict else jinja2.ChainableUndefined,
            finalize=_clean,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            words=words,
            drawing=drawing,
            shown=shown,
            static=assets.address,
            link=link,
            rollout_path=rollout_path,
            time=self._time,
            clock=_clock,
            prose=prose,
            dated=self._dated,
            version=__version__,
        )
        self._templates.filters["path"] = _path
        self._templates.filters["plural"] = words.count

    def part(self, template: str, **context: Any) -> Markup:  # noqa: ANN401 - what a template takes
        """One fragment of a page, without white space around it, to be printed as it is.

        htmx would put white space into the page as a text of its own, once more with each swap (4.0.1).
        """
        return Markup(self._templates.get_template(template).render(**context).strip())  # noqa: S704 - escaped

    def fresh(self, html: str) -> Markup:
        """What was rendered before, with the times in it as they are told now."""
        now = self.now()

        def told(found: re.Match[str]) -> str:
            moment = words.parsed(found[2])
            return found[1] + (words.ago(moment, now) if moment is not None else "")

        return Markup(_TIMES.sub(told, html))  # noqa: S704 - rendered, so escaped

    def page(
        self,
        request: Request,
        template: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        **context: Any,  # noqa: ANN401 - what a template takes
    ) -> HTMLResponse:
        """A whole page, with its navigation for who is calling."""
        one = _caller(request)
        html = self._templates.get_template(template).render(
            here=request.url.path,
            caller=one,
            navigation=[
                (path, title) for path, title, right in NAVIGATION if one is not None and _leads(one, right)
            ],
            **context,
        )
        # Of this moment and for this caller: no cache between may keep it.
        return HTMLResponse(html, status, headers={"Cache-Control": "no-store"})

    def _time(self, at: object) -> Markup:
        """A time as a person wants it, with the exact one on hover."""
        moment = words.parsed(at)
        if moment is None:
            return Markup("&ndash;")
        text = words.ago(moment, self.now())
        ticks = "" if text[:1].isdigit() and "-" in text else _TICKS
        return _TIME.format(moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", ticks, text)

    def _dated(self, text: object) -> Markup:
        """The same as `prose`, with each time that is written as the data has it told as `_time` does."""
        return Markup(_MOMENT.sub(lambda found: self._time(found[0]), prose(text)))  # noqa: S704 - both are


def _clock(at: object) -> Markup:
    """The time of day, for what is seconds apart and long ago."""
    moment = words.parsed(at)
    if moment is None:
        return Markup("&ndash;")
    return _TIME.format(moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", "", f"{moment:%H:%M:%S}")


def prose(text: object) -> Markup:
    """A sentence, with what it puts between backticks (commands, as a rule) as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(plain(str(text))))))  # noqa: S704 - escaped first


def link(path: str, **parameters: object) -> str:
    """An address of ours with those parameters that have a value."""
    given = {name: str(value) for name, value in parameters.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def rollout_path(rollout: object) -> str:
    """The page of a rollout: `/rollouts/production%2342`."""
    return f"/rollouts/{_path(rollout)}"


def _path(text: object) -> str:
    """One step of a path."""
    return quote(str(text), safe="", errors="replace")


def _clean(value: object) -> object:
    """What is printed where a template prints this."""
    if value is None:
        return ""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _leads(one: Caller, right: str) -> bool:
    """Whether a page that needs this right shows this caller anything."""
    return right in one.rights and (right != Right.ADMINISTER or one.environments is None)


def _caller(request: Request) -> Caller | None:
    """Who is calling; None on the sign-in page. The guard puts it there (`deployer.web.access.caller`)."""
    state: dict[str, Any] = request.scope.get("state") or {}
    return state.get("caller")
