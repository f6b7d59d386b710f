"""Reads single events with their hashes, and what the log says around a rollout.

Owns the SELECTs for one event or one rollout in full, and the check of each event's hash. Must not write, nor
know what is made of the answer. Invariant: whatever is read is as it stands in the log, also where that was
changed: then it says so, and nothing is refused; and no config is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, or_, select

from deployer.adapters.store import codec
from deployer.adapters.store.errors import StoreCorrupt
from deployer.adapters.store.tables import CHAINED, EVENTS, MENTIONS
from deployer.core import chain
from deployer.core.dossier import WISHES, commits_of
from deployer.core.event_shown import Written
from deployer.core.events import DAEMON_LOG, DaemonStarted
from deployer.core.types import ServeConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from deployer.adapters.store.sqlite import Database
    from deployer.core.history import Summary

    AnyRow = Row[*tuple[Any, ...]]

_PROMOTIONS = 50
"""To an environment, the newest before a rollout: among these is the one that brought its commit."""

_WISHES = 200
"""Events about a release before it started. Somebody approves it twice, or tries it five times."""

_BEFORE = EVENTS.alias("before_it")
_READ = select(EVENTS, _BEFORE.c.hash.label("hash_before")).outerjoin(
    _BEFORE,
    and_(_BEFORE.c.environment == EVENTS.c.environment, _BEFORE.c.sequence == EVENTS.c.sequence - 1),
)
_BY_ID = _READ.where(EVENTS.c.id == bindparam("id"))
_BY_PLACE = _READ.where(
    EVENTS.c.environment == bindparam("environment"), EVENTS.c.sequence == bindparam("sequence")
)
_OF_ROLLOUT = _READ.where(EVENTS.c.rollout == bindparam("rollout")).order_by(EVENTS.c.id)
_SEEN = (
    _READ.join(MENTIONS, MENTIONS.c.event_id == EVENTS.c.id)
    .where(
        MENTIONS.c.digest == bindparam("digest"),
        EVENTS.c.environment == bindparam("environment"),
        EVENTS.c.type == "seen",
        EVENTS.c.id < bindparam("before"),
    )
    .order_by(EVENTS.c.id.desc())
    .limit(1)
)
_NEWEST_OF = (
    _READ.where(
        EVENTS.c.environment == bindparam("environment"),
        EVENTS.c.type.in_(bindparam("types", expanding=True)),
        EVENTS.c.id < bindparam("before"),
    )
    .order_by(EVENTS.c.id.desc())
    .limit(bindparam("count"))
)
_SAID = (
    _READ.join(MENTIONS, MENTIONS.c.event_id == EVENTS.c.id)
    .where(
        or_(
            MENTIONS.c.revision.in_(bindparam("commits", expanding=True)),
            MENTIONS.c.digest == bindparam("digest"),
        ),
        EVENTS.c.environment == bindparam("environment"),
        EVENTS.c.type.in_(WISHES),
        EVENTS.c.id < bindparam("before"),
    )
    .order_by(EVENTS.c.id.desc())
    .limit(_WISHES)
)


class Evidence:
    """What is asked of the log for one event, or one rollout. Thread-safe, also while the daemon writes."""

    def __init__(self, database: Database) -> None:
        """Take an open database with this version's schema."""
        self._database = database

    def event(self, place: int | tuple[str, int]) -> Written | None:
        """The event with this id, or in this place: environment, and sequence."""
        if isinstance(place, int):
            found = self._read(_BY_ID, id=place)
        else:
            found = self._read(_BY_PLACE, environment=place[0], sequence=place[1])
        return found[0] if found else None

    def of_rollout(self, rollout: str) -> list[Written]:
        """All of a rollout's events, oldest first."""
        return self._read(_OF_ROLLOUT, rollout=rollout)

    def seen_before(self, environment: str, digest: str, event: int) -> Written | None:
        """When git was last seen to want this digest, before this event."""
        found = self._read(_SEEN, environment=environment, digest=digest, before=event)
        return found[0] if found else None

    def wishes(self, environment: str, release: Summary, event: int) -> list[Written]:
        """What people and other environments said of a release before this event, oldest first."""
        promotions = self._read(
            _NEWEST_OF,
            environment=environment,
            types=["promoted", "proposed"],
            before=event,
            count=_PROMOTIONS,
        )
        about = {"revision": release.revision, "merged": release.merged}
        commits = commits_of(about, (one.event for one in promotions))
        values = {"commits": sorted(commits), "digest": release.digest}
        return self._read(_SAID, environment=environment, before=event, **values)[::-1]

    def daemon_before(self, event: int) -> DaemonStarted | None:
        """The last start of the daemon before this event, if it was noted."""
        found = self._read(
            _NEWEST_OF, environment=DAEMON_LOG, types=["daemon_started"], before=event, count=1
        )
        return next((one.event for one in found if isinstance(one.event, DaemonStarted)), None)

    def _read(self, query: Any, **values: object) -> list[Written]:  # noqa: ANN401 - a SELECT of `_READ`
        with self._database.reading() as connection:
            rows: Sequence[AnyRow] = connection.execute(query, values).all()
        return [self._written(row) for row in rows]

    def _written(self, row: AnyRow) -> Written:
        said = [getattr(row, column) for column in CHAINED]
        before = chain.GENESIS if row.sequence == 1 else row.hash_before
        try:
            event = codec.EVENT.decode(row.data, _unread)
        except codec.Unreadable as error:
            message = (
                f"{self._database.path}: cannot read event {row.sequence} of {row.environment}: {error}. A"
                " newer version of deployer wrote it, or it was changed. Install the version that wrote it,"
                " or restore a backup."
            )
            raise StoreCorrupt(message) from error
        return Written(
            id=row.id,
            environment=row.environment,
            sequence=row.sequence,
            rollout=row.rollout,
            event=event,
            previous_hash=row.previous_hash,
            hash=row.hash,
            is_intact=row.hash == chain.link(row.previous_hash, said),
            is_linked=row.previous_hash == before,
        )


def _unread(digest: str) -> ServeConfig:
    """A config that nobody needs to read: it can hold secrets."""
    return ServeConfig(text="", digest=digest)
