"""What was live at a moment as it is told: sentences for people, JSON for programs.

Owns the wording, and the names of the fields. Must not add to what `past` and `provenance` found.
Invariant: a sentence is one line, with times in UTC and no value of a config; fields of the JSON are added,
none changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from deployer.core import history
from deployer.core.events import Kind
from deployer.core.past import Standing
from deployer.core.record import Result
from deployer.core.redact import one_line
from deployer.core.sentences import moment
from deployer.core.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.history import Entry, Summary
    from deployer.core.past import Attempt, Live, Past, WayBack
    from deployer.core.provenance import Approval, Go, Promotion, Provenance, Skip

_A = {
    Kind.DEPLOY: "a deploy",
    Kind.ROLLBACK: "a rollback",
    Kind.RESTORE: "a restore",
    Kind.HEAL: "a heal",
}

_TRIGGERS = {
    "push": "Set off by a push of",
    "asked for": "Asked for by",
    "drift": "The cluster had drifted: set off by",
}
"""Why a rollout began, by `Started.trigger`. Any other is a sentence itself: `staging#3 failed`."""

_SHORT_DIGEST = 19
"""Characters: `sha256:` and twelve digits."""


def told(past: Past, who: Provenance | None) -> list[str]:
    """The answer in sentences, the most important first. `who` is of the live release, if that is known."""
    return [one_line(says) for says in _told(past, who)]


def to_json(past: Past, who: Provenance | None) -> dict[str, Any]:
    """As docs/json.md describes it."""
    live = past.live
    return {
        "environment": past.environment,
        "at": timestamp(past.at),
        "says": told(past, who),
        "live": _live_json(past, live) if live is not None else None,
        "attempt": _attempt_json(past.attempt) if past.attempt is not None else None,
        "good": _good_json(past.good) if past.good is not None else None,
        "first_at": timestamp(past.first_at),
        "brought_by": _who_json(who) if who is not None else None,
    }


# --- sentences ---------------------------------------------------------------------------------------------


def _told(past: Past, who: Provenance | None) -> Iterator[str]:
    live = past.live
    if live is None:
        yield _nothing(past)
    else:
        yield from _of_live(past, live)
        yield _stood(live)
        yield _set_off(live.rollout)
        yield from _brought(live.rollout, who)
    if past.attempt is not None:
        yield _attempted(past.attempt)
    if live is not None:
        yield from _way_back(live, past.good)


def _nothing(past: Past) -> str:
    name = past.environment
    if past.first_at is None:
        return f"Nothing was deployed to {name} before {moment(past.at)}, nor has been since."
    asked = f"nothing was live at {moment(past.at)}"
    return f"Nothing was deployed to {name} before {moment(past.first_at)}, so {asked}."


def _of_live(past: Past, live: Live) -> Iterator[str]:
    one = live.rollout
    what = f"{_name(one.release)} by {one.release.author} ({one.release.digest[:_SHORT_DIGEST]})"
    yield f"Live in {past.environment} at {moment(past.at)}: {what}."
    brought = f"{one.id}, {_A[one.kind]}, brought it at {moment(live.since)}"
    if past.following is None or past.until is None:
        yield f"{brought}, and it is live still."
    else:
        yield f"{brought}, and {past.following.id} took its place at {moment(past.until)}."
    if live.release_since != live.since:
        yield f"The same release had been there since {moment(live.release_since)}, and no other in between."


def _stood(live: Live) -> str:
    """How it stood by then; of one that was on its way, also how it ended."""
    one = live.rollout
    ended = moment(one.finished_at) if one.finished_at is not None else ""
    match live.standing:
        case Standing.GOOD:
            return f"It was good, since {ended}."
        case Standing.JUDGING:
            return f"It was being judged, and was not good yet. {_became(one)}"
        case Standing.FAILING:
            return f"It was failing: {live.seen.rstrip('.')}. {_became(one)}"
        case Standing.FAILED:
            return f"It had failed at {ended}{_why(one)}"
        case Standing.ROLLING_BACK:
            return f"It had failed at {ended}, and was being rolled back{_why(one)}"
        case Standing.SUPERSEDED:
            return f"It had been overtaken at {ended}, and was not good yet."
        case Standing.CANCELLED:
            return f"It had been ended by a person at {ended}, and was not good yet."
        case _:
            assert_never(live.standing)


def _became(one: Entry) -> str:
    if one.finished_at is None:
        return "It is on its way still."
    when = f"at {moment(one.finished_at)}"
    match one.result:
        case Result.GOOD:
            return f"It became good {when}."
        case Result.FAILED:
            return f"It failed {when}{_why(one)}"
        case Result.SUPERSEDED:
            return f"It was overtaken {when}."
        case _:
            return f"It was ended by a person {when}."


def _why(one: Entry) -> str:
    return f": {one.failure.message.rstrip('.')}." if one.failure is not None else "."


def _attempted(attempt: Attempt) -> str:
    one = attempt.rollout
    begun = f"{one.id}, {_A[one.kind]} of {_name(one.release)}, had begun at {moment(one.started_at)}"
    if attempt.result is Result.IN_PROGRESS:
        return f"{begun}, and the cluster had not taken it yet."
    ends = {Result.FAILED: "failed", Result.SUPERSEDED: "was overtaken", Result.CANCELLED: "was ended"}
    how = ends.get(attempt.result, attempt.result.value)
    why = _why(one) if attempt.result is Result.FAILED else "."
    return f"{begun} and {how} before the cluster took it{why}"


def _way_back(live: Live, good: WayBack | None) -> Iterator[str]:
    """The good release, unless that is plain: the live rollout had made it so itself."""
    if good is None:
        yield "No release had been good before, so there was no way back."
        return
    made = f", which {good.rollout} had made good at {moment(good.at)}" if good.rollout and good.at else ""
    if good.release.digest != live.rollout.release.digest:
        yield f"The good release, and so the way back, was {_name(good.release)}{made}."
    elif good.rollout != live.rollout.id:
        yield f"The release was the good one already{made}."


def _set_off(one: Entry) -> str:
    begin = _TRIGGERS.get(one.trigger, f"Set off because {one.trigger}, by")
    return f"{begin} {one.actor}{_because(one.reason)}."


def _brought(live: Entry, who: Provenance | None) -> Iterator[str]:
    if who is not None and who.deploy.id != live.id:
        deploy = who.deploy
        began = f"{deploy.id}, a deploy that began at {moment(deploy.started_at)}"
        yield f"{began}, first brought the release. {_set_off(deploy)}"
    yield from _committed(live.release)
    if who is None:
        return
    if who.promotion is not None:
        yield _promoted(who.promotion)
    if who.go is not None:
        yield f"{who.go.actor} wanted it deployed, at {moment(who.go.at)}{_because(who.go.reason)}."
    yield from (_skipped(one) for one in who.skips)
    yield from (_approved(one) for one in who.approvals)
    if not who.approvals:
        yield "The log has no approval of it."


def _committed(release: Summary) -> Iterator[str]:
    """Who had a part in the commit beside its author."""
    if release.committer not in {"", release.author}:
        yield f"The commit was made by {release.committer}."
    if release.co_authors:
        yield f"Its co-authors are {', '.join(release.co_authors)}."


def _promoted(one: Promotion) -> str:
    where = f" from {one.source}, where {one.rollout} had proved it" if one.source else ""
    how = f", by pull request #{one.pull_request}" if one.pull_request is not None else ""
    return f"{one.actor} promoted it{where}{how}, at {moment(one.at)}{_because(one.reason)}."


def _skipped(one: Skip) -> str:
    gates = ", ".join(one.gates)
    return f"{one.actor} had {gates} skipped for it, at {moment(one.at)}{_because(one.reason)}."


def _approved(one: Approval) -> str:
    return f"{one.actor} approved it, at {moment(one.at)}{_because(one.reason)}."


def _because(reason: str) -> str:
    return f": {reason.rstrip('.')}" if reason else ""


def _name(release: Summary) -> str:
    return f'{release.revision[:7]} "{release.subject}"'


# --- JSON --------------------------------------------------------------------------------------------------


def _live_json(past: Past, live: Live) -> dict[str, Any]:
    one = history.to_json(live.rollout)
    return {
        "rollout": one["id"],
        **{name: one[name] for name in ("kind", "release", "trigger", "actor", "reason", "started_at")},
        "since": timestamp(live.since),
        "until": timestamp(past.until),
        "followed_by": past.following.id if past.following is not None else None,
        "release_since": timestamp(live.release_since),
        "standing": live.standing.value,
        "seen": live.seen or None,
        **{name: one[name] for name in ("result", "finished_at", "failure")},
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    one = history.to_json(attempt.rollout)
    is_over = attempt.result is not Result.IN_PROGRESS
    return {
        "rollout": one["id"],
        **{name: one[name] for name in ("kind", "release", "started_at")},
        "standing": attempt.result.value,
        "failure": one["failure"] if is_over else None,
    }


def _good_json(good: WayBack) -> dict[str, Any]:
    release = good.release
    return {
        "rollout": good.rollout,
        "revision": release.revision,
        "digest": release.digest,
        "subject": release.subject,
        "author": release.author,
        "at": timestamp(good.at),
    }


def _who_json(who: Provenance) -> dict[str, Any]:
    deploy = history.to_json(who.deploy)
    release = deploy["release"]
    return {
        "rollout": deploy["id"],
        **{name: deploy[name] for name in ("trigger", "started_at")},
        **{name: release[name] for name in ("author", "committer", "co_authors")},
        "approvals": [_approval_json(one) for one in who.approvals],
        "skipped": [
            {"gates": list(one.gates), "actor": one.actor, "at": timestamp(one.at), "reason": one.reason}
            for one in who.skips
        ],
        "wanted_by": _go_json(who.go) if who.go is not None else None,
        "promotion": _promotion_json(who.promotion) if who.promotion is not None else None,
    }


def _approval_json(one: Approval) -> dict[str, Any]:
    return {
        "actor": one.actor,
        "at": timestamp(one.at),
        "reason": one.reason,
        "plan": one.plan,
        "review": one.review or None,
    }


def _go_json(one: Go) -> dict[str, Any]:
    return {"actor": one.actor, "at": timestamp(one.at), "reason": one.reason}


def _promotion_json(one: Promotion) -> dict[str, Any]:
    return {
        "source": one.source or None,
        "rollout": one.rollout or None,
        "revision": one.commits[0],
        "actor": one.actor,
        "at": timestamp(one.at),
        "reason": one.reason,
        "result": one.result.value,
        "ended_at": timestamp(one.ended_at),
        "pull_request": one.url,
    }
