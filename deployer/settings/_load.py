"""From a settings file and the environment to `Settings`, or to every problem at once.

Owns the words of each problem, where it is said to be, and the rules that span environments. Must not
know what a single value may be. Invariant: whatever the file and the variables say, it ends in a
`Settings` or in one `InvalidConfig`, and no message or snippet shows a secret.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deployer.core import textfile, yaml
from deployer.core.document import kind
from deployer.core.redact import Path as Keys
from deployer.core.redact import quote
from deployer.settings import _find as find
from deployer.settings import _values as values
from deployer.settings import _variables as variables
from deployer.settings._models import (
    BY_NAME,
    Cluster,
    Environment,
    GithubApp,
    Group,
    Log,
    Repository,
    Server,
    Settings,
    Signatures,
    Tags,
    Webhook,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pydantic_core import ErrorDetails

    from deployer.core.errors import Problem
    from deployer.core.yaml import Document

_ANY = "*"
_FOLLOWED = ("branch", "tags", "commit")
_GROUPS: Mapping[Keys, type[Group]] = {
    (): Settings,
    ("repositories", _ANY): Repository,
    ("environments", _ANY): Environment,
    ("environments", _ANY, "cluster"): Cluster,
    ("environments", _ANY, "tags"): Tags,
    ("environments", _ANY, "signatures"): Signatures,
    ("repositories", _ANY, "github_app"): GithubApp,
    ("repositories", _ANY, "webhook"): Webhook,
    ("server",): Server,
    ("log",): Log,
}


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
        for keys, message in _conflicts(raw, self._base):
            self._wrong(keys, message)
        if settings is None or self._problems:
            raise textfile.invalid(self._problems)
        return settings

    def _fault(self, fault: ErrorDetails) -> None:
        """Say in our words, and at its place, what pydantic found."""
        keys = fault["loc"]
        match fault["type"]:
            case "missing":
                example = _group(keys[:-1]).model_fields[str(keys[-1])].examples or ["..."]
                self._wrong(keys, f"{_dotted(keys)} is missing: add it, as in `{keys[-1]}: {example[0]}`")
            case "extra_forbidden":
                self._wrong(keys, _unknown(keys), at_key=True)
            case "value_error" if keys[-1] == "[key]":
                self._wrong(keys[:-1], f"{_dotted(keys[:-2])}: {fault['ctx']['error']}", at_key=True)
            case "value_error":
                message = f"{_dotted(keys)} {fault['ctx']['error']}"
                self._wrong(keys, message, is_shown=not _may_be_secret(keys, fault["input"]))
            case "literal_error":
                self._wrong(keys, f"{_dotted(keys)} must be {fault['ctx']['expected']}")
            case _:
                wanted = "a mapping of names" if keys in {(group,) for group in BY_NAME} else "a mapping"
                what = _dotted(keys) if keys else "the settings file"
                self._wrong(keys, f"{what} must be {wanted}, not {kind(fault['input'])}")

    def _wrong(self, keys: Keys, message: str, *, at_key: bool = False, is_shown: bool = True) -> None:
        problem = self._problem(keys, message, at_key=at_key)
        self._problems.append(problem if is_shown else replace(problem, snippet=""))

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


def _conflicts(raw: object, base: values.Base) -> Iterator[tuple[Keys, str]]:
    """What is wrong between groups. Works on what was written, so that one wrong value hides no other."""
    repositories = _mapping(raw, "repositories")
    owners: dict[tuple[str | None, ...], str] = {}
    for name in _mapping(raw, "environments"):
        keys = ("environments", name)
        environment = _mapping(_mapping(raw, "environments"), name)
        repository = environment.get("repository")
        if isinstance(repository, str) and repositories and repository not in repositories:
            hint = _hint(repository, repositories)
            message = f"{_dotted(keys)}.repository: no repository is called {quote(repository)} ({hint})"
            yield (*keys, "repository"), message

        given = [key for key in _FOLLOWED if environment.get(key) is not None]
        if isinstance(_mapping(raw, "environments")[name], dict) and not given:
            message = (
                f"{_dotted(keys)}.branch is missing: add it (or tags, or commit), as in `branch: env/staging`"
            )
            yield (*keys, "branch"), message
        for key in given[1:]:
            message = f"{_dotted(keys)}.{key}: {given[0]} already says what is deployed: remove one of them"
            yield (*keys, key), message
        signatures = _mapping(environment, "signatures")
        is_asked = "signatures" in environment and signatures.get("verify") != "none"
        if is_asked and not _signers(signatures):
            what = f"{_dotted(keys)}.signatures does not say who may sign"
            message = f"{what}: add allowed_signers_file or gpg_keyring_file"
            yield (*keys, "signatures"), message

        url = _mapping(repositories, str(repository)).get("url")
        folder = (
            _normal(values.repository_url, url, base),
            _followed(environment, base),
            _normal(values.folder, environment.get("path"), base),
            _normal(_cluster_key, _mapping(environment, "cluster").get("address"), base),
        )
        if all(folder):
            other = owners.setdefault(folder, name)
            if other != name:
                message = (
                    f"{_dotted(keys)} reads the same folder of the same branch as {other}, for the same"
                    " cluster, so both would own the same applications: give each a folder, a branch or a"
                    " cluster of its own"
                )
                yield (*keys, "path"), message


def _followed(environment: Mapping[str, Any], base: values.Base) -> str | None:
    """What is followed, so that two environments that follow the same have the same; None if it is wrong."""
    tags = _mapping(environment, "tags")
    if tags:
        return f"tags {tags.get('pattern')} {tags.get('versions')}"
    return _normal(values.branch, environment.get("branch"), base) or _normal(
        values.commit, environment.get("commit"), base
    )


def _signers(signatures: Mapping[str, Any]) -> bool:
    return any(signatures.get(key) is not None for key in ("allowed_signers_file", "gpg_keyring_file"))


def _mapping(raw: object, key: str) -> Mapping[str, Any]:
    """The mapping at this key; an empty one if there is something else, which is reported elsewhere."""
    value = raw.get(key) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else {}


def _normal(parse: Callable[[str, values.Base], str], value: object, base: values.Base) -> str | None:
    """The normal form; None if the value has none, which is reported elsewhere."""
    try:
        return parse(value, base) if isinstance(value, str) else None
    except ValueError:
        return None


def _cluster_key(address: str, base: values.Base) -> str:
    return values.cluster_key(values.cluster_address(address, base))


def _may_be_secret(keys: Keys, value: object) -> bool:
    """Whether the line must not be shown: a URL with a login, a token instead of its file's name."""
    match str(keys[-1]), value:
        case "url" | "address" | "serve_address", str():
            return not {"@", "?", "#"}.isdisjoint(value)
        case key, str() if key.endswith("_file"):
            return values.is_bare_word(value)
        case _:
            return False


def _group(keys: Keys) -> type[Group]:
    return _GROUPS[(*keys[:1], _ANY, *keys[2:]) if keys and keys[0] in BY_NAME else keys]


def _unknown(keys: Keys) -> str:
    group, key = _group(keys[:-1]), str(keys[-1])
    if key in group.later:
        return f"{_dotted(keys)} is not supported by this version yet: remove it"
    where = f" in {_dotted(keys[:-1])}" if keys[:-1] else ""
    return f"unknown key {quote(key)}{where} ({_hint(key, group.model_fields, group.later)})"


def _hint(word: str, known: Collection[str], later: tuple[str, ...] = ()) -> str:
    close = get_close_matches(word, (*known, *later), n=1)
    return f"did you mean {quote(close[0])}?" if close else f"known: {', '.join(known)}"


def _dotted(keys: Keys) -> str:
    return ".".join(str(key) for key in keys)
