"""From a settings file and the environment to `Settings`, or to every problem at once.

Owns the words of each problem, and where it is said to be. Must not know what a single value may be, nor the
rules that span groups. Invariant: whatever the file and the variables say, it ends in a
`Settings` or in one `InvalidConfig`, and no message or snippet shows a secret.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from deployer.core import textfile, yaml
from deployer.core.document import kind
from deployer.core.redact import Path as Keys
from deployer.core.redact import quote
from deployer.settings import _find as find
from deployer.settings import _notify as notify
from deployer.settings import _values as values
from deployer.settings import _variables as variables
from deployer.settings._audit import Audit, AuditPush
from deployer.settings._conflicts import conflicts
from deployer.settings._forge import App, Forge
from deployer.settings._gates import Approvals, Freeze, Gates, Window
from deployer.settings._models import (
    Cluster,
    Environment,
    Log,
    Server,
    Settings,
    Signatures,
    Tags,
    Tls,
    TrustedProxy,
)
from deployer.settings._people import Person
from deployer.settings._promote import Promote
from deployer.settings._repositories import GithubApp, Repository, Webhook, Write
from deployer.settings._written import dotted, hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from deployer.core.errors import Problem
    from deployer.core.yaml import Document
    from deployer.settings._group import Group

_ANY = "*"
_GROUPS: Mapping[Keys, type[Group]] = {
    (): Settings,
    ("repositories", _ANY): Repository,
    ("environments", _ANY): Environment,
    ("environments", _ANY, "cluster"): Cluster,
    ("environments", _ANY, "tags"): Tags,
    ("environments", _ANY, "signatures"): Signatures,
    ("environments", _ANY, "promote_from"): Promote,
    ("environments", _ANY, "gates"): Gates,
    ("environments", _ANY, "gates", "approvals"): Approvals,
    ("environments", _ANY, "gates", "windows", _ANY): Window,
    ("environments", _ANY, "gates", "freezes", _ANY): Freeze,
    ("repositories", _ANY, "github_app"): GithubApp,
    ("repositories", _ANY, "webhook"): Webhook,
    ("repositories", _ANY, "write"): Write,
    ("repositories", _ANY, "write", "github_app"): GithubApp,
    ("repositories", _ANY, "forge"): Forge,
    ("repositories", _ANY, "forge", "github_app"): App,
    ("people", _ANY): Person,
    ("server",): Server,
    ("server", "tls"): Tls,
    ("server", "trusted_proxy"): TrustedProxy,
    ("audit",): Audit,
    ("audit", "push"): AuditPush,
    ("audit", "push", "github_app"): GithubApp,
    ("notify", _ANY): notify.Route,
    ("notify", _ANY, "webhook"): notify.Receiver,
    ("notify", _ANY, "quiet_hours", _ANY): Window,
    ("log",): Log,
}
_OF_NAMES = frozenset({("repositories",), ("environments",), ("people",), ("groups",), ("notify",)})
"""Whose keys are names that people choose."""


def load(path: Path | None, env: Mapping[str, str], *, check_files: bool = True) -> Settings:
    """Read the settings. `path` is `--config`, `env` the process's environment.

    With `check_files` False the files that `*_file` settings name are not looked at: for commands that
    only read the store, since the daemon's secrets may be the daemon's alone to read.

    Raises InvalidConfig with every problem found, also when there is no file.
    """
    file, data = find.read(path, env)
    document = yaml.load(data, str(file), keys_as_written=True)
    credentials = env.get("CREDENTIALS_DIRECTORY")
    base = values.Base(
        folder=file.parent,
        home=find.home(env),
        credentials=Path(credentials) if credentials else None,
        check_files=check_files,
    )
    return _Reading(document, base).settings(env, find.default_state_dir(file, env))


class _Reading:
    """One reading of one document: remembers which variable set what, and collects problems."""

    def __init__(self, document: Document, base: values.Base) -> None:
        self._document = document
        self._base = base
        self._variables: dict[Keys, str] = {}
        self._problems: list[Problem] = []

    def settings(self, env: Mapping[str, str], default_state_dir: Path) -> Settings:
        raw = {} if self._document.value is None else self._document.value
        if isinstance(raw, dict):
            self._variables, self._problems = variables.override(raw, env)
            raw.setdefault("state_dir", str(default_state_dir))
        settings = None
        try:
            settings = Settings.model_validate(raw, context=self._base)
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                self._fault(fault)
        for keys, message in conflicts(raw, self._base):
            self._wrong(keys, message)
        if settings is None or self._problems:
            raise textfile.invalid(self._without_secrets(raw))
        return settings

    def _without_secrets(self, raw: object) -> list[Problem]:
        """The problems, without the lines that may hold a secret: also if what is wrong stands beside it."""
        secret = (keys for keys, value in _leaves((), raw) if _may_be_secret(keys, value))
        lines = {self._document.problem(keys, "").line for keys in secret}
        return [replace(one, snippet="") if one.line in lines else one for one in self._problems]

    def _fault(self, fault: ErrorDetails) -> None:
        """Say in our words, and at its place, what pydantic found."""
        keys = fault["loc"]
        match fault["type"]:
            case "missing":
                example = _group(keys[:-1]).keys()[str(keys[-1])].examples or ["..."]
                self._wrong(keys, f"{dotted(keys)} is missing: add it, as in `{keys[-1]}: {example[0]}`")
            case "extra_forbidden":
                self._wrong(keys, _unknown(keys), at_key=True)
            case "value_error" if keys[-1] == "[key]":
                self._wrong(keys[:-1], f"{dotted(keys[:-2])}: {fault['ctx']['error']}", at_key=True)
            case "value_error":
                self._wrong(keys, f"{dotted(keys)} {fault['ctx']['error']}")
            case "literal_error":
                self._wrong(keys, f"{dotted(keys)} must be {fault['ctx']['expected']}")
            case _:
                is_of_names = keys in _OF_NAMES or keys[-1:] == ("requires",)
                wanted = "a mapping of names" if is_of_names else "a mapping"
                what = dotted(keys) if keys else "the settings file"
                self._wrong(keys, f"{what} must be {wanted}, not {kind(fault['input'])}")

    def _wrong(self, keys: Keys, message: str, *, at_key: bool = False) -> None:
        self._problems.append(self._problem(keys, message, at_key=at_key))

    def _problem(self, keys: Keys, message: str, *, at_key: bool) -> Problem:
        """A problem where these keys were set or, if they were not, where what should hold them was."""
        for end in range(len(keys), 0, -1):
            place = keys[:end]
            if place in self._document.marks and place not in self._variables:
                return self._document.problem(place, message, at_key=at_key)
            for path, variable in self._variables.items():
                if path[:end] == place:
                    return variables.problem(variable, message)
        return self._document.problem((), message)


def _leaves(keys: Keys, value: object) -> Iterator[tuple[Keys, object]]:
    """What is written in mappings, and is none."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves((*keys, key), inner)
    elif keys:
        yield keys, value


def _may_be_secret(keys: Keys, value: object) -> bool:
    """Whether the line must not be shown: a URL with a login, a token instead of its file's name."""
    match str(keys[-1]), value:
        case "url" | "address" | "serve_address" | "public_url" | "api_url", str():
            return not {"@", "?", "#"}.isdisjoint(value)
        case key, str() if key.endswith("_file"):
            return values.is_bare_word(value)
        case _:
            return False


def _group(keys: Keys) -> type[Group]:
    """The group at these keys. Names that people choose, and places in a list, are any."""
    is_named = keys[:1] in _OF_NAMES
    return _GROUPS[
        tuple(
            _ANY if isinstance(key, int) or (is_named and index == 1) else key
            for index, key in enumerate(keys)
        )
    ]


def _unknown(keys: Keys) -> str:
    group, key = _group(keys[:-1]), str(keys[-1])
    where = f" in {dotted(keys[:-1])}" if keys[:-1] else ""
    return f"unknown key {quote(key)}{where} ({hint(key, group.keys())})"
