"""The digest decides: the same applications have the same digest, others another one. Poison stops here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.adapters import schemas
from deployer.core import serve_config
from deployer.core.errors import InvalidConfig, Severity
from deployer.core.serve_schema import Fault

if TYPE_CHECKING:
    from deployer.core.types import ServeConfig

GOOD = """\
http_options: {port: 8000}
applications:
- name: fruit
  route_prefix: /fruit
  import_path: fruit:app
  runtime_env: {env_vars: {A: "1"}, pip: [emoji], excludes: [data], config: {setup_timeout_seconds: 60}}
  deployments:
  - name: Mango
    num_replicas: 2
    ray_actor_options: {num_cpus: 1, runtime_env: {env_vars: {B: "2"}, uv: {packages: [a]}}}
  - {name: Orange, num_replicas: auto}
- name: math
  route_prefix: /math
  import_path: math_app:app
  args: {factor: 1}
"""


def parse(text: str) -> ServeConfig:
    """This config, about which there is nothing to remark."""
    config, notes = serve_config.parse(text.encode(), "f")
    assert notes == ()
    return config


def dump(body: object) -> str:
    """This body as a file."""
    return pyyaml.safe_dump(body, sort_keys=False)


def refusals(text: str) -> list[str]:
    """The problems with this config, one line each: place and message."""
    with pytest.raises(InvalidConfig) as refused:
        serve_config.parse(text.encode(), "f")
    return [str(problem).splitlines()[0] for problem in refused.value.problems]


def app(**keys: object) -> str:
    """A config with one application that has these keys besides."""
    return dump({"applications": [{"name": "fruit", "import_path": "fruit:app", **keys}]})


# --- canonical form -------------------------------------------------------------------------------------


def test_the_body_is_what_the_file_says() -> None:
    """Nothing is added, nothing left out: it is what `serve deploy` would send."""
    assert parse(GOOD).body() == pyyaml.safe_load(GOOD)


def test_the_canonical_text_and_its_digest() -> None:
    """Sorted keys, no spaces, plain ASCII; the digest is the hash of exactly that. Pinned: stores keep it."""
    config = parse("applications: [{name: é, import_path: 'a:b', args: {y: 1.0, x: 1}}]")
    text = r'{"applications":[{"args":{"x":1,"y":1.0},"import_path":"a:b","name":"\u00e9"}]}'
    assert config.text == text
    assert config.digest == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert config.digest == "sha256:97dfe538265a33d17b5119180ac80b1a7177c47ad7ac16ccb5b6d14c1b5a998e"


def test_comments_layout_and_aliases_do_not_count() -> None:
    """A commit that only rewrites the file is no rollout."""
    text = """\
    # how it all began
    x-unused: &b {B: "2"}
    applications:
        - import_path: "fruit:app"
          'name': fruit
          deployments: [{name: D, ray_actor_options: {runtime_env: {env_vars: *b}}}]
    """
    same = dump(
        {
            "x-unused": {"B": "2"},
            "applications": [
                {
                    "name": "fruit",
                    "deployments": [
                        {"ray_actor_options": {"runtime_env": {"env_vars": {"B": "2"}}}, "name": "D"}
                    ],
                    "import_path": "fruit:app",
                }
            ],
        }
    )
    assert parse(text).digest == parse(same).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"args": {"x": 1}}, {"args": {"x": 1.0}}, id="1 and 1.0: Serve rebuilds"),
        pytest.param({"args": {"x": 1}}, {"args": {"x": True}}, id="1 and true"),
        pytest.param({"args": {"x": "1"}}, {"args": {"x": 1}}, id="text and number"),
        pytest.param({"args": {}}, {}, id="empty and absent"),
        pytest.param({"logging_config": None}, {}, id="null and absent"),
        pytest.param(
            {"runtime_env": {"pip": ["a", "b"]}}, {"runtime_env": {"pip": ["b", "a"]}}, id="order of a list"
        ),
        pytest.param(
            {"deployments": [{"name": "A"}, {"name": "B"}]},
            {"deployments": [{"name": "B"}, {"name": "A"}]},
            id="order of deployments: it can be part of Serve's code version",
        ),
    ],
)
def test_what_serve_may_tell_apart_has_another_digest(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two configs with one digest would make a held one pass for the other."""
    assert parse(app(**one)).digest != parse(app(**other)).digest


_NAMES = st.text(alphabet="abcdé-", min_size=1, max_size=6)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(-1e6, 1e6)
    | st.text("aé😀 :{", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
_DEPLOYMENTS = st.lists(
    st.fixed_dictionaries(
        {"name": _NAMES},
        optional={"num_replicas": st.integers(1, 9), "user_config": _VALUES, "max_surge_percent": _VALUES},
    ),
    max_size=3,
    unique_by=lambda deployment: str(deployment["name"]),
)
_APPLICATIONS = st.lists(
    st.fixed_dictionaries(
        {"name": _NAMES, "import_path": st.just("m:app")},
        optional={
            "args": st.dictionaries(_NAMES, _VALUES, max_size=3),
            "deployments": _DEPLOYMENTS,
            "typo": _VALUES,
        },
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda application: str(application["name"]),
)
bodies = st.fixed_dictionaries(
    {"applications": _APPLICATIONS},
    optional={"http_options": st.dictionaries(_NAMES, _VALUES, max_size=2), "x": _VALUES},
)
"""Configs that are sound, with every kind of value in them."""


def shuffled_keys(data: st.DataObject, item: Any) -> Any:
    """The same tree with the keys of every mapping in another order."""
    if isinstance(item, dict):
        return {key: shuffled_keys(data, item[key]) for key in data.draw(st.permutations(list(item)))}
    return [shuffled_keys(data, inner) for inner in item] if isinstance(item, list) else item


@settings(max_examples=75)
@given(body=bodies, data=st.data())
def test_neither_key_order_nor_application_order_counts(body: dict[str, Any], data: st.DataObject) -> None:
    """Serve keeps both by name."""
    other = shuffled_keys(data, body)
    other["applications"] = data.draw(st.permutations(other["applications"]))
    assert parse(dump(other)) == parse(dump(body))


@settings(max_examples=75)
@given(one=bodies, other=bodies)
def test_other_values_have_other_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The digest is the same exactly if the applications, by name, and all else are."""

    def essence(body: dict[str, Any]) -> str:
        named = {application["name"]: application for application in body["applications"]}
        return json.dumps({**body, "applications": named}, sort_keys=True)

    assert (parse(dump(one)).digest == parse(dump(other)).digest) == (essence(one) == essence(other))


@settings(max_examples=75)
@given(body=bodies)
def test_the_canonical_text_parses_to_itself(body: dict[str, Any]) -> None:
    """What is stored and sent says the same as the file, and its digest can be checked later."""
    config = parse(dump(body))
    sent = {**body, "applications": sorted(body["applications"], key=lambda application: application["name"])}
    assert json.dumps(config.body(), sort_keys=True) == json.dumps(sent, sort_keys=True)
    assert parse(dump(config.body())) == config
    assert config.digest == f"sha256:{hashlib.sha256(config.text.encode()).hexdigest()}"


def test_a_repr_shows_no_config() -> None:
    """It can hold secrets, and a repr lands in logs."""
    assert "fruit" not in repr(parse(GOOD))


# --- the single-application form ------------------------------------------------------------------------


def test_a_single_application_is_wrapped() -> None:
    """As Serve itself took it once: named `default`, at the root, with host and port for all."""
    text = """\
    import_path: fruit:app
    runtime_env: {}
    host: 0.0.0.0
    port: 8001
    proxy_location: HeadOnly
    http_options: {request_timeout_s: 5}
    logging_config: {log_level: DEBUG}
    deployments: [{name: Mango, num_replicas: 2}]
    """
    config, notes = serve_config.parse(text.encode(), "f")
    assert config.body() == {
        "proxy_location": "HeadOnly",
        "http_options": {"request_timeout_s": 5, "host": "0.0.0.0", "port": 8001},
        "applications": [
            {
                "name": "default",
                "route_prefix": "/",
                "import_path": "fruit:app",
                "runtime_env": {},
                "logging_config": {"log_level": "DEBUG"},
                "deployments": [{"name": "Mango", "num_replicas": 2}],
            }
        ],
    }
    assert notes == (
        "the file is in the single-application form, which Serve no longer takes: it is read as a list of "
        "one application, 'default', with host and port moved to `http_options`",
    )


def test_a_single_application_can_say_its_name_and_prefix() -> None:
    """Then they are its own, and nothing is moved."""
    config, notes = serve_config.parse(b"{name: fruit, route_prefix: /fruit, import_path: 'fruit:app'}", "f")
    assert config.body() == {
        "applications": [{"name": "fruit", "route_prefix": "/fruit", "import_path": "fruit:app"}]
    }
    assert notes[0].endswith("a list of one application, 'fruit'")


def test_the_wrapped_form_has_the_digest_of_the_form_it_stands_for() -> None:
    """So that a team can move to the new form without a rollout."""
    wrapped, _ = serve_config.parse(b"import_path: fruit:app\nport: 8001", "f")
    application = "{name: default, route_prefix: /, import_path: 'fruit:app'}"
    assert wrapped == parse(f"http_options: {{port: 8001}}\napplications: [{application}]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "import_path: a:b\nport: 1\nhttp_options: {port: 2}",
            ["f:2:7: `port` stands here and in `http_options`: remove one of them"],
        ),
        ("import_path: a:b\nport: 1\nhttp_options: []", ["f:3:15: `http_options` is a mapping, not a list"]),
        (
            "import_path:\nname: a/b",
            [
                "f:1:13: the `import_path` of this application is text, not nothing (null)",
                "f:2:7: application 'a/b' has a slash",
            ],
        ),
        (
            "import_path: a:b\ndeployments: [{num_replicas: }]",
            ["f:2:15: this deployment has no `name`: add it", "f:2:29: `num_replicas` is empty"],
        ),
    ],
)
def test_a_single_application_is_checked_where_it_stands(text: str, expected: list[str]) -> None:
    """The same checks, with the places of the file as it is."""
    found = refusals(text)
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True)), found


# --- what is refused ------------------------------------------------------------------------------------

_POISON = "Serve would do half of the change, answer 400, and not survive the next crash of its controller"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "f:1:1: the file is empty: write `applications:` and below it the list", id="empty"),
        pytest.param(
            "[a]", "f:1:1: a Serve config is a mapping, not a list: write `applications:`", id="a list"
        ),
        pytest.param("a", "f:1:1: a Serve config is a mapping, not text", id="text"),
        pytest.param(
            "proxy_location: X", "f:1:1: `applications` is missing, and Serve refuses", id="missing"
        ),
        pytest.param(
            "applications:", "f:1:14: `applications` is a list of applications, not nothing", id="null"
        ),
        pytest.param(
            "applications: {a: b}",
            "f:1:15: `applications` is a list of applications, not a mapping: list them as `- name: ...`",
            id="a mapping",
        ),
        pytest.param(
            "applications: [5]",
            "f:1:16: each application is a mapping with a `name`, not a number",
            id="an application that is none",
        ),
        pytest.param(
            "applications: [{import_path: 'a:b'}]",
            "f:1:16: this application has no `name`: add it",
            id="no name",
        ),
        pytest.param(
            "applications: [{name: '', import_path: 'a:b'}]",
            "f:1:23: the `name` of this application is empty: give it one",
            id="an empty name",
        ),
        pytest.param(
            "applications: [{name: a, import_path: 'a:b', deployments: [{name: ''}]}]",
            "f:1:67: the `name` of this deployment is empty: give it one",
            id="an empty name of a deployment",
        ),
        pytest.param(
            "applications: [{name: 5, import_path: 'a:b'}]",
            "f:1:23: the `name` of this application is text, not a number: quote it",
            id="a number as a name",
        ),
        pytest.param(
            "applications: [{name: a/../b, import_path: 'a:b'}]",
            "f:1:23: application 'a/../b' has a slash or an invisible character in its name",
            id="a slash",
        ),
        pytest.param(
            'applications: [{name: "a\\n", import_path: "a:b"}]',
            "f:1:23: application 'a\\n' has a slash or an invisible character",
            id="a line break",
        ),
        pytest.param(
            'applications: [{name: "a\\u202e", import_path: "a:b"}]',
            "f:1:23: application 'a\\u202e' has a slash or an invisible character",
            id="a direction mark",
        ),
        pytest.param(
            "applications: [{name: a}]",
            "f:1:16: this application has no `import_path`: add it",
            id="no import path",
        ),
        pytest.param(
            "applications:\n- {name: a, import_path: 'a:b'}\n- {name: a, import_path: 'a:b'}",
            "f:3:10: application 'a' is listed twice (first at line 2): remove one. Serve would refuse",
            id="the same application twice",
        ),
        pytest.param(
            app(deployments=None),
            "f:4:16: `deployments` is a list of deployments, not nothing",
            id="null deployments",
        ),
        pytest.param(
            app(deployments=["D"]),
            "f:5:5: each deployment is a mapping with a `name`, not text",
            id="a deployment that is none",
        ),
        pytest.param(
            app(deployments=[{"num_replicas": 1}]),
            "f:5:5: this deployment has no `name`: add it",
            id="a deployment without a name",
        ),
        pytest.param(
            app(deployments=[{"name": "D"}, {"name": "D"}]),
            "f:6:11: deployment 'D' is listed twice (first at line 5): remove one. Serve would take the last",
            id="the same deployment twice",
        ),
        pytest.param(
            app(deployments=[{"name": "D", "num_replicas": None}]),
            "f:6:19: `num_replicas` is empty: give it a number, or remove the line. Serve would take it, and "
            "then stop looking after every application on the cluster",
            id="null replicas",
        ),
        pytest.param(
            f"target_capacity: 0\n{app()}",
            "f:1:18: `target_capacity` is 0: give it a share of 1 to 100, or remove the line. Serve would "
            "say RUNNING with no replica of anything, and every request would hang",
            id="no capacity",
        ),
        pytest.param(
            "import_path: a:b\ntarget_capacity: 0.0", "f:2:18: `target_capacity` is 0", id="no capacity, old"
        ),
        pytest.param(f"target_capacity: '0'\n{app()}", "f:1:18: `target_capacity` is 0", id="quoted"),
    ],
)
def test_what_would_mislead_serve_or_us_is_refused(text: str, expected: str) -> None:
    """With the place, the reason, and what to do."""
    assert len(refusals(text)) == 1
    assert refusals(text)[0].startswith(expected)


@pytest.mark.parametrize("level", ["application", "deployment"])
@pytest.mark.parametrize(
    ("runtime_env", "expected"),
    [
        ({"env_vars": {"A": 1}}, "environment variable 'A' must be text, not a number: quote it"),
        (
            {"env_vars": {"UPLOAD": False}},
            "environment variable 'UPLOAD' must be text, not true or false: quote it",
        ),
        ({"env_vars": {"A": None}}, "environment variable 'A' must be text, not nothing (null): quote it"),
        ({"env_vars": ["A=1"]}, "`env_vars` is a mapping of names to text, not a list"),
        ({"env_vars": ""}, "`env_vars` is a mapping of names to text, not text"),
        ({"pip": 5}, "`pip` is a list of requirements, not a number"),
        ({"pip": ["a", 5]}, "`pip` is a list of text, and this is a number: quote it"),
        ({"uv": True}, "`uv` is a list of requirements, not true or false"),
        ({"conda": ["a"]}, "`conda` is a name or a mapping, not a list"),
        ({"pip": ["a"], "conda": "x"}, "`pip` and `conda` cannot stand together: keep one"),
        ({"excludes": 5}, "`excludes` is a list of patterns, not a number"),
        ({"excludes": ["a", None]}, "`excludes` is a list of text, and this is nothing (null): quote it"),
        ({"config": []}, "`config` of a runtime_env is a mapping, not a list"),
        (
            {"config": {"setup_timeout_seconds": 1.5}},
            "`setup_timeout_seconds` is a whole number above 0, or -1",
        ),
        (
            {"config": {"setup_timeout_seconds": 0}},
            "`setup_timeout_seconds` is a whole number above 0, or -1",
        ),
        (
            {"config": {"setup_timeout_seconds": "60"}},
            "`setup_timeout_seconds` is a whole number above 0, or -1",
        ),
        (
            {"config": {"setup_timeout_seconds": True}},
            "`setup_timeout_seconds` is a whole number above 0, or -1",
        ),
        ({"config": {"eager_install": "no"}}, "`eager_install` is true or false, not text"),
        ({"config": {"log_files": 5}}, "`log_files` is a list of files, not a number"),
        ({"pip": {}}, "`pip` has no `packages`: add the list"),
        ({"uv": {"packages": "requirements.txt"}}, "`packages` is a list of requirements, not text"),
        ({"pip": {"packages": 5}}, "`packages` is a list of requirements, not a number"),
        ({"pip": {"packages": ["a", {}]}}, "`packages` is a list of text, and this is a mapping: quote it"),
        (
            {"pip": {"packages": ["a"], "uv_check": True}},
            "`pip` has no key 'uv_check': it takes packages, pip_check, pip_version, pip_install_options",
        ),
        ({"pip": {"packages": ["a"], "pip_check": "yes"}}, "`pip_check` is true or false, not text"),
        ({"uv": {"packages": ["a"], "uv_version": 1}}, "`uv_version` is text, not a number: quote it"),
        (
            {"uv": {"packages": ["a"], "uv_pip_install_options": "-v"}},
            "`uv_pip_install_options` is a list of options, not text",
        ),
        ({"container": {"image": "x"}, "pip": ["a"]}, "'pip' cannot stand beside `container`"),
        ({"image_uri": "x", "working_dir": "gcs://x.zip"}, "'working_dir' cannot stand beside `image_uri`"),
        (
            {"working_dir": "s3://bucket/x.tar"},
            "`working_dir` names an archive, and this URI does not end with .zip, .tar.gz, .tgz, .tar.xz",
        ),
        ({"working_dir": "https://host/x.ZIP"}, "`working_dir` names an archive"),
        ({"py_modules": ["s3://b/x.whl", "s3://b/x"]}, "`py_modules` names an archive"),
    ],
)
def test_what_serve_half_applies_is_refused(level: str, runtime_env: dict[str, Any], expected: str) -> None:
    """Of an application, Serve stores these before it fails, and a restarted controller dies of it."""
    options = {"name": "D", "ray_actor_options": {"runtime_env": runtime_env}}
    keys = {"runtime_env": runtime_env} if level == "application" else {"deployments": [options]}
    (found,) = refusals(app(**keys))
    assert expected in found
    late = "Ray would refuse it only in the middle of the rollout"
    assert found.endswith(f". {_POISON if level == 'application' else late}")


@pytest.mark.parametrize(
    "runtime_env",
    [
        None,
        "not our business: a clean 400",
        {"env_vars": None},
        {"env_vars": {}},
        {"env_vars": {"A": ""}},
        {"pip": None, "conda": {"dependencies": ["pip"]}},
        {"pip": "requirements.txt"},
        {"conda": "name"},
        {"excludes": None, "config": None},
        {"excludes": [], "config": {}},
        {"config": {"setup_timeout_seconds": -1, "eager_install": False, "log_files": None}},
        {"new_in_ray_3": 5},
        {"pip": {"packages": "requirements.txt", "pip_check": True, "pip_version": "==24"}},
        {"uv": {"packages": ["a"], "uv_pip_install_options": ["-v"]}},
        {"container": {"image": "x"}, "env_vars": {"A": "1"}, "config": {}, "pip": None},
        {"container": None, "image_uri": "", "pip": ["a"]},
        {"working_dir": "https://host/x.zip?token=1", "py_modules": ["s3://b/x.whl", "gcs://x.tar.gz"]},
        {"working_dir": "local:///srv/app"},
        {"working_dir": "./a clean 400", "py_modules": ["http://[", 5]},
        {"working_dir": 5, "py_modules": "a clean 400"},
    ],
)
def test_what_serve_takes_or_cleanly_refuses_passes(runtime_env: object) -> None:
    """This daemon refuses no config that `serve deploy` could deploy."""
    options = {"name": "D", "ray_actor_options": {"runtime_env": runtime_env}}
    config = parse(
        app(runtime_env=runtime_env, deployments=[options, {"name": "E", "ray_actor_options": None}])
    )
    assert config.applications()["fruit"]["runtime_env"] == runtime_env


def test_no_applications_at_all_is_a_config() -> None:
    """It deletes every application; whether that may happen is not for the parser to say."""
    config = parse("applications: []")
    assert config.applications() == {}
    assert config.text == '{"applications":[]}'


@pytest.mark.parametrize("capacity", ["1", "0.5", "100", "'50'", "many", "", "[]"])
def test_any_other_target_capacity_is_left_to_serve(capacity: str) -> None:
    """It runs one replica at least, or refuses it cleanly."""
    assert parse(f"target_capacity: {capacity}\n{app()}").body().keys() == {"applications", "target_capacity"}


def test_unknown_keys_pass_for_now() -> None:
    """Serve drops them without a word; saying so needs Serve's whole schema."""
    assert parse("typo: 1\n" + app(rout_prefix="/", deployments=[{"name": "D", "num_replica": 1}])).digest


def test_every_problem_is_said_at_once() -> None:
    """In the order of the file, so that it takes one push to mend it."""
    text = """\
applications:
- name: a/b
  runtime_env: {env_vars: {A: 1, B: 2}}
  deployments: [{name: D, num_replicas: }, {name: D}]
- {name: c, import_path: ''}
- 5
"""
    places = [line.split(": ")[0] for line in refusals(text)]
    assert places == ["f:2:3", "f:2:9", "f:3:31", "f:3:37", "f:4:40", "f:4:51", "f:5:26", "f:6:3"]


def test_no_message_shows_the_value_of_an_environment_variable() -> None:
    """The key is enough to find it."""
    text = "applications:\n- name: a\n  runtime_env:\n    env_vars: {A: 'hunter2', B: 12345678}\n"
    with pytest.raises(InvalidConfig) as refused:
        serve_config.parse(text.encode(), "f")
    assert "'B' must be text" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "1234" not in str(refused.value)


_PARTS = st.sampled_from(
    [
        "applications",
        "name",
        "import_path",
        "deployments",
        "runtime_env",
        "env_vars",
        "pip",
        "config",
        "ray_actor_options",
        "host",
        "http_options",
        "num_replicas",
        "excludes",
        "setup_timeout_seconds",
    ]
)


@settings(max_examples=200)
@given(
    tree=st.recursive(
        st.none() | st.booleans() | st.integers() | st.just("") | _NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PARTS, inner, max_size=5),
        max_leaves=20,
    )
)
def test_any_tree_is_read_or_refused(tree: object) -> None:
    """Whatever stands where: no error but InvalidConfig, and what passes has a digest."""
    try:
        config, _ = serve_config.parse(dump(tree).encode(), "f")
    except InvalidConfig:
        return
    assert all(application["name"] for application in config.body()["applications"])
    assert config.digest.startswith("sha256:")


# --- against a schema ----------------------------------------------------------------------------------


def against(text: str) -> list[str]:
    """Each problem with the newest schema, on one line."""
    with pytest.raises(InvalidConfig) as caught:
        serve_config.read(text.encode(), "f", schemas.schema())
    return [str(replace(problem, snippet="")) for problem in caught.value.problems]


def test_a_schema_finds_what_serve_would_drop_and_says_each_thing_once() -> None:
    """At the key, with what is known of the place already left as it is said best."""
    text = "applications:\n- name: a\n  import_path: a:b\n  route_prefx: /a\n- name: 5\n  import_path: m:x\n"
    assert against(text) == [
        "f:4:3: unknown key 'route_prefx' in application 'a' (did you mean 'route_prefix'?). Serve would "
        "drop it without a word",
        "f:5:3: the route prefix '/' (the default) is that of application 'a' too: give it another. Serve "
        "would refuse the whole config",
        "f:5:9: the `name` of this application is text, not a number: quote it",
    ]


def test_in_the_single_application_form_faults_are_where_they_stand() -> None:
    """Also for what is moved to `http_options`."""
    text = "import_path: a:b\nport: x\nhttp_options:\n  prt: 1\ndeployments:\n- name: D\n  num_replica: 2\n"
    places = [line.split(": ")[0] for line in against(text)]
    assert places == ["f:2:7", "f:4:3", "f:7:3"]


def test_a_warning_does_not_keep_a_config_from_being_sent() -> None:
    """A field of a plug-in in a `runtime_env`; the notes tell of it."""
    text = b"applications:\n- {name: a, import_path: 'a:b', runtime_env: {our_own_plugin: 1}}\n"
    reading = serve_config.read(text, "f", schemas.schema())
    (warning,) = reading.warnings
    assert warning.severity is Severity.WARNING
    _, (note,) = serve_config.parse(text, "f", schemas.schema())
    assert note.startswith("f:2:47: unknown key 'our_own_plugin' in a `runtime_env`")


def test_what_somebody_else_finds_has_its_place() -> None:
    """Ray's own validator speaks of the body that is sent."""
    reading = serve_config.read(b"import_path: a:b\nhost: x\n", "f", schemas.schema())
    found = reading.problem(Fault(path=("http_options", "host"), message="no", code="other"))
    assert (found.line, found.column, found.code) == (2, 7, "other")
