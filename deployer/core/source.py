"""What an environment follows in its repository: a branch, tags that are versions, or one commit.

Owns the choice of the tag, and when a tag betrays what was deployed by it. Must not know how refs are read.
Invariant: the choice depends on the names alone, so that two daemons choose the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from deployer.core import semver

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployer.core.types import Revision

HEADS = "refs/heads/"
TAGS = "refs/tags/"
PINNED = "refs/commits/"
"""Where a commit that is asked for by its id is kept; no ref of git's."""


@dataclass(frozen=True, slots=True)
class Branch:
    """The head of a branch. `name` is without `refs/heads/`."""

    name: str

    def __str__(self) -> str:
        """As messages call it."""
        return f"branch {self.name}"

    @property
    def ref(self) -> str:
        """Its full name."""
        return HEADS + self.name


@dataclass(frozen=True)
class Tags:
    """The newest tag whose version is in a range. The `*` in `pattern` stands for the version."""

    pattern: str
    versions: str

    def __str__(self) -> str:
        """As messages call them."""
        return f"tag {self.pattern} of version {self.versions}"

    @property
    def refs(self) -> str:
        """The full names to ask for, as a pattern of git's."""
        return TAGS + self.pattern

    def version(self, tag: str) -> semver.Version | None:
        """The version that a tag's name stands for; None if it is another kind of tag, or out of range."""
        before, _, after = self.pattern.partition("*")
        is_ours = tag.startswith(before) and tag.endswith(after) and len(tag) > len(before) + len(after)
        version = semver.parse(tag[len(before) : len(tag) - len(after)]) if is_ours else None
        return version if version is not None and version in self._range else None

    def newest(self, tags: Collection[str]) -> str | None:
        """The name of the tag with the highest version that fits; None if none does."""
        fitting = [(version, tag) for tag in tags if (version := self.version(tag)) is not None]
        return max(fitting)[1] if fitting else None

    def betrayed(self, seen: Revision, tag: str, commit: str, tags: Collection[str]) -> str:
        """Why this tag at this commit does not follow what was deployed by `seen`; "" if it does.

        A narrower range is the operator's wish; a tag that was moved or deleted is not.
        """
        if seen.tag is None or (old := self.version(seen.tag)) is None:
            return ""
        if seen.tag == tag:
            return "" if seen.commit == commit else f"tag {tag} was moved from {seen.short} to {commit[:7]}"
        if seen.tag not in tags:
            return f"tag {seen.tag} ({seen.short}) is gone"
        # It is there, it fits, and still it was not chosen: another one has a higher version.
        newer = self.version(tag)
        return "" if newer is not None and newer >= old else f"tag {tag} is older than {seen.tag}"

    @cached_property
    def _range(self) -> semver.Range:
        return semver.parse_range(self.versions)


@dataclass(frozen=True, slots=True)
class Pinned:
    """One commit, by its full id."""

    commit: str

    def __str__(self) -> str:
        """As messages call it."""
        return f"commit {self.commit[:7]}"

    @property
    def ref(self) -> str:
        """The name that it is kept under."""
        return PINNED + self.commit


Source = Branch | Tags | Pinned
"""What an environment follows."""
