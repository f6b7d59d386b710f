"""A real server of git's own protocol: `git daemon` on a free loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.eventually import eventually
from tests.support.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GitDaemon:
    """A daemon that serves the repositories of a folder."""

    port: int

    def url(self, name: str) -> str:
        """The URL of the repository in the folder `name`."""
        return f"git://127.0.0.1:{self.port}/{name}"


@contextmanager
def git_daemon(root: Path) -> Iterator[GitDaemon]:
    """Serve the repositories below `root` until the block ends."""
    daemon = GitDaemon(free_port())
    command = ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={root}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with subprocess.Popen(
        [*command, "--listen=127.0.0.1", f"--port={daemon.port}", str(root)],
        env=clean,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            eventually(lambda: _answers(daemon.port), within=_SECONDS, every=0.01, what="git daemon answers")
            yield daemon
        finally:
            # `git daemon` is a child of `git`, which does not hand signals on.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
