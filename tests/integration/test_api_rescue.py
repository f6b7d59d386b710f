"""Commands that wait or must get through: the daemon restarts, a cluster hangs, others only connect."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.adapters.git import Mirror
from deployer.adapters.serve import Secrecy, ServeCluster
from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.daemon import running
from deployer.core.events import LogSource
from deployer.core.live import Unreachable
from deployer.settings import load
from deployer.web import Service, connections, service
from tests.support.daemon_site import NAME, SETTINGS, DaemonSite
from tests.support.eventually import eventually
from tests.support.hostile_http import Hostile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The daemon's log would come out among what the commands print."""
    with capture_logs():
        yield


@pytest.fixture
def site(tmp_path: Path) -> DaemonSite:
    """A site with one good commit, and no daemon yet."""
    made = DaemonSite(tmp_path)
    made.push(message="open the market")
    return made


def connection(site: DaemonSite) -> socket.socket:
    """An open connection to the API, over which nothing is sent."""
    return socket.create_connection(("127.0.0.1", int(site.api()[0].rpartition(":")[2])))


def is_closed(idle: socket.socket) -> bool:
    """Whether the other side has closed it."""
    idle.setblocking(False)  # noqa: FBT003 - its only parameter
    try:
        return idle.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_sync_goes_on_over_a_restart(site: DaemonSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new daemon knows nothing of git until it has looked, and that takes a while."""
    may_look, heads, status = threading.Event(), Mirror.heads, Service.status
    may_look.set()
    told: list[dict[str, Any]] = []

    def held(self: Mirror, *asked: Any) -> Any:
        assert may_look.wait(60)
        return heads(self, *asked)

    def seen(self: Service, environment: str, visible: Collection[str] | None = None) -> dict[str, Any]:
        told.append(status(self, environment, visible))
        return told[-1]

    monkeypatch.setattr(Mirror, "heads", held)
    monkeypatch.setattr(Service, "status", seen)
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        commit = site.push(args={"price": 5})
        site.cluster.reachable = False
        told.clear()
        command = [sys.executable, "-m", "deployer", "sync", NAME, "--wait", "-c", str(site.settings)]
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        eventually(lambda: told and told[-1]["git"]["revision"] == commit, within=30, what="it waits")
    may_look.clear()
    told.clear()
    with site.running():
        eventually(lambda: len(told) > 3, within=30, what="it asks the new daemon")
        assert {one["git"]["digest"] for one in told} == {None}
        assert waiting.poll() is None
        may_look.set()
        site.cluster.reachable = True
        output, errors = waiting.communicate(timeout=60)

    assert (waiting.returncode, commit[:7] in output) == (0, True), output + errors


def test_good_is_said_of_what_was_seen_since(site: DaemonSite) -> None:
    """A cluster that has been away since before the command was typed was last seen well."""
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        entered, leave = threading.Event(), threading.Event()

        def hang(**_: Any) -> Unreachable:
            entered.set()
            leave.wait(30)
            return Unreachable(why="The Ray cluster cannot be seen: no answer.")

        site.cluster.observe = hang  # type: ignore[method-assign]  # a cluster that does not answer
        try:
            result = site.type("sync", NAME, "--wait", "--timeout", "2s")
        finally:
            leave.set()

    assert entered.is_set()
    assert result.exit_code == 6, result.output


def test_a_rescue_gets_through_where_others_only_connect(
    site: DaemonSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need no token for that. Who has been silent for longest makes room, and nobody may be for long."""
    with site.running(), ExitStack() as stack:
        assert site.type("sync", NAME, "--wait").exit_code == 0
        idle = [stack.enter_context(closing(connection(site))) for _ in range(150)]
        began = time.monotonic()
        result = site.type("pause", NAME, "--reason", "3 am")
        took = time.monotonic() - began
        eventually(lambda: sum(is_closed(one) for one in idle) >= 50, within=10)
        monkeypatch.setattr(connections, "_REQUEST_SECONDS", 0.2)
        late = stack.enter_context(closing(connection(site)))
        late.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        answered = late.recv(65_536)
        slow = stack.enter_context(closing(connection(site)))
        slow.sendall(b"GET /healthz HT")
        eventually(lambda: is_closed(slow), within=10)

    assert result.exit_code == 0, result.output
    assert took < connections._REQUEST_SECONDS + 4
    assert b"connection: close" in answered.lower()


def test_the_slow_reads_of_one_cluster_take_turns(site: DaemonSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it hangs, the threads of the API stay free for a rescue."""
    monkeypatch.setattr(service, "_TURN_SECONDS", 0.1)
    entered, leave = threading.Event(), threading.Event()
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        observe = site.cluster.observe

        def hang(**more: Any) -> Any:
            entered.set()
            leave.wait(30)
            return observe(**more)

        site.cluster.observe = hang  # type: ignore[method-assign]  # a cluster that does not answer
        headers = {"Authorization": f"Bearer {site.api()[1]}"}
        asking = threading.Thread(
            target=site.http, args=("GET", f"/api/v1/environments/{NAME}/live"), kwargs={"headers": headers}
        )
        asking.start()
        try:
            assert entered.wait(10)
            second = eventually(lambda: _refused(site), within=10)
            paused = site.type("pause", NAME, "--reason", "3 am")
        finally:
            leave.set()
            asking.join(20)

    assert "Somebody else is reading from the cluster of staging" in second
    assert paused.exit_code == 0


def _refused(site: DaemonSite) -> str:
    result = site.type("live", NAME)
    return result.stderr if result.exit_code == 1 else ""


def test_a_person_and_a_pass_look_at_the_same_time(tmp_path: Path) -> None:
    """Over connections of their own, so that neither waits for the other at a cluster that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as cluster, ExitStack() as stack:
        cluster.settimeout(20)
        path = tmp_path / "deployer.yaml"
        address = f"127.0.0.1:{cluster.getsockname()[1]}"
        settings = SETTINGS.format(root=tmp_path, url=(tmp_path / "none.git").as_uri())
        settings = settings.replace("127.0.0.1:9", address)
        path.write_text(settings)
        with running(load(path, {})):
            stack.enter_context(cluster.accept()[0])
            site = DaemonSite.__new__(DaemonSite)
            site.state_dir = tmp_path / "state"
            headers = {"Authorization": f"Bearer {site.api()[1]}"}
            answers: list[int] = []

            def ask() -> None:
                url = f"/api/v1/environments/{NAME}/live"
                answers.append(site.http("GET", url, headers=headers).status_code)

            asking = threading.Thread(target=ask)
            asking.start()
            # The pass still waits for its answer over the first one.
            stack.enter_context(cluster.accept()[0])
        asking.join(20)
    assert answers == [503]


def test_what_one_client_knows_to_be_secret_the_other_does_not_show() -> None:
    """The pass sent the value; the person's client, which never saw it, reads the log."""
    line = b"ValueError: bad token hunter2-canary\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(line)}\r\nConnection: close\r\n\r\n".encode()
    secrecy = Secrecy()
    with Hostile(lambda _request, _connection: head + line) as dashboard:
        of_passes = ServeCluster(dashboard.address, secrecy=secrecy)
        of_people = ServeCluster(dashboard.address, secrecy=secrecy)
        of_passes.remember({"env_vars": {"TOKEN": "hunter2-canary"}})
        text = of_people.log_tail(LogSource(replica="r1", node_id="n1", path="serve/r1.log"))
        of_passes.close()
        of_people.close()
    assert text == "ValueError: bad token <redacted>\n"


def test_a_rollback_that_another_one_replaced_has_ended(site: DaemonSite) -> None:
    """Its wish is not in the history, and will not be."""
    with site.running():
        for price in (1, 2, 3):
            site.push(args={"price": price})
            assert site.type("sync", NAME, "--wait").exit_code == 0
        second, first = (one.rollout for one in site.store.good_releases(NAME)[1:3])
        site.cluster.reachable = False
        command = [sys.executable, "-m", "deployer", "rollback", NAME, "--to", first, "--wait"]
        command += ["-c", str(site.settings)]
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with closing(SqlStore.open_readonly(site.state_dir / STORE_FILE)) as store:
            eventually(lambda: store.load(NAME).asked, within=30, what="the first wish is taken")
        assert site.type("rollback", NAME, "--to", second).exit_code == 0
        site.cluster.reachable = True
        output, errors = waiting.communicate(timeout=60)

    assert waiting.returncode == 6, output + errors
    assert "Another rollback, staging#" in output


def test_what_comes_of_a_wish_has_a_higher_number_than_its_answer_says(site: DaemonSite) -> None:
    """What is in flight is what a sync may wait for; it is not the rollback that will cancel it."""
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        ended = site.store.load(NAME).rollouts
        site.push("slow:app", args={"start_seconds": 6000})
        site.type("sync", NAME)
        eventually(lambda: site.store.load(NAME).rollout, within=10)
        sync, back = site.json("sync", NAME, "--dry-run"), site.json("rollback", NAME, "--dry-run")

    assert (sync["after"], back["after"]) == (ended, ended + 1)
    assert back["events"] == ["rollback_asked"]
