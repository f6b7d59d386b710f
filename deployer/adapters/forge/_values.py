"""Reads values out of what a forge answered, which is whatever somebody made it answer.

Owns what counts as a login, a commit, a link, a name of a check. Must not know any forge. Invariant: what is
read here has the type and the length that it is said to have, or `Malformed` is raised.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.adapters.forge._types import CheckResult, Opinion, Review, State
from deployer.core.scrub import first

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_CHARACTERS = 300
"""Of a title or a description: more than any forge shows in one line."""

BODY_CHARACTERS = 65_536
"""GitHub's own limit for the text of a pull request."""

_NAME_CHARACTERS = 255
"""Of a check's name, or a branch: the limits of GitLab and Gitea."""

_URL_CHARACTERS = 2000

_LOGIN = re.compile(r"[A-Za-z0-9_.-]{1,255}(?:\[bot\])?")
"""GitLab allows 255 characters, the others fewer; an App at GitHub is `name[bot]`."""

_COMMIT = re.compile(r"[0-9a-f]{40}")

_WORST_FIRST = (State.FAILURE, State.PENDING, State.SUCCESS)


class Malformed(Exception):  # noqa: N818 - says what it is
    """Something is not what it should be. `wanted` is what should have been there: `a login name`."""

    def __init__(self, *, wanted: str) -> None:
        """Take what should have been there."""
        super().__init__(wanted)
        self.wanted = wanted


def check_commit(commit: str) -> str:
    """Return it if it is a whole commit id; ValueError if not."""
    if not _COMMIT.fullmatch(commit):
        message = f"{commit!r} is no commit: 40 hexadecimal digits are"
        raise ValueError(message)
    return commit


def mapping(value: object) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise Malformed(wanted="an object")
    return value


def items(value: object) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise Malformed(wanted="a list")
    return value


def number(holder: Mapping[str, Any], key: str) -> int:
    """A positive number, as ids are."""
    value = holder.get(key)
    # A bool is an int for Python.
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Malformed(wanted=f"a number as `{key}`")
    return value


def raw(holder: Mapping[str, Any], key: str) -> str:
    """A text as it is, to be compared only; null is empty."""
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(wanted=f"a text as `{key}`")
    return value


def text(holder: Mapping[str, Any], key: str, characters: int = BODY_CHARACTERS) -> str:
    """A text that may have lines; null is empty."""
    return first(raw(holder, key), frozenset(), characters)


def line(holder: Mapping[str, Any], key: str) -> str:
    """A text as one line; null is empty."""
    return one_line(raw(holder, key), LINE_CHARACTERS)


def one_line(value: str, characters: int) -> str:
    """At most so many characters of it, with single spaces for whatever space there was."""
    return " ".join(first(value, frozenset(), 2 * characters).split())[:characters]


def login(holder: Mapping[str, Any], key: str, name: str) -> str | None:
    """The login name of the person at `key`, there under `name`; None if there is nobody (any more)."""
    if holder.get(key) is None:
        return None
    found = raw(mapping(holder[key]), name)
    if not _LOGIN.fullmatch(found):
        raise Malformed(wanted="a login name")
    return found


def commit(holder: Mapping[str, Any], key: str) -> str | None:
    """A commit; None if it is null or empty."""
    value = raw(holder, key)
    if not value:
        return None
    if not _COMMIT.fullmatch(value):
        raise Malformed(wanted=f"a commit as `{key}`")
    return value


def link(holder: Mapping[str, Any], key: str) -> str | None:
    """An http(s) URL; None for all that is none: it is shown beside the rest, which counts without it."""
    value = holder.get(key)
    if not isinstance(value, str) or len(value) > _URL_CHARACTERS:
        return None
    if not value.isprintable() or " " in value:
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    is_web = parts.scheme in {"http", "https"} and parts.hostname
    return value if is_web and "@" not in parts.netloc else None


def moment(holder: Mapping[str, Any], key: str) -> datetime:
    """A time, in UTC."""
    try:
        found = datetime.fromisoformat(raw(holder, key))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Malformed(wanted=f"a time as `{key}`")


def last_words(said: list[tuple[int, Review]]) -> tuple[Review, ...]:
    """What each person said last, the newest last, of all reviews with their ids, in any order."""
    found: dict[str, Review] = {}
    for _, review in sorted(said, key=lambda one: (one[1].at, one[0])):
        # No forge takes `Ada` for another person than `ada`.
        who = review.login.casefold()
        if review.state is not Opinion.COMMENTED or who not in found or _only_commented(found[who]):
            found[who] = review
    return tuple(sorted(found.values(), key=lambda review: review.at))


def _only_commented(review: Review) -> bool:
    return review.state is Opinion.COMMENTED


class Checks:
    """Gathers what the forge says of a commit's checks, in any order."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._newest: dict[tuple[str, str], tuple[int, CheckResult]] = {}

    def add(self, age: int, check: CheckResult, *, source: str = "") -> None:
        """Take one. The greater `age` is the newer one of the same name and `source` (who made it).

        Who reports under the name of another does not hide what that one says.
        """
        # Cleaned, a name could become the one that somebody waits for. Nobody waits for one that needs it.
        name = check.name
        if not name or len(name) > _NAME_CHARACTERS or not name.isprintable():
            return
        known = self._newest.get((name, source))
        if known is None or age > known[0]:
            self._newest[name, source] = (age, check)

    def result(self) -> tuple[CheckResult, ...]:
        """One of each name: of several the worst, for GitHub asks for all that go by a required name."""
        found: dict[str, CheckResult] = {}
        for _, check in self._newest.values():
            known = found.get(check.name)
            if known is None or _WORST_FIRST.index(check.state) < _WORST_FIRST.index(known.state):
                found[check.name] = check
        return tuple(found[name] for name in sorted(found))
