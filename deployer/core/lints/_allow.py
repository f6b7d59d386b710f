"""The comments that silence lints.

Owns their form: `# deployer: allow code[, code...] [reason]`, at the end of the line that a warning points
at, or on a line of its own directly above. Must not know the lints. Invariant: text that only looks like such
a comment, inside quotes or a block of text, silences nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from deployer.core.lints._source import Source
from deployer.core.textfile import Place

if TYPE_CHECKING:
    from deployer.core.document import Document

_COMMENT = re.compile(r"(?:^|(?<= ))# *deployer: *allow(?![\w-])")
_CODES = re.compile(r"[^\s,]+(?:\s*,\s*[^\s,]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """One comment: where it stands, the line that it speaks of (from 1), and its codes as written."""

    place: Place
    target: int
    codes: tuple[str, ...]


def allowances(document: Document) -> tuple[Allowance, ...]:
    """Every such comment of the file, in its order. What follows one on its line is its reason."""
    lines = document.file.lines
    looks = {at: [*_COMMENT.finditer(line)] for at, line in enumerate(lines) if _COMMENT.search(line)}
    if not looks:
        # As in most files: the texts of this one need not be found.
        return ()
    source = Source(document)
    hidden = source.hidden()
    below = _below(lines)
    found = []
    for at, matches in looks.items():
        comment = next(
            (match for match in matches if not _within(hidden, source.offset(at, match.start()))), None
        )
        if comment is not None:
            is_alone = not lines[at][: comment.start()].strip()
            codes = _CODES.match(lines[at][comment.end() :].strip())
            allowance = Allowance(
                place=(at + 1, comment.start() + 1),
                target=(below[at] if is_alone else at) + 1,
                codes=tuple(dict.fromkeys(re.split(r"\s*,\s*", codes[0]))) if codes else (),
            )
            found.append(allowance)
    return tuple(found)


def _below(lines: tuple[str, ...]) -> list[int]:
    """For each line, from 0: itself, or if it holds only a comment the next one that holds more than that."""
    below = [*range(len(lines))]
    for at in range(len(lines) - 2, -1, -1):
        if lines[at].lstrip().startswith("#"):
            below[at] = below[at + 1]
    return below


def _within(stretches: list[tuple[int, int]], offset: int) -> bool:
    """Whether this character is in one of the stretches, which are sorted and do not overlap."""
    before = bisect_right(stretches, offset, key=itemgetter(0))
    return before > 0 and offset < stretches[before - 1][1]
