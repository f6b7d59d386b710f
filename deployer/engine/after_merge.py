"""What each environment would have in its files once a pull request is merged.

Owns the merge of one file at a time: what only the pull request changed comes from it, all else from its
base. Must not know forges, nor what the files say. Invariant: it reads a mirror and changes nothing; what
both sides changed is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.core import policy, serve_config
from deployer.core.errors import InvalidConfig
from deployer.core.source import HEADS, PINNED
from deployer.core.types import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.adapters.forge import PullRequest
    from deployer.adapters.git import Mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One environment: its repository, the branch that it follows, its folder there."""

    repository: str
    branch: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What one environment would have after the merge.

    `config` and `rules` are the two files, each with its name; None is no file. `why` says instead, in lines,
    why they cannot be read. `notes` are sentences.
    """

    environment: str
    revision: Revision
    config: tuple[str, bytes | None]
    rules: tuple[str, bytes | None]
    notes: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One file after the merge: that of `commit`."""

    file: str
    commit: str
    is_touched: bool
    is_changed_by_both: bool = False


def proposed(
    mirror: Mirror, pull: PullRequest, base: str, places: Mapping[str, Place]
) -> tuple[list[Proposed], list[str]]:
    """What the merge would change, and the environments that it would not touch.

    `places` are those of the repository; the pull request and its base, now at the commit `base`, were
    fetched. Raises GitUnavailable.
    """
    head = pull.head_commit
    since = mirror.fork_point(head, base, [HEADS + pull.base, PINNED + head])
    touched, untouched = [], []
    for name, place in places.items():
        if place.branch != pull.base:
            continue
        files = [f"{place.path}/{file}".removeprefix("./") for file in (serve_config.FILE, policy.FILE)]
        sides = [_side(mirror, file, head, base, since) for file in files]
        if any(side.is_touched for side in sides):
            touched.append(_read(mirror, name, pull, sides))
        else:
            untouched.append(name)
    return touched, untouched


def _side(mirror: Mirror, file: str, head: str, base: str, since: str | None) -> _Side:
    """Which of the two has the file as the merge will have it."""
    theirs, ours = _found(mirror, head, file), _found(mirror, base, file)
    before = _found(mirror, since, file) if since is not None else ours
    if theirs in (ours, before):
        return _Side(file=file, commit=base, is_touched=False)
    return _Side(file=file, commit=head, is_touched=True, is_changed_by_both=ours != before)


def _found(mirror: Mirror, commit: str, file: str) -> object:
    """Which file it is; what is no plain file is one of its own."""
    try:
        return mirror.find(commit, file)
    except InvalidConfig:
        return (commit, file)


def _read(mirror: Mirror, environment: str, pull: PullRequest, sides: list[_Side]) -> Proposed:
    read: list[bytes | None] = []
    why = ""
    for side in sides:
        try:
            blob = mirror.read(side.commit, side.file)
        except InvalidConfig as error:
            why = "\n".join(str(problem) for problem in error.problems)
            blob = None
        read.append(blob.data if blob is not None else None)
    config, rules = ((side.file, data) for side, data in zip(sides, read, strict=True))
    notes = tuple(
        f"{side.file} was changed in {pull.base} as well: this plan has it as the pull request has it."
        for side in sides
        if side.is_changed_by_both
    )
    return Proposed(
        environment=environment,
        revision=mirror.revision(pull.head_commit),
        config=config,
        rules=rules,
        notes=notes,
        why=why,
    )
