"""What the cluster runs is ours only with proof; what a rollout replaces is known before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.core.belongs import deployed_times, leaving, not_ours, starting
from deployer.core.body import applications
from deployer.core.events import Kind
from deployer.core.live import Live, Replica
from deployer.core.record import Rollout
from deployer.core.types import Policy, Release, ServeConfig
from tests.support.build import START, app, deployment, live, release, running

ONE = release("a", "fruit", "math")


def rollout(what: Release = ONE, **more: Any) -> Rollout:
    """A rollout of it; before it both applications showed stamp 1."""
    return Rollout(
        id="staging#1",
        kind=Kind.DEPLOY,
        release=what,
        policy=Policy(),
        trigger="test",
        started_at=START,
        **{"before": {"fruit": 1.0, "math": 1.0}, **more},
    )


def reported(nonce: str = "", **changed: Any) -> Live:
    """The cluster right after the PUT, with `fruit` changed so."""
    return live(
        *(
            app(
                name,
                **{
                    "config": sent,
                    "last_deployed_time_s": 2.0,
                    "deployments": (
                        replace(deployment(), replicas=(Replica(replica_id=name, state="RUNNING"),)),
                    ),
                    **(changed if name == "fruit" else {}),
                },
            )
            for name, sent in applications(ONE, nonce).items()
        )
    )


def test_one_new_stamp_and_the_config_sent_make_it_ours() -> None:
    """Both, for every application."""
    assert not_ours(reported(), rollout(), strict=True) is None
    assert not_ours(reported(), rollout(before={}), strict=True) is None


def test_the_config_sent_has_the_nonce() -> None:
    """The same config without it is the one before."""
    assert not_ours(reported("n1"), rollout(nonce="n1"), strict=True) is None
    assert not_ours(reported(), rollout(nonce="n1"), strict=False) == (
        "fruit shows another config than the one sent (runtime_env)"
    )


def test_a_release_of_nothing_cannot_be_proved() -> None:
    """After a crash its PUT is sent again, which changes nothing."""
    text = '{"applications":[]}'
    nothing = replace(ONE, config=ServeConfig(text=text, digest="sha256:0"))
    assert not_ours(live(), rollout(nothing), strict=False) is None
    assert not_ours(live(), rollout(nothing), strict=True) == (
        "a release without applications leaves no trace"
    )


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (live(), "fruit is not on the cluster"),
        (reported(last_deployed_time_s=1.0), "fruit still shows the deploy before ours"),
        (reported(source="imperative"), "fruit was taken over by `serve run`"),
        (reported(config=None), "fruit shows another config than the one sent (import_path)"),
        (
            reported(config={"name": "fruit", "import_path": "good:app", "route_prefix": "/x"}),
            "fruit shows another config than the one sent (route_prefix)",
        ),
        (reported(last_deployed_time_s=3.0), "the applications were not deployed together"),
    ],
)
def test_anything_else_is_not_ours(seen: Live, why: str) -> None:
    """And it is said why."""
    assert not_ours(seen, rollout(), strict=False) == why


def test_the_stamps_are_those_of_every_application() -> None:
    """Also of somebody else's: it costs nothing."""
    assert deployed_times(reported(last_deployed_time_s=3.0)) == {"fruit": 3.0, "math": 2.0}


def changed(**keys: Any) -> Release:
    """The release with `fruit` changed so, and without `math`."""
    return release("b", {"name": "fruit", "import_path": "good:app", "route_prefix": "/fruit", **keys})


@pytest.mark.parametrize(
    "to", [changed(import_path="good.app"), changed(args={"a": 1}), changed(runtime_env={"pip": ["a"]})]
)
def test_replicas_of_code_that_changes_are_leaving(to: Release) -> None:
    """While one is there, the rollout is not done. An application that goes is not looked for."""
    assert leaving(reported(), ONE, to) == ("fruit",)


@pytest.mark.parametrize("to", [ONE, changed(args={}, runtime_env={}), changed(route_prefix="/x")])
def test_replicas_of_code_that_stays_are_not(to: Release) -> None:
    """Serve keeps them."""
    assert leaving(reported(), ONE, to) == ()


def test_a_nonce_is_another_code() -> None:
    """Also to the release itself."""
    assert leaving(reported(), ONE, ONE, nonce="n1") == ("fruit", "math")
    assert leaving(reported("n1"), ONE, ONE, good_nonce="n1", nonce="n1") == ()
    assert leaving(reported("n1"), ONE, ONE, good_nonce="n1") == ("fruit", "math")


@pytest.mark.parametrize("seen", [live(), reported(config=None), running(changed(args={"other": 1}))])
def test_of_what_is_not_as_good_says_nothing_is_known(seen: Live) -> None:
    """It may run the new code already."""
    assert leaving(seen, ONE, changed(args={"a": 1})) == ()


@pytest.mark.parametrize(
    ("status", "message", "states", "expected"),
    [
        ("HEALTHY", "", ["RUNNING"], {}),
        ("UPDATING", "", ["STARTING", "RUNNING"], {"fruit/D": 1}),
        ("UPDATING", "Retrying 2 more", ["RUNNING"], {"fruit/D": 1}),
        ("UPDATING", "Retrying 2 more", ["STARTING", "STARTING"], {"fruit/D": 2}),
        ("DEPLOY_FAILED", "failed 6 times", ["RUNNING"], {"fruit/D": 0}),
    ],
    ids=["at rest", "starting", "between two tries", "trying", "given up"],
)
def test_what_was_starting_before(
    status: str, message: str, states: list[str], expected: dict[str, int]
) -> None:
    """By deployment, where Serve tells of trouble or something starts."""
    replicas = tuple(Replica(replica_id=f"r{n}", state=state) for n, state in enumerate(states))
    one = deployment(status=status, message=message, replicas=replicas)

    assert starting(live(app("fruit", deployments=(one,)), app("math"))) == expected
