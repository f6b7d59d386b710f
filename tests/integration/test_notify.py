"""Messages to a real receiver: what arrives, signed by whom, and what follows when it does not take them."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.adapters.store import OutboxStore, SqlStore
from deployer.adapters.webhook import Webhook, WebhookUnavailable
from deployer.core import webhooks
from deployer.core.routes import Route, message
from deployer.engine.notify_delivery import NoticeTarget
from deployer.engine.outbox import Outbox
from tests.support.build import at, release, seen
from tests.support.eventually import eventually
from tests.support.free_port import free_port
from tests.support.hostile_http import Hostile, Request, answer
from tests.support.promotion_site import PromotionSite
from tests.unit.core.test_routes import FAILURE

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

SECRET = b"0123456789abcdef0123456789abcdef"
TOKEN = "a-bearer-token-of-ours"
NAME = "notify/ops"


class Place(Hostile):
    """A receiver that answers what `script` says, then 204; and checks each signature."""

    def __init__(self, *script: bytes | None) -> None:
        """Begin with these answers; None hangs."""
        self.script = list(script)
        super().__init__(behave=self._behave)

    def _behave(self, _request: Request, _: socket.socket) -> bytes | None:
        said = self.script.pop(0) if self.script else answer(204)
        if said is None:
            self.pause()
        return said

    @property
    def ids(self) -> list[str]:
        """The ids of all that came."""
        return [one.headers["webhook-id"] for one in self.requests]

    def bodies(self) -> list[dict[str, Any]]:
        """What came, in its order."""
        return [json.loads(one.body) for one in self.requests]


class Site:
    """A store with a route's messages, a clock, and an outbox over it."""

    def __init__(self, root: Path) -> None:
        """Begin with an empty one."""
        self.root = root
        self.seconds = 0.0
        self.store = SqlStore.open(root / "deployer.db")
        self.outbox = OutboxStore(self.store.database)
        for name, content in (("secret", SECRET), ("token", TOKEN.encode())):
            (root / name).write_bytes(content + b"\n")

    def say(self, number: int) -> None:
        """Write one."""
        record = self.store.load("staging")
        self.store.commit(record, [seen(release(str(number)), number)], [message(Route(name="ops"), FAILURE)])

    def webhook(self, address: str) -> Webhook:
        """What sends there."""
        return Webhook(
            f"{address}/a-secret-path",
            secret_file=self.root / "secret",
            token_file=self.root / "token",
            clock=lambda: at(self.seconds).timestamp(),
            total_seconds=0.5,
        )

    def deliver(self, address: str) -> None:
        """Deliver what is due, as a new process does."""
        target = NoticeTarget(Route(name="ops"), self.webhook(address), None)
        with capture_logs() as logs:
            Outbox(self.outbox, [target], now=lambda: at(self.seconds), jitter=lambda: 0.5).deliver_all()
        assert TOKEN not in str(logs)
        assert "secret-path" not in str(logs)

    def state(self) -> tuple[int, int, float | None]:
        """How many wait, how many are dead, and in how many seconds the receiver is asked again."""
        waiting = self.outbox.waiting(NAME, NAME)
        (state,) = self.outbox.targets()
        left = (state.next_at - at(self.seconds)).total_seconds() if state.next_at else None
        return waiting.count, waiting.dead, left


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A store with two messages."""
    site = Site(tmp_path)
    site.say(1)
    site.say(2)
    yield site
    site.store.close()


def test_what_arrives_is_a_signed_cloud_event(site: Site) -> None:
    """Standard Webhooks around CloudEvents in structured mode; in order, each with an id of its own."""
    with Place() as place:
        site.deliver(place.address)

        first, second = place.requests
        assert (first.method, first.path) == ("POST", "/a-secret-path")
        assert first.headers["content-type"].startswith("application/cloudevents+json")
        assert first.headers["authorization"] == f"Bearer {TOKEN}"
        assert len({*place.ids}) == 2
        for one in (first, second):
            headers = [(name.encode(), value.encode()) for name, value in one.headers.items()]
            now = at(0).timestamp()
            taken = webhooks.verify("generic", [SECRET], headers, one.body, now)
            assert taken == webhooks.Accepted(delivery=one.headers["webhook-id"])
            body = json.loads(one.body)
            assert (body["specversion"], body["id"]) == ("1.0", one.headers["webhook-id"])
            assert body["data"]["text"] == FAILURE.text
    assert site.state() == (0, 0, None)


@pytest.mark.parametrize(
    ("said", "least"),
    [
        (answer(500), 1.0),
        (answer(503, headers=["Retry-After: 120"]), 120.0),
        (answer(429, headers=["Retry-After: 90"]), 90.0),
        (answer(429, headers=["Retry-After: Sun, 22 Nov 2026 10:43:30 GMT"]), 90.0),
        (answer(429, headers=["Retry-After: soon"]), 1.0),
        (answer(503, headers=["Retry-After: 999999"]), 3600.0),
        (answer(401, "no"), 1.0),
        (answer(302, headers=["Location: http://127.0.0.1:1/"]), 1.0),
        (None, 1.0),
        (b"nonsense\r\n\r\n", 1.0),
    ],
    ids=["500", "503", "429", "date", "nonsense-date", "too-long", "401", "redirect", "hangs", "no-http"],
)
def test_a_receiver_that_takes_nothing_is_asked_again_with_the_same_id(
    site: Site, said: bytes | None, least: float
) -> None:
    """Nothing is lost, nothing goes elsewhere; and not before it wants to be asked."""
    with Place(said) as place:
        site.deliver(place.address)
        assert site.state() == (2, 0, least)
        site.seconds = least - 0.5
        site.deliver(place.address)
        assert len(place.requests) == 1
        site.seconds = least
        site.deliver(place.address)
        first, again, other = place.ids
    assert first == again != other
    assert site.state() == (0, 0, None)


def test_a_receiver_that_is_down_misses_nothing(site: Site) -> None:
    """It comes back under the same address."""
    site.deliver(f"http://127.0.0.1:{free_port()}")
    assert site.state() == (2, 0, 1.0)
    site.seconds = 2.0
    with Place() as place:
        site.deliver(place.address)
        assert len(place.requests) == 2


def test_one_that_is_gone_is_told_nothing_more(site: Site) -> None:
    """410: what waits is dead at once, with the reason and the next step."""
    with Place(answer(410)) as place:
        site.deliver(place.address)
        assert len(place.requests) == 1
    waiting, dead, _ = site.state()
    assert (waiting, dead) == (0, 2)
    why = site.outbox.letters()[0].why
    assert why.endswith("and wants nothing any more: take the route out of the settings")


def test_one_that_lets_nobody_in_is_not_asked_for_ever(site: Site) -> None:
    """After ten tries all that waits is dead; the reason names the files, and shows no token."""
    with Place(*[answer(401, f"no {TOKEN}")] * 10) as place, capture_logs():
        target = NoticeTarget(Route(name="ops"), site.webhook(place.address), None)
        box = Outbox(site.outbox, [target], now=lambda: at(site.seconds), jitter=lambda: 0.5)
        for _ in range(10):
            assert site.outbox.waiting(NAME, NAME).dead == 0
            box.deliver_all()
            site.seconds += 400.0
        assert len(place.requests) == 10
    assert site.state()[:2] == (0, 2)
    why = site.outbox.letters()[0].why
    assert "check secret_file and token_file (it says: no <redacted>)" in why


def test_one_message_that_is_not_taken_holds_up_no_other(site: Site) -> None:
    """400: it is tried again alone, and a dead letter in the end."""
    with Place(answer(400, "\x1b[31m<b>no</b>")) as place:
        site.deliver(place.address)
        assert len(place.requests) == 2
        assert site.state()[0] == 1
        place.script = [answer(400, "no")] * 5
        for _ in range(5):
            site.seconds += 60.0
            site.deliver(place.address)
    assert site.state()[:2] == (0, 1)
    (letter,) = site.outbox.letters()
    assert letter.why.endswith("it answered 400, and does not take this: see what it says (it says: no)")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("secret", b"short", "cannot sign: it is shorter than 16 bytes"),
        ("secret", None, "cannot read its secret_file"),
        ("token", b"two words", "is no token: write one there"),
        ("token", None, "cannot read its token_file"),
    ],
    ids=["short", "no-secret", "no-token", "token-gone"],
)
def test_files_that_are_of_no_use_are_told_and_nothing_is_sent(
    site: Site, name: str, content: bytes | None, why: str
) -> None:
    """They can change while the daemon runs."""
    file = site.root / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with Place() as place:
        with pytest.raises(WebhookUnavailable, match=why):
            site.webhook(place.address).send("msg_1", {})
        assert place.requests == []


def test_a_stop_ends_what_hangs(site: Site) -> None:
    """And nothing is sent after it."""
    with Place(None) as place:
        webhook = Webhook(place.address, secret_file=site.root / "secret")
        failed: list[str] = []

        def send() -> None:
            try:
                webhook.send("msg_1", {})
            except WebhookUnavailable as error:
                failed.append(error.why)

        thread = threading.Thread(target=send)
        thread.start()
        eventually(lambda: len(place.requests) == 1, within=10)
        webhook.interrupt()
        thread.join(10)
        assert not thread.is_alive()
        send()
        assert failed == ["it was not sent to the end: the daemon is shutting down"] * 2


# --- the command, and the daemon ----------------------------------------------------------------------------


@contextmanager
def daemon(root: Path) -> Iterator[tuple[PromotionSite, Place]]:
    """A site whose daemon has one route for all, and one for production alone."""
    (root / "secret").write_bytes(SECRET)
    (root / "secret").chmod(0o600)
    with Place() as place, capture_logs():
        hook = {"url": f"{place.address}/x", "secret_file": str(root / "secret")}
        routes = {"ops": {"webhook": hook}, "others": {"webhook": hook, "environments": ["staging"]}}
        yield PromotionSite(root, more={"notify": routes}, staging={"sync": "manual"}), place


def test_the_story_of_a_failure_and_its_end(tmp_path: Path) -> None:
    """Told, told to have gone back, and told to be well again by a daemon that was started in between."""
    with daemon(tmp_path) as (site, place):

        def told() -> list[tuple[str, str]]:
            said = [one for one in place.bodies() if one["data"]["environment"] == "dev"]
            return [(one["type"].rpartition(".")[2], one["data"]["thread"]) for one in said]

        site.push(1)
        with site.running():
            assert site.type("sync", "dev", "--wait").exit_code == 0
            site.push(2, app="constructor_raises:app")
            assert site.type("sync", "dev", "--wait").exit_code == 4
            wanted = [("good", "dev#1"), ("failed", "dev#2"), ("rolled_back", "dev#2")]
            eventually(lambda: told() == wanted, within=60)
            names = [one["name"] for one in site.json("outbox", "list")["targets"]]
            assert names == ["log", "notify/ops", "notify/others"]
        site.push(3)
        with site.running():
            assert site.type("sync", "dev", "--wait").exit_code == 0
            eventually(lambda: told()[3:] == [("recovered", "dev#2")], within=60)
        last = [one["data"] for one in place.bodies() if one["data"]["environment"] == "dev"][-1]
        assert last["text"].startswith("dev: well again after ")
        assert last["recovered"] is True
        assert len({*place.ids}) == len(place.ids)


def test_what_waits_for_people_is_told(tmp_path: Path) -> None:
    """To each route that asks for the environment, once."""
    with daemon(tmp_path) as (site, place), site.running():
        site.push(1, branch="env/staging")

        def told() -> list[str]:
            said = [one["data"] for one in place.bodies()]
            return [one["sentence"] for one in said if one["about"] == "waiting"]

        eventually(lambda: len(told()) == 2, within=60)
        assert "Waits for manual." in told()[0]
        assert told()[0] == told()[1]


def test_a_test_message_tells_by_its_exit_code(tmp_path: Path) -> None:
    """0 once it was taken; 1 with the reason; 64 for what is no route."""
    with daemon(tmp_path) as (site, place):
        with site.running():
            pass
        place.requests.clear()
        result = site.type("notify", "test", "ops")
        assert result.exit_code == 0, result.output
        assert result.stdout == f"ops: {place.address} took the test message.\n"
        (body,) = place.bodies()
        assert (body["type"], body["data"]["test"]) == ("dev.deployer.notice.test", True)
        assert "This is a test of the route ops" in body["data"]["text"]
        assert site.json("notify", "test", "ops") == {"route": "ops", "delivered": True}

        place.script = [answer(401)]
        refused = site.type("notify", "test", "others")
        assert refused.exit_code == 1
        assert "was not delivered" in refused.stderr
        assert "check secret_file and token_file" in refused.stderr
        unknown = site.type("notify", "test", "nobody")
        assert unknown.exit_code == 64
        assert "There are: ops, others." in unknown.stderr

        listed = site.type("notify", "list")
        assert listed.exit_code == 0
        assert listed.stdout.splitlines()[1].split()[:2] == ["ops", place.address]
        assert site.json("notify", "list")["routes"][1] == {
            "name": "others",
            "to": place.address,
            "environments": ["staging"],
            "kinds": None,
            "severity": "info",
            "quiet_hours": [],
            "always": [],
        }


def test_without_routes_that_is_said(tmp_path: Path) -> None:
    """With where to read more."""
    site = PromotionSite(tmp_path)
    with capture_logs(), site.running():
        pass
    assert "the settings have no `notify`" in site.type("notify", "list").stdout
    assert "add it to `notify`" in site.type("notify", "test", "ops").stderr
