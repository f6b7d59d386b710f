"""Anything that can happen to a store and its checkpoints, in any order: what is signed is what was signed.

A real store and the real thread. The key is `NoteSigner`, whose signatures are those of ssh-keygen
(tests/unit/adapters/test_ssh_signing.py), and the ref a list: `test_anchoring.py` has the real ones.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from structlog.testing import capture_logs

from deployer.adapters import ssh_signing
from deployer.adapters.checkpoint_file import FILE, STATE, CheckpointFile
from deployer.adapters.store import SqlStore
from deployer.adapters.store.leaves import Leaves
from deployer.core import merkle
from deployer.core.anchoring import KeptNote, split
from deployer.core.checkpoint import parse_all
from deployer.core.events import DAEMON_LOG, DaemonStopped, StoreRestored
from deployer.engine.anchor_places import NotKept
from deployer.engine.anchoring import Anchoring
from tests.support.note_signer import NoteSigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.core.checkpoint import SignedCheckpoint
    from deployer.core.events import Event

NAME = "deployer.example.com/audit"
SIGNER = NoteSigner("ada")
STORE = "deployer.db"


class Ref:
    """A ref that is a list; it can be down."""

    kind = "git"
    where = "a list"

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Empty, and up."""
        self.notes: list[KeptNote] = []
        self.is_up = True
        self._now = now

    def look(self, judge: Callable[[KeptNote], bool]) -> int:
        """See `Place`."""
        if not self.is_up:
            message = "it is down"
            raise NotKept(message)
        if not self.notes:
            return 0
        return self.notes[-1].note.checkpoint.size if judge(self.notes[-1]) else 0

    def keep(self, note: SignedCheckpoint, judge: Callable[[KeptNote], bool]) -> int:
        """See `Place`."""
        covered = self.look(judge)
        if covered < note.checkpoint.size:
            self.notes.append(KeptNote(note=note, at=self._now()))
        return max(covered, note.checkpoint.size)

    def interrupt(self) -> None:
        """Nothing runs."""


class Machine(RuleBasedStateMachine):
    """A state directory, what somebody kept of it, and the ref."""

    def __init__(self) -> None:
        """Nothing is there yet."""
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="deployer-anchoring-"))
        self.state = self.root / "state"
        self.file = CheckpointFile(self.state)
        self.seconds = 0
        self.copies = 0
        self.ref = Ref(self.now)

    def now(self) -> datetime:
        """A clock that only goes on."""
        self.seconds += 1
        return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def teardown(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.root)

    # --- the store -------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """An empty log is nobody's."""
        self.append(DaemonStopped(at=self.now()))

    def append(self, *events: Event) -> None:
        """In one commit."""
        with closing(SqlStore.open(self.state / STORE)) as store:
            store.commit(store.load(DAEMON_LOG), events)

    def hashes(self) -> list[bytes]:
        """Of all events."""
        with closing(sqlite3.connect(self.state / STORE)) as store:
            return [bytes.fromhex(one) for (one,) in store.execute("SELECT hash FROM events ORDER BY id")]

    def put_back(self, copy: Path, *names: str) -> None:
        """Files of a copy in the place of those that are there, or of none."""
        for name in (f"{STORE}-wal", f"{STORE}-shm", *names):
            (self.state / name).unlink(missing_ok=True)
        for name in names:
            if (copy / name).exists():
                shutil.copyfile(copy / name, self.state / name)

    @rule(count=st.integers(1, 4))
    def something_happens(self, count: int) -> None:
        """Each time at another time, so that no two logs are the same."""
        self.append(*(DaemonStopped(at=self.now()) for _ in range(count)))

    @rule()
    def somebody_copies_it(self) -> None:
        """All of the directory."""
        shutil.copytree(self.state, self.root / str(self.copies))
        self.copies += 1

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def the_store_is_rolled_back(self, data: st.DataObject) -> None:
        """The checkpoints stay."""
        self.put_back(self.copy(data), STORE)

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def everything_is_rolled_back(self, data: st.DataObject) -> None:
        """Only the ref knows."""
        self.put_back(self.copy(data), STORE, FILE, STATE)

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def a_loss_is_accepted(self, data: st.DataObject) -> None:
        """As `deployer restore --accept-loss` does it, which was shown what is on the ref.

        It may be interrupted before it has moved the checkpoints.
        """
        had = len(self.hashes())
        signed = [note.checkpoint.size for note, _ in self.ref.notes] + [
            note.checkpoint.size for note in self.notes()
        ]
        self.put_back(self.copy(data), STORE)
        kept = len(self.hashes())
        self.append(
            StoreRestored(
                at=self.now(),
                backup="sha256:0",
                events=kept,
                lost=max(0, had - kept),
                signed=max([0, *(one for one in signed if one > kept)]),
            )
        )
        if data.draw(st.booleans(), "interrupted"):
            return
        self.file.set_aside(kept, self.now())

    @rule()
    def the_checkpoints_are_lost(self) -> None:
        """Of the directory."""
        for name in (FILE, STATE):
            (self.state / name).unlink(missing_ok=True)

    @rule()
    def the_last_checkpoint_is_torn(self) -> None:
        """As by a power cut."""
        if self.notes():
            whole = "".join(note.text for note in self.notes())
            self.file.path.write_text(whole + self.notes()[-1].text[:-5])

    @rule(is_up=st.booleans())
    def the_ref_is_up_or_down(self, is_up: bool) -> None:
        """A forge, or the way there."""
        self.ref.is_up = is_up

    def copy(self, data: st.DataObject) -> Path:
        """One of the copies."""
        return self.root / str(data.draw(st.integers(0, self.copies - 1)))

    # --- the daemon ------------------------------------------------------------------------------------

    def notes(self) -> list[SignedCheckpoint]:
        """Those in the file that are whole."""
        text = self.file.path.read_text() if self.file.path.exists() else ""
        whole, _ = split(text)
        return parse_all(whole) if whole else []

    def given_up(self) -> list[StoreRestored]:
        """What the log says that people gave up."""
        with closing(SqlStore.open(self.state / STORE)) as store:
            return [one.event for one in store.events(DAEMON_LOG) if isinstance(one.event, StoreRestored)]

    def left(self, note: SignedCheckpoint, at: datetime | None, hashes: list[bytes]) -> int | None:
        """From how many events the daemon may go on: from all that it covers, if it is of this log.

        From what was left, where that was given up after it was signed; None if it is neither.
        """
        size = note.checkpoint.size
        if size <= len(hashes) and merkle.root(hashes[:size]) == note.checkpoint.root:
            return size
        return max(
            (
                one.events
                for one in self.given_up()
                if one.events < size <= max(one.signed, one.events + (one.lost or 0))
                and (at is None or at <= one.at)
            ),
            default=None,
        )

    def expected(self, hashes: list[bytes]) -> tuple[list[SignedCheckpoint], bool]:
        """Those of the file that stay there, and whether the daemon may go on from them."""
        known = self.file.remembered().of("file", str(self.file.path))
        rest = self.notes()
        if not rest:
            excuses = [one for one in self.given_up() if one.events < known.size]
            return rest, known.size <= len(hashes) or bool(excuses)
        while rest:
            size = rest[-1].checkpoint.size
            left = self.left(rest[-1], known.at, hashes)
            if left is None or left == size:
                return rest, left == size
            rest = [one for one in rest if one.checkpoint.size <= left]
        return rest, True

    def aside(self) -> set[str]:
        """All that were moved."""
        files = self.state.glob("checkpoints-lost-*.txt")
        return {note.text for file in files for note in parse_all(file.read_text())}

    @rule()
    def a_daemon_runs(self) -> None:
        """From its start to its stop."""
        hashes, before, pushed = self.hashes(), self.notes(), list(self.ref.notes)
        rest, is_sound = self.expected(hashes)
        aside = self.aside()
        if is_sound and self.ref.is_up and pushed:
            is_sound = self.left(pushed[-1].note, pushed[-1].at, hashes) is not None
        with (
            closing(SqlStore.open(self.state / STORE)) as store,
            mock.patch.object(ssh_signing, "public_key", return_value=SIGNER.key),
            mock.patch.object(ssh_signing, "sign", side_effect=_signed),
            capture_logs(),
        ):
            daemon = Anchoring(
                name=NAME,
                every_seconds=3600,
                leaves=Leaves(store.database),
                key_file=Path("key"),
                file=self.file,
                places=[self.ref],
                now=self.now,
            )
            daemon.start()
            daemon.stop(60)
        # Nothing is ever gone: it stays, or is moved.
        moved = {one.text for one in before} - {one.text for one in rest}
        assert moved <= self.aside()
        assert aside <= self.aside()
        texts = [one.text for one in self.notes()]
        if not is_sound:
            assert daemon.known.misfit
            assert (texts, self.ref.notes) == ([one.text for one in rest], pushed)
            return
        assert not daemon.known.misfit, daemon.known.misfit
        assert texts[: len(rest)] == [one.text for one in rest]
        assert self.ref.notes[: len(pushed)] == pushed
        newest = [self.notes()[-1]]
        if self.ref.is_up:
            newest.append(self.ref.notes[-1].note)
        for note in newest:
            assert (note.checkpoint.size, note.checkpoint.root) == (len(hashes), merkle.root(hashes))
        for note in (*self.notes()[len(rest) :], *(one.note for one in self.ref.notes[len(pushed) :])):
            assert merkle.root(hashes[: note.checkpoint.size]) == note.checkpoint.root


def _signed(_: Path, namespace: str, text: bytes) -> bytes:
    return SIGNER.sign(text, namespace=namespace)


TestAnchoring = Machine.TestCase
TestAnchoring.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
