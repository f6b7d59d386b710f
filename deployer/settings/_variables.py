"""Environment variables that override the file: `DEPLOYER_A__B` sets key `b` of group `a`.

Owns the way from a variable's name to a place in the settings. Must not know what the values mean.
Invariant: a variable that is meant for us is obeyed or reported, never skipped in silence.

Not pydantic-settings, which skips those with a typing error, cannot say which variable a wrong value came
from, has no way to name a key with a dash, and reads `os.environ` alone (2.16).
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from deployer.core.errors import Problem
from deployer.settings._audit import Audit
from deployer.settings._models import BY_NAME, Log, Server, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.redact import Path as Keys

_PREFIX = "DEPLOYER_"
_SEPARATOR = "__"

_ALIKE = 0.8
"""How much a variable must look like one of ours (difflib's ratio) to be taken for one. Others belong to
others: Kubernetes alone sets DEPLOYER_PORT and six more if a service is called deployer."""


_OF_COMMANDS = frozenset({"server", "token_file", "ca_file"})
"""What says which daemon a command asks (`deployer --server`), and is no setting of one."""


def override(raw: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[Keys, str], list[Problem]]:
    """Put every override into `raw`. Returns which variable set what, and the problems with their names.

    An empty variable is as good as none.
    """
    variables: dict[Keys, str] = {}
    problems = []
    for variable in sorted(env):
        if not variable.startswith(_PREFIX) or not env[variable]:
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name in _OF_COMMANDS:
            continue
        if _SEPARATOR not in name and name not in Settings.model_fields:
            if meant := _meant(name):
                message = f"no setting has this name (did you mean {meant}? Two underscores separate keys)"
                problems.append(problem(variable, message))
            continue
        keys = name.split(_SEPARATOR)
        if keys[0] in BY_NAME and len(keys) > 1:
            # A variable cannot hold the dash of a name like serve-configs; such a name cannot hold a `_`.
            keys[1] = keys[1].replace("_", "-")
        if _put(raw, keys, env[variable]):
            variables[tuple(keys)] = variable
        else:
            problems.append(problem(variable, f"{'.'.join(keys[:-1])} holds no keys that could be set"))
    return variables, problems


def problem(variable: str, message: str) -> Problem:
    """A problem with the value of this variable."""
    return Problem(file=f"environment variable {variable}", line=0, column=0, message=message)


def _meant(name: str) -> str | None:
    """The variable that this name, which is none, was probably meant to be."""
    known = ["state_dir", "workers"]
    known += [f"log{_SEPARATOR}{key}" for key in Log.model_fields]
    known += [f"server{_SEPARATOR}{key}" for key in Server.model_fields]
    known += [f"audit{_SEPARATOR}{key}" for key in Audit.model_fields]
    known += [f"{group}{_SEPARATOR}name{_SEPARATOR}key" for group in BY_NAME]
    alike = get_close_matches(name, known, n=1, cutoff=_ALIKE)
    alike += [like for like in known if name.startswith(f"{like.partition(_SEPARATOR)[0]}_")]
    return (_PREFIX + alike[0]).upper() if alike else None


def _put(raw: dict[str, Any], keys: list[str], value: str) -> bool:
    """Set a value below nested mappings, making those that are not there. False if one is no mapping."""
    for key in keys[:-1]:
        if raw.get(key) is None:
            raw[key] = {}
        if not isinstance(raw[key], dict):
            return False
        raw = raw[key]
    raw[keys[-1]] = value
    return True
