"""Lints speak of what stands in the file, once, and can be silenced beside the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from deployer.core import serve_config
from deployer.core.errors import InvalidConfig, Severity
from deployer.core.lints import RULES, Subject, lint
from deployer.core.lints._allow import allowances
from deployer.core.lints._rules import PROTECTED_ONLY
from deployer.core.lints._source import Source
from deployer.core.types import Policy
from deployer.core.yaml import load

if TYPE_CHECKING:
    from deployer.core.errors import Problem

SNAPSHOTS = Path(__file__).parent / "snapshots" / "lints"
COMMENTS = {"unused-allow", "unknown-lint"}
"""The lints about comments, which no comment silences."""

TOP = "http_options: {request_timeout_s: 60}\napplications:\n- {name: fruit, import_path: a:b, "


def warnings(text: str, *, protected: bool = False) -> tuple[Problem, ...]:
    """What is said of this file."""
    reading = serve_config.read(text.encode(), "serve_config.yaml")
    subject = Subject(
        document=reading.document,
        applications=reading.applications,
        body=reading.config.body(),
        policy=Policy(),
        protected=protected,
    )
    return lint(subject)


def codes(text: str, *, protected: bool = False) -> list[str]:
    """The codes of what is said, in the file's order."""
    return [problem.code for problem in warnings(text, protected=protected)]


def of_app(inside: str, *, protected: bool = False) -> list[str]:
    """What is said of an application with this in it, in flow style."""
    return codes(f"{TOP}{inside}}}\n", protected=protected)


def of_deployment(inside: str) -> list[str]:
    """What is said of a deployment with this in it, and a health check period."""
    return of_app(f"deployments: [{{name: D, health_check_period_s: 5, {inside}}}]")


def snapshot(code: str) -> str:
    """What is said of the bad example."""
    found = warnings(RULES[code].example_bad, protected=code in PROTECTED_ONLY)
    return "".join(f"{problem.severity}: {problem} [{problem.code}]\n" for problem in found)


# --- every lint ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", RULES)
def test_each_message_is_as_it_was_agreed(code: str) -> None:
    """A sentence with its cause and what to do; `python -m tests.unit.core.test_lints` writes them anew."""
    assert snapshot(code) == (SNAPSHOTS / f"{code}.txt").read_text()


def test_no_snapshot_is_left_over() -> None:
    """Each belongs to a lint."""
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {*RULES}


@pytest.mark.parametrize("code", [code for code in RULES if code not in COMMENTS])
@pytest.mark.parametrize("above", [True, False], ids=["above", "beside"])
def test_each_is_silenced_beside_its_line_or_directly_above(code: str, above: bool) -> None:
    """With a reason; nothing else is said then."""
    bad = RULES[code].example_bad
    (problem,) = warnings(bad, protected=code in PROTECTED_ONLY)
    lines = bad.splitlines(keepends=True)
    at = problem.line - 1
    comment = f"# deployer: allow {code} because, well\n"
    if above:
        lines.insert(at, comment)
    else:
        lines[at] = f"{lines[at].rstrip()}  {comment}"

    assert codes("".join(lines), protected=code in PROTECTED_ONLY) == []


def test_all_of_a_file_is_said_once_and_in_its_order() -> None:
    """By line, then column, then code; what two applications take from one anchor is said once."""
    text = """\
target_capacity: 50
applications:
- name: b
  import_path: a:b
  deployments: &same
  - name: D
    num_replicas: 1
    user_config: {a: 017, b: off}
- name: a
  route_prefix: /a
  import_path: a:b
  deployments: *same
"""

    found = warnings(text)

    assert [(problem.line, problem.code) for problem in found] == [
        (1, "no-request-timeout"),
        (1, "target-capacity-set"),
        (6, "no-health-check-period"),
        (7, "one-replica-without-surge"),
        (8, "yaml-surprise"),
        (8, "yaml-surprise"),
    ]
    assert {problem.severity for problem in found} == {Severity.WARNING}


# --- code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("runtime_env: {working_dir: https://h/main.zip}", 1),
        ("runtime_env: {py_modules: [https://h/main.zip, https://h/v1.2.zip, https://h/head.zip]}", 2),
        ("deployments: [{name: D, num_replicas: 2, health_check_period_s: 5,"
         " ray_actor_options: {runtime_env: {working_dir: https://h/main.zip}}}]", 1),
        ("runtime_env: {working_dir: https://h/4f1c2d3.zip}", 0),
        ("runtime_env: {working_dir: local:///srv/main}", 1),
        ("runtime_env: {pip: [a]}", 0),
    ],
    ids=["an archive", "modules", "of a deployment", "pinned", "a folder of the nodes", "no address"],
)  # fmt: skip
def test_mutable_code(inside: str, expected: int) -> None:
    """Every address that is not pinned, wherever it stands."""
    assert of_app(inside) == ["mutable-code-uri"] * expected


def test_an_address_is_shown_without_its_password() -> None:
    """In the sentence as in the snippet."""
    (problem,) = warnings(
        f"{TOP}runtime_env: {{working_dir: 'https://ada:hunter2@h.example.com/main.zip?sig=s3cret'}}}}"
    )

    assert "https://h.example.com/main.zip:" in problem.message
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("runtime_env: {pip: [a], working_dir: https://h/v1.2.zip}", 1),
        ("runtime_env: {conda: fruit}", 1),
        ("deployments: [{name: D, num_replicas: 2, health_check_period_s: 5,"
         " ray_actor_options: {runtime_env: {uv: [a]}}}]", 1),
        ("runtime_env: {env_vars: {A: b}, image_uri: 'a:1.2'}", 0),
        ("runtime_env: {pip: []}", 0),
        ("route_prefix: /a", 0),
    ],
    ids=["two in one warning", "conda", "of a deployment", "settings and an image", "nothing", "none"],
)  # fmt: skip
def test_code_in_a_protected_environment(inside: str, expected: int) -> None:
    """Once for each `runtime_env` that brings code, and only where it is protected."""
    assert of_app(inside, protected=True) == ["runtime-env-in-protected"] * expected
    assert of_app(inside) == []


def test_code_in_a_protected_environment_names_what_it_is_in_the_order_of_the_file() -> None:
    """The warning stands at the first of them."""
    (problem,) = warnings(
        f"{TOP}runtime_env: {{\n  pip: [a],\n  working_dir: https://h/v1.2.zip}}}}", protected=True
    )

    assert problem.message.startswith("`pip` and `working_dir` bring code")
    assert (problem.line, problem.column) == (4, 3)


# --- replicas --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "at"),
    [
        ("num_replicas: 1", "1,"),
        ("user_config: {a: 1}", "{name: D"),
        ("num_replicas: auto", "auto"),
        ("autoscaling_config: {max_replicas: 3}", "autoscaling_config"),
        ("autoscaling_config: {min_replicas: 0, max_replicas: 3}", "0"),
        ("autoscaling_config: {min_replicas: 1, max_replicas: 3}", "1"),
        ("num_replicas: 1, max_surge_percent: 0", "1"),
        ("num_replicas: 1, autoscaling_config: null", "1"),
    ],
)
def test_one_replica_without_surge(inside: str, at: str) -> None:
    """However the file comes to it; the warning points at what says so."""
    text = f"{TOP}deployments: [{{name: D, health_check_period_s: 5, {inside}, route_prefix: ~~}}]}}\n"
    (problem,) = warnings(text)

    assert problem.code == "one-replica-without-surge"
    assert text.splitlines()[problem.line - 1][problem.column - 1 :].startswith(at.rstrip(","))


@pytest.mark.parametrize(
    "inside",
    [
        "num_replicas: 2",
        "num_replicas: 1, max_surge_percent: 1",
        "max_surge_percent: 100",
        "autoscaling_config: {min_replicas: 2, max_replicas: 3}",
        "num_replicas: auto, max_surge_percent: 100",
        "num_replicas: many",
    ],
)
def test_replicas_that_outlast_an_update(inside: str) -> None:
    """More than one, or one that is replaced before it is stopped; what Serve refuses is no lint."""
    assert of_deployment(inside) == []


def test_a_deployment_that_the_file_does_not_list_is_not_warned_about() -> None:
    """Nobody knows what its code says."""
    assert of_app("route_prefix: /a") == []


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("num_replicas: auto, autoscaling_config: {min_replicas: 2, max_replicas: 3}", "changes nothing"),
        ("num_replicas: auto, autoscaling_config: {min_replicas: 2}", "grow to 100 replicas"),
        ("max_surge_percent: 9, autoscaling_config: {upscale_delay_s: 3}", "sets no `max_replicas`"),
        ("num_replicas: auto, max_surge_percent: 9, autoscaling_config: {}", None),
        ("num_replicas: 2, autoscaling_config: {}", None),
        ("autoscaling_config: {min_replicas: 2, max_replicas: 3}", None),
    ],
)
def test_limits_of_autoscaling(inside: str, expected: str | None) -> None:
    """What `auto` adds to an `autoscaling_config`, and a limit that forbids to scale."""
    found = warnings(f"{TOP}deployments: [{{name: D, health_check_period_s: 5, {inside}}}]}}\n")

    assert [expected in problem.message for problem in found if expected] == ([True] if expected else [])
    assert len(found) == (expected is not None)


@pytest.mark.parametrize(("period", "expected"), [("5", 0), ("10.0", 0), ("null", 1)])
def test_health_check_period(period: str, expected: int) -> None:
    """Any is a choice."""
    inside = f"deployments: [{{name: D, num_replicas: 2, health_check_period_s: {period}}}]"
    assert of_app(inside) == ["no-health-check-period"] * expected


# --- the cluster -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ("http_options: {request_timeout_s: 5}", []),
        ("http_options: {request_timeout_s: null}", ["no-request-timeout"]),
        ("http_options: {}", ["no-request-timeout"]),
        ("http_options: {port: 8001, request_timeout_s: 5}", ["ignored-by-running-serve"]),
        ("http_options: {port: 8001}", ["ignored-by-running-serve", "no-request-timeout"]),
        ("proxy_location: Disabled", ["ignored-by-running-serve"]),
        ("proxy_location: EveryNode", ["ignored-by-running-serve", "no-request-timeout"]),
        ("http_options: {request_timeout_s: 5}\ngrpc_options: {port: 9001}", ["ignored-by-running-serve"]),
        ("http_options: {request_timeout_s: 5}\ntracing_config: {enabled: true}",
         ["ignored-by-running-serve"]),
        ("http_options: {request_timeout_s: 5}\ncontroller_options: {}", []),
        ("http_options: {request_timeout_s: 5}\ntarget_capacity: 99.5", ["target-capacity-set"]),
        ("http_options: {request_timeout_s: 5}\ntarget_capacity: 100", []),
        ("http_options: {request_timeout_s: 5}\ntarget_capacity: null", []),
        ("http_options: {request_timeout_s: 5}\nlogging_config: {log_level: DEBUG}", []),
    ],
)  # fmt: skip
def test_options_of_the_cluster(top: str, expected: list[str]) -> None:
    """A warning for each section that only a start of Serve takes over, and for a missing time-out."""
    assert sorted(codes(f"{top}\napplications: []\n")) == expected


def test_a_section_is_pointed_at_by_its_key() -> None:
    """The comment belongs beside the key, also where the values stand below it."""
    text = "applications: []\nhttp_options:\n  port: 8001\n"
    assert [problem.line for problem in warnings(text)] == [2, 2]


def test_tracing_has_its_own_sentence() -> None:
    """Serve takes it, and only replicas that start later read it (2.60)."""
    (problem,) = warnings("proxy_location: Disabled\ntracing_config: {enabled: true}\napplications: []\n")[1:]
    assert "restart the replicas" in problem.message


def test_the_single_application_form() -> None:
    """Its `host` and `port` are options of HTTP, and its application is the whole file."""
    text = """\
import_path: a:b
port: 8001
runtime_env:
  working_dir: https://h/main.zip
deployments:
- name: D
  num_replicas: 1
  health_check_period_s: 5
"""

    assert [(problem.line, problem.code) for problem in warnings(text)] == [
        (1, "no-request-timeout"),
        (2, "ignored-by-running-serve"),
        (4, "mutable-code-uri"),
        (7, "one-replica-without-surge"),
    ]


# --- what YAML reads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "reading"),
    [
        ("yes", "`yes` is true in YAML 1.1: write `true`"),
        ("NO", "`NO` is false in YAML 1.1: write `false`"),
        ("On", "`On` is true in YAML 1.1: write `true`"),
        ("off", "`off` is false in YAML 1.1: write `false`"),
        ("~", "`~` is null in YAML: write `null`"),
        ("017", "`017` is the number 15 (base 8, because of the leading zero): write `15`"),
        ("-0_7", "`-0_7` is the number -7 (base 8, because of the leading zero): write `-7`"),
        ("0x1F", "`0x1F` is the number 31 (base 16): write `31`"),
        ("0b11", "`0b11` is the number 3 (base 2): write `3`"),
        ("1_000", "`1_000` is the number 1000 (`_` only separates digits): write `1000`"),
        ("1_0.5", "`1_0.5` is the number 10.5 (`_` only separates digits): write `10.5`"),
        ("1:30", "`1:30` is the number 90 (base 60, because of the colon): write `90`"),
        ("1:30.5", "`1:30.5` is the number 90.5 (base 60, because of the colon): write `90.5`"),
        (".5", "`.5` is the number 0.5: write `0.5`"),
        ("+49", "`+49` is the number 49: write `49`"),
        ("1e3", "`1e3` is text in YAML 1.1, spelled as it is: write `1000.0` if it is a number"),
        ("1e-5", "`1e-5` is text in YAML 1.1, spelled as it is: write `1.0e-05` if it is a number"),
        ("-.5", "`-.5` is text in YAML 1.1, spelled as it is: write `-0.5` if it is a number"),
        ("0o17", "`0o17` is text in YAML 1.1, spelled as it is: write `15` if it is a number"),
        ("&anchor 0x1F", "`0x1F` is the number 31 (base 16): write `31`"),
        ("&anchor # hello\n    0x1F", "`0x1F` is the number 31 (base 16): write `31`"),
    ],
)  # fmt: skip
def test_scalars_that_surprise(written: str, reading: str) -> None:
    """Said with what is read, and what to write."""
    (problem,) = warnings(f"{TOP}args: {{a: [1, {written}, x]}}}}\n")
    assert problem.message == f"{reading}, or quote it if it is text"
    (problem,) = warnings(
        f"import_path: a:b\nhttp_options: {{request_timeout_s: 5}}\nargs:\n  a: {written}\n"
    )
    assert problem.message == f"{reading}, or quote it if it is text"


@pytest.mark.parametrize(
    "written",
    ["true", "False", "NULL", "null", "", "3", "-3", "0", "0.5", "-0.5", "3.10", "1.5e+3", "5.", "'NO'",
     '"~"', "!!str NO", "!!int 017", "!!float '1'", "hello", "1e", "1234e56", "1.2.3", "y", "No way", "08",
     "|\n   NO\n"],
)  # fmt: skip
def test_scalars_that_do_not(written: str) -> None:
    """They are what they look like, or somebody has said what they are."""
    text = f"import_path: a:b\nhttp_options: {{request_timeout_s: 5}}\nargs:\n  a: {written}\n  b: x\n"
    assert codes(text) == []


@pytest.mark.parametrize(
    ("written", "is_said"),
    [("3.10", True), ("1.00", True), ("[3.9, 3.10]", True), ("3.0", False), ("3.1", False), ("10", False)],
)
def test_a_version_that_loses_its_zero(written: str, is_said: bool) -> None:
    """`3.10` is 3.1; only under a key that names a version, since 0.50 is a fine price."""
    for key in ("python", "model_version", "tags"):
        assert of_app(f"args: {{{key}: {written}}}") == ["yaml-surprise"] * is_said
    assert of_app(f"args: {{price: {written}}}") == []


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("ray_actor_options: {num_cpus: .5}", []),
        ("ray_actor_options: {num_cpus: 1_0}", ["yaml-surprise"]),
        ("user_config: {a: .5}", ["yaml-surprise"]),
        ("max_queued_requests: +5", []),
    ],
)
def test_where_serve_wants_a_number_one_is_no_surprise(inside: str, expected: list[str]) -> None:
    """A leading point or plus is lost only where it could have been text."""
    assert of_deployment(f"num_replicas: 2, {inside}") == expected


def test_text_that_serve_wants_as_text_is_no_surprise() -> None:
    """`1e3` is a fine name."""
    assert of_app("docs_path: 1e3, runtime_env: {env_vars: {A: 1e3}}") == []


def test_a_secret_is_not_repeated() -> None:
    """Neither the value nor how it is spelled, and the snippet ends before it."""
    (problem,) = warnings(f"{TOP}args: {{db_password: 0123_4567}}}}")

    assert problem.message == "this reads as a number: quote it if it is text"
    assert "0123" not in str(problem)
    assert "342391" not in str(problem)


@given(st.from_regex(r"[-+]?[0-9._:exob]{1,8}([eE][-+]?[0-9]{1,3})?", fullmatch=True))
@example("1e-5")
@example("1_0.0e+30")
def test_what_to_write_instead_is_read_as_the_same_number(written: str) -> None:
    """And is itself no surprise; whatever a scalar looks like, nothing fails."""
    try:
        found = warnings(f"{TOP}args: {{a: {written}}}}}")
    except InvalidConfig:
        reject()
    for problem in found:
        advice = problem.message.split("write `")[1].split("`")[0]
        value = load(written.encode(), "f").value
        expected = value if not isinstance(value, str) else int(value, 8) if "o" in value else float(value)
        assert load(advice.encode(), "f").value == expected
        assert of_app(f"args: {{a: {advice}}}") == []


# --- comments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("applications: []  # deployer: allow no-request-timeout", []),
        ("applications: []  #deployer:allow   no-request-timeout   the proxy has one", []),
        ("applications: []  # why? # deployer: allow no-request-timeout", []),
        ("# deployer: allow no-request-timeout\n# it is the proxy's\napplications: []", []),
        ("# deployer: allow no-request-timeout\n\napplications: []", ["unused-allow", "no-request-timeout"]),
        ("applications: []\n# deployer: allow no-request-timeout", ["no-request-timeout", "unused-allow"]),
        ("applications: []  # deployer: disallow no-request-timeout", ["no-request-timeout"]),
        ("applications: []  # deployer: allow-no-request-timeout", ["no-request-timeout"]),
        ("applications: []  # deployer: allow", ["no-request-timeout", "unknown-lint"]),
        ("applications: []  # deployer: allow no-reqest-timeout", ["no-request-timeout", "unknown-lint"]),
        ("applications: []  # deployer: allow no-request-timeout, xyz", ["unknown-lint"]),
        ("applications: []  # deployer: allow no-request-timeout , yaml-surprise both", ["unused-allow"]),
        ("applications: []  # deployer: allow no-request-timeout, unused-allow, no-request-timeout",
         ["unused-allow"]),
        ("applications: []  # deployer: allow no-request-timeout, runtime-env-in-protected", []),
        ("target_capacity: 5  # deployer: allow no-request-timeout, target-capacity-set\napplications: []",
         []),
        ("applications: []\ntarget_capacity: 5  # deployer: allow no-request-timeout",
         ["no-request-timeout", "target-capacity-set", "unused-allow"]),
    ],
)  # fmt: skip
def test_comments(text: str, expected: list[str]) -> None:
    """They silence what they name on their own line, or on the one below; what is left over is said."""
    assert codes(text) == expected


def test_a_comment_for_protected_environments_is_unused_only_there() -> None:
    """A file can be promoted as it is."""
    text = "applications: []  # deployer: allow no-request-timeout, runtime-env-in-protected"

    (problem,) = warnings(text, protected=True)

    assert (
        problem.message == "line 1 has no 'runtime-env-in-protected' to silence: remove it from the comment"
    )
    assert (problem.line, problem.column) == (1, 19)


def test_an_unknown_lint_is_guessed() -> None:
    """From the codes that there are."""
    _, problem = warnings("applications: []  # deployer: allow no-reqest-timeout")
    assert problem.message == "no lint is called 'no-reqest-timeout' (did you mean 'no-request-timeout'?)"


MARK = "# deployer: allow yaml-surprise"
TEXTS = st.lists(
    st.sampled_from(["a", "b c", "'", '"', "\\", ":", "|", " ", "#", MARK, f" {MARK}"]), max_size=4
)


@st.composite
def nodes(draw: st.DrawFn, depth: int = 3) -> pyyaml.Node:
    """A node of a YAML tree, of any style."""
    style = draw(st.sampled_from([None, "'", '"', "|", ">"]))
    kind = draw(st.integers(0, 2)) if depth else 0
    if kind == 0:
        text = "\n".join("".join(line) for line in draw(st.lists(TEXTS, max_size=4)))
        return pyyaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)
    flow = draw(st.booleans())
    children = draw(st.lists(nodes(depth=depth - 1), max_size=3))
    if kind == 1:
        return pyyaml.SequenceNode("tag:yaml.org,2002:seq", children, flow_style=flow)
    keys = [
        pyyaml.ScalarNode(
            "tag:yaml.org,2002:str", f"{index} {draw(st.sampled_from(['k', MARK]))}", style=style
        )
        for index in range(len(children))
    ]
    return pyyaml.MappingNode("tag:yaml.org,2002:map", [*zip(keys, children, strict=True)], flow_style=flow)


def stretches(node: pyyaml.Node) -> list[tuple[int, int, str | None]]:
    """Where each scalar of a tree begins and ends, as PyYAML says, and its style."""
    if isinstance(node, pyyaml.ScalarNode):
        return [(node.start_mark.index, node.end_mark.index, node.style)]
    pairs = (
        node.value if isinstance(node, pyyaml.SequenceNode) else [one for pair in node.value for one in pair]
    )
    return [stretch for child in pairs for stretch in stretches(child)]


def in_comments(text: str) -> list[int]:
    """The lines on which the mark stands in no scalar, by PyYAML's own places."""
    root = pyyaml.compose(text, pyyaml.SafeLoader)
    scalars = [] if root is None else stretches(root)
    found = []
    for match in re.finditer(rf"(?:^|(?<= )){MARK}", text, re.MULTILINE):
        at = match.start()
        # A block begins at its header, which may end in a comment.
        inside = [
            begin
            for begin, end, style in scalars
            if begin <= at < end and not (style in {"|", ">"} and "\n" not in text[begin:at])
        ]
        if not inside:
            found.append(text.count("\n", 0, at) + 1)
    return [*dict.fromkeys(found)]


@settings(max_examples=300)
@given(nodes(), st.sets(st.integers(0, 12)), st.integers(2, 5))
def test_what_looks_like_a_comment_inside_a_text_is_none(
    root: pyyaml.Node, marked: set[int], indent: int
) -> None:
    """The mark stands at the ends of lines of any YAML; it counts exactly where PyYAML reads no text."""
    lines = pyyaml.serialize(root, indent=indent, width=20).split("\n")
    text = "\n".join(f"{line} {MARK}" if at in marked else line for at, line in enumerate(lines))
    try:
        document = load(text.encode(), "f")
    except InvalidConfig:
        reject()

    assert [one.place[0] for one in allowances(document)] == in_comments(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"a: '{MARK}'", []),
        (f'a: "x {MARK}"', []),
        (f'a: "x\\" {MARK}"', []),
        (f"a: 'x'' {MARK}'", []),
        (f"a: 'x\n\n  {MARK}'  {MARK}", [3]),
        (f"a: 'x\n\n  y'  {MARK}", [3]),
        (f"'x {MARK}': 1", []),
        (f"a: |  {MARK}\n  x\n", [1]),
        (f"a: |\n  {MARK}\n", []),
        (f"a: >-\n\n  x\n\n  {MARK}\n{MARK}\n", [6]),
        (f"a: |2\n    x\n  {MARK}\n", []),
        (f"a: |1-\n     \n   x\n {MARK}\n", []),
        (f"a: |\n{MARK}\nb: 1\n", [2]),
        (f"a: |+\n\n  \n{MARK}\n", [4]),
        (f"a: |\n  x\n {MARK}\n", [3]),
        (f"a: |\n  x\n  {MARK}", []),
        ("a: |", []),
        (f"a: &x !!str |\n  {MARK}\n", []),
        (f"a: !!int |\n  5\n  {MARK}\n", None),
        (f"a: !!int |\n\n  5\n{MARK}\n", [4]),
        (f"a: &x {MARK}\n  'y {MARK}'\n", [1]),
        (f"a: !t\n  'y {MARK}'\n", None),
        (f"a: x'y {MARK}", [1]),
        (f"a: [x, 'y {MARK}']", []),
        (f"[{{a: &x , b: 'y {MARK}'}}]", []),
        (f"? |\n  x\n  {MARK}\n: 1\n", []),
        (f"a: &x 'y {MARK}'\nb: *x\n", []),
        (f"a: http://u:p@h/ {MARK}", [1]),
        (f"a: 'x\u2028 {MARK}'", []),
        (f"a: 1\r\nb: 'x\r\n  {MARK}'\r\nc: 2 {MARK}\r\n", [4]),
    ],
)  # fmt: skip
def test_texts_and_comments_by_hand(text: str, lines: list[int] | None) -> None:
    """Each style of text, and what stands beside it; None is no YAML at all."""
    if lines is None:
        with pytest.raises(InvalidConfig):
            load(text.encode(), "f")
    else:
        found = allowances(load(text.encode(), "f"))
        assert [one.place[0] for one in found] == lines


def test_the_text_of_a_source_has_each_scalar_where_it_says() -> None:
    """Behind its anchor and its tag."""
    source = Source(load(b"a: &x !!str  b\nc: [*x, 5]\n", "f"))

    found: list[tuple[str, Any, bool]] = [
        (source.text[one.start], one.value, one.tagged) for one in source.scalars()
    ]

    assert found == [
        ("a", "a", False),
        ("b", "b", True),
        ("c", "c", False),
        ("b", "b", True),
        ("5", 5, False),
    ]


if __name__ == "__main__":
    SNAPSHOTS.mkdir(parents=True, exist_ok=True)
    for name in RULES:
        (SNAPSHOTS / f"{name}.txt").write_text(snapshot(name))
