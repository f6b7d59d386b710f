"""What is on this machine: the settings' file, the disk, the state directory, the store, the daemon.

Owns how much room is enough, and who may see the state directory. Must not write there. Invariant: none of
this changes a byte or a mode, and it works beside a daemon that runs.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import time
from functools import partial
from typing import TYPE_CHECKING

from deployer import __version__
from deployer.cli.client import API_FILE
from deployer.cli.context import STORE_FILE
from deployer.cli.doctoring.finding import Check, fail, ok, skip, warn
from deployer.cli.doctoring.site import LOCAL_SECONDS, closed, split, user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.adapters.statedir import Holder
    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site

_MIB = 1024**2
_GIB = 1024**3

_WARN_BYTES = _GIB
_FAIL_BYTES = 100 * _MIB
"""A first fetch of a big repository takes hundreds of MiB; with a full disk nothing is deployed."""

_WARN_INODES = 10_000
_FAIL_INODES = 1_000
"""A mirror between two packings has some thousand files."""

_STORE_SECONDS = 300.0
"""For a look through the whole store: 0.3 s for 256 MB, and 10 s for a million events."""

_ROOM = "Make room, or put state_dir on another disk: with a full one nothing is deployed."

_START = "Start it with `deployer run`, or `systemctl start deployer`."

_LOG = "See its log: `journalctl -u deployer`, or the terminal that it runs in."

_BACKUP = "Stop the daemon, keep a copy of the file, and restore a backup."


def settings_checks(site: Site) -> Iterator[Check]:
    """That they could be read is known by now."""
    yield Check(group="settings", subject="settings", limit=LOCAL_SECONDS, ask=partial(_settings, site))


def disk_checks(site: Site) -> Iterator[Check]:
    """The room, and the directory."""
    yield Check(group="disk", subject="disk", limit=LOCAL_SECONDS, ask=partial(_disk, site))
    yield Check(group="disk", subject="state_dir", limit=LOCAL_SECONDS, ask=partial(_state_dir, site))


def store_checks(site: Site) -> Iterator[Check]:
    """The file, and the audit log in it."""
    yield Check(group="store", subject="store", limit=_STORE_SECONDS, ask=partial(_store, site))
    yield Check(group="store", subject="audit chain", limit=_STORE_SECONDS, ask=partial(_chain, site))


def daemon_checks(site: Site) -> Iterator[Check]:
    """Whether it runs and answers."""
    yield Check(group="daemon", subject="daemon", limit=site.patience, ask=partial(_daemon, site))


def judge_room(path: Path, free_bytes: int, free_inodes: int | None) -> Iterator[Finding]:
    """How much is left for the daemon's user; `free_inodes` is None where there is no limit of them."""
    if free_bytes < _WARN_BYTES:
        says = f"{free_bytes // _MIB} MiB are free at {path}"
        yield (fail if free_bytes < _FAIL_BYTES else warn)(says, _ROOM)
    else:
        yield ok(f"{free_bytes / _GIB:,.1f} GiB are free at {path}")
    if free_inodes is not None and free_inodes < _WARN_INODES:
        says = f"{free_inodes} inodes are free at {path}"
        yield (fail if free_inodes < _FAIL_INODES else warn)(says, "Delete files there (`df -i` shows it).")


def judge_mode(path: Path, mode: int) -> Finding | None:
    """Who else may see or change what is in the state directory."""
    others = mode & (stat.S_IRWXG | stat.S_IRWXO)
    if not others:
        return None
    what = "changed" if mode & (stat.S_IWGRP | stat.S_IWOTH) else "seen"
    say = fail if what == "changed" else warn
    return say(
        f"{path} can be {what} by others than its owner (mode {mode:04o})",
        f"Type: chmod 700 {shlex.quote(str(path))}",
    )


def judge_holder(holder: Holder) -> Finding:
    """The daemon runs, and its API answers."""
    if holder.version not in {None, __version__}:
        return warn(
            f"runs as {holder}, and this is {__version__}", "Restart it: `systemctl restart deployer`."
        )
    return ok(f"runs as {holder}; its API answers")


def _settings(site: Site) -> Iterator[Finding]:
    settings = site.settings
    repositories, environments = len(settings.repositories), len(settings.environments)
    yield ok(
        f"{site.file} ({site.named_by}): {repositories} repositor{'y' if repositories == 1 else 'ies'},"
        f" {environments} environment{'' if environments == 1 else 's'}"
    )


def _disk(site: Site) -> Iterator[Finding]:
    path = _nearest(site.settings.state_dir)
    found = os.statvfs(path)
    # File systems that make inodes as they need them (btrfs) say that they have none.
    inodes = found.f_favail if found.f_files else None
    yield from judge_room(path, found.f_bavail * found.f_frsize, inodes)


def _state_dir(site: Site) -> Iterator[Finding]:
    path = site.settings.state_dir
    try:
        found = path.stat()
    except FileNotFoundError:
        above = _nearest(path)
        if os.access(above, os.W_OK | os.X_OK, effective_ids=True):
            yield ok(f"{path} is not there yet: the daemon makes it when it first starts")
        else:
            step = f"Make {path} for the user that the daemon runs as, with mode 0700."
            yield fail(f"{path} is not there, and {above} cannot be written to by this user", step)
        return
    if not stat.S_ISDIR(found.st_mode):
        yield fail(f"{path} is no directory", "Correct state_dir in the settings.")
        return
    loose = judge_mode(path, stat.S_IMODE(found.st_mode))
    if loose is not None:
        yield loose
    if site.is_others:
        yield skip(closed(site))
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        step = "Mount it for writing, and give it to the user that the daemon runs as."
        yield fail(f"{path} cannot be written to", step)
    elif loose is None:
        yield ok(f"{path} can be written to, by its owner alone (mode {stat.S_IMODE(found.st_mode):04o})")


def _store(site: Site) -> Iterator[Finding]:
    from deployer.adapters.store import StoreError
    from deployer.adapters.store.checkup import checkup

    file = site.settings.state_dir / STORE_FILE
    if site.is_closed:
        yield skip(closed(site))
        return
    if _is_missing(file):
        yield skip("none yet: the daemon makes it when it first starts")
        return
    begin = time.monotonic()
    try:
        found = checkup(file)
    except StoreError as error:
        yield fail(*split(str(error), _BACKUP))
        return
    what = _counted(found.events, found.environments)
    yield ok(f"{what}, schema {found.revision}", seconds=time.monotonic() - begin)


def _chain(site: Site) -> Iterator[Finding]:
    from deployer.adapters.store import StoreError
    from deployer.adapters.store.checkup import check_chains

    file = site.settings.state_dir / STORE_FILE
    if site.is_closed:
        yield skip(closed(site))
        return
    if _is_missing(file):
        yield skip("there is no store yet")
        return
    begin = time.monotonic()
    try:
        found = check_chains(file)
    except StoreError as error:
        yield fail(*split(str(error), _BACKUP))
        return
    for environment, sequence in found.broken.items():
        yield fail(f"event {sequence} of {environment} is not as it was written", _BACKUP)
    if not found.broken:
        what = _counted(found.events, found.environments)
        yield ok(f"{what} are as they were written", seconds=time.monotonic() - begin)


def _daemon(site: Site) -> Iterator[Finding]:
    from deployer.adapters import statedir

    if site.is_closed:
        yield skip(closed(site))
        return
    try:
        holder = statedir.holder(site.settings.state_dir)
    except statedir.StateDirUnusable as error:
        yield fail(*split(str(error), "Type this as the user that the daemon runs as."))
        return
    if holder is None:
        yield warn(f"not running: nobody holds {site.settings.state_dir}", _START)
        return
    trouble = _api(site)
    yield judge_holder(holder) if trouble is None else trouble


def _api(site: Site) -> Finding | None:
    """What is wrong with the API of the daemon that runs; None if it answers."""
    import requests

    file = site.settings.state_dir / API_FILE
    try:
        url = json.loads(file.read_text(encoding="utf-8"))["url"]
    except PermissionError:
        return skip(f"runs; only {user(site.daemon_uid)} can read {file}, which says where its API is")
    except (OSError, ValueError, KeyError, TypeError):
        return fail(f"runs, and {file} is not there: it is starting or stopping", f"Try again. {_LOG}")
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{url}/healthz", timeout=site.seconds, allow_redirects=False, stream=True)
    except requests.RequestException:
        return fail(f"runs, and its API does not answer at {url}", _LOG)
    if answer.status_code != requests.codes.ok:
        return fail(f"runs, and its API at {url} answers {answer.status_code}", _LOG)
    return None


def _nearest(path: Path) -> Path:
    """The directory itself, or the nearest above it that is there."""
    return next((each for each in (path, *path.parents) if each.exists()), path)


def _is_missing(file: Path) -> bool:
    """Whether there never was one: where only its log is left, something took it away."""
    return not file.exists() and not file.with_name(f"{file.name}-wal").exists()


def _counted(events: int, environments: int) -> str:
    return (
        f"{events:,} event{'' if events == 1 else 's'}"
        f" of {environments} environment{'' if environments == 1 else 's'}"
    )
