"""Signs checkpoints of the log, and has them kept where whoever can write to the store cannot change them.

Owns the thread that does it, and when. Must not know git or syslog, nor what an event means. Invariant: no
checkpoint is signed of a log that is not the one that was signed last, here or where that is anchored
(`core.anchoring.fits`); what was signed is on disk before it is sent anywhere; and nothing that fails here
reaches a pass.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import structlog

from deployer.adapters import ssh_signing
from deployer.adapters.ssh_signing import CannotSign
from deployer.adapters.store import StoreError
from deployer.core import anchoring, checkpoint
from deployer.core.anchoring import Anchorage, Kept, KeptNote, Misfit
from deployer.core.checkpoint import Checkpoint
from deployer.core.sshsig import InvalidSignature
from deployer.engine.anchor_places import NotKept
from deployer.engine.anchored_log import AnchoredLog
from deployer.engine.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from deployer.adapters.checkpoint_file import CheckpointFile
    from deployer.adapters.store.leaves import Leaves
    from deployer.core.checkpoint import SignedCheckpoint
    from deployer.engine.anchor_places import Judge, Place

_LOOK_SECONDS = 10.0
"""Between two times that what is new is read. What was read cannot be changed unseen before it is signed."""

_LOUD_SECONDS = 3600.0
"""Between two times that it is said that the store is not the one that was signed."""

_LAST_SECONDS = 0.5
"""For what was interrupted at a stop to end."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Refused(Exception):  # noqa: N818 - says what is the case
    """Nothing is signed any more. The message says why, and what to do."""


class _OutOfTime(Exception):  # noqa: N818 - says what is the case
    """The daemon stops, and what is left cannot be done until then."""


class Anchoring:
    """One thread. `start` once, `stop` at the very end: after the last event of the daemon."""

    def __init__(
        self,
        *,
        name: str,
        every_seconds: float,
        leaves: Leaves,
        key_file: Path,
        file: CheckpointFile,
        places: Sequence[Place],
        now: Callable[[], datetime],
    ) -> None:
        """Take the parts. `name` is the log's, and its key's, which is in `key_file`."""
        self._name = name
        self._every = every_seconds
        self._leaves = leaves
        self._key_file = key_file
        self._file = file
        self._places = tuple(places)
        self._now = now
        self._log = self._begun()
        self._note: SignedCheckpoint | None = None
        self._is_checked = False
        self._due_at = 0.0
        self._signing = Tries()
        self._tries = {place.kind: Tries() for place in self._places}
        own = Kept(place="file", where=str(file.path))
        self._known = Anchorage(kept=(own, *(Kept(place=one.kind, where=one.where) for one in self._places)))
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="anchoring", daemon=True)

    @property
    def known(self) -> Anchorage:
        """How far the log is anchored, and where. Never blocks."""
        return self._known

    def start(self) -> None:
        """Start the thread. It reads the whole log first, without haste."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Sign what is new, have it kept, and end, all within the time. What is left, the next start does."""
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        if not self._thread.is_alive():
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            for place in self._places:
                place.interrupt()
            self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        try:
            self._recall()
        except Exception:
            # It is found out again.
            log.exception("anchors_not_known")
        while True:
            # Asked before the turn, so that one follows the stop.
            is_last = self._stopping.is_set()
            self._turn(is_last=is_last)
            if is_last:
                return
            self._stopping.wait(self._pause())

    def _turn(self, *, is_last: bool) -> None:
        """One look at what is new, and what follows from it. Raises nothing."""
        if self._known.misfit:
            if not is_last:
                self._shout()
            return
        try:
            if is_last or time.monotonic() >= self._signing.next_at:
                self._try_to_sign(is_last=is_last)
            for place in self._places:
                if is_last or time.monotonic() >= self._tries[place.kind].next_at:
                    self._have_kept(place)
        except _Refused as error:
            self._refuse(str(error))
        except _OutOfTime:
            log.warning("audit_checkpoint_left_out", why="the daemon stops before the log is read")
        except Exception:
            # Whatever it is must not end the thread: it is tried again.
            log.exception("anchoring_failed", again_in_seconds=self._signing.failure())

    def _pause(self) -> float:
        """How long nothing is to be done."""
        if self._known.misfit:
            return _LOUD_SECONDS
        if self._signing.failed:
            times = [self._signing.next_at]
        else:
            times = [min(self._due_at, time.monotonic() + _LOOK_SECONDS)]
        times += [tries.next_at for tries in self._tries.values() if tries.failed]
        return max(0.0, min(times) - time.monotonic())

    # --- what there is -------------------------------------------------------------------------------------

    def _begun(self) -> AnchoredLog:
        return AnchoredLog(self._name, self._leaves, rest=self._rest)

    def _rest(self, seconds: float) -> None:
        """Leave as much time to others as a read took."""
        if time.monotonic() > self._deadline:
            raise _OutOfTime
        self._stopping.wait(seconds)

    def _recall(self) -> None:
        """What was known when the last daemon ended."""
        before, signed_at = self._file.remembered(), self._file.signed_at()
        self._known = Anchorage(kept=tuple(before.of(one.place, one.where) for one in self._known.kept))
        if signed_at is not None:
            # A daemon that is started again and again signs no oftener for that.
            since = max(0.0, (self._now() - signed_at).total_seconds())
            self._due_at = time.monotonic() + max(0.0, self._every - since)

    def _check(self) -> None:
        """Read the whole log, and hold it against what was signed of it, here and elsewhere."""
        self._log, self._note = self._begun(), None
        known = self._known.of("file", str(self._file.path))
        at = known.at or self._file.signed_at() or self._now()
        where = f"the newest in {self._file.path}"
        most = None
        try:
            note = self._file.newest()
            self._log.read_on(mark=note.checkpoint.size if note is not None else 0)
            if note is None:
                where = f"remembered beside {self._file.path}, in which no checkpoint is left"
                self._log.remembers(known)
            while note is not None and not self._log.fits(KeptNote(note=note, at=at)):
                # Who restored the older copy was interrupted before they were moved.
                self._give_up(KeptNote(note=note, at=at))
                note, most = self._file.newest(), 0
        except Misfit as error:
            raise _Refused(anchoring.refusal(error, where)) from error
        # What was given up covers nothing of this log.
        most = self._log.size if most is None else most
        kept = tuple(one if one.size <= most else replace(one, size=0) for one in self._known.kept)
        self._known = replace(self._known, kept=kept)
        if note is not None:
            self._note = note
            self._tell("file", note.checkpoint.size, at)
        for place in self._places:
            self._look(place)
        self._is_checked = True
        # Also that what was amiss before is put right.
        self._save()

    def _give_up(self, kept: KeptNote) -> None:
        """Have what was signed of lost events in a file of its own. Raises Misfit, and OSError."""
        left, signed = self._log.left_of(kept), kept.note.checkpoint.size
        aside = self._file.set_aside(left, self._now())
        log.warning("audit_loss_accepted", signed=signed, events=self._log.size, moved_to=str(aside))
        self._due_at = 0.0

    def _look(self, place: Place) -> None:
        """See what is anchored there before anything is signed. Who does not answer keeps nobody waiting."""
        try:
            size = self._of_ours(place, place.look)
        except NotKept as error:
            self._not_kept(place, str(error))
        else:
            if size is not None:
                self._tell(place.kind, size, self._known.of(place.kind, place.where).at or self._now())

    def _of_ours(self, place: Place, ask: Callable[[Judge], T]) -> T:
        """What `ask` says, which is given what judges a checkpoint there. Raises NotKept, and _Refused.

        Somebody else's checkpoint, or none of any log, is the place's own trouble. One that our key signed,
        and that is of another log than there is, proves that the store is not the one that was signed.
        """

        def judge(kept: KeptNote) -> bool:
            try:
                return self._log.fits(kept)
            except Misfit as error:
                if error.is_proof and self._is_signed(kept.note):
                    raise
                raise Misfit(str(error), is_proof=False) from error

        try:
            return ask(judge)
        except Misfit as error:
            if error.is_proof:
                raise _Refused(anchoring.refusal(error, f"the newest at {place.where}")) from error
            next_step = "see who pushes there, and have it taken away, or give the log another `audit.name`"
            message = f"the newest commit at {place.where} is not ours: {error}: {next_step}"
            raise NotKept(message) from error
        except StoreError as error:
            raise NotKept(str(error).rstrip(".")) from error
        except (NotKept, _OutOfTime):
            raise
        except Exception as error:
            # One place must not be in the way of another.
            log.exception("anchoring_failed", place=place.kind)
            raise NotKept(_unforeseen(error)) from error

    def _is_signed(self, note: SignedCheckpoint) -> bool:
        try:
            return note.is_signed_by(ssh_signing.public_key(self._key_file))
        except (InvalidSignature, CannotSign):
            return False

    # --- what is done ------------------------------------------------------------------------------------

    def _try_to_sign(self, *, is_last: bool) -> None:
        try:
            is_done = self._sign_what_is_new(is_last=is_last)
        except (StoreError, CannotSign, OSError) as error:
            pause = self._signing.failure()
            log.warning("audit_checkpoint_not_signed", why=str(error), again_in_seconds=pause)
            self._tell_trouble("file", f"{str(error).rstrip('.')}.")
        except (_Refused, _OutOfTime):
            raise
        except Exception as error:
            # What was signed before can be sent all the same.
            log.exception("anchoring_failed", again_in_seconds=self._signing.failure())
            self._tell_trouble("file", f"{_unforeseen(error)}.")
        else:
            # What the daemon before could not sign, and is not due yet, is trouble still.
            if is_done or self._signing.failed:
                self._signing.success()
                self._tell_trouble("file", "")

    def _sign_what_is_new(self, *, is_last: bool) -> bool:
        """Read it, and sign it once that is due; whether all that was due is signed, False if none was."""
        if not self._is_checked:
            self._check()
        else:
            try:
                self._log.read_on()
            except Misfit as error:
                raise _Refused(anchoring.refusal(error, "what was read of it before")) from error
        if not is_last and time.monotonic() < self._due_at:
            return False
        if self._log.size > (self._note.checkpoint.size if self._note is not None else 0):
            text = Checkpoint(origin=self._name, size=self._log.size, root=self._log.root)
            signature = ssh_signing.sign(self._key_file, checkpoint.NAMESPACE, text.text.encode())
            note = checkpoint.signed(text, ssh_signing.public_key(self._key_file), signature)
            self._file.append(note.text)
            self._note = note
            log.info("audit_checkpoint_signed", events=self._log.size)
            self._tell("file", self._log.size, self._now())
        # Only now: what could not be signed stays due.
        self._due_at = time.monotonic() + self._every
        return True

    def _have_kept(self, place: Place) -> None:
        note = self._note
        if note is None or self._known.of(place.kind, place.where).size >= note.checkpoint.size:
            self._tries[place.kind].success()
            return
        try:
            size = self._of_ours(place, lambda judge: place.keep(note, judge))
        except NotKept as error:
            self._not_kept(place, str(error))
        else:
            self._tries[place.kind].success()
            log.info("audit_checkpoint_anchored", place=place.kind, where=place.where, events=size)
            self._tell(place.kind, size, self._now())

    def _not_kept(self, place: Place, why: str) -> None:
        pause = self._tries[place.kind].failure()
        log.warning("audit_checkpoint_not_anchored", place=place.kind, why=why, again_in_seconds=pause)
        self._tell_trouble(place.kind, f"{why}.")

    def _refuse(self, why: str) -> None:
        """Sign nothing any more, until somebody has put it right and started the daemon again."""
        self._known = replace(self._known, misfit=why)
        self._save()
        self._shout()

    def _shout(self) -> None:
        log.critical("audit_store_is_not_the_one_signed", why=self._known.misfit)

    def _tell(self, place: str, size: int, at: datetime) -> None:
        where = next(one.where for one in self._known.kept if one.place == place)
        self._remember(Kept(place=place, where=where, size=size, at=at))

    def _tell_trouble(self, place: str, trouble: str) -> None:
        known = next(one for one in self._known.kept if one.place == place)
        if known.trouble != trouble:
            self._remember(replace(known, trouble=trouble))

    def _remember(self, new: Kept) -> None:
        kept = tuple(new if one.place == new.place else one for one in self._known.kept)
        self._known = replace(self._known, kept=kept)
        self._save()

    def _save(self) -> None:
        try:
            self._file.remember(self._known)
        except OSError as error:
            log.warning("anchors_not_remembered", why=str(error))


def _unforeseen(error: Exception) -> str:
    return f"it failed as nobody foresaw ({type(error).__name__}): see `anchoring_failed` in the daemon's log"
