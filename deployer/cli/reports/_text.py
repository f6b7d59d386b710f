"""The report for people: one line for each problem, the source line under it, and a summary.

Owns the words of the summary. Must not know other formats. Invariant: each problem starts a line with
`file:line:column: `, as compilers do, so that editors and terminals make a link of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.cli.reports._report import counted
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from deployer.cli.reports._report import Report
    from deployer.core.errors import Problem

_SILENT = ("Serve would drop ", "Serve would keep ", "Serve would say ", "Serve would take ")
"""How the second sentence of a problem begins where Serve answers 200 and tells nobody. All others say who
would refuse it, or what would break."""


def text(report: Report) -> str:
    """Each problem with its snippet, each note, and the summary."""
    lines = [_problem(problem) for problem in report.problems]
    for environment in report.environments:
        lines += [f"{one_line(environment.path)}: note: {note}" for note in environment.notes]
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def sentence(problem: Problem) -> str:
    """Place, sentence and rule on one line: `prod/serve_config.yaml:4:5: no such key [unknown-key]`."""
    place = one_line(problem.place)
    return f"{place}: {problem.severity}: {problem.sentence} [{problem.code}]"


def summary(report: Report) -> str:
    """How many problems there are and where, and what Serve would have made of them."""
    errors, total = report.errors, len(report.environments)
    counts = [
        counted(len(found), what)
        for found, what in ((errors, "error"), (report.warnings, "warning"))
        if found
    ]
    if not counts:
        return f"{counted(total, 'environment')} {'is' if total == 1 else 'are'} valid."
    touched = sum(bool(environment.problems) for environment in report.environments)
    said = f"{' and '.join(counts)} in {touched} of {counted(total, 'environment')}."
    if errors and all(problem.then.startswith(_SILENT) for problem in errors):
        files = "this file" if len({problem.file for problem in errors}) == 1 else "these files"
        said += f" Serve would accept {files} without a word."
    return said


def _problem(problem: Problem) -> str:
    return f"{sentence(problem)}\n{problem.snippet}" if problem.snippet else sentence(problem)
