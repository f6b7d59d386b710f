"""Errors of the pure core, named by what the controller does next.

Owns the two errors that the core itself can raise. Must not know any adapter. Invariant: every error
that reaches a person carries what, where, why and (where there is one) the next step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a problem means: an error is never deployed, a warning is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input file, and where.

    `line` and `column` count from 1, as editors do; 0 means "the file as a whole".
    `snippet` is the source line with a caret under the column, or empty.
    `message` is a sentence without its full stop. `then` is another one, if there is one to say: what Serve
    would make of the file as it is. `code` is the rule's name, for machines and for silencing it.
    """

    file: str
    line: int
    column: int
    message: str
    snippet: str = ""
    then: str = ""
    code: str = "invalid"
    severity: Severity = Severity.ERROR

    @property
    def place(self) -> str:
        """`file:line:column`, or the file alone."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    @property
    def sentence(self) -> str:
        """The message, and what Serve would do."""
        return f"{self.message}. {self.then}" if self.then else self.message

    def __str__(self) -> str:
        """Render as `file:line:column: message`, with the caret snippet below when there is one."""
        text = f"{self.place}: {self.sentence}"
        return f"{text}\n{self.snippet}" if self.snippet else text


class InvalidConfig(Exception):  # noqa: N818 - named by what the controller does next: keep what runs
    """An input file that cannot be used. Carries every problem found, never just the first.

    What already runs is not touched because of it.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Take one or more problems; an empty tuple is a programming error."""
        if not problems:
            message = "InvalidConfig needs at least one problem"
            raise ValueError(message)
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class IllegalEvent(Exception):  # noqa: N818 - says what was wrong, not that it is an error
    """An event that the record does not allow: a bug in the caller, never a fact about the world."""
