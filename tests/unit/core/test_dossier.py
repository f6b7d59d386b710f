"""The JSON of one rollout and of one event, out of all their parts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.dossier import Dossier, commits_of, event_in_full, to_json
from deployer.core.event_shown import Written
from deployer.core.events import (
    Approved,
    DriftClass,
    Drifted,
    GateEvidence,
    Kind,
    LogKept,
    LogSource,
    Paused,
    Promoted,
    Proposed,
    RetryAsked,
)
from deployer.core.hiding import Hiding, hiding
from deployer.core.history import advance
from deployer.core.record import fold
from deployer.core.scrub import REDACTED
from deployer.core.types import Check, Policy
from tests.support.build import applied, at, ended_well, failed, held, release, seen, started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.events import Event
    from deployer.core.history import Entry
    from deployer.core.types import Release

RAY = "2.60.0"


def stall(name: str, price: int, **env_vars: object) -> Release:
    """A release with a price, and environment variables."""
    app = {
        "name": "fruit",
        "import_path": "good:app",
        "args": {"price": price},
        "runtime_env": {"env_vars": env_vars},
    }
    return release(name, app)


A, B = stall("a", 5, KEY="secret-of-a"), stall("b", 7, KEY="secret-of-b")
SOURCE = LogSource(replica="fruit#Mango#x1", node_id="n1", path="r.log")
CHECKS = Policy(checks=(Check(app="fruit", path="/fruit"),))
GATE = GateEvidence(name="requires", verdict="open", evidence="It is good in dev for long enough.")

GOOD: tuple[Event, ...] = (
    seen(A),
    started(A, policy=CHECKS),
    applied(),
    *ended_well()[:1],
)
BAD: tuple[Event, ...] = (
    seen(B, 20),
    started(B, 2, second=21, gates=(GATE,), ray_version="2.59.0", session="session_1"),
    applied(2, 22),
    failed(2, 30, log=SOURCE),
    held(2),
    LogKept(at=at(31), rollout="staging#2", source=SOURCE, text="the end\n"),
)
BACK = started(A, 3, Kind.ROLLBACK, 32, follows="staging#2", trigger="staging#2 failed")
A_IS_GOOD = (seen(A), started(A), applied(), *ended_well())


def placed(events: tuple[Event, ...], first: int = 1) -> tuple[Written, ...]:
    """Events in the log."""
    return tuple(
        Written(
            id=number,
            environment="staging",
            sequence=number,
            rollout=getattr(event, "rollout", ""),
            event=event,
            previous_hash=f"{number - 1:064x}",
            hash=f"{number:064x}",
        )
        for number, event in enumerate(events, start=first)
    )


def entries(events: tuple[Event, ...]) -> Mapping[str, Entry]:
    """The history that they make."""
    found: Mapping[str, Entry] = {}
    for event in events:
        found = advance(found, event)
    return found


def dossier(*events: Event, of: str = "staging#2", what: Release = B, **more: Any) -> Dossier:
    """What is known of a rollout after these events."""
    values: dict[str, Any] = {
        "entry": entries(events)[of],
        "events": tuple(one for one in placed(events) if one.rollout == of),
        "config": what.config,
        "ray_version": RAY,
        "record": fold("staging", events),
    }
    return Dossier(**{**values, **more})


def failed_one(**more: Any) -> Dossier:
    """A rollout that failed, with what came before it and after."""
    events = (*A_IS_GOOD, *BAD, BACK)
    found = entries(events)
    log = placed(events)
    values: dict[str, Any] = {
        "seen": log[6],
        "before": found["staging#1"],
        "config_before": A.config,
        "answer": found["staging#3"],
        "follower": log[-1],
    }
    return dossier(*events, **{**values, **more})


def test_a_rollout_that_failed_in_full() -> None:
    """From what git wanted to what followed."""
    told = to_json(failed_one(), json.dumps)

    assert [(step["event"], step["phase"], step["id"]) for step in told["timeline"]] == [
        ("seen", None, 7),
        ("started", "applying", 8),
        ("applied", "applying", 9),
        ("failed", "applying", 10),
        ("held", None, 11),
        ("log_kept", None, 12),
        ("started", None, 13),
    ]
    assert told["timeline"][0]["seconds"] == -1.0
    assert [one["about"] for one in told["story"]] == [
        *("what", "who", "commit", "why", "gate requires", "outcome", "first error", "log", "held", "after"),
    ]
    assert told["gates"] == [{"name": "requires", "verdict": "open", "evidence": GATE.evidence}]
    assert (told["against_rollout"], told["against"]) == (
        "staging#1",
        f'staging#1 {A.revision.short} "commit a"',
    )
    assert [(one["option"], one["change"], one["effect"]) for one in told["changes"]] == [
        ("args.price", "5 -> 7", "rebuilds the app"),
        ("runtime_env.env_vars.KEY", "changed", "rebuilds the app"),
    ]
    assert told["config_digest"] == B.digest
    assert json.loads(told["config"])["applications"][0]["runtime_env"] == {"env_vars": {"KEY": REDACTED}}
    assert (told["log"], told["can_roll_back_to"]) == ("the end\n", False)
    assert [phase["name"] for phase in told["phases"]] == ["applying"]


def test_one_that_nothing_was_before() -> None:
    """It is compared with nothing; its checks are not made yet."""
    told = to_json(dossier(*GOOD, of="staging#1", what=A), json.dumps)

    assert (told["against"], told["against_rollout"]) == (None, None)
    assert [one["sign"] for one in told["changes"]] == ["+"]
    assert told["checks"] == [
        {"app": "fruit", "path": "/fruit", "passed": None, "attempts": 0, "message": "", "ms": None}
    ]
    assert [step["event"] for step in told["timeline"]] == ["started", "applied", "observed"]
    assert (told["detail"], told["gates"], told["result"]) == ("", [], "in_progress")


def test_a_rollout_without_its_events_is_told_all_the_same() -> None:
    """Whatever was lost of them."""
    bare = replace(failed_one(), events=())
    assert (bare.started, bare.gates) == (None, ())
    assert to_json(bare, json.dumps)["story"][0]["about"] == "what"


@pytest.mark.parametrize(
    ("more", "can"),
    [
        ((), False),
        ((Drifted(at=at(40), drift=DriftClass.EDITED, what="n is 7."),), True),
        ((seen(B, 50), started(B, 2, second=51), applied(2, 52), *ended_well(2, 60)), True),
    ],
    ids=["it is live", "it drifted", "another one is"],
)
def test_what_one_can_go_back_to(more: tuple[Event, ...], can: bool) -> None:
    """What is good, and not what runs."""
    told = to_json(dossier(*A_IS_GOOD, *more, of="staging#1", what=A), json.dumps)
    assert told["can_roll_back_to"] is can


def test_under_which_commits_people_spoke_of_a_release() -> None:
    """Its own, what it merged, and the one that it copies or that was proposed; of no other promotion."""
    promotions = (
        Promoted(at=at(0), commit="source", branch="main", copied="copy"),
        Promoted(at=at(0), commit="other", branch="main"),
        Proposed(at=at(0), commit="proposed", branch="main", head="head", number=3, url="u"),
        Proposed(at=at(0), commit="mine", branch="main", head="x", number=4, url="u"),
        Paused(at=at(0)),
    )
    assert commits_of({"revision": "copy", "merged": None}, promotions) == {"copy", "source"}
    assert commits_of({"revision": "merge", "merged": "head"}, promotions) == {"merge", "head", "proposed"}
    assert commits_of({"revision": "mine", "merged": None}, promotions) == {"mine"}


def test_the_start_of_a_rollout_in_full() -> None:
    """With what it changed, and what became of it."""
    found = failed_one()
    (begun, *_) = found.events
    told = event_in_full(begun, found, hiding(found.bodies))

    assert (told["id"], told["type"], told["commit"], told["digest"]) == (
        8,
        "started",
        B.revision.commit,
        B.digest,
    )
    assert told["of_rollout"]["result"] == "failed"
    assert told["of_rollout"]["story"][0]["says"].startswith("staging#2 was a deploy of")
    assert (told["against_rollout"], len(told["changes"])) == ("staging#1", 2)


def test_another_event_of_a_rollout() -> None:
    """Changes nothing, and is of its release; a secret of that is hidden wherever it stands."""
    found = failed_one()
    end = replace(found.events[2], event=replace(BAD[3], reason="the key is secret-of-b"))
    told = event_in_full(end, found, hiding(found.bodies))

    assert (told["commit"], told["changes"], told["against"]) == (B.revision.commit, None, None)
    assert told["reason"] == f"the key is {REDACTED}"


@pytest.mark.parametrize(
    ("event", "commit", "digest"),
    [
        (Paused(at=at(0)), None, None),
        (seen(A), A.revision.commit, A.digest),
        (Approved(at=at(0), plan="p", digest="sha256:d", commit="c"), "c", "sha256:d"),
        (RetryAsked(at=at(0), digest="", accepts="c"), None, None),
    ],
)
def test_an_event_of_no_rollout(event: Event, commit: str | None, digest: str | None) -> None:
    """Is about what it says."""
    (one,) = placed((event,))
    told = event_in_full(one, None, Hiding())
    assert (told["commit"], told["digest"], told["of_rollout"], told["changes"]) == (
        commit,
        digest,
        None,
        None,
    )
