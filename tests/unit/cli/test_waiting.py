"""When `sync --wait` and `rollback --wait` end, and with which exit code: one case for each ending."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.cli.main import Exit
from deployer.cli.waiting import _GATED, _LIVE, _REMOVES, _STALLED, Progress, Rollback, Sync, timed_out
from deployer.core.decide import POLICY

D, OLD = "sha256:d", "sha256:old"


def rollout(
    number: int, result: str, *, kind: str = "deploy", digest: str = D, **more: Any
) -> dict[str, Any]:
    """A rollout as `history -o json` has it."""
    failure = {"class": "code", "message": "boom"} if result == "failed" else None
    usual = {"followed_by": None, "superseded_by": None, "failure": failure}
    release = {"digest": digest, "revision": digest[7:] * 10}
    return {"id": f"staging#{number}", "kind": kind, "result": result, "release": release, **usual, **more}


def state(*rollouts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A status of the API: git wants D, which is not live; the rollouts are the newest first."""
    git = {"looks": 3, "trouble": None, "revision": "d" * 40, "digest": D, "problem": None}
    usual = {
        "instance": "one",
        "pass_number": 7,
        "git": git,
        "live": {"digest": OLD},
        "sync": "OutOfSync",
        "health": "Healthy",
        "mode": "auto",
        "message": "What is the case.",
        "rollout": None,
        "policy": {"line": 2, "seconds": 15.0},
        "rollouts": list(rollouts),
        "is_current": True,
    }
    return {**usual, **more, "git": {**git, **more.get("git", {})}}


def asked(**more: Any) -> Sync:
    """Look 3 and pass 7 were asked for when rollout 4 was the newest that had ended."""
    return Sync.of({"instance": "one", "look": 3, "pass_number": 7, "after": 4, **more})


def line(number: int) -> dict[str, Any]:
    """The line of the policy that decided."""
    return {"line": number, "seconds": 15.0}


BUSY = {"id": "staging#5", "kind": "deploy", "phase": "start"}
BACK = rollout(6, "good", kind="rollback", digest=OLD)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(state(git={"looks": 2}), None, id="the look is not over"),
        pytest.param(state(git={"trouble": "Git is away."}), ("failed", Exit.FAILED), id="git is away"),
        pytest.param(
            state(git={"digest": None, "problem": "line 3"}), ("invalid", Exit.INVALID_CONFIG), id="invalid"
        ),
        pytest.param(
            state(git={"digest": None, "revision": None, "problem": "No branch."}),
            ("failed", Exit.FAILED),
            id="no branch",
        ),
        pytest.param(state(), None, id="not begun"),
        pytest.param(state(rollout(5, "in_progress"), rollout=BUSY), None, id="in flight"),
        pytest.param(
            state(rollout(5, "in_progress"), mode="paused", rollout=BUSY), None, id="paused in flight"
        ),
        pytest.param(state(rollout(5, "good"), sync="Synced"), ("good", Exit.OK), id="good"),
        pytest.param(state(sync="Synced"), ("good", Exit.OK), id="was live already"),
        pytest.param(state(sync="Synced", is_current=False), None, id="a pass has not seen git yet"),
        pytest.param(state(sync="Synced", pass_number=6), None, id="seen before it was asked"),
        pytest.param(state(mode="paused", pass_number=6), None, id="paused, seen before it was asked"),
        pytest.param(
            state(rollout(5, "good"), sync="OutOfSync", policy=line(22)),
            None,
            id="drifted since, to be healed",
        ),
        pytest.param(
            state(rollout(5, "good"), sync="OutOfSync", policy=line(25)),
            ("failed", Exit.FAILED),
            id="drifted since, and left so",
        ),
        pytest.param(
            state(rollout(4, "good"), sync="Synced", health="Degraded", policy=line(20)),
            None,
            id="sick, to be restored",
        ),
        pytest.param(
            state(rollout(4, "good"), sync="Synced", health="Degraded", policy=line(25)),
            None,
            id="sick, and Serve goes on",
        ),
        pytest.param(
            state(rollout(4, "good"), sync="Synced", health="Degraded", policy=line(28)),
            None,
            id="a repair failed, and Serve goes on",
        ),
        pytest.param(
            state(rollout(4, "good"), sync="Synced", health="Progressing", policy=line(25)),
            None,
            id="Serve has not caught up yet",
        ),
        pytest.param(
            state(rollout(4, "good"), sync="Synced", health="Degraded", mode="paused", policy=line(24)),
            ("refused", Exit.REFUSED),
            id="sick and paused",
        ),
        pytest.param(state(rollout(5, "failed"), rollout=BUSY), None, id="failed, nothing follows yet"),
        pytest.param(
            state(rollout(6, "in_progress", kind="rollback"), rollout(5, "failed", followed_by="staging#6")),
            None,
            id="rolling back",
        ),
        pytest.param(
            state(BACK, rollout(5, "failed", followed_by="staging#6")),
            ("rolled_back", Exit.ROLLED_BACK),
            id="rolled back",
        ),
        pytest.param(
            state(BACK, rollout(4, "failed", followed_by="staging#6"), mode="held"),
            ("rolled_back", Exit.ROLLED_BACK),
            id="rolled back before it was asked, and held",
        ),
        pytest.param(
            state(BACK, rollout(4, "failed", followed_by="staging#6")), None, id="failed once, to be retried"
        ),
        pytest.param(
            state(
                rollout(6, "failed", kind="rollback", digest=OLD),
                rollout(5, "failed", followed_by="staging#6"),
                mode="held",
            ),
            ("rollback_failed", Exit.ROLLBACK_FAILED),
            id="rollback failed",
        ),
        pytest.param(
            state(rollout(6, "cancelled", kind="rollback"), rollout(5, "failed", followed_by="staging#6")),
            ("superseded", Exit.TIMED_OUT),
            id="rollback cancelled",
        ),
        pytest.param(
            state(BACK, rollout(5, "failed"), mode="held"),
            ("rolled_back", Exit.ROLLED_BACK),
            id="a person rolled it back before the daemon did",
        ),
        pytest.param(
            state(rollout(4, "good", kind="rollback"), rollout(5, "failed")),
            ("failed", Exit.FAILED),
            id="a rollback before it is none of its",
        ),
        pytest.param(state(rollout(5, "failed")), ("failed", Exit.FAILED), id="nothing to go back to"),
        pytest.param(state(policy=line(28)), ("refused", Exit.REFUSED), id="needs a person, and is not held"),
        pytest.param(
            state(rollout(4, "failed"), policy=line(28)),
            ("failed", Exit.FAILED),
            id="failed before it was asked, and needs a person",
        ),
        pytest.param(
            state(rollout(4, "failed"), policy=line(27)), None, id="failed before, and waits for room"
        ),
        pytest.param(
            state(rollout(5, "failed"), sync="Unknown"), None, id="the rollback waits for the cluster"
        ),
        pytest.param(
            state(rollout(5, "failed"), is_current=False),
            None,
            id="no pass since it failed",
        ),
        pytest.param(
            state(rollout(5, "superseded", superseded_by="e" * 40)),
            ("superseded", Exit.TIMED_OUT),
            id="overtaken",
        ),
        pytest.param(
            state(rollout(5, "cancelled"), mode="held"), ("superseded", Exit.TIMED_OUT), id="cancelled"
        ),
        pytest.param(
            state(rollout(4, "superseded", superseded_by="e" * 40)), None, id="overtaken before it was asked"
        ),
        pytest.param(state(mode="held"), ("refused", Exit.REFUSED), id="held by a person"),
        pytest.param(
            state(rollout(4, "good"), mode="held"), ("refused", Exit.REFUSED), id="good once, held since"
        ),
        pytest.param(
            state(rollout(4, "cancelled"), mode="held"),
            ("refused", Exit.REFUSED),
            id="cancelled before, held",
        ),
        pytest.param(state(mode="paused", is_current=False), None, id="resumed, and no pass since"),
        pytest.param(state(mode="paused"), ("refused", Exit.REFUSED), id="paused"),
        pytest.param(
            state(policy={"line": 29, "seconds": 15.0}), ("refused", Exit.REFUSED), id="removes most"
        ),
        pytest.param(
            state(mode="waiting", policy=line(31)), ("refused", Exit.REFUSED), id="a gate is closed"
        ),
        pytest.param(
            state(mode="waiting", policy=line(31), is_current=False), None, id="approved, and no pass since"
        ),
        pytest.param(state(mode="held", rollout=BUSY), None, id="held while a rollback runs"),
        pytest.param(
            state(rollout(5, "cancelled"), rollout=BUSY), None, id="cancelled, and still shown in flight"
        ),
        pytest.param(
            state(
                rollout(7, "in_progress", digest="sha256:e"),
                rollout(5, "superseded", superseded_by="e" * 40),
                rollout={**BUSY, "id": "staging#7"},
            ),
            ("superseded", Exit.TIMED_OUT),
            id="overtaken, and what overtook it is in flight",
        ),
        pytest.param(
            state(BACK, rollout(5, "failed", followed_by="staging#6"), rollout={**BUSY, "id": "staging#6"}),
            None,
            id="rolled back, and still shown in flight",
        ),
    ],
)
def test_how_a_sync_ends(seen: dict[str, Any], expected: tuple[str, Exit] | None) -> None:
    """One state, by the first look at it."""
    found = asked().ending(seen)

    assert (found and (found.outcome, found.exit_code)) == expected


def test_the_lines_of_the_policy_are_those_meant() -> None:
    """Their numbers are in the status; what they stand for is not."""
    meant = [POLICY[number - 1][0] for number in (_LIVE, _STALLED, _REMOVES, _GATED)]

    assert meant == [
        "git wants what is live",
        "the last rollout failed, and nobody acted",
        "what git wants removes most applications",
        "a gate is closed",
    ]


def test_a_commit_that_git_leaves_behind_is_superseded() -> None:
    """Also one that never began; but a good ending that was not asked about in time still counts."""
    sync = asked()
    assert sync.ending(state()) is None
    overtaken = sync.ending(state(git={"digest": "sha256:e", "revision": "e" * 40}))
    vanished = sync.ending(state(git={"digest": None, "problem": "No branch."}))

    assert overtaken is not None
    assert (overtaken.exit_code, overtaken.message) == (
        Exit.TIMED_OUT,
        "ddddddd was overtaken: git wants eeeeeee now.",
    )
    assert vanished is not None
    assert "No branch." in vanished.message


def test_a_daemon_that_was_started_meanwhile_is_asked_again() -> None:
    """It counts anew, has not read git yet, and perhaps cannot: that is no newer commit."""
    sync = asked()
    assert sync.ending(state(sync="Unknown")) is None
    unread = {"looks": 0, "digest": None, "revision": None, "problem": "The first look is under way."}
    seen = state(git=unread, sync="Unknown", is_current=False, instance="two", pass_number=0)
    assert not sync.is_answered_by(seen)
    sync.ask_again({"instance": "two", "look": 1, "pass_number": 2, "after": 5})

    assert sync.is_answered_by(seen)
    assert sync.ending(seen) is None
    away = {**unread, "looks": 1, "trouble": "Git is away."}
    assert sync.ending({**seen, "git": {**seen["git"], **away}}) is None
    good = state(rollout(5, "good"), git={"looks": 1}, sync="Synced", instance="two", pass_number=2)
    ended = sync.ending(good)
    assert ended is not None
    assert (ended.outcome, ended.rollout) == ("good", "staging#5")


def test_the_endings_say_what_failed() -> None:
    """The class, the message, where it went back to, and the rollout to look up."""
    found = asked().ending(state(BACK, rollout(5, "failed", followed_by="staging#6")))

    assert found is not None
    assert found.message == "ddddddd failed (code): boom. Rolled back to oldoldo."
    assert found.rollout == "staging#5"


@pytest.mark.parametrize(
    ("rollouts", "is_asked", "expected"),
    [
        ([], True, None),
        ([rollout(4, "good", kind="rollback")], True, None),
        ([rollout(5, "in_progress", kind="rollback")], True, None),
        ([rollout(5, "good", kind="rollback")], True, Exit.OK),
        ([rollout(5, "failed", kind="rollback")], True, Exit.ROLLBACK_FAILED),
        ([rollout(5, "cancelled", kind="rollback")], True, Exit.TIMED_OUT),
        ([], False, Exit.OK),
        # The wish was replaced by another person's before it began.
        ([rollout(5, "in_progress", kind="rollback", digest=OLD)], True, Exit.TIMED_OUT),
        ([rollout(5, "good", kind="rollback", digest=OLD)], True, Exit.TIMED_OUT),
        ([rollout(4, "good", kind="rollback", digest=OLD)], True, None),
        ([rollout(5, "good", digest=OLD)], True, None),
    ],
)
def test_how_a_rollback_ends(rollouts: list[dict[str, Any]], is_asked: bool, expected: Exit | None) -> None:
    """Only a rollback to that release, begun after it was asked for, counts."""
    found = Rollback(target=D, after=4, is_asked=is_asked).ending(state(*rollouts))

    assert (found and found.exit_code) == expected


@pytest.mark.parametrize("result", ["good", "failed", "cancelled"])
def test_a_rollback_has_not_ended_before_the_status_shows_it(result: str) -> None:
    """The history is ahead of what is published, which would stay on the screen: a rollback in flight."""
    asked_for, ended = Rollback(target=D, after=4, is_asked=True), rollout(5, result, kind="rollback")
    shown, next_one = {**BUSY, "kind": "rollback"}, {**BUSY, "id": "staging#6"}

    assert asked_for.ending(state(ended, rollout=shown, is_current=False)) is None
    assert asked_for.ending(state(ended)) is not None
    assert asked_for.ending(state(rollout(6, "in_progress"), ended, rollout=next_one)) is not None


def test_progress_is_told_once_per_message_and_phase() -> None:
    """A countdown is not news."""
    progress = Progress()
    lines = [
        progress.line(state(message=message, rollout={"phase": phase}))
        for message, phase in [
            ("watched for 9 s more", "stabilize"),
            ("watched for 8.5 s more", "stabilize"),
            ("soaking", "soak"),
            ("soaking", "soak"),
        ]
    ]

    assert progress.line(state(message="What was before.", is_current=False)) is None
    assert lines == ["stabilize: watched for 9 s more", None, "soak: soaking", None]


def test_a_time_out_tells_the_last_state() -> None:
    """Or that there was none."""
    assert "after 30m; the daemon goes on. Last: What is the case." in timed_out(state(), "30m").message
    assert timed_out(None, "1s").exit_code is Exit.TIMED_OUT
