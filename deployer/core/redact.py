"""How what a person wrote in a file is shown to another one: which values not at all, and names on one line.

Owns the masking of a tree by its keys (`secret_names`), and the spelling of names in sentences. Must not know
the files (what a cluster says goes through `scrub`). Invariant: no text made here has a character that moves
a cursor, ends a line or turns the reading direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deployer.core.scrub import REDACTED, scrub
from deployer.core.secret_names import Path, is_secret, mentions_secret

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Path", "is_secret", "mask", "mentions_secret", "one_line", "quote"]

_NAME_WIDTH = 60
"""Characters: longer than any sensible name, and short enough for a sentence."""


def mask(value: object, clean: Callable[[str], str], path: Path = ()) -> object:
    """A copy of this tree with its secrets replaced, and `clean` applied to every other text."""
    if isinstance(value, Mapping):
        return {key: mask(inner, clean, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask(inner, clean, (*path, index)) for index, inner in enumerate(value)]
    if value is not None and is_secret(path):
        return REDACTED
    return clean(value) if isinstance(value, str) else value


def quote(name: str) -> str:
    """A name as it stands in a sentence: quoted, not too long, with visible characters only.

    A URL that was written where a name belongs loses its password.
    """
    name = scrub(name, frozenset())
    return repr(name if len(name) <= _NAME_WIDTH else name[:_NAME_WIDTH] + "...")


def one_line(text: str) -> str:
    r"""The text with line breaks, control and direction characters written as escapes, such as `\n`."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
