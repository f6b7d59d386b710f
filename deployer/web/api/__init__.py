"""The API, version 1: the read models and the commands, over HTTP.

Each module owns the routes of one kind. None decides anything: a route is one call of `Models` or
`Service`.
"""

from deployer.web.api.events import router as events
from deployer.web.api.outbox import router as outbox
from deployer.web.api.reads import router as reads
from deployer.web.api.tokens import router as tokens
from deployer.web.api.writes import router as writes

PREFIX = "/api/v1"

__all__ = ["PREFIX", "events", "outbox", "reads", "tokens", "writes"]
