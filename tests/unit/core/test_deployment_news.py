"""What is told of deployments: a table of stories."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployer.core import deployment_news
from deployer.core.deployment_news import changes
from deployer.core.events import Applied, Cancelled, Kind, Resubmitted, RollbackAsked, Superseded
from deployer.core.messages import DEPLOYMENT, as_message, of_deployments
from deployer.core.record import Record, evolve
from tests.support.build import applied, at, ended_well, failed, held, observed, release, seen, started

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.core.events import Event

A, B = release("a"), release("b", "math")


def told(events: Iterable[Event]) -> list[tuple[str, str, str]]:
    """Every change of a history: the rollout, its state, what is said."""
    record, found = Record(environment="staging"), list[tuple[str, str, str]]()
    for event in events:
        found += [(one.rollout, one.state.value, one.text) for one in changes(record, event)]
        record = evolve(record, event)
    return found


GOOD_A: list[Event] = [seen(A), started(A), applied(), *ended_well()]
ON_ITS_WAY: list[Event] = [*GOOD_A, seen(B, 20), started(B, 2, second=20), applied(2, 21)]


def test_a_deploy_that_ends_well() -> None:
    """Queued until the cluster has taken it."""
    assert told(GOOD_A) == [
        ("staging#1", "queued", "Waits to be sent to the cluster."),
        ("staging#1", "in_progress", "The cluster has taken it."),
        ("staging#1", "success", "Live after 10 s."),
    ]


def test_what_was_live_before_is_inactive_once_something_else_is() -> None:
    """Not before."""
    more = told([*ON_ITS_WAY, *ended_well(2, 30)])[len(told(ON_ITS_WAY)) :]

    assert more == [
        ("staging#2", "success", "Live after 10 s."),
        ("staging#1", "inactive", "staging#2 has taken its place."),
    ]


def test_a_failed_deploy_and_the_way_back() -> None:
    """The way back is a deployment of its own, and becomes the one that is live."""
    back = started(A, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2")
    story: list[Event] = [*ON_ITS_WAY, failed(2), held(2), back, applied(3, 32), *ended_well(3, 40)]

    assert told(story)[len(told(ON_ITS_WAY)) :] == [
        ("staging#2", "failure", "Fruit / D: ValueError: bad price."),
        ("staging#3", "queued", "Waits to be sent to the cluster."),
        ("staging#3", "in_progress", "The cluster has taken it."),
        ("staging#3", "success", "Live after 9.0 s."),
        ("staging#1", "inactive", "staging#3 has taken its place."),
    ]


def test_what_never_was_live_and_never_will_be_is_cancelled() -> None:
    """By a newer commit, or by a person."""
    overtaken = Superseded(at=at(30), rollout="staging#2", by="f" * 40)
    cancelled = Cancelled(at=at(30), actor="ada", rollout="staging#2")

    assert told([*ON_ITS_WAY, overtaken])[-1] == (
        "staging#2",
        "cancelled",
        "Overtaken by fffffff before it was live.",
    )
    assert told([*ON_ITS_WAY, cancelled])[-1] == ("staging#2", "cancelled", "Cancelled by ada.")


def test_who_asks_for_another_release_leaves_the_one_that_is_live() -> None:
    """Unless it is that one."""
    live_b: list[Event] = [*ON_ITS_WAY, *ended_well(2, 30)]
    back = RollbackAsked(at=at(60), actor="ada", release=A, made_good="staging#1")

    assert told([*live_b, back])[-1] == ("staging#2", "inactive", "staging#1 has taken its place.")
    assert told([*GOOD_A, back]) == told(GOOD_A)
    assert told([back]) == []


def test_a_second_put_begins_nothing_anew() -> None:
    """It is in progress since the first."""
    again = Resubmitted(at=at(22), rollout="staging#2", cause="it did not hold")
    story: list[Event] = [*ON_ITS_WAY, again, Applied(at=at(23), rollout="staging#2"), observed(2, 24)]

    assert told(story) == told(ON_ITS_WAY)


@pytest.mark.parametrize("kind", [Kind.HEAL, Kind.RESTORE])
@pytest.mark.parametrize(
    "end",
    [
        ended_well(2, 40),
        (failed(2, 40),),
        (Superseded(at=at(40), rollout="staging#2", by="f" * 40),),
        (Cancelled(at=at(40), actor="ada", rollout="staging#2"),),
    ],
    ids=["good", "failed", "superseded", "cancelled"],
)
def test_a_repair_deploys_nothing(kind: Kind, end: tuple[Event, ...]) -> None:
    """It is of the cluster."""
    story: list[Event] = [*GOOD_A, started(A, 2, kind=kind, second=30), applied(2, 31), *end]

    assert told(story) == told(GOOD_A)


def test_an_end_without_a_rollout_tells_nothing() -> None:
    """No history has one: it is illegal."""
    for event in (applied(), *ended_well(), failed()):
        assert changes(Record(environment="staging"), event) == ()


def test_a_change_is_one_message_for_each_rollout() -> None:
    """The newest takes the place of the others."""
    tagged = replace(A, revision=replace(A.revision, tag="v1"))
    (change,) = changes(Record(environment="staging"), started(tagged, kind=Kind.ROLLBACK))
    message = deployment_news.message("staging", of_deployments("configs"), change)

    assert (message.kind, message.audience) == (DEPLOYMENT, "forge/configs/deployments")
    assert (message.key, message.mark) == ("deployment staging#1", "")
    assert message.text == "staging#1 is queued as a deployment: Waits to be sent to the cluster."
    assert message.payload == {
        "rollout": "staging#1",
        "environment": "staging",
        "commit": A.revision.commit,
        "tag": "v1",
        "task": "rollback",
        "state": "queued",
        "text": "Waits to be sent to the cluster.",
    }


def test_a_sentence_is_an_announcement() -> None:
    """For people, standing for itself."""
    message = as_message("staging: it is live.")

    assert (message.kind, message.audience, message.key, message.text) == (
        "announcement",
        "people",
        "",
        "staging: it is live.",
    )
    assert as_message(message) is message
