"""What a person asks for is for what they saw or mean: also between two passes, and over a restart."""

from __future__ import annotations

import json
import threading
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.main import cli
from deployer.core.approvals import ApprovalRule
from deployer.core.events import Approved
from deployer.core.gates import Gating, Rules
from deployer.core.record import evolve
from deployer.core.status import status, view
from deployer.web import Service
from deployer.web.passes import Passes
from deployer.web.problems import Problem
from tests.support.build import (
    applied,
    at,
    desired,
    ended_well,
    record_of,
    release,
    running,
    seen,
    started,
)
from tests.unit.cli.test_waiting import BUSY, rollout, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B, C = release("a"), release("b"), release("c")
NAME = "staging"
GOOD = (seen(A), started(A), applied(), *ended_well())


def test_an_approval_is_never_of_a_commit_that_no_plan_was_shown_of(tmp_path: Path) -> None:
    """Git wants another one, and what is published is still the plan of the one before."""
    rules = Rules(approvals=ApprovalRule(required=1, people=frozenset({"lin"})))
    record = record_of(*GOOD, seen(B, 40))
    shown = view(status(desired(B), running(A), record, at(50), gating=Gating(rules=rules)))
    plan = next(gate["plan"] for gate in shown["gates"] if gate["name"] == "approvals")
    with closing(SqlStore.open(tmp_path / "store.db")) as store:
        service = Service(
            store=store,
            sources=cast("Any", None),
            clusters={NAME: cast("Any", None)},
            passes=Passes(),
            repositories={NAME: "configs"},
            rules=lambda _environment: rules,
            commit=store.commit,
            enqueue=lambda _: None,
            now=lambda: at(70),
        )

        def approve() -> dict[str, Any]:
            return service.approve(
                NAME, plan=plan, login="lin", actor="lin (token x)", reason="", dry_run=False
            )

        kept = store.load(NAME)
        kept = store.commit(kept, [*GOOD, seen(B, 40)])
        with pytest.raises(Problem) as nothing:
            approve()
        assert "Nothing waits for approvals" in nothing.value.detail
        store.publish(NAME, shown, at(50))
        kept = store.commit(kept, [seen(C, 60)])
        with pytest.raises(Problem) as refused:
            approve()
        assert refused.value.status is HTTPStatus.CONFLICT
        assert "look at `deployer plan staging` again" in refused.value.detail

        now = evolve(record, seen(C, 60))
        again = view(status(desired(C), running(A), now, at(65), gating=Gating(rules=rules)))
        plan = next(gate["plan"] for gate in again["gates"] if gate["name"] == "approvals")
        store.publish(NAME, again, at(65))
        assert approve()["events"] == ["approved"]
        event = store.events(NAME, limit=100)[-1].event
        assert isinstance(event, Approved)
        assert (event.commit, event.plan) == (C.revision.commit, plan)


@contextmanager
def restarted() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """An API of a daemon that another one takes the place of; its address, and what was ordered."""
    orders: list[tuple[str, Any]] = []
    told = [
        state(instance="one", rollout=BUSY),
        state(instance="two", pass_number=0, is_current=False, git={"looks": 0}),
        state(rollout(5, "good"), instance="two", pass_number=1, git={"looks": 1}, sync="Synced"),
    ]

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(told.pop(0) if len(told) > 1 else told[0])

        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            orders.append((self.path.rpartition("/")[2], order))
            self._answer({"instance": "one", "look": 3, "pass_number": 7, "after": 4, "message": "Asked."})

        def _answer(self, body: dict[str, Any]) -> None:
            sent = json.dumps({"environment": NAME, **body}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", orders
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "typed", [["sync", NAME], ["promote", "dev", NAME, "--release", "dev#3"]], ids=["sync", "promote"]
)
def test_an_override_is_not_asked_for_again_where_the_daemon_restarts(
    tmp_path: Path, typed: list[str]
) -> None:
    """It would be for what git wants by then. What was asked is durable, and is waited for."""
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("dpl_" + "a" * 43)
    more = ["--skip", "freezes", "--reason", "INC-1", "--wait", "--timeout", "30s", "--token-file", str(file)]
    with restarted() as (url, orders):
        result = CliRunner().invoke(cli, [*typed, *more, "--server", url], env={"HOME": "/nonexistent"})

    assert result.exit_code == 0, result.output
    assert [(command, order["skip"]) for command, order in orders] == [(typed[0], ["freezes"])]
