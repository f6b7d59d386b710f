"""Whose is what the cluster runs: this rollout's, somebody else's, or from before?

Owns the proof that a status belongs to our PUT, and the list of what a PUT would delete. Must not decide
what follows. Invariant: in doubt it is not ours, because repeating an identical PUT restarts nothing,
while trusting a stale status would call a broken release good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.compare import first_difference, matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.live import Live
    from deployer.core.record import Record, Rollout
    from deployer.core.types import Release


def not_ours(live: Live, rollout: Rollout, *, strict: bool) -> str | None:
    """Why what the cluster reports is not what this rollout sent; None if it is.

    Ours means: each application shows a `last_deployed_time_s` other than before the PUT, all the same
    one (each PUT stamps every application it lists, 100 of 100 measured on 2.60), and the config sent.
    `strict` also demands that no key of ours is missing there, which alone proves a PUT after a crash.
    """
    stamps = set()
    for name, sent in rollout.release.config.applications().items():
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


def foreign_apps(live: Live, record: Record, release: Release) -> tuple[str, ...]:
    """Declarative applications that a PUT of `release` would delete although this environment never put them.

    A PUT deletes every declarative application that it does not list; imperative ones (`serve run`) stay
    (measured, 2.60).
    """
    ours = release.config.applications().keys() | record.apps
    return tuple(
        sorted(
            name
            for name, app in live.apps.items()
            if name not in ours and app.source != "imperative" and app.status != "DELETING"
        )
    )


def deployed_times(live: Live) -> Mapping[str, float]:
    """Each application's stamp now: a status is newer than a PUT only if its stamp is not one of these."""
    return {name: app.last_deployed_time_s for name, app in live.apps.items()}
