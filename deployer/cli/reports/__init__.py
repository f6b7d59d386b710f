"""What `deployer validate` found, in the form that the reader wants: a person, a script, or a CI system.

Owns the names of the formats and the choice between them. Must not know how anything is checked. Invariant:
whatever a commit wrote into names and keys, each format stays what it is: the text one line per problem, the
others what their readers can parse. A snippet of the file goes into the text alone.
"""

from __future__ import annotations

from deployer.cli.reports._report import EnvironmentReport, Report

__all__ = ["FORMATS", "EnvironmentReport", "Report", "render"]

FORMATS = ("text", "json", "github", "gitlab", "sarif", "junit")


def render(report: Report, form: str) -> str:
    """The report in one of FORMATS; it ends with a line break, and UTF-8 can hold it.

    text: for people. json: see docs/json.md. github: workflow commands, which become annotations of the
    changed files. gitlab: a Code Quality report. sarif: SARIF 2.1.0. junit: JUnit's XML. All but the text are
    ASCII, except for names in github's.
    Raises ValueError for any other name.
    """
    report = report.cleaned()
    # Each in its own module, imported when it is wanted: XML alone takes as long as a small file to check.
    match form:
        case "text":
            from deployer.cli.reports._text import text

            return text(report)
        case "json":
            from deployer.cli.reports._json import json

            return json(report)
        case "github":
            from deployer.cli.reports._annotations import github

            return github(report)
        case "gitlab":
            from deployer.cli.reports._annotations import gitlab

            return gitlab(report)
        case "sarif":
            from deployer.cli.reports._sarif import sarif

            return sarif(report)
        case "junit":
            from deployer.cli.reports._junit import junit

            return junit(report)
        case _:
            message = f"no format is called {form!r}"
            raise ValueError(message)
