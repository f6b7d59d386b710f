"""YAML is read as PyYAML reads it; whatever else comes ends in InvalidConfig, soon and without secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployer.core import yaml
from deployer.core.errors import InvalidConfig
from deployer.core.yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_NUMBER_LENGTH

if TYPE_CHECKING:
    from deployer.core.document import Document

CONFIG = """\
defaults: &defaults {num_cpus: 0.1, resources: {gpu: 1}}
applications:
- name: fruit
  import_path: fruit:app  # a comment
  runtime_env:
    env_vars: {TOKEN: "hunter2", B: '5'}
  deployments:
  - name: Mango
    num_replicas: 017
    user_config: {price: 3.5, fresh: yes, none: ~}
    ray_actor_options:
      <<: *defaults
      num_cpus: 2
"""


def value(text: str, **options: bool) -> Any:
    """What this YAML says."""
    return yaml.load(text.encode(), "f", **options).value


def refusal(text: str | bytes, **options: bool) -> str:
    """The error that this YAML ends in."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(InvalidConfig) as refused:
        yaml.load(data, "f", **options)
    return str(refused.value)


# --- values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[yes, No, on, OFF, true]", [True, False, True, False, True], id="booleans"),
        pytest.param(
            "[017, 0x1F, 0b11, 1_000, 1:30, -5, +5]", [15, 31, 3, 1000, 90, -5, 5], id="whole numbers"
        ),
        pytest.param("[1.0, 1.5e+3, 1:30.5, 1e3, .5]", [1.0, 1500.0, 90.5, "1e3", 0.5], id="other numbers"),
        pytest.param("[~, null, '', a: ]", [None, None, "", {"a": None}], id="nothing"),
        pytest.param("['5', \"yes\", 1.2.3, 5s]", ["5", "yes", "1.2.3", "5s"], id="text"),
        pytest.param("[!!str 5, !!int '5', !!float 1, !!seq [], !!map {}]", ["5", 5, 1.0, [], {}], id="tags"),
        pytest.param("{=: 1, '<<': 2, '1': 3}", {"=": 1, "<<": 2, "1": 3}, id="odd keys"),
        pytest.param('"\\ud83d\\ude00"', "😀", id="an emoji as JSON writes it"),
        pytest.param("|\n  a\n  b\n", "a\nb\n", id="a block of text"),
    ],
)
def test_values_are_those_of_pyyaml(text: str, expected: object) -> None:
    """YAML 1.1, because `serve deploy` reads that; and of the very same types."""
    assert json.dumps(value(text)) == json.dumps(expected)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~", "---\n...\n", "\ufeff"])
def test_a_file_can_say_nothing(text: str) -> None:
    """An empty document is no error here."""
    document = yaml.load(text.encode(), "f")
    assert document.value is None
    assert document.problem(("a", 0), "missing").line >= 1


def test_merges_are_those_of_pyyaml() -> None:
    """Own keys win, then those of earlier merges; merges nest."""
    text = """\
    a: &a {x: 1, y: 1}
    b: &b {<<: *a, y: 2, z: 2}
    c: {<<: [*a, *b], w: 3}
    d: {z: 4, <<: *b}
    """
    expected = {"x": 1, "y": 2, "z": 4}
    assert value(text)["d"] == expected
    assert value(text) == pyyaml.safe_load(text)


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x9b", "\ufffe"])
def test_control_characters_are_refused(character: str) -> None:
    """As they are, and as an escape of a quoted text or key."""
    code = f"U+{ord(character):04X}"
    assert refusal(f"a: {character}").startswith(
        f"f:1:4: YAML does not allow the character {code}: remove it"
    )
    assert code in refusal(f'a: "\\u{ord(character):04x}"')
    assert code in refusal(f'{{"\\u{ord(character):04x}": 1}}')


def test_half_a_character_is_refused() -> None:
    """A lone surrogate cannot be encoded, so nothing could be sent or hashed."""
    assert "f:1:4: this text holds the character U+D83D: remove it" in refusal('a: "\\ud83d!"')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a: 2001-01-01", "this reads as a date, which JSON cannot hold: quote it", id="date"),
        pytest.param("a: 2001-99-99", "this reads as a date", id="no such date"),
        pytest.param("a: 2001-12-14t21:59:43.10-05:00", "this reads as a date", id="time"),
        pytest.param("a: !!timestamp x", "this reads as a date", id="tagged as a date"),
        pytest.param("a: .nan", "JSON cannot hold this number", id="nan"),
        pytest.param("a: -.INF", "JSON cannot hold this number", id="infinity"),
        pytest.param("a: 1.0e+999", "JSON cannot hold this number", id="overflow"),
        pytest.param("a: !!int ''", "this does not read as a number", id="IndexError in PyYAML"),
        pytest.param("a: !!int zz", "this does not read as a number", id="ValueError in PyYAML"),
        pytest.param("a: !!bool zz", "this does not read as true or false", id="KeyError in PyYAML"),
        pytest.param("a: 0x_", "this does not read as a number", id="a number without digits"),
        pytest.param(
            "a: 1" + ":1" * 40, f"a number of more than {MAX_NUMBER_LENGTH} characters", id="base 60"
        ),
        pytest.param(
            "a: " + "1" * 5000, f"a number of more than {MAX_NUMBER_LENGTH} characters", id="digits"
        ),
        pytest.param("a: !!binary aGk=", "`!` starts a tag", id="bytes"),
        pytest.param("a: !!set {b}", "`!` starts a tag", id="set"),
        pytest.param("a: !!python/object:os.system x", "`!` starts a tag", id="python"),
        pytest.param("a: !own {b: c}", "`!` starts a tag", id="own tag"),
        pytest.param("a: !!str [b]", "`!` starts a tag", id="tag of another shape"),
        pytest.param("a: =", "`!` starts a tag, and `=` and `<<` mean something", id="the value type"),
        pytest.param("a: <<", "`!` starts a tag, and `=` and `<<` mean something", id="a merge as a value"),
    ],
)
def test_what_json_cannot_hold_is_refused(text: str, why: str) -> None:
    """With the place of the value, and what to do."""
    assert refusal(text).startswith("f:1:4: ")
    assert why in refusal(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5: a", "reads as a number: quote it"),
        ("yes: a", "reads as true or false: quote it"),
        ("~: a", "reads as null: quote it"),
        ("2001-01-01: a", "reads as a date: quote it"),
        ("!own x: a", "reads as a value with a tag (`!`): quote it"),
        ("[b]: a", "a key must be text: `?`, `{` and `[` start something else"),
        ("{b: c}: a", "a key must be text: `?`, `{` and `[` start something else"),
    ],
)
def test_keys_are_text(text: str, why: str) -> None:
    """PyYAML would take these, and JSON would write some of them as other keys."""
    assert refusal(text).startswith("f:1:1: ")
    assert why in refusal(text)


def test_keys_can_be_read_as_written() -> None:
    """For our own files: nobody who writes `on: true` means the key `true`."""
    assert value("{on: yes, 5: 1, ~: 2, 2001-01-01: 3}", keys_as_written=True) == {
        "on": True, "5": 1, "~": 2, "2001-01-01": 3,
    }  # fmt: skip
    assert "duplicate key 'on' (first at line 1)" in refusal("on: 1\n'on': 2", keys_as_written=True)
    assert "reads as a value with a tag" in refusal("!own on: 1", keys_as_written=True)


@pytest.mark.parametrize(
    "text",
    ["a: 1\nb: 2\na: 3", "a: 1\n? a\n: 3", "{a: 1,\n 'a': 2}", "x: &x {}\n<<: *x\n<<: *x", "'<<': 1\n<<: {}"],
)
def test_a_duplicate_key_is_refused(text: str) -> None:
    """PyYAML lets the last one win, and one of the two was meant."""
    assert "duplicate key '" in refusal(text)
    assert "(first at line " in refusal(text)


@pytest.mark.parametrize("text", ["<<: 5", "<<: [a]", "<<: [{a: 1}, 5]", "<<:"])
def test_only_mappings_are_merged(text: str) -> None:
    """Anything else is an error in PyYAML too."""
    assert "`<<` merges a mapping or a list of mappings" in refusal(text)


def test_every_problem_is_said_at_once() -> None:
    """In the order of the file, so that it takes one push to mend it."""
    lines = [
        line for line in refusal("a: .nan\nb: 2001-01-01\na: 1\nc: {5: 1}\n").splitlines() if line[0] == "f"
    ]
    assert [line.split(": ")[0] for line in lines] == ["f:1:4", "f:2:4", "f:3:1", "f:4:5"]


# --- places ---------------------------------------------------------------------------------------------


def test_every_key_and_value_has_its_place() -> None:
    """Line and column, from 1, as editors count."""
    document = yaml.load(CONFIG.encode(), "f")
    deployment = ("applications", 0, "deployments", 0)
    assert document.marks[()] == (1, 1)
    assert document.marks["applications", 0, "name"] == (3, 9)
    assert document.key_marks["applications", 0, "name"] == (3, 3)
    assert document.marks[*deployment, "user_config", "price"] == (10, 26)
    assert document.marks[*deployment, "ray_actor_options", "num_cpus"] == (13, 17)
    assert document.marks[*deployment, "ray_actor_options", "resources"] == (1, 48), "where it was written"
    assert document.key_marks[*deployment, "ray_actor_options", "resources"] == (1, 37)


def test_a_problem_points_at_the_value_or_its_key() -> None:
    """And at what should hold it, where there is nothing."""
    document = yaml.load(CONFIG.encode(), "f")
    path = ("applications", 0, "import_path")
    assert str(document.problem(path, "wrong")) == (
        "f:4:16: wrong\n      import_path: fruit:app  # a comment\n                   ^"
    )
    assert str(document.problem(path, "wrong", at_key=True)).startswith("f:4:3: wrong\n")
    assert str(document.problem(("applications", 0, "typo", "x"), "wrong")).startswith("f:3:3: wrong\n")
    assert str(document.problem(("applications", 0), "wrong", at_key=True)).startswith("f:3:3: wrong\n")
    assert str(document.problem(("none",), "wrong", at_key=True)).startswith("f:1:1: wrong\n")


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_line_breaks_of_every_system_count(line_break: str) -> None:
    """A file from Windows has the same line numbers."""
    assert refusal(line_break.join(["a: 1", "b: 2", "c: .nan"])).startswith("f:3:4: ")
    assert refusal(line_break.join(["a: 1", "b: 2", "c: \x00"])).startswith("f:3:4: ")


# --- what is no YAML ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "snippet"),
    [
        pytest.param(
            "a: [b",
            "f:1:6: not valid YAML: expected ',' or ']', but got '<stream end>', "
            "while parsing a flow sequence that starts at line 1",
            "    a: [b\n         ^",
            id="an open bracket",
        ),
        pytest.param(
            "a: b: c",
            "f:1:5: not valid YAML: mapping values are not allowed here",
            "    a: b: c\n        ^",
            id="two colons",
        ),
        pytest.param(
            "\ta: 1",
            "f:1:1: not valid YAML: found character '\\t' that cannot start any token",
            "     a: 1\n    ^",
            id="a tab",
        ),
        pytest.param(
            "a: 'b\n",
            "f:2:1: not valid YAML: found unexpected end of stream, "
            "while scanning a quoted scalar that starts at line 1",
            "",
            id="an open quote",
        ),
        pytest.param(
            'a: "\\UFFFFFFFF"',
            "f:1:7: not valid YAML: PyYAML fails on it (OverflowError)",
            '    a: "\\UFFFFFFFF"\n          ^',
            id="an OverflowError in PyYAML",
        ),
        pytest.param(
            "a\n--- b",
            "f:2:1: a second document starts here, and a file holds only one: remove it",
            "    --- b\n    ^",
            id="two documents",
        ),
        pytest.param(
            "%YAML 1.1\n---\na",
            "f:1:1: directives (lines that start with `%`) are not supported: remove it",
            "    %YAML 1.1\n    ^",
            id="a directive",
        ),
        pytest.param(
            "a: !x!y z",
            "f:1:4: not valid YAML: found undefined tag handle, while parsing a node that starts at line 1",
            "    a: !x!y z\n       ^",
            id="a tag that is not declared",
        ),
        pytest.param(
            "a: \ufeffb",
            "f:1:4: YAML does not allow the character U+FEFF: remove it",
            "    a:  b\n       ^",
            id="a byte order mark inside",
        ),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text: str, message: str, snippet: str) -> None:
    """The message of PyYAML, in one sentence, with the line and a caret."""
    assert refusal(text) == (f"{message}\n{snippet}" if snippet else message)


# --- limits ---------------------------------------------------------------------------------------------


def test_the_limits_are_limits() -> None:
    """What is above is refused with the limit; `test_the_most_that_is_read` has what is just below."""
    assert (
        refusal("x" * (MAX_BYTES + 1)) == "f: the file has 262,145 bytes, and more than 262,144 are not read"
    )
    assert "the file has more than 20,000 keys and values" in refusal("[" + "a," * MAX_NODES + "]")
    value("[" * MAX_DEPTH + "a" + "]" * MAX_DEPTH)
    assert "nested more than 32 levels deep" in refusal("[" * (MAX_DEPTH + 1) + "a" + "]" * (MAX_DEPTH + 1))


def test_aliases_expand_up_to_the_limits() -> None:
    """What they expand to may not be more than a file without aliases may say."""
    hundred = f"a: &a [{'x,' * 99}]\n"
    assert len(value(hundred + f"b: [{'*a,' * 190}]")["b"]) == 190
    assert refusal(hundred + f"b: [{'*a,' * 200}]").startswith("f:1:")
    text = f"a: &a {'x' * 100_000}\n"
    assert value(text + "b: *a")["b"] == "x" * 100_000
    assert "expand to more than 20,000 keys and values or 262,144 characters" in refusal(text + "b: [*a, *a]")
    assert "with its aliases (`*`) expanded, nested more than 32 levels deep" in refusal("&a [*a]")
    assert "`<<` merges more than 32 levels deep" in refusal("a: &b {<<: *b}")


_HOSTILE = {
    "a list in itself": ("&a [*a]", "nested more than 32 levels deep"),
    "a mapping merged into itself": ("a: &b {<<: *b}", "`<<` merges more than 32 levels deep"),
    "a chain of aliases": (
        "- &a0 [x]\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 4000)),
        "nested more than 32 levels deep",
    ),
    "a chain of merges": (
        "- &a0 {x: 1}\n" + "".join(f"- &a{i} {{<<: *a{i - 1}}}\n" for i in range(1, 2000)),
        "`<<` merges more than 32 levels deep",
    ),
    "a billion laughs": (
        "- &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"- &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 9)),
        "expand to more than 20,000 keys and values or 262,144 characters",
    ),
    "a billion merges": (
        "- &a0 {x: 1}\n" + "".join(f"- &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30)),
        "expand to more than",
    ),
    "a long text repeated": ("- &a " + "x" * 100_000 + "\n- [" + "*a," * 5000 + "]", "expand to more than"),
    "a long key repeated": (
        "- &a " + "x" * 130_000 + "\n- {" + "*a : 1," * 9000 + "}",
        "expand to more than",
    ),
    "thousands of problems on one line": ("{" + "a: 1, " * 9000 + "}", "and 8949 more problems"),
    "words for a bad regex": ("a-" * 120_000 + ": [", "mapping values are not allowed here"),
    "half a URL": ("- " + "://a" * 60_000 + ": [", "mapping values are not allowed here"),
    "what kills the C loader": ("[" * 30_000, "nested more than 32 levels deep"),
    "question marks": ("? " * 30_000, "nested more than 32 levels deep"),
    "indentation": ("".join(" " * depth + "a:\n" for depth in range(400)), "nested more than 32 levels deep"),
    "directives": ("%A b\n" * 50_000 + "--- a", "directives"),
    "words": ("x " * 130_000 + ": [", "mapping values are not allowed here"),
    "blank lines in a text": ("a: '" + "\n" * 250_000, "unexpected end of stream"),
    "digits in base 60": ("a: 1" + ":1" * 120_000, "a number of more than 64 characters"),
}

_LARGE = {
    "as many bytes": "x" * MAX_BYTES,
    "as many words": "x " * (MAX_BYTES // 2 - 1),
    "as many keys and values": "[" + "a," * (MAX_NODES - 1) + "]",
}

_MEASURE = """
import json, sys, time
from deployer.core import yaml
from deployer.core.errors import InvalidConfig
def peak():
    # Not ru_maxrss: it begins with what the parent had when it forked, as Linux keeps it over an exec.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
answers = {}
for name, text in json.load(sys.stdin).items():
    began = time.process_time()
    try:
        yaml.load(text.encode(), "f")
    except InvalidConfig as refused:
        message = str(refused)
    else:
        message = "read"
    seconds = time.process_time() - began
    answers[name] = [message, seconds, peak()]
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[str, float, int]]:
    """What each hostile file ends in, its seconds of CPU, and the kilobytes that the process had by then.

    In a process of its own: there neither coverage nor another test is measured with it.
    """
    texts = json.dumps(_LARGE | {name: text for name, (text, _) in _HOSTILE.items()})
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE], input=texts, capture_output=True, text=True, check=True
    )
    answers: dict[str, tuple[str, float, int]] = json.loads(run.stdout)
    return answers


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_files_are_refused_soon_and_in_little_memory(
    measured: dict[str, tuple[str, float, int]], name: str
) -> None:
    """Each within 2 s and, with the interpreter and all files before it, within 200 MB."""
    message, seconds, kilobytes = measured[name]
    assert _HOSTILE[name][1] in message
    assert seconds < 2
    assert kilobytes < 200_000


@pytest.mark.parametrize("name", _LARGE)
def test_the_most_that_is_read(measured: dict[str, tuple[str, float, int]], name: str) -> None:
    """What is just at the limit is read as well, and in the same time."""
    message, seconds, _ = measured[name]
    assert message == "read"
    assert seconds < 2


def test_200_applications_fit() -> None:
    """The largest config that anybody was seen with, with room for four times as much."""
    config = {
        "applications": [
            {
                "name": f"app-{index}",
                "route_prefix": f"/app-{index}",
                "import_path": "package.module:app",
                "runtime_env": {
                    "working_dir": f"https://example.com/{index}.zip",
                    "env_vars": {"A": "1", "B": "2"},
                },
                "deployments": [
                    {"name": name, "num_replicas": 2, "ray_actor_options": {"num_cpus": 0.5}}
                    for name in ("A", "B")
                ],
            }
            for index in range(200)
        ]
    }
    text = pyyaml.safe_dump(config)
    assert len(text) < MAX_BYTES / 2.5
    assert value(text) == config


# --- secrets --------------------------------------------------------------------------------------------

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"env_vars: {{A: {SECRET}, B: .nan}}", id="beside it on the line"),
        pytest.param(f"env_vars:\n  A: !{SECRET}\n", id="reads as a tag"),
        pytest.param(f"env_vars:\n  A: !x!{SECRET} b\n", id="reads as a tag with a handle"),
        pytest.param(f"env_vars:\n  A: !{SECRET}! b\n", id="reads as a tag's handle"),
        pytest.param(f"env_vars:\n  A: *{SECRET}\n", id="reads as an alias"),
        pytest.param(f"env_vars:\n  A: &{SECRET} x\n  B: &{SECRET} y", id="reads as an anchor"),
        pytest.param(f"env_vars:\n  A: {SECRET}: x\n", id="with a colon"),
        pytest.param(f"env_vars:\n  A: '{SECRET}\n", id="with an open quote"),
        pytest.param(f'env_vars:\n  A: "{SECRET}\\q"\n', id="with an unknown escape"),
        pytest.param(f'env_vars:\n  A: "{SECRET}\\0"\n', id="with a forbidden character, escaped"),
        pytest.param(f"env_vars:\n  A: {SECRET}\x00\n", id="with a forbidden character"),
        pytest.param(
            f"env_vars:\n  A: |\n    one\n    {SECRET}\nb: {{a: .nan, A: 1}}", id="on several lines"
        ),
        pytest.param(f"x: &x {{A: {SECRET}, B: .nan}}\nenv_vars: *x", id="under an alias that stands above"),
        pytest.param(f"x: {{password: {SECRET}, b: .nan}}", id="named like a secret"),
        pytest.param(f"x: [1, {{url: 'https://ada:{SECRET}@example.com', b: .nan}}]", id="in a URL"),
        pytest.param(f"a: &a [*a, {{token: [{SECRET}, .nan]}}]", id="in a circle"),
        pytest.param(f"? [x]\n: {{token: {SECRET}, b: .nan}}", id="below a key that is none"),
        pytest.param(f"a: b: c # token {SECRET}", id="in a comment"),
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    """Neither as a value in the sentence nor in the line that is shown."""
    assert SECRET not in refusal(text)


def test_the_line_of_a_secret_is_shown_up_to_it() -> None:
    """The key is what a person needs to find it."""
    assert refusal("env_vars:\n  A: .nan\n").splitlines()[1:] == ["      A: <redacted>", "         ^"]


def test_a_repr_shows_no_value() -> None:
    """A document can hold secrets, and a repr lands in logs."""
    assert SECRET not in repr(yaml.load(f"A: {SECRET}".encode(), "f"))


# --- anything at all ------------------------------------------------------------------------------------

_PIECES = [
    "a", "b", "name", "env_vars", "5", "1.5", "yes", "~", "2001-01-01", ".inf", "0x_", "1:30", "=", "<<",
    ": ", ":", "- ", "? ", "\n", "\n  ", "\n    ", "\n- ", "\r\n", "\t", " ", ", ", "[", "]", "{", "}", "# ",
    "&a ", "*a", "&b ", "*b", "<<: *a", "<<: [*a, *b]", "!", "!!str ", "!!int ", "!!bool ", "!!set ",
    "!x!y ", "!<x> ", "|", ">", "|-2", ">+", "'", '"', "\\", "\\x4", "\\ud83d\\ude00", "\\U00110000",
    "%YAML 1.1", "---", "...", "\n---\n", "\ufeff", "\x85", "\u2028", "é", "😀", "\x00", "@", "`", "*", "&",
]  # fmt: skip


def read(data: bytes) -> Document | InvalidConfig:
    """What these bytes end in. Any other error than InvalidConfig fails the test."""
    try:
        return yaml.load(data, "f")
    except InvalidConfig as refused:
        return refused


def check(data: bytes) -> None:
    """It is refused, or read exactly as PyYAML reads it, with a place for every value."""
    document = read(data)
    if isinstance(document, InvalidConfig):
        assert all(problem.message for problem in document.problems)
        return
    # As JSON, because that is what is sent, and because it tells 1, 1.0 and true apart.
    assert json.dumps(document.value, allow_nan=False) == json.dumps(pyyaml.safe_load(data.decode()))
    assert_marked(document, document.value, ())


def assert_marked(document: Document, item: object, path: tuple[str | int, ...]) -> None:
    """Every value and key below `path` has a place inside the file."""
    assert str(document.problem(path, "wrong", at_key=True)).startswith("f:")
    line, _ = document.marks[path]
    assert 1 <= line <= len(document.file.lines)
    if isinstance(item, dict):
        for key, inner in item.items():
            assert (*path, key) in document.key_marks
            assert_marked(document, inner, (*path, key))
    elif isinstance(item, list):
        for index, inner in enumerate(item):
            assert_marked(document, inner, (*path, index))


@settings(max_examples=1500)
@given(pieces=st.lists(st.sampled_from(_PIECES), max_size=25))
@example(pieces=["- &a {a: b, name: 5}\n- {<<: *a, b: 1}\n- &b {<<: [*a]}\n- {<<: [*a, *b], name: x}"])
def test_any_sequence_of_pieces(pieces: list[str]) -> None:
    """Whatever is put together from what YAML is made of."""
    check("".join(pieces).encode())


@settings(max_examples=500)
@given(data=st.data())
def test_any_mutation_of_a_config(data: st.DataObject) -> None:
    """A real file with some parts cut out, doubled, or replaced."""
    text = CONFIG
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 40)))
        piece = data.draw(st.sampled_from([*_PIECES, text[start:end] * 2]))
        text = text[:start] + piece + text[end:]
    check(text.encode())


@settings(max_examples=1000)
@given(data=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    """Also what is no text at all."""
    check(data)


@settings(max_examples=150)
@given(
    tree=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_pyyaml_writes_reads_back(tree: object) -> None:
    """Any value that JSON can hold survives a dump and a load, unless it needs a forbidden character."""
    document = read(pyyaml.safe_dump(tree, sort_keys=False).encode())
    if isinstance(document, InvalidConfig):
        allowed = ("holds the character", "more than 64 characters", "does not allow the character")
        assert any(why in problem.message for problem in document.problems for why in allowed)
    else:
        assert json.dumps(document.value) == json.dumps(tree)
