"""A terminal for tests: a real pty around a real process, and the screen that a person would see.

`Screen` knows the few control sequences that our own drawing uses; any other one fails the test, so that what
is drawn stays within what every terminal understands. Lines that are too long wrap as they do there.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PART = re.compile(r"\x1b\[(?P<args>[?0-9;]*)(?P<final>[A-Za-z])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n]+)")

_STYLE = re.compile(r"\x1b\[[0-9;]*m")

SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"


class Terminal:
    """A process in a terminal of so many columns and rows."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, columns: int, rows: int) -> None:
        """Take the process and the other end of its terminal."""
        self.process = process
        self._master = master
        self.columns, self.rows = columns, rows
        self.output = ""

    def read_until(self, wanted: str, *, within: float) -> str:
        """Read until this was printed, in whatever colours; what was printed so far."""
        deadline = time.monotonic() + within
        while wanted not in _STYLE.sub("", self.output):
            assert self._read(deadline - time.monotonic()), f"no {wanted!r} in {self.output!r}"
        return self.output

    def finish(self, *, within: float) -> int:
        """Read until the process has ended; its exit code."""
        deadline = time.monotonic() + within
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def press_ctrl_c(self) -> None:
        """As a person does: the terminal sends the signal."""
        os.write(self._master, b"\x03")

    def type(self, text: str) -> None:
        """As a person does, at the keyboard."""
        os.write(self._master, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Another size of the window; the process is told, as a terminal does."""
        self.columns, self.rows = columns, rows
        _set_size(self._master, columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def screen(self) -> list[str]:
        """What a person sees at the end, without empty lines below."""
        return screen(self.output, self.columns)

    def _read(self, seconds: float) -> bool:
        """Read some; False if there is nothing more, or not in time."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            # Linux says EIO when the last process has closed its end.
            return False
        self.output += data.decode()
        return bool(data)


@contextmanager
def terminal(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    columns: int = 80,
    rows: int = 24,
    stdout_too: bool = True,
) -> Iterator[Terminal]:
    """Run a command in a terminal inside the `with` block; it is ended with it.

    With `stdout_too` False only stderr is the terminal, and stdout is a pipe.
    """
    master, slave = pty.openpty()
    _set_size(master, columns, rows)
    _keep_what_is_unread(slave)
    process = subprocess.Popen(
        # In a session of its own, whose terminal this is: Ctrl-C reaches nobody else.
        # Where tests are run in the background, as CI may, SIGINT is ignored, and children inherit that.
        ["env", "--default-signal=INT", "setsid", "--ctty", *command],
        stdin=slave,
        stdout=slave if stdout_too else subprocess.PIPE,
        stderr=slave,
        env=dict(env),
    )
    os.close(slave)
    try:
        yield Terminal(process, master, columns, rows)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
        os.close(master)


def _keep_what_is_unread(terminal: int) -> None:
    """Have Ctrl-C drop nothing of what was printed: what the program drew is judged, not how fast we read.

    A terminal drops what nobody has read yet of its output when the key is pressed (NOFLSH of termios(3)), so
    that half a frame is gone where the test is slower than the program.
    """
    attributes = termios.tcgetattr(terminal)
    attributes[3] |= termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def screen(output: str, columns: int) -> list[str]:
    """The lines that are on the screen after this output."""
    lines: list[str] = [""]
    row, column = 0, 0
    end = 0
    for part in _PART.finditer(output):
        assert part.start() == end, f"not understood: {output[end : end + 20]!r}"
        end = part.end()
        match part["final"], part["control"], part["text"]:
            case None, "\r", None:
                column = 0
            case None, "\n", None:
                # The terminal's own driver has put a carriage return before it.
                row += 1
            case None, None, str(text):
                for character in text:
                    if column + cell_len(character) > columns:
                        row, column = row + 1, 0
                    lines += [""] * (row + 1 - len(lines))
                    lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
                    column += cell_len(character)
            case "A", None, None:
                row -= int(part["args"] or "1")
                assert row >= 0, "it went up beyond what it has drawn"
            case "J", None, None:
                assert part["args"] in {"", "0"}
                lines = [*lines[:row], lines[row][:column] if row < len(lines) else ""]
            case "K", None, None:
                lines[row] = lines[row][:column]
            case "m", None, None:
                pass
            case "h" | "l", None, None:
                assert part["args"] == "?25"
            case other:
                message = f"not understood: {other}"
                raise AssertionError(message)
        lines += [""] * (row + 1 - len(lines))
    assert end == len(output), f"not understood: {output[end : end + 20]!r}"
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]


def frames(output: str, columns: int) -> list[list[str]]:
    """What was on the screen each time before it was drawn anew, and at the end."""
    starts = [found.start() for found in re.finditer(r"\r(?:\x1b\[\d+A)?\x1b\[J", output)]
    return [screen(output[:start], columns) for start in starts[1:]] + [screen(output, columns)]


def _set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
