"""A policy is shown as its file has it, and reads as the same policy."""

from __future__ import annotations

import json

import pytest

from deployer.core.policy import parse
from deployer.core.policy_shown import shown
from deployer.core.scrub import REDACTED
from deployer.core.types import Check, Deadlines, OnDrift, Policy

FULL = Policy(
    deadlines=Deadlines(build=61.0, schedule=0.5, start=3600.0),
    stability_window=0.0,
    max_flaps=2,
    fail_fast_after=0,
    checks=(
        Check(app="fruit", path="/fruit"),
        Check(
            app="fruit",
            path="/fruit?name=mango",
            method="POST",
            body='{"n":1}',
            status=201,
            json='{"price":7,"of":{"x":[1,2]}}',
            latency=0.25,
            timeout=1.5,
            retries=0,
        ),
    ),
    soak=0.0,
    rollback=False,
    rollback_deadline=90.0,
    drift=OnDrift.ALERT,
    heals_per_hour=0,
    owns=("fruit", "math"),
    allow_delete=True,
    ray_version="2.60",
)


@pytest.mark.parametrize("policy", [Policy(), FULL], ids=["the defaults", "everything"])
def test_what_is_shown_reads_as_the_same(policy: Policy) -> None:
    """Each value is under the key that it came from: JSON is YAML."""
    found, _ = parse(json.dumps(shown(policy)).encode(), "environment.yaml")
    assert found == policy


def test_what_a_check_sends_is_masked_by_its_keys() -> None:
    """A token in a body is no more for people than one in a config."""
    check = Check(app="a", path="/", body='{"api_token":"hunter2","n":1}', json='[{"password":null}]')
    (one,) = shown(Policy(checks=(check,)))["checks"]
    assert one["body"] == {"api_token": REDACTED, "n": 1}
    assert one["expect"]["json"] == [{"password": None}]
