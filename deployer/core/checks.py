"""Does the answer to an HTTP check show that the application works?

Owns the conditions of a check and the sentence that says which one failed. Must not know how the request
was made. Invariant: no sentence quotes the body of an answer beyond one short scrubbed line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.core.redact import is_secret, one_line
from deployer.core.scrub import REDACTED, first, plain, scrub

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.core.redact import Path
    from deployer.core.types import Check

_VALUE_WIDTH = 60
"""Characters of one value in a sentence."""

_MESSAGE_WIDTH = 500
"""Characters of a whole sentence. The longest of ours, with its next step, has 350."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one attempt gave, after `seconds`. `error` is a sentence if there was no answer; else it is "".

    `secrets` are values of the cluster's environment variables: an application can say them, we must not.
    """

    seconds: float
    status: int = 0
    body: str = field(default="", repr=False)
    error: str = ""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


def passes(check: Check, answer: Answer) -> tuple[bool, str]:
    """Whether the answer meets every condition, and the sentence: what was answered, or what is wrong."""
    asked = f"{check.method} {scrub(check.path, frozenset())}"
    answered = f"{asked} answered {answer.status} in {_ms(answer.seconds)}"
    if answer.error:
        wrong = answer.error
    elif answer.status != check.status:
        wrong = f"{answered}, expected {check.status}"
    elif check.latency is not None and answer.seconds > check.latency:
        wrong = f"{answered}, expected at most {_ms(check.latency)}"
    elif check.json is not None and (difference := _unexpected(check.json, answer)):
        wrong = f"{asked}: {difference}"
    else:
        wrong = ""
    return not wrong, _cut(one_line(plain(wrong or answered)), _MESSAGE_WIDTH)


def _unexpected(expected: str, answer: Answer) -> str:
    """What in the body is not as expected, as half a sentence; "" if it all is."""

    def shown(value: object, path: Path = ()) -> str:
        text = json.dumps(value, ensure_ascii=False)
        return (
            REDACTED if is_secret(path) else _cut(first(text, answer.secrets, _VALUE_WIDTH + 1), _VALUE_WIDTH)
        )

    try:
        return _difference(json.loads(expected), json.loads(answer.body), (), shown)
    except (ValueError, RecursionError):
        return f"the answer is not JSON: {shown(answer.body)}"


def _difference(expected: Any, found: Any, path: Path, shown: Callable[[object, Path], str]) -> str:  # noqa: ANN401 - JSON
    where = ".".join(map(str, path)) or "the answer"
    if not isinstance(expected, dict):
        is_same = _same(expected, found)
        return "" if is_same else f"{where} is {shown(found, path)}, expected {shown(expected, path)}"
    if not isinstance(found, dict):
        return f"{where} is {shown(found, path)}, expected a mapping"
    for key, value in expected.items():
        if key not in found:
            return f"{'.'.join((*map(str, path), key))} is missing, expected {shown(value, (*path, key))}"
        if difference := _difference(value, found[key], (*path, key), shown):
            return difference
    return ""


def _same(expected: Any, found: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether both mean the same in JSON: 1 is 1.0, but for Python it is also true."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_same(expected[key], found[key]) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    return isinstance(expected, bool) == isinstance(found, bool) and bool(expected == found)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
