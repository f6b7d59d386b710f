"""Why an environment is as it is: the policy line by line, which one decided, on what evidence.

Owns the reading of a published status for this question. Must not know how it is printed. Invariant: it
needs nothing but that status, so what it says is what the daemon decided, also while the daemon is down.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployer.core.decide import POLICY
from deployer.core.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PASSED_OVER, DECIDED, NOT_REACHED = "passed over", "decided", "not reached"
"""The marks of a line. The first line that fits decides, so those before it did not fit."""

GATED = 31
"""The line of the policy at which a deploy waits for a gate."""

_MOMENTS = 5
"""Of a rollout's timeline: the newest tell where it stands; `deployer status -o json` has the rest."""


def explain(view: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of `deployer explain -o json`, from that of `deployer status -o json`."""
    decided = view.get("policy") or {"line": 0, "seconds": None}
    return {
        "environment": view["environment"],
        "observed_at": view.get("observed_at"),
        "message": view["message"],
        "sync": view["sync"],
        "health": view["health"],
        "mode": view["mode"],
        "line": decided["line"] or None,
        "policy": [
            {
                "line": number,
                "condition": condition,
                "consequence": consequence,
                "mark": _mark(number, decided["line"]),
            }
            for number, (condition, consequence) in enumerate(POLICY, start=1)
        ],
        "evidence": [{"about": about, "says": says} for about, says in _evidence(view)],
        "looks_again_at": _again(view.get("observed_at"), decided["seconds"]),
        "looks_again_seconds": decided["seconds"],
    }


def _mark(number: int, decided: int) -> str:
    if number == decided:
        return DECIDED
    return PASSED_OVER if number < decided else NOT_REACHED


def _again(observed_at: str | None, seconds: float | None) -> str | None:
    """When it looks again at the latest; None if it does so at once, or never looked."""
    if observed_at is None or seconds is None:
        return None
    return timestamp(datetime.fromisoformat(observed_at) + timedelta(seconds=seconds))


def _evidence(view: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the decision was made on, most telling first."""
    wanted, live = view["wanted"], view["live"]
    yield "git wants", _release(wanted) if wanted else "nothing that can be deployed"
    yield "current", f"{_release(live)}, good since {live['release']}" if live else "no good release is live"
    git = view.get("git") or {}
    if git.get("seen_at") and view.get("observed_at"):
        age = datetime.fromisoformat(view["observed_at"]) - datetime.fromisoformat(git["seen_at"])
        yield "git", f"head last seen {max(0, round(age.total_seconds()))} s before that"
    if git.get("trouble"):
        yield "git", git["trouble"]
    if view["rollout"]:
        yield from _rollout(view["rollout"])
    failure = view.get("last_failure")
    if failure:
        yield "failed", f"{failure['rollout']} ({failure['class']}): {failure['message']}"
    for hold in view["held"]:
        yield "held", f"{hold['revision'][:7]} since {hold['since']}: {hold['reason']}"
    paused = view.get("paused")
    if paused:
        until = f"until {paused['until']}" if paused["until"] else "until somebody resumes it"
        yield "paused", f"by {paused['by']} {until}: {paused['reason']}"
    for gate in view.get("gates") or ():
        again = f" It may be another at {gate['next_check']}." if gate["next_check"] else ""
        yield "gate", f"{gate['name']} is {gate['verdict']}. {gate['evidence']}{again}"
    promotion = view.get("promotion")
    if promotion:
        yield "promotion", _promotion(promotion)
    drift = view.get("drift")
    if drift:
        yield "drift", f"{drift['class']} since {drift['since']}: {drift['message']}"
    starved = view.get("starved")
    if starved:
        tries = f"{starved['tries']} {'try' if starved['tries'] == 1 else 'tries'}"
        yield "no room", f"for {starved['digest'][:19]}, {tries}, the last one ended {starved['since']}"
    yield "cluster", _cluster(view)
    if view.get("foreign"):
        yield "foreign", f"{', '.join(view['foreign'])}: on this cluster, and not this environment's"


def _release(release: Mapping[str, Any]) -> str:
    tag = f"{release['tag']} " if release.get("tag") else ""
    name = f'{tag}{release["revision"][:7]} "{release["subject"]}"'
    return f"{name} by {release['author']} ({release['digest'][:19]})"


def _rollout(rollout: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    what = f"{rollout['id']} ({rollout['kind']}, {rollout['phase']})"
    yield "in flight", f"{what} since {rollout['started_at']}"
    for moment in rollout.get("timeline", [])[-_MOMENTS:]:
        yield "seen", f"{moment['at']}: {'; '.join(_state(state) for state in moment['states'])}"
    for check in rollout.get("checks", []):
        stands = {None: "not made yet", True: "passed", False: "not passed"}[check["passed"]]
        attempts = f" after {check['attempts']} attempts" if check["attempts"] > 1 else ""
        message = f": {check['message']}" if check["message"] else ""
        yield "check", f"{check['app']} {check['path']} {stands}{attempts}{message}"


def _promotion(promotion: Mapping[str, Any]) -> str:
    source = f" from {promotion['source']} ({promotion['rollout']})" if promotion["source"] else ""
    skipped = f", without waiting for {', '.join(promotion['skipped'])}" if promotion["skipped"] else ""
    how = {
        "asked": "is being pushed",
        "promoted": "was pushed",
        "proposed": "is in a pull request",
        "failed": "could not be pushed",
    }
    said = promotion["why"] or promotion.get("pull_request")
    what = f"{promotion['revision'][:7]}{source} {how.get(promotion['result'], promotion['result'])}"
    what = f"{what}{f': {said}' if said else ''}"
    return f"{what}, asked by {promotion['by']} at {promotion['at']}{skipped}"


def _state(state: Mapping[str, Any]) -> str:
    name = f"{state['app']}/{state['deployment']}" if state["deployment"] else state["app"]
    counts = f" {state['running']}/{state['target']}" if state["target"] is not None else ""
    failed = f", {state['failed_starts']} failed starts" if state["failed_starts"] else ""
    return f"{name} {state['status']}{counts}{failed}"


def _cluster(view: Mapping[str, Any]) -> str:
    cluster = view["cluster"]
    if cluster is None:
        return "not seen"
    apps = ", ".join(f"{app['name']} {app['status']}" for app in view["apps"]) or "no application"
    serve = "" if cluster["serve_started"] else ", Serve is not started"
    return f"Ray {cluster['ray_version']}{serve}: {apps}"
