"""What the live picture shows, and what of it can be drawn over: frame by frame, on a made-up terminal."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployer.cli import views
from deployer.cli.picture import drawing, expected, typically
from deployer.core.telling import unseen
from tests.support.terminal import HIDE, SHOW, frames, screen

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "[red]boom[/red] \x1b[31mESC\x1b]0;title\x07 \u202ebidi\u2066 \r\x9b2J\nnext :smile: [link=http://x]y"
)
TAMED = "[red]boom[/red] ESC bidi next :smile: [link=http://x]y"


class Stream(io.StringIO):
    """What is written there, line ends as a terminal's driver makes them."""

    @property
    def shown(self) -> str:
        """All of it."""
        return self.getvalue().replace("\n", "\r\n")


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns and 24 rows, with colours."""
    resize(monkeypatch, 80, 24)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def resize(monkeypatch: pytest.MonkeyPatch, columns: int, rows: int) -> None:
    """The size that the next picture goes by."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))


def state(name: str = "staging", **more: Any) -> dict[str, Any]:
    """A status of an environment where all is well."""
    live = {"revision": "c0ffee1" + "0" * 33, "subject": "raise the price", "digest": "sha256:x"}
    apps = [
        {
            "name": "fruit",
            "status": "RUNNING",
            "message": "",
            "deployments": [
                {
                    "name": "D",
                    "status": "HEALTHY",
                    "message": "",
                    "target_replicas": 2,
                    "running_replicas": 2,
                }
            ],
        }
    ]
    usual = {"sync": "Synced", "health": "Healthy", "message": "It is live.", "live": live, "apps": apps}
    return {**unseen(name), **usual, **more}


def busy(name: str = "staging", phase: str = "start", seconds: float = 12) -> dict[str, Any]:
    """The same while a rollout is in flight."""
    began = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    rollout = {"id": f"{name}#3", "kind": "deploy", "phase": phase, "started_at": began, "timeline": []}
    return state(name, sync="OutOfSync", health="Progressing", rollout=rollout, message="deploying c0ffee1")


def rollout(number: int, took: float | None, kind: str = "deploy", result: str = "good") -> dict[str, Any]:
    """A rollout as the API gives it with a status."""
    return {"id": f"staging#{number}", "kind": kind, "result": result, "took_seconds": took}


def test_an_environment_at_rest() -> None:
    """Heading, how the last rollout ended, the tree, the sentence."""
    stream = Stream()
    with drawing(stream, lambda _state: [rollout(3, 31.4)]) as picture:
        picture.show([state()])

    assert screen(stream.shown, 80) == [
        "staging  Synced  Healthy  c0ffee1 raise the price",
        "├── staging#3 deploy good after 31 s",
        "├── fruit  RUNNING",
        "│   └── D  HEALTHY  2/2",
        "└── It is live.",
    ]


def test_a_rollout_in_flight_has_its_phase_and_times() -> None:
    """And a bar as long as the longest one before."""
    stream = Stream()
    with drawing(stream, lambda _state: [rollout(2, 130), rollout(1, 31)]) as picture:
        picture.show([busy()])

    lines = screen(stream.shown, 80)
    assert lines[1] == "├── staging#3 deploy: start, 12s; typically 31 s to 2m10s"
    assert lines[2].startswith("├── ━")


def test_only_good_rollouts_of_the_kind_tell_how_long_it_takes() -> None:
    """The newest ten of them."""
    found = [rollout(n, 10.0 + n) for n in range(20, 5, -1)]
    others = [
        rollout(4, 1),
        rollout(3, 900, result="failed"),
        rollout(2, 900, kind="rollback"),
        rollout(1, None),
    ]

    assert expected([*others[1:], *found], "deploy") == (21.0, 30.0)
    assert expected([*others[1:]], "deploy") is None
    assert expected(others, "deploy") == (1, 1)
    assert typically((1, 1)) == "typically 1.0 s"


def test_hostile_text_stays_text() -> None:
    """No markup, no emoji, no link, no colour of its own, no control and no direction character."""
    stream = Stream()
    shown = state(HOSTILE, message=HOSTILE, mode=HOSTILE)
    shown["live"]["subject"] = HOSTILE
    shown["apps"][0] |= {"name": HOSTILE, "status": HOSTILE, "message": HOSTILE}
    shown["apps"][0]["deployments"][0] |= {"name": HOSTILE, "status": HOSTILE, "message": HOSTILE}
    last = {"id": HOSTILE, "kind": HOSTILE, "result": HOSTILE, "took_seconds": 1}
    with drawing(stream, lambda _state: [last]) as picture:
        picture.show([shown], HOSTILE)
        picture.trouble(HOSTILE)

    seen = " ".join(" ".join(screen(stream.shown, 80)).replace("│", " ").replace("├──", " ").split())
    assert TAMED in seen
    assert not {"\u202e", "\u2066", "\x07", "\x9b"} & set(stream.shown)
    assert "\x1b]" not in stream.shown
    assert "\x1b[31mESC" not in stream.shown


def test_each_frame_is_drawn_over_the_one_before() -> None:
    """Also where it has fewer lines."""
    stream = Stream()
    with drawing(stream, lambda _state: []) as picture:
        picture.show([busy()])
        picture.show([state()])
        picture.trouble("It does not answer.")

    shown = frames(stream.shown, 80)
    assert [frame[0].split()[2] for frame in shown] == ["Progressing", "Healthy", "Healthy", "Healthy"]
    assert shown[-1][-1] == "It does not answer."
    assert sum(line.startswith("staging  ") for line in shown[-1]) == 1


def test_a_window_made_narrower_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that the terminal has wrapped meanwhile are counted as the rows that they are."""
    stream = Stream()
    with drawing(stream, lambda _state: []) as picture:
        picture.show([state(message="word " * 14)])
        wide = stream.shown
        monkeypatch.setattr(picture._console, "_width", 40)
        picture.show([state(message="word " * 14)])

    # On a terminal that wraps what is there again when it becomes narrower, as most do.
    reflowed = screen(wide, 40)
    up = int(stream.shown[len(wide) :].partition("\x1b[")[2].partition("A")[0])
    assert up == len(reflowed) - 1


@pytest.mark.parametrize("rows", [3, 5, 8, 24, 60])
@pytest.mark.parametrize("columns", [20, 40, 80])
def test_no_frame_is_higher_or_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int
) -> None:
    """However many environments there are; those in flight come first, and the last frame has all of them."""
    resize(monkeypatch, columns, rows)
    states = [state(f"calm-{n}") for n in range(30)]
    states[7], states[20] = busy("busy-7"), state("held-20", mode="held", message="It is held. " * 9)
    stream = Stream()
    with drawing(stream, lambda _state: [rollout(2, 130)]) as picture:
        picture.show(states, "The daemon is not running.")

    first, last = frames(stream.shown, columns)
    assert len(first) < rows
    assert all(len(line) <= columns for line in first)
    if rows > 5:
        assert any("busy-7" in line for line in first)
    if rows == 24 and columns == 80:
        assert any("busy-7#3 deploy: start" in line for line in first)
        assert any(line.startswith("and ") and "more" in line for line in first)
    for one in states:
        assert any(line.startswith(one["environment"]) for line in last)


def test_the_cursor_comes_back_after_any_error() -> None:
    """And the frame stays."""
    stream = Stream()

    def fail() -> None:
        with drawing(stream) as picture:
            picture.show([state()])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert stream.shown.startswith(HIDE)
    assert stream.shown.endswith(SHOW)
    assert screen(stream.shown, 80)[0].startswith("staging")


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_that_another_thread_takes_while_a_frame_is_drawn(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    """The last frame is drawn over the one that the signal met, not over the higher one before it."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()

    class Met(Stream):
        is_met = False

        def write(self, text: str) -> int:
            written = super().write(text)
            if self.is_met and text.strip():
                self.is_met = False
                assert thread.ident is not None
                signal.pthread_kill(thread.ident, number)
                # The thread takes it when it is its turn: on a busy machine that may be in seconds.
                assert taken.recv(1) == bytes([number])
            return written

    stream = Met()
    # Where tests are run in the background, Ctrl-C is ignored.
    handler = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, handler)
    taken, tell = socket.socketpair()
    taken.settimeout(30)
    tell.settimeout(0)
    told_before = signal.set_wakeup_fd(tell.fileno())

    def draw() -> None:
        with drawing(stream) as picture:
            picture.show([state()])
            stream.is_met = True
            picture.show([state(), state("production")])
            pytest.fail("the signal had no effect")

    try:
        with pytest.raises(raised):
            draw()
    finally:
        signal.set_wakeup_fd(told_before)
        taken.close()
        tell.close()
        ended.set()
        thread.join()
        after = signal.signal(number, before)

    assert after is handler
    assert screen(stream.shown, 80)[0].startswith("staging")


def test_nothing_to_show_shows_nothing() -> None:
    """As where what is waited for is over at once."""
    stream = Stream()
    with drawing(stream):
        pass

    assert stream.shown == HIDE + SHOW


@pytest.mark.parametrize(
    ("is_terminal", "encoding", "term", "expected_live"),
    [
        (True, "utf-8", "xterm", True),
        (True, "UTF-8", "linux", True),
        (False, "utf-8", "xterm", False),
        (True, "ascii", "xterm", False),
        (True, None, "xterm", False),
        (True, "utf-8", "dumb", False),
        (True, "utf-8", "", False),
    ],
)
def test_where_it_is_live(
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    encoding: str | None,
    term: str,
    expected_live: bool,
) -> None:
    """Where a person can see it move."""

    class Terminal:
        def __init__(self) -> None:
            self.encoding = encoding

        def isatty(self) -> bool:
            return is_terminal

    monkeypatch.setenv("TERM", term)

    assert views.is_live(Terminal()) is expected_live


def test_lines_and_records_are_for_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures that tick are none; a trouble is told once, until it is over."""
    lines, records = views.Lines(err=False), views.Records("json")
    for view in (lines, records):
        for seconds in (1, 2, 3):
            shown = {**busy(seconds=0), "message": f"deploying, {seconds} s"}
            shown["rollout"]["started_at"] = "2026-11-22T10:43:00Z"
            view.show([{**shown, "observed_at": f"2026-11-22T10:43:0{seconds}Z"}], f"Seen {seconds} s ago.")
        view.trouble("It does not answer.")
        view.trouble("It does not answer.")
        view.show([state()])

        told = capsys.readouterr()
        assert len(told.out.splitlines()) == 2
        assert told.err.splitlines() == ["Seen 1 s ago.", "It does not answer."]


@pytest.mark.parametrize("command", [["--help"], ["status"]], ids=str)
def test_rich_is_loaded_for_a_picture_only(tmp_path: Path, command: list[str]) -> None:
    """Neither it nor FastAPI, by a command that is used all day."""
    (tmp_path / "deployer.yaml").write_text(
        f"state_dir: {tmp_path}\nrepositories: {{a: {{url: {tmp_path}}}}}\nenvironments:\n"
        '  a: {repository: a, branch: main, path: ., cluster: {address: "http://127.0.0.1:9"}}\n'
    )
    program = (
        "import sys; from click.testing import CliRunner; from deployer.cli.main import cli\n"
        f"CliRunner().invoke(cli, {command})\n"
        "print(sorted({'rich', 'fastapi', 'uvicorn', 'jinja2', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "DEPLOYER_CONFIG": str(tmp_path / "deployer.yaml")},
    )

    assert done.stdout.strip() == "[]", done.stderr
