"""What `plan`, `diff` and `render` look at: refs, releases, clusters and files, each as one side.

Owns the names that people give to these, and the reading of them. Must not compare anything. Invariant:
nothing here changes the store, a cluster or a repository.

A side is named `[ENV@]WHAT`. WHAT is `live`; a path that exists; a release, as `rollback --to` takes it; or
else a branch, a tag or a commit of the environment's repository.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from deployer.adapters import schemas
from deployer.cli.context import STORE_FILE, reading
from deployer.cli.main import Exit, Failure
from deployer.cli.repositories import access, source
from deployer.core import commands, policy, sentences, serve_config
from deployer.core.errors import InvalidConfig, Problem
from deployer.core.gates import Gating, prove
from deployer.core.live import Live
from deployer.core.record import Record
from deployer.core.types import Person, Policy, Release, Revision, ServeConfig
from deployer.engine.planner import LIVE, Side, live_side
from deployer.settings import gate_rules

if TYPE_CHECKING:
    from types import TracebackType

    from deployer.adapters.git import Glance
    from deployer.adapters.store import SqlReader
    from deployer.core.commands import GoodRelease
    from deployer.core.history import Entry
    from deployer.core.live import Observation
    from deployer.core.serve_schema import Schema
    from deployer.settings import Settings

_NOBODY = Person(name="", email="")
_HISTORY = 200
"""Rollouts that are looked back on for durations."""
_EPOCH = datetime.fromtimestamp(0, UTC)


class Desk:
    """Everything that one command looks at, opened when it is first needed. Use it as a context manager."""

    def __init__(self, settings: Settings | None) -> None:
        """Take the settings; None is enough for files. Touch nothing yet."""
        self._settings = settings
        self.now = datetime.now(UTC)
        self._stack = ExitStack()
        self._glances: dict[str, Glance] = {}
        self._seen: dict[str, Observation] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close what was opened. An error of the store becomes the sentence that a person can use."""
        return self._stack.__exit__(kind, error, traceback)

    @property
    def settings(self) -> Settings:
        """The settings, where there are some."""
        assert self._settings is not None  # noqa: S101 - whoever names an environment has been refused before
        return self._settings

    # --- the parts -----------------------------------------------------------------------------------

    @cached_property
    def store(self) -> SqlReader | None:
        """The daemon's store, for reading; None if there is none yet."""
        if not (self.settings.state_dir / STORE_FILE).exists():
            return None
        return self._stack.enter_context(reading(self.settings))

    def record(self, environment: str) -> Record:
        """What the daemon knows of an environment; an empty record if it never ran."""
        return self.store.load(environment) if self.store is not None else Record(environment=environment)

    def look(self, environment: str) -> Observation:
        """The cluster of an environment, looked at once. Never raises for what the network does."""
        if environment not in self._seen:
            from deployer.adapters.serve import ServeCluster

            spec = self.settings.environments[environment].cluster
            cluster = ServeCluster(
                spec.address,
                token_file=spec.token_file,
                ca_file=spec.ca_file,
                serve_address=spec.serve_address,
            )
            self._stack.callback(cluster.close)
            self._seen[environment] = cluster.observe(resources=True)
        return self._seen[environment]

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Every cluster that was looked at."""
        return tuple(self._seen.values())

    def neighbours(self, environment: str) -> dict[str, str]:
        """The applications of the daemon's other environments on the same cluster, with their environment."""
        key = self.settings.environments[environment].cluster.key
        return {
            app: name
            for name, other in self.settings.environments.items()
            if name != environment and other.cluster.key == key
            for app in self.record(name).apps
        }

    def address(self, environment: str) -> str:
        """Where its cluster is."""
        return self.settings.environments[environment].cluster.address

    def upstream(self, environment: str, digest: str) -> dict[str, Record]:  # noqa: ARG002 - a Desk's signature
        """The records of the other environments: each may hold the digest."""
        return {name: self.record(name) for name in self.settings.environments if name != environment}

    def gating(self, environment: str, commit: str) -> Gating:
        """What a deploy of this commit has to wait for, by the settings and the store."""
        rules = gate_rules(self.settings, environment)
        store = self.store
        proofs = {
            name: prove(self.record(name), store.became_good(name, commit) if store else None, commit)
            for name in rules.requires
        }
        return Gating(rules=rules, proofs=proofs)

    def history(self, environment: str) -> list[Entry]:
        """The newest rollouts first."""
        return self.store.history(environment, limit=_HISTORY) if self.store is not None else []

    def good_releases(self, environment: str) -> list[GoodRelease]:
        """What became good, newest first."""
        return self.store.good_releases(environment) if self.store is not None else []

    # --- the sides -----------------------------------------------------------------------------------

    def side(self, name: str, environment: str | None) -> Side:
        """The side of this name. `environment` is what a name without one belongs to."""
        known = self._settings.environments if self._settings is not None else {}
        before, separator, after = name.partition("@")
        if separator and before in known:
            environment, name = before, after
        if name == LIVE:
            return self.live(self._needed(environment, name))
        if Path(name).exists():
            return self.file(Path(name), environment)
        of = self._needed(environment, name)
        found = self._release(of, name)
        return found if found is not None else self.ref(of, name)

    def _needed(self, environment: str | None, name: str) -> str:
        if environment is not None:
            return environment
        if self._settings is None:
            message = (
                f"There is no file '{name}', and no settings that would say what else it is: give -c FILE."
            )
            raise Failure(message, Exit.USAGE)
        if len(self.settings.environments) == 1:
            return next(iter(self.settings.environments))
        known = ", ".join(self.settings.environments)
        message = f"Which environment's '{name}'? Write ENV@{name}, or --environment ENV. There are: {known}."
        raise Failure(message, Exit.USAGE)

    def live(self, environment: str) -> Side:
        """What the cluster last received for this environment."""
        seen = self.look(environment)
        if not isinstance(seen, Live):
            raise Failure(sentences.sentence(seen.why))
        return live_side(self, environment, seen, None)

    def file(self, path: Path, environment: str | None) -> Side:
        """A folder with a config, or a file that is one."""
        config = path / serve_config.FILE if path.is_dir() else path
        rules = config.parent / policy.FILE

        def read(wanted: Path) -> bytes | None:
            try:
                return wanted.read_bytes()
            except FileNotFoundError:
                return None
            except OSError as error:
                message = f"{wanted} cannot be read: {error.strerror}."
                raise Failure(message) from error

        is_environment = config.name == serve_config.FILE
        resolved, judged, notes = self._parsed(
            (str(config), read(config)),
            (str(rules), read(rules) if is_environment else None),
            environment,
        )
        nobody = Revision(commit="0" * 40, author=_NOBODY, committer=_NOBODY, subject="", committed_at=_EPOCH)
        return Side(
            label=str(path),
            body=resolved.body(),
            release=Release(revision=nobody, config=resolved),
            policy=judged,
            notes=notes,
        )

    def ref(self, environment: str, ref: str | None = None) -> Side:
        """What a branch, a tag or a commit says of an environment; None is what it follows."""
        from deployer.adapters.git import GitUnavailable

        spec = self.settings.environments[environment]
        glance = self._glance(spec.repository)
        try:
            followed = source(spec)
            commit = glance.commit(ref) if ref is not None else glance.followed(followed)
            if commit is None and ref is None:
                message = f"There is no {followed} in repository {spec.repository}."
                raise Failure(message)
            if commit is None:
                raise Failure(self._no_such(environment, str(ref)))
            revision = glance.revision(commit)
            files = [f"{spec.path}/{name}".removeprefix("./") for name in (serve_config.FILE, policy.FILE)]
            blobs = [glance.read(commit, file) for file in files]
        except GitUnavailable as error:
            raise Failure(sentences.sentence(error.why)) from error
        except InvalidConfig as error:
            raise Failure(str(error), Exit.INVALID_CONFIG) from error
        config, rules = (
            (file, None if blob is None else blob.data) for file, blob in zip(files, blobs, strict=True)
        )
        return self.given(environment, revision, config, rules, tuple(glance.notes))

    def given(
        self,
        environment: str,
        revision: Revision,
        config: tuple[str, bytes | None],
        rules: tuple[str, bytes | None],
        notes: tuple[str, ...] = (),
    ) -> Side:
        """What these two files, each with its name, say of an environment; they came with that commit."""
        resolved, judged, more = self._parsed(config, rules, environment)
        release = Release(revision=revision, config=resolved)
        return Side(
            label=sentences.name(release),
            body=resolved.body(),
            release=release,
            policy=judged,
            notes=(*notes, *more),
        )

    def _no_such(self, environment: str, name: str) -> str:
        repository = self.settings.environments[environment].repository
        return (
            f"There is no file '{name}', no good release of {environment} called so, and no branch, tag or "
            f"commit '{name}' in repository {repository}."
        )

    def _release(self, environment: str, name: str) -> Side | None:
        found = commands.find_good(environment, name, self.good_releases(environment))
        if found is None:
            return None
        label = f"{found.rollout} {sentences.name(found.release)}"
        return Side(label=label, body=found.release.config.body(), release=found.release, policy=found.policy)

    def _glance(self, repository: str) -> Glance:
        if repository not in self._glances:
            from deployer.adapters.git import Glance

            spec = self.settings.repositories[repository]
            scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="deployer-")))
            glance = Glance(
                spec.url,
                scratch=scratch,
                mirror=self.settings.state_dir / "mirrors" / f"{quote(repository, safe='')}.git",
                access=access(spec),
            )
            self._stack.callback(glance.close)
            self._glances[repository] = glance
        return self._glances[repository]

    # --- reading -------------------------------------------------------------------------------------

    def schema(self, environment: str | None, pinned: str | None) -> Schema:
        """The schema that the daemon would check with. Raises ValueError for a Ray that is not known."""
        if pinned is None and environment in self._seen:
            seen = self._seen[str(environment)]
            if isinstance(seen, Live):
                pinned = seen.ray_version
        return schemas.schema(pinned)

    def _parsed(
        self, config: tuple[str, bytes | None], rules: tuple[str, bytes | None], environment: str | None
    ) -> tuple[ServeConfig, Policy, tuple[str, ...]]:
        name, data = config
        if data is None:
            message = f"There is no {name}."
            raise Failure(message)
        try:
            judged, document = policy.parse(rules[1] or b"", rules[0])
            try:
                schema = self.schema(environment, judged.ray_version)
            except ValueError as error:
                raise InvalidConfig((document.problem(("ray_version",), str(error)),)) from error
            resolved, notes = serve_config.parse(data, name, schema)
            if rules[1] is not None:
                policy.agree(resolved, judged, document)
        except InvalidConfig as error:
            raise Failure(_listed(error.problems), Exit.INVALID_CONFIG) from error
        return resolved, judged, notes


def _listed(problems: tuple[Problem, ...]) -> str:
    return "\n".join(str(problem) for problem in problems)
