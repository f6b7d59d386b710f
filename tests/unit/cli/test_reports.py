"""Each format of `deployer validate` is what its readers take, whatever a commit wrote into its files."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deployer import __version__
from deployer.cli.reports import FORMATS, EnvironmentReport, Report, render
from deployer.core.errors import Problem, Severity
from deployer.core.lints import RULES
from deployer.core.serve_schema import DROPPED, REFUSED
from tests.schemas import vendor

SNAPSHOTS = Path(__file__).parent / "snapshots" / "reports"
SUFFIXES = {
    "text": "txt",
    "json": "json",
    "github": "txt",
    "gitlab": "json",
    "sarif": "sarif",
    "junit": "xml",
}

TYPO = Problem(
    file="environments/prod/serve_config.yaml",
    line=4,
    column=5,
    message="unknown key 'route_prefx' in application 'fruit' (did you mean 'route_prefix'?)",
    snippet="        route_prefx: /fruit\n        ^",
    then=DROPPED,
    code="unknown-key",
)
TYPE = Problem(
    file="environments/prod/serve_config.yaml",
    line=2,
    column=3,
    message="`applications` is {'a': 1}, not a list: see [the docs](below)",
    then=REFUSED,
    code="wrong-type",
)
WHOLE = Problem(
    file="environments/prod/environment.yaml", line=0, column=0, message="and 7 more problems", code="invalid"
)
LINT = Problem(
    file="environments/stag ing/serve_config.yaml",
    line=9,
    column=7,
    message="one replica, and no surge: 100 % of the requests wait while it restarts",
    code="no-surge",
    severity=Severity.WARNING,
)


def _environment(name: str, *problems: Problem, notes: tuple[str, ...] = ()) -> EnvironmentReport:
    is_valid = all(problem.severity is Severity.WARNING for problem in problems)
    return EnvironmentReport(
        path=f"environments/{name}",
        problems=problems,
        digest=f"sha256:{'ab' * 32}" if is_valid else None,
        ray_version="2.60.0",
        notes=notes,
    )


def _report(*environments: EnvironmentReport) -> Report:
    return Report(environments=environments)


EVERYTHING = _report(
    _environment("stag ing", LINT, notes=("Ray's own validator was not asked: Ray 2.59.0 is installed",)),
    _environment("prod", WHOLE, TYPO, TYPE),
    _environment("dev"),
)


# --- snapshots ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_as_it_was_agreed(form: str) -> None:
    """One report with errors, a warning, a note, a valid environment and odd names, in each format.

    `UPDATE_SNAPSHOTS=1` writes the files anew; git shows what changed.
    """
    path = SNAPSHOTS / f"report.{form}.{SUFFIXES[form]}"
    rendered = render(EVERYTHING, form).replace(f'"version": "{__version__}"', '"version": "VERSION"')
    if "UPDATE_SNAPSHOTS" in os.environ:
        path.write_text(rendered, encoding="utf-8")

    assert rendered == path.read_text(encoding="utf-8")


def test_no_other_format_is_known() -> None:
    """A name that is none of them is an error of the caller."""
    with pytest.raises(ValueError, match="no format is called 'yaml'"):
        render(EVERYTHING, "yaml")


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "text"])
def test_snippets_are_for_people_alone(form: str) -> None:
    """No line of a file is copied into a report that CI keeps."""
    secret = replace(TYPO, snippet="    s3cr3t: hunter2\n    ^")
    report = _report(_environment("prod", secret))

    assert "hunter2" in render(report, "text")
    assert "hunter2" not in render(report, form)


# --- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "summary"),
    [
        (_report(_environment("a")), "1 environment is valid."),
        (_report(_environment("a"), _environment("b")), "2 environments are valid."),
        (_report(_environment("a", LINT), _environment("b")), "1 warning in 1 of 2 environments."),
        (
            _report(_environment("a", TYPE), _environment("b", LINT, LINT)),
            "1 error and 2 warnings in 2 of 2 environments.",
        ),
        (
            _report(_environment("a", TYPO), _environment("b"), _environment("c")),
            "1 error in 1 of 3 environments. Serve would accept this file without a word.",
        ),
        (
            _report(_environment("a", TYPO, TYPO)),
            "2 errors in 1 of 1 environment. Serve would accept this file without a word.",
        ),
        (
            _report(_environment("a", TYPO), _environment("b", replace(TYPO, file="b.yaml"), LINT)),
            "2 errors and 1 warning in 2 of 2 environments. Serve would accept these files without a word.",
        ),
        (_report(_environment("a", TYPO, TYPE)), "2 errors in 1 of 1 environment."),
    ],
)
def test_the_summary_counts_and_says_what_serve_would_have_done(report: Report, summary: str) -> None:
    """The last line has the counts, and warns where each of the errors would have passed unseen."""
    assert render(report, "text").splitlines()[-1] == summary
    assert render(report, "github").splitlines()[-1] == summary


def test_problems_are_in_the_order_of_the_files() -> None:
    """By file and line over all environments; what is said of a file as a whole is its last."""
    first, second = replace(TYPE, line=1), replace(TYPE, line=12, column=1)
    whole = replace(TYPE, line=0)
    report = _report(_environment("a", whole, second, first), _environment("b", replace(LINT, file="a")))

    places = [line.split(": ")[0] for line in render(report, "text").splitlines()[:-1]]

    assert places == ["a:9:7", f"{TYPE.file}:1:3", f"{TYPE.file}:12:1", TYPE.file]


# --- what stays the same ------------------------------------------------------------------------------


def _fingerprints(report: Report) -> dict[str, list[str]]:
    [run] = json.loads(render(report, "sarif"))["runs"]
    return {
        "gitlab": [issue["fingerprint"] for issue in json.loads(render(report, "gitlab"))],
        "sarif": [result["partialFingerprints"]["problem/v1"] for result in run["results"]],
    }


def test_a_problem_keeps_its_fingerprint_when_lines_are_added_above() -> None:
    """Neither its own line counts nor the one that its message names; and both formats have the same."""
    twice = replace(TYPE, message="'a' is listed twice (first at line 3): remove one")
    lower = replace(twice, line=90, column=9, message="'a' is listed twice (first at line 71): remove one")

    before, after = (
        _fingerprints(_report(_environment("a", twice))),
        _fingerprints(_report(_environment("a", lower))),
    )

    assert before == after
    assert before["gitlab"] == before["sarif"]


def test_different_problems_have_different_fingerprints() -> None:
    """Also equal ones in one file: GitLab shows a fingerprint only once."""
    problems = (
        TYPO,
        replace(TYPO, line=8),
        replace(TYPO, line=9, message="other"),
        replace(TYPO, line=10, code="other"),
        replace(TYPO, file="other"),
    )

    found = _fingerprints(_report(_environment("a", *problems)))["gitlab"]

    assert len(set(found)) == len(problems)


# --- names of files ----------------------------------------------------------------------------------


def _uri(report: Report) -> dict[str, str]:
    [run] = json.loads(render(report, "sarif"))["runs"]
    artifact: dict[str, str] = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    return artifact


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("environments/prod/serve_config.yaml", "environments/prod/serve_config.yaml"),
        ("./environments/prod/x.yaml", "environments/prod/x.yaml"),
        ("a b/ü%.yaml", "a%20b/%C3%BC%25.yaml"),
        ("c:/d?e#f.yaml", "c%3A/d%3Fe%23f.yaml"),
    ],
)
def test_relative_names_are_relative_uris(file: str, uri: str) -> None:
    """A name is quoted, so that no character of it means anything, and is one in the repository."""
    artifact = _uri(_report(_environment("a", replace(TYPO, file=file))))

    assert artifact == {"uri": uri, "uriBaseId": "%SRCROOT%"}


def test_absolute_names_below_this_folder_are_those_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI knows files by their names in the repository, and runs commands at its top."""
    monkeypatch.chdir(tmp_path)
    inside = _report(_environment("a", replace(TYPO, file=f"{tmp_path}/a/b.yaml")))
    outside = _report(_environment("a", replace(TYPO, file="/else where/b.yaml")))

    assert _uri(inside)["uri"] == "a/b.yaml"
    assert json.loads(render(inside, "gitlab"))[0]["location"]["path"] == "a/b.yaml"
    assert render(inside, "github").startswith("::error file=a/b.yaml,line=4,col=5,title=unknown-key::")
    assert _uri(outside) == {"uri": "file:///else%20where/b.yaml"}
    assert render(inside, "text").startswith(f"{tmp_path}/a/b.yaml:4:5: error: ")


# --- whatever the files hold --------------------------------------------------------------------------

HOSTILE = [
    "a\nb",
    "\r::error::",
    "::set-output name=x::y",
    "##[add-path]z",
    "]]>",
    "<!--",
    "&amp;",
    "\0\x1b[2J\x9b",
    "\u2028\u202e\ufeff\ufffe",
    "\ud800",
    "\udcff",
    "%0A%25",
    "a,b:c=d",
    "{0}",
    "[x](https://example.com)",
    "[[ATTACHMENT|/etc/passwd]]",
    '"\\',
    "/",
    "//x/../y",
    "",
]
# Any character, halves of characters too: a file's name may be no UTF-8.
_CHARACTERS = st.characters(codec=None, exclude_categories=())
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join),
    st.text(_CHARACTERS, max_size=12),
)
PROBLEMS = st.builds(
    Problem,
    file=TEXTS,
    line=st.integers(min_value=0, max_value=3),
    column=st.integers(min_value=1, max_value=3),
    message=TEXTS,
    snippet=TEXTS,
    then=TEXTS,
    code=TEXTS,
    severity=st.sampled_from(Severity),
)
REPORTS = st.builds(
    Report,
    environments=st.lists(
        st.builds(
            EnvironmentReport,
            path=TEXTS,
            problems=st.lists(PROBLEMS, max_size=3).map(tuple),
            digest=st.none() | st.just("sha256:00"),
            ray_version=st.just("2.60.0"),
            notes=st.lists(TEXTS, max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
)
WORST = _report(
    *(
        _environment(
            text,
            replace(TYPO, file=text, message=text, then=text, code=text, snippet=f"    {text}\n    ^"),
            notes=(text,),
        )
        for text in HOSTILE
    )
)


def _all(report: Report, severity: Severity | None = None) -> list[Problem]:
    return [
        problem
        for environment in report.environments
        for problem in environment.problems
        if severity in {None, problem.severity}
    ]


@given(report=REPORTS)
@example(report=WORST)
def test_every_format_can_be_written_and_ends_its_last_line(report: Report) -> None:
    """Nothing in a report keeps it from being written as UTF-8; all but two formats are ASCII."""
    for form in FORMATS:
        rendered = render(report, form)
        rendered.encode("utf-8" if form in {"text", "github"} else "ascii")
        assert rendered.endswith("\n")


@given(report=REPORTS)
@example(report=WORST)
def test_no_text_moves_the_cursor_or_begins_a_line_of_its_own(report: Report) -> None:
    """A problem is one line and its snippet's lines, a note is one; all else is the summary."""
    rendered = render(report, "text")

    snippets = sum(problem.snippet.count("\n") + 1 for problem in _all(report) if problem.snippet)
    notes = sum(len(environment.notes) for environment in report.environments)
    assert rendered.count("\n") == len(_all(report)) + snippets + notes + 1
    assert rendered.replace("\n", "").isprintable()


@given(report=REPORTS)
@example(report=WORST)
def test_json_has_every_problem(report: Report) -> None:
    """The counts are those of the lists, and an environment is valid if it has no error."""
    document = json.loads(render(report, "json"))

    found = [problem for environment in document["environments"] for problem in environment["problems"]]
    assert len(found) == len(_all(report))
    assert document["errors"] == sum(problem["severity"] == "error" for problem in found)
    assert document["warnings"] == len(found) - document["errors"]
    for environment in document["environments"]:
        assert environment["valid"] == all(one["severity"] != "error" for one in environment["problems"])


def _runner(line: str) -> tuple[str, dict[str, str], str] | None:
    """One line as GitHub's runner reads it (`TryParseV2` in `ActionCommand.cs`), if it is a command."""
    line = line.lstrip()
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    name, _, said = line[2:end].partition(" ")
    pairs = [pair.split("=", 1) for pair in said.strip().split(",")]
    properties = {
        pair[0]: _unescaped(pair[1], ("%3A", ":"), ("%2C", ",")) for pair in pairs if len(pair) == 2
    }
    return name, properties, _unescaped(line[end + 2 :])


def _unescaped(text: str, *more: tuple[str, str]) -> str:
    for escaped, character in (("%0D", "\r"), ("%0A", "\n"), *more, ("%25", "%")):
        text = text.replace(escaped, character)
    return text


@given(report=REPORTS)
@example(report=WORST)
def test_a_commit_gives_github_no_command_of_its_own(report: Report) -> None:
    """The runner sees one command for each problem and note, with what was put in; and words of ours."""
    # The runner's lines end at "\r" too, which is one more reason to have none.
    lines = re.split("\r\n|\r|\n", render(report, "github").removesuffix("\n"))
    commands = [_runner(line) for line in lines]

    notes = sum(len(environment.notes) for environment in report.environments)
    assert len(commands) == len(_all(report)) + notes + 1
    assert commands[-1] is None
    assert re.fullmatch(r"[\w ]+\.( Serve would accept [\w ]+\.)?", lines[-1])
    names = [command[0] for command in commands if command]
    assert names.count("error") == len(_all(report, Severity.ERROR))
    assert names.count("warning") == len(_all(report, Severity.WARNING))
    assert names.count("notice") == notes
    for command in filter(None, commands):
        assert set(command[1]) <= {"file", "line", "col", "title"}


def test_github_reads_back_what_was_written() -> None:
    """Names and messages come through the runner's own reading unchanged."""
    odd = replace(TYPO, file="a,b::c=d/100%0A.yaml", message="100 %: a,b::c%25", then="", code="x,y")

    command = _runner(render(_report(_environment("a", odd)), "github").splitlines()[0])

    properties = {"file": odd.file, "line": "4", "col": "5", "title": "x,y"}
    assert command == ("error", properties, odd.message)


@given(report=REPORTS)
@example(report=WORST)
def test_gitlab_takes_every_entry(report: Report) -> None:
    """Each entry is as GitLab documents and checks it; it reads none behind one that is not."""
    issues = json.loads(render(report, "gitlab"))

    assert len(issues) == len(_all(report))
    for issue in issues:
        assert vendor.faults("gitlab-codequality", issue) == []
        # The documented format says more than the schema that GitLab checks with.
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert issue["location"]["lines"]["begin"] >= 1
        assert not issue["location"]["path"].startswith("./")
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)


@given(report=REPORTS)
@example(report=WORST)
def test_sarif_is_what_the_standard_says(report: Report) -> None:
    """The standard's schema holds, and of its other rules those on rules, URIs and text."""
    document = json.loads(render(report, "sarif"))

    assert vendor.faults("sarif-2.1.0-rtm.5", document) == []
    [run] = document["runs"]
    assert len(run["results"]) == len(_all(report))
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"(file://)?(?:[A-Za-z0-9_.~/-]|%[0-9A-F]{2})+", uri)
        assert urlsplit(uri).scheme in {"", "file"}
    for text in _texts(document):
        # 3.11.5: braces are doubled, or they are placeholders. 3.11.6: what looks like a link is one.
        assert "{" not in text.replace("{{", "")
        assert "}" not in text.replace("}}", "")
        assert "](" not in text


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["text"]] if isinstance(value.get("text"), str) else []
        return here + [text for inner in value.values() for text in _texts(inner)]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []


def test_sarif_says_why_there_is_a_lint() -> None:
    """Code scanning shows the title and the reason that docs/lints.md has."""
    for code, lint in RULES.items():
        [run] = json.loads(render(_report(_environment("a", replace(LINT, code=code))), "sarif"))["runs"]
        [rule] = run["tool"]["driver"]["rules"]
        shown = rule["fullDescription"]["text"].replace("{{", "{").replace("}}", "}")
        reason = re.sub(r"\[([\w-]+)\]\(#\1\)", r"\1", lint.reason)
        assert (rule["id"], rule["shortDescription"]["text"], shown) == (code, lint.title, reason)
        assert rule["help"]["text"].endswith("docs/lints.md says how to silence it.")


def test_sarif_names_the_file() -> None:
    """Unquoted, the URI is the file's name again."""
    file = "environments/ü b/ser#ve%20.yaml"

    assert unquote(_uri(_report(_environment("a", replace(TYPO, file=file))))["uri"]) == file


@given(report=REPORTS)
@example(report=WORST)
def test_junit_is_xml_with_a_test_for_each_environment(report: Report) -> None:
    """It parses; the counts are those of the elements; and no text makes a CI system keep a file."""
    rendered = render(report, "junit")
    root = ET.fromstring(rendered)  # noqa: S314 - our own

    assert root.tag == "testsuites"
    [suite] = root
    assert suite.tag == "testsuite"
    assert suite.get("tests") == str(len(report.environments)) == str(len(suite))
    failed = [environment for environment in report.environments if environment.errors]
    assert suite.get("failures") == str(len(failed)) == str(len(suite.findall("testcase/failure")))
    for case, environment in zip(suite, report.environments, strict=True):
        assert case.tag == "testcase"
        assert [child.tag for child in case] in ([[], ["system-out"], ["failure"], ["failure", "system-out"]])
        failure = case.find("failure")
        assert len((failure.text or "").splitlines() if failure is not None else []) == len(
            environment.errors
        )
    assert not any("[[ATTACHMENT|" in text for text in root.itertext())


def test_junit_reads_back_what_was_written() -> None:
    """Markup in a name or a message is text, and nothing else is made of it."""
    odd = '<a href="x">&amp;</a>]]><![CDATA['
    report = _report(replace(_environment("a", replace(TYPO, message=odd)), path=odd))

    [[case]] = ET.fromstring(render(report, "junit"))  # noqa: S314 - our own

    assert case.get("name") == odd
    assert f": error: {odd}. " in (case.findtext("failure") or "")


# --- the schemas themselves --------------------------------------------------------------------------


def test_the_schemas_are_the_published_ones() -> None:
    """Each vendored file is as its README says, and none is missing there."""
    folder = Path(vendor.__file__).parent
    rows = re.findall(
        r"^\| `(\S+\.json)` .* `([0-9a-f]{64})` \|$", (folder / "README.md").read_text(), re.MULTILINE
    )

    assert dict(rows) == {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.json")}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("sarif-2.1.0-rtm.5", {"version": "2.1.0", "runs": [{"results": []}]}),
        ("gitlab-codequality", {"description": "x", "severity": "minor", "location": {}}),
    ],
)
def test_the_schemas_refuse_what_is_wrong(name: str, wrong: object) -> None:
    """A check that lets everything through would prove nothing."""
    assert vendor.faults(name, wrong)
