"""The clock of this machine, held against those of the servers it works with, and against the audit log.

Owns how far apart clocks may be. Must not set one. Invariant: a server that does not tell the time is no
failure, since whether it answers is asked elsewhere; no credential is sent along.
"""

from __future__ import annotations

import email.utils
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer import __version__
from deployer.cli.context import STORE_FILE
from deployer.cli.doctoring.finding import Check, fail, ok, skip, warn
from deployer.cli.doctoring.site import LOCAL_SECONDS, closed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site

_WARN_SECONDS = 5.0
_FAIL_SECONDS = 60.0
"""TLS certificates, a GitHub App's tokens and signed webhooks are refused where clocks differ by minutes."""

_CONNECT_SECONDS = 3.05

_STEP = "Have chrony or systemd-timesyncd set the clock that is wrong (`timedatectl` shows this machine's)."


def checks(site: Site) -> Iterator[Check]:
    """One for each server that speaks HTTP, and one for the store."""
    for place, (url, ca_file) in servers(site).items():
        ask = partial(_ask, site, url, ca_file)
        yield Check(group="clock", subject=f"clock of {place}", limit=site.patience, ask=ask)
    yield Check(group="clock", subject="clock", limit=LOCAL_SECONDS, ask=partial(_store, site))


def servers(site: Site) -> dict[str, tuple[str, Path | None]]:
    """By host and port: the URL to ask, and the certificates that it is trusted by."""
    found: dict[str, tuple[str, Path | None]] = {}
    for environment in site.settings.environments.values():
        cluster = environment.cluster
        url = f"{cluster.address}/api/version"
        found.setdefault(urlsplit(cluster.address).netloc, (url, cluster.ca_file))
    for repository in site.settings.repositories.values():
        if repository.url.startswith(("https://", "http://")):
            url = f"{repository.url}/info/refs?service=git-upload-pack"
            found.setdefault(urlsplit(repository.url).netloc, (url, repository.ca_file))
    return found


def judge_ahead(seconds: float) -> Finding:
    """What it means that a server's clock is so far ahead of ours. A `Date` has whole seconds only."""
    off = abs(seconds)
    if off <= _WARN_SECONDS:
        return ok("as this machine's, within 1 s" if off <= 1 else f"{off:.0f} s from this machine's")
    says = f"{off:,.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    return (fail if off > _FAIL_SECONDS else warn)(says, _STEP)


def judge_newest(newest: datetime, now: datetime) -> Finding:
    """What it means that the latest event in the store is of this time."""
    ahead = (newest - now).total_seconds()
    if ahead <= _WARN_SECONDS:
        return ok("not before the newest event in the store")
    says = f"{ahead:,.0f} s before the newest event in the store, of {newest:%Y-%m-%d %H:%M:%S} UTC"
    return (fail if ahead > _FAIL_SECONDS else warn)(says, _STEP)


def _ask(site: Site, url: str, ca_file: Path | None) -> Iterator[Finding]:
    import requests

    begin, monotonic = time.time(), time.monotonic()
    try:
        with requests.Session() as session:
            # No proxy, and no password out of a .netrc.
            session.trust_env = False
            # An agent of its own: Ray turns browsers away. HEAD, so that there is no body to be read.
            answer = session.head(
                url,
                headers={"User-Agent": f"ray-serve-deployer/{__version__}"},
                timeout=(min(_CONNECT_SECONDS, site.seconds), site.seconds),
                allow_redirects=False,
                verify=str(ca_file) if ca_file is not None else True,
            )
    except OSError:  # every error of requests is one
        yield skip("not known: it does not answer")
        return
    told = answer.headers.get("Date", "")
    try:
        at = email.utils.parsedate_to_datetime(told)
    except ValueError:
        yield skip("not known: its answer has no Date")
        return
    # In the middle of the request; and half a second, since `Date` cuts the rest of its second off.
    here = begin + (time.monotonic() - monotonic) / 2
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    yield judge_ahead(at.timestamp() + 0.5 - here)


def _store(site: Site) -> Iterator[Finding]:
    from deployer.adapters.store import StoreError
    from deployer.adapters.store.checkup import newest_event_at

    file = site.settings.state_dir / STORE_FILE
    if site.is_closed:
        yield skip(closed(site))
        return
    try:
        newest = newest_event_at(file)
    except StoreError:
        newest = None
    if newest is None:
        yield skip("there is no event yet to hold it against")
    else:
        yield judge_newest(newest, datetime.now(UTC))
