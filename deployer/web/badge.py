"""A picture of one environment's state, for a README or a dashboard.

Owns the drawing. Must not know more than the published status. Invariant: nothing of a commit is in it, and
its words are the status' own, so that it says in a wiki what `deployer status` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from xml.sax.saxutils import escape

from fastapi import APIRouter, Path
from fastapi.responses import Response

from deployer.web.access import Right, needs

if TYPE_CHECKING:
    from deployer.web.site import Site

_COLOURS = {"Healthy": "#1a7f37", "Progressing": "#0969da", "Degraded": "#cf222e", "Missing": "#cf222e"}
_OTHER = "#59636e"
"""White on each of these has a contrast of at least 4.5 (WCAG AA)."""

_CHARACTER = 6.6
_PADDING = 7.0
"""Pixels of Verdana at 11 pixels, on average, and on either side of a text."""

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}">\
<title>{label}</title><rect width="{width}" height="20" rx="3" fill="#24292f"/>\
<rect x="{left}" width="{right}" height="20" rx="3" fill="{colour}"/>\
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">\
<text x="{at}" y="14">{name}</text><text x="{then}" y="14">{state}</text></g></svg>
"""


def router(site: Site) -> APIRouter:
    """The one route. It needs the right to read; `anonymous_read` gives that to everybody."""
    router = APIRouter(redirect_slashes=False)

    @router.get(
        "/badge/{environment}.svg",
        dependencies=[needs(Right.READ, environment=True)],
        tags=["environments"],
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}}},
    )
    def badge(environment: Annotated[str, Path(max_length=200)]) -> Response:
        """Health, sync and mode of an environment as an SVG."""
        view = site.models.environments({site.known(environment)})[0]
        words = [view["health"]]
        words += [view["sync"]] if view["sync"] != "Synced" else []
        words += [view["mode"]] if view["mode"] != "auto" else []
        text = draw(environment, ", ".join(words), _COLOURS.get(view["health"], _OTHER))
        return Response(text, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    return router


def draw(name: str, state: str, colour: str) -> str:
    """The picture."""
    left, right = (len(text) * _CHARACTER + 2 * _PADDING for text in (name, state))
    return _SVG.format(
        width=round(left + right),
        left=round(left),
        right=round(right),
        at=round(left / 2, 1),
        then=round(left + right / 2, 1),
        label=escape(f"{name}: {state}", {'"': "&quot;"}),
        name=escape(name),
        state=escape(state),
        colour=colour,
    )
