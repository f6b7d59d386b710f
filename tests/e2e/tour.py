"""Takes the README's tour as a newcomer would: starts `deployer demo`, reads what it prints, types just that.

`python -m tests.e2e.tour` writes the transcript to `docs/tour.md` (`make docs`); `test_tour.py` takes the
same tour and checks what it saw.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.eventually import eventually

START_SECONDS = 120.0
"""A Ray head, Serve and the first two rollouts: three quarters of a minute on two idle cores."""

STEP_SECONDS = 90.0
"""The broken change takes longest: Serve tries six starts before it gives up, 14 s on two idle cores."""

STOP_SECONDS = 40.0

_ROOT = Path(__file__).parents[2]
_COMMAND = re.compile(r"^  (?!#)(\S.*)$", re.MULTILINE)


@dataclass
class Step:
    """One command that was typed: what the terminal of the demo said since, and what the command printed."""

    command: str
    printed: str
    said: str


@dataclass
class Tour:
    """The whole visit."""

    folder: Path
    """The demo's folder, gone by the time this can be read."""
    said_at_start: str = ""
    steps: list[Step] = field(default_factory=list)
    said_at_end: str = ""
    exit_code: int | None = None
    seconds_to_stop: float = 0.0


class Demo:
    """A running `deployer demo`."""

    def __init__(self, output: Path) -> None:
        """Start it as from a terminal, in a process group of its own."""
        self._output = output
        self._read = 0
        with output.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "demo"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def until(self, part: str, within: float) -> str:
        """Wait until it has said this since the last time; return all it has said since then."""

        def observe() -> bool:
            text = self._output.read_text()[self._read :]
            assert self.process.poll() is None, f"the demo ended: {text}"
            assert part in text, text[-2000:]
            return True

        eventually(observe, within=within, every=0.2, what=f"the demo says {part!r}")
        return self.rest()

    def rest(self) -> str:
        """What it has said since the last time."""
        text = self._output.read_text()[self._read :]
        self._read += len(text)
        return text

    def interrupt(self) -> tuple[int, float]:
        """Ctrl-C: a SIGINT to the whole process group, as a terminal sends it."""
        started = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS), time.monotonic() - started


def take() -> Tour:
    """Take the tour. Raises AssertionError with what was last seen where it does not go on."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(Path(folder, "output"))
        try:
            said = demo.until("Ctrl-C here stops everything that the demo started.", START_SECONDS)
            commands = _COMMAND.findall(said)
            clone = Path(commands[0].removeprefix("cd "))
            tour = Tour(folder=clone.parent, said_at_start=said)
            curl, good, broken, fix, back, status, explain, history = commands[1:]
            tour.steps.append(_type(demo, clone, curl, ""))
            tour.steps.append(_type(demo, clone, good, "is live."))
            tour.steps.append(_type(demo, clone, curl, ""))
            tour.steps.append(_type(demo, clone, broken, "is live. Push a fix, or"))
            tour.steps.append(_type(demo, clone, status, ""))
            tour.steps.append(_type(demo, clone, curl, ""))
            tour.steps.append(_type(demo, clone, fix, "is live."))
            tour.steps.append(_type(demo, clone, status, ""))
            tour.steps.append(_type(demo, clone, back, "is live. Push a fix, or"))
            tour.steps.append(_type(demo, clone, explain, ""))
            tour.steps.append(_type(demo, clone, history, ""))
            tour.exit_code, tour.seconds_to_stop = demo.interrupt()
            tour.said_at_end = demo.rest()
        finally:
            if demo.process.poll() is None:
                demo.process.terminate()
                demo.process.wait(STOP_SECONDS)
        return tour


def _type(demo: Demo, cwd: Path, command: str, until: str) -> Step:
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=STEP_SECONDS, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    said = demo.until(until, STEP_SECONDS) if until else demo.rest()
    return Step(command=command, printed=done.stdout, said=said)


def transcript(tour: Tour) -> str:
    """The tour as a page, without what is only true of this machine."""
    parts = [
        "# The tour, as it went",
        "Written by `make docs`, which starts `deployer demo`, types what it suggests and keeps what is said."
        " What follows a `$` is typed in a second terminal.",
        "```text\n$ deployer demo\n" + tour.said_at_start.strip() + "\n```",
    ]
    for step in tour.steps:
        text = f"$ {step.command}\n{step.printed}".rstrip()
        parts.append(f"```text\n{text}\n```")
        if step.said.strip():
            parts.append(f"The demo says:\n\n```text\n{step.said.strip()}\n```")
    parts.append(f"Ctrl-C:\n\n```text\n{tour.said_at_end.strip()}\n```")
    page = "\n\n".join(parts) + "\n"
    program = f"{sys.executable} -m deployer"
    for machine, neutral in (
        (str(tour.folder), "~/demo"),
        (program, "deployer"),
        (str(_ROOT), "."),
    ):
        page = page.replace(machine, neutral)
    return page


def main() -> None:
    """Write the transcript."""
    path = _ROOT / "docs" / "tour.md"
    path.write_text(transcript(take()))
    print(f"wrote {path.relative_to(_ROOT)}")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
