"""What many ask for at once: nobody waits for it without an end, for each who waits holds a thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.adapters.store import schema
from deployer.adapters.store.answers import Answers
from deployer.adapters.store.sqlite import Database
from deployer.cli import faces
from deployer.web import models
from deployer.web.models import _numbers
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Hanging:
    """Something that is asked and does not answer until `release` is set."""

    def __init__(self) -> None:
        """Nobody has asked."""
        self.asked, self.release = threading.Event(), threading.Event()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Hang. The answer has no items."""
        self.asked.set()
        assert self.release.wait(20)
        return {}

    history = probe = __call__


def second(hanging: Hanging, ask: Callable[[], object]) -> object:
    """What the second one gets, while the first one hangs."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask)
        try:
            assert hanging.asked.wait(10)
            return ask()
        finally:
            hanging.release.set()
            first.result(timeout=10)


def test_a_doctor_who_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is told so; the answer that comes in the end is everybody's."""
    monkeypatch.setattr(models, "_WAIT_SECONDS", 0.05)
    hanging = Hanging()
    doctor = models._Shared(hanging, 10.0)
    with pytest.raises(Problem, match="not answered yet"):
        second(hanging, doctor.get)
    assert doctor.get() == {}


def test_numbers_that_are_counted_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is told so."""
    monkeypatch.setattr(_numbers, "_WAIT_SECONDS", 0.05)
    hanging = Hanging()
    numbers = _numbers.Numbers(hanging, lambda: NOW)  # type: ignore[arg-type]  # only its history is asked for
    with pytest.raises(Problem, match="Other numbers are being counted"):
        second(hanging, lambda: numbers.of("staging", 30))
    assert numbers.of("staging", 30)["deployment_frequency"]


def test_a_disk_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said without waiting for it."""
    monkeypatch.setattr(faces, "_WRITE_SECONDS", 0.05)
    hanging = Hanging()
    ready = faces._Readiness(hanging, lambda: NOW)  # type: ignore[arg-type]  # only probed
    assert second(hanging, ready) == "The store cannot be written. The daemon's log says why."
    assert ready() is None


def test_who_asks_whether_it_is_ready_learns_no_path(tmp_path: Path) -> None:
    """Everybody may ask; the log has the rest."""
    path = tmp_path / "deployer.db"
    schema.upgrade(path)
    with closing(Database(path)) as database:
        answers = Answers(database)
    path.unlink()
    path.mkdir()
    with capture_logs() as logs:
        why = faces._Readiness(answers, lambda: NOW)()
    assert why == "The store cannot be written. The daemon's log says why."
    assert [str(tmp_path) in entry["why"] for entry in logs if entry["event"] == "not_ready"] == [True]
