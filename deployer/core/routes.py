"""Who is told which notice: by environment, by what it is about, by severity, and by the hour.

Owns what a route takes, and what it is given. Must not know targets, nor when anything is delivered.
Invariant: who was told of a failure is told of its recovery, at whatever hour, and nobody else is; what is
critical, and failures of environments for which quiet hours do not count, are told at every hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer.core.cloudevents import PREFIX, source
from deployer.core.messages import Message
from deployer.core.notices import About, Severity
from deployer.core.windows import Recurring, is_on

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from deployer.core.notices import Notice, Telling

NOTICE = "notice"
"""The kind of the messages."""

_NO_FAILURE = frozenset({About.WAITING, About.GOOD, About.ROLLED_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Who is told what. None of `environments` or `about` is all.

    In the `quiet` hours nothing is told but what is critical, and failures of environments in `always`.
    """

    name: str
    environments: frozenset[str] | None = None
    about: frozenset[About] | None = None
    severity: Severity = Severity.INFO
    quiet: tuple[Recurring, ...] = ()
    always: frozenset[str] = frozenset()

    @property
    def audience(self) -> str:
        """By which its messages are kept for it."""
        return of_route(self.name)


def of_route(name: str) -> str:
    """The audience of a route's messages, and the name of its target."""
    return f"notify/{name}"


def takes(route: Route, notice: Notice) -> bool:
    """Whether this route tells that; a recovery only where what it ends was told."""
    if notice.ends:
        return any(_hears(route, notice.environment, one) for one in notice.ends)
    return _is_asked(route, notice.environment, notice.about, notice.severity, notice.at)


def message(route: Route, notice: Notice, *, key: str = "", mark: str = "") -> Message:
    """The notice as a message to this route."""
    return Message(
        kind=NOTICE,
        audience=route.audience,
        text=notice.text,
        key=key,
        mark=mark,
        payload={
            "test": False,
            "about": notice.about.value,
            "severity": notice.severity.label,
            "recovered": bool(notice.ends),
            "cause": notice.cause.value if notice.cause is not None else None,
            "sentence": notice.sentence,
            "next_step": notice.next_step,
            "rollout": notice.rollout,
            "thread": notice.thread,
        },
    )


def test_payload(route: str) -> dict[str, Any]:
    """The payload of a message that only tries the way."""
    return {
        "test": True,
        "about": "test",
        "severity": Severity.INFO.label,
        "recovered": False,
        "cause": None,
        "sentence": f"This is a test of the route {route}: somebody typed `deployer notify test {route}`.",
        "next_step": "Nothing is left to do.",
        "rollout": None,
        "thread": f"test/{route}",
    }


def cloud_event(
    payload: Mapping[str, Any],
    *,
    id_: str,
    environment: str,
    at: str,
    deployer: str,
    link: str | None,
) -> dict[str, Any]:
    """The CloudEvent 1.0 of a message's payload, whole (structured mode). `at` is a time in RFC 3339."""
    what = "recovered" if payload["recovered"] else payload["about"]
    return {
        "specversion": "1.0",
        "id": id_,
        "source": source({"environment": environment}, deployer),
        "type": f"{PREFIX}.notice.{what}",
        "subject": payload["rollout"] or environment,
        "time": at,
        "datacontenttype": "application/json",
        "data": {
            "text": f"{payload['sentence']} {payload['next_step']}",
            "environment": environment,
            **payload,
            "link": link,
        },
    }


def _hears(route: Route, environment: str, told: Telling) -> bool:
    return _is_asked(route, environment, told.about, told.severity, told.at)


def _is_asked(route: Route, environment: str, about: About, severity: Severity, at: datetime) -> bool:
    if route.environments is not None and environment not in route.environments:
        return False
    if route.about is not None and about not in route.about:
        return False
    if severity < route.severity:
        return False
    if severity is Severity.CRITICAL or (environment in route.always and about not in _NO_FAILURE):
        return True
    return not is_on(route.quiet, at)
