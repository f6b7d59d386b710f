"""The page about the JSON names every field that is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.cli.status import _never_seen
from deployer.core.events import Applied, Failed, Failure, FailureClass, Held, Kind, Seen, Started
from deployer.core.explain import explain
from deployer.core.history import advance, to_json
from deployer.core.status import status, view
from deployer.core.types import Policy
from tests.support.build import app, at, deployment, desired, live, record_of, release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.events import Event
    from deployer.core.history import Entry

PAGE = Path(__file__).parents[3] / "docs" / "json.md"
A = release("a")


def events() -> tuple[Event, ...]:
    """A first deploy that failed, and another one under way: every part of the JSON is there."""
    failure = Failure(failure_class=FailureClass.CODE, message="boom")
    start = Started(
        at=at(1), rollout="staging#1", kind=Kind.DEPLOY, release=A, policy=Policy(), trigger="push"
    )
    again = Started(
        at=at(9),
        rollout="staging#2",
        kind=Kind.DEPLOY,
        release=release("b"),
        policy=Policy(),
        trigger="push",
    )
    return (
        Seen(at=at(0), release=A),
        start,
        Applied(at=at(2), rollout="staging#1"),
        Failed(at=at(3), rollout="staging#1", failure=failure),
        Held(at=at(3), rollout="staging#1", reason="boom"),
        again,
    )


def keys(value: object) -> Iterator[str]:
    """All names of fields, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_every_field_of_status_is_documented() -> None:
    """Also what a command adds to what the daemon published."""
    cluster = live(app("fruit", deployments=(deployment(),)))
    shown = view(status(desired(A), cluster, record_of(*events()), at(10)))
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text()))

    assert set(keys(shown)) <= documented
    assert set(keys(_never_seen("staging"))) - {"observed_at"} == set(shown)
    assert "observed_at" in documented


def test_every_field_of_explain_is_documented() -> None:
    """Also what it says of a line that decided nothing."""
    cluster = live(app("fruit", deployments=(deployment(),)))
    shown = explain(view(status(desired(A), cluster, record_of(*events()), at(10))))

    assert set(keys(shown)) <= set(re.findall(r"`(\w+)`", PAGE.read_text()))


def test_every_field_of_history_is_documented() -> None:
    """Entries of every kind of end have the same fields."""
    entries: Mapping[str, Entry] = {}
    for event in events():
        entries = advance(entries, event)
    shown: list[dict[str, Any]] = [to_json(entry) for entry in entries.values()]
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text()))

    assert set(keys(shown)) <= documented
    assert len({tuple(entry) for entry in shown}) == 1
