"""What was checked and what was found, and what every format needs of it: order, counts, identity.

Owns the values that are reported. Must not know any format. Invariant: a cleaned report has no character that
ends a line in its sentences, none that UTF-8 cannot hold anywhere, and its problems are in one order.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deployer.core.errors import Problem, Severity
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# "first at line 12": the other place of a problem moves as its own does.
_LINE_NUMBER = re.compile(r"\bline \d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentReport:
    """One environment that was checked, and what was found.

    `path` is the folder or file as the user gave it, `digest` None if it cannot be deployed. `ray_version`
    is what it was checked against. `notes` are sentences that are no problem of the files.
    """

    path: str
    problems: tuple[Problem, ...]
    digest: str | None
    ray_version: str
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What may not be deployed."""
        return _only(Severity.ERROR, self.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What may be deployed, and should not."""
        return _only(Severity.WARNING, self.problems)

    def cleaned(self) -> EnvironmentReport:
        """The same, so that no text in it can break a format, with its problems in order."""
        return replace(
            self,
            path=encodable(self.path),
            problems=tuple(sorted((_cleaned(problem) for problem in self.problems), key=_place)),
            notes=tuple(one_line(note) for note in self.notes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of `deployer validate`."""

    environments: tuple[EnvironmentReport, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that was found, by file and line."""
        every = (problem for environment in self.environments for problem in environment.problems)
        return tuple(sorted(every, key=_place))

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What may not be deployed."""
        return _only(Severity.ERROR, self.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What may be deployed, and should not."""
        return _only(Severity.WARNING, self.problems)

    def cleaned(self) -> Report:
        """The same, so that no text in it can break a format, with its problems in order."""
        return replace(self, environments=tuple(found.cleaned() for found in self.environments))

    def identified(self) -> Iterator[tuple[Problem, str]]:
        """Each problem with its fingerprint, which stays while lines are added above it.

        It is made of file, rule and message; equal ones in a file are told apart by their order.
        """
        seen: Counter[tuple[str, str, str]] = Counter()
        for problem in self.problems:
            identity = (in_tree(problem.file), problem.code, _LINE_NUMBER.sub("line", problem.message))
            number = str(seen[identity])
            seen[identity] += 1
            yield problem, hashlib.sha256("\0".join((*identity, number)).encode()).hexdigest()


def encodable(name: str) -> str:
    """A file's name as UTF-8 can hold it: Python has halves of characters where the bytes are no UTF-8."""
    return name.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def in_tree(file: str) -> str:
    """A file's name as GitHub and GitLab know it: from the top of the repository, where CI runs commands."""
    path = PurePosixPath(file)
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def counted(number: int, what: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _only(severity: Severity, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(problem for problem in problems if problem.severity is severity)


def _cleaned(problem: Problem) -> Problem:
    return replace(
        problem,
        file=encodable(problem.file),
        message=one_line(problem.message),
        then=one_line(problem.then),
        code=one_line(problem.code),
        snippet="\n".join(one_line(line) for line in problem.snippet.split("\n")),
    )


def _place(problem: Problem) -> tuple[str, bool, int, int]:
    """The order of problems. Those of a file as a whole come last: "and 12 more problems" is one."""
    return problem.file, not problem.line, problem.line, problem.column
