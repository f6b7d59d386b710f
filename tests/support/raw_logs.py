"""Logs as they are stored, made without a store: rows in their chains, and what can be done to them.

Owns rows whose texts are made up. Must not decide what is found. Invariant: `log` is what a store's own
commits would have written, as far as `core.audit` looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import chain
from deployer.core.audit import Anchor, StoreFacts
from deployer.core.merkle import root
from deployer.core.raw_log import RawEvent
from tests.support.note_signer import NoteSigner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ORIGIN = "deployer.example.com/audit"


def log(*names: str) -> list[RawEvent]:
    """An intact log: an event for each of these environments, in this order; its first starts a rollout."""
    return chained(
        RawEvent(
            id=number,
            environment=name,
            sequence=names[:number].count(name),
            type="started" if names[:number].count(name) == 1 else "seen",
            at="2026-11-22T10:42:00.000000Z",
            actor="Ada <ada@example.com>",
            reason="",
            rollout=f"{name}#1",
            data=f'{{"number":{number}}}',
            previous_hash="",
            hash="",
        )
        for number, name in enumerate(names, start=1)
    )


def chained(events: Iterable[RawEvent]) -> list[RawEvent]:
    """The same events with the hashes that they would have: what somebody does who writes a log anew."""
    previous: dict[str, str] = {}
    done = []
    for event in events:
        before = previous.get(event.environment, chain.GENESIS)
        previous[event.environment] = chain.link(before, event.chained)
        done.append(event._replace(previous_hash=before, hash=previous[event.environment]))
    return done


def facts(events: Sequence[RawEvent], faults: tuple[str, ...] = ()) -> StoreFacts:
    """What a store with this log says elsewhere."""
    names = {event.environment for event in events}
    return StoreFacts(
        records={name: sum(event.environment == name for event in events) for name in names},
        rollouts=dict.fromkeys(names, 1),
        newest_id=events[-1].id if events else 0,
        faults=faults,
    )


def anchor(
    events: Sequence[RawEvent], size: int | None = None, *, origin: str = ORIGIN, signer: str = "ada"
) -> Anchor:
    """A checkpoint that was signed when the log had so many events."""
    length = len(events) if size is None else size
    leaves = (bytes.fromhex(event.hash) for event in events[:length])
    return Anchor(place=f"anchors:{length}", note=NoteSigner(signer).note(origin, length, root(leaves)))
