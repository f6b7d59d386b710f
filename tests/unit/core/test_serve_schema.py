"""The strict walk along Serve's schema: what does not fit, where, and what Serve would make of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from deployer.adapters import schemas
from deployer.core.errors import Severity
from deployer.core.serve_rules import faults as rule_faults
from deployer.core.serve_schema import (
    CONVERTED,
    DROPPED,
    REFUSED,
    UNREAD,
    Fault,
    Schema,
    ray_release,
)
from tests.unit.core.test_serve_rules import BROKEN, IN_APP, IN_DEPLOYMENT, config, deployment

NEWEST = schemas.schema()


def found(body: dict[str, Any], schema: Schema = NEWEST) -> list[tuple[str, str, str]]:
    """Each fault: where, the message, and what Serve would do."""
    return [(".".join(map(str, one.path)), one.message, one.then) for one in schema.faults(body)]


UNFIT: list[tuple[Any, ...]] = [
    (
        config({"route_prefx": "/a"}),
        f"{IN_APP}.route_prefx",
        "unknown key 'route_prefx' in application 'a' (did you mean 'route_prefix'?)",
        DROPPED,
    ),
    (
        deployment(num_replica=2),
        f"{IN_DEPLOYMENT}.num_replica",
        "unknown key 'num_replica' in deployment 'D' (did you mean 'num_replicas'?)",
        DROPPED,
    ),
    (
        {"applications": [{"import_path": "m:app", "zzz": 1}]},
        f"{IN_APP}.zzz",
        "unknown key 'zzz' in an application (Ray 2.60.0 knows none)",
        DROPPED,
    ),
    (
        config(appplications=[]),
        "appplications",
        "unknown key 'appplications' (did you mean 'applications'?)",
        DROPPED,
    ),
    (
        deployment(ray_actor_options={"num_cpu": 1}),
        f"{IN_DEPLOYMENT}.ray_actor_options.num_cpu",
        "unknown key 'num_cpu' in `ray_actor_options` (did you mean 'num_cpus'?)",
        DROPPED,
    ),
    (
        deployment(autoscaling_config={"max_replica": 2}),
        f"{IN_DEPLOYMENT}.autoscaling_config.max_replica",
        "unknown key 'max_replica' in `autoscaling_config` (did you mean 'max_replicas'?)",
        UNREAD,
    ),
    (
        config({"runtime_env": {"env_var": {}}}),
        f"{IN_APP}.runtime_env.env_var",
        "unknown key 'env_var' in a `runtime_env` (did you mean 'env_vars'?)",
        UNREAD,
    ),
    (
        config(logging_config={"log_levle": "INFO"}),
        "logging_config.log_levle",
        "unknown key 'log_levle' in `logging_config` (did you mean 'log_level'?)",
        REFUSED,
    ),
    (
        deployment(num_replicas="5"),
        f"{IN_DEPLOYMENT}.num_replicas",
        "`num_replicas` cannot be '5' (take the quotes away)",
        REFUSED,
    ),
    (
        deployment(num_replicas=1.0),
        f"{IN_DEPLOYMENT}.num_replicas",
        "`num_replicas` is a whole number or auto, not a fraction",
        CONVERTED,
    ),
    (
        deployment(max_ongoing_requests=True),
        f"{IN_DEPLOYMENT}.max_ongoing_requests",
        "`max_ongoing_requests` is a whole number, not true or false",
        CONVERTED,
    ),
    (
        config({"import_path": True}),
        f"{IN_APP}.import_path",
        "`import_path` is text, not true or false: quote it",
        CONVERTED,
    ),
    (
        deployment(placement_group_bundles=[5]),
        f"{IN_DEPLOYMENT}.placement_group_bundles.0",
        "this is a mapping, not a number",
        CONVERTED,
    ),
    (
        deployment(placement_group_bundles=[{"CPU": "x"}]),
        f"{IN_DEPLOYMENT}.placement_group_bundles.0.CPU",
        "`CPU` is a number, not text",
        CONVERTED,
    ),
    (
        deployment(max_surge_percent=101),
        f"{IN_DEPLOYMENT}.max_surge_percent",
        "`max_surge_percent` is from 0 to 100, not 101",
        REFUSED,
    ),
    (
        deployment(num_replicas=0),
        f"{IN_DEPLOYMENT}.num_replicas",
        "`num_replicas` is more than 0, not 0",
        REFUSED,
    ),
    (
        deployment(backpressure_config={"status_code": 500}),
        f"{IN_DEPLOYMENT}.backpressure_config.status_code",
        "`status_code` is one of 503 or 429, not 500",
        REFUSED,
    ),
    (
        config(logging_config={"log_level": 7}),
        "logging_config.log_level",
        "`log_level` is one of 0, ",
        REFUSED,
    ),
    (
        config(logging_config={"log_level": "INF"}),
        "logging_config.log_level",
        "`log_level` cannot be 'INF' (did you mean INFO?)",
        REFUSED,
    ),
    (
        config(proxy_location="Here"),
        "proxy_location",
        "`proxy_location` cannot be 'Here' (as text it is ",
        REFUSED,
    ),
    (
        {"applications": [{"name": "a"}]},
        IN_APP,
        "application 'a' needs `import_path`: add it",
        REFUSED,
    ),
    ({}, "", "this needs `applications`: add it", REFUSED),
    (
        deployment(gang_scheduling_config={}),
        f"{IN_DEPLOYMENT}.gang_scheduling_config",
        "this needs `gang_size`: add it",
        REFUSED,
    ),
]
"""Each once."""


@pytest.mark.parametrize(("body", "where", "message", "then"), UNFIT)
def test_what_does_not_fit_is_said(body: dict[str, Any], where: str, message: str, then: str) -> None:
    """Once, where it stands, with what Serve would do."""
    ((place, text, consequence),) = found(body)
    assert (place, consequence) == (where, then)
    assert text.startswith(message)


@pytest.mark.parametrize(
    "body",
    [
        config({"args": {"anything": [1, {"x": None}]}, "route_prefix": None}),
        deployment(user_config={"price": 3}, ray_actor_options={"num_cpus": 1, "memory": None}),
        deployment(autoscaling_config=None, num_replicas="auto"),
        deployment(placement_group_bundles=[{"CPU": 1, "GPU": 0.5}]),
        config(logging_config={"log_level": 10}, target_capacity=None),
        config(logging_config={"log_level": "DEBUG"}, target_capacity=50),
        config({"external_scaler_enabled": True, "runtime_env": {"pip": []}}),
    ],
)
def test_what_fits_passes(body: dict[str, Any]) -> None:
    """Also what only Python could say otherwise."""
    assert found(body) == []


def test_a_field_of_a_plug_in_is_a_warning() -> None:
    """A cluster can have its own fields in a `runtime_env`; a misspelled one is near one that is known."""
    (fault,) = NEWEST.faults(config({"runtime_env": {"our_own_plugin": 1}}))
    assert fault.severity is Severity.WARNING


def test_a_cluster_newer_than_all_that_is_known_may_know_more() -> None:
    """An unknown key is a warning there; a wrong value of a known one stays an error."""
    newer = schemas.schema("99.1")
    faults: list[Fault] = [*newer.faults({**deployment(num_replicas=0), "brand_new": 1})]
    assert [fault.severity for fault in faults] == [Severity.ERROR, Severity.WARNING]
    assert not newer.complete


def test_what_was_meant_is_not_looked_for_without_end() -> None:
    """A file of nothing but wrong keys is refused soon: after so many there are no more hints."""
    messages = [
        message for _, message, _ in found(deployment(**{f"num_replica_{at}": 1 for at in range(600)}))
    ]
    assert len(messages) == 600
    assert "(did you mean 'num_replicas'?)" in messages[0]
    assert "(Ray 2.60.0 knows none)" in messages[-1]


def test_a_schema_tells_which_keys_it_has() -> None:
    """Of a model that it has, and of one that it has not."""
    assert NEWEST.knows("DeploymentSchema", "max_surge_percent")
    assert not schemas.schema("2.40").knows("DeploymentSchema", "max_surge_percent")
    assert not NEWEST.knows("NoModel", "name")


@pytest.mark.parametrize(
    ("version", "release"),
    [("2.60", (2, 60)), ("2.9.3", (2, 9)), ("3.0.0.dev0", (3, 0)), ("2", None), ("new", None), ("2.x", None)],
)
def test_a_version_of_ray(version: str, release: tuple[int, int] | None) -> None:
    """Its first two numbers."""
    assert ray_release(version) == release


def test_the_schema_for_a_version() -> None:
    """The same, the next later one that is known, or the newest; none for what is older than all."""
    assert schemas.schema("2.40").ray_version == "2.40.0"
    assert schemas.schema("2.41.0").ray_version == "2.44.1"
    assert schemas.schema(None).ray_version == schemas.NEWEST
    assert schemas.schema("2.60.7").complete
    with pytest.raises(ValueError, match="older than"):
        schemas.schema("1.13")
    with pytest.raises(ValueError, match="no version of Ray"):
        schemas.schema("latest")


@pytest.mark.parametrize("known", schemas.KNOWN)
def test_every_known_schema_can_be_walked(known: str) -> None:
    """A plain config passes all, a typo none."""
    schema = schemas.schema(known)
    plain = deployment(num_replicas=2, user_config={"a": 1}, ray_actor_options={"num_cpus": 0.5})
    assert found(plain, schema) == []
    assert len(found(deployment(num_replica=2), schema)) == 1


def said() -> str:
    """Every message of the schema and of the rules, with what Serve would do, one for each case above."""
    lines = []
    for body, *_ in (*UNFIT, *BROKEN):
        for fault in (*NEWEST.faults(body), *rule_faults(body)):
            where = ".".join(map(str, fault.path))
            lines.append(
                f"{fault.severity} {fault.code} at {where or '-'}\n  {fault.message}.\n  {fault.then}.\n"
            )
    return "\n".join(lines)


def test_every_message_reads_as_it_was_reviewed() -> None:
    """`UPDATE_SNAPSHOTS=1` writes the file anew; git shows what changed."""
    file = Path(__file__).parent / "snapshots" / "serve_config.txt"
    if "UPDATE_SNAPSHOTS" in os.environ:
        file.write_text(said())
    assert said() == file.read_text()
