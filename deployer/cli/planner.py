"""Puts a plan together: the two sides, and all that is asked beside them.

Owns which parts of a plan are asked for, and when. Must not judge any of it: that is `core`. Invariant: where
something cannot be asked, the plan says so and still has the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.cli.desk import LIVE, Side
from deployer.core import capacity, pinned, planning, sentences, way_back
from deployer.core.diff import diff
from deployer.core.live import Live
from deployer.core.types import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.cli.desk import Desk
    from deployer.core.diff import Diff
    from deployer.core.live import Observation
    from deployer.core.planning import Duration, Plan
    from deployer.core.record import Record
    from deployer.core.types import Release

RELEASE = "release"
"""Against the last good release, from the store: no cluster is asked."""

_HISTORY = 200
"""Rollouts that are looked back on for durations."""

_ASK_SECONDS = (3.05, 5.0)
"""To connect, and for an answer, of an address of code. A person waits."""

_ASKED = ("https://", "http://")
_GONE = frozenset({404, 410, 451})
"""What a server says of code that it has not any more. 403 may only mean that it does not like a HEAD, as for
presigned addresses; anything else may be a bad moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is planned (a ref, or a folder; neither is the branch that is followed), and against what."""

    ref: str | None = None
    folder: str | None = None
    against: str = LIVE


def plan(desk: Desk, environment: str, wish: Comparison) -> Plan:
    """The plan for one environment. Raises Failure if a side cannot be read."""
    record = desk.record(environment)
    remarks: list[str] = []
    seen: Observation | None = None
    if wish.against == LIVE:
        # First, because the schema that the new config is read with is that of the cluster's Ray.
        seen = desk.look(environment)
    new = desk.side(wish.folder, environment) if wish.folder else desk.ref(environment, wish.ref)
    remarks += new.notes
    old = _against(desk, environment, wish.against, record, new, remarks)
    assert new.release is not None  # noqa: S101 - for mypy: refs and files are releases
    live = seen if isinstance(seen, Live) else None
    schema = desk.schema(environment, new.policy.ray_version if new.policy else None)
    ray = live.ray_version if live else schema.ray_version
    found = diff(old.body, new.body, ray)
    policy = new.policy or Policy()
    served = planning.served(found, old.body, new.body, live, ray)
    neighbours = desk.neighbours(environment)
    if live is not None and new.policy is not None and new.policy.ray_version is not None:
        remarks += _other_ray(new.policy.ray_version, live.ray_version)
    return planning.Plan(
        environment=environment,
        wanted=new.label,
        against=old.label,
        digest=planning.digest(environment, new.release.digest, found, served),
        config_digest=new.release.digest,
        ray_version=ray,
        diff=found,
        availability=served,
        capacity=capacity.capacity(found, old.body, new.body, live, ray) if found.lines else None,
        duration=_duration(desk, environment, new.release),
        way_back=_way_back(desk, environment, record, new.release, policy, live) if found.lines else None,
        gates=planning.gates(
            new.release,
            policy,
            record,
            live,
            desk.now,
            neighbours,
            {name: desk.record(name) for name in desk.settings.environments if name != environment},
        )
        if found.lines
        else (),
        drift=planning.drifted(live, record),
        remarks=tuple(remarks),
    )


def _against(
    desk: Desk, environment: str, against: str, record: Record, new: Side, remarks: list[str]
) -> Side:
    if against == LIVE:
        seen = desk.look(environment)
        if isinstance(seen, Live):
            return desk.live(environment, new)
        remarks.append(f"{sentences.sentence(seen.why)} Compared with the last good release instead.")
        against = RELEASE
    if against == RELEASE:
        if record.good is None:
            return Side(label="nothing", body={**_top_of(new), "applications": []})
        return Side(label=sentences.name(record.good), body=record.good.config.body(), release=record.good)
    return desk.side(against, environment)


def _top_of(side: Side) -> Mapping[str, object]:
    return {key: value for key, value in side.body.items() if key != "applications"}


def _other_ray(pinned_version: str, runs: str) -> list[str]:
    if runs == pinned_version or runs.startswith(f"{pinned_version}."):
        return []
    which = f"environment.yaml says Ray {pinned_version}, the cluster runs {runs}"
    return [f"{which}: the config is checked for the first."]


def _duration(desk: Desk, environment: str, wanted: Release) -> Duration | None:
    if desk.store is None:
        return None
    entries = desk.store.history(environment, limit=_HISTORY)
    good = {
        one.rollout: frozenset(one.release.config.applications())
        for one in desk.store.good_releases(environment)
    }
    return planning.duration(entries, good, frozenset(wanted.config.applications()))


def _way_back(
    desk: Desk, environment: str, record: Record, wanted: Release, policy: Policy, live: Live | None
) -> way_back.WayBack:
    good = record.good
    faults = [] if good is None else [*desk.schema(environment, None).faults(good.config.body())]
    back: Diff | None = None
    if good is not None and live is not None:
        back = diff(wanted.config.body(), good.config.body(), live.ray_version)
    dead, silent = ({}, {}) if good is None else _answers(good)
    return way_back.way_back(
        record,
        wanted,
        policy,
        live=live,
        faults=faults,
        dead=dead,
        silent=silent,
        fits=None
        if back is None or good is None or live is None
        else capacity.capacity(back, wanted.config.body(), good.config.body(), live, live.ray_version),
    )


def _answers(release: Release) -> tuple[dict[str, str], dict[str, str]]:
    """The addresses of the release's code that have nothing any more, and those that do not answer, with why.

    Only http(s) can be asked without the cluster's own credentials; s3, gs and the like cannot.
    """
    apps = release.config.applications().values()
    uris = {uri for app in apps for _, uri in pinned.addresses(app) if uri.startswith(_ASKED)}
    if not uris:
        return {}, {}
    import requests

    dead, silent = {}, {}
    with requests.Session() as session:
        # No credentials of the person's go to an address that a config names.
        session.trust_env = False
        for uri in sorted(uris):
            try:
                answer = session.head(uri, timeout=_ASK_SECONDS, allow_redirects=True)
            except requests.RequestException as error:
                silent[uri] = type(error).__name__
                continue
            if answer.status_code in _GONE:
                dead[uri] = f"{answer.status_code} {answer.reason}"
    return dead, silent
