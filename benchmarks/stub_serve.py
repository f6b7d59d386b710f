"""A Serve REST API that takes every PUT at once: what is measured against it is our own time, not Ray's.

One process serves any number of clusters, told apart by the first part of the path (`/c17/api/...`).
It says when each PUT came in.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StubServe:
    """The server; `puts` holds (monotonic seconds, cluster) of every PUT, and `gets` counts the GETs."""

    def __init__(self) -> None:
        """Listen on a free loopback port."""
        self.puts: list[tuple[float, str]] = []
        self.gets = 0
        self.arrived = threading.Condition()
        self._clusters: dict[str, dict[str, Any]] = {}
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                cluster, _, path = self.path[1:].partition("/")
                stub.gets += 1
                if path.endswith("version"):
                    self._answer({"version": "4", "ray_version": "2.60.0", "session_name": "session_stub"})
                else:
                    self._answer(stub.status(cluster))

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                cluster = self.path[1:].partition("/")[0]
                stub.take(cluster, json.loads(body))
                self._answer({})

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def _answer(self, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def address(self, cluster: str) -> str:
        """The dashboard address of one cluster."""
        return f"http://127.0.0.1:{self._server.server_port}/{cluster}"

    def take(self, cluster: str, body: dict[str, Any]) -> None:
        """Store a PUT, and say that it came."""
        now = time.monotonic()
        stamp = time.time()
        apps = {
            app["name"]: {
                "name": app["name"],
                "route_prefix": app.get("route_prefix"),
                "status": "RUNNING",
                "message": "",
                "last_deployed_time_s": stamp,
                "deployed_app_config": app,
                "source": "declarative",
                "deployments": {
                    "D": {
                        "name": "D",
                        "status": "HEALTHY",
                        "status_trigger": "CONFIG_UPDATE_COMPLETED",
                        "message": "",
                        "target_num_replicas": 1,
                        "replicas": [{"replica_id": "r1", "state": "RUNNING", "node_id": "n1"}],
                    }
                },
            }
            for app in body["applications"]
        }
        self._clusters[cluster] = apps
        with self.arrived:
            self.puts.append((now, cluster))
            self.arrived.notify_all()

    def status(self, cluster: str) -> dict[str, Any]:
        """What GET answers."""
        apps = self._clusters.get(cluster)
        if apps is None:
            return {"controller_info": {}, "proxies": {}, "applications": {}, "target_capacity": None}
        return {
            "controller_info": {"actor_id": "a"},
            "proxies": {"n1": {"node_id": "n1", "status": "HEALTHY"}},
            "applications": apps,
            "target_capacity": None,
            "restores_unset_config_options": True,
        }

    def wait_for_put(self, after: int, seconds: float) -> float:
        """Wait until more than `after` PUTs came; return when the next one did (monotonic seconds)."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: len(self.puts) > after, seconds):
                message = f"no PUT within {seconds} s"
                raise TimeoutError(message)
            return self.puts[after][0]

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """A server whose clients are stopped when a benchmark ends, in the middle of a connection or not."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base class
        """Tell of an error with its traceback, but not that the client has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
