"""The clusters: do they answer, as which Ray, is Serve there, and who else could come in?

Owns what is asked of a dashboard. Must not send it anything. Invariant: an address is asked once for each
token that the settings give for it, however many environments are on it; only GETs are made.
"""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from deployer.cli.doctoring.finding import Check, fail, ok, skip, warn
from deployer.cli.doctoring.secret_files import is_hidden
from deployer.cli.doctoring.site import is_loopback, split
from deployer.core.live import Live, Unreachable, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site
    from deployer.core.live import Observation
    from deployer.settings import Cluster

_CONNECT_SECONDS = 3.05

_REFUSED = re.compile(r"did not let us in \((?:401|403)\)")
"""How the adapter says that a token was missing or wrong."""

_HEAD = re.compile(r"(?:The Ray cluster at \S+ cannot be seen|What answers at \S+ is not understood): ")
"""How its sentences begin; the line already names the cluster."""

_OTHERWISE = "See the dashboard's log on the head node."


def checks(site: Site) -> Iterator[Check]:
    """One for each address and token."""
    seen: set[tuple[str, Path | None, Path | None]] = set()
    for environment in site.settings.environments.values():
        cluster = environment.cluster
        key = (cluster.key, cluster.token_file, cluster.ca_file)
        if key not in seen:
            seen.add(key)
            ask = partial(_ask, site, cluster)
            yield Check(group="clusters", subject=f"cluster {cluster.address}", limit=site.patience, ask=ask)


def judge_look(seen: Observation, seconds: float, *, has_token: bool) -> Iterator[Finding]:
    """What the first look means, made with the token if there is one."""
    match seen:
        case Live():
            yield ok(f"Ray {seen.ray_version}, {_serve(seen)}", seconds=seconds)
            yield from _judge_version(seen.ray_version)
        case Unreachable() | Unreadable():
            says, step = split(_HEAD.sub("", seen.why), _OTHERWISE)
            if _REFUSED.search(seen.why) and has_token:
                says += ": the token in cluster.token_file is not its own"
            yield fail(says, step)
        case _:
            assert_never(seen)


def judge_anonymous(seen: Observation, ray_version: str) -> Finding:
    """What it means that a look without any token saw this, of a cluster that answers."""
    match seen:
        case Live():
            return warn(
                f"IT ANSWERS WITHOUT A TOKEN: whoever reaches it can run code on it (Ray {ray_version})",
                "Set RAY_AUTH_MODE=token on every node (Ray 2.52 or newer), give its token as"
                " cluster.token_file, and keep the port in a private network.",
            )
        case Unreachable() if _REFUSED.search(seen.why):
            return ok("takes the token, and answers nobody without one")
        case Unreachable() | Unreadable():
            says, _ = split(_HEAD.sub("", seen.why), "")
            return skip(f"whether it answers without a token is not known: {says}")
        case _:
            assert_never(seen)


def judge_transport(cluster: Cluster) -> Iterator[Finding]:
    """Who is between us and the dashboard sees the token, and can send it configs."""
    url = urlsplit(cluster.address)
    if url.scheme == "http" and not is_loopback(url.hostname):
        what = "the token and every config" if cluster.token_file is not None else "every config"
        yield warn(
            f"http:// shows {what} to everybody on the way",
            "Put TLS in front of the dashboard (https://), or keep the way to it in a private network.",
        )


def _judge_version(version: str) -> Iterator[Finding]:
    from deployer.adapters import schemas
    from deployer.core.serve_schema import ray_release

    if ray_release(version) is None:
        yield fail(
            f"what it says of its version, {version!r}, is none of Ray's",
            "Check that cluster.address names Ray's dashboard.",
        )
        return
    try:
        known = schemas.schema(version)
    except ValueError as error:
        yield fail(str(error), f"Upgrade Ray to {schemas.NEWEST}.")
        return
    if not known.complete:
        yield warn(
            f"Ray {version} is newer than {schemas.NEWEST}, the newest whose options this deployer knows",
            "Upgrade deployer; until then an option that it does not know passes unchecked.",
        )


def _serve(live: Live) -> str:
    if not live.serve_started:
        return "Serve is not started (the first deploy starts it)"
    count = len(live.apps)
    return f"Serve runs with {count} application{'s' if count != 1 else ''}"


def _ask(site: Site, cluster: Cluster) -> Iterator[Finding]:
    if cluster.token_file is not None and is_hidden(site, cluster.token_file):
        yield skip("not asked: only the daemon can read its token")
        return
    begin = time.monotonic()
    seen = _look(site, cluster, cluster.token_file)
    yield from judge_look(seen, time.monotonic() - begin, has_token=cluster.token_file is not None)
    yield from judge_transport(cluster)
    if isinstance(seen, Live):
        # Without a token of ours, that look was anybody's.
        anonymous = seen if cluster.token_file is None else _look(site, cluster, None)
        yield judge_anonymous(anonymous, seen.ray_version)


def _look(site: Site, cluster: Cluster, token_file: Path | None) -> Observation:
    # The HTTP client takes a tenth of a second to import, in which the other checks already wait.
    from deployer.adapters.serve import Limits, ServeCluster

    limits = Limits(connect=min(_CONNECT_SECONDS, site.seconds), get=site.seconds, look=site.seconds)
    asked = ServeCluster(cluster.address, token_file=token_file, ca_file=cluster.ca_file, limits=limits)
    try:
        return asked.observe()
    finally:
        asked.close()
