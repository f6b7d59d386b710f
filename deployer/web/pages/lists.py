"""The history and the audit log: filtered by their address, page by page, and as files.

Owns their filters. Must not read anything itself. Invariant: what is exported is what the same filters show,
all of it, made as it is sent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from deployer.core.export import AUDIT_COLUMNS, HISTORY_COLUMNS, csv_lines, json_lines
from deployer.web.access import Right, caller, needs
from deployer.web.pages.problems import route_class
from deployer.web.pages.words import parsed
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from deployer.web.pages.parts import Parts


_ON_A_PAGE = 50
_IN_A_FILE = 200
"""Read at a time for an export."""

KINDS = ("deploy", "rollback", "restore", "heal")
RESULTS = ("in_progress", "good", "failed", "superseded", "cancelled")

Text = Annotated[str, Query(max_length=200)]
Format = Literal["csv", "jsonl"]

HISTORY_FILTERS = ("environment", "kind", "result", "author", "revision", "since", "until")
AUDIT_FILTERS = (
    "environment",
    "actor",
    "type",
    "result",
    "rollout",
    "revision",
    "digest",
    "since",
    "until",
)


def router(parts: Parts) -> APIRouter:
    """The routes; each needs the right to read."""
    router = APIRouter(redirect_slashes=False, include_in_schema=False, route_class=route_class(parts.render))
    models = parts.site.models
    may_read = [needs(Right.READ)]

    def page(
        request: Request, template: str, title: str, read: Callable[..., dict[str, Any]], names: Sequence[str]
    ) -> HTMLResponse:
        filters = _filters(request, names)
        before = request.query_params.get("before", "")[:200] or None
        found = read(environments=_visible(request), before=before, limit=_ON_A_PAGE, **_arguments(filters))
        return parts.render.page(
            request,
            template,
            title=title,
            items=found["items"],
            next=found["next"],
            before=before,
            filters=filters,
            environments=parts.visible(request),
            kinds=KINDS,
            results=RESULTS,
        )

    def export(
        request: Request,
        form: Format,
        stem: str,
        read: Callable[..., dict[str, Any]],
        names: Sequence[str],
        columns: Sequence[str],
    ) -> StreamingResponse:
        arguments = _arguments(_filters(request, names))
        items = _all(read, _visible(request), arguments)
        lines = csv_lines(items, columns) if form == "csv" else json_lines(items)
        return StreamingResponse(
            lines,
            media_type="text/csv; charset=utf-8" if form == "csv" else "application/jsonl",
            headers={
                "Content-Disposition": f'attachment; filename="{stem}.{form}"',
                "Cache-Control": "no-store",
            },
        )

    @router.get("/history", dependencies=may_read)
    def history(request: Request) -> HTMLResponse:
        return page(request, "history.html", "History", models.rollouts, HISTORY_FILTERS)

    @router.get("/audit", dependencies=may_read)
    def audit(request: Request) -> HTMLResponse:
        return page(request, "audit.html", "Audit", models.audit, AUDIT_FILTERS)

    @router.get("/history.{form}", dependencies=may_read)
    def history_file(request: Request, form: Format) -> StreamingResponse:
        return export(request, form, "history", models.rollouts, HISTORY_FILTERS, HISTORY_COLUMNS)

    @router.get("/audit.{form}", dependencies=may_read)
    def audit_file(request: Request, form: Format) -> StreamingResponse:
        return export(request, form, "audit", models.audit, AUDIT_FILTERS, AUDIT_COLUMNS)

    return router


def _visible(request: Request) -> Collection[str] | None:
    return caller(request).environments


def _filters(request: Request, names: Sequence[str]) -> dict[str, str]:
    """The filters as they were asked for. Raises Problem for one that means nothing."""
    given = {name: request.query_params.get(name, "").strip()[:200] for name in names}
    for name, allowed in (("kind", KINDS), ("result", RESULTS)):
        if given.get(name) and given[name] not in allowed:
            detail = f"{name}: it is one of {', '.join(allowed)}."
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    for name in ("since", "until"):
        if given.get(name) and parsed(given[name]) is None:
            detail = f"{name}: write a day or a time in UTC, as 2026-11-22 or 2026-11-22T21:40."
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return given


def _arguments(filters: Mapping[str, str]) -> dict[str, Any]:
    """What the read models take: times as such, and nothing for a filter without a value."""
    return {
        name: parsed(value) if name in {"since", "until"} else value
        for name, value in filters.items()
        if value
    }


def _all(
    read: Callable[..., dict[str, Any]], visible: Collection[str] | None, arguments: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    before = None
    while True:
        found = read(environments=visible, before=before, limit=_IN_A_FILE, **arguments)
        yield from found["items"]
        before = found["next"]
        if before is None:
            return
