"""Reads what one environment's folder says at a commit.

Owns the two files' names, their parsing and its cache. Must not know threads or when to look. Invariant:
nothing that a file holds can raise out of here: what cannot be used is an `Invalid` of this environment.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar, assert_never

import structlog

from deployer.adapters import schemas
from deployer.adapters.git import RANGE_LIMIT, GitUnavailable, Unsigned, Verifier
from deployer.core import policy, serve_config
from deployer.core.errors import InvalidConfig, Problem
from deployer.core.source import TAGS, Branch, Pinned, Tags
from deployer.core.types import Absent, Desired, Invalid, Lineage, Policy, Release, Unverified
from deployer.engine.sources._values import Verify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable
    from pathlib import Path

    from deployer.adapters.git import Mirror
    from deployer.core.document import Document
    from deployer.core.serve_schema import Schema
    from deployer.core.types import Revision, Signature, Wanted
    from deployer.engine.sources._values import EnvironmentSource

_SIGNATURES = 50
"""Signatures of a range that are kept; all of them were verified."""

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What an environment follows, as it is in the mirror: the ref and its object's id.

    `tags` are the names of all tags that the repository has; None if it could not be asked.
    """

    ref: str
    id: str
    tags: frozenset[str] | None = None


class EnvironmentReader:
    """Reads one environment. Parsing a 10 KB file takes 30 ms, so it is done once per content."""

    def __init__(self, source: EnvironmentSource, home: Path) -> None:
        """Take where the environment's files are, and a folder of ours for what verifies signatures."""
        self.source = source
        self._verifier = Verifier(source.signers, home) if source.verify is not Verify.NONE else None
        self._config = ParsedFile(source.file(serve_config.FILE), serve_config.parse)
        self._policy = ParsedFile(source.file(policy.FILE), policy.parse)

    def choose(self, refs: Collection[str]) -> str | None:
        """The ref to read of those that the repository has; None if there is none."""
        match self.source.source:
            case Branch(name=_) as branch:
                return branch.ref if branch.ref in refs else None
            case Tags() as tags:
                newest = tags.newest([ref.removeprefix(TAGS) for ref in refs if ref.startswith(TAGS)])
                return None if newest is None else TAGS + newest
            case Pinned() as pinned:
                return pinned.ref
            case source:
                assert_never(source)

    def state(self) -> Hashable:
        """What the outcome depends on besides the repository, the schema and the release before."""
        try:
            return self._verifier.state() if self._verifier is not None else None
        except GitUnavailable as error:
            return error.why

    def read(self, mirror: Mirror, found: Found | None, schema: Schema, since: Revision | None) -> Wanted:
        """What git wants of the environment, which wanted `since` before. Raises GitUnavailable.

        The config is held against the schema of the Ray that `environment.yaml` names, else against `schema`.
        """
        source = self.source
        of = f"{source.source} of repository {source.repository}"
        if found is None:
            return Absent(why=f"there is no {source.source} in repository {source.repository}")
        commit = mirror.commit_of(found.id)
        if commit is None:
            return Absent(why=f"{of} stands for no commit")
        tag = found.ref.removeprefix(TAGS) if found.ref.startswith(TAGS) else None
        revision = replace(mirror.revision(commit), tag=tag)
        lineage = self._lineage(mirror, found, revision, since)
        try:
            signatures = self._verified(mirror, found.ref, commit, since)
        except Unsigned as error:
            return Unverified(revision=revision, commit=error.commit, why=error.why)
        return self._parsed(mirror, revision, of, schema, lineage, signatures)

    def _parsed(
        self,
        mirror: Mirror,
        revision: Revision,
        of: str,
        schema: Schema,
        lineage: Lineage | None,
        signatures: tuple[Signature, ...],
    ) -> Wanted:
        """What the two files at a commit that may be deployed say."""
        judged = self._policy.at(mirror, revision.commit)
        try:
            schema = _pinned(judged) or schema
        except InvalidConfig as error:
            judged = error
        config = self._config.at(mirror, revision.commit, schema)
        if config is None:
            return Absent(why=f"there is no {self._config.path} on {of}")
        problems = [
            found for part in (config, judged) if isinstance(part, InvalidConfig) for found in part.problems
        ]
        if isinstance(config, InvalidConfig) or isinstance(judged, InvalidConfig):
            return Invalid(revision=revision, problems=tuple(problems))
        resolved, notes = config
        rules = Policy()
        if judged is not None:
            rules, document = judged
            try:
                policy.agree(resolved, rules, document)
            except InvalidConfig as error:
                return Invalid(revision=revision, problems=error.problems)
        return Desired(
            release=Release(revision=revision, config=resolved),
            policy=rules,
            notes=notes,
            signatures=signatures,
            lineage=lineage,
            accepts_rewrites=self.source.accepts_rewrites,
        )

    def _lineage(
        self, mirror: Mirror, found: Found, revision: Revision, since: Revision | None
    ) -> Lineage | None:
        """How the commit stands to the one before."""
        source, commit = self.source.source, revision.commit
        if since is None or since.commit == commit:
            return None
        match source:
            case Branch():
                between = mirror.overtaken(commit, since.commit, found.ref)
                what = f"{source} was rewritten, or is another one: it does not hold {since.short}"
                return Lineage(
                    since=since.commit,
                    rewritten=f"{what}, which was deployed before" if between is None else "",
                    between=between or (),
                    people=mirror.people(commit, since.commit) if revision.merged or between else (),
                )
            case Tags():
                if found.tags is None and since.tag not in {None, revision.tag}:
                    message = f"whether tag {since.tag} is still there is not known while git cannot be read"
                    raise GitUnavailable(message)
                tags = found.tags if found.tags is not None else {since.tag or ""}
                betrayed = source.betrayed(since, revision.tag or "", commit, tags)
                return Lineage(since=since.commit, rewritten=betrayed)
            case Pinned():
                # The operator's own choice follows from the settings.
                return Lineage(since=since.commit)
            case _:
                assert_never(source)

    def _verified(
        self, mirror: Mirror, ref: str, commit: str, since: Revision | None
    ) -> tuple[Signature, ...]:
        """The signatures that are asked for. Raises Unsigned for the newest commit that has none."""
        if self._verifier is None:
            return ()
        signatures: tuple[Signature, ...] = (mirror.verify(self._verifier, commit),)
        if self.source.verify is Verify.RANGE and since is not None and since.commit != commit:
            more = mirror.between(since.commit, commit, ref)
            if len(more) > RANGE_LIMIT:
                why = f"more than {RANGE_LIMIT:,} commits came since {since.short}, too many to verify each"
                raise Unsigned(commit, f"{why}: set `verify: head` until this one is deployed")
            signatures += tuple(mirror.verify(self._verifier, one) for one in more)
        return signatures[:_SIGNATURES]


def schema_for(ray_version: str | None) -> Schema:
    """The schema for what a cluster says that it runs; None: it was not seen yet."""
    try:
        return schemas.schema(ray_version)
    except ValueError:
        # That is no version, or an older one than any that is known.
        return schemas.schema(schemas.KNOWN[0])


def _pinned(judged: tuple[Policy, Document] | InvalidConfig | None) -> Schema | None:
    """The schema that `environment.yaml` asks for. Raises InvalidConfig for a Ray that is not known."""
    if not isinstance(judged, tuple) or judged[0].ray_version is None:
        return None
    try:
        return schemas.schema(judged[0].ray_version)
    except ValueError as error:
        raise InvalidConfig((judged[1].problem(("ray_version",), str(error)),)) from error


class ParsedFile(Generic[P, T]):
    """One file of an environment, and what its newest content was parsed to."""

    def __init__(self, path: str, parse: Callable[Concatenate[bytes, str, P], T]) -> None:
        """Take the file's name in the repository, and what parses it or raises InvalidConfig."""
        self.path = path
        self._parse = parse
        self._parsed: tuple[object, T | InvalidConfig] | None = None

    def at(self, mirror: Mirror, commit: str, *args: P.args, **kwargs: P.kwargs) -> T | InvalidConfig | None:
        """What the file says at a commit: None if it is not there, the error if it cannot be used.

        The other arguments go to the parser.
        """
        try:
            found = mirror.find(commit, self.path)
            if self._parsed is None or self._parsed[0] != (found, args, kwargs):
                blob = mirror.read(commit, self.path)
                if blob is None:
                    return None
                self._parsed = (blob.id, args, kwargs), self._outcome(blob.data, *args, **kwargs)
            return self._parsed[1]
        except GitUnavailable:
            raise
        except InvalidConfig as error:
            return error
        except Exception as error:  # noqa: BLE001 - a bug must cost one environment, not the thread
            # Without the error's own text: it may quote the file, and so a secret.
            kind, lines = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
            log.error("file_not_understood", file=self.path, error=kind, traceback=lines)  # noqa: TRY400 - see above
            message = f"deployer itself failed on this file ({kind}): that is a bug in deployer; see its log"
            return InvalidConfig((Problem(file=self.path, line=0, column=0, message=message),))

    def _outcome(self, data: bytes, *args: P.args, **kwargs: P.kwargs) -> T | InvalidConfig:
        try:
            return self._parse(data, self.path, *args, **kwargs)
        except InvalidConfig as error:
            return error
