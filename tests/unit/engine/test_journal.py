"""What happens to the daemon, and what it refused, in the log: once, and never in anybody's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import Conflict, StoreUnavailable
from deployer.core.events import DAEMON_LOG, CommandRefused
from deployer.engine.journal import Journal
from tests.support.build import at
from tests.support.daemon_events import STARTED
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.core.events import Event
    from deployer.core.messages import Told
    from deployer.core.record import Record


class Busy(MemoryStore):
    """A store into which a pass writes first, so many times; or that cannot be written."""

    conflicts = 0
    is_full = False

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Refuse, as a real one does."""
        if self.is_full:
            message = "no space left on the device"
            raise StoreUnavailable(message)
        if self.conflicts:
            self.conflicts -= 1
            message = "somebody else wrote"
            raise Conflict(message)
        return super().commit(record, events, messages)


def journal(store: MemoryStore) -> Journal:
    """That of a daemon with one environment."""
    return Journal(store, environments=("staging",), commit=store.commit, now=lambda: at(5))


def facts(store: MemoryStore, environment: str) -> list[Event]:
    """What is in a log."""
    return list(store.events.get(environment, ()))


def test_the_daemon_has_a_log_of_its_own() -> None:
    """Beside those of its environments."""
    store = Busy()
    store.conflicts = 3
    journal(store).write(STARTED)
    assert facts(store, DAEMON_LOG) == [STARTED]
    assert facts(store, "staging") == []


def test_a_refusal_is_in_the_log_of_its_environment_once_a_minute() -> None:
    """Who asks again and again fills no disk; another sentence, person or command is another one."""
    store = Busy()
    of = journal(store)
    for _ in range(3):
        of.refused("staging", "rollback", "lin (token 3)", "It is paused.\nSee there.", "fire")
    of.refused("staging", "retry", "lin (token 3)", "It is paused.")
    of.refused("staging", "rollback", "bob (token 4)", "It is paused.")
    first = CommandRefused(
        at=at(5), actor="lin (token 3)", reason="fire", command="rollback", why="It is paused.\\nSee there."
    )
    assert facts(store, "staging")[0] == first
    assert [event.actor for event in facts(store, "staging")] == ["lin (token 3)"] * 2 + ["bob (token 4)"]


def test_what_is_of_no_environment_is_in_the_daemons_own() -> None:
    """As an order for tokens, or for an environment that is not there."""
    store = Busy()
    journal(store).refused("", "tokens", "lin (token 3)", "That takes the role admin.")
    assert len(facts(store, DAEMON_LOG)) == 1


@pytest.mark.parametrize("environment", ["staging", ""])
def test_that_it_cannot_be_written_keeps_nobody_from_the_answer(environment: str) -> None:
    """The disk is full, or the passes are quicker every time."""
    store = Busy()
    store.is_full = True
    journal(store).refused(environment, "rollback", "lin", "No.")
    store.is_full, store.conflicts = False, 99
    journal(store).refused(environment, "rollback", "lin", "No.")
    assert facts(store, "staging") == facts(store, DAEMON_LOG) == []


def test_many_who_are_refused_take_no_memory() -> None:
    """The oldest are forgotten, and would be written again."""
    store = Busy()
    of = journal(store)
    for number in range(1_001):
        of.refused("staging", "rollback", f"somebody-{number}", "No.")
    of.refused("staging", "rollback", "somebody-0", "No.")
    of.refused("staging", "rollback", "somebody-1000", "No.")
    assert len(facts(store, "staging")) == 1_002
