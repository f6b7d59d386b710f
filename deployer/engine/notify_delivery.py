"""Delivers notices to the receiver of a route.

Owns what a message becomes there, its id, and what a refusal means for the outbox. Must not know HTTP, nor
who is told what. Invariant: a message that is sent again is the same one, under the same id, so that a
receiver can drop it.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from deployer.adapters.notify_apprise import ChatUnavailable
from deployer.adapters.webhook import WebhookUnavailable
from deployer.core import commit_status
from deployer.core.events import DAEMON_LOG
from deployer.core.routes import NOTICE, cloud_event, test_payload
from deployer.engine.targets import Away, Gone, LockedOut, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from deployer.adapters.store import OutboxRow
    from deployer.core.routes import Route
    from deployer.core.status import Status

_NOBODY = "deployer"
"""The source's name where nobody has said by which address the daemon is known; a relative reference."""

_GONE, _TOO_MANY, _FIRST_SERVER_ERROR = 410, 429, 500
_NOT_LET_IN = frozenset({401, 403})
_ELSEWHERE = range(300, 400)
_NO_SUCH_ADDRESS = 404


class Receiver(Protocol):
    """`deployer.adapters.webhook.Webhook`, or `deployer.adapters.notify_apprise.Apprise`."""

    def send(self, id_: str, body: Mapping[str, Any]) -> None:
        """Send it. Raises WebhookUnavailable or ChatUnavailable."""

    def interrupt(self) -> None:
        """End what runs."""


class NoticeTarget:
    """The receiver of one route."""

    is_here = False

    def __init__(self, route: Route, receiver: Receiver, public_url: str | None) -> None:
        """Take the receiver. `public_url` is by which people reach the daemon, if they can."""
        self.name = self.audience = route.audience
        self.environments: Collection[str] | None = route.environments
        self._receiver = receiver
        self._public_url = public_url.rstrip("/") if public_url is not None else None

    def hears_of(self, status: Status) -> bool:
        """Whether something waits there that may be told."""
        is_mine = self.environments is None or status.environment in self.environments
        return is_mine and commit_status.waiting(status) is not None

    def deliver(self, row: OutboxRow) -> None:
        """Send it. Raises Refused, Away, LockedOut or Gone."""
        if row.kind != NOTICE:
            message = (
                f"this version does not know what a {row.kind} is here: a newer one wrote it. Install that"
                " one again, or type `deployer outbox drop`"
            )
            raise Refused(message)
        place = f"{self.name} {row.environment} {row.event_id} {row.id} {row.created_at.isoformat()}"
        self.send(
            hashlib.sha256(place.encode()).hexdigest()[:32], row.environment, row.created_at, row.payload
        )

    def send(self, id_: str, environment: str, at: datetime, payload: Mapping[str, Any]) -> None:
        """Send this payload. Raises as `deliver`."""
        id_ = f"msg_{id_}"
        rollout = payload["rollout"]
        body = cloud_event(
            payload,
            id_=id_,
            environment=environment,
            at=at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            deployer=self._public_url or _NOBODY,
            link=self._page(environment, rollout),
        )
        try:
            self._receiver.send(id_, body)
        except WebhookUnavailable as error:
            raise _meaning(error) from error
        except ChatUnavailable as error:
            raise _meaning_in_a_chat(error) from error

    def test(self, at: datetime) -> None:
        """Send what says that it is a test. Raises as `deliver`."""
        payload = test_payload(self.name.partition("/")[2])
        self.send(secrets.token_hex(16), DAEMON_LOG, at, payload)

    def interrupt(self) -> None:
        """End what runs."""
        self._receiver.interrupt()

    def _page(self, environment: str, rollout: str | None) -> str | None:
        if self._public_url is None or environment == DAEMON_LOG:
            return None
        path = f"/rollouts/{quote(rollout, safe='')}" if rollout else f"/env/{quote(environment, safe='')}"
        return f"{self._public_url}{path}"


def _meaning(error: WebhookUnavailable) -> Refused | Away:
    return _meaning_of(error.status, error.why, error.retry_after_seconds)


def _meaning_of(status: int | None, why: str, retry_after: float | None) -> Refused | Away:
    """Whether the receiver is away, gone, does not let us in, or only does not take this."""
    if status is None or status >= _FIRST_SERVER_ERROR or status == _TOO_MANY:
        return Away(why, retry_after)
    if status == _GONE:
        return Gone(why)
    if status in _NOT_LET_IN or status in _ELSEWHERE:
        return LockedOut(why)
    return Refused(why)


def _meaning_in_a_chat(error: ChatUnavailable) -> Refused | Away:
    """The same, but that an address which is not known there takes no other message either."""
    if error.status == _NO_SUCH_ADDRESS:
        return LockedOut(error.why)
    return _meaning_of(error.status, error.why, None)
