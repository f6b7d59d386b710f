"""What a notice becomes on its way to a receiver, who is told by the news, and what refusals mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.notify_apprise import ChatUnavailable
from deployer.adapters.store import OutboxRow
from deployer.adapters.webhook import WebhookUnavailable
from deployer.core import gates
from deployer.core.events import DAEMON_LOG, DaemonStopped, Event, Kind
from deployer.core.gates import Gating, Rules
from deployer.core.messages import Message
from deployer.core.record import Record, evolve
from deployer.core.routes import NOTICE, Route, of_route
from deployer.core.status import status
from deployer.core.windows import Recurring
from deployer.engine.news import News
from deployer.engine.notify_delivery import NoticeTarget
from deployer.engine.outbox import Away, Gone, LockedOut, Refused
from tests.support.build import (
    applied,
    at,
    desired,
    ended_well,
    failed,
    held,
    record_of,
    release,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


A, B = release("a"), release("b", "math")
ROUTE = Route(name="ops")
STORY: list[Event] = [
    seen(A),
    started(A),
    applied(),
    *ended_well(),
    seen(B, 20),
    started(B, 2, second=20),
    applied(2, 21),
    failed(2, second=30),
    held(2),
    started(A, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2"),
    applied(3, 32),
    *ended_well(3, 40),
    seen(A, 60),
]


class Receiver:
    """Remembers what it is sent, or fails."""

    def __init__(self) -> None:
        """Take everything."""
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.trouble: Exception | None = None
        self.is_interrupted = False

    def send(self, id_: str, body: Mapping[str, Any]) -> None:
        """Remember."""
        if self.trouble is not None:
            raise self.trouble
        self.sent.append((id_, body))

    def interrupt(self) -> None:
        """Remember."""
        self.is_interrupted = True


PAYLOAD = {"recovered": False, "about": "failed", "rollout": "staging#2", "sentence": "a.", "next_step": "b."}
ROW = OutboxRow(
    id=7,
    event_id=3,
    created_at=at(0),
    environment="staging",
    kind=NOTICE,
    audience="notify/ops",
    key="",
    message="a. b.",
    payload=PAYLOAD,
)


def target(receiver: Receiver, public_url: str | None = "https://deployer.example.com/") -> NoticeTarget:
    """The target of the route."""
    return NoticeTarget(ROUTE, receiver, public_url)


def test_what_is_sent_again_is_the_same() -> None:
    """Id and bytes; another row is another message."""
    receiver = Receiver()
    for row in (ROW, replace(ROW, attempts=3, is_retry=True), replace(ROW, id=8)):
        target(receiver).deliver(row)

    (first, body), again, (other, _) = receiver.sent
    assert again == (first, body)
    assert other != first
    assert first.startswith("msg_")
    assert "." not in first
    assert body["id"] == first
    assert body["time"] == "2026-11-22T10:42:00.000Z"
    assert body["source"] == "https://deployer.example.com/env/staging"
    assert body["data"]["link"] == "https://deployer.example.com/rollouts/staging%232"


def test_without_a_public_url_there_are_no_links() -> None:
    """Nobody could follow them; what is of no rollout leads to the environment."""
    receiver = Receiver()
    target(receiver, None).deliver(ROW)
    target(receiver).deliver(replace(ROW, payload={**PAYLOAD, "rollout": None}))

    assert [body["data"]["link"] for _, body in receiver.sent] == [
        None,
        "https://deployer.example.com/env/staging",
    ]
    assert receiver.sent[0][1]["source"] == "deployer/env/staging"


def test_a_test_message_says_that_it_is_one() -> None:
    """It is of no environment, and each is another."""
    receiver = Receiver()
    target(receiver).test(at(0))
    target(receiver).test(at(0))

    (first, body), (second, _) = receiver.sent
    assert first != second
    assert (body["type"], body["data"]["test"]) == ("dev.deployer.notice.test", True)
    assert (body["subject"], body["data"]["link"]) == (DAEMON_LOG, None)


@pytest.mark.parametrize(
    ("status_", "retry_after", "meaning"),
    [
        (None, None, Away),
        (500, None, Away),
        (503, 30.0, Away),
        (429, 7.0, Away),
        (429, None, Away),
        (401, None, LockedOut),
        (403, None, LockedOut),
        (302, None, LockedOut),
        (410, None, Gone),
        (400, None, Refused),
        (404, None, Refused),
    ],
)
def test_what_a_refusal_means(
    status_: int | None, retry_after: float | None, meaning: type[Exception]
) -> None:
    """Away, gone, locked out, or only this one not taken."""
    receiver = Receiver()
    receiver.trouble = WebhookUnavailable("no", status=status_, retry_after_seconds=retry_after)
    with pytest.raises((Away, Refused)) as caught:
        target(receiver).deliver(ROW)
    assert type(caught.value) is meaning
    assert getattr(caught.value, "retry_after", None) == retry_after


@pytest.mark.parametrize(
    ("status_", "meaning"),
    [
        (None, Away),
        (503, Away),
        (429, Away),
        (401, LockedOut),
        (404, LockedOut),
        (302, LockedOut),
        (410, Gone),
        (400, Refused),
    ],
)
def test_what_a_refusal_in_a_chat_means(status_: int | None, meaning: type[Exception]) -> None:
    """The same, but that an address which is not known there takes nothing else either."""
    receiver = Receiver()
    receiver.trouble = ChatUnavailable("no", status=status_)
    with pytest.raises((Away, Refused)) as caught:
        target(receiver).deliver(ROW)
    assert type(caught.value) is meaning


def test_what_another_version_wrote_is_refused() -> None:
    """And kept as a dead letter in the end."""
    with pytest.raises(Refused, match="does not know what a poem is"):
        target(Receiver()).deliver(replace(ROW, kind="poem"))


def test_a_stop_ends_what_runs() -> None:
    """At once."""
    receiver = Receiver()
    target(receiver).interrupt()
    assert receiver.is_interrupted


# --- who is told --------------------------------------------------------------------------------------------


def told(news: News, events: Iterable[Event], record: Record | None = None) -> list[Message]:
    """What the routes are told of these events."""
    record, found = record or Record(environment="staging"), list[Message]()
    for event in events:
        found += [one for one in news.of(record, event) if one.kind == NOTICE]
        record = evolve(record, event)
    return found


def about(messages: Iterable[Message]) -> list[tuple[str, bool]]:
    """What they are about, and whether they are recoveries."""
    return [(one.payload["about"], one.payload["recovered"]) for one in messages]


ALL_OF_IT = [("good", False), ("failed", False), ("rolled_back", False), ("failed", True)]


def test_a_story_is_told_to_each_route_that_asks_for_it() -> None:
    """Each has rows of its own."""
    news = News(routes=[ROUTE, Route(name="dev", environments=frozenset({"dev"}))])
    found = told(news, STORY)
    assert about(found) == ALL_OF_IT
    assert {one.audience for one in found} == {of_route("ops")}


@pytest.mark.parametrize("place", range(len(STORY)))
def test_a_daemon_that_starts_in_between_tells_the_rest(place: int) -> None:
    """It reads what one before has told out of the log: nothing is told twice, and nothing left out."""
    record = record_of(*STORY[:place])
    first = told(News(routes=[ROUTE]), STORY[:place])
    later = News(routes=[ROUTE], history=lambda _: STORY)
    assert about([*first, *told(later, STORY[place:], record)]) == ALL_OF_IT


def test_what_was_not_written_after_all_is_told_when_it_is() -> None:
    """A commit can fail: the same event comes again, or another."""
    news = News(routes=[ROUTE], history=lambda _: STORY)
    before = record_of(*STORY[:9])
    for _ in range(2):
        assert about(told(news, [STORY[9]], before)) == [("failed", False)]
    assert about(told(news, STORY[10:], record_of(*STORY[:10]))) == ALL_OF_IT[2:]


def test_what_happens_to_the_daemon_itself_is_no_notice() -> None:
    """It has a log of its own."""
    news = News(routes=[ROUTE])
    assert news.of(Record(environment=DAEMON_LOG), DaemonStopped(at=at(1))) == ()


def test_a_wait_is_told_once_for_each_reason_and_not_in_quiet_hours() -> None:
    """By a key and a mark: the store leaves out what was said already."""
    record = record_of(*STORY[:6], seen(B, 20))
    gating = Gating(rules=Rules(manual=True))
    waits = status(desired(B), running(A), record, at(100), {}, gating)
    (found,) = News(routes=[ROUTE]).of_waiting(waits)
    always = Recurring(cron="* * * * *", duration=86400.0, time_zone="UTC")
    quiet = News(routes=[replace(ROUTE, quiet=(always,))], now=lambda: at(0))

    assert (found.audience, found.key) == ("notify/ops", "waiting staging")
    assert found.mark == f"{B.revision.commit} gates manual"
    assert quiet.of_waiting(waits) == ()
    assert News().of_waiting(waits) == ()
    assert target(Receiver()).hears_of(waits)
    other = NoticeTarget(Route(name="x", environments=frozenset({"dev"})), Receiver(), None)
    assert not other.hears_of(waits)
    nothing = status(desired(A), running(A), record_of(*STORY[:6]), at(100), {}, gates.NONE)
    assert News(routes=[ROUTE]).of_waiting(nothing) == ()
    assert isinstance(News(routes=[ROUTE])._now(), datetime)
