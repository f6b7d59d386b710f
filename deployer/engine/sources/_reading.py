"""Reads what one environment's folder says at a commit.

Owns the two files' names, their parsing and its cache. Must not know threads or when to look. Invariant:
nothing that a file holds can raise out of here: what cannot be used is an `Invalid` of this environment.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

import structlog

from deployer.adapters import schemas
from deployer.adapters.git import GitUnavailable
from deployer.core import policy, serve_config
from deployer.core.errors import InvalidConfig, Problem
from deployer.core.types import Absent, Desired, Invalid, Policy, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.adapters.git import Mirror
    from deployer.core.document import Document
    from deployer.core.serve_schema import Schema
    from deployer.core.types import Wanted
    from deployer.engine.sources._values import EnvironmentSource

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)


class EnvironmentReader:
    """Reads one environment. Parsing a 10 KB file takes 30 ms, so it is done once per content."""

    def __init__(self, source: EnvironmentSource) -> None:
        """Take where the environment's files are."""
        self.source = source
        self._config = ParsedFile(source.file(serve_config.FILE), serve_config.parse)
        self._policy = ParsedFile(source.file(policy.FILE), policy.parse)

    def read(self, mirror: Mirror, heads: Mapping[str, str], schema: Schema) -> Wanted:
        """What git wants of the environment, with the branches where `heads` says. Raises GitUnavailable.

        The config is held against the schema of the Ray that `environment.yaml` names, else against `schema`.
        """
        source = self.source
        commit = heads.get(source.ref)
        if commit is None:
            return Absent(why=f"there is no branch {source.branch} in repository {source.repository}")
        revision = mirror.revision(commit)
        judged = self._policy.at(mirror, commit)
        try:
            schema = _pinned(judged) or schema
        except InvalidConfig as error:
            judged = error
        config = self._config.at(mirror, commit, schema)
        if config is None:
            where = f"branch {source.branch} of repository {source.repository}"
            return Absent(why=f"there is no {self._config.path} on {where}")
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
        return Desired(release=Release(revision=revision, config=resolved), policy=rules, notes=notes)


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
