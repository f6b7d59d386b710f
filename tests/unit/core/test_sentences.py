"""The words that people read. Most are snapshots in the tests of what says them; here are their edges."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from deployer.core import sentences
from deployer.core.errors import Problem
from deployer.core.events import (
    Cancelled,
    DriftClass,
    Drifted,
    Event,
    FailureClass,
    Kind,
    LostSight,
    Paused,
    RollbackAsked,
)
from deployer.core.record import Record
from deployer.core.types import Absent, Invalid, NotRead, OnDrift, Policy
from tests.support.build import (
    applied,
    at,
    ended_well,
    failed,
    held,
    record_of,
    release,
    revision,
    seen,
    started,
)

A, B = release("a"), release("b")
EMPTY = Record(environment="staging")
A_GOOD = (seen(A), started(A), applied(), *ended_well())
B_FAILED = (*A_GOOD, started(B, 2), applied(2), failed(2), held(2))
ROLLING_BACK = (*B_FAILED, started(A, 3, Kind.ROLLBACK), applied(3))
EDITED = Drifted(at=at(40), drift=DriftClass.EDITED, what="fruit has another config.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot reach it", "Cannot reach it."),
        ("Serve is down.", "Serve is down."),
        ("x.yaml:4:5: unknown key", "x.yaml:4:5: unknown key."),
        ("", "."),
    ],
)
def test_a_sentence(text: str, expected: str) -> None:
    """A capital letter and one full stop; the name of a file stays as it is."""
    assert sentences.sentence(text) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (9.96, "10.0 s"), (31.4, "31 s"), (312.4, "5m12s")]
)
def test_how_long_it_took(seconds: float, text: str) -> None:
    """As exact as a person needs."""
    assert sentences.took(timedelta(seconds=seconds)) == text


def test_spans_and_clocks() -> None:
    """A limit as it is written in a config; a time of day with its zone."""
    assert sentences.span(timedelta(seconds=90)) == "1m30s"
    assert sentences.clock(at(0)) == "10:42 UTC"


def test_problems_without_a_line_name_the_file() -> None:
    """A file that is not there has no line."""
    wanted = Invalid(
        revision=revision("x"), problems=(Problem(file="x.yaml", line=0, column=0, message="m"),)
    )

    assert sentences.problems(wanted) == "x.yaml: m"


@pytest.mark.parametrize(
    ("history", "says"),
    [
        pytest.param((), "Nothing was ever deployed here.", id="nothing"),
        pytest.param(A_GOOD, '86f7e43 "commit a" is live.', id="good"),
        pytest.param(
            (started(A), applied(), failed(1)), "There is no good release to go back to.", id="no way back"
        ),
        pytest.param(
            B_FAILED,
            'The cluster was left on it; the last good release is 86f7e43 "commit a".',
            id="left on it",
        ),
        pytest.param(
            (*ROLLING_BACK, failed(3)),
            'Rolling back to 86f7e43 "commit a" failed too (fruit / D: ValueError: bad price):'
            " the environment is DEGRADED and nothing is tried again until somebody pushes a commit or types"
            " `deployer rollback staging`.",
            id="the rollback failed too",
        ),
        pytest.param(
            (*A_GOOD, started(A, 2, Kind.RESTORE), applied(2), failed(2)),
            'Restoring 86f7e43 "commit a" failed (fruit / D: ValueError: bad price).',
            id="a restore failed, which is tried again",
        ),
        pytest.param(
            (*A_GOOD, started(A, 2, Kind.HEAL), applied(2), failed(2)),
            'Healing to 86f7e43 "commit a" failed (fruit / D: ValueError: bad price).',
            id="a heal failed",
        ),
    ],
)
def test_what_the_cluster_runs_after_what_went_wrong(history: tuple[Event, ...], says: str) -> None:
    """The first question when git wants nothing that can be deployed."""
    wanted = Absent(why="branch env/staging is gone")

    record = record_of(*history)
    orphaned = "staging is orphaned: what runs stays. " if record.rollouts else ""
    assert sentences.nothing_to_deploy(wanted, record) == f"Branch env/staging is gone. {orphaned}{says}"
    assert sentences.nothing_to_deploy(NotRead(why="x"), record_of(*history)) == f"X. {says}"


def test_a_stall_of_a_deploy_says_how_to_go_on() -> None:
    """That of a rollback says it in what became of the cluster."""
    record = record_of(*A_GOOD, started(A, 2), applied(2), failed(2))
    assert record.last is not None
    assert sentences.stalled(record.last, record) == (
        "86f7e43 failed at 10:42 UTC (fruit / D: ValueError: bad price). The cluster was left on it;"
        ' the last good release is 86f7e43 "commit a". Push a commit,'
        " or `deployer retry staging --reason ...`."
    )

    record = record_of(*ROLLING_BACK, failed(3))
    assert record.last is not None
    assert sentences.stalled(record.last, record).count("deployer") == 1
    unknown = replace(record.last, failure=None)
    assert sentences.stalled(unknown, record).startswith(
        "86f7e43 failed at 10:42 UTC (no reason was recorded)."
    )


def test_what_a_person_rolled_back_is_held_in_other_words() -> None:
    """It did not fail."""
    asked = RollbackAsked(at=at(40), actor="ada", reason="slow", release=B, made_good="staging#2")
    record = record_of(*A_GOOD, asked)

    assert sentences.held(record.held[0], record) == (
        '86f7e43 was rolled back by ada: slow at 10:42 UTC and is held. 86f7e43 "commit a" is live.'
        " Push a fix, or `deployer retry staging --reason ...`."
    )


def test_a_cluster_out_of_sight() -> None:
    """In the middle of a rollout it is said that nothing is rolled back."""
    flight = (started(A), applied())
    lost = LostSight(at=at(2), rollout="staging#1", why="no answer")

    assert sentences.blind("no answer", EMPTY) == "No answer. Nothing is changed until it answers."
    assert "nothing is rolled back because of it" in sentences.blind("no answer", record_of(*flight, lost))


@pytest.mark.parametrize(
    ("policy", "more", "says"),
    [
        pytest.param(
            Policy(drift=OnDrift.ALERT),
            (),
            " The policy says `drift: alert`, so it is left as it is.",
            id="alert",
        ),
        pytest.param(
            Policy(),
            (Paused(at=at(1)),),
            " It is not healed while the environment is paused.",
            id="paused",
        ),
        pytest.param(
            Policy(),
            (),
            " It was healed or restored 0 times within the hour, so it is left as it is: somebody else"
            " changes this cluster. `deployer retry staging --reason ...` heals it once more.",
            id="the budget is spent",
        ),
        pytest.param(
            Policy(heals_per_hour=0),
            (),
            " The policy says `heals_per_hour: 0`, so it is left as it is.",
            id="no budget",
        ),
    ],
)
def test_drift_that_is_left(policy: Policy, more: tuple[Event, ...], says: str) -> None:
    """And why."""
    assert sentences.drifted(record_of(*A_GOOD, *more, EDITED), policy) == f"fruit has another config.{says}"


def test_what_is_not_there_is_not_said() -> None:
    """No drift, no pause, no release: no words."""
    assert sentences.drifted(EMPTY, Policy()) == ""
    assert sentences.paused(EMPTY) == ""
    assert sentences.synced(A, EMPTY) == '86f7e43 "commit a" is live.'


def test_a_pause_without_a_reason() -> None:
    """One that only has an end."""
    record = record_of(Paused(at=at(0), actor="ada", until=at(60)))

    assert sentences.paused(record).startswith("Paused by ada at 10:42 UTC, until 2026-11-22 10:43 UTC: ")


def test_progress_names_what_it_is_about() -> None:
    """Each kind has its verb."""
    verbs = []
    for kind in Kind:
        record = record_of(*A_GOOD, started(A, 2, kind))
        assert record.rollout is not None
        verbs.append(sentences.progressing(record.rollout, "x"))

    assert verbs == [
        'deploying 86f7e43 "commit a": x',
        'rolling back to 86f7e43 "commit a": x',
        'restoring 86f7e43 "commit a": x',
        'healing to 86f7e43 "commit a": x',
    ]


def test_what_was_cancelled_is_told_as_what_it_left() -> None:
    """A person ended it, and nothing has started since."""
    record = record_of(*A_GOOD, started(B, 2), Cancelled(at=at(3), rollout="staging#2"))

    assert "The cluster was left on it" in sentences.nothing_to_deploy(NotRead(why="x"), record)


def test_room() -> None:
    """When it is tried, and what is live meanwhile."""
    record = record_of(
        *A_GOOD, seen(B), started(B, 2), applied(2), failed(2, failure_class=FailureClass.CAPACITY)
    )

    assert sentences.no_room(record, at(60)).startswith(
        'e9d71f5 "commit b" found no room on the cluster and is tried again not before 10:43 UTC, and when'
    )
