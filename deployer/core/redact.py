"""How what a person wrote in a file is shown to another one: which values not at all, and names on one line.

Owns the rule by which a key names a secret, and the spelling of names in sentences. Must not know the files
(what a cluster says goes through `scrub`). Invariant: no text made here has a character that moves a cursor,
ends a line or turns the reading direction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deployer.core.scrub import REDACTED, scrub

if TYPE_CHECKING:
    from collections.abc import Callable

Path = tuple[str | int, ...]
"""Where a value is in a tree of mappings and lists: `("applications", 0, "name")`."""

_NAME_WIDTH = 60
"""Characters: longer than any sensible name, and short enough for a sentence."""

_NAME = (
    "(?:env_vars|password|passwd|passphrase|secret|token|credentials?"
    "|api[_-]?key|access[_-]?key|private[_-]?key)"
)
_KEY = re.compile(rf"(?:.*[_-])?{_NAME}", re.IGNORECASE | re.DOTALL)
# Looks back one character only: a search for the whole of `hf_token` takes quadratic time on "a-a-a-...".
_WORD = re.compile(rf"(?<![a-z0-9]){_NAME}(?!\w)", re.IGNORECASE)


def is_secret(path: Path) -> bool:
    """Whether the value at this path may not be shown.

    Environment variables, and what is named like a secret: `hf_token`, but not `max_tokens`.
    """
    return any(isinstance(key, str) and _KEY.fullmatch(key) is not None for key in path)


def mentions_secret(text: str) -> bool:
    """Whether a key of `is_secret` stands anywhere in this text."""
    return _WORD.search(text) is not None


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
