"""What the crash matrix stands on: the fake behind HTTP reads like the fake itself, and requests are held."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from deployer.adapters.serve import Rejected, ServeCluster, Unclear
from deployer.core.events import LogSource
from deployer.core.live import Live
from deployer.core.types import Check
from tests.crash.stories import ONE, TWO
from tests.support.arrivals import Arrival, Moment
from tests.support.build import record_of, release, started
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import FakeRay
from tests.support.tcp_proxy import HoldingProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.record import Rollout


def rollout() -> Rollout:
    """Any: over HTTP nobody says whose a PUT is."""
    found = record_of(started(release("a"))).rollout
    assert found is not None
    return found


class Gate:
    """Lets everything pass but what it is told to stop."""

    def __init__(self) -> None:
        """Nothing is stopped."""
        self.stopped: tuple[str, Moment] | None = None
        self.seen: list[tuple[str, str, Moment]] = []

    def hold(self, arrival: Arrival, moment: Moment) -> bool:
        """Note it, and say whether it goes on."""
        self.seen.append((arrival.method, arrival.path, moment))
        return (arrival.method, moment) != self.stopped


@pytest.fixture
def gate() -> Gate:
    """One for each test."""
    return Gate()


@pytest.fixture
def fake() -> FakeCluster:
    """A cluster on a clock of its own."""
    return FakeCluster()


@pytest.fixture
def ray(fake: FakeCluster, gate: Gate) -> Iterator[FakeRay]:
    """The fake behind HTTP."""
    with FakeRay(fake, gate.hold) as ray:
        yield ray


@pytest.fixture
def cluster(ray: FakeRay) -> Iterator[ServeCluster]:
    """The product's own client."""
    cluster = ServeCluster(ray.address, serve_address=ray.address)
    yield cluster
    cluster.close()


def test_a_look_over_http_sees_what_the_fake_shows(fake: FakeCluster, cluster: ServeCluster) -> None:
    """At every moment of a rollout, and of one that fails."""
    for body in (ONE, TWO, {"applications": [{**TWO["applications"][0], "import_path": "import_error:app"}]}):
        cluster.apply(rollout(), body)
        for _ in range(20):
            assert cluster.observe(resources=True) == fake.observe(resources=True)
            fake.advance(0.5)


def test_a_check_and_a_log_go_over_http(fake: FakeCluster, cluster: ServeCluster) -> None:
    """The proxy answers for the application, and the log API for a replica."""
    cluster.apply(rollout(), ONE)
    fake.advance(10)
    live = cluster.observe()
    assert isinstance(live, Live)
    assert cluster.probe(Check(app="fruit", path="/fruit"), live).status == requests.codes.ok
    (replica,) = live.apps["fruit"].deployments[0].replicas
    source = LogSource(replica=replica.replica_id, node_id=str(replica.node_id), path=replica.log_path)
    assert cluster.log_tail(source)


@pytest.mark.parametrize(
    ("text", "is_half"), [("1 validation error for ServeDeploySchema: x", False), ("no", True)]
)
def test_a_refusal_goes_over_http(
    fake: FakeCluster, cluster: ServeCluster, text: str, *, is_half: bool
) -> None:
    """Both kinds of 400."""
    fake.reject_next = text
    with pytest.raises(Rejected) as caught:
        cluster.apply(rollout(), ONE)
    assert caught.value.half_applied is is_half


@pytest.mark.parametrize("moment", Moment)
def test_a_request_can_be_stopped_on_either_side(
    fake: FakeCluster, cluster: ServeCluster, gate: Gate, moment: Moment
) -> None:
    """Where it arrives nothing has happened; where it is done it has."""
    gate.stopped = ("PUT", moment)
    with pytest.raises(Unclear):
        cluster.apply(rollout(), ONE)
    assert len(fake.puts) == (moment is Moment.DONE)


@pytest.mark.parametrize("moment", Moment)
def test_a_wire_stops_a_request_on_either_side(fake: FakeCluster, gate: Gate, moment: Moment) -> None:
    """The same through the wire that is laid in front of a real Ray."""
    gate.stopped = ("PUT", moment)
    with FakeRay(fake, lambda *_: True) as ray:
        place = urlsplit(ray.address)
        with HoldingProxy(str(place.hostname), place.port or 0, gate.hold) as wire:
            cluster = ServeCluster(wire.address)
            assert isinstance(cluster.observe(), Live)
            with pytest.raises(Unclear):
                cluster.apply(rollout(), ONE)
            cluster.close()
    assert len(fake.puts) == (moment is Moment.DONE)
    assert ("PUT", "/api/serve/applications/", Moment.ARRIVED) in gate.seen


@pytest.mark.parametrize("error", [ValueError, None])
def test_only_a_peer_that_has_gone_is_passed_over_in_silence(
    fake: FakeCluster, capfd: pytest.CaptureFixture[str], error: type[Exception] | None
) -> None:
    """A killed daemon resets its connections; whatever else goes wrong in the fake is told."""

    def hold(*_: object) -> bool:
        if error is not None:
            raise error
        return True

    with FakeRay(fake, hold) as ray:
        place = urlsplit(ray.address)
        for _ in range(3):
            with socket.create_connection((str(place.hostname), place.port or 0)) as peer:
                # Closing it resets the connection, as the kernel does for a process that was killed.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.sendall(b"GET /api/version HTTP/1.1\r\nHost: x\r\n" + b"\r\n" * (error is not None))
                if error is not None:
                    peer.recv(1)
    told = capfd.readouterr().err
    assert ("ValueError" in told) is (error is not None)
    assert "ConnectionResetError" not in told
