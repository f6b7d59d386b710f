"""When `sync --wait` and `rollback --wait` end, and with which exit code: one case for each ending."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.cli.main import Exit
from deployer.cli.waiting import Progress, Rollback, Sync, timed_out

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
        "git": git,
        "live": {"digest": OLD},
        "sync": "OutOfSync",
        "mode": "auto",
        "message": "What is the case.",
        "rollout": None,
        "policy": {"line": 25, "seconds": 15.0},
        "rollouts": list(rollouts),
        "is_current": True,
    }
    return {**usual, **more, "git": {**git, **more.get("git", {})}}


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
        pytest.param(state(rollout(5, "good"), sync="OutOfSync"), None, id="good, and drifted since"),
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
        pytest.param(state(rollout(5, "failed")), ("failed", Exit.FAILED), id="nothing to go back to"),
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
        pytest.param(state(mode="held", rollout=BUSY), None, id="held while a rollback runs"),
    ],
)
def test_how_a_sync_ends(seen: dict[str, Any], expected: tuple[str, Exit] | None) -> None:
    """Look 3 was asked for when rollout 4 was the newest that had ended."""
    found = Sync(look=3, after=4).ending(seen)

    assert (found and (found.outcome, found.exit_code)) == expected


def test_a_commit_that_git_leaves_behind_is_superseded() -> None:
    """Also one that never began; but a good ending that was not asked about in time still counts."""
    sync = Sync(look=3, after=4)
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


def test_the_endings_say_what_failed() -> None:
    """The class, the message, where it went back to, and the rollout to look up."""
    found = Sync(look=3, after=4).ending(state(BACK, rollout(5, "failed", followed_by="staging#6")))

    assert found is not None
    assert found.message == "ddddddd failed (code): boom. Rolled back to oldoldo."
    assert found.rollout == "staging#5"


@pytest.mark.parametrize(
    ("rollouts", "is_asked", "expected"),
    [
        ([], True, None),
        ([rollout(4, "good", kind="rollback")], True, None),
        ([rollout(5, "good", kind="rollback", digest=OLD)], True, None),
        ([rollout(5, "in_progress", kind="rollback")], True, None),
        ([rollout(5, "good", kind="rollback")], True, Exit.OK),
        ([rollout(5, "failed", kind="rollback")], True, Exit.ROLLBACK_FAILED),
        ([rollout(5, "cancelled", kind="rollback")], True, Exit.TIMED_OUT),
        ([], False, Exit.OK),
    ],
)
def test_how_a_rollback_ends(rollouts: list[dict[str, Any]], is_asked: bool, expected: Exit | None) -> None:
    """Only a rollback to that release, begun after it was asked for, counts."""
    found = Rollback(target=D, after=4, is_asked=is_asked).ending(state(*rollouts))

    assert (found and found.exit_code) == expected


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
