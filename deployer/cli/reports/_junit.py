"""The report as JUnit's XML, which nearly every CI system reads: an environment is a test.

Owns the format, as far as GitLab and Jenkins read it. Must not know others. Invariant: well-formed XML 1.0 in
ASCII, and nothing in it makes its reader open a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from deployer.cli.reports._report import counted
from deployer.cli.reports._text import sentence

if TYPE_CHECKING:
    from deployer.cli.reports._report import EnvironmentReport, Report

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 can hold in no form, not even escaped."""

_ATTACHMENT = "[[ATTACHMENT|"
"""GitLab, and Jenkins with a plugin, keep the file that is named behind it: the commit would choose which."""


def junit(report: Report) -> str:
    """One suite with a test for each environment. Its errors are one failure; warnings and notes are output.

    One failure, since GitLab reads no test that has more (`parsers/test/junit.rb` expects text there).
    """
    suites = ET.Element("testsuites")
    suite = ET.SubElement(
        suites,
        "testsuite",
        name="deployer validate",
        tests=str(len(report.environments)),
        failures=str(sum(bool(environment.errors) for environment in report.environments)),
        errors="0",
        skipped="0",
    )
    for environment in report.environments:
        _case(suite, environment)
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="us-ascii", xml_declaration=True)
    return document.decode() + "\n"


def _case(suite: ET.Element, environment: EnvironmentReport) -> None:
    case = ET.SubElement(suite, "testcase", classname="deployer validate", name=_allowed(environment.path))
    if environment.errors:
        failure = ET.SubElement(
            case, "failure", message=counted(len(environment.errors), "error"), type="invalid"
        )
        failure.text = _allowed("\n".join(sentence(problem) for problem in environment.errors))
    said = [sentence(problem) for problem in environment.warnings]
    said += [f"note: {note}" for note in environment.notes]
    if said:
        ET.SubElement(case, "system-out").text = _allowed("\n".join(said))


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub("", text).replace(_ATTACHMENT, "[ [ATTACHMENT|")
