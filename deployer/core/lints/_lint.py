"""All lints of one file, less those that its comments silence.

Owns the order of what is said. Must not know any lint. Invariant: a comment that silences nothing is itself
a warning, so that none outlives its reason.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING

from deployer.core.lints import _options, _scalars
from deployer.core.lints._allow import allowances
from deployer.core.lints._rules import PROTECTED_ONLY, RULES
from deployer.core.lints._subject import as_warning
from deployer.core.redact import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.errors import Problem
    from deployer.core.lints._allow import Allowance
    from deployer.core.lints._subject import Subject


def lint(subject: Subject) -> tuple[Problem, ...]:
    """Every warning about this file that none of its comments silences, in the order of the file."""
    # Once each: what several applications take from one anchor stands at one place.
    found = tuple(dict.fromkeys(chain(_options.find(subject), _scalars.find(subject))))
    allowed = allowances(subject.document)
    silent = {(one.target, code) for one in allowed for code in one.codes}
    needed = {(problem.line, problem.code) for problem in found}
    kept = [problem for problem in found if (problem.line, problem.code) not in silent]
    for one in allowed:
        kept += _about(one, subject, needed)
    return tuple(sorted(kept, key=lambda problem: (problem.line, problem.column, problem.code)))


def _about(allowance: Allowance, subject: Subject, needed: set[tuple[int, str]]) -> Iterator[Problem]:
    """What is wrong with a comment where these lines have these lints."""
    for code in allowance.codes or ("",):
        if (allowance.target, code) in needed:
            continue
        if code not in RULES:
            close = get_close_matches(code, RULES, n=1)
            hint = f" (did you mean {quote(close[0])}?)" if close else ""
            message = f"no lint is called {quote(code)}{hint}" if code else "this comment names no lint"
            problem = subject.document.file.problem(allowance.place, message)
            yield as_warning(problem, "unknown-lint", "It silences nothing")
        elif code not in PROTECTED_ONLY or subject.protected:
            message = f"line {allowance.target} has no {quote(code)} to silence: remove it from the comment"
            yield as_warning(subject.document.file.problem(allowance.place, message), "unused-allow")
