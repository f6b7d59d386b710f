"""Which options of two configs differ, as Serve compares them.

Owns what Serve takes for equal: its types, its defaults, and the parts of the code version. Must not know
what follows from a difference. Invariant: nothing differs that Serve makes the same of, and no value is
kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployer.core import restart_rules as rules
from deployer.core.compare import first_difference

ABSENT: Final = object()
"""The value of an option that a config does not set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A changed option, before it is known what follows."""

    name: str
    """As in the rules: `ray_actor_options.num_cpus`."""
    restart: rules.Restart | None
    """What its rule says; None: this Ray does not know it."""
    added: bool
    removed: bool
    hidden: bool
    """Serve compares as Python does, to which 1 is 1.0, and then hashes as JSON, to which it is not."""

    @property
    def path(self) -> tuple[str, ...]:
        """`("ray_actor_options", "num_cpus")`."""
        return tuple(self.name.split("."))


def differing(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str, ray: rules.Version
) -> Iterator[Option]:
    """The options that differ, of a deployment or, where `where` is empty, of an application."""
    for key in sorted({*old, *new} - {"name", "deployments"}):
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if where and key in rules.MODELS and isinstance(before, Mapping) and isinstance(after, Mapping):
            for field in sorted({*before, *after}):
                yield from _option(
                    f"{key}.{field}", before.get(field, ABSENT), after.get(field, ABSENT), where, ray
                )
        else:
            yield from _option(key, before, after, where, ray)


def _option(name: str, old: object, new: object, where: str, ray: rules.Version) -> Iterator[Option]:
    if name == "ray_actor_options.num_cpus":
        # Serve fills in the integer, and makes a float of what a config says.
        old, new = (1 if value in (ABSENT, None) else _as_float(value) for value in (old, new))
    if equal(name, old, new):
        return
    of = rules.of_deployment if where else rules.of_application
    is_field = "." in name
    yield Option(
        name=name,
        restart=of(name, ray),
        added=old is ABSENT and not is_field,
        removed=new is ABSENT and not is_field,
        hidden=bool(where) and old == new,
    )


def equal(name: str, old: object, new: object) -> bool:
    """Whether Serve makes the same of both."""
    old, new = (rules.DEFAULTS.get(name, ABSENT) if value is ABSENT else value for value in (old, new))
    if old is ABSENT or new is ABSENT:
        return old is new
    if name in rules.RAW or name == "ray_actor_options.num_cpus":
        return _json(old) == _json(new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        filled = rules.FILLED.get(name, {})
        old, new = {**filled, **old}, {**filled, **new}
    key = name.rpartition(".")[2]
    # Each may be the one that is written as Serve writes it.
    return any(
        first_difference({"option": {key: one}}, {"option": {key: other}}, strict=True) is None
        for one, other in ((old, new), (new, old))
    )


def _as_float(value: object) -> object:
    return float(value) if isinstance(value, int | float) else value


def code_parts(application: Mapping[str, Any], ray: rules.Version) -> dict[str, str]:
    """The parts of the code version, by option. Those of deployments are lists without their names."""
    deployments = [entry for entry in application.get("deployments") or () if isinstance(entry, Mapping)]
    parts: dict[str, object] = {"import_path": application.get("import_path")}
    for key in ("runtime_env", "args"):
        parts[key] = application.get(key, rules.DEFAULTS[key])
    if ray >= rules.POLICIES_IN_CODE:
        scaled = [entry.get("autoscaling_config") for entry in deployments]
        routers = [entry.get("request_router_config") for entry in deployments]
        parts["autoscaling_policy"] = application.get("autoscaling_policy")
        parts["autoscaling_config.policy"] = [one.get("policy") for one in scaled if isinstance(one, Mapping)]
        parts["request_router_config"] = [one for one in routers if isinstance(one, Mapping)]
    if ray >= rules.ACTORS_IN_CODE:
        actors = [entry.get("deployment_actors") for entry in deployments]
        parts["deployment_actors"] = [one for one in actors if isinstance(one, list)]
    return {name: _json(part) for name, part in parts.items()}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
