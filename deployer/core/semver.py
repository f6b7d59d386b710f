"""Semantic versions and ranges of them: which tags fit, and which of two is newer.

Owns the two grammars: a version as https://semver.org (2.0.0) has it, a range as node-semver has it, which is
what people write in package files. Must not know tags or git. Invariant: versions are ordered totally, and
what is not a version never compares.

A pre-release fits a range only if the range itself names one of the same version: `>=1.2 <2` takes no
`2.0.0-rc.1`, although that sorts before 2.0.0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import takewhile
from typing import NoReturn

from deployer.core.redact import quote

_NUMBER = r"(?:0|[1-9]\d{0,17})"
_PRE = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_PART = rf"(?:{_NUMBER}|[xX*])"
_COMPARATOR = re.compile(
    rf"(?P<operator>>=|<=|>|<|=|\^|~)?v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?"
    rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?",
    re.ASCII,
)
_SPACED = re.compile(r"(?<=[<>=^~])\s+")
_LIMIT = 200
"""Characters of a range, and of a version: more is a mistake."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A version. What follows a `+` says how it was built, and takes no part in anything."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As people write it."""
        tail = f"-{'.'.join(self.pre)}" if self.pre else ""
        return f"{self.major}.{self.minor}.{self.patch}{tail}"

    def __lt__(self, other: Version) -> bool:
        """Precedence, https://semver.org/#spec-item-11: a pre-release comes before its version."""
        return self._order() < other._order()

    @property
    def core(self) -> tuple[int, int, int]:
        """Its three numbers."""
        return self.major, self.minor, self.patch

    def _order(self) -> tuple[object, ...]:
        # Numbers come before words, and fewer parts before more; none at all is the release itself.
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return *self.core, not self.pre, parts


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One comparison with what was written: `first` is the least that it stands for.

    `end` is what comes after all that it stands for: `1.2` stands for everything before 1.3.0; None where it
    stands for one version alone.
    """

    operator: str
    first: Version
    end: tuple[int, int, int] | None

    def takes(self, version: Version) -> bool:
        """Whether the comparison holds."""
        is_before_end = version <= self.first if self.end is None else version.core < self.end
        match self.operator:
            case ">=":
                return version >= self.first
            case "<":
                return version < self.first
            case ">":
                return not is_before_end
            case "<=":
                return is_before_end
            case _:
                return version >= self.first and is_before_end


@dataclass(frozen=True, slots=True)
class Range:
    """Which versions fit: any of the alternatives, all of whose comparisons hold."""

    alternatives: tuple[tuple[_Comparison, ...], ...]

    def __contains__(self, version: Version) -> bool:
        """Whether this version fits."""
        return any(_fits(version, comparisons) for comparisons in self.alternatives)


def parse(text: str) -> Version | None:
    """A version, such as `1.2.3` or `1.2.3-rc.1`; None if the text is none."""
    found = _VERSION.fullmatch(text) if len(text) <= _LIMIT else None
    if found is None:
        return None
    pre = tuple(found["pre"].split(".")) if found["pre"] else ()
    return Version(int(found["major"]), int(found["minor"]), int(found["patch"]), pre)


def parse_range(text: str) -> Range:
    """A range: `>=1.2 <2`, `^1.4`, `~1.4.2`, `1.x`, `1.2.3`, `*`; `||` stands between alternatives.

    Raises ValueError with a sentence.
    """
    if not text.strip() or len(text) > _LIMIT:
        _refuse(text)
    alternatives = []
    for alternative in text.split("||"):
        words = _SPACED.sub("", alternative).split()
        if not words:
            _refuse(text)
        alternatives.append(tuple(_comparison(word, text) for word in words))
    return Range(tuple(alternatives))


def _fits(version: Version, comparisons: tuple[_Comparison, ...]) -> bool:
    named = {one.first.core for one in comparisons if one.first.pre}
    is_asked_for = not version.pre or version.core in named
    return is_asked_for and all(one.takes(version) for one in comparisons)


def _comparison(word: str, text: str) -> _Comparison:
    found = _COMPARATOR.fullmatch(word)
    if found is None:
        _refuse(text)
    parts = (found["major"], found["minor"], found["patch"])
    numbers = [int(part) for part in takewhile(lambda part: part is not None and part.isdigit(), parts)]
    operator, is_whole = found["operator"] or "=", len(numbers) == len(parts)
    pre = tuple(found["pre"].split(".")) if found["pre"] else ()
    if (pre and not is_whole) or (not numbers and operator in {">", "<"}):
        _refuse(text)
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    first = Version(major, minor, patch, pre)
    if not numbers:
        return _Comparison(">=", first, None)
    match operator:
        case "^":
            # Up to the next change of the first number that is not 0.
            place = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
            return _Comparison("=", first, _next(numbers, place))
        case "~":
            return _Comparison("=", first, _next(numbers, min(1, len(numbers) - 1)))
        case _:
            return _Comparison(operator, first, None if is_whole else _next(numbers, len(numbers) - 1))


def _next(numbers: list[int], place: int) -> tuple[int, int, int]:
    """The version after all that begin with these numbers, up to the one at `place`."""
    head = (*numbers[:place], numbers[place] + 1, 0, 0)
    return head[0], head[1], head[2]


def _refuse(text: str) -> NoReturn:
    message = f"must be a range of versions, such as >=1.2 <2, ^1.4 or 1.x, and cannot be read: {quote(text)}"
    raise ValueError(message)
