"""Whose is what the cluster runs: this rollout's, somebody else's, or from before?

Owns the proof that a status belongs to our PUT, and the list of what has to be gone after it. Must not decide
what follows. Invariant: in doubt it is not ours, because repeating an identical PUT restarts nothing,
while trusting a stale status would call a broken release good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.body import applications
from deployer.core.compare import code_version, first_difference, matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.live import Deployment, Live
    from deployer.core.record import Rollout
    from deployer.core.types import Release


def not_ours(live: Live, rollout: Rollout, *, strict: bool) -> str | None:
    """Why what the cluster reports is not what this rollout sent; None if it is.

    Ours means: each application shows a `last_deployed_time_s` other than before the PUT, all the same
    one (each PUT stamps every application it lists, 100 of 100 measured on 2.60), and the config sent.
    `strict` also demands that no key of ours is missing there, which alone proves a PUT after a crash. A
    release without applications leaves nothing on the cluster that could prove it.
    """
    listed = applications(rollout.release, rollout.nonce)
    if not listed:
        return "a release without applications leaves no trace" if strict else None
    stamps = set()
    for name, sent in listed.items():
        app = live.apps.get(name)
        if app is None:
            return f"{name} is not on the cluster"
        if app.last_deployed_time_s == rollout.before.get(name):
            return f"{name} still shows the deploy before ours"
        if app.source == "imperative":
            return f"{name} was taken over by `serve run`"
        if not matches(sent, app.config, strict=strict):
            where = first_difference(sent, app.config or {}, strict=strict)
            return f"{name} shows another config than the one sent ({where})"
        stamps.add(app.last_deployed_time_s)
    return None if len(stamps) == 1 else "the applications were not deployed together"


def deployed_times(live: Live) -> Mapping[str, float]:
    """Each application's stamp now: a status is newer than a PUT only if its stamp is not one of these."""
    return {name: app.last_deployed_time_s for name, app in live.apps.items()}


def starting(live: Live) -> Mapping[str, int]:
    """How many replicas of each deployment (`app/deployment`) are starting now, where Serve tells of trouble.

    When one of them fails after the next PUT, Serve counts it as a failed start of the version that the PUT
    brought, with the error of the one before (read in 2.60's source, and met on a loaded machine). Between
    two tries there may be none for a moment. 0 is a deployment that only still says what went wrong.
    """
    return {
        f"{app.name}/{deployment.name}": max(_starting(deployment), int(deployment.status == "UPDATING"))
        if deployment.message
        else _starting(deployment)
        for app in live.apps.values()
        for deployment in app.deployments
        if deployment.message or _starting(deployment)
    }


def _starting(deployment: Deployment) -> int:
    return sum(replica.state == "STARTING" for replica in deployment.replicas)


def leaving(
    live: Live, good: Release, release: Release, *, good_nonce: str = "", nonce: str = ""
) -> tuple[str, ...]:
    """The replicas that run the code of `good` and must be gone when the rollout of `release` is done.

    Those of applications in both, whose code changes, and that the cluster runs as `good` says: of others
    nobody knows what they run. The nonces are those that the two are sent with.
    """
    after = applications(release, nonce)
    return tuple(
        replica.replica_id
        for name, before in applications(good, good_nonce).items()
        if name in after and code_version(before) != code_version(after[name])
        if (app := live.apps.get(name)) is not None and matches(before, app.config, strict=False)
        for deployment in app.deployments
        for replica in deployment.replicas
    )
