"""A plan asks whether the code of the way back is still there, and waits for nobody's server for long."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from deployer.engine import planner
from tests.support.build import release
from tests.support.eventually import eventually
from tests.support.hostile_http import Hostile, Request

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from deployer.core.types import Release


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for at most."""
    monkeypatch.setattr(planner, "_ASK_ALL_SECONDS", 0.5)


def gone(_request: Request, _connection: socket.socket) -> bytes:
    """404."""
    return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def of(*uris: str) -> Release:
    """A release with its code there."""
    return release(
        "one",
        *(
            {"name": f"app{number}", "import_path": "m:a", "runtime_env": {"working_dir": uri}}
            for number, uri in enumerate(uris)
        ),
    )


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of code behind a server that drips."""

    def drip(_request: Request, connection: socket.socket) -> None:
        # A header that never ends, so that no single read takes too long.
        server.drip(connection, b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 100_000)

    server = Hostile(drip)
    with server:
        yield f"{server.address}/code.zip"


def test_a_server_that_drips_is_not_waited_for(dripping: str) -> None:
    """It is silent, whatever it still sends; the others are told as they are."""
    with Hostile(gone) as server:
        lost = f"{server.address}/lost.zip"
        dead, silent = planner._answers(of(dripping, lost))
    assert dead == {lost: "404 Not Found"}
    assert silent == {dripping: "no answer within 0.5 s"}


def test_many_that_drip_leave_a_bounded_number_of_threads(dripping: str) -> None:
    """Further plans do without the answer, and say so."""
    uris = [f"{dripping}?{number}" for number in range(20)]
    _, silent = planner._answers(of(*uris))
    again = planner._answers(of(dripping))[1]

    assert sorted(silent) == sorted(uris)
    assert "it was not asked, because the others took too long" in silent.values()
    assert set(again.values()) <= {
        "it was not asked, because the others took too long",
        "no answer within 0.5 s",
    }
    assert sum(thread.name == "way-back" for thread in threading.enumerate()) <= 8


@pytest.fixture(autouse=True)
def _left_behind() -> Iterator[None]:
    """The servers have ended by then, and with them the threads."""
    yield
    eventually(
        lambda: not any(thread.name == "way-back" for thread in threading.enumerate()), within=30, every=0.05
    )
