"""A problem points at what it is about, and calls it by a plain name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.core.document import Document, kind
from deployer.core.textfile import decode

DOCUMENT = Document(
    value={"a": [5]},
    marks={(): (1, 1), ("a",): (2, 3), ("a", 0): (2, 5)},
    key_marks={("a",): (1, 1)},
    file=replace(decode(b"a:\n  - 5", "f"), hidden={}),
)


@pytest.mark.parametrize(
    ("path", "at_key", "place"),
    [
        pytest.param((), False, "f:1:1", id="the whole"),
        pytest.param(("a",), False, "f:2:3", id="a value"),
        pytest.param(("a",), True, "f:1:1", id="its key"),
        pytest.param(("a", 0), True, "f:2:5", id="what has no key"),
        pytest.param(("a", 1, "b"), False, "f:2:3", id="what is not there: where it should be"),
        pytest.param(("a", 1, "b"), True, "f:1:1", id="and the key of that"),
        pytest.param(("b",), True, "f:1:1", id="what is not there at all"),
    ],
)
def test_a_problem_points_at_what_it_is_about(path: tuple[str | int, ...], at_key: bool, place: str) -> None:
    """At the value or its key, or where either should be."""
    assert str(DOCUMENT.problem(path, "wrong", at_key=at_key)).startswith(f"{place}: wrong\n")


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (None, "nothing (null)"),
        (True, "true or false"),
        (1, "a number"),
        (1.5, "a number"),
        ("a", "text"),
        ([], "a list"),
        ({}, "a mapping"),
    ],
)
def test_kinds_have_plain_names(thing: object, words: str) -> None:
    """The words of a person, not of Python or YAML."""
    assert kind(thing) == words
