"""A Ray head of our own, for `deployer demo` and for the tests.

Owns one child that is a whole Ray head on free loopback ports in a folder of its own. Must not know what
is deployed on it. Invariant: what `start` started has ended when `stop` returns, and also soon after this
process is killed; nobody else's Ray is touched (`ray stop` would kill every one on the machine).
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deployer.cli import keeper
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

START_SECONDS = 90.0
"""To be ready takes 7 s on two idle cores (3 s of it the first import of Serve in the dashboard), and
several times that where somebody else needs them (2.60)."""

STOP_SECONDS = keeper.GRACE_SECONDS + keeper.LAST_SECONDS + 5.0
"""The keeper's own limits, and some time to remove the folder."""

_READY_POLL_SECONDS = 0.1

_PORTS = range(20_000, 30_000)
"""Below the ports that Linux gives to outgoing connections (32768-60999), above those that Ray gives to
workers where nobody says otherwise (10002-19999): so that a port found free stays free for the moment."""

_PORT_TRIES = 100

_LOG_TAIL_BYTES = 4_000

_OBJECT_STORE_BYTES = 100_000_000
"""Ray's own minimum is 75 MiB."""


class LocalRayError(Exception):
    """The head did not start. The text says why, with the end of its log."""


class LocalRay:
    """A Ray head that lives and dies with this process.

    A context manager; inside it `address` is the head's dashboard, such as `http://127.0.0.1:23456`.
    """

    def __init__(
        self,
        *,
        num_cpus: int = 4,
        pythonpath: Iterable[Path] = (),
        python: str = sys.executable,
        options: Iterable[str] = (),
    ) -> None:
        """Start nothing yet.

        `num_cpus` is what Ray believes to have, whatever the machine has. `pythonpath` are the folders
        that applications are imported from, before those of the interpreter. `python` is the interpreter
        whose Ray it is, when that is another version than ours. `options` are further words for `ray start`.
        """
        self._num_cpus = num_cpus
        self._pythonpath = tuple(pythonpath)
        self._python = python
        self._options = tuple(options)
        self._keeper: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start the head and wait until its Serve API answers. Raises LocalRayError if it does not."""
        if find_spec("ray") is None:
            message = "Ray is not installed here. To get it: pip install 'ray[serve]'"
            raise LocalRayError(message)
        # Below /tmp whatever TMPDIR says: Ray puts unix sockets some 60 characters deeper, where 107 is all
        # that they may have.
        folder = Path(tempfile.mkdtemp(prefix="deployer-ray-", dir="/tmp"))
        port = free_port()
        with (folder / "head.log").open("w+b") as log:
            self._keeper = subprocess.Popen(  # noqa: S603 - every word of it is ours
                [sys.executable, "-I", keeper.__file__, str(folder), *self._command(folder, port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                # A Ctrl-C in the terminal is for us alone; we stop the head in good order after it.
                start_new_session=True,
            )
            self.address = f"http://127.0.0.1:{port}"
            try:
                trouble = self._wait_until_ready(self._keeper)
            except BaseException:
                self.stop()
                raise
            if trouble:
                self.stop()
                message = f"The local Ray head did not start: {trouble}. The end of its log:\n{_tail(log)}"
                raise LocalRayError(message)

    def stop(self) -> None:
        """End the head and everything that it started. Does nothing if it does not run."""
        if self._keeper is None:
            return
        stopping, self._keeper = self._keeper, None
        if stopping.stdin is not None:
            stopping.stdin.close()
        try:
            stopping.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            stopping.kill()
            raise

    def _command(self, folder: Path, port: int) -> list[str]:
        options = {
            "--node-ip-address": "127.0.0.1",
            # 0: a free one that is found at the moment it is bound.
            "--port": "0",
            "--dashboard-host": "127.0.0.1",
            "--dashboard-port": str(port),
            "--dashboard-agent-listen-port": "0",
            "--dashboard-agent-grpc-port": "0",
            # 0 is refused by Ray 2.40 and older.
            "--runtime-env-agent-port": str(free_port()),
            "--metrics-export-port": "0",
            "--min-worker-port": "0",
            "--max-worker-port": "0",
            # Cannot be turned off, and takes 10001 if it is not told (2.60).
            "--ray-client-server-port": str(free_port()),
            "--num-cpus": str(self._num_cpus),
            # Else Ray takes 30 % of the machine's memory for objects; Serve's requests need next to none.
            "--object-store-memory": str(_OBJECT_STORE_BYTES),
            "--temp-dir": str(folder),
        }
        flags = [word for option in options.items() for word in option]
        start = [self._python, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        return [*start, "--disable-usage-stats", *flags, *self._options]

    def _environment(self) -> dict[str, str]:
        """Ours, without what it may say to Ray: `RAY_ADDRESS` alone would bring in another cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        paths = [*map(str, self._pythonpath), kept.get("PYTHONPATH", "")]
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # A token in ~/.ray would turn authentication on (2.60). Off is right here because of the next.
            "RAY_AUTH_MODE": "disabled",
            # In spite of its name: keeps the head's ports on loopback. Without it 127.0.0.1 is replaced by
            # the machine's own address, and GCS and raylet listen on all interfaces. One port per Serve
            # replica still does, which no option changes (2.60, serve/_private/replica.py).
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }

    def _wait_until_ready(self, running: subprocess.Popen[bytes]) -> str:
        """Wait for Serve's API. Returns what went wrong, or nothing."""
        # `requests` costs a tenth of a second: not for those who only look at the command's help.
        from deployer.adapters.serve import ServeCluster
        from deployer.core.live import Live

        cluster = ServeCluster(self.address)
        deadline = time.monotonic() + START_SECONDS
        try:
            while running.poll() is None:
                seen = cluster.observe()
                if isinstance(seen, Live):
                    return ""
                if time.monotonic() > deadline:
                    return f"not ready after {START_SECONDS:g} s. {seen.why.rstrip('.')}"
                time.sleep(_READY_POLL_SECONDS)
        finally:
            cluster.close()
        return f"it ended with exit code {running.returncode}"


def free_port() -> int:
    """A port on loopback that nobody listens on now, for Serve's HTTP proxy or whatever else."""
    for _ in range(_PORT_TRIES):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    message = f"no free port found between {_PORTS.start} and {_PORTS.stop} in {_PORT_TRIES} tries"
    raise LocalRayError(message)


def _tail(log: IO[bytes]) -> str:
    """The end of the log. The file may be gone from its folder; the open handle still reads it."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
    return plain(log.read().decode(errors="replace"))
