"""Inputs, each made from a seed and a number, so that any one of a million can be made again alone.

Owns how inputs are made: configs and policies drawn along their own structure, written in the many ways of
YAML, and then damaged. Must not know what is expected of them. Invariant: the same seed and number make the
same input, whatever ran before; and most inputs are small, since a small one shows the same bug sooner.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from deployer.adapters.schemas import schema
from deployer.core.fields import EACH
from deployer.core.policy import KEYS
from tests.fuzz.target import CANARY, Input

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONFIGS = Path(__file__).parents[1] / "schemas" / "configs"
_FILES = tuple(path.read_bytes() for path in sorted(_CONFIGS.glob("*.yaml")))

_SECRETS = ({"TOKEN": CANARY}, {"A": CANARY, "B": "2"}, {"A": CANARY, "B": 5})
_LOGIN = f"https://user:{CANARY}@example.com/4f1c2d3a5b6c7d8e9f.zip"

_WORST: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 101, 0.5, 1e300, 10**40, "", "x", "5", "auto", "/x", "/x/", "a/b"),
    *("a:b", "a.b.c", "a:", "::", "INFO", "off", "017", "1:30", "2001-01-01", "~", "<<", "=", "./x", _LOGIN),
    *("in(a, b)", "!a", "é", "😀", "\u202e", "\0", "\x1b[31m", "a\nb", "a" * 70, "30s", "10m", "2.60", "*a"),
    *([], [1], ["x"], {}, {"x": 1}, {"CPU": 1}, [{}], [{"CPU": 1}], {"name": "A"}, [None], *_SECRETS),
)
"""What stands where something else is expected."""

_TOKENS = tuple(
    token.encode("utf-8", "surrogatepass")
    for token in (
        *("\n", "\r", "\r\n", "\t", " ", "  ", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\ud83d"),
        *(":", ": ", "- ", "? ", ", ", "[", "]", "{", "}", "#", " # ", "|", ">", "|2-", ">+", "'", '"', "\\"),
        *("&a ", "*a", "*a ", "&a", "<<: *a", "<<: [*a, *a]", "!", "!!str ", "!!int ", "!!binary ", "!x!y "),
        *("!<tag:yaml.org,2002:int> ", "!!python/name:os.system ", "%YAML 1.1\n---\n", "%TAG ! x\n", "---\n"),
        *("...\n", "=", "~", ".nan", "-.inf", "1e400", "0x", "0b", "0o7", "1_0", "1:1", "9" * 65, "off"),
        *('"\\ud83d"', '"\\0"', '"\\UFFFFFFFF"', '"\\x9b"', "2001-01-01", "# deployer: allow yaml-surprise"),
        *(f"env_vars: {{TOKEN: {CANARY}}}", f"password: {CANARY}", f"https://user:{CANARY}@h/x.zip", "://"),
        *("applications", "name", "import_path", "num_replicas", "runtime_env", "checks", "deployments", "@"),
        *("# deployer: allow nothing, x", "é", "😀", "\xe9", "null", "name: a\n", "- {}\n", "{a: b}", "[b]"),
    )
)
"""What is put into a file: each means something to YAML, to Serve or to us."""


def make(seed: int, number: int) -> Input:
    """The input of this number. A third are policies; one in sixteen is compared with PyYAML."""
    rng = Random(f"{seed} {number}")
    compared = rng.random() < 1 / 16
    if rng.random() < 1 / 3:
        rules = _damage(rng, _write(rng, _policy(rng, ())))
        # A sound config beside it, to which it must fit.
        config = (
            b"applications: [{name: a, import_path: 'm:a', route_prefix: /a}]" if rng.random() < 0.5 else None
        )
        return Input(config=config, policy=rules, compared=compared)
    if rng.random() < 1 / 8:
        return Input(config=_mutate(rng, rng.choice(_FILES)), compared=compared)
    return Input(config=_damage(rng, _write(rng, _config(rng))), compared=compared)


# --- values ----------------------------------------------------------------------------------------------


def _config(rng: Random) -> Any:
    """A config along the schema of the newest Ray: sound, or nearly so."""
    nodes = schema().root
    oddity = rng.choice((0.0, 0.0, 0.02, 0.1))
    config = _value(rng, nodes, nodes["$defs"], oddity, "")
    if not isinstance(config, dict):
        return config
    applications = config.get("applications")
    if isinstance(applications, list) and rng.random() < 0.9:
        for number, application in enumerate(applications):
            if isinstance(application, dict):
                application |= {"name": f"a{number}", "import_path": "m:app", "route_prefix": f"/a{number}"}
    if rng.random() < 0.1 and isinstance(applications, list) and applications:
        return applications[0]
    return config


_WORDS = {
    "import_path": ("m:app", "a.b:c"),
    "name": ("a", "b", "D"),
    "working_dir": (_LOGIN, "https://h/main.zip", "local:///x"),
    "py_modules": ([_LOGIN], ["s3://b/x.whl"]),
    "env_vars": _SECRETS,
    "pip": (["a"], {"packages": ["a"]}),
    "route_prefix": ("/", "/a", "/b"),
}


def _value(rng: Random, node: Mapping[str, Any], defs: Mapping[str, Any], oddity: float, key: str) -> Any:
    if rng.random() < oddity:
        return rng.choice(_WORST)
    if key in _WORDS:
        return rng.choice(_WORDS[key])
    if "$ref" in node:
        return _value(rng, defs[node["$ref"].rpartition("/")[2]], defs, oddity, "")
    if "anyOf" in node:
        return _value(rng, rng.choice(node["anyOf"]), defs, oddity, "")
    if "enum" in node:
        return rng.choice(node["enum"])
    match node.get("type"):
        case "object" if "properties" in node:
            known, required = node["properties"], node.get("required", ())
            share = rng.choice((0.1, 0.1, 0.3))
            value = {
                name: _value(rng, below, defs, oddity, name)
                for name, below in known.items()
                if name in required or name in {"deployments", "applications"} or rng.random() < share
            }
            if rng.random() < oddity:
                value[rng.choice([*known])[:-1] + rng.choice(("", "x", "é"))] = rng.choice(_WORST)
            return value
        case "object":
            return rng.choice(({}, {"a": 1}, {"a": "b"}, *_SECRETS))
        case "array":
            return [
                _value(rng, node.get("items", {}), defs, oddity, "") for _ in range(rng.choice((0, 1, 1, 2)))
            ]
        case "integer" | "number":
            return rng.choice((node.get("minimum", 1), 1, 2, 8, 64))
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case "string":
            return rng.choice(("a", "b c", "x", _LOGIN))
        case _:
            return rng.choice(_WORST)


_VALUES: Mapping[str, tuple[Any, ...]] = {
    "app": ("a",),
    "path": ("/a", "/a?x=1", "/", "//x", "/a b", f"/a?https://user:{CANARY}@h"),
    "ray_version": ("2.60", "2.9.3", 2.6),
    "drift": ("heal", "alert", "ignore"),
    "owns": (["a"], ["a", "b"], []),
    "status": (200, 404, 600),
    "json": ({"a": 1}, {"password": CANARY}),
    "body": ({"a": 1}, [1], {"token": CANARY}),
    "method": ("GET", "POST", "get"),
    **dict.fromkeys(("max_flaps", "fail_fast_after", "heals_per_hour", "retries"), (0, 1, 2)),
    **dict.fromkeys(("on", "delete"), (True, False)),
}
"""What stands under the keys of a policy; under all others stands a duration."""


def _policy(rng: Random, group: tuple[str | int, ...]) -> Any:
    """A policy along its own keys."""
    if rng.random() < 0.03:
        return rng.choice(_WORST)
    value: dict[str, Any] = {}
    for key in KEYS[group].obeyed:
        if rng.random() < 0.6:
            continue
        if (*group, key) in KEYS:
            value[key] = _policy(rng, (*group, key))
        elif (*group, key, EACH) in KEYS:
            value[key] = [_policy(rng, (*group, key, EACH)) for _ in range(rng.randint(0, 2))]
        elif rng.random() < 0.05:
            value[key] = rng.choice(_WORST)
        else:
            value[key] = rng.choice(_VALUES.get(key, ("30s", "1m", "5s")))
    if rng.random() < 0.05:
        value[rng.choice(("healt", "on", "yes", "é", "check"))] = rng.choice(_WORST)
    return value


# --- files -----------------------------------------------------------------------------------------------


def _write(rng: Random, value: Any) -> bytes:
    """The value as YAML, in one of the ways in which people and programs write it."""
    if rng.random() < 0.2:
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    else:
        text = "\n".join(_block(rng, value, 0)) + "\n"
    if rng.random() < 0.1:
        text = text.replace("\n", rng.choice(("\r\n", "\r")))
    if rng.random() < 0.05:
        text = "\ufeff" + text
    return text.encode("utf-8", "surrogatepass")


def _block(rng: Random, value: Any, depth: int) -> list[str]:
    """The lines of a value in block style; a collection below may be in flow style."""
    indent = "  " * depth
    comment = (
        rng.choice(("  # deployer: allow yaml-surprise", "  # a comment")) if rng.random() < 0.02 else ""
    )
    match value:
        case dict() if value:
            lines = []
            for key, inner in value.items():
                anchor = " &a" if rng.random() < 0.01 else ""
                if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
                    below = _block(rng, inner, depth + 1)
                    lines += [f"{indent}{_scalar(rng, key)}:{anchor}{comment}", *below]
                else:
                    lines.append(f"{indent}{_scalar(rng, key)}:{anchor} {_flow(rng, inner)}{comment}")
            return lines
        case list() if value:
            lines = []
            for inner in value:
                if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
                    first, *others = _block(rng, inner, depth + 1)
                    lines += [f"{indent}- {first.lstrip()}", *others]
                else:
                    lines.append(f"{indent}- {_flow(rng, inner)}{comment}")
            return lines
        case _:
            return [f"{indent}{_flow(rng, value)}"]


def _flow(rng: Random, value: Any) -> str:
    match value:
        case dict():
            inside = ", ".join(f"{_scalar(rng, key)}: {_flow(rng, inner)}" for key, inner in value.items())
            return f"{{{inside}}}"
        case list():
            return f"[{', '.join(_flow(rng, inner) for inner in value)}]"
        case _:
            return "*a" if rng.random() < 0.005 else _scalar(rng, value)


def _scalar(rng: Random, value: object) -> str:
    """Plain if that might do, or quoted."""
    if isinstance(value, str):
        style = rng.random()
        if style < 0.6 and value and value.isprintable():
            return value
        return f"'{value}'" if style < 0.8 and value.isprintable() and "'" not in value else json.dumps(value)
    return rng.choice(("", "~", "null")) if value is None else json.dumps(value)


# --- damage ----------------------------------------------------------------------------------------------


def _damage(rng: Random, data: bytes) -> bytes:
    """Nearly half of what was drawn stays as it is."""
    return data if rng.random() < 0.45 else _mutate(rng, data)


def _mutate(rng: Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = _mutated(rng, data)
    return data[: 64 * 1024]


def _mutated(rng: Random, data: bytes) -> bytes:
    """One thing put in, taken out, moved or repeated, at a place between any two bytes, or of whole lines."""
    at = rng.randint(0, len(data))
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 30)))
    lines = data.splitlines(keepends=True) or [b""]
    line = rng.randrange(len(lines))
    match rng.randrange(12):
        case 0:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + data[at:end] * rng.choice((2, 3, 40)) + data[end:]
        case 3 | 4 | 5:
            return data[:at] + rng.choice(_TOKENS) + data[at:]
        case 6:
            return data[:at] + rng.choice(_TOKENS) + data[end:]
        case 7:
            return data[:at]
        case 8:
            return b"".join((*lines[:line], *lines[line + 1 :]))
        case 9:
            return b"".join(
                (*lines[: line + 1], *lines[line : line + rng.choice((1, 1, 3))], *lines[line + 1 :])
            )
        case 10:
            other = rng.randrange(len(lines))
            lines[line], lines[other] = lines[other], lines[line]
            return b"".join(lines)
        case _:
            lines[line] = rng.choice((b" ", b"  ", b"- ", b"\t")) + lines[line]
            return b"".join(lines)
