"""What `explain` makes of a published status: the line that decided, the evidence, the next look."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from deployer.core.decide import POLICY
from deployer.core.events import (
    Checked,
    DriftClass,
    Drifted,
    Event,
    FailureClass,
    Healthy,
    Kind,
    Observed,
    Paused,
    RollbackAsked,
    Seen,
    Started,
    State,
)
from deployer.core.explain import DECIDED, NOT_REACHED, PASSED_OVER, explain
from deployer.core.live import Observation, Unreachable
from deployer.core.status import Freshness, status, view
from deployer.core.times import timestamp
from deployer.core.types import Absent, Check, Policy, Wanted
from tests.support.build import app, at, desired, live, record_of, release
from tests.unit.core.test_commands import failed, good, started

A, B = release("a", "fruit"), release("b", "fruit", "math")
NOW = at(100)


def told(wanted: Wanted, seen: Observation, *events: Event) -> dict[str, Any]:
    """The explanation of what is published for this history, as it comes out of the store."""
    published = json.loads(json.dumps(view(status(wanted, seen, record_of(*events), NOW))))
    return explain({**published, "observed_at": timestamp(NOW)})


def evidence(explained: dict[str, Any], about: str) -> list[str]:
    """What it says of one thing."""
    return [one["says"] for one in explained["evidence"] if one["about"] == about]


def test_the_first_line_that_fits_decided() -> None:
    """Those before it were passed over, those after it not reached; each is there once, in order."""
    explained = told(desired(A), Unreachable(why="The cluster is away."), *good(1, A))
    marks = [line["mark"] for line in explained["policy"]]

    assert explained["line"] == 2
    assert marks == [PASSED_OVER, DECIDED] + [NOT_REACHED] * (len(POLICY) - 2)
    assert [(line["condition"], line["consequence"]) for line in explained["policy"]] == list(POLICY)
    assert "The cluster is away." in explained["message"]
    assert evidence(explained, "cluster") == ["not seen"]


def test_it_says_when_it_looks_again() -> None:
    """At the latest: the time of the look and the pause after it. A decision to act is followed at once."""
    waiting = told(desired(A), Unreachable(why="The cluster is away."), *good(1, A))
    acting = told(desired(A), live())

    assert waiting["looks_again_seconds"] == 15.0
    assert waiting["looks_again_at"] == timestamp(at(115))
    assert acting["looks_again_at"] is None


def test_an_environment_at_rest() -> None:
    """What git wants, what is current, and what the cluster runs, somebody else's applications too."""
    foreign = app("theirs", config={"name": "theirs"})
    seen = live(app("fruit", config=A.config.applications()["fruit"]), foreign)
    explained = told(desired(A), seen, *good(1, A))

    assert evidence(explained, "git wants")[0].startswith(f'{A.revision.short} "commit a" by Ada')
    assert evidence(explained, "current")[0].endswith("good since staging#1")
    assert evidence(explained, "cluster") == ["Ray 2.60.0: fruit RUNNING"]
    assert evidence(explained, "foreign") == ["theirs: on this cluster, and not this environment's"]
    assert evidence(explained, "in flight") == []


def test_nothing_known_is_said_as_such() -> None:
    """Git has no folder, nothing ever became good, Serve does not run."""
    explained = told(Absent(why="There is no branch."), live(serve_started=False))

    assert evidence(explained, "git wants") == ["nothing that can be deployed"]
    assert evidence(explained, "current") == ["no good release is live"]
    assert evidence(explained, "cluster") == ["Ray 2.60.0, Serve is not started: no application"]


def test_a_rollout_in_flight_shows_the_end_of_its_timeline() -> None:
    """The last five moments, in Serve's words, with counts and failed starts where there are any."""
    moments: list[Event] = [
        Observed(
            at=at(10 + second),
            rollout="staging#1",
            states=(
                State(app="fruit", status="DEPLOYING"),
                State(
                    app="fruit",
                    deployment="Stand",
                    status="UPDATING",
                    running=1,
                    target=2,
                    failed_starts=second,
                ),
            ),
            settled=False,
        )
        for second in range(7)
    ]
    explained = told(desired(A), live(), Seen(at=at(0), release=A), *started(1, A), *moments)
    seen = evidence(explained, "seen")

    assert evidence(explained, "in flight")[0].startswith("staging#1 (deploy, ")
    assert len(seen) == 5
    assert seen[-1] == f"{timestamp(at(16))}: fruit DEPLOYING; fruit/Stand UPDATING 1/2, 6 failed starts"


def test_checks_are_shown_with_their_attempts() -> None:
    """Passed, not passed, and not made yet."""
    policy = Policy(checks=tuple(Check(app="fruit", path=f"/{number}") for number in range(3)))
    begin = Started(at=at(1), rollout="staging#1", kind=Kind.DEPLOY, release=A, policy=policy, trigger="test")
    applied = started(1, A)[1]

    def checked(number: int, *, passed: bool, message: str) -> Checked:
        return Checked(at=at(5), rollout="staging#1", check=number, passed=passed, message=message, ms=1.0)

    explained = told(
        desired(A, policy),
        live(),
        Seen(at=at(0), release=A),
        begin,
        applied,
        Observed(at=at(3), rollout="staging#1", states=(), settled=True),
        Healthy(at=at(4), rollout="staging#1"),
        checked(0, passed=True, message="200 in 3 ms"),
        checked(1, passed=False, message="500"),
        checked(1, passed=False, message="500"),
    )

    assert evidence(explained, "check") == [
        "fruit /0 passed: 200 in 3 ms",
        "fruit /1 not passed after 2 attempts: 500",
        "fruit /2 not made yet",
    ]


def test_what_is_held_paused_drifted_or_starved_is_evidence() -> None:
    """Each with its reason and its time."""
    paused = Paused(at=at(50), actor="ada (local)", reason="market day", until=at(200))
    forever = Paused(at=at(51), actor="lin (local)", reason="for good")
    edited = Drifted(at=at(60), drift=DriftClass.EDITED, what="fruit has 3 replicas")
    back = RollbackAsked(at=at(3), actor="ada (local)", release=A, made_good="staging#1")
    held = told(
        desired(B), live(), *good(1, A), *good(2, B), back, *good(3, A, Kind.ROLLBACK), paused, edited
    )
    starved = told(desired(B), live(), *good(1, A), *failed(2, B, FailureClass.CAPACITY), forever)

    assert evidence(held, "held")[0].startswith(f"{B.revision.short} since ")
    assert evidence(held, "paused") == [f"by ada (local) until {timestamp(at(200))}: market day"]
    assert evidence(held, "drift") == [f"edited since {timestamp(at(60))}: fruit has 3 replicas"]
    assert evidence(starved, "paused") == ["by lin (local) until somebody resumes it: for good"]
    assert evidence(starved, "failed") == ["staging#2 (capacity): boom"]
    assert evidence(starved, "no room")[0].startswith(f"for {B.digest[:19]}, 1 try, the last one ended ")


def test_a_status_of_an_older_version_is_explained_as_far_as_it_goes() -> None:
    """What the daemon published before an upgrade has no policy line in it."""
    published = view(status(desired(A), live(), record_of(*good(1, A)), NOW))
    old = {key: published[key] for key in ("environment", "message", "sync", "health", "mode", "wanted")}
    old |= {"live": None, "rollout": None, "held": [], "apps": [], "cluster": None}
    explained = explain(old)

    assert explained["line"] is None
    assert {line["mark"] for line in explained["policy"]} == {NOT_REACHED}


def test_how_fresh_git_is() -> None:
    """How long before that look its head was last seen, why not since, and by which tag it was found."""
    tagged = replace(A, revision=replace(A.revision, tag="v1.2.0"))
    fresh = Freshness(seen_at=at(88), trouble="cannot read the repository: nothing answers there")
    shown = view(replace(status(desired(tagged), live(), record_of(), NOW), git=fresh))
    explained = explain({**json.loads(json.dumps(shown)), "observed_at": timestamp(NOW)})

    assert evidence(explained, "git") == [
        "head last seen 12 s before that",
        "cannot read the repository: nothing answers there",
    ]
    assert evidence(explained, "git wants")[0].startswith(f'v1.2.0 {A.revision.short} "commit a"')
    assert evidence(told(desired(A), live()), "git") == []


def test_the_gates_of_the_settings_are_evidence() -> None:
    """Each with its verdict and when it may be another; and how the commit got there."""
    published = view(status(desired(A), live(), record_of(*good(1, A)), NOW))
    gate = {"name": "windows", "verdict": "closed", "evidence": "It opens on Monday.", "plan": None}
    promotion: dict[str, Any] = {
        "source": "dev",
        "rollout": "dev#3",
        "revision": B.revision.commit,
        "by": "ada",
        "at": timestamp(at(5)),
        "reason": "",
        "skipped": [],
        "result": "promoted",
        "why": None,
    }
    skipped = {"skipped": ["windows"], "result": "failed", "why": "the server refuses it", "source": None}

    def shown(**more: Any) -> dict[str, Any]:
        return explain({**published, "observed_at": timestamp(NOW), **more})

    plain = shown(gates=[{**gate, "next_check": None}], promotion=promotion)
    timed = shown(gates=[{**gate, "next_check": timestamp(at(9))}], promotion={**promotion, **skipped})

    assert evidence(plain, "gate") == ["windows is closed. It opens on Monday."]
    again = f"It may be another at {timestamp(at(9))}."
    assert evidence(timed, "gate") == [f"windows is closed. It opens on Monday. {again}"]
    asked = f"asked by ada at {timestamp(at(5))}"
    assert evidence(plain, "promotion") == [f"{B.revision.short} from dev (dev#3) was pushed, {asked}"]
    assert evidence(timed, "promotion") == [
        f"{B.revision.short} could not be pushed: the server refuses it, {asked}, without waiting for windows"
    ]
