"""What the Ray cluster says of itself: one observation of Serve's REST API.

Owns the shape of an observation. Must not know HTTP or JSON. Invariant: statuses are Serve's own words,
kept as plain strings because every Ray version adds some (2.9.3 to 2.60 differ); texts arrive here
already stripped of ANSI codes and of secret values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One replica. `state`: STARTING RUNNING STOPPING ... `node_id` is None until Ray has placed it.

    `log_path` is its log file relative to the session's log folder on its node; "" until it is placed.
    """

    replica_id: str
    state: str
    node_id: str | None = None
    log_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment. `status`: UPDATING HEALTHY UNHEALTHY DEPLOY_FAILED UPSCALING DOWNSCALING ...

    `status_trigger` keeps old values, so it explains a failure but never proves a success (2.60).
    `target_replicas` is None where the server does not say (Ray 2.9.3). `effective` are the options that
    Serve runs it with (`deployment_config`), those from the code and those from the config alike. `dead`
    are the last replicas that ended, the newest last: at most ten, those of older versions among them, and
    a failed one is among `replicas` for a tenth of a second only (2.60). Older Rays tell none.
    """

    name: str
    status: str
    status_trigger: str = ""
    message: str = ""
    target_replicas: int | None = None
    replicas: tuple[Replica, ...] = ()
    dead: tuple[Replica, ...] = ()
    effective: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def running_replicas(self) -> int:
        """How many replicas are RUNNING, old and new alike."""
        return sum(replica.state == "RUNNING" for replica in self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One application. `status`: NOT_STARTED DEPLOYING DEPLOY_FAILED RUNNING UNHEALTHY DELETING.

    `last_deployed_time_s` is Ray's clock: compare it for "changed", never with ours. It moves on every
    PUT that lists the application, also an identical one. `config` is what Serve last received for it,
    less the keys it does not know; None for an imperative one (`serve run`) and for one left over by a
    half-applied 400. `source`: `declarative` (a PUT), `imperative` (`serve run`), or "" (Ray 2.9.3).
    """

    name: str
    status: str
    message: str = ""
    route_prefix: str | None = None
    last_deployed_time_s: float = 0.0
    source: str = ""
    config: Mapping[str, Any] | None = field(default=None, repr=False)
    deployments: tuple[Deployment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The cluster answered and was understood.

    `serve_started` False: the dashboard answers, but no Serve instance runs (or its controller is dead
    for good: both look alike over REST, Ray 2.60). `session` names the Ray head's life: a new one
    means all Serve state is gone; None on Ray 2.9.3. `options` are those that only a start of Serve sets,
    as they are in effect: `http_options`, `grpc_options`, `proxy_location`. `free` are the cluster's free
    resources by name, where they were asked for and told.
    """

    session: str | None
    ray_version: str
    serve_started: bool
    apps: Mapping[str, App]
    proxies: Mapping[str, str] = field(default_factory=dict)
    target_capacity: float | None = None
    restores_unset_options: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    free: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """No usable answer: refused, timed out, 5xx, 401, 403. No reason to roll back. `why` is a sentence.

    `seconds` is for how long there has been none already.
    """

    why: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """It answered, but not with what Serve answers (a login page, another service). `why` is a sentence.

    `seconds` is for how long it has answered so already.
    """

    why: str
    seconds: float = 0.0


Observation = Live | Unreachable | Unreadable
"""What a look at the cluster gave."""
