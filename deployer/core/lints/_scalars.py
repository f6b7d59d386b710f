"""The lint about plain scalars that YAML 1.1 does not read as they look.

Owns which spellings surprise, and what they are read as. Must not know Serve's options, but for those whose
content is the application's own. Invariant: `true`, `null`, `3` and `0.5` surprise nobody, quotes and tags
(`!!int 017`) are somebody's word, and no value is repeated that may not be shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer.core.document import kind
from deployer.core.lints._source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.errors import Problem
    from deployer.core.lints._source import Scalar
    from deployer.core.lints._subject import Subject
    from deployer.core.redact import Path

_FREE = frozenset({"args", "user_config", "policy_kwargs", "request_router_kwargs", "init_kwargs"})
"""What Serve hands to the application's own code as it is. Elsewhere a schema says what a value must be."""

_PLAIN = re.compile(r"[^\s,\[\]{}]*")
_BASES = (
    (re.compile(r"[-+]?0x.*", re.DOTALL), "base 16"),
    (re.compile(r"[-+]?0b.*", re.DOTALL), "base 2"),
    (re.compile(r"[-+]?0[0-7_]+"), "base 8, because of the leading zero"),
    (re.compile(r".*:.*", re.DOTALL), "base 60, because of the colon"),
    (re.compile(r".*_.*", re.DOTALL), "`_` only separates digits"),
)
"""Spellings of numbers, tried in this order, and why the number is what it is."""
_BARE = re.compile(r"[-+]?\.[0-9].*|\+.*", re.DOTALL)
"""Numbers that begin with a point or a plus: fine as numbers, but half of a text is lost."""

_VERSION_KEY = re.compile(r"(?i)(?:.*[_-])?(?:versions?|tags?|releases?|revisions?|builds?|python|cuda)")
_LOST_ZERO = re.compile(r"[0-9]+\.(?:[0-9]*[1-9])?0+")
_KEPT_ZERO = re.compile(r"[0-9]+\.0")

# PyYAML wants a point and a sign, and no sign before a leading point. Not longer than a number that somebody
# writes like this: `1234e56` is the short form of a commit.
_STAYS_TEXT = re.compile(
    r"[-+]?[0-9]{1,2}(?:\.[0-9]*)?[eE][-+]?[0-9]{1,2}|[-+]?\.[0-9]+(?:[eE][-+]?[0-9]{1,2})?|0o[0-7]+"
)


def find(subject: Subject) -> Iterator[Problem]:
    """Every plain scalar that surprises."""
    source = Source(subject.document)
    hidden = subject.document.file.hidden or {}
    said = set()
    for scalar in source.scalars():
        if scalar.is_key or scalar.tagged or scalar.place in said:
            continue
        written = _written(scalar, source.text)
        reading = _surprise(scalar, written)
        if reading is None:
            continue
        # Once, however often it is aliased.
        said.add(scalar.place)
        line, column = scalar.place
        if column - 1 >= hidden.get(line - 1, column):
            message = f"this reads as {kind(scalar.value)}: quote it if it is text"
        else:
            message = f"`{written}` is {reading}, or quote it if it is text"
        yield subject.warning("yaml-surprise", scalar.path, message)


def _written(scalar: Scalar, text: str) -> str:
    """What stands in the file up to the next space: the whole scalar, if it is a plain one of one word."""
    plain = _PLAIN.match(text, scalar.start)
    return plain[0] if plain else ""


def _surprise(scalar: Scalar, written: str) -> str | None:
    """What is read, and what to write instead; None if it is what it looks like."""
    is_free = any(key in _FREE for key in scalar.path)
    match scalar.value:
        case bool() as value:
            word = "true" if value else "false"
            return None if written.lower() == word else f"{word} in YAML 1.1: write `{word}`"
        case None:
            return "null in YAML: write `null`" if written == "~" else None
        case int() | float() as number:
            return _number(number, written, _version_key(scalar.path), is_free=is_free)
        case str() as value if is_free and written == value and _STAYS_TEXT.fullmatch(value):
            return _text(value)
    return None


def _number(number: float, written: str, version: str | None, *, is_free: bool) -> str | None:
    for spelling, why in _BASES:
        if spelling.fullmatch(written):
            return f"the number {_spelled(number)} ({why}): write `{_spelled(number)}`"
    if version and _LOST_ZERO.fullmatch(written) and not _KEPT_ZERO.fullmatch(written):
        return f"the number {_spelled(number)}, without the last zero: write it so"
    if is_free and _BARE.fullmatch(written):
        return f"the number {_spelled(number)}: write `{_spelled(number)}`"
    return None


def _version_key(path: Path) -> str | None:
    """The key that this value, or the list that it is in, belongs to, if that names versions."""
    key = next((key for key in reversed(path) if isinstance(key, str)), "")
    return key if _VERSION_KEY.fullmatch(key) else None


def _text(value: str) -> str:
    number = int(value, 8) if value.startswith("0o") else float(value)
    return f"text in YAML 1.1, spelled as it is: write `{_spelled(number)}` if it is a number"


def _spelled(number: float) -> str:
    """The number as YAML 1.1 reads it back: Python's `1e-05` would be text."""
    digits, exponent, power = repr(number).partition("e")
    return f"{digits}.0e{power}" if exponent and "." not in digits else repr(number)
