"""The values that go into the sources and come out of a look.

Owns their shapes and what makes them valid. Must not know git's commands or threads. Invariant: a branch
is always a full name, and a path stays inside its repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from deployer.adapters.git import check_ref
from deployer.core.types import Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySpec:
    """A repository to follow. `poll_seconds` is how often it is asked when nothing else tells of a change."""

    name: str
    url: str
    poll_seconds: float
    token_file: Path | None = None
    username: str = "git"
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSource:
    """Where an environment's files are: a folder (`.` for the root) on a branch (`refs/heads/...`)."""

    environment: str
    repository: str
    ref: str
    path: str

    def __post_init__(self) -> None:
        """Refuse a short branch name, and a path that leaves the repository."""
        check_ref(self.ref)
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts:
            message = f"{self.path!r} is not a path inside a repository: write it as environments/<name>"
            raise ValueError(message)

    @property
    def branch(self) -> str:
        """The branch as people write it."""
        return self.ref.removeprefix("refs/heads/")

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
    """How many looks at a repository have ended, and why the last one brought nothing, as a sentence."""

    ended: int = 0
    trouble: str | None = None
