"""The editors' schemas say nothing that deployer does not say, and know every key that it knows."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema.validators  # type: ignore[import-untyped]  # it publishes no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters import schemas
from deployer.core import durations, editor_schema, policy, serve_config, yaml
from deployer.core.errors import InvalidConfig
from deployer.core.serve_schema import Schema

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "tests/schemas/configs").glob("*.yaml"))
BODIES = [serve_config.read(file.read_bytes(), file.name).config.body() for file in CONFIGS]
FREE = {"args", "user_config", "runtime_env", "label_selector", "placement_group_bundle_label_selector"}
"""Values in which more may stand than a schema says, or less."""
WORST: list[Any] = [
    *(None, True, 0, 1, -1, 101, 0.5, 1.0, "", "x", "5", "auto", "/x", "/x/", "/", "a:b", "a.b.c", "a:"),
    *("a:b:c", ".a", "INFO", "JSON", "0.5", [], [1], ["x"], {}, {"x": 1}, {"CPU": 1}, [{}], {"name": "A"}),
]


def validator(schema: dict[str, Any]) -> Any:
    """Checks documents against this schema, which must be one."""
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@cache
def of_serve(ray_version: str = schemas.NEWEST) -> Any:
    """For a Serve config."""
    return validator(editor_schema.serve(schemas.schema(ray_version)))


@cache
def of_environment() -> Any:
    """For an `environment.yaml`."""
    return validator(editor_schema.environment())


@cache
def of_duration(*, zero: bool) -> Any:
    """For a length of time."""
    return validator(editor_schema.duration(zero=zero))


def faults(check: Any, document: object) -> list[str]:
    """What an editor would show."""
    return [f"{fault.json_path}: {fault.message}" for fault in check.iter_errors(document)]


def takes(body: object) -> bool:
    """Whether deployer takes this Serve config."""
    try:
        serve_config.read(json.dumps(body).encode(), "f", schemas.schema())
    except InvalidConfig:
        return False
    return True


def policy_of(text: str) -> object:
    """The values of an `environment.yaml`, and that deployer takes it."""
    policy.parse(text.encode(), "f")
    return yaml.load(text.encode(), "f", keys_as_written=True).value


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a tree, but for what is inside values that anything may be in."""
    if path and path[-1] in FREE:
        return [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, item in inside for below in places(item, (*path, key)))]


def at(body: Any, path: tuple[Any, ...]) -> Any:
    """The value at this place."""
    for key in path:
        body = body[key]
    return body


@pytest.mark.parametrize("ray_version", schemas.KNOWN)
def test_every_known_ray_has_a_sound_schema(ray_version: str) -> None:
    """It is a schema by its own dialect, and takes the least config, but no empty number of replicas."""
    least: dict[str, Any] = {"name": "fruit", "import_path": "market:app", "deployments": [{"name": "A"}]}
    assert faults(of_serve(ray_version), {"applications": [least]}) == []
    least["deployments"][0]["num_replicas"] = None
    assert faults(of_serve(ray_version), {"applications": [least]}) != []


@pytest.mark.parametrize("body", BODIES, ids=[file.stem for file in CONFIGS])
def test_every_documented_style_passes(body: dict[str, Any]) -> None:
    """All that Serve's documentation shows, in the form with several applications."""
    assert faults(of_serve(), body) == []


@pytest.mark.parametrize("body", BODIES, ids=[file.stem for file in CONFIGS])
def test_a_typo_does_not_at_any_level(body: dict[str, Any]) -> None:
    """An unknown key in each mapping that is not the user's own: refused where deployer refuses it."""
    refused = set()
    for path in places(body):
        if isinstance(at(body, path), dict) and not {*path} & FREE:
            bent = copy.deepcopy(body)
            at(bent, path)["num_replica"] = 2
            found = faults(of_serve(), bent)
            assert (found == []) == takes(bent), (path, found)
            if found:
                refused.add(path[-1] if path else "")
    assert {"", 0} <= refused


@given(data=st.data())
def test_an_editor_never_complains_of_what_deployer_takes(data: st.DataObject) -> None:
    """However a good config is bent."""
    body = copy.deepcopy(data.draw(st.sampled_from(BODIES)))
    path = data.draw(st.sampled_from([one for one in places(body) if one]))
    if data.draw(st.booleans()):
        at(body, path[:-1])[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(WORST)))
    else:
        del at(body, path[:-1])[path[-1]]
    if takes(body):
        assert faults(of_serve(), body) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"runtime_env": {"env_vars": {"UPLOAD": False}}}, "$.applications[0].runtime_env.env_vars.UPLOAD"),
        ({"route_prefix": "nope"}, "$.applications[0].route_prefix"),
        ({"route_prefix": "/x/"}, "$.applications[0].route_prefix"),
        ({"import_path": "market"}, "$.applications[0].import_path"),
        ({"name": "a/b"}, "$.applications[0].name"),
        ({"name": ""}, "$.applications[0].name"),
        ({"port": 8000}, "$.applications[0]"),
    ],
)
def test_what_breaks_serve_is_seen_while_one_types(change: dict[str, Any], where: str) -> None:
    """The mistakes that Serve takes with a 200."""
    body = {"applications": [{"name": "fruit", "import_path": "market:app", **change}]}
    assert not takes(body)
    assert [fault.partition(": ")[0] for fault in faults(of_serve(), body)] == [where]


def test_no_capacity_is_none_of_the_choices() -> None:
    """0 would leave no replica of anything."""
    assert faults(of_serve(), {"applications": [], "target_capacity": 0})
    assert not faults(of_serve(), {"applications": [], "target_capacity": 0.5})


def test_a_newer_ray_may_know_more() -> None:
    """Past the newest that is known an unknown key passes, and a wrong value does not."""
    newer = validator(editor_schema.serve(schemas.schema("99.0")))
    app: dict[str, Any] = {"name": "fruit", "import_path": "market:app", "new": 1}
    assert faults(newer, {"applications": [app], "new": 1}) == []
    assert faults(newer, {"applications": [{**app, "args": 1}]})


def test_a_nameless_mapping_is_closed_too() -> None:
    """Ray has such ones only where its own models close them; another one may not."""
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    root = copy.deepcopy(dict(schemas.schema().root))
    root["properties"]["nameless"] = inner
    check = validator(editor_schema.serve(Schema("2.60.0", root)))
    assert faults(check, {"applications": [], "nameless": {"a": "x"}}) == []
    assert faults(check, {"applications": [], "nameless": {"b": "x"}})


def test_the_documented_environment_passes() -> None:
    """The example of docs/environment.md, which has every key, and those of the demo."""
    text = (ROOT / "docs/environment.md").read_text()
    examples = [
        *re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE),
        *(file.read_text() for file in ROOT.glob("environments/*/environment.yaml")),
        "",
        "health:\nchecks:\nrollback:\nallow:\nowns:\n",
    ]
    for example in examples:
        assert faults(of_environment(), policy_of(example)) == [], example


@pytest.mark.parametrize(
    "text",
    [
        "healt: {}",
        "health: {stability_windw: 3s}",
        "health: {deadlines: {build: 0s}}",
        "health: {max_flaps: -1}",
        "checks: [{app: fruit}]",
        "checks: [{app: fruit, path: fruit}]",
        "checks: [{app: fruit, path: //x}]",
        "checks: [null]",
        "checks: [{app: fruit, path: /, expect: {stauts: 200}}]",
        "checks: [{app: fruit, path: /, expect: {status: 99}}]",
        "checks: [{app: fruit, path: /, retries: 21}]",
        "checks: [{app: fruit, path: /, method: HEAD}]",
        "soak: 30",
        "soak: ''",
        "drift: fix",
        "owns: []",
        "owns: [a, a]",
        "rollback: {on: 1}",
        "allow: {delete: 'no'}",
        "ray_version: 2.40",
        "ray_version: newest",
    ],
)
def test_a_wrong_environment_does_not(text: str) -> None:
    """One mistake each, which deployer refuses too."""
    with pytest.raises(InvalidConfig):
        policy.parse(text.encode(), "f")
    assert faults(of_environment(), yaml.load(text.encode(), "f", keys_as_written=True).value)


def test_every_key_is_explained() -> None:
    """What an editor shows beside a key: a sentence for each, and none for a key that is not there."""

    def keys(schema: dict[str, Any], path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], str]:
        found = {}
        for key, each in schema.get("properties", {}).items():
            found[(*path, key)] = each["description"]
            found |= keys(each, (*path, key)) | keys(each.get("items", {}), (*path, key, "[]"))
        return found

    explained = keys(editor_schema.environment())
    assert explained.keys() == {(*path, key) for path, group in policy.KEYS.items() for key in group.obeyed}
    assert explained.keys() == {*editor_schema._LEAVES, *editor_schema._GROUPS}
    assert all(text.endswith(".") for text in explained.values())


@given(
    text=st.text(alphabet="0123456789dhms .", max_size=12)
    | st.from_regex(durations._DURATION, fullmatch=True)
)
def test_a_duration_is_what_the_reader_takes(text: str) -> None:
    """Both forms of the schema agree with `durations.parse`, up to its limit."""
    try:
        seconds = durations.parse(text)
    except ValueError as error:
        if "longer than" in str(error):
            return
        seconds = -1.0
    assert (not faults(of_duration(zero=True), text)) == (seconds >= 0)
    assert (not faults(of_duration(zero=False), text)) == (seconds > 0)
