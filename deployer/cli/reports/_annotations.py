"""The report as GitHub and GitLab show it beside the changed lines of a pull request.

Owns the two formats: GitHub's workflow commands and GitLab's Code Quality report. Must not know others.
Invariant: a line of GitHub's is one command of ours or plain words of ours, whatever the files hold: no
commit can give the runner one of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deployer.cli.reports._report import in_tree
from deployer.cli.reports._text import summary
from deployer.core.errors import Severity

if TYPE_CHECKING:
    from deployer.cli.reports._report import Report
    from deployer.core.errors import Problem

# What the runner takes back (`ActionCommand.cs`); it does so in this order, `%25` last.
_IN_MESSAGES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTIES = _IN_MESSAGES | str.maketrans({":": "%3A", ",": "%2C"})

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "minor"}
"""GitLab has info, minor, major, critical and blocker."""


def github(report: Report) -> str:
    """Workflow commands: `::error file=..,line=..,col=..,title=<rule>::<message>`, then the summary in words.

    GitHub shows the first ten errors and the first ten warnings of a step as annotations, and all of them in
    its log.
    """
    lines = [
        _command(str(problem.severity), problem.sentence, _where(problem)) for problem in report.problems
    ]
    for environment in report.environments:
        lines += [_command("notice", note, {"title": environment.path}) for note in environment.notes]
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def gitlab(report: Report) -> str:
    """A Code Quality report: a list, one object for each problem.

    A problem of the file as a whole is shown at its first line: the format has no other way to say it.
    """
    issues = [
        {
            "description": problem.sentence,
            "check_name": problem.code,
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[problem.severity],
            "location": {"path": in_tree(problem.file), "lines": {"begin": problem.line or 1}},
        }
        for problem, fingerprint in report.identified()
    ]
    return json.dumps(issues, indent=2) + "\n"


def _where(problem: Problem) -> dict[str, str]:
    place = {"line": str(problem.line), "col": str(problem.column)} if problem.line else {}
    return {"file": in_tree(problem.file), **place, "title": problem.code}


def _command(name: str, message: str, properties: dict[str, str]) -> str:
    said = ",".join(f"{key}={value.translate(_IN_PROPERTIES)}" for key, value in properties.items())
    return f"::{name} {said}::{message.translate(_IN_MESSAGES)}"
