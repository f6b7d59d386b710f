"""The report for scripts.

Owns its fields, which docs/json.md promises: more may come, none goes and none changes its meaning. Must not
know other formats. Invariant: ASCII, and whatever is not known is null.
"""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployer.cli.reports._report import EnvironmentReport, Report
    from deployer.core.errors import Problem


def json(report: Report) -> str:
    """One object: every environment, and how many errors and warnings there are."""
    document = {
        "environments": [_environment(environment) for environment in report.environments],
        "errors": len(report.errors),
        "warnings": len(report.warnings),
    }
    return jsonlib.dumps(document, indent=2) + "\n"


def _environment(environment: EnvironmentReport) -> dict[str, Any]:
    return {
        "path": environment.path,
        "ray_version": environment.ray_version,
        "digest": environment.digest,
        "valid": not environment.errors,
        "problems": [_problem(problem) for problem in environment.problems],
        "notes": list(environment.notes),
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line or None,
        "column": problem.column or None,
        "severity": str(problem.severity),
        "code": problem.code,
        "message": problem.message,
        "then": problem.then or None,
    }
