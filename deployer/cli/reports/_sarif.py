"""The report as SARIF 2.1.0, which code scanning of GitHub, Azure DevOps and editors read.

Owns the format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. Must not know others.
Invariant: what is written satisfies the standard's own schema, and its rules on text that no schema says.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deployer import __version__
from deployer.cli.reports._report import in_tree
from deployer.core.errors import Severity
from deployer.core.lints import RULES

if TYPE_CHECKING:
    from deployer.cli.reports._report import Report
    from deployer.core.errors import Problem

# A link to another section of docs/lints.md, which a report does not have.
_SECTION = re.compile(r"\[([^\]]*)\]\(#[^)]*\)")
_LITERAL = str.maketrans({"{": "{{", "}": "}}"})


def sarif(report: Report) -> str:
    """One run of one tool. Its rules are those that something was found of; notes are notifications."""
    codes = sorted({problem.code for problem in report.problems})
    grave = {problem.code for problem in report.errors}
    notes = [note for environment in report.environments for note in environment.notes]
    run = {
        "tool": {
            "driver": {
                "name": "deployer",
                "version": __version__,
                "rules": [_rule(code, is_grave=code in grave) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "note", "message": _message(note)} for note in notes
                ],
            }
        ],
        "results": [
            _result(problem, codes.index(problem.code), fingerprint)
            for problem, fingerprint in report.identified()
        ],
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2) + "\n"


def _rule(code: str, *, is_grave: bool) -> dict[str, Any]:
    """A rule as GitHub shows it, which asks for both descriptions and for the help."""
    lint = RULES.get(code)
    if lint is None:
        words = code.replace("-", " ")
        title = f"{words[:1].upper()}{words[1:]}"
        reason = "The message says what is wrong, and what Serve would do with it."
    else:
        title, reason = lint.title, _SECTION.sub(r"\1", lint.reason)
    more = "It keeps a commit from being deployed." if is_grave else "docs/lints.md says how to silence it."
    return {
        "id": code,
        "shortDescription": _message(title),
        "fullDescription": _message(reason),
        "help": _message(f"{reason} {more}"),
        "defaultConfiguration": {"level": str(Severity.ERROR if is_grave else Severity.WARNING)},
    }


def _result(problem: Problem, rule: int, fingerprint: str) -> dict[str, Any]:
    # GitHub asks for a first line; that of a problem with the whole file is 1.
    region = {"startLine": problem.line or 1}
    if problem.line and problem.column:
        region["startColumn"] = problem.column
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": str(problem.severity),
        "message": _message(problem.sentence),
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(problem.file), "region": region}}],
        "partialFingerprints": {"problem/v1": fingerprint},
    }


def _artifact(file: str) -> dict[str, str]:
    path = in_tree(file)
    if path.startswith("/"):
        return {"uri": f"file://{quote(path)}"}
    # A colon is quoted too: in the first part of a relative URI it would name a scheme.
    return {"uri": quote(path), "uriBaseId": "%SRCROOT%"}


def _message(text: str) -> dict[str, str]:
    """A text with no placeholder (3.11.5: braces are doubled) and no embedded link (3.11.6) in it."""
    return {"text": text.translate(_LITERAL).replace("](", "] (")}
