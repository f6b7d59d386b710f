"""When is it over, and how did it end? For commands that wait, as CI does.

Owns the reading of a status for this question, and the exit codes of the endings. Must not know how a status
is got or printed. Invariant: an ending is told only from facts that came after the wish, or that still hold,
and only when the status shows it: what is seen last stays on the screen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from deployer.cli.main import Exit

_LIVE, _STALLED, _REMOVES, _GATED = 25, 28, 29, 31
"""Lines of the policy: git wants what is live; the last rollout failed and a person has to act; what git
wants removes most applications, and needs another commit; a gate is closed."""

_FIGURES = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How it ended. `outcome` is one word for scripts."""

    outcome: str
    exit_code: Exit
    message: str
    rollout: str | None = None


@dataclass(slots=True, kw_only=True)
class Sync:
    """Waits until git's newest commit is good here, or certainly will not be.

    `look` is the look at git after which it is known which commit that is, `pass_number` the first pass that
    began after the wish: both as the daemon `instance` counts them. `after` is the number of the newest
    rollout that had ended when it was asked.
    """

    instance: str
    look: int
    pass_number: int
    after: int
    target: str | None = None
    revision: str = ""

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Sync:
        """Wait for what the daemon accepted."""
        return cls(
            instance=answer["instance"],
            look=answer["look"],
            pass_number=answer["pass_number"],
            after=answer["after"],
        )

    def is_answered_by(self, state: dict[str, Any]) -> bool:
        """Whether the daemon that was asked still runs. Another one knows nothing of it, and counts anew."""
        return bool(state["instance"] == self.instance)

    def ask_again(self, answer: dict[str, Any]) -> None:
        """Go on with what a daemon that was started since has accepted; what was asked for stays."""
        self.instance, self.look, self.pass_number = (
            answer["instance"],
            answer["look"],
            answer["pass_number"],
        )

    def ending(self, state: dict[str, Any]) -> Ending | None:
        """How it ended, by the status that the daemon `instance` tells now; None if it goes on."""
        git = state["git"]
        if git["looks"] < self.look:
            # It has not read git since; just started, it does not even know what git wants.
            return None
        if self.target is None:
            if git["trouble"] or git["digest"] is None:
                return _not_known(git)
            self.target, self.revision = git["digest"], git["revision"]
        attempt = _newest(state, "deploy", self.target)
        if (attempt is not None and attempt["result"] == "in_progress") or _is_behind(state):
            return None
        is_wanted = git["digest"] == self.target
        # What was published before the last event, for another commit, or was seen before it was asked for,
        # answers nothing.
        is_seen = state["is_current"] and state["pass_number"] >= self.pass_number
        is_current = is_wanted and is_seen
        is_at_rest = is_current and state["rollout"] is None
        if is_at_rest and (state["sync"], state["health"]) == ("Synced", "Healthy"):
            return self._end("good", Exit.OK, state["message"], attempt)
        needs_a_person = is_current and (state["mode"] == "held" or _is_stalled(state))
        if attempt is not None and self._counts(attempt, is_last=needs_a_person):
            return self._of_attempt(attempt, state, is_at_rest=is_at_rest)
        if not is_wanted and git["digest"] is None and git["trouble"]:
            # A daemon that was started meanwhile cannot read it.
            return None
        if not is_wanted:
            now = f"git wants {_short(git['revision'])} now" if git["digest"] else str(git["problem"])
            return self._end("superseded", Exit.TIMED_OUT, f"{_short(self.revision)} was overtaken: {now}.")
        return self._left_as_it_is(state) if is_at_rest else None

    def _left_as_it_is(self, state: dict[str, Any]) -> Ending | None:
        """The ending where the daemon does nothing about it; None where it does, or Serve does by itself."""
        line = state["policy"]["line"]
        if state["mode"] in {"held", "paused"} or _is_stalled(state) or line in {_REMOVES, _GATED}:
            return self._end("refused", Exit.REFUSED, state["message"])
        if line == _LIVE and state["sync"] == "OutOfSync":
            # It drifted, and the policy or the budget forbids the heal.
            return self._end("failed", Exit.FAILED, state["message"])
        return None

    def _counts(self, attempt: dict[str, Any], *, is_last: bool) -> bool:
        """Whether how this attempt ended is the answer: it was made since, or no other one will be made."""
        if attempt["result"] == "good":
            return False
        return _number(attempt) > self.after or (attempt["result"] == "failed" and is_last)

    def _of_attempt(
        self, attempt: dict[str, Any], state: dict[str, Any], *, is_at_rest: bool
    ) -> Ending | None:
        what = _short(self.revision)
        if attempt["result"] in {"superseded", "cancelled"}:
            by = attempt["superseded_by"]
            how = f"was overtaken by {_short(by)}" if by else "was cancelled by a person"
            return self._end("superseded", Exit.TIMED_OUT, f"{what} {how}.", attempt)
        why = f"{what} failed ({attempt['failure']['class']}): {attempt['failure']['message']}"
        back = _way_back(state, attempt)
        if back is None:
            # Where the cluster cannot be seen, the rollback has yet to begin.
            if is_at_rest and state["sync"] != "Unknown":
                return self._end("failed", Exit.FAILED, f"{why}. {state['message']}", attempt)
            return None
        if back["result"] == "in_progress":
            return None
        to = _short(back["release"]["revision"])
        if back["result"] == "good":
            return self._end("rolled_back", Exit.ROLLED_BACK, f"{why}. Rolled back to {to}.", attempt)
        if back["result"] == "failed":
            also = f"the rollback to {to} failed too: {back['failure']['message']}"
            return self._end("rollback_failed", Exit.ROLLBACK_FAILED, f"{why}; {also}", attempt)
        return self._end("superseded", Exit.TIMED_OUT, f"{why}; a person cancelled {back['id']}.", attempt)

    @staticmethod
    def _end(outcome: str, exit_code: Exit, message: str, attempt: dict[str, Any] | None = None) -> Ending:
        return Ending(
            outcome=outcome, exit_code=exit_code, message=message, rollout=attempt["id"] if attempt else None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """Waits until a rollback has ended. `is_asked` is False if nothing had to be done.

    What comes of the wish has a higher number than `after`.
    """

    target: str
    after: int
    is_asked: bool

    def ending(self, state: dict[str, Any]) -> Ending | None:
        """How it ended, by the daemon's status of now; None if it goes on."""
        attempt = _newest(state, "rollback", self.target)
        if _is_behind(state):
            return None
        if attempt is None or _number(attempt) <= self.after:
            return self._not_begun(state)
        id_, to = attempt["id"], _short(attempt["release"]["revision"])
        match attempt["result"]:
            case "in_progress":
                return None
            case "good":
                return Ending(outcome="good", exit_code=Exit.OK, message=f"{to} is live again.", rollout=id_)
            case "failed":
                message = f"The rollback to {to} failed: {attempt['failure']['message']}"
                return Ending(
                    outcome="rollback_failed", exit_code=Exit.ROLLBACK_FAILED, message=message, rollout=id_
                )
            case _:
                message = f"The rollback to {to} was ended by another command."
                return Ending(outcome="superseded", exit_code=Exit.TIMED_OUT, message=message, rollout=id_)

    def _not_begun(self, state: dict[str, Any]) -> Ending | None:
        if not self.is_asked:
            is_there = state["rollout"] is None
            return Ending(outcome="good", exit_code=Exit.OK, message=state["message"]) if is_there else None
        others = (one for one in state["rollouts"] if one["kind"] == "rollback")
        other = next((one for one in others if _number(one) > self.after), None)
        if other is None:
            return None
        message = f"Another rollback, {other['id']} to {_short(other['release']['revision'])}, came first."
        return Ending(
            outcome="superseded", exit_code=Exit.TIMED_OUT, message=message, rollout=str(other["id"])
        )


@dataclass(slots=True)
class Progress:
    """Which states are worth a line: another message or phase, but not another figure in the same words."""

    _last: str = field(default="")

    def line(self, state: dict[str, Any]) -> str | None:
        """The line to print, if this state is news: not what was before, with nothing in flight."""
        if not state.get("is_current", True) and not state["rollout"]:
            return None
        phase = f"{state['rollout']['phase']}: " if state["rollout"] else ""
        text = f"{phase}{state['message']}"
        shape = _FIGURES.sub("0", text)
        if shape == self._last:
            return None
        self._last = shape
        return text


def timed_out(state: dict[str, Any] | None, waited: str) -> Ending:
    """It has not ended in time. The daemon goes on with it."""
    last = state["message"] if state else "The daemon does not answer."
    message = f"Not over after {waited}; the daemon goes on. Last: {last}"
    return Ending(outcome="timed_out", exit_code=Exit.TIMED_OUT, message=message)


def _not_known(git: dict[str, Any]) -> Ending:
    """Git could not be read, or says nothing that can be deployed."""
    is_invalid = not git["trouble"] and git["revision"] is not None
    return Ending(
        outcome="invalid" if is_invalid else "failed",
        exit_code=Exit.INVALID_CONFIG if is_invalid else Exit.FAILED,
        message=str(git["trouble"] or git["problem"]),
    )


def _is_behind(state: dict[str, Any]) -> bool:
    """Whether what was published still has a rollout in flight that has ended: a pass tells it in a moment.

    The end is made durable first, and published by the look after it.
    """
    if state["rollout"] is None:
        return False
    id_ = state["rollout"]["id"]
    return any(one["id"] == id_ and one["result"] != "in_progress" for one in state["rollouts"])


def _is_stalled(state: dict[str, Any]) -> bool:
    """Whether nothing more is tried until a person acts. Where git wants what is live, Serve goes on."""
    return bool(state["policy"]["line"] == _STALLED and state["sync"] == "OutOfSync")


def _way_back(state: dict[str, Any], attempt: dict[str, Any]) -> dict[str, Any] | None:
    """The rollback that answered a failure: the daemon's own, or that of a person who was faster."""
    later = [
        one for one in state["rollouts"] if one["kind"] == "rollback" and _number(one) > _number(attempt)
    ]
    return next((one for one in later if one["id"] == attempt["followed_by"]), later[-1] if later else None)


def _newest(state: dict[str, Any], kind: str, digest: str) -> dict[str, Any] | None:
    return next(
        (one for one in state["rollouts"] if one["kind"] == kind and one["release"]["digest"] == digest),
        None,
    )


def _number(rollout: dict[str, Any]) -> int:
    return int(rollout["id"].rpartition("#")[2])


def _short(commit: str) -> str:
    return commit[:7]
