"""What happens to the daemon itself, and what it refused, as events: for the tests that go over all types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.events import (
    CommandRefused,
    DaemonStarted,
    DaemonStopped,
    StoreRestored,
    TokenCreated,
    TokenRevoked,
)
from tests.support.build import at

if TYPE_CHECKING:
    from deployer.core.events import Event

COMMAND_REFUSED = CommandRefused(
    at=at(0), actor="lin (token 3)", command="rollback", why="staging is not known to be good"
)
STARTED = DaemonStarted(
    at=at(0),
    version="1.2.3",
    python="3.11.7",
    schema="0002",
    settings="sha256:1",
    clusters={"staging": "http://ray:8265"},
)
STOPPED = DaemonStopped(at=at(0))
TOKEN_CREATED = TokenCreated(
    at=at(0), actor="ada (local)", token="t3", name="lin", role="viewer", environments=("dev", "staging")
)
TOKEN_REVOKED = TokenRevoked(at=at(0), actor="ada (local)", token="t3", name="lin")
STORE_RESTORED = StoreRestored(at=at(0), actor="ada (local)", backup="sha256:2", events=1024)

OF_THE_DAEMON: tuple[Event, ...] = (STARTED, STOPPED, TOKEN_CREATED, TOKEN_REVOKED, STORE_RESTORED)
"""What stands in the daemon's own log alone."""
