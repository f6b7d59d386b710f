"""What is linted, and the form of a warning.

Owns the values that every lint is given, and how it points into the file. Must not know any lint. Invariant:
a warning is never an error, and has the code of a rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deployer.core.document import Document
from deployer.core.errors import Problem, Severity
from deployer.core.redact import Path
from deployer.core.types import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A Serve config without errors, as it is written and as it would be sent.

    `applications` are those of the file, each with its path in `document`: `("applications", 0)`, or `()` in
    the single-application form. `body` is the whole config in the multi-application form. `policy` is the
    `environment.yaml` beside it, if there is one. `protected`: what runs here is not for trying things out.
    """

    document: Document
    applications: tuple[tuple[Path, Mapping[str, Any]], ...] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    policy: Policy | None
    protected: bool

    def warning(
        self, code: str, path: Path, message: str, then: str = "", *, at_key: bool = False
    ) -> Problem:
        """A warning about the value at `path`, or its key. Nothing there: about what should hold it."""
        problem = self.document.problem(path, message, at_key=at_key)
        return as_warning(problem, code, then)


def as_warning(problem: Problem, code: str, then: str = "") -> Problem:
    """The problem as a warning of this lint."""
    return replace(problem, code=code, then=then, severity=Severity.WARNING)
