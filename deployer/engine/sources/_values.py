"""The values that go into the sources and come out of a look.

Owns their shapes and what makes them valid. Must not know git's commands or threads. Invariant: a branch
is always a full name, and a path stays inside its repository.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath

from deployer.adapters.git import Access, Signers, check_ref
from deployer.core.source import Branch, Source
from deployer.core.types import Revision


class Verify(StrEnum):
    """Which commits must be signed."""

    NONE = "none"
    HEAD = "head"
    RANGE = "range"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySpec:
    """A repository to follow. `poll_seconds` is how often it is asked when nothing else tells of a change."""

    name: str
    url: str
    poll_seconds: float
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSource:
    """Where an environment's files are: a folder (`.` for the root) of what is followed.

    `verify` says whose signatures are asked for: of the commit (HEAD), or of all since the one before
    (RANGE), by `signers`. `accepts_rewrites`: a branch that was rewritten is deployed all the same.
    """

    environment: str
    repository: str
    source: Source
    path: str
    verify: Verify = Verify.NONE
    signers: Signers = field(default_factory=Signers)
    accepts_rewrites: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that git does not allow, and a path that leaves the repository."""
        if isinstance(self.source, Branch):
            check_ref(self.source.ref)
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts:
            message = f"{self.path!r} is not a path inside a repository: write it as environments/<name>"
            raise ValueError(message)

    def file(self, name: str) -> str:
        """The repository's name for a file of this environment."""
        return str(PurePosixPath(self.path) / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefMoved:
    """A branch moved. `old` is the commit that was known before, if any; `new` is None if it was deleted."""

    ref: str
    old: str | None
    new: Revision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryLook:
    """What a look at a repository brought that is worth telling: branches that moved, trouble, its end.

    `unavailable` is the sentence of the trouble; `since` is when it began, and is also set on the look
    that ends it.
    """

    repository: str
    moved: tuple[RefMoved, ...] = ()
    unavailable: str | None = None
    since: datetime | None = None

    @property
    def recovered(self) -> bool:
        """Whether the repository answered again after trouble."""
        return self.unavailable is None and self.since is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How many looks at a repository have ended, and why the last one brought nothing, as a sentence.

    `seen_at` is when the last one began that brought something: what is published was true then. `failed` is
    how many of them ended in trouble.
    """

    ended: int = 0
    trouble: str | None = None
    seen_at: datetime | None = None
    failed: int = 0
