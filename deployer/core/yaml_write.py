"""A plain value as YAML text, so that PyYAML reads exactly it.

Owns quotes, indentation, and what is written on one line. Must not know the file that the text goes into, but
for its style. Invariant: a text is written without quotes, or as a block, only if PyYAML has read it back so:
`yes`, `017`, `1:30` and `2020-01-01` are something else in YAML 1.1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer.core.errors import InvalidConfig
from deployer.core.yaml import load

if TYPE_CHECKING:
    from collections.abc import Iterator
# Text to PyYAML, perhaps, but a boolean or a number to other readers of YAML.
_UNSURE = re.compile(r"[yYnN]|[0-9][0-9a-fA-FxXo_.:+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a file is written.

    By how many columns things stand further right: `step` for a mapping below its key, `offset` for the
    dashes below theirs, `gap` for what is behind a dash. `quote` is "" where text stands without any.
    `literal` says whether text may be written on lines of its own, each of which ends.
    """

    step: int = 2
    offset: int = 2
    gap: int = 2
    quote: str = ""
    literal: bool = True


def same(one: object, other: object) -> bool:
    """Whether both are the same, 1 being another value than 1.0 and true, in whatever order the keys are."""
    return exactly(one) == exactly(other)


def exactly(value: object) -> str:
    """A text that differs for what is not the same."""
    return json.dumps(value, sort_keys=True)


def flow(value: object, quote: str = "") -> str:
    """The value on one line."""
    match value:
        case dict():
            pairs = (f"{key(name, quote)}: {flow(inner, quote)}" for name, inner in value.items())
            return f"{{{', '.join(pairs)}}}"
        case list():
            return f"[{', '.join(flow(item, quote) for item in value)}]"
        case str():
            return _text(value, quote, "[{}]\n", [value])
        case float():
            # Without a dot `1e+16` is text.
            mantissa, e, exponent = repr(value).partition("e")
            return mantissa if not e else f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"
        case _:
            return json.dumps(value)


def key(name: str, quote: str = "") -> str:
    """The key of a mapping, without its colon."""
    return _text(name, quote, "{{{}: 0}}\n", {name: 0})


def block(value: object, column: int, style: Style) -> tuple[str, list[str]]:
    """The value of a key that stands at this column: what comes on its line, and the lines below."""
    match value:
        case dict() if value:
            return "", [*entries(value, column + style.step, style)]
        case list() if value:
            return "", [*items(value, column + style.offset, style)]
        case _:
            return _single(value, column + style.step, style)


def entry(name: str, value: object, column: int, style: Style) -> Iterator[str]:
    """The lines of a key and its value."""
    head, lines = block(value, column, style)
    yield f"{' ' * column}{key(name, style.quote)}:{' ' * bool(head)}{head}"
    yield from lines


def entries(mapping: dict[str, Any], column: int, style: Style) -> Iterator[str]:
    """The lines of a mapping."""
    for name, value in mapping.items():
        yield from entry(name, value, column, style)


def item(value: object, column: int, style: Style) -> tuple[str, list[str]]:
    """An item of a list, what is behind whose dash stands at this column: as `block`."""
    match value:
        case dict() if value:
            first, *lines = entries(value, column, style)
            return first[column:], lines
        case list() if value:
            first, *lines = items(value, column, style)
            return first[column:], lines
        case _:
            return _single(value, column, style)


def items(values: list[Any], column: int, style: Style) -> Iterator[str]:
    """The lines of a list whose dashes stand at this column."""
    for value in values:
        head, lines = item(value, column + style.gap, style)
        yield f"{' ' * column}{'-':{style.gap}}{head}"
        yield from lines


def _single(value: object, column: int, style: Style) -> tuple[str, list[str]]:
    """A value that is written on one line; or text of several, each on its own."""
    if not isinstance(value, str):
        return flow(value), []
    if style.literal and "\n" in value and value[0] not in " \n":
        head = "|" if value.endswith("\n") else "|-"
        lines = [" " * column + line if line else "" for line in value.removesuffix("\n").split("\n")]
        if _reads("\n".join([f"- {head}", *lines, ""]), [value]):
            return head, lines
    return _text(value, style.quote, "k: {}\n", {"k": value}), []


def _text(text: str, quote: str, around: str, expected: object) -> str:
    """The text as it may stand there: as the file has others, else as it must be."""
    is_plain = not quote and (text[:1].isalnum() or text[:1] in {"/", "_"}) and not _UNSURE.fullmatch(text)
    plain = [text] if is_plain else []
    single = ["'" + text.replace("'", "''") + "'"] if quote == "'" else []
    for written in (*plain, *single, json.dumps(text, ensure_ascii=False)):
        if written.isprintable() and _reads(around.format(written), expected):
            return written
    return json.dumps(text)


def _reads(text: str, expected: object) -> bool:
    try:
        return same(load(text.encode("utf-8", "replace"), "").value, expected)
    except InvalidConfig:
        return False
