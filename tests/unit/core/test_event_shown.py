"""Every event is shown with all that it says, with who is behind it, and how it is called."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import get_args

import pytest

from deployer.core.event_shown import NO_ID, Written, known_by, named, to_json
from deployer.core.events import (
    Event,
    Failed,
    Failure,
    FailureClass,
    GateEvidence,
    LogSource,
    Measured,
    Moment,
    Paused,
    PromotionAsked,
    Resumed,
    Seen,
    State,
)
from deployer.core.types import Check, Policy, Signature
from tests.support.build import ADA, at, release, started


def written(event: Event) -> Written:
    """The event in some place."""
    return Written(
        id=7,
        environment="staging",
        sequence=3,
        rollout=getattr(event, "rollout", ""),
        event=event,
        previous_hash="a" * 64,
        hash="b" * 64,
        is_linked=False,
    )


def test_an_event_with_its_place() -> None:
    """The names of the fields are those of docs/json.md."""
    told = to_json(written(Paused(at=at(0), actor="ada (local)", reason="lunch", until=at(60))))
    assert told == {
        "id": 7,
        "environment": "staging",
        "sequence": 3,
        "type": "paused",
        "at": "2026-11-22T10:42:00.000Z",
        "actor": "ada (local)",
        "known_by": "a login name on the daemon's machine, or of who has that machine's token",
        "reason": "lunch",
        "rollout": None,
        "says": "The automation is paused until 2026-11-22 10:43 UTC.",
        "fields": {"until": "2026-11-22T10:43:00.000Z"},
        "previous_hash": "a" * 64,
        "hash": "b" * 64,
        "hash_is_right": True,
        "previous_is_right": False,
    }


def test_every_field_is_there_in_plain_json() -> None:
    """Of a config its digest; persons, times, kinds, states and numbers as people write them."""
    what = release("one")
    policy = Policy(checks=(Check(app="fruit", path="/", body='{"token":"hunter2"}'),))
    gate = GateEvidence(name="manual", verdict="open", evidence="ada wants it.")
    begun = started(what, policy=policy, gates=(gate,), before={"fruit": math.inf, "math": 1.5})
    told = to_json(written(begun))["fields"]

    assert told.keys() == {field.name for field in dataclasses.fields(begun)} - {
        "type",
        "at",
        "actor",
        "reason",
    }
    assert told["release"]["config"] == what.digest
    assert told["release"]["revision"]["author"] == "Ada <ada@example.com>"
    assert told["kind"] == "deploy"
    assert told["before"] == {"fruit": "inf", "math": 1.5}
    assert told["gates"] == [{"name": "manual", "verdict": "open", "evidence": "ada wants it."}]
    assert "hunter2" not in json.dumps(told, allow_nan=False)


def test_what_is_inside_of_fields_is_there_too() -> None:
    """Lists of things with fields, at any depth."""
    moment = Moment(at=at(1), states=(State(app="fruit", status="DEPLOYING", target=3),), settled=False)
    source = LogSource(replica="r1", node_id="n1", path="r1.log")
    failure = Failure(failure_class=FailureClass.CODE, message="boom", log=source, timeline=(moment,))
    told = to_json(written(Failed(at=at(2), rollout="staging#1", failure=failure)))
    assert told["rollout"] == "staging#1"
    shown = told["fields"]["failure"]
    assert (shown["failure_class"], shown["log"]["node_id"]) == ("code", "n1")
    assert shown["timeline"][0]["at"] == "2026-11-22T10:42:01.000Z"
    assert shown["timeline"][0]["states"][0]["target"] == 3

    signed = Seen(
        at=at(0), release=release("one"), signatures=(Signature(commit="c", signer="ada", key="k"),)
    )
    assert to_json(written(signed))["fields"]["signatures"] == [{"commit": "c", "signer": "ada", "key": "k"}]
    asked = PromotionAsked(at=at(0), source="dev", rollout="dev#1", commit="c", people=(ADA,))
    assert to_json(written(asked))["fields"]["people"] == ["Ada <ada@example.com>"]
    assert to_json(written(Measured(at=at(0), free={"CPU": 1.0})))["fields"] == {"free": {"CPU": 1.0}}
    assert to_json(written(Resumed(at=at(0))))["fields"] == {}


def test_there_is_no_type_of_event_whose_fields_stand_beside_themselves() -> None:
    """`type`, `at`, `actor` and `reason` are of every event, and in no `fields`."""
    for kind in get_args(Event):
        assert {field.name for field in dataclasses.fields(kind)} >= {"type", "at", "actor", "reason"}


@pytest.mark.parametrize(
    ("actor", "how"),
    [
        ("deployer", "the daemon did it"),
        ("Ada <ada@example.com>", "git says so"),
        ("ada (local) <x@example.com>", "git says so"),
        ("ada <x> (local)", "a login name"),
        ("ada (token 3f2a9c1b)", "the token with this ID"),
        ("ada (proxy)", "the proxy"),
        ("lin (at the forge as lin-wei)", "a review at the forge"),
        ("lin", "nothing says how"),
    ],
)
def test_how_an_actor_is_known(actor: str, how: str) -> None:
    """What stands last counts: a name in a commit may hold anything."""
    assert known_by(actor).startswith(how)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("17", 17),
        ("production:17", ("production", 17)),
        ("@deployer:1", ("@deployer", 1)),
        ("production#17", None),
        ("production:", None),
        ("9" * 19, None),
        ("-1", None),
        ("", None),
        ("\u0661", None),
    ],
)
def test_how_an_event_is_called(text: str, place: object) -> None:
    """By its id, or by its place; `production#17` is a rollout."""
    assert named(text) == place
    assert "production:17" in NO_ID
