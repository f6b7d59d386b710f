"""Texts as every forge takes them: a title, the description of a status, a body.

Owns how long each may be. Must not know what they say. Invariant: nothing in them moves a cursor, and what is
cut says so.
"""

from __future__ import annotations

from deployer.adapters.forge import _values as read
from deployer.core.scrub import plain

TITLE_CHARACTERS = 250
"""GitLab takes 255 at most, GitHub 256."""

DESCRIPTION_CHARACTERS = 140
"""Of a commit status: more is refused by GitHub, and Gitea's pages are made for as much."""

_DOTS = "..."

_BODY_CHARACTERS = 60_000
"""GitHub refuses more than 65,536."""

_CUT = "\n\n(The rest is cut: it is longer than a forge takes.)"


def shown_title(title: str) -> str:
    """A title that every forge takes."""
    return read.one_line(title, TITLE_CHARACTERS)


def shown_description(description: str, characters: int) -> str:
    """The description of a status, of at most so many characters: its beginning says the most."""
    line = read.one_line(description, characters + len(_DOTS))
    return line if len(line) <= characters else line[: characters - len(_DOTS)].rstrip() + _DOTS


def shown_body(body: str) -> str:
    """A text that every forge takes."""
    clean = plain(body)
    return clean if len(clean) <= _BODY_CHARACTERS else clean[:_BODY_CHARACTERS] + _CUT
