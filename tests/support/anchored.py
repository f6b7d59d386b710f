"""A store, a key, a git server and a syslog: what a log is signed with, and where it is anchored.

All of it is real: SQLite, ssh-keygen, git over HTTP, sockets. Owns how they are put together, by the settings
and by what the daemon itself calls (`deployer.cli.anchors`). Must not decide what is right.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml
from structlog.testing import capture_logs

from deployer.adapters.checkpoint_file import CheckpointFile
from deployer.adapters.store import SqlStore
from deployer.cli import anchors
from deployer.cli.context import STORE_FILE
from deployer.core.anchoring import Anchorage, ref_below
from deployer.core.checkpoint import SignedCheckpoint, parse_all
from deployer.core.events import DAEMON_LOG, DaemonStopped
from deployer.settings import load
from tests.support import git_server
from tests.support.audited import SCRIPT
from tests.support.eventually import eventually
from tests.support.prerequisites import require
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

    from deployer.core.events import Event
    from deployer.engine.anchoring import Anchoring
    from tests.support.git_server import GitServer

NAME = "deployer.example.com/audit"
TOKEN = "anchor-canary-0123456789"
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)

Lines = list["MutableMapping[str, Any]"]


def make_key(file: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair by ssh-keygen; the private one's file."""
    require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "audit", "-f", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    return file


class SyslogSocket:
    """A syslog that keeps what it is told: a Unix socket, or UDP."""

    def __init__(self, path: Path | None = None) -> None:
        """Listen."""
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.address = str(path) if path else f"127.0.0.1:{self.socket.getsockname()[1]}"

    def line(self) -> str:
        """The next one."""
        return self.socket.recv(4096).decode()

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()


class Anchored:
    """One log in a state directory, and a repository for its anchors."""

    def __init__(self, root: Path, *, every: str = "1h", **audit: Any) -> None:
        """Make all but the server. `audit` are more of its settings."""
        self.root = root
        self.key = make_key(root / "audit_key")
        self.state_dir = root / "state"
        self.repo = BareRepo(root / "git" / "anchors.git")
        self.token = root / "token"
        self.token.touch(mode=0o600)
        self.token.write_text(f"{TOKEN}\n")
        self.audit: dict[str, Any] = {"name": NAME, "key_file": str(self.key), "every": every, **audit}
        self.file = CheckpointFile(self.state_dir)
        self.ref = f"refs/{ref_below(NAME)}"
        self.logs: Lines = []
        self.add(3)

    @property
    def store(self) -> Path:
        """The file."""
        return self.state_dir / STORE_FILE

    def add(self, count: int, *events: Event) -> None:
        """Have so many more events, in one commit; or these."""
        with closing(SqlStore.open(self.store)) as store:
            record = store.load(DAEMON_LOG)
            store.commit(record, events or [DaemonStopped(at=AT, reason=self.root.name)] * count)

    def push_to(self, server: GitServer) -> None:
        """Have checkpoints pushed there, with the token."""
        self.audit["push"] = {"url": server.url("anchors.git"), "token_file": str(self.token)}

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[GitServer]:
        """Git over HTTP, for who has the token; the settings push there."""
        with git_server.serving(self.root / "git", token=TOKEN, port=port) as server:
            self.push_to(server)
            yield server

    def settings(self) -> Path:
        """The file, as it is wanted now."""
        file = self.root / "deployer.yaml"
        written = {
            "state_dir": str(self.state_dir),
            "server": {"listen": "127.0.0.1:0"},
            "repositories": {"configs": {"url": str(self.repo.path)}},
            "environments": {
                "staging": {
                    "repository": "configs",
                    "branch": "main",
                    "path": ".",
                    "cluster": {"address": "http://127.0.0.1:9"},
                }
            },
            "audit": self.audit,
        }
        file.write_text(yaml.safe_dump(written))
        return file

    @contextmanager
    def running(self, seconds: float = 20.0) -> Iterator[Anchoring]:
        """The thread at work on the store; stopped at the end, within the time. `logs` has what it said."""
        settings = load(self.settings(), {"HOME": "/nowhere"})
        with closing(SqlStore.open(self.store)) as store, capture_logs() as self.logs:
            made = anchors.made(settings, store.database)
            assert made is not None
            made.start()
            try:
                yield made
            finally:
                made.stop(seconds)

    def turn(self) -> Anchorage:
        """One daemon, from its start to its stop; what is known then."""
        with self.running() as made:
            pass
        return made.known

    def until(self, made: Anchoring, place: str, size: int) -> None:
        """Wait until so much is anchored there."""

        def is_there() -> bool:
            return any(one.place == place and one.size == size for one in made.known.kept)

        eventually(is_there, within=30, what=f"{size} events in {place}: {made.known}")

    def notes(self) -> list[SignedCheckpoint]:
        """All that are in the file of the state directory."""
        return parse_all(self.file.path.read_text()) if self.file.path.exists() else []

    def sizes(self) -> list[int]:
        """Of these."""
        return [note.checkpoint.size for note in self.notes()]

    def pushed(self) -> list[int]:
        """Of those on the ref, oldest first; [] if there is none."""
        if not self.repo.git("for-each-ref", self.ref):
            return []
        messages = self.repo.git("log", "--reverse", "--format=%B", self.ref)
        return [note.checkpoint.size for note in parse_all(f"{messages}\n")]

    def said(self, event: str) -> Lines:
        """What was logged of that."""
        return [line for line in self.logs if line["event"] == event]

    def verify(self, *checkpoints: Path, store: Path | None = None) -> tuple[int, str]:
        """What contrib/verify-audit.py says; of what `git log` prints of the ref, if nothing is named."""
        if not checkpoints:
            checkpoints = (self.root / "git-log.txt",)
            checkpoints[0].write_text(self.repo.git("log", self.ref) + "\n")
        notes = [f"--checkpoint={one}" for one in checkpoints]
        command = [sys.executable, "-I", "-S", str(SCRIPT), str(store or self.store), *notes]
        done = subprocess.run(
            [*command, f"--key={self.key}.pub", f"--origin={NAME}"],
            capture_output=True,
            check=False,
            timeout=60,
            text=True,
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.returncode, done.stdout
