"""`deployer outbox`, its API and its page: against a daemon that runs, with messages that nobody took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
from structlog.testing import capture_logs

from deployer.adapters.store import OutboxStore
from deployer.adapters.store.outbox import write
from deployer.core.messages import Message
from tests.support.build import at
from tests.support.daemon_site import NAME, DaemonSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "it says \x1b[31m<b>no</b> such\u202ecommit"
FORGE = "forge/configs"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[DaemonSite]:
    """A daemon with two dead letters, each to another target."""
    site = DaemonSite(tmp_path)
    site.push()
    with capture_logs(), site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        bury(site)
        yield site


def bury(site: DaemonSite) -> None:
    """Have two messages that their targets did not take."""
    outbox = OutboxStore(site.store.database)
    for number, name in enumerate((FORGE, "forge/others"), 1):
        told = Message(kind="commit_status", audience=name, text=f"message {number}")
        with site.store.database.writing() as connection:
            write(connection, NAME, [told], at="2026-11-22T10:42:00.000000Z", event_id=1)
        outbox.register(name, name)
        (row,) = outbox.due(name, name, at(0), 1)
        outbox.refuse(name, row, why=HOSTILE, at=at(0), is_dead=True)


def ids(site: DaemonSite) -> dict[str, int]:
    """The dead letters' ids, by their target."""
    return {one["target"]: one["id"] for one in site.json("outbox", "list")["dead"]}


def test_what_was_not_delivered_is_listed_with_its_reason(site: DaemonSite) -> None:
    """Harmless in a terminal; first how each target of this daemon stands."""
    listed = site.type("outbox", "list")
    log = site.json("outbox", "list")["targets"]

    assert listed.exit_code == 0, listed.output
    head, row, *_ = listed.stdout.splitlines()
    assert head.split()[:3] == ["TARGET", "WAITING", "SINCE"]
    assert row.split()[0] == "log"
    assert "message 1" in listed.stdout
    assert "<b>no</b>" in listed.stdout
    assert "\x1b" not in listed.stdout
    assert "\u202e" not in listed.stdout
    assert "deployer outbox retry ID" in listed.stderr
    assert [(one["name"], one["dead"]) for one in log] == [("log", 0)]


def test_one_is_tried_again_and_another_dropped(site: DaemonSite) -> None:
    """By its id, or all; what is no dead letter any more is said to be none."""
    letters = ids(site)
    retried = site.type("outbox", "retry", str(letters[FORGE]), "--reason", "the token is new")
    assert retried.exit_code == 0, retried.output
    assert retried.stdout == f"{letters[FORGE]} to {FORGE} is tried again: message 1\n"
    assert OutboxStore(site.store.database).next_at(FORGE) is not None
    assert [*ids(site)] == ["forge/others"]

    again = site.type("outbox", "retry", str(letters[FORGE]))
    assert again.exit_code == 64
    assert "There is no dead letter" in again.stderr
    other = site.type("outbox", "drop", str(letters["forge/others"]), "--target", FORGE)
    assert other.exit_code == 64

    assert site.json("outbox", "drop", "all")["dropped"][0]["message"] == "message 2"
    assert ids(site) == {}
    assert site.type("outbox", "drop", "all").stdout == "There are no dead letters.\n"
    assert site.type("outbox", "retry", "x1").exit_code == 64
    assert "Dead letters" not in str(site.type("outbox", "list").stderr)


def test_who_does_not_administer_everything_sees_nothing_of_it(site: DaemonSite) -> None:
    """A target is of many environments."""
    url, local = site.api()
    viewer = site.json("token", "create", "lin", "--role", "deployer")["secret"]
    with requests.Session() as session:
        session.trust_env = False
        paths = {"GET": "/api/v1/outbox", "POST": "/api/v1/outbox/all/drop"}
        for method, path in paths.items():
            asked: dict[str, Any] = {"headers": {"Authorization": f"Bearer {viewer}"}, "timeout": 10}
            body = {"reason": ""} if method == "POST" else None
            assert session.request(method, f"{url}{path}", json=body, **asked).status_code == 403
        asked = {"headers": {"Authorization": f"Bearer {local}"}, "timeout": 10}
        wrong = session.post(f"{url}/api/v1/outbox/x/drop", json={"by": "ada"}, **asked)
        page = session.get(f"{url}/doctor", **asked)

    assert wrong.status_code == 422
    assert len(ids(site)) == 2
    assert page.status_code == 200
    assert "Dead letters" in page.text
    assert "&lt;b&gt;no&lt;/b&gt;" in page.text
    assert "\u202e" not in page.text
