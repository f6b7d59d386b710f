"""The JSON of a plan: every part, and the nulls where there is none."""

from __future__ import annotations

import json
from typing import Any

from deployer.core import effect
from deployer.core.capacity import capacity
from deployer.core.diff import diff
from deployer.core.plan_json import changes, to_json
from deployer.core.planning import Duration, Gate, Plan
from deployer.core.way_back import Way, WayBack
from tests.support.build import live
from tests.unit.core.test_diff import body, stand

NEWEST = "2.60.0"
OLD, NEW = body(stand(num_replicas=1)), body(stand(num_replicas=3, user_config={"price": 7}))


def plan(old: dict[str, Any], new: dict[str, Any], **more: Any) -> Plan:
    """The plan of `new` against `old`."""
    found = diff(old, new, NEWEST)
    values: dict[str, Any] = {
        "environment": "staging",
        "wanted": "b",
        "against": "a",
        "digest": "sha256:plan",
        "config_digest": "sha256:config",
        "ray_version": NEWEST,
        "diff": found,
    }
    return Plan(**{**values, **more})


def test_a_plan_with_everything() -> None:
    """Each part as an object, which JSON can hold."""
    found = diff(OLD, NEW, NEWEST)
    served = effect.served(found, OLD, NEW, None, NEWEST)
    room = capacity(found, OLD, NEW, live(free={"CPU": 1.0}), NEWEST)
    told = to_json(
        plan(
            OLD,
            NEW,
            availability=served,
            capacity=room,
            duration=Duration(shortest=31.0, longest=130.0, deploys=5),
            way_back=WayBack(state=Way.DEGRADED, to="a", reasons=("x",)),
            gates=(Gate(what="held", why="It failed."),),
            drift="It drifted.",
            remarks=("An old format.",),
        )
    )

    assert json.loads(json.dumps(told)) == told
    assert (told["add"], told["change"], told["remove"]) == (0, 1, 0)
    assert told["changes"] == changes(found)
    assert told["availability"][0]["message"] == served[0].forecast.sentence
    assert told["capacity"]["verdict"] == room.verdict.value
    assert [need["resource"] for need in told["capacity"]["needs"]] == [need.resource for need in room.needs]
    assert told["duration"] == {"shortest_seconds": 31.0, "longest_seconds": 130.0, "deploys": 5}
    assert told["way_back"] == {"state": "degraded", "to": "a", "reasons": ["x"]}
    assert told["gates"] == [{"what": "held", "why": "It failed."}]
    assert (told["drift"], told["remarks"]) == ("It drifted.", ["An old format."])


def test_a_plan_without_changes() -> None:
    """What was not asked for is null, and lists are empty."""
    told = to_json(plan(OLD, OLD))
    nulls = {key for key, value in told.items() if value is None}

    assert nulls == {"capacity", "duration", "way_back", "drift"}
    assert [told[key] for key in ("changes", "availability", "gates", "remarks")] == [[], [], [], []]


def test_a_change_of_all_of_an_application() -> None:
    """It has no deployment, no option, and no value."""
    (line,) = changes(diff(body(), OLD, NEWEST))
    assert line == {
        "sign": "+",
        "application": "fruit",
        "deployment": None,
        "option": None,
        "change": None,
        "effect": "added",
        "note": None,
    }
