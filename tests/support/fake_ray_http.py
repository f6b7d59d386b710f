"""The fake cluster behind Ray's REST paths, for a daemon in a process of its own.

What is answered is `FakeCluster`, written as Ray 2.60 writes it, so that the product's own client reads it.
Every request can be held where it arrives and where it is done: that is where a test kills the daemon.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from deployer.adapters.serve import Rejected
from deployer.core.events import Kind
from deployer.core.live import Live
from deployer.core.record import Rollout
from deployer.core.types import Check, Person, Policy, Release, Revision, ServeConfig
from tests.support.arrivals import Arrival, Moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.live import App, Deployment, Replica
    from tests.support.arrivals import Hold
    from tests.support.fake_cluster import FakeCluster

APPLICATIONS = "/api/serve/applications/"
_TOTAL = 1000.0
"""Of each resource: only what is free is asked for."""

_TICK_SECONDS = 0.05


class FakeRay:
    """A dashboard and a Serve proxy, on one port."""

    def __init__(self, fake: FakeCluster, hold: Hold) -> None:
        """Listen on a free loopback port."""
        self.fake = fake
        self.lock = threading.Lock()
        """Held while the fake is used: requests come at the same time."""
        self._hold = hold
        ray = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ray.serve(self)

            def do_PUT(self) -> None:
                ray.serve(self)

            def do_POST(self) -> None:
                ray.serve(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[_TICK_SECONDS], daemon=True)

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Answer."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """One request, held where it arrives and where it is done."""
        length = int(handler.headers.get("Content-Length", 0))
        arrival = Arrival(method=handler.command, path=handler.path, body=handler.rfile.read(length))
        handler.close_connection = True
        if not self._hold(arrival, Moment.ARRIVED):
            return
        with self.lock:
            status, text = self._answer(arrival)
        if not self._hold(arrival, Moment.DONE):
            return
        content = text.encode()
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except ConnectionError:
            return
        handler.close_connection = False

    def _answer(self, arrival: Arrival) -> tuple[int, str]:
        if arrival.is_probe:
            answer = self.fake.probe(Check(app="", path=arrival.path), self._live())
            return answer.status, answer.body
        if arrival.method == "PUT":
            return self._put(arrival.body)
        match arrival.path.partition("?")[0]:
            case "/api/version":
                live = self._live()
                return 200, json.dumps({"ray_version": live.ray_version, "session_name": live.session})
            case path if path == APPLICATIONS:
                return 200, json.dumps(details(self._live()))
            case "/api/cluster_status":
                return 200, json.dumps(_resources(self._live(resources=True).free))
            case "/api/v0/logs/file":
                return 200, "INFO the replica said this\n"
            case _:
                return 404, "404: Not Found"

    def _put(self, body: bytes) -> tuple[int, str]:
        try:
            self.fake.apply(_ANYBODYS, json.loads(body))
        except Rejected as error:
            head, _, tail = str(error).partition(": ")
            return 400, f"{head}\n{tail}" if "ServeDeploySchema" in head else str(error)
        return 200, ""

    def _live(self, *, resources: bool = False) -> Live:
        live = self.fake.observe(resources=resources)
        assert isinstance(live, Live)
        return live


class _Server(ThreadingHTTPServer):
    """A server whose peers may be killed at any moment."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of an error with its traceback, but not that the peer has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def details(live: Live) -> dict[str, Any]:
    """The document at `/api/serve/applications/`."""
    return {
        "controller_info": {"node_id": "node-1"} if live.serve_started else {},
        "proxies": {node: {"status": status} for node, status in live.proxies.items()},
        "target_capacity": live.target_capacity,
        "restores_unset_config_options": live.restores_unset_options,
        "applications": {name: _app(app) for name, app in live.apps.items()},
        **live.options,
    }


def _app(app: App) -> dict[str, Any]:
    return {
        "name": app.name,
        "route_prefix": app.route_prefix,
        "status": app.status,
        "message": app.message,
        "last_deployed_time_s": app.last_deployed_time_s,
        "source": app.source,
        "deployed_app_config": app.config,
        "deployments": {one.name: _deployment(one) for one in app.deployments},
    }


def _deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "name": deployment.name,
        "status": deployment.status,
        "status_trigger": deployment.status_trigger,
        "message": deployment.message,
        "target_num_replicas": deployment.target_replicas,
        "replicas": [_replica(one) for one in deployment.replicas],
        "recent_dead_replicas": [_replica(one) for one in deployment.dead],
        "deployment_config": deployment.effective,
    }


def _replica(replica: Replica) -> dict[str, Any]:
    told = {"replica_id": replica.replica_id, "state": replica.state}
    if replica.node_id is None:
        return told
    return {**told, "node_id": replica.node_id, "log_file_path": f"/{replica.log_path}"}


def _resources(free: Mapping[str, float] | None) -> dict[str, Any]:
    usage = {name: [_TOTAL - amount, _TOTAL] for name, amount in (free or {}).items()}
    return {"data": {"clusterStatus": {"loadMetricsReport": {"usage": usage, "nodeTypes": []}}}}


_NOBODY = Person(name="nobody", email="")
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_ANYBODYS = Rollout(
    id="?",
    kind=Kind.DEPLOY,
    release=Release(
        revision=Revision(commit="0" * 40, author=_NOBODY, committer=_NOBODY, subject="", committed_at=_NOW),
        config=ServeConfig(text='{"applications": []}', digest="?"),
    ),
    policy=Policy(),
    trigger="",
    started_at=_NOW,
    before={},
)
"""Over HTTP nobody says whose a PUT is."""
