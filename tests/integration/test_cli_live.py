"""The live views at a real terminal, beside a real daemon on a fake cluster; and the plain lines off one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from tests.support.daemon_site import NAME, DaemonSite
from tests.support.eventually import eventually
from tests.support.terminal import HIDE, SHOW, Terminal, frames, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

START_SECONDS = 1e6
SLOW: dict[str, Any] = {"args": {"start_seconds": START_SECONDS}}
"""It starts when the test says so, and however slow the machine is, that it is starting can be seen."""

NEVER = "slow:app"
"""Its constructor does not end."""

WINDOW = timedelta(minutes=5)
PATIENT = "health: {stability_window: 5m}\nsoak: 5m\n"
"""As `SLOW`: each phase is over when the test says so."""

ESCAPE = "\x1b"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The daemon's log would come out among what the tests print."""
    with capture_logs():
        yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[DaemonSite]:
    """A site whose daemon runs and has brought one good commit to the cluster."""
    made = DaemonSite(tmp_path)
    made.push(message="open the market")
    with made.running():
        assert made.type("sync", NAME, "--wait").exit_code == 0
        yield made


def go_on(site: DaemonSite, see: Callable[[str], object]) -> None:
    """Let a slow and patient rollout go on to its next phase, each time that this one is seen."""
    see("start")
    site.cluster_ahead += START_SECONDS
    see("stabilize")
    site.ahead += WINDOW
    see("soak")
    site.ahead += WINDOW


def seen_at(at: Terminal) -> Callable[[str], object]:
    """Wait until a person sees a deploy in this phase."""
    return lambda phase: at.read_until(f" deploy: {phase}, ", within=40)


def environ(site: DaemonSite, **more: str) -> dict[str, str]:
    """What a person's shell has."""
    usual = {"PATH": os.environ["PATH"], "HOME": str(site.root), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    return {**usual, "PYTHONPATH": ":".join(sys.path), **more}


def deployer(*args: str) -> list[str]:
    """The command line, for which Ctrl-C means what it means to a person."""
    return ["env", "--default-signal=INT", sys.executable, "-m", "deployer", *args]


def typed(
    site: DaemonSite, *args: str, columns: int = 80, rows: int = 24, variables: dict[str, str] | None = None
) -> AbstractContextManager[Terminal]:
    """Type `deployer ARGS` at a terminal."""
    command = deployer(*args, "-c", str(site.settings))
    return terminal(command, env=environ(site, **(variables or {})), columns=columns, rows=rows)


def piped(site: DaemonSite, *args: str) -> subprocess.Popen[str]:
    """The same with pipes, as CI does."""
    return subprocess.Popen(
        deployer(*args, "-c", str(site.settings)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(site),
    )


def read_until(start: str, stream: IO[str] | None, lines: list[str]) -> None:
    """Read lines until one starts so."""
    assert stream is not None
    while not (lines and lines[-1].startswith(start)):
        line = stream.readline()
        assert line, f"no {start!r} in {lines}"
        lines.append(line)


def in_order(words: list[str], found: list[str]) -> bool:
    """Whether these words come in this order, others between them or not."""
    rest = iter(found)
    return all(word in rest for word in words)


def phases(output: str, columns: int = 80) -> list[str]:
    """The phases that a person saw, each once in a row."""
    seen: list[str] = []
    for frame in frames(output, columns):
        found = re.search(rf"{NAME}#\d+ \w+: (\w+),", "\n".join(frame))
        if found and found[1] not in seen[-1:]:
            seen.append(found[1])
    return seen


def test_sync_shows_the_phases_as_they_come_and_leaves_the_end_there(site: DaemonSite) -> None:
    """Application and deployment in Serve's words, how long it took before; then the sentence, and 0."""
    site.push(message="raise the [red]price[/red]", policy=PATIENT, **SLOW)
    with typed(site, "sync", NAME, "--wait") as at:
        go_on(site, seen_at(at))
        assert at.finish(within=50) == 0
    output = at.output

    assert in_order(["start", "stabilize", "soak"], phases(output))
    seen = "\n".join("\n".join(frame) for frame in frames(output, 80))
    assert f"{NAME}#2 deploy: " in seen
    assert re.search(r"typically \d+\.\d s", seen)
    assert "fruit  DEPLOYING" in seen
    assert "D  UPDATING  " in seen
    end = at.screen()
    assert end[0].startswith(f"{NAME}  Synced  Healthy  ")
    assert "raise the [red]price[/red]" in end[0]
    assert f"├── {NAME}#2 deploy good after " in end[1]
    assert any(line.endswith("fruit  RUNNING") for line in end)
    assert any(line.endswith("D  HEALTHY  1/1") for line in end)
    assert end[-1].startswith(f"{NAME}: ")
    assert (output.count(HIDE), output.count(SHOW)) == (1, 1)
    assert output.index(SHOW) < output.rindex(f"{NAME}: ")


def test_a_deploy_that_fails_is_seen_to_go_back(site: DaemonSite) -> None:
    """The rollback has phases too; the exit code is that of the lines."""
    site.push("constructor_raises:app", message="a bad idea")
    with typed(site, "sync", NAME, "--wait") as at:
        assert at.finish(within=50) == 4

    end = at.screen()
    assert any(f"{NAME}#3 rollback good after" in line for line in end), end
    assert "Rolled back to" in " ".join(end)


def test_rollback_is_live_too(site: DaemonSite) -> None:
    """And ends as it does off a terminal."""
    site.push(message="another", deployments=[{"name": "D", "num_replicas": 1}])
    assert site.type("sync", NAME, "--wait").exit_code == 0
    with typed(site, "rollback", NAME, "--wait") as at:
        assert at.finish(within=50) == 0

    end = at.screen()
    assert any(f"{NAME}#3 rollback good after" in line for line in end), end
    assert "is live again." in end[-1]


def test_off_a_terminal_there_are_the_plain_lines(site: DaemonSite) -> None:
    """One for each change, on stderr; nothing that moves a cursor, and no rich."""
    site.push(message="raise the price", policy=PATIENT, **SLOW)
    with piped(site, "sync", NAME, "--wait") as process:
        assert process.stderr is not None
        lines: list[str] = []
        go_on(site, lambda phase: read_until(f"{NAME}: {phase}: ", process.stderr, lines))
        stdout, rest = process.communicate(timeout=50)

    assert process.returncode == 0
    lines += rest.splitlines()
    assert ESCAPE not in stdout + "".join(lines)
    assert all(line.startswith(f"{NAME}: ") for line in lines)
    found = [line.removeprefix(f"{NAME}: ").partition(":")[0] for line in lines]
    assert in_order(["start", "stabilize", "soak"], found)
    assert stdout.startswith(f"{NAME}: ")


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"TERM": ""}, {"PYTHONIOENCODING": "latin-1"}], ids=str
)
def test_a_terminal_that_cannot_draw_gets_lines(site: DaemonSite, variables: dict[str, str]) -> None:
    """No control sequence at all."""
    site.push(message="another", deployments=[{"name": "D", "num_replicas": 1}])
    with typed(site, "sync", NAME, "--wait", variables=variables) as at:
        assert at.finish(within=50) == 0

    assert ESCAPE not in at.output


def test_no_color_has_no_colours(site: DaemonSite) -> None:
    """https://no-color.org: bold and dim are no colours."""
    site.push(message="another", deployments=[{"name": "D", "num_replicas": 1}])
    with typed(site, "sync", NAME, "--wait", variables={"NO_COLOR": "1"}) as at:
        assert at.finish(within=50) == 0

    styles = {
        int(code) for codes in re.findall(r"\x1b\[([\d;]*)m", at.output) for code in codes.split(";") if code
    }
    assert styles <= {0, 1, 2}


def test_ctrl_c_ends_a_wait_with_130_and_the_cursor_back(site: DaemonSite) -> None:
    """The daemon goes on, and what was on the screen stays there."""
    site.push(NEVER, message="another", policy=PATIENT)
    with typed(site, "sync", NAME, "--wait") as at:
        at.read_until(f"{NAME}#2 deploy: ", within=40)
        at.press_ctrl_c()
        assert at.finish(within=20) == 130

    assert at.output.rindex(SHOW) > at.output.rindex(HIDE)
    assert at.screen()[-1] == "Interrupted."
    assert any(f"{NAME}#2 deploy: " in line for line in at.screen())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_ends_bring_the_cursor_back_too(site: DaemonSite, number: int, code: int) -> None:
    """As when a session is closed, or a machine goes down."""
    with typed(site, "status", "--watch") as at:
        at.read_until("fruit", within=40)
        at.process.send_signal(number)
        assert at.finish(within=20) == code

    assert at.output.rindex(SHOW) > at.output.rindex(HIDE)


def test_status_watches_until_ctrl_c(site: DaemonSite) -> None:
    """A rollout comes and goes in it; the last picture stays."""
    with typed(site, "status", "--watch") as at:
        at.read_until("fruit", within=40)
        site.push(message="raise the price", policy=PATIENT, **SLOW)
        assert site.type("sync", NAME).exit_code == 0
        go_on(site, seen_at(at))
        at.read_until(f"{NAME}#2 deploy good after", within=40)
        at.press_ctrl_c()
        assert at.finish(within=20) == 130

    assert in_order(["start", "stabilize", "soak"], phases(at.output))
    end = at.screen()
    assert end[0].startswith(f"{NAME}  Synced  Healthy")
    assert at.output.rindex(SHOW) > at.output.rindex(HIDE)


def test_forty_columns_are_enough(site: DaemonSite) -> None:
    """No line is longer than the terminal, so that what is drawn over is what was drawn."""
    site.push(message="a subject that is much longer than forty columns are", policy=PATIENT, **SLOW)
    with typed(site, "sync", NAME, "--wait", columns=40, rows=10) as at:
        go_on(site, seen_at(at))
        assert at.finish(within=50) == 0

    for frame in frames(at.output, 40)[:-1]:
        assert len(frame) <= 10
        assert sum(line.startswith(f"{NAME}  ") for line in frame) <= 1


def test_a_window_that_is_made_smaller_is_drawn_anew(site: DaemonSite) -> None:
    """The next picture fits, and nothing of a longer line is left over it."""
    with typed(site, "status", "--watch", columns=100, rows=30) as at:
        at.read_until("fruit", within=40)
        at.resize(50, 20)
        before = len(at.output)
        eventually(lambda: at._read(0.1) and "fruit" in at.output[before + 200 :], within=20)
        at.press_ctrl_c()
        assert at.finish(within=20) == 130

    last = at.output[at.output.rindex("\x1b[J") :]
    assert all(len(re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", line).rstrip()) <= 50 for line in last.split("\n"))


def test_watching_with_json_prints_one_object_for_each_change(site: DaemonSite) -> None:
    """Each line is a status; nothing is printed because time passed."""
    with piped(site, "status", NAME, "--watch", "-o", "json") as process:
        stdout = process.stdout
        assert stdout is not None
        first = json.loads(stdout.readline())
        site.push(message="raise the price", policy=PATIENT, **SLOW)
        assert site.type("sync", NAME).exit_code == 0
        seen: list[dict[str, Any]] = []

        def see(phase: str) -> None:
            while not seen or (seen[-1]["rollout"] or {}).get("phase") != phase:
                seen.append(json.loads(stdout.readline()))

        go_on(site, see)
        while seen[-1]["live"]["subject"] != "raise the price":
            seen.append(json.loads(stdout.readline()))
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
        assert process.returncode == 130, errors

    assert (first["environment"], first["sync"]) == (NAME, "Synced")
    assert in_order(
        ["start", "stabilize", "soak"], [one["rollout"]["phase"] for one in seen if one["rollout"]]
    )
    assert len(seen) + len(rest.splitlines()) < 30
    assert errors == "\nInterrupted.\n"


def test_watching_off_a_terminal_prints_lines(site: DaemonSite) -> None:
    """One for each change, without anything that moves a cursor."""
    with piped(site, "status", "--watch") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{NAME}: ")
        site.push(message="raise the price", policy=PATIENT, **SLOW)
        assert site.type("sync", NAME).exit_code == 0
        lines: list[str] = []
        go_on(site, lambda phase: read_until(f"{NAME}: {phase}: ", process.stdout, lines))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)

    assert all(line.startswith(f"{NAME}: ") and ESCAPE not in line for line in lines)


def test_an_outage_of_the_daemon_is_shown_and_over(tmp_path: Path) -> None:
    """What was seen last stays in the picture, with the sentence that says since when."""
    site = DaemonSite(tmp_path)
    site.push(message="open the market")
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
    with typed(site, "status", "--watch", columns=120) as at:
        at.read_until("The daemon is not running.", within=40)
        before = len(at.output)
        with site.running():
            eventually(
                lambda: at._read(0.1) and "not running" not in at.output[before:].rpartition("\x1b[J")[2],
                within=30,
            )
        at.press_ctrl_c()
        assert at.finish(within=20) == 130
