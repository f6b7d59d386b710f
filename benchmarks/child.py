"""Processes of a benchmark that answer a line with a line of JSON.

Owns how one is started, asked and ended. Must not know what they measure. Invariant: whoever waits for an
answer gets one, or an error where the process has ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Child:
    """A process that said `told` when it was ready."""

    def __init__(self, pid: int, questions: IO[str], answers: IO[str]) -> None:
        """Wait until it is ready."""
        self.pid = pid
        self._questions = questions
        self._answers = answers
        self.told = self._answer()

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer to this line."""
        self._questions.write(f"{line}\n")
        self._questions.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._answers.readline())
        return found


@contextmanager
def child(module: str, role: str, folder: str) -> Iterator[Child]:
    """Run `python -m MODULE ROLE FOLDER` until the block ends."""
    command = [sys.executable, "-m", module, role, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None  # noqa: S101 - a pipe was asked for
            assert process.stdout is not None  # noqa: S101 - as above
            yield Child(process.pid, process.stdin, process.stdout)
        finally:
            process.terminate()


def say(**values: object) -> None:
    """Tell who asked."""
    print(json.dumps(values), flush=True)
