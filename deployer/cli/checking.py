"""What `deployer validate` finds: the environments below some paths, and everything wrong with each.

Owns the walk over folders and the order of the checks. Must not know how a report looks. Invariant: whatever
a file holds, it ends in problems of that environment; and the daemon would refuse exactly what has an error
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.adapters import ray_schema, schemas
from deployer.cli.main import Failure
from deployer.cli.reports import EnvironmentReport
from deployer.core import lints, policy, serve_config, yaml
from deployer.core.errors import InvalidConfig, Problem, Severity
from deployer.core.serve_schema import ray_release

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.core.document import Document
    from deployer.core.serve_config import Reading
    from deployer.core.serve_schema import Schema
    from deployer.core.types import Policy

_PROTECTED = "prod"
"""A folder whose name begins so is taken for a protected environment: nothing offline says which are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One Serve config to check. `policy` is the `environment.yaml` beside it, if there is one."""

    shown: str
    config: Path
    policy: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`ray_version` overrides what `environment.yaml` says. `ask_ray`: None is if it is installed."""

    ray_version: str | None = None
    ask_ray: bool | None = None


def find(paths: Sequence[str]) -> list[Target]:
    """The configs that are meant: folders with all below them, or files. Raises Failure for a wrong path."""
    found: dict[Path, Target] = {}
    for name in paths or (["environments"] if Path("environments").is_dir() else ["."]):
        path = Path(name)
        targets = [*_targets(path)]
        if not targets:
            message = f"There is no {serve_config.FILE} in or below {name}. `deployer init` writes one."
            raise Failure(message)
        for target in targets:
            found.setdefault(target.config.resolve(), target)
    return list(found.values())


def _targets(path: Path) -> Iterator[Target]:
    if path.is_dir():
        below = sorted(path.rglob(serve_config.FILE))
        hidden = [any(part.startswith(".") for part in one.relative_to(path).parts) for one in below]
        yield from (_folder(one.parent) for one, skip in zip(below, hidden, strict=True) if not skip)
    elif not path.exists():
        message = f"There is no file or folder {path}."
        raise Failure(message)
    elif path.name in {serve_config.FILE, policy.FILE} and (path.parent / serve_config.FILE).exists():
        yield _folder(path.parent)
    else:
        yield Target(shown=str(path), config=path, policy=None)


def _folder(folder: Path) -> Target:
    rules = folder / policy.FILE
    there = rules if rules.exists() else None
    return Target(shown=str(folder), config=folder / serve_config.FILE, policy=there)


def check(target: Target, options: Options) -> EnvironmentReport:
    """Everything that is wrong with one environment. Raises Failure if a file cannot be read at all."""
    problems: list[Problem] = []
    rules = _rules(target, problems)
    schema = _schema(options, rules, problems)
    file = str(target.config)
    notes: list[str] = []
    digest = None
    try:
        reading = serve_config.read(_bytes(target.config), file, schema)
    except InvalidConfig as error:
        problems += error.problems
    else:
        digest = reading.config.digest
        notes += reading.notes
        problems += reading.warnings
        if rules is not None:
            try:
                policy.agree(reading.config, *rules)
            except InvalidConfig as error:
                problems += error.problems
        problems += _lints(target, reading, rules[0] if rules else None)
        problems += _asked(reading, schema, options, notes)
    if any(problem.severity is Severity.ERROR for problem in problems):
        digest = None
    return EnvironmentReport(
        path=target.shown,
        problems=tuple(problems),
        digest=digest,
        ray_version=schema.ray_version,
        notes=tuple(notes),
    )


def _rules(target: Target, problems: list[Problem]) -> tuple[Policy, Document] | None:
    if target.policy is None:
        return None
    try:
        return policy.parse(_bytes(target.policy), str(target.policy))
    except InvalidConfig as error:
        problems += error.problems
        return None


def _schema(options: Options, rules: tuple[Policy, Document] | None, problems: list[Problem]) -> Schema:
    if options.ray_version is not None:
        try:
            return schemas.schema(options.ray_version)
        except ValueError as error:
            message = f"--ray-version: {error}."
            raise Failure(message) from error
    pinned = rules[0].ray_version if rules else None
    try:
        return schemas.schema(pinned)
    except ValueError as error:
        assert rules is not None  # noqa: S101 - for mypy: without them nothing is pinned
        problems.append(rules[1].problem(("ray_version",), str(error)))
        return schemas.schema()


def _lints(target: Target, reading: Reading, rules: Policy | None) -> tuple[Problem, ...]:
    return lints.lint(
        lints.Subject(
            document=reading.document,
            applications=reading.applications,
            body=reading.config.body(),
            policy=rules,
            protected=target.config.resolve().parent.name.lower().startswith(_PROTECTED),
        )
    )


def _asked(reading: Reading, schema: Schema, options: Options, notes: list[str]) -> list[Problem]:
    """What Ray's own validator says, where it is there and speaks of the same Ray."""
    if options.ask_ray is False:
        return []
    version = ray_schema.installed()
    if version is None:
        if options.ask_ray:
            message = "--ray: Ray's Serve is not installed here. Install deployer with its `local` extra."
            raise Failure(message)
        return []
    if ray_release(version) != ray_release(schema.ray_version):
        which = f"Ray {version} is installed, not {schema.ray_version}"
        notes.append(f"Ray's own validator was not asked: {which}")
        return []
    try:
        faults = [*ray_schema.faults(reading.config.body())]
    except RuntimeError as error:
        raise Failure(str(error)) from error
    return [reading.problem(fault) for fault in faults]


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One more than is allowed is enough to be told so.
            return file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise Failure(message) from error
