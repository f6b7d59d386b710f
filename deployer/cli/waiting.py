"""When is it over, and how did it end? For commands that wait, as CI does.

Owns the reading of a status for this question, and the exit codes of the endings. Must not know how a status
is got or printed. Invariant: an ending is told only from facts that came after the wish, or that still hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from deployer.cli.main import Exit

_LOST_AT = frozenset({29})
"""The line of the policy at which what git wants needs another commit: it removes most applications."""

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

    `look` is the look at git after which it is known which commit that is; `after` the number of the newest
    rollout that had ended when it was asked.
    """

    look: int
    after: int
    target: str | None = None
    revision: str = ""

    def ending(self, state: dict[str, Any]) -> Ending | None:
        """How it ended, by the daemon's status of now; None if it goes on."""
        git = state["git"]
        if self.target is None:
            if git["looks"] < self.look:
                return None
            if git["trouble"] or git["digest"] is None:
                return _not_known(git)
            self.target, self.revision = git["digest"], git["revision"]
        attempt = _newest(state, "deploy", self.target)
        if attempt is not None and attempt["result"] == "in_progress":
            return None
        # What was published before the last event, or for another commit, answers nothing.
        is_current = state["is_current"] and git["digest"] == self.target
        is_at_rest = is_current and state["rollout"] is None
        if is_at_rest and state["sync"] == "Synced":
            return self._end("good", Exit.OK, state["message"], attempt)
        if attempt is not None and self._counts(attempt, is_held=is_current and state["mode"] == "held"):
            return self._of_attempt(attempt, state, is_at_rest=is_at_rest)
        if git["digest"] != self.target:
            now = f"git wants {_short(git['revision'])} now" if git["digest"] else str(git["problem"])
            return self._end("superseded", Exit.TIMED_OUT, f"{_short(self.revision)} was overtaken: {now}.")
        if is_at_rest and (state["mode"] in {"held", "paused"} or state["policy"]["line"] in _LOST_AT):
            return self._end("refused", Exit.REFUSED, state["message"])
        return None

    def _counts(self, attempt: dict[str, Any], *, is_held: bool) -> bool:
        """Whether how this attempt ended is the answer: it was made since, or no other one will be made."""
        if attempt["result"] == "good":
            return False
        return _number(attempt) > self.after or (attempt["result"] == "failed" and is_held)

    def _of_attempt(
        self, attempt: dict[str, Any], state: dict[str, Any], *, is_at_rest: bool
    ) -> Ending | None:
        what = _short(self.revision)
        if attempt["result"] in {"superseded", "cancelled"}:
            by = attempt["superseded_by"]
            how = f"was overtaken by {_short(by)}" if by else "was cancelled by a person"
            return self._end("superseded", Exit.TIMED_OUT, f"{what} {how}.", attempt)
        why = f"{what} failed ({attempt['failure']['class']}): {attempt['failure']['message']}"
        back = next((one for one in state["rollouts"] if one["id"] == attempt["followed_by"]), None)
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
    """Waits until a rollback has ended. `is_asked` is False if nothing had to be done."""

    target: str
    after: int
    is_asked: bool

    def ending(self, state: dict[str, Any]) -> Ending | None:
        """How it ended, by the daemon's status of now; None if it goes on."""
        attempt = _newest(state, "rollback", self.target)
        if attempt is None or _number(attempt) <= self.after:
            is_there = state["rollout"] is None and not self.is_asked
            return Ending(outcome="good", exit_code=Exit.OK, message=state["message"]) if is_there else None
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


@dataclass(slots=True)
class Progress:
    """Which states are worth a line: another message or phase, but not another figure in the same words."""

    _last: str = field(default="")

    def line(self, state: dict[str, Any]) -> str | None:
        """The line to print, if this state is news: not what was before, with nothing in flight."""
        if not state["is_current"] and not state["rollout"]:
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


def _newest(state: dict[str, Any], kind: str, digest: str) -> dict[str, Any] | None:
    return next(
        (one for one in state["rollouts"] if one["kind"] == kind and one["release"]["digest"] == digest),
        None,
    )


def _number(rollout: dict[str, Any]) -> int:
    return int(rollout["id"].rpartition("#")[2])


def _short(commit: str) -> str:
    return commit[:7]
