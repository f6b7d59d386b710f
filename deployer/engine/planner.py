"""Puts a plan together: the two sides, and all that is asked beside them.

Owns which parts of a plan are asked for, and when. Must not judge any of it: that is `core`. Invariant: where
something cannot be asked, the plan says so and still has the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from deployer.core import capacity, effect, pinned, planning, sentences, way_back
from deployer.core.diff import diff
from deployer.core.live import Live
from deployer.core.types import Policy, Release

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.commands import GoodRelease
    from deployer.core.diff import Diff
    from deployer.core.gates import Gating
    from deployer.core.history import Entry
    from deployer.core.live import Observation
    from deployer.core.planning import Duration, Plan
    from deployer.core.record import Record
    from deployer.core.serve_schema import Schema

LIVE: Final = "live"
"""Against what the cluster last received, and runs."""

RELEASE: Final = "release"
"""Against the last good release, from the store: no cluster is asked."""

_ASK_SECONDS = (3.05, 5.0)
"""To connect, and for an answer, of an address of code. A person waits."""

_ASK_ALL_SECONDS = 6.0
"""For all addresses, however slowly they answer: somebody may wait for this plan to go back."""

_ASKED_NOW = threading.BoundedSemaphore(8)
"""Addresses that are asked at one time by everybody. One that sends a byte now and then keeps its place for
as long as it likes, so there are few places, and nobody waits for them longer than for an answer."""

_REDIRECTS = 5
"""What a release's archive usually has is one."""

_ASKED = ("https://", "http://")
_GONE = frozenset({404, 410, 451})
"""What a server says of code that it has not any more. 403 may only mean that it does not like a HEAD, as for
presigned addresses; anything else may be a bad moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison.

    `label` is what people call it, `body` the PUT body that it is. `release` and `policy` are None for what
    is none, such as the cluster.
    """

    label: str
    body: Mapping[str, Any] = field(repr=False)
    release: Release | None = None
    policy: Policy | None = None
    notes: tuple[str, ...] = ()


class Desk(Protocol):
    """What a plan is made at: everything that is looked up for it."""

    @property
    def now(self) -> datetime:
        """The time of the plan."""

    def record(self, environment: str) -> Record:
        """What is known of an environment; an empty record if nothing is."""

    def look(self, environment: str) -> Observation:
        """The cluster of an environment, with its free resources; of one plan always the same look."""

    def address(self, environment: str) -> str:
        """Where that cluster is, for people."""

    def schema(self, environment: str, pinned: str | None) -> Schema:
        """The schema of this Ray; for None that of the cluster, if it was looked at."""

    def neighbours(self, environment: str) -> Mapping[str, str]:
        """The applications of the other environments on the same cluster, with their environment."""

    def upstream(self, environment: str, digest: str) -> Mapping[str, Record]:
        """The records of the other environments in which this digest may be held."""

    def gating(self, environment: str, commit: str, /) -> Gating:
        """What a deploy of this commit has to wait for."""

    def history(self, environment: str) -> Sequence[Entry]:
        """The newest rollouts first, as many as are looked back on."""

    def good_releases(self, environment: str) -> Sequence[GoodRelease]:
        """What became good in them."""


def plan(desk: Desk, environment: str, new: Side, old: Side | Literal["live", "release"] = LIVE) -> Plan:
    """The plan of `new`, which is a release, against `old`: a side, or `LIVE`, or `RELEASE`.

    Look at the cluster before `new` is read, if it is to be read with that Ray's schema.
    """
    if new.release is None:
        message = f"{new.label} is no release, so it cannot be planned"
        raise ValueError(message)
    record = desk.record(environment)
    remarks = [*new.notes]
    # A comparison with anything but the cluster asks no cluster, so that it needs none.
    live: Live | None = None
    if old == LIVE:
        seen = desk.look(environment)
        if isinstance(seen, Live):
            live = seen
        else:
            remarks.append(f"{sentences.sentence(seen.why)} Compared with the last good release instead.")
    other = old if isinstance(old, Side) else _known(desk, environment, live, record, new)
    policy = new.policy or Policy()
    ray = live.ray_version if live else desk.schema(environment, policy.ray_version).ray_version
    found = diff(other.body, new.body, ray)
    served = effect.served(found, other.body, new.body, live, ray)
    if live is not None and policy.ray_version is not None:
        remarks += _other_ray(policy.ray_version, live.ray_version)
    return planning.Plan(
        environment=environment,
        wanted=new.label,
        against=other.label,
        digest=effect.digest(environment, new.release.digest, policy, found, other.body, new.body, ray),
        config_digest=new.release.digest,
        ray_version=ray,
        diff=found,
        availability=served,
        capacity=capacity.capacity(found, other.body, new.body, live, ray) if found.lines else None,
        duration=_duration(desk, environment, new.release),
        way_back=_way_back(desk, environment, record, new.release, policy, live) if found.lines else None,
        gates=planning.gates(
            new.release,
            policy,
            record,
            live,
            desk.now,
            desk.neighbours(environment),
            desk.upstream(environment, new.release.digest),
            desk.gating(environment, new.release.revision.commit),
        )
        if found.lines
        else (),
        drift=planning.drifted(live, record),
        remarks=tuple(remarks),
    )


def live_side(desk: Desk, environment: str, live: Live, wanted: Side | None) -> Side:
    """What the cluster last received for this environment, to be compared with what is wanted of it."""
    record = desk.record(environment)
    rules = (wanted.policy if wanted is not None else None) or record.good_policy
    names = None if wanted is None else [app["name"] for app in wanted.body["applications"]]
    body = effect.live_body(live, record, rules, desk.neighbours(environment), names)
    return Side(label=f"live on {desk.address(environment)}", body=body)


def _known(desk: Desk, environment: str, live: Live | None, record: Record, new: Side) -> Side:
    """The cluster, where it was seen; or else the last good release, or nothing."""
    if live is not None:
        return live_side(desk, environment, live, new)
    if record.good is None:
        return Side(label="nothing", body={**_top_of(new), "applications": []})
    return Side(label=sentences.name(record.good), body=record.good.config.body(), release=record.good)


def _top_of(side: Side) -> Mapping[str, object]:
    return {key: value for key, value in side.body.items() if key != "applications"}


def _other_ray(pinned_version: str, runs: str) -> list[str]:
    if runs == pinned_version or runs.startswith(f"{pinned_version}."):
        return []
    which = f"environment.yaml says Ray {pinned_version}, the cluster runs {runs}"
    return [f"{which}: the config is checked for the first."]


def _duration(desk: Desk, environment: str, wanted: Release) -> Duration | None:
    good = {
        one.rollout: frozenset(one.release.config.applications()) for one in desk.good_releases(environment)
    }
    return planning.duration(desk.history(environment), good, frozenset(wanted.config.applications()))


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
    import requests  # noqa: PLC0415 - it takes 60 ms, and few plans need it

    found: dict[str, requests.Response | str] = {}

    def ask(uri: str) -> None:
        try:
            with requests.Session() as session:
                # No credentials of the person's go to an address that a config names.
                session.trust_env = False
                session.max_redirects = _REDIRECTS
                found[uri] = session.head(uri, timeout=_ASK_SECONDS, allow_redirects=True)
        except requests.RequestException as error:
            found[uri] = type(error).__name__
        finally:
            _ASKED_NOW.release()

    deadline = time.monotonic() + _ASK_ALL_SECONDS
    asking = []
    for uri in sorted(uris):
        if not _ASKED_NOW.acquire(timeout=max(0.0, deadline - time.monotonic())):
            found[uri] = "it was not asked, because the others took too long"
            continue
        # A daemon thread: whoever sends a byte now and then is not waited for, nor does a stop wait for it.
        asking.append(threading.Thread(target=ask, args=(uri,), name="way-back", daemon=True))
        asking[-1].start()
    for thread in asking:
        thread.join(max(0.0, deadline - time.monotonic()))
    dead: dict[str, str] = {}
    silent: dict[str, str] = {}
    for uri in sorted(uris):
        answer = found.get(uri, f"no answer within {_ASK_ALL_SECONDS:g} s")
        if isinstance(answer, str):
            silent[uri] = answer
        elif answer.status_code in _GONE:
            dead[uri] = f"{answer.status_code} {answer.reason}"
    return dead, silent
