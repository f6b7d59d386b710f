"""A place in a file is shown as an editor counts it, and nothing hidden is shown with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.errors import InvalidConfig, Problem
from deployer.core.textfile import MAX_PROBLEMS, SNIPPET_WIDTH, TextFile, decode, invalid


def read(text: str) -> TextFile:
    """A file whose secrets are known: there are none."""
    return replace(decode(text.encode(), "f.yaml"), hidden={})


def test_the_caret_is_below_the_column() -> None:
    """File, line and column, the line, and a caret."""
    problem = read("a: 1\n  b: 2\n").problem((2, 3), "this is wrong")
    assert str(problem) == "f.yaml:2:3: this is wrong\n      b: 2\n      ^"


@pytest.mark.parametrize("line", ["", "   ", "\t"])
def test_an_empty_line_is_not_shown(line: str) -> None:
    """There is nothing to see in it."""
    assert read(f"a\n{line}\nb").problem((2, 1), "wrong").snippet == ""


@pytest.mark.parametrize("column", [1, 60, 5000, 9_999, 10_001])
def test_a_long_line_is_cut_around_the_caret(column: int) -> None:
    """A minified file is one line: what is shown fits a terminal and holds the caret."""
    line = "".join(chr(ord("a") + index % 26) for index in range(10_000))
    shown, caret = read(line).problem((1, column), "wrong").snippet.splitlines()
    assert len(shown) == 4 + SNIPPET_WIDTH
    where = caret.index("^")
    expected = f" {line} "[column]
    assert f"{shown} "[where] == expected


def test_nothing_in_a_snippet_moves_the_cursor() -> None:
    """Tabs and direction marks become one space each, so that the caret stays in place."""
    assert read("\ta\u202eb: \x85").problem((1, 3), "wrong").snippet == "     a b:\n      ^"


def test_a_hidden_rest_is_redacted() -> None:
    """From the hidden column on, the line is not shown; the caret stays where the hidden part starts."""
    file = replace(read("env_vars: {A: hunter2, B: 5}"), hidden={0: 14})
    assert file.problem((1, 27), "wrong").snippet == "    env_vars: {A: <redacted>\n                  ^"


def test_a_hidden_rest_beyond_the_cut_is_not_mentioned() -> None:
    """A long line that hides something far to the right shows its beginning alone."""
    file = replace(read("a" * 200 + "hunter2"), hidden={0: 200})
    assert file.problem((1, 1), "wrong").snippet.splitlines()[0] == "    " + "a" * SNIPPET_WIDTH


def test_a_whole_hidden_line_is_redacted() -> None:
    """Such as one in the middle of a key."""
    file = replace(read("key: |\n  MIIEvQ\n"), hidden={1: 0})
    assert file.problem((2, 3), "wrong").snippet == "    <redacted>\n    ^"


def test_while_secrets_are_unknown_a_file_that_names_one_shows_nothing() -> None:
    """A file that is no YAML cannot be asked which of its lines hold secrets."""
    assert decode(b"a: b: c\nenv_vars: {}", "f").problem((1, 5), "wrong").snippet == ""
    assert decode(b"a: b: c", "f").problem((1, 5), "wrong").snippet == "    a: b: c\n        ^"


@pytest.mark.parametrize("column", range(1, 45))
def test_no_password_of_a_url_is_shown(column: int) -> None:
    """Wherever the caret is, and the columns stay what they are in the file."""
    line = "working_dir: https://ada:hunter2@example.com/x"
    shown, caret = read(line).problem((1, column), "wrong").snippet.splitlines()
    assert shown == "    working_dir: https://***********@example.com/x"
    assert caret == " " * (3 + column) + "^"


@given(text=st.text(alphabet="a\r\n\x85\u2028 "), index=st.integers(0, 20))
def test_places_are_lines_and_columns(text: str, index: int) -> None:
    """Line and column of an index find the same character again."""
    index = min(index, len(text))
    file = read(text)
    line, column = file.place(index)
    assert 1 <= line <= len(file.lines)
    assert text[:index].endswith(file.lines[line - 1][: column - 1])


@pytest.mark.parametrize(
    ("data", "place"),
    [
        pytest.param(b"\xff\xfea\x00", "f:1:1", id="utf-16"),
        pytest.param(b"a: 1\nb: caf\xe9\n", "f:2:7", id="latin-1"),
        pytest.param("é: ".encode() + b"\xed\xa0\x80", "f:1:4", id="a surrogate"),
        pytest.param(b"\xef\xbb\xbfa\xff", "f:1:2", id="behind a byte order mark"),
    ],
)
def test_only_utf_8_is_read(data: bytes, place: str) -> None:
    """The place of the first byte that is no UTF-8, and what to do."""
    with pytest.raises(InvalidConfig) as refused:
        decode(data, "f")
    assert str(refused.value).startswith(f"{place}: not UTF-8: byte 0x")
    assert str(refused.value).endswith("Save the file as UTF-8")


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    """Some editors write one."""
    assert decode(b"\xef\xbb\xbfa: 1", "f").text == "a: 1"


def test_a_repr_shows_no_text() -> None:
    """A file can hold secrets, and a repr lands in logs."""
    assert "hunter2" not in repr(read("A: hunter2"))


def test_problems_are_listed_once_in_the_order_of_the_file() -> None:
    """Two checks that find the same mistake say it once."""
    first, second = (Problem(file="f", line=line, column=1, message="wrong") for line in (1, 2))
    assert invalid([second, first, second]).problems == (first, second)


def test_of_very_many_problems_the_rest_is_counted() -> None:
    """Nobody reads thousands, and somebody must store them."""
    problems = [
        Problem(file="f", line=line, column=1, message="wrong") for line in range(1, MAX_PROBLEMS + 8)
    ]
    shown = invalid(problems).problems
    assert shown[:-1] == tuple(problems[:MAX_PROBLEMS])
    assert invalid(problems[:MAX_PROBLEMS]).problems == tuple(problems[:MAX_PROBLEMS])
    assert str(shown[-1]) == "f: and 7 more problems"
