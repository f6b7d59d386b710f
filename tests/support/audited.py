"""A real store with a thousand events, and the two verifiers of its log: the script of contrib, and our own.

Owns how each of them is run, so that tests compare what they say. Invariant: both get the same files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from deployer.adapters.store import SqlStore, raw
from deployer.adapters.store.sqlite import Database
from deployer.cli.main import cli
from deployer.core import raw_log
from deployer.core.merkle import Frontier
from deployer.core.raw_log import RawEvent
from tests.contract.histories import failing, good, play, rollback
from tests.support.build import release
from tests.support.note_signer import NoteSigner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from click.testing import Result

SCRIPT = Path(__file__).parents[2] / "contrib" / "verify-audit.py"
ORIGIN = "deployer.example.com/audit"
SIGNER = NoteSigner("ada")

ENVIRONMENTS = tuple(
    f"{kind}-{place}" for kind in ("prod", "staging", "test", "demo") for place in ("ap", "eu", "us", "za")
)
MANY = tuple(f"{name}-{number}" for name in ENVIRONMENTS for number in range(1, 5))
"""As many events in one round: in each environment one can be the first bad one."""

ROUNDS = 4
"""Of a good deploy, one that fails, and the rollback after it: 16 events each, 1,024 in all."""


def load() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("verify_audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load()


def build(path: Path, rounds: int = ROUNDS, names: Sequence[str] = ENVIRONMENTS) -> None:
    """Make the store, commit by commit as a daemon does, the environments in turn."""
    with closing(SqlStore.open(path)) as store:
        add(store, range(rounds), names)


def add(store: SqlStore, rounds: range, names: Sequence[str] = ENVIRONMENTS) -> None:
    """Go on for some rounds more."""
    for number in rounds:
        for name in names:
            record = play(store, store.load(name), good(store.load(name), release(f"{name} {number}")))
            record = play(store, record, failing(record, release(f"{name} {number}, broken")))
            play(store, record, rollback(record))


def rows(path: Path) -> list[tuple[Any, ...]]:
    """The log, as it is stored."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM events NOT INDEXED ORDER BY id").fetchall()


def events(path: Path) -> list[RawEvent]:
    """The same, by the names of its columns."""
    return [RawEvent(*row) for row in rows(path)]


def notes(path: Path, *sizes: int, signer: NoteSigner = SIGNER, origin: str = ORIGIN) -> str:
    """Signed checkpoints of the log as it is, at these sizes; at its whole size if none is given."""
    frontier, found = Frontier(), {}
    events = rows(path)
    for row in events:
        frontier.append(bytes.fromhex(row[-1]))
        if frontier.size in (sizes or (len(events),)):
            found[frontier.size] = signer.note(origin, frontier.size, frontier.root).text
    return "".join(found.values())


@dataclass(frozen=True, slots=True)
class Said:
    """What a verifier said: its exit code, and its lines on standard output."""

    code: int
    lines: tuple[str, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """All lines but the last."""
        return self.lines[:-1]


@dataclass(slots=True)
class Files:
    """What both verifiers are given, in a folder of its own: a log, notes and keys."""

    folder: Path
    log: Path
    notes: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=lambda: [f"{SIGNER.key.line} ada@example.com\n"])
    more: list[str] = field(default_factory=list)

    @classmethod
    def copy(cls, of: Path, folder: Path, *given: str) -> Files:
        """A copy of a log, to be changed."""
        copy = folder / of.name
        shutil.copyfile(of, copy)
        return cls(folder=folder, log=copy, notes=list(given))

    def connect(self) -> contextlib.closing[sqlite3.Connection]:
        """The store, for somebody who may do anything: each statement is a commit of its own."""
        return closing(sqlite3.connect(self.log, isolation_level=None))

    @contextlib.contextmanager
    def tampering(self) -> Iterator[sqlite3.Connection]:
        """The store without the triggers on its log, which are put back at the end."""
        with self.connect() as connection:
            triggers = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            yield connection
            for _, statement in triggers:
                connection.execute(statement)

    def named(self, kind: str, texts: list[str]) -> list[Path]:
        """Each text in a file."""
        paths = [self.folder / f"{kind}-{number}" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return paths

    def arguments(self) -> list[str]:
        """Of the script."""
        checkpoints = [f"--checkpoint={path}" for path in self.named("notes", self.notes)]
        keys = [f"--key={path}" for path in self.named("keys", self.keys)]
        return [str(self.log), *checkpoints, *keys, *self.more]

    def contrib(self) -> Said:
        """What the script says."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = script.main(self.arguments())
        return Said(code, tuple(out.getvalue().splitlines()))

    def ours(self) -> Said:
        """What `deployer audit verify` says, of the same files."""
        result = CliRunner().invoke(cli, ["audit", "verify", *self.arguments()])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Said(result.exit_code, tuple(result.stdout.splitlines()))

    def both(self) -> Said:
        """What both of them say, which is the same."""
        theirs = self.contrib()
        assert self.ours() == theirs
        return theirs


@dataclass(frozen=True, slots=True)
class Home:
    """A state directory as a daemon has it that signs, its settings, and who types commands."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, store: Path) -> Home:
        """With a copy of this store."""
        home = cls(folder)
        home.store.parent.mkdir(mode=0o700)
        shutil.copyfile(store, home.store)
        key = folder / "audit_key"
        key.touch(mode=0o600)
        key.with_name("audit_key.pub").write_text(f"{SIGNER.key.line} deployer\n")
        home._write(f"audit: {{name: {ORIGIN}, key_file: {key}}}\n")
        return home

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "state" / "deployer.db"

    @property
    def checkpoints(self) -> Path:
        """What the daemon signed."""
        return self.folder / "state" / "checkpoints.txt"

    def sign(self, *sizes: int, origin: str = ORIGIN) -> None:
        """Sign the log as it is, at these sizes, as the daemon would have."""
        with self.checkpoints.open("a") as file:
            file.write(notes(self.store, *sizes, origin=origin))

    def forget_key(self) -> None:
        """Have settings that sign nothing."""
        self._write("")

    def type(self, *args: str) -> Result:
        """Type `deployer ARGS`."""
        result = CliRunner().invoke(cli, [*args, "-c", str(self.folder / "deployer.yaml")])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def _write(self, more: str) -> None:
        (self.folder / "deployer.yaml").write_text(
            f"state_dir: {self.folder}/state\nrepositories: {{a: {{url: {self.folder}}}}}\n{more}"
            "environments:\n"
            '  staging: {repository: a, branch: main, path: ., cluster: {address: "http://127.0.0.1:1"}}\n'
        )


def export(of: Path, to: Path) -> None:
    """Write the raw log of a store."""
    with closing(Database(of, read_only=True)) as database, raw.opened(database) as log, to.open("w") as file:
        file.writelines(raw_log.lines(log.events()))


def content(path: Path) -> list[Any]:
    """All of a store that is verified, table by table; never out of an index."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = bytearray
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT * FROM events NOT INDEXED ORDER BY id",
                "SELECT environment, sequence FROM records NOT INDEXED ORDER BY environment",
                "SELECT id, environment, started_event FROM rollouts NOT INDEXED ORDER BY id",
                "SELECT digest, config FROM releases NOT INDEXED ORDER BY digest",
                "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
            )
        ]


def parsed(path: Path) -> list[Any]:
    """What a reader of JSON makes of an export."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
