"""Is a value what Serve's schema says it is?

Owns the walk of a value along the JSON Schema that was made of Ray's own models (`adapters/schemas`), and the
words for what does not fit. Must not know where the schema comes from. Invariant: a key or a value that Ray
would drop, convert or keep unread never gets through without a word.

Stricter than Ray in three ways, since Ray answers 200 to all of them (measured, 2.60): an unknown key, which
it drops; a value of another type that it converts (`"5"`, true for 1); and an unknown key of
`autoscaling_config` or of a `runtime_env`, which it keeps and never reads.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from deployer.core.document import kind
from deployer.core.errors import Severity
from deployer.core.redact import Path, quote

Node = Mapping[str, Any]

_NUMBER = re.compile(r"[0-9]{1,9}")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?(?:[.\-+a-z].*)?")

_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing (null)",
}
_NAMED = {"ServeApplicationSchema": "application", "DeploymentSchema": "deployment"}
_WHERE = {
    "ServeApplicationSchema": "an application",
    "DeploymentSchema": "a deployment",
    "RayActorOptionsSchema": "`ray_actor_options`",
    "AutoscalingConfig": "`autoscaling_config`",
    "RuntimeEnv": "a `runtime_env`",
    "HTTPOptionsSchema": "`http_options`",
    "gRPCOptionsSchema": "`grpc_options`",
    "LoggingConfig": "`logging_config`",
    "RequestRouterConfig": "`request_router_config`",
}
"""Ray's models in the words of a config."""

_UNREAD = frozenset({"AutoscalingConfig", "RuntimeEnv"})
"""What is a plain mapping to Serve's own schema, so that any key in it is kept."""

_LIMITS = (
    ("minimum", operator.ge, "{} or more"),
    ("exclusiveMinimum", operator.gt, "more than {}"),
    ("maximum", operator.le, "{} or less"),
    ("exclusiveMaximum", operator.lt, "less than {}"),
)
"""The limits of numbers that pydantic writes."""

_MAX_HINTS = 500
"""Looking for the word that is meant takes 0.3 ms, so for the 7,000 keys of a bad file more than 2 s."""

DROPPED = "Serve would drop it without a word"
REFUSED = "Serve would refuse the whole config"
UNREAD = "Serve would keep it and never read it"
CONVERTED = "Serve would refuse it, or silently make something else of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What does not fit, where, and what Serve would make of it. `at_key`: the key itself is wrong."""

    path: Path
    message: str
    then: str = REFUSED
    code: str = "wrong-value"
    at_key: bool = False
    severity: Severity = Severity.ERROR


def ray_release(version: str) -> tuple[int, int] | None:
    """Major and minor number of a Ray version: `2.60`, `2.60.1`, `3.0.0.dev0`; None if it is none."""
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2])) if found else None


class Schema:
    """The schema of one Ray version.

    `complete` is False for a cluster newer than all that is known: what has no name here may have one there,
    so that an unknown key is a warning.
    """

    def __init__(self, ray_version: str, root: Node, *, complete: bool = True) -> None:
        """Take the schema: a JSON Schema with `$defs`, of the keywords that pydantic writes."""
        self.ray_version = ray_version
        self.root = root
        self.complete = complete
        self._defs: Mapping[str, Node] = root["$defs"]

    def faults(self, config: Mapping[str, Any]) -> Iterator[Fault]:
        """Everything in a whole config (the multi-application form) that does not fit, in its order."""
        return self._walk(self.root, config, (), "", iter(range(_MAX_HINTS)))

    def knows(self, model: str, key: str) -> bool:
        """Whether a model, such as `DeploymentSchema`, has this key."""
        return key in self._defs.get(model, {}).get("properties", {})

    def _walk(
        self, node: Node, value: object, path: Path, model: str, hints: Iterator[int]
    ) -> Iterator[Fault]:
        choices = [*self._choices(node, model)]
        fitting = [(choice, name) for choice, name in choices if _is_kind(choice, value)]
        if not fitting:
            yield _wrong_kind([choice for choice, _ in choices], value, path)
            return
        # Of two mappings the one that names its keys: the other takes anything, and is there for Python.
        node, model = next((pair for pair in fitting if "properties" in pair[0]), fitting[0])
        match value:
            case dict():
                yield from self._mapping(node, value, path, model, hints)
            case list():
                for index, item in enumerate(value):
                    yield from self._walk(node.get("items", {}), item, (*path, index), "", hints)
            case bool() | None:
                pass
            case int() | float():
                yield from _number([choice for choice, _ in fitting], value, path)
            case _:
                yield from _text([choice for choice, _ in fitting], value, path, hints)

    def _choices(self, node: Node, model: str) -> Iterator[tuple[Node, str]]:
        """The alternatives of a node, each with the name of the model that it is."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            yield from self._choices(self._defs[name], name)
        elif "anyOf" in node:
            for choice in node["anyOf"]:
                yield from self._choices(choice, model)
        else:
            yield node, model

    def _mapping(
        self, node: Node, value: Mapping[str, Any], path: Path, model: str, hints: Iterator[int]
    ) -> Iterator[Fault]:
        known: Mapping[str, Node] | None = node.get("properties")
        others = node.get("additionalProperties", True)
        for key, item in value.items():
            here = (*path, key)
            if known is not None and key in known:
                yield from self._walk(known[key], item, here, "", hints)
            elif isinstance(others, Mapping):
                yield from self._walk(others, item, here, "", hints)
            elif known is not None:
                close = _near(key, known, hints)
                where = _where(model, value)
                yield self._unknown(key, close, here, model, where, is_refused=others is False)
        for key in node.get("required", ()):
            if key not in value:
                where = _where(model, value) or "this"
                yield Fault(path=path, message=f"{where} needs `{key}`: add it", code="missing-key")

    def _unknown(
        self, key: str, close: list[str], path: Path, model: str, where: str, *, is_refused: bool
    ) -> Fault:
        where = f" in {where}" if where else ""
        hint = f"did you mean {quote(close[0])}?" if close else f"Ray {self.ray_version} knows none"
        # A plug-in of the cluster may have a field of its own in a `runtime_env`; a typo has a neighbour.
        is_sure = self.complete and (bool(close) or model != "RuntimeEnv")
        return Fault(
            path=path,
            message=f"unknown key {quote(key)}{where} ({hint})",
            then=REFUSED if is_refused else UNREAD if model in _UNREAD else DROPPED,
            code="unknown-key",
            at_key=True,
            severity=Severity.ERROR if is_sure else Severity.WARNING,
        )


def _where(model: str, value: Mapping[str, Any]) -> str:
    """The mapping in the words of a config, with its name if it has one."""
    name = value.get("name")
    if model in _NAMED and isinstance(name, str) and name:
        return f"{_NAMED[model]} {quote(name)}"
    return _WHERE.get(model, "")


def _wrong_kind(choices: list[Node], value: object, path: Path) -> Fault:
    # That an option may be null is no help to who wrote something else: it can be left out.
    typed = [choice for choice in choices if choice["type"] != "null"] or choices
    kinds = dict.fromkeys(_words(choice) for choice in typed)
    what = _named(path)
    found = "a fraction" if isinstance(value, float) and "a whole number" in kinds else kind(value)
    hint = ": quote it" if [*kinds] == ["text"] and isinstance(value, bool | int | float) else ""
    return Fault(
        path=path,
        message=f"{what} is {_listed([*kinds])}, not {found}{hint}",
        then=CONVERTED,
        code="wrong-type",
    )


def _words(node: Node) -> str:
    """What a value of this node is: its only words, or its kind."""
    if node["type"] == "string" and "enum" in node:
        return _listed(node["enum"])
    return _KINDS[node["type"]]


def _is_kind(node: Node, value: object) -> bool:
    match node.get("type"):
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
        case _:
            return True


def _number(choices: list[Node], value: float, path: Path) -> Iterator[Fault]:
    found = [_outside(choice, value) for choice in choices]
    if all(found):
        yield Fault(path=path, message=f"{_named(path)} is {found[0]}, not {value}", code="out-of-range")


def _outside(node: Node, value: float) -> str:
    """What the number must be and is not; "" if it fits."""
    if "enum" in node:
        return "" if value in node["enum"] else f"one of {_listed(node['enum'])}"
    if "minimum" in node and "maximum" in node:
        low, high = node["minimum"], node["maximum"]
        return "" if low <= value <= high else f"from {low:g} to {high:g}"
    given = [key for key, _, _ in _LIMITS if key in node]
    if all(holds(value, node[key]) for key, holds, _ in _LIMITS if key in given):
        return ""
    return " and ".join(words.format(f"{node[key]:g}") for key, _, words in _LIMITS if key in given)


def _text(choices: list[Node], value: object, path: Path, hints: Iterator[int]) -> Iterator[Fault]:
    words = [word for choice in choices for word in choice.get("enum", ())]
    if words and all("enum" in choice for choice in choices) and value not in words:
        close = _near(str(value), words, hints)
        what = f"did you mean {close[0]}?" if close else f"as text it is {_listed(words)}"
        if _NUMBER.fullmatch(str(value)):
            what = "take the quotes away"
        what = f"{_named(path)} cannot be {quote(str(value))} ({what})"
        yield Fault(path=path, message=what, code="wrong-value")


def _named(path: Path) -> str:
    """The key of a value. It can be anybody's: an environment variable, a label, a header."""
    return f"`{quote(path[-1])[1:-1]}`" if path and isinstance(path[-1], str) else "this"


def _near(word: str, known: Iterable[str], hints: Iterator[int]) -> list[str]:
    """The known word that is meant, if there is one; none once so many have been looked for."""
    return get_close_matches(word, known, n=1) if next(hints, None) is not None else []


def _listed(values: list[Any]) -> str:
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last
