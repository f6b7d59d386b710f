"""The audit log as a stream: each event once, also while rollouts end and the log cannot be read."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from deployer.cli import audit_log
from deployer.cli.audit_log import Wish
from deployer.cli.audit_stream import Ledger, Patience, Stream, wait_for_reader
from deployer.cli.client import NotNow


@dataclass
class FakeLog:
    """A log in memory: events with ids from 1, and the results of rollouts. `trouble` is raised once each."""

    items: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)
    trouble: list[Exception] = field(default_factory=list)
    before_read: Callable[[], None] = lambda: None
    history_reads: int = 0
    pauses: int = 0

    pause_seconds: ClassVar[float] = 0.0

    def add(self, type_: str, rollout: str | None = None) -> None:
        """One more event; a rollout begins with its first, and ends with one that is called like a result."""
        self.items.append({"id": len(self.items) + 1, "type": type_, "rollout": rollout})
        if rollout is not None and (type_ != "held" or rollout not in self.results):
            ends = {"good", "failed", "superseded", "cancelled"}
            self.results[rollout] = type_ if type_ in ends else "in_progress"

    def _read(self) -> None:
        if self.trouble:
            raise self.trouble.pop(0)
        self.before_read()

    def last(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """Not asked here."""
        raise NotImplementedError

    def newest(self, environment: str | None) -> int:
        """How many there are."""
        self._read()
        return len(self.items)

    def between(self, wish: Wish, after: int, last: int) -> list[dict[str, Any]]:
        """A page."""
        self._read()
        fit = [
            item
            for item in self.items
            if after < item["id"] <= last
            and (wish.rollout is None or item["rollout"] == wish.rollout)
            and (wish.result is None or self.results.get(item["rollout"]) == wish.result)
        ]
        return fit[: audit_log.PAGE]

    def unfinished(self, environment: str | None) -> frozenset[str]:
        """Those without a result."""
        self._read()
        return frozenset(name for name, result in self.results.items() if result == "in_progress")

    def rollouts(self, environment: str, before: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """Newest first, two on a page."""
        self._read()
        self.history_reads += 1
        names = [name for name in reversed(self.results) if name.startswith(f"{environment}#")]
        start = int(before or 0)
        page = [
            {
                "id": name,
                "kind": "deploy",
                "result": self.results[name],
                "release": {"revision": "c", "digest": "d", "subject": "long"},
            }
            for name in names[start : start + 2]
        ]
        return page, str(start + 2) if start + 2 < len(names) else None

    def require(self, environment: str) -> None:
        """Not asked here."""
        raise NotImplementedError

    def rest(self) -> None:
        """Count the pauses."""
        self.pauses += 1


def patience(log: FakeLog, *, is_patient: bool = True) -> Patience:
    """Without a pause."""
    return Patience(log, is_patient=is_patient)


def ids(stream: Stream) -> list[int]:
    """What is new."""
    return [item["id"] for item in stream.news()]


@pytest.mark.parametrize("page", [1, 2, 3, 200])
def test_all_that_is_there_and_then_what_is_new(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Each once and in order, whatever stands on a page; and nothing where nothing is new."""
    monkeypatch.setattr(audit_log, "PAGE", page)
    log = FakeLog()
    stream = Stream(log, Wish(), patience(log))
    assert ids(stream) == []
    for _ in range(4):
        log.add("paused")
    assert ids(stream) == [1, 2, 3, 4]
    assert ids(stream) == []
    log.add("paused")
    assert ids(stream) == [5]


def test_what_happens_while_it_is_read_comes_with_the_next_look() -> None:
    """So that a look ends, however busy the log is."""
    log = FakeLog()
    log.add("paused")
    log.before_read = lambda: log.add("resumed")
    stream = Stream(log, Wish(), patience(log))
    assert [ids(stream), ids(stream)] == [[1, 2], [3, 4]]


def test_the_events_of_a_rollout_come_when_it_ended_as_asked() -> None:
    """All of them, also those that were passed over; and those that follow its end when they come."""
    log = FakeLog()
    stream = Stream(log, Wish(result="failed"), patience(log))
    log.add("started", "a#1")
    log.add("started", "b#1")
    assert ids(stream) == []
    log.add("applied", "a#1")
    assert ids(stream) == []
    log.add("failed", "a#1")
    log.add("good", "b#1")
    assert ids(stream) == [1, 3, 4]
    log.add("held", "a#1")
    assert ids(stream) == [6]
    assert ids(stream) == []


def test_a_rollout_that_ends_between_two_pages_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it ends: before, between or after any two reads of the log."""
    monkeypatch.setattr(audit_log, "PAGE", 2)
    for moment in range(1, 12):
        log = FakeLog()
        for number in range(1, 4):
            log.add("started", f"a#{number}")
            log.add("applied", f"a#{number}")
            if number < 3:
                log.add("good", f"a#{number}")
        left = moment

        def end(log: FakeLog = log) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                log.add("good", "a#3")

        log.before_read = end
        stream = Stream(log, Wish(result="good"), patience(log))
        found = [*ids(stream), *ids(stream), *ids(stream)]
        log.before_read = lambda: None
        found += ids(stream)
        assert sorted(found) == list(range(1, len(log.items) + 1 if left <= 0 else 7))
        for rollout in ("a#1", "a#2", "a#3"):
            of_it = [number for number in found if log.items[number - 1]["rollout"] == rollout]
            assert all(one < other for one, other in pairwise(of_it))


def test_a_rollout_that_is_not_asked_for_is_not_told_when_it_ends() -> None:
    """Both filters count."""
    log = FakeLog()
    stream = Stream(log, Wish(result="good", rollout="b#1"), patience(log))
    log.add("started", "a#1")
    log.add("started", "b#1")
    assert ids(stream) == []
    log.add("good", "a#1")
    log.add("good", "b#1")
    assert ids(stream) == [2, 4]


def test_what_is_in_progress_is_told_at_once() -> None:
    """That is what is asked for."""
    log = FakeLog()
    stream = Stream(log, Wish(result="in_progress"), patience(log))
    log.add("started", "a#1")
    assert ids(stream) == [1]


def test_a_log_that_is_shorter_is_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on from its end, and says so."""
    log = FakeLog()
    stream = Stream(log, Wish(), patience(log))
    for _ in range(3):
        log.add("paused")
    assert ids(stream) == [1, 2, 3]
    log.items.pop()
    assert ids(stream) == []
    log.add("resumed")
    assert ids(stream) == [3]
    assert "The log is shorter than it was" in capsys.readouterr().err


def test_a_log_that_cannot_be_read_for_a_while_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once, and once when it is over."""
    log = FakeLog()
    stream = Stream(log, Wish(), patience(log))
    log.add("paused")
    assert ids(stream) == [1]
    log.add("resumed")
    log.trouble = [NotNow("It is away.")] * 3
    assert ids(stream) == [2]
    assert log.pauses == 3
    assert capsys.readouterr().err.splitlines() == [
        "It is away. It is tried again until Ctrl-C.",
        "The log can be read again: it goes on where it stopped.",
    ]


def test_who_cannot_read_at_all_is_told_so_at_once() -> None:
    """Before the first read worked, and without --follow, nothing is waited for."""
    log = FakeLog(trouble=[NotNow("It is away.")])
    with pytest.raises(NotNow, match="away"):
        ids(Stream(log, Wish(), patience(log)))
    log = FakeLog()
    stream = Stream(log, Wish(), patience(log, is_patient=False))
    assert ids(stream) == []
    log.trouble = [NotNow("It is away.")]
    with pytest.raises(NotNow, match="away"):
        ids(stream)


def test_the_past_of_rollouts_is_read_as_far_as_it_is_new() -> None:
    """Once for each that is over; those in progress are read again, and only as many pages as needed."""
    log = FakeLog()
    for number in range(1, 6):
        log.add("failed" if number == 2 else "good", f"a#{number}")
    ledger = Ledger(log, patience(log))
    third = ledger.past("a#3")
    assert third is not None
    assert (third.has_good_before, third.failed) == (True, ("a#2",))
    assert log.history_reads == 3
    assert ledger.past("a#1") is not None
    assert log.history_reads == 3

    log.add("started", "a#6")
    sixth = ledger.past("a#6")
    assert sixth is not None
    assert not sixth.is_over
    assert log.history_reads == 4
    log.add("failed", "a#6")
    log.add("good", "a#7")
    seventh = ledger.past("a#7")
    assert seventh is not None
    assert seventh.failed == ("a#6",)
    sixth = ledger.past("a#6")
    assert sixth is not None
    assert sixth.is_over
    assert ledger.past("a#99") is None
    assert ledger.past("b#1") is None


def test_it_waits_no_longer_than_somebody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe whose other end is closed ends the wait at once; a file, which has none, does not."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        wait_for_reader(0.01)
        timer = threading.Timer(0.1, lambda: os.close(reading))
        timer.start()
        with pytest.raises(BrokenPipeError):
            wait_for_reader(50)
        timer.join()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - no path is meant
        monkeypatch.setattr(sys, "stdout", nowhere)
        wait_for_reader(0.01)
        assert sys.stdout is nowhere
    monkeypatch.setattr(sys, "stdout", None)
    wait_for_reader(0.01)
