"""How a rollout is judged: `environment.yaml`, read at the commit being deployed.

Owns the file's keys and what they mean. Must not know the daemon's settings: nothing in this file says
where a commit goes, who approves it, or with which credentials. Invariant: a key that is not obeyed is an
error. One that was skipped silently would promise a check which nobody makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from deployer.core import durations, yaml
from deployer.core.document import Document, kind
from deployer.core.redact import Path, quote
from deployer.core.textfile import invalid
from deployer.core.types import Deadlines, Policy

if TYPE_CHECKING:
    from deployer.core.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """A mapping's keys: those that are obeyed, and those that a later version will."""

    obeyed: tuple[str, ...]
    later: tuple[str, ...] = ()


_KEYS: dict[Path, _Keys] = {
    (): _Keys(
        obeyed=("health", "rollback"), later=("ray_version", "owns", "checks", "soak", "drift", "allow")
    ),
    ("health",): _Keys(obeyed=("deadlines",), later=("stability_window", "max_flaps", "fail_fast_after")),
    ("health", "deadlines"): _Keys(obeyed=("build", "schedule", "start")),
    ("rollback",): _Keys(obeyed=("on", "deadline")),
}


def parse(data: bytes, file: str) -> Policy:
    """Read a policy. `file` is its name in messages. What is not given has the default; so has an empty file.

    Raises InvalidConfig with every problem found.
    """
    # YAML 1.1 reads a plain `on` as true, also as a key; here it is the key `on`.
    reader = _Reader(yaml.load(data, file, keys_as_written=True))
    default = Policy()
    policy = Policy(
        deadlines=Deadlines(
            build=reader.seconds(("health", "deadlines", "build"), default.deadlines.build),
            schedule=reader.seconds(("health", "deadlines", "schedule"), default.deadlines.schedule),
            start=reader.seconds(("health", "deadlines", "start"), default.deadlines.start),
        ),
        rollback=reader.switch(("rollback", "on"), default=default.rollback),
        rollback_deadline=reader.seconds(("rollback", "deadline"), default.rollback_deadline),
    )
    if reader.problems:
        raise invalid(reader.problems)
    return policy


class _Reader:
    """Looks values up in the document, and collects what is wrong with it."""

    def __init__(self, document: Document) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._values: dict[Path, Any] = {}
        self._flatten((), document.value)

    def seconds(self, path: Path, default: float) -> float:
        """The duration at this path."""
        if path not in self._values:
            return default
        value = self._values[path]
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Also `1:30`, which YAML 1.1 reads as 90.
            self._wrong(path, f"{_dotted(path)} needs a unit: write it as 30s, 10m or 1h30m")
        elif not isinstance(value, str):
            self._wrong(path, f"{_dotted(path)} is a duration such as 30s, 10m or 1h30m, not {kind(value)}")
        else:
            try:
                seconds = durations.parse(value)
            except ValueError as error:
                self._wrong(path, f"{_dotted(path)}: {error}")
            else:
                if seconds > 0:
                    return seconds
                self._wrong(path, f"{_dotted(path)} must be longer than nothing")
        return default

    def switch(self, path: Path, *, default: bool) -> bool:
        """The true or false at this path."""
        value = self._values.get(path, default)
        if isinstance(value, bool):
            return value
        self._wrong(path, f"{_dotted(path)} is true or false, not {kind(value)}")
        return default

    def _flatten(self, path: Path, value: object) -> None:
        """Sort the values below a mapping by path, and say which keys do not belong there."""
        if value is None:
            return
        keys = _KEYS[path]
        if not isinstance(value, dict):
            what = f"{_dotted(path)} is" if path else "this file is"
            self._wrong(path, f"{what} a mapping with the keys {', '.join(keys.obeyed)}, not {kind(value)}")
            return
        for key, item in value.items():
            here = (*path, key)
            if here in _KEYS:
                self._flatten(here, item)
            elif key in keys.obeyed:
                self._values[here] = item
            elif key in keys.later:
                self._wrong(here, f"{_dotted(here)} is not supported by this version yet: remove it")
            else:
                close = get_close_matches(key, (*keys.obeyed, *keys.later), n=1)
                hint = (
                    f"did you mean {quote(close[0])}?" if close else f"known here: {', '.join(keys.obeyed)}"
                )
                self._wrong(here, f"unknown key {quote(key)} ({hint})")

    def _wrong(self, path: Path, message: str) -> None:
        self.problems.append(self._document.problem(path, message, at_key=path not in self._values))


def _dotted(path: Path) -> str:
    return ".".join(str(key) for key in path)
