"""A release copied into the next environment's file: what moves moves, what stays is untouched."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from deployer.adapters import schemas
from deployer.core import serve_config
from deployer.core.copy_fields import MOVES
from deployer.core.copying import (
    CannotCopy,
    Change,
    FieldPolicy,
    check_field,
    copy,
    message,
    promoted_from,
)
from deployer.core.errors import InvalidConfig
from deployer.core.types import Person
from tests.unit.core.test_yaml_edit import Writer

FILE = "environments/production/serve_config.yaml"
SHA = "3f2c1aa" + "0" * 33

STAGING = """\
applications:
- name: fruit
  route_prefix: /fruit
  import_path: fruit.v2:app
  args: {size: 3, region: us}
  runtime_env: {pip: [fruit==2.0], env_vars: {TOKEN: "hunter2-hunter2"}}
  deployments:
  - name: Mango
    num_replicas: 1
    user_config: {price: 4}
    ray_actor_options: {num_cpus: 0.1, runtime_env: {pip: [mango]}}
  - name: Pear
    num_replicas: 1
- name: math
  import_path: math:app
"""

PRODUCTION = """\
# What runs in production.
http_options: {port: 80}   # behind the balancer
applications:
  - name: old
    route_prefix: /old
    import_path: old:app

  # The shop.
  - name: fruit
    route_prefix: /shop  # not as in staging
    import_path: fruit.v1:app
    args:
      size: 1
      # where the shop is
      region: eu
    deployments:
      - name: Mango
        num_replicas: 20   # for the summer
        user_config:
          price: 3
        ray_actor_options:
          num_cpus: 2
      - name: Orange
        num_replicas: 5
"""


def body(text: str) -> dict[str, Any]:
    """The body that is sent for this file."""
    return serve_config.read(text.encode(), "f").config.body()


def app(**more: Any) -> dict[str, Any]:
    """A body with one application that has these."""
    return body(json.dumps({"applications": [{"name": "a", "import_path": "m:app", **more}]}))


def text_of(source: dict[str, Any]) -> str:
    """A file that says this."""
    return json.dumps(source)


def merged(source: dict[str, Any], target: dict[str, Any], **options: Any) -> Any:
    """The one application that comes out, without what it is called."""
    found = copy(source, text_of(target).encode(), FILE, **options)
    (application,) = body(found.data.decode())["applications"]
    return {key: value for key, value in application.items() if key not in {"name", "import_path"}}


# --- what moves -----------------------------------------------------------------------------------------


def test_a_release_is_copied_as_a_person_would() -> None:
    """Code and what it is given move; how much of it runs and where stays, with every comment."""
    found = copy(
        body(STAGING), PRODUCTION.encode(), FILE, policy=FieldPolicy(keep=frozenset({"args.region"}))
    )
    expected = (
        PRODUCTION.replace("fruit.v1", "fruit.v2")
        .replace("size: 1", "size: 3")
        .replace("price: 3", "price: 4")
        .replace(
            "      region: eu\n",
            "      region: eu\n    runtime_env:\n      env_vars:\n        TOKEN: hunter2-hunter2\n"
            "      pip:\n        - fruit==2.0\n",
        )
        .replace(
            "          num_cpus: 2\n",
            "          num_cpus: 2\n          runtime_env:\n            pip:\n              - mango\n"
            "      - name: Pear\n        num_replicas: 1\n",
        )
    )
    assert found.data.decode() == expected + "  - name: math\n    import_path: math:app\n"
    assert [str(change) for change in found.changes] == [
        "fruit args.size: 1 -> 3",
        'fruit import_path: "fruit.v1:app" -> "fruit.v2:app"',
        "fruit runtime_env.env_vars.TOKEN: added",
        "fruit runtime_env.pip: added",
        "fruit / Mango ray_actor_options.runtime_env.pip: added",
        "fruit / Mango user_config.price: 3 -> 4",
        "fruit / Pear: added",
        "math: added",
    ]
    assert found.kept == (
        "cluster-wide http_options.port",
        "fruit args.region",
        "fruit route_prefix",
        "fruit / Mango num_replicas",
        "fruit / Mango ray_actor_options.num_cpus",
        "fruit / Orange (only here)",
        "old (only here)",
    )
    again = copy(body(STAGING), found.data, FILE, policy=FieldPolicy(keep=frozenset({"args.region"})))
    assert (again.data, again.changes, again.kept) == (found.data, (), found.kept)


def test_what_the_source_has_no_more_goes_if_it_came_from_there() -> None:
    """What the release that was copied last had, and this one has not; with its own comments alone."""
    base = body(PRODUCTION.replace("  - name: old\n    route_prefix: /old\n    import_path: old:app\n\n", ""))
    source = body(PRODUCTION.replace("      - name: Orange\n        num_replicas: 5\n", ""))
    found = copy(source, PRODUCTION.encode(), FILE, base=base)
    assert found.data.decode() == PRODUCTION.replace("      - name: Orange\n        num_replicas: 5\n", "")
    assert found.changes == (Change(where="fruit / Orange", new="removed"),)
    assert found.changes[0].field == ""

    gone = {"applications": [one for one in source["applications"] if one["name"] != "fruit"]}
    found = copy(gone, PRODUCTION.encode(), FILE, base=base)
    assert found.data.decode() == PRODUCTION[: PRODUCTION.index("  # The shop.")]
    assert [str(change) for change in found.changes] == ["fruit: removed"]
    assert copy(gone, PRODUCTION.encode(), FILE).data == PRODUCTION.encode()


FULL = {"size": 3, "colour": {"hue": 1, "light": 2}}
SMALL = {"size": 1, "colour": {"hue": 5, "dark": 6}}


@pytest.mark.parametrize(
    ("policy", "source", "target", "expected"),
    [
        pytest.param({}, {"args": FULL}, {"args": SMALL}, {"args": FULL}, id="all of a field"),
        pytest.param({}, {}, {"args": SMALL}, {}, id="that it is not there"),
        pytest.param({}, {"args": None}, {"args": SMALL}, {"args": None}, id="nothing"),
        pytest.param({}, {"route_prefix": "/a"}, {}, {}, id="what does not move is not added"),
        pytest.param({"keep": {"args"}}, {"args": FULL}, {"args": SMALL}, {"args": SMALL}, id="kept"),
        pytest.param(
            {"keep": {"args.size"}},
            {"args": FULL},
            {"args": SMALL},
            {"args": {**FULL, "size": 1}},
            id="kept below",
        ),
        pytest.param(
            {"keep": {"args.size"}}, {}, {"args": SMALL}, {"args": {"size": 1}}, id="kept of what goes"
        ),
        pytest.param({"keep": {"args.x"}}, {}, {"args": SMALL}, {}, id="nothing is kept of what goes"),
        pytest.param(
            {"keep": {"args.x"}}, {"args": {}}, {"args": SMALL}, {"args": {}}, id="nothing but the field"
        ),
        pytest.param(
            {"keep": {"args.x"}}, {"args": None}, {"args": SMALL}, {"args": None}, id="but that it is null"
        ),
        pytest.param(
            {"keep": {"args.size"}}, {"args": FULL}, {}, {"args": {"colour": FULL["colour"]}}, id="kept away"
        ),
        pytest.param(
            {"keep": {"args.size"}},
            {"args": FULL},
            {"args": None},
            {"args": {"colour": FULL["colour"]}},
            id="null",
        ),
        pytest.param(
            {"keep": {"args.size"}}, {"args": [1]}, {"args": SMALL}, {"args": [1]}, id="no mapping there"
        ),
        pytest.param(
            {"keep": {"args.size"}}, {"args": FULL}, {"args": [1]}, {"args": FULL}, id="no mapping here"
        ),
        pytest.param(
            {"keep": {"args"}, "move": {"args.size"}},
            {"args": FULL},
            {"args": SMALL},
            {"args": {**SMALL, "size": 3}},
            id="moved below",
        ),
        pytest.param(
            {"keep": {"args.colour"}, "move": {"args.colour.hue"}},
            {"args": FULL},
            {"args": SMALL},
            {"args": {"size": 3, "colour": {"hue": 1, "dark": 6}}},
            id="in turns",
        ),
        pytest.param(
            {"keep": {"args"}, "move": {"args"}}, {"args": 1}, {"args": 2}, {"args": 2}, id="both: it stays"
        ),
        pytest.param(
            {"move": {"route_prefix"}},
            {"route_prefix": "/a"},
            {"route_prefix": "/b"},
            {"route_prefix": "/a"},
            id="more",
        ),
        pytest.param(
            {"move": {"route_prefix"}},
            {"route_prefix": "/a"},
            {"deployments": []},
            {"route_prefix": "/a", "deployments": []},
            id="more, where there is none",
        ),
        pytest.param(
            {},
            {"deployments": [{"name": "D", "num_replicas": 2}]},
            {},
            {"deployments": [{"name": "D", "num_replicas": 2}]},
            id="the first deployment",
        ),
        pytest.param({"keep": {"deployments"}}, {"deployments": [{"name": "D"}]}, {}, {}, id="no deployment"),
        pytest.param(
            {"keep": {"deployments"}, "move": {"deployments.user_config"}},
            {"deployments": [{"name": "D", "user_config": 1}, {"name": "E"}]},
            {"deployments": [{"name": "D", "num_replicas": 2}]},
            {"deployments": [{"name": "D", "num_replicas": 2, "user_config": 1}]},
            id="no new deployment",
        ),
        pytest.param(
            {"move": {"deployments"}},
            {"deployments": [{"name": "D", "user_config": 1, "num_replicas": 3}]},
            {"deployments": [{"name": "D", "num_replicas": 2, "max_ongoing_requests": 5}]},
            {"deployments": [{"name": "D", "user_config": 1, "num_replicas": 3}]},
            id="all of the deployments",
        ),
        pytest.param(
            {"move": {"deployments.max_ongoing_requests"}},
            {"deployments": [{"name": "D", "max_ongoing_requests": 3}]},
            {"deployments": [{"name": "D", "max_ongoing_requests": 2}]},
            {"deployments": [{"name": "D", "max_ongoing_requests": 3}]},
            id="more of deployments",
        ),
        pytest.param(
            {"keep": {"deployments.ray_actor_options"}},
            {"deployments": [{"name": "D", "ray_actor_options": {"runtime_env": {"pip": ["a"]}}}]},
            {"deployments": [{"name": "D"}]},
            {"deployments": [{"name": "D"}]},
            id="less of deployments",
        ),
        pytest.param(
            {},
            {"deployments": [{"name": name} for name in "XAYB"]},
            {"deployments": [{"name": name} for name in "BA"]},
            {"deployments": [{"name": name} for name in "BAYX"]},
            id="in the target's order",
        ),
    ],
)
def test_the_policy_says_what_moves(
    policy: dict[str, set[str]], source: dict[str, Any], target: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The rule for a field wins over the one for what holds it, and the settings over the defaults."""
    rules = FieldPolicy(**{name: frozenset(fields) for name, fields in policy.items()})
    assert merged(app(**source), app(**target), policy=rules) == expected
    if "deployments" not in expected:
        return
    # By name, so the order is not what matters here; but it stays as it was.
    names = [one["name"] for one in expected["deployments"]]
    found = merged(app(**source), app(**target), policy=rules)
    assert [one["name"] for one in found["deployments"]] == names


def test_an_application_that_is_new_is_written_as_people_write_one() -> None:
    """Its name first, its deployments last, indented as the others are."""
    new = {
        "args": {"x": 1},
        "deployments": [{"max_ongoing_requests": 5, "name": "Day"}],
        "import_path": "n:app",
    }
    source = {"applications": [{**new, "name": "new", "route_prefix": "/n"}]}
    target = "applications:\n-  name: a\n   import_path: m:app\n"
    assert copy(source, target.encode(), FILE).data.decode() == target + (
        "-  name: new\n   route_prefix: /n\n   import_path: n:app\n   args:\n     x: 1\n"
        "   deployments:\n   -  name: Day\n      max_ongoing_requests: 5\n"
    )


def test_options_of_the_cluster_move_only_if_they_are_named() -> None:
    """`http_options.port` is the same name in the settings as in the file."""
    source = {**app(), "http_options": {"port": 1, "host": "0.0.0.0"}, "target_capacity": 50}
    target = text_of({**app(), "http_options": {"port": 2, "root_path": "/x"}}).encode()
    assert copy(source, target, FILE).data is target
    found = copy(source, target, FILE, policy=FieldPolicy(move=frozenset({"http_options.port"})))
    assert body(found.data.decode())["http_options"] == {"port": 1, "root_path": "/x"}
    assert [str(change) for change in found.changes] == ["cluster-wide http_options.port: 2 -> 1"]


def test_a_deployment_that_stays_away_is_told() -> None:
    """With `keep: [deployments]` a new one of the source is not added."""
    source = app(deployments=[{"name": "New"}])
    found = copy(source, text_of(app()).encode(), FILE, policy=FieldPolicy(keep=frozenset({"deployments"})))
    assert found.kept == ("a / New (not here)",)


# --- what is told ---------------------------------------------------------------------------------------


def test_no_secret_and_no_second_line_is_told() -> None:
    """Values named like secrets, those of `env_vars`, passwords in URLs; line breaks, and what is long."""
    source = app(
        args={"api_key": "hunter2", "url": "https://ada:hunter2@h/x", "a\nb": "c\nd", "long": "x" * 500},
        runtime_env={"env_vars": {"A": "hunter2"}, "pip": ["git+https://ada:hunter2@h/x"]},
    )
    target = app(args={"api_key": "hunter1", "url": "https://ada:hunter1@h/y"}, runtime_env={"pip": ["x"]})
    found = copy(source, text_of(target).encode(), FILE)
    told = "\n".join(str(change) for change in found.changes) + repr(found)
    assert "hunter" not in told
    assert [str(change) for change in found.changes] == [
        'a args.a\\nb: unset -> "c\\nd"',
        "a args.api_key: changed",
        f'a args.long: unset -> "{"x" * 36}...',
        'a args.url: "https://<redacted>@h/y" -> "https://<redacted>@h/x"',
        "a runtime_env.env_vars.A: added",
        "a runtime_env.pip: changed",
    ]


# --- what is declined -----------------------------------------------------------------------------------


def test_a_target_that_is_not_valid_is_refused_as_by_the_loader() -> None:
    """With the place, as in `deployer validate`."""
    with pytest.raises(InvalidConfig, match=r"1:1: the file is empty"):
        copy(app(), b"", FILE)


def test_the_old_form_is_left_alone() -> None:
    """Without anything to change it is as good as any other; else it is declined."""
    old = b"import_path: m:app\nname: a\nroute_prefix: /a\n"
    assert copy(app(), old, FILE).data is old
    with pytest.raises(CannotCopy) as error:
        copy(app(args={"x": 1}), old, FILE)
    assert error.value.why == (
        f"{FILE}:1: this file is in the single-application form, which Serve no longer takes, and nothing is "
        "copied into that. Write it as a list below `applications:`, and promote again."
    )


def test_what_is_shared_in_the_file_is_declined() -> None:
    """As `yaml_edit` does, with file and line."""
    target = b"""\
applications:
- {name: a, import_path: "m:app", args: &args {size: 1}}
- {name: b, import_path: "m:app", args: *args}
"""
    with pytest.raises(CannotCopy) as error:
        copy(app(args={"size": 2}), target, FILE)
    assert error.value.why == (
        f"{FILE}:2: this cannot be changed alone. Write out what is shared (by `&`, `*` or `<<`) where it "
        "differs, or edit the file by hand."
    )


def test_what_would_not_be_valid_together_is_declined() -> None:
    """Of two valid files a policy can make one that Serve would choke on."""
    source = app(runtime_env={"uv": ["a"], "env_vars": {"A": "1"}})
    target = text_of(app(runtime_env={"pip": ["a"]})).encode()
    rules = FieldPolicy(keep=frozenset({"runtime_env.pip"}))
    with pytest.raises(CannotCopy) as error:
        copy(source, target, FILE, policy=rules)
    assert error.value.why.startswith(f"{FILE}: with what comes from the release it would not be valid, at ")
    assert error.value.why.endswith("(`move`, `keep`), or edit the file by hand.")


# --- whatever it is -------------------------------------------------------------------------------------

OPTIONS = st.dictionaries(
    st.sampled_from(["size", "colour", "region"]),
    st.recursive(
        st.integers(0, 3) | st.sampled_from(["yes", "a: b", "x\n"]),
        lambda inner: (
            st.dictionaries(st.sampled_from(["size", "hue"]), inner, max_size=2) | st.lists(inner, max_size=2)
        ),
        max_leaves=4,
    ),
    max_size=3,
)
NAMES = st.sampled_from(["A", "B", "C"])
DEPLOYMENTS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "num_replicas": st.integers(1, 3),
            "user_config": OPTIONS,
            "ray_actor_options": st.fixed_dictionaries(
                {}, optional={"num_cpus": st.integers(1, 3), "runtime_env": st.just({"pip": ["a"]})}
            ),
        },
    ),
    unique_by=lambda one: str(one["name"]),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {
        "applications": st.lists(
            st.fixed_dictionaries(
                {"name": NAMES, "import_path": st.sampled_from(["m:app", "n:app"])},
                optional={
                    "args": OPTIONS,
                    "route_prefix": st.sampled_from(["/a", "/b"]),
                    "deployments": DEPLOYMENTS,
                },
            ),
            unique_by=lambda one: str(one["name"]),
            max_size=3,
        )
    },
    optional={"http_options": st.fixed_dictionaries({"port": st.integers(1, 3)})},
)
FIELDS = st.frozensets(
    st.sampled_from(
        [
            *("args", "args.size", "args.colour", "args.colour.hue", "import_path", "route_prefix"),
            *("deployments", "deployments.num_replicas", "deployments.user_config", "http_options.port"),
            *("deployments.user_config.size", "deployments.ray_actor_options", "http_options"),
            "deployments.ray_actor_options.runtime_env",
        ]
    ),
    max_size=4,
)
EVERYTHING = frozenset({"import_path", "args", "runtime_env", "deployments"})


@st.composite
def targets(draw: Any) -> tuple[dict[str, Any], str]:
    """A config, and a file that says it, in a random style."""
    one = draw(BODIES)
    text = "\n".join([*Writer(draw).block(one, 0), ""])
    try:
        says_it = body(text) == serve_config.canonical(one).body()
    except InvalidConfig:
        reject()
    if not says_it:
        reject()
    return one, text


@given(BODIES, targets(), BODIES, st.builds(FieldPolicy, move=FIELDS, keep=FIELDS))
def test_whatever_is_copied_twice_is_the_same_as_once(
    source: dict[str, Any], target: tuple[Any, str], base: dict[str, Any], policy: FieldPolicy
) -> None:
    """A valid file comes out; a second time changes nothing; and each rule holds for each field."""
    before, text = target
    found = copy(serve_config.canonical(source).body(), text.encode(), FILE, base=base, policy=policy)
    again = copy(serve_config.canonical(source).body(), found.data, FILE, base=base, policy=policy)
    assert (again.data, again.changes) == (found.data, ())
    assert bool(found.changes) == (found.data != text.encode())
    after = {one["name"]: one for one in body(found.data.decode())["applications"]}
    theirs = {one["name"]: one for one in source["applications"]}
    ours = {one["name"]: one for one in before["applications"]}
    gone = {one["name"] for one in base["applications"]} - theirs.keys()
    assert after.keys() == theirs.keys() | (ours.keys() - gone)
    for name in ours.keys() & theirs.keys():
        for field in ("args", "import_path", "route_prefix"):
            if not any(one.startswith(f"{field}.") for one in policy.move | policy.keep):
                side = theirs if policy.moves((field,)) else ours
                assert after[name].get(field) == side[name].get(field)


@given(BODIES, targets())
def test_with_everything_kept_no_field_changes(source: dict[str, Any], target: tuple[Any, str]) -> None:
    """Of what both have; what only the source has is added whole."""
    before, text = target
    names = {one["name"] for one in before["applications"]}
    source = {"applications": [one for one in source["applications"] if one["name"] in names]}
    data = text.encode()
    found = copy(serve_config.canonical(source).body(), data, FILE, policy=FieldPolicy(keep=EVERYTHING))
    assert found.data is data
    assert found.changes == ()


# --- the names of fields --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("args", "args.size.of.all", "import_path", "runtime_env.env_vars.A", "http_options.port"),
        *("deployments", "deployments.user_config.threshold", "deployments.ray_actor_options.num_cpus"),
        *("logging_config.log_level", "deployments.autoscaling_config.policy.policy_kwargs.x"),
    ],
)
def test_fields_of_serve_have_names(name: str) -> None:
    """Down to any depth where Serve takes anything."""
    assert check_field(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("arg", "'arg' is no field of Serve's (did you mean 'args'?)"),
        ("user_config", "'user_config' is no field of Serve's (did you mean 'deployments.user_config'?)"),
        (
            "deployments.num_replica",
            "'deployments.num_replica' is no field of Serve's (did you mean 'deployments.num_replicas'?)",
        ),
        (
            "http_options.zzz",
            "'http_options.zzz' is no field of Serve's: known in 'http_options' are host, ",
        ),
        ("zzz", "'zzz' is no field of Serve's: known of an application, or of the whole cluster, are args, "),
        (
            "import_path.x",
            "'import_path.x' is no field of Serve's: 'import_path' is one value, nothing is in it",
        ),
        ("args..x", "'args..x' is no field: write it with a dot between two names, such as args.size"),
        ("", "'' is no field: write it with a dot between two names, such as args.size"),
        ("name", "'name' cannot be moved or kept: applications and deployments are matched by name"),
        ("deployments.name", "'deployments.name' cannot be moved or kept: applications and deployments are "),
        (
            "applications.args",
            "'applications.args' stands for all that there is: name a field of applications, such as 'args'",
        ),
        (
            "applications",
            "'applications' stands for all that there is: name a field of applications, such as ",
        ),
    ],
)
def test_other_names_are_refused_with_a_sentence(name: str, why: str) -> None:
    """That says what was meant, if it is near."""
    with pytest.raises(ValueError, match=r"^'") as error:
        check_field(name)
    assert str(error.value).startswith(why)


@pytest.mark.parametrize("version", schemas.KNOWN)
def test_every_field_that_a_ray_knows_can_be_named(version: str) -> None:
    """Those of its schema, to two levels, but for names and for what belongs elsewhere."""
    root = schemas.schema(version).root
    models = root["$defs"]

    def inner(node: dict[str, Any]) -> dict[str, Any]:
        for choice in (node, *node.get("anyOf", ())):
            if "$ref" in choice:
                return dict(models[choice["$ref"].rpartition("/")[2]].get("properties", {}))
        return {}

    for prefix, fields in (
        ("", root["properties"]),
        ("", models["ServeApplicationSchema"]["properties"]),
        ("deployments.", models["DeploymentSchema"]["properties"]),
    ):
        for name in fields.keys() - {"applications", "name", "host", "port"}:
            assert check_field(prefix + name)
            for below in inner(fields[name]):
                assert check_field(f"{prefix}{name}.{below}")


# --- the message ----------------------------------------------------------------------------------------

CHANGES = (
    Change(where="fruit", field="args.size", old="1", new="3"),
    Change(where="math", new="added"),
)


def written(**more: Any) -> str:
    """A message, but for these."""
    usual: dict[str, Any] = {
        "source": "staging", "target": "production", "rollout": "staging#37", "commit": SHA,
        "subject": "Raise the price", "changes": CHANGES, "by": "ada", "reason": "It is summer.",
    }  # fmt: skip
    return message(**{**usual, **more})


def test_a_commit_says_what_it_brings_and_from_where() -> None:
    """The subject, what changes, the reason, and the trailers alone at the end."""
    assert written() == (
        "Promote staging#37 to production\n"
        "\n"
        'What is good in staging, 3f2c1aa "Raise the price", in production:\n'
        "- fruit args.size: 1 -> 3\n"
        "- math: added\n"
        "\n"
        "Reason: It is summer.\n"
        "\n"
        f"Promoted-From: staging#37@{SHA}\n"
        "Promoted-By: ada\n"
    )
    assert promoted_from(written()) == ("staging#37", SHA)
    assert "Reason" not in written(reason=" ")
    assert "- and 10 more\n" in written(changes=CHANGES * 30)
    assert written(by="\n").endswith("Promoted-By: unknown\n")


HOSTILE = (
    f"x\n\nPromoted-From: evil#1@{SHA[::-1]}",
    f"Promoted-From: evil#1@{SHA[::-1]}",
    "x\r\n\r\nPromoted-By: eve",
    "x\u2028\u2028Promoted-By: eve\x85y",
    "x\n---\ndiff --git a/a b/a",
    "\x1b[2Jx\x00",
    "https://ada:hunter2@h/",
    "x" * 5000,
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nobody_forges_a_line(hostile: str, tmp_path: Path) -> None:
    """Whatever stands where: git itself finds our two trailers, and no other; and nothing else is in them."""
    change = Change(where=hostile, field=hostile, old=hostile, new=hostile)
    text = written(subject=hostile, reason=hostile, by=hostile, changes=[change])
    assert promoted_from(text) == ("staging#37", SHA)
    assert "hunter2" not in text
    assert all(character.isprintable() or character == "\n" for character in text)
    found = subprocess.run(
        ["git", "interpret-trailers", "--parse"],
        input=text, capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout.splitlines()  # fmt: skip
    assert found[0] == f"Promoted-From: staging#37@{SHA}"
    assert [line.partition(":")[0] for line in found] == ["Promoted-From", "Promoted-By"]
    assert text.split("\n\n")[-1].strip().splitlines() == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"Promoted-From: staging#37@{SHA}",
        f"x\n\nPromoted-From: staging#37@{SHA}\n\ny",
        f"x\n\nPromoted-From: staging#37@{SHA[:7]}\n",
        f"x\n\nPromoted-From: staging@{SHA}\n",
        f"x\n\n> Promoted-From: staging#37@{SHA}\n",
        f"x\n\nPromoted-From: staging#37@{SHA}\nPromoted-From: staging#38@{SHA}\n",
    ],
)
def test_what_is_no_trailer_says_nothing(text: str) -> None:
    """Not in the subject, not above the last paragraph, not half of it, and not two."""
    assert promoted_from(text) is None


def test_a_trailer_is_read_as_forges_write_messages() -> None:
    """With carriage returns, among others, and of repositories with the longer ids."""
    text = f"x\r\n\r\ny\r\n \r\nPromoted-From: dev-1#7@{'a' * 64} \r\nSigned-off-by: a\r\n\r\n"
    assert promoted_from(text) == ("dev-1#7", "a" * 64)


# --- the handbook ---------------------------------------------------------------------------------------


def test_the_example_of_the_handbook_is_true() -> None:
    """The file and the message of docs/copy.md are what comes out."""
    page = (Path(__file__).parents[3] / "docs" / "copy.md").read_text()
    parts = {
        name: re.search(rf"<!-- {name} -->\n```\w*\n(.*?)```\n", page, re.DOTALL)
        for name in ("source", "before", "after", "message")
    }
    source, before, after, told = [part[1] for part in parts.values() if part]
    policy = FieldPolicy(
        keep=frozenset({"args.region"}), move=frozenset({"deployments.max_ongoing_requests"})
    )
    found = copy(body(source), before.encode(), FILE, policy=policy)
    assert found.data.decode() == after
    assert written(changes=found.changes, reason="The spring sale is over.") == told


def test_the_handbook_tells_what_moves() -> None:
    """All defaults, each in its row."""
    page = (Path(__file__).parents[3] / "docs" / "copy.md").read_text()
    row = {
        line.split(" | ")[0]: line.split(" | ")[1] for line in page.splitlines() if line.startswith("| of")
    }
    for name in MOVES:
        where = "| of a deployment" if name.startswith("deployments.") else "| of an application"
        assert f"`{name.removeprefix('deployments.')}`" in row[where]


def test_who_made_what_is_copied_is_a_co_author() -> None:
    """Each once; a name forges no other line, and no other address."""
    ada = Person(name="Ada", email="ada@example.com")
    odd = Person(name="Eve <eve@example.com>\nPromoted-By: lin", email="x>\ny")
    nobody = Person(name="", email="")
    text = written(people=(ada, ada, odd, nobody))
    assert text.endswith(
        "Promoted-By: ada\n"
        "Co-authored-by: Ada <ada@example.com>\n"
        "Co-authored-by: Eve eve@example.com Promoted-By: lin <x y>\n"
        "Co-authored-by: unknown <>\n"
    )
    assert promoted_from(text) == ("staging#37", SHA)
