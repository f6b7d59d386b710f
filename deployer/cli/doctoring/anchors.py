"""The checkpoints of the audit log: is the newest one young, is it anchored, would a push be taken?

Owns how late is too late. Must not sign, nor hold a log against a checkpoint: `deployer audit verify` does.
Invariant: nothing is pushed; a server is asked whether it would take a push, and sent nothing.
"""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from deployer.cli import anchors
from deployer.cli.context import STORE_FILE
from deployer.cli.doctoring.finding import Check, fail, ok, skip, warn
from deployer.cli.doctoring.repositories import judge_trouble
from deployer.cli.doctoring.secret_files import is_hidden
from deployer.cli.doctoring.site import LOCAL_SECONDS, closed, split
from deployer.cli.tables import ago
from deployer.core.anchoring import Misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.adapters.checkpoint_file import CheckpointFile
    from deployer.adapters.store.leaves import Leaves
    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site
    from deployer.core.anchoring import Anchorage, Kept
    from deployer.settings import Audit, AuditPush

_LATE_TIMES = 3
"""So many checkpoints in a row that were due and are not there: one may be a forge that is restarted."""

_MIRROR = "audit.anchors.git"

_LOG = "See the daemon's log: `journalctl -u deployer | grep audit_checkpoint`."


def git_checks(site: Site) -> Iterator[Check]:
    """Whether checkpoints can be pushed, where they are to be."""
    audit = site.settings.audit
    if audit is not None and audit.push is not None:
        ask = partial(_push, site, audit, audit.push)
        yield Check(group="git", subject="audit.push", limit=site.patience, ask=ask)


def store_checks(site: Site) -> Iterator[Check]:
    """How far the log is signed and anchored, where it is to be."""
    audit = site.settings.audit
    if audit is not None:
        ask = partial(_checkpoints, site, audit)
        yield Check(group="store", subject="checkpoints", limit=LOCAL_SECONDS, ask=ask)


def judge(
    known: Anchorage, events: int, every: float, now: datetime, happened_at: Callable[[int], datetime | None]
) -> Iterator[Finding]:
    """What it means that the log of so many events is anchored like this.

    `every` is in seconds; `happened_at` says when the event with an id happened.
    """
    if known.misfit:
        yield fail(*split(known.misfit, _LOG))
        return
    for one in known.kept:
        next_at = happened_at(one.size + 1) if one.size < events else None
        is_late = next_at is not None and (now - next_at).total_seconds() > _LATE_TIMES * every
        yield _judge_place(one, events, now, is_late=is_late)


def _judge_place(one: Kept, events: int, now: datetime, *, is_late: bool) -> Finding:
    why = f" ({one.trouble.rstrip('.')})" if one.trouble else ""
    if one.at is None or not one.size:
        say = fail if is_late else warn
        return say(
            f"no checkpoint is in {one.place} yet{why}", f"Start the daemon, if it does not run. {_LOG}"
        )
    since = f"{ago(one.at.isoformat(), now)} ago"
    says = f"{one.place} has {one.size:,} of {events:,} events, since {since}"
    if is_late:
        return fail(f"{says}{why}", f"Start the daemon, if it does not run. {_LOG}")
    # Not late yet, but on the way there.
    return warn(f"{says}{why}", _LOG) if why else ok(says)


def _checkpoints(site: Site, audit: Audit) -> Iterator[Finding]:
    from deployer.adapters.checkpoint_file import CheckpointFile
    from deployer.adapters.store import SqlReader, StoreError
    from deployer.adapters.store.leaves import Leaves

    if site.is_closed:
        yield skip(closed(site))
        return
    file = CheckpointFile(site.settings.state_dir)
    try:
        note = file.newest()
    except Misfit as error:
        yield fail(f"the newest in {file.path} cannot be read: {error}", "Move the file away. " + _LOG)
        return
    if note is None:
        yield warn("nothing was signed yet: the daemon signs when it starts", _LOG)
        return
    try:
        store = SqlReader.open_readonly(site.settings.state_dir / STORE_FILE)
    except StoreError as error:
        yield fail(*split(str(error), "Restore a backup."))
        return
    with closing(store):
        leaves = Leaves(store.database)
        yield from _of_the_store(file, note.checkpoint.size, leaves, audit.every)


def _of_the_store(file: CheckpointFile, size: int, leaves: Leaves, every: float) -> Iterator[Finding]:
    events, known = leaves.newest(), file.remembered()
    if size > events and not known.misfit:
        step = "Stop the daemon, keep a copy of its state directory, and type `deployer audit verify`."
        yield fail(f"{size:,} events were signed, and the store has {events:,}", step)
        return
    yield from judge(known, events, every, datetime.now(UTC), leaves.happened_at)


def _push(site: Site, audit: Audit, push: AuditPush) -> Iterator[Finding]:
    from deployer.adapters.git import GitUnavailable

    app = push.github_app
    secrets = (push.token_file, push.ssh_key_file, app.private_key_file if app is not None else None)
    if any(path is not None and is_hidden(site, path) for path in secrets):
        yield skip("not asked: only the daemon can read what lets it in")
        return
    ref = anchors.pushed_to(audit, site.scratch / _MIRROR, seconds=site.seconds)
    assert ref is not None  # noqa: S101 - for mypy: there is a push
    site.ends.append(ref.interrupt)
    begin = time.monotonic()
    try:
        tip = ref.rehearse(datetime.now(UTC))
    except GitUnavailable as error:
        yield judge_trouble(push.url, error.why.removeprefix(f"cannot push to {ref.ref} of {push.url}: "))
        return
    says = f"takes a push to {ref.ref}"
    newest = f", whose newest commit is {tip.commit[:7]}" if tip is not None else ", which is not there yet"
    yield ok(says + newest, seconds=time.monotonic() - begin)
