"""What happened: rollouts with filters, one rollout in full, releases, the audit log.

Owns how these are shaped for the faces. Must not decide who may see them: the caller says which environments.
Invariant: a page and the pages after it hold each row that was there exactly once, however many are added
meanwhile; and of a config nothing is shown but with its secrets masked.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import yaml

from deployer.adapters.store.filters import EventFilter, RolloutFilter
from deployer.core import history, telling
from deployer.core.diff import diff
from deployer.core.plan_json import changes
from deployer.core.record import Result
from deployer.core.redact import mask
from deployer.core.rollouts import is_live
from deployer.core.scrub import plain, scrub, secrets_of
from deployer.core.status import live_release
from deployer.core.times import timestamp
from deployer.web.models import _masks as masks
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from deployer.adapters.store.search import Logged, Placed, Search
    from deployer.core.history import Entry
    from deployer.core.record import Record
    from deployer.core.types import ServeConfig
    from deployer.web.models._ports import Store

_CURSOR_DIGITS = 18
"""SQLite's ids have 63 bits."""


class Past:
    """The history and the log, for reading. Thread-safe."""

    def __init__(self, store: Store, search: Search, ray_version: Callable[[str], str]) -> None:
        """`ray_version` says by whose rules an environment's changes are told."""
        self._store = store
        self._search = search
        self._ray_version = ray_version

    def rollouts(self, wanted: RolloutFilter, *, limit: int, before: str | None) -> dict[str, Any]:
        """A page of history, newest first."""
        place = cursor(before)
        found = self._search.rollouts(wanted, limit=limit + 1, before=place)
        page = found[:limit]
        return {
            "items": [history.to_json(one.entry) for one in page],
            "next": str(page[-1].place) if len(found) > limit else None,
        }

    def releases(self, environment: str, *, limit: int, before: str | None) -> dict[str, Any]:
        """What became good, newest first. What a heal or a restore brought back was good before."""
        record = self._store.load(environment)
        live = live_release(record)
        wanted = RolloutFilter(
            environment=environment, result=Result.GOOD.value, kinds=("deploy", "rollback")
        )
        found = self._search.rollouts(wanted, limit=limit + 1, before=cursor(before))
        page = found[:limit]
        return {
            "items": [_release(one.entry, live.digest if live else None) for one in page],
            "next": str(page[-1].place) if len(found) > limit else None,
        }

    def audit(self, wanted: EventFilter, *, limit: int) -> dict[str, Any]:
        """A page of the log. `next` goes on where it ends: for `before`, or `after` if that was given."""
        found = self._search.events(wanted, limit=limit + 1)
        page = found[:limit]
        return {
            "items": [_logged(one, wanted.environments) for one in page],
            "next": str(page[-1].id) if len(found) > limit else None,
        }

    def rollout(self, rollout: str) -> dict[str, Any] | None:
        """All there is to know of a rollout; None if there is none of this id."""
        placed = self._search.rollout(rollout)
        if placed is None:
            return None
        entry = placed.entry
        events = self._search.events_of(rollout)
        story = telling.story(one.event for one in events)
        record = self._store.load(entry.environment)
        return {
            **history.to_json(entry),
            "timeline": self._timeline(placed, events, story),
            "phases": [
                {
                    "name": phase.name,
                    "started_at": timestamp(phase.started_at),
                    "finished_at": timestamp(phase.finished_at),
                    "seconds": phase.seconds,
                }
                for phase in story.phases
            ],
            "checks": [
                {
                    "app": check.app,
                    "path": check.path,
                    "passed": check.passed,
                    "attempts": check.attempts,
                    "message": check.message,
                    "ms": check.ms,
                }
                for check in story.checks
            ],
            "detail": entry.failure.detail if entry.failure else "",
            "log": entry.log,
            **self._content(placed),
            "can_roll_back_to": _can_roll_back_to(entry, record),
        }

    def _timeline(
        self, placed: Placed, events: Sequence[Logged], story: telling.Story
    ) -> list[dict[str, Any]]:
        """From when git wanted it to what followed from its end."""
        entry = placed.entry
        seen = None
        if entry.kind.value == "deploy":
            seen = self._search.seen_before(entry.environment, entry.release.digest, placed.place)
        follower = self._search.events_of(entry.followed_by)[:1] if entry.followed_by else []
        steps = [(step.event, step.phase) for step in story.steps]
        steps = [*([(seen.event, "")] if seen else []), *steps, *((one.event, "") for one in follower)]
        ids = [*([seen] if seen else []), *events, *follower]
        return [
            {
                "id": logged.id,
                "at": timestamp(event.at),
                "event": event.type,
                "phase": phase or None,
                "says": telling.says(event),
                "actor": event.actor,
                "reason": event.reason,
                "seconds": (event.at - entry.started_at).total_seconds(),
            }
            for logged, (event, phase) in zip(ids, steps, strict=True)
        ]

    def _content(self, placed: Placed) -> dict[str, Any]:
        """The config, and what it changed of the release that was good before."""
        entry = placed.entry
        config = self._store.config(entry.release.digest)
        before = self._search.good_before(entry.environment, placed.place)
        old = (
            self._store.config(before.release.digest).body()
            if before
            else {**config.body(), "applications": []}
        )
        found = diff(old, config.body(), self._ray_version(entry.environment))
        return {
            "config": as_yaml(config),
            "config_digest": entry.release.digest,
            "against": f'{before.id} {before.release.revision[:7]} "{before.release.subject}"'
            if before
            else None,
            "against_rollout": before.id if before else None,
            "changes": changes(found),
        }


def as_yaml(config: ServeConfig) -> str:
    """The config for people: sorted, and every value masked that can be a secret."""
    body = config.body()
    secrets = secrets_of(body)
    masked = mask(body, lambda text: scrub(text, secrets))
    # libyaml, where it is there, takes a tenth of the time.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return plain(str(yaml.dump(masked, Dumper=dumper, sort_keys=True, allow_unicode=True)))


def cursor(text: str | None) -> int | None:
    """The place that a page ended at. Raises Problem for what no page gave."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _CURSOR_DIGITS):
        detail = "This is no cursor of this list. Take `next` of the page before, or begin without one."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return int(text)


def _release(entry: Entry, live: str | None) -> dict[str, Any]:
    return {
        "rollout": entry.id,
        "kind": entry.kind.value,
        "revision": entry.release.revision,
        "subject": entry.release.subject,
        "author": entry.release.author,
        "digest": entry.release.digest,
        "at": timestamp(entry.finished_at),
        "is_live": entry.release.digest == live,
    }


def _logged(one: Logged, visible: Collection[str] | None) -> dict[str, Any]:
    event = masks.event(one.event, visible)
    return {
        "id": one.id,
        "environment": one.environment,
        "sequence": one.sequence,
        "type": event.type,
        "at": timestamp(event.at),
        "actor": event.actor,
        "reason": event.reason,
        "rollout": one.rollout or None,
        "hash": one.hash,
        "says": telling.says(event),
    }


def _can_roll_back_to(entry: Entry, record: Record) -> bool:
    """Whether `rollback --to` this one would do something: it is good, not held, and not what runs."""
    digest = entry.release.digest
    runs = is_live(record, digest) and record.drift is None
    return entry.result is Result.GOOD and record.hold_of(digest) is None and not runs
