"""Who is told which notice, and in what form it is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deployer.core import routes
from deployer.core.notices import About, Cause, Notice, Severity, Telling
from deployer.core.routes import Route, cloud_event, message, takes
from deployer.core.windows import Recurring

NIGHT = Recurring(cron="0 20 * * *", duration=12 * 3600.0, time_zone="Europe/Berlin")
BY_DAY = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BY_NIGHT = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)

FAILURE = Notice(
    environment="staging",
    about=About.FAILED,
    severity=Severity.WARNING,
    at=BY_DAY,
    sentence="staging: b failed: bad price.",
    next_step="Push a fix.",
    thread="staging#2",
    cause=Cause.RELEASE,
    rollout="staging#2",
)
ALL = Route(name="ops")


def recovery(of: Notice, at: datetime) -> Notice:
    """What ends it."""
    telling = Telling(about=of.about, severity=of.severity, at=of.at)
    return replace(of, severity=Severity.INFO, at=at, ends=(telling,))


@pytest.mark.parametrize(
    ("route", "is_told"),
    [
        (ALL, True),
        (replace(ALL, environments=frozenset({"staging"})), True),
        (replace(ALL, environments=frozenset({"production"})), False),
        (replace(ALL, about=frozenset({About.FAILED, About.DRIFT})), True),
        (replace(ALL, about=frozenset({About.DRIFT})), False),
        (replace(ALL, severity=Severity.WARNING), True),
        (replace(ALL, severity=Severity.CRITICAL), False),
        (replace(ALL, quiet=(NIGHT,)), True),
    ],
    ids=["all", "its-env", "other-env", "its-kind", "other-kind", "as-grave", "graver", "by-day"],
)
def test_a_route_takes_what_it_asks_for_and_its_recovery(route: Route, is_told: bool) -> None:
    """Whoever heard of a failure hears of its end, also at night; and nobody else does."""
    assert takes(route, FAILURE) is is_told
    assert takes(route, recovery(FAILURE, BY_NIGHT)) is is_told


def test_what_is_told_in_quiet_hours() -> None:
    """What is critical, and failures of what is always told of; what went well there waits for nobody."""
    quiet = replace(ALL, quiet=(NIGHT,), always=frozenset({"production"}))
    by_night = replace(FAILURE, at=BY_NIGHT)
    production = replace(by_night, environment="production")

    assert not takes(quiet, by_night)
    assert not takes(quiet, recovery(by_night, BY_DAY)), "its failure was not told"
    assert takes(quiet, replace(by_night, severity=Severity.CRITICAL))
    assert takes(quiet, production)
    assert takes(quiet, recovery(production, BY_NIGHT))
    for about in (About.GOOD, About.ROLLED_BACK, About.WAITING):
        assert not takes(quiet, replace(production, about=about, cause=None))


def test_quiet_hours_never_let_more_through() -> None:
    """What a filter leaves out stays out, however grave."""
    route = replace(ALL, environments=frozenset({"dev"}), quiet=(NIGHT,), always=frozenset({"staging"}))
    assert not takes(route, replace(FAILURE, severity=Severity.CRITICAL))


def test_the_message_and_its_cloud_event() -> None:
    """Structured mode, with all that a program needs."""
    told = message(ALL, FAILURE)
    assert (told.kind, told.audience, told.key, told.mark) == ("notice", "notify/ops", "", "")
    assert told.text == "staging: b failed: bad price. Push a fix."

    event = cloud_event(
        told.payload,
        id_="msg_1",
        environment="staging",
        at="2026-11-24T12:00:00.000Z",
        deployer="https://deployer.example.com",
        link="https://deployer.example.com/rollouts/staging%232",
    )
    assert event == {
        "specversion": "1.0",
        "id": "msg_1",
        "source": "https://deployer.example.com/env/staging",
        "type": "dev.deployer.notice.failed",
        "subject": "staging#2",
        "time": "2026-11-24T12:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {
            "test": False,
            "text": "staging: b failed: bad price. Push a fix.",
            "environment": "staging",
            "about": "failed",
            "severity": "warning",
            "recovered": False,
            "cause": "release",
            "sentence": "staging: b failed: bad price.",
            "next_step": "Push a fix.",
            "rollout": "staging#2",
            "thread": "staging#2",
            "link": "https://deployer.example.com/rollouts/staging%232",
        },
    }


def test_a_recovery_and_a_test_have_types_of_their_own() -> None:
    """A program need not read the words."""
    ended = message(ALL, replace(recovery(FAILURE, BY_DAY + timedelta(hours=1)), cause=None, rollout=None))

    def of(payload: object) -> tuple[str, str]:
        assert isinstance(payload, dict)
        event = cloud_event(payload, id_="x", environment="dev", at="", deployer="deployer", link=None)
        return event["type"], event["subject"]

    assert of(dict(ended.payload)) == ("dev.deployer.notice.recovered", "dev")
    trial = routes.test_payload("ops")
    assert of(trial) == ("dev.deployer.notice.test", "dev")
    assert trial["test"] is True
    assert set(trial) == set(ended.payload)
