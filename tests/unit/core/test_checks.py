"""Which answers pass a check, and the sentence about each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.checks import Answer, passes
from deployer.core.types import Check

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def check(**more: Any) -> Check:
    """A check of the fruit stand."""
    return Check(**{"app": "fruit", "path": "/fruit", **more})


def judged(expected: object, body: object, **more: Any) -> tuple[bool, str]:
    """The verdict on a body, against what it must hold. A string is the body itself."""
    text = body if isinstance(body, str) else json.dumps(body)
    return passes(check(json=json.dumps(expected)), Answer(seconds=0.012, status=200, body=text, **more))


@pytest.mark.parametrize(
    ("given_check", "answer", "verdict"),
    [
        pytest.param(
            check(), Answer(seconds=0.012, status=200), (True, "GET /fruit answered 200 in 12 ms"), id="good"
        ),
        pytest.param(
            check(method="POST", status=404),
            Answer(seconds=1.5, status=404),
            (True, "POST /fruit answered 404 in 1500 ms"),
            id="good if so wanted",
        ),
        pytest.param(
            check(),
            Answer(seconds=0.012, status=500),
            (False, "GET /fruit answered 500 in 12 ms, expected 200"),
            id="status",
        ),
        pytest.param(
            check(latency=0.5),
            Answer(seconds=0.6, status=200),
            (False, "GET /fruit answered 200 in 600 ms, expected at most 500 ms"),
            id="slow",
        ),
        pytest.param(
            check(latency=0.5),
            Answer(seconds=0.5, status=200),
            (True, "GET /fruit answered 200 in 500 ms"),
            id="just in time",
        ),
        pytest.param(
            check(status=0),
            Answer(seconds=5.0, error="GET /fruit got no answer from http://h:8000: no answer within 5 s."),
            (False, "GET /fruit got no answer from http://h:8000: no answer within 5 s."),
            id="no answer",
        ),
    ],
)
def test_status_and_latency(given_check: Check, answer: Answer, verdict: tuple[bool, str]) -> None:
    """The first condition that fails is told, with what was expected."""
    assert passes(given_check, answer) == verdict


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        ({"price": 3}, {"price": 3, "name": "mango"}),
        ({"price": 3}, {"price": 3.0}),
        ({"fruit": {"price": 3}}, {"fruit": {"price": 3, "name": "mango"}, "more": True}),
        ({}, {"price": 3}),
        ({"tags": ["a", {"b": 1.0}]}, {"tags": ["a", {"b": 1}]}),
        ({"gone": None}, {"gone": None}),
        (3, 3.0),
        ("hello", json.dumps("hello")),
    ],
)
def test_a_body_that_holds_what_is_expected_passes(expected: object, body: object) -> None:
    """More keys are welcome in a mapping, and a number is a number."""
    assert judged(expected, body) == (True, "GET /fruit answered 200 in 12 ms")


@pytest.mark.parametrize(
    ("expected", "body", "wrong"),
    [
        ({"price": 3}, {"price": 4}, "price is 4, expected 3"),
        ({"price": 1}, {"price": True}, "price is true, expected 1"),
        ({"open": False}, {"open": 0}, "open is 0, expected false"),
        ({"price": 3}, {"price": "3"}, 'price is "3", expected 3'),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, "a.b is missing, expected 1"),
        ({"b": None}, {}, "b is missing, expected null"),
        ({"a": {"b": 1}}, {"a": [1]}, "a is [1], expected a mapping"),
        ({"a": [1, 2]}, {"a": [1]}, "a is [1], expected [1, 2]"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "a is [1, 3], expected [1, 2]"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, 'a is [{"b": 1, "c": 2}], expected [{"b": 1}]'),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, 'a is [{"b": 2}], expected [{"b": 1}]'),
        ({"a": [1]}, {"a": {"b": 1}}, 'a is {"b": 1}, expected [1]'),
        ({"a": 1}, "[]", "the answer is [], expected a mapping"),
        (3, "4", "the answer is 4, expected 3"),
        ({"a": 1}, "", 'the answer is not JSON: ""'),
        ({"a": 1}, "<html>", 'the answer is not JSON: "<html>"'),
        ({"a": 1}, "[" * 100_000, f'the answer is not JSON: "{"[" * 58}…'),
        ({"token": "a"}, {"token": "b"}, "token is <redacted>, expected <redacted>"),
        ({"a": 1}, {"a": "x" * 100}, f'a is "{"x" * 58}…, expected 1'),
        ({"a": 1}, {"a": "\x1b[2Jred\n"}, r'a is "\u001b[2Jred\n", expected 1'),
        ({"a": 1}, {"a": "\u202eabc\x9b2J"}, 'a is "abc", expected 1'),
    ],
)
def test_a_body_that_does_not_is_told_in_one_line(expected: object, body: object, wrong: str) -> None:
    """The place, what is there, and what should be."""
    passed, message = judged(expected, body)
    assert (passed, message) == (False, f"GET /fruit: {wrong}")


def test_a_secret_of_the_cluster_is_not_told() -> None:
    """An application may answer with its environment."""
    secret = 'hunter2 "canary"'
    passed, message = judged({"a": 1}, {"a": f"it is {secret}"}, secrets=frozenset({secret}))
    assert (passed, message) == (False, 'GET /fruit: a is "it is <redacted>", expected 1')
    _, message = judged({"a": 1}, f"<p>{secret}</p>", secrets=frozenset({secret}))
    assert message == 'GET /fruit: the answer is not JSON: "<p><redacted></p>"'
    shown = repr(Answer(seconds=1.0, body=secret, secrets=frozenset({secret})))
    assert "hunter2" not in shown


@given(expected=JSON, body=JSON | st.text(), path=st.text(), error=st.text())
def test_every_message_is_one_short_line(expected: object, body: object, path: str, error: str) -> None:
    """Whatever a server answers and a file says; and no answer never passes."""
    text = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(seconds=0.012, status=200, body=text, error=error and f"No: {error}")
    passed, message = passes(check(path=f"/{path}", json=json.dumps(expected)), answer)
    assert message.isprintable()
    assert 0 < len(message) <= 500
    assert not (passed and error)


@given(value=JSON)
def test_a_value_is_what_it_is(value: object) -> None:
    """Whatever JSON can say passes a check for just that."""
    assert judged(value, json.dumps(value))[0]
