"""The parts that the routes are made of, in one place.

Owns nothing but the list. Must not do anything. Invariant: routes get their parts from here and from
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployer.adapters.store.answers import Answers
from deployer.adapters.store.tokens import Tokens
from deployer.core.events import Event
from deployer.web.hub import Hub
from deployer.web.models import Models
from deployer.web.outbox import Desk
from deployer.web.problems import Unknown
from deployer.web.promotions import Promotions
from deployer.web.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the faces show and do. `environments` is in the order of the settings.

    `ready` gives the reason why the daemon is not ready to do its work, or None. `write` appends to the log
    of the daemon itself: durable once it returns, and raises what the store does.
    """

    environments: tuple[str, ...]
    service: Service
    models: Models
    hub: Hub
    tokens: Tokens
    answers: Answers
    ready: Callable[[], str | None]
    promotions: Promotions
    write: Callable[[Event], None]
    outbox: Desk

    def known(self, environment: str) -> str:
        """The name, if the settings have it. Raises Problem."""
        if environment not in self.environments:
            raise Unknown(environment, self.environments)
        return environment
