"""What comes of a running cluster: all that it runs, as it runs it, or a sentence about what is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters import schemas
from deployer.core import serve_config
from deployer.core.adopt import Adoption, adopt
from tests.support.build import app, live

if TYPE_CHECKING:
    from deployer.core.live import Live

DEFAULT_HTTP = {
    "host": "0.0.0.0",
    "port": 8000,
    "root_path": "",
    "request_timeout_s": None,
    "keep_alive_timeout_s": 90,
    "ssl_keyfile": None,
    "ssl_certfile": None,
    "ssl_ca_certs": None,
}
DEFAULT_GRPC = {
    "port": 9000,
    "grpc_servicer_functions": [],
    "request_timeout_s": None,
    "enable_reflection": True,
}
DEFAULT = {"proxy_location": "EveryNode", "http_options": DEFAULT_HTTP, "grpc_options": DEFAULT_GRPC}


def config(name: str, **more: Any) -> dict[str, Any]:
    """What Serve reports of a small application."""
    return {"name": name, "import_path": "good:app", "route_prefix": f"/{name}", **more}


def of(seen: Live) -> Adoption:
    """What is adopted, held against the schema of its Ray."""
    return adopt(seen, schemas.schema(seen.ray_version))


def one(**more: Any) -> Adoption:
    """What is adopted of a cluster with one application, with this in its config."""
    return of(live(app("fruit", config=config("fruit", **more)), options=DEFAULT))


def test_everything_is_taken_as_it_is() -> None:
    """In the order of the names, and nothing is said where nothing is to be known."""
    fruit = config("fruit", deployments=[{"name": "D", "num_replicas": 2}])
    found = of(live(app("math", config=config("math")), app("fruit", config=fruit), options=DEFAULT))
    assert found == Adoption(body={"applications": [fruit, config("math")]})
    text = json.dumps(found.body).encode()
    assert serve_config.read(text, "f", schemas.schema()).config == serve_config.canonical(found.body)


def test_a_name_that_was_never_sent_is_added() -> None:
    """Serve's default; deployer wants it written down."""
    nameless = {"import_path": "good:app"}
    found = of(live(app("default", config=nameless), options=DEFAULT))
    assert found.body["applications"] == [{"name": "default", **nameless}]


def test_what_cannot_be_taken_is_named() -> None:
    """Started with `serve run`, half applied, or on its way out: none of it vanishes without a word."""
    found = of(
        live(
            app("gone", "DELETING", config=config("gone")),
            app("half", config=None),
            app("notebook", source="imperative", config=config("notebook")),
            options=DEFAULT,
        )
    )
    assert found.body == {"applications": []}
    assert [text.partition(",")[0].partition(" and Serve")[0] for text in found.left_out] == [
        "Application 'gone' is being deleted",
        "Application 'half' is left over from a change that Serve applied only half",
        "Application 'notebook' was started with `serve run`",
    ]
    assert all(text.endswith(".") for text in found.left_out)


def test_what_is_not_running_is_taken_and_told() -> None:
    """The first deploy would not mend it either."""
    found = of(live(app("fruit", "DEPLOY_FAILED", config=config("fruit")), options=DEFAULT))
    assert len(found.body["applications"]) == 1
    assert found.notes == ("Application 'fruit' is DEPLOY_FAILED now. Its config is taken as it is.",)


def test_a_share_of_the_capacity_stays() -> None:
    """Without it the first deploy would start the other replicas."""
    seen = live(app("fruit", config=config("fruit")), options=DEFAULT, target_capacity=50.0)
    found = of(seen)
    assert list(found.body) == ["target_capacity", "applications"]
    assert repr(found.body["target_capacity"]) == "50"
    assert "`target_capacity` of 50" in found.notes[0]
    half = of(live(app("fruit", config=config("fruit")), options=DEFAULT, target_capacity=12.5))
    assert half.body["target_capacity"] == 12.5


@pytest.mark.parametrize("capacity", [None, 100.0])
def test_all_of_the_capacity_is_the_default(capacity: float | None) -> None:
    """Nothing to write down."""
    seen = live(app("fruit", config=config("fruit")), options=DEFAULT, target_capacity=capacity)
    assert list(of(seen).body) == ["applications"]


def test_what_serve_was_started_with_is_taken_where_it_is_not_the_default() -> None:
    """A head that is replaced starts Serve from the file: its applications must come back where they were."""
    options = {
        "proxy_location": "HeadOnly",
        "http_options": {**DEFAULT_HTTP, "port": 8100, "location": "NoServer", "keep_alive_timeout_s": 5},
        "grpc_options": {**DEFAULT_GRPC, "grpc_servicer_functions": ["a.b.c"], "port": 9000},
    }
    found = of(live(app("fruit", config=config("fruit")), options=options))
    assert found.body == {
        "proxy_location": "HeadOnly",
        "http_options": {"port": 8100, "keep_alive_timeout_s": 5},
        "grpc_options": {"grpc_servicer_functions": ["a.b.c"], "enable_reflection": True},
        "applications": [config("fruit")],
    }
    assert found.notes == (
        "Serve was started with another `proxy_location` and `http_options` and `grpc_options` than its"
        " default, so that is in the file: it is read again only when Serve starts.",
    )


def test_the_password_of_a_key_file_is_asked_for() -> None:
    """It is never read from the cluster, so somebody has to know."""
    options = {"http_options": {**DEFAULT_HTTP, "ssl_keyfile": "/k", "ssl_certfile": "/c"}}
    found = of(live(app("fruit", config=config("fruit")), options=options))
    assert found.body["http_options"] == {"ssl_keyfile": "/k", "ssl_certfile": "/c"}
    assert "ssl_keyfile_password" in found.notes[1]


@pytest.mark.parametrize(
    ("ray_version", "seconds", "is_default"),
    [
        ("2.9.3", 5, True),
        ("2.9.3", 90, False),
        ("2.47.1", 5, True),
        ("2.48.0", 5, False),
        ("2.49.0", 90, False),
        ("2.50.1", 90, True),
        ("2.60.0", 5, False),
        ("nightly", 90, False),
    ],
)
def test_how_long_idle_connections_are_kept(ray_version: str, seconds: int, *, is_default: bool) -> None:
    """The one default that changed; where it is not known, what is in effect is written down."""
    options = {"http_options": {"keep_alive_timeout_s": seconds}}
    seen = live(app("fruit", config=config("fruit")), options=options, ray_version=ray_version)
    assert ("http_options" not in adopt(seen, schemas.schema()).body) == is_default


def test_logging_comes_from_the_top_of_a_config() -> None:
    """Serve copies it, and tells the copies only: to have them in the file changes nothing."""
    found = one(logging_config={"log_level": "DEBUG"})
    assert found.body["applications"][0]["logging_config"] == {"log_level": "DEBUG"}
    assert len(found.notes) == 1
    assert "logging_config" in found.notes[0]


def test_what_may_be_secret_is_named_and_never_shown() -> None:
    """Environment variables, what is named like a secret, and addresses with a password."""
    found = one(
        args={"api_key": None, "sizes": [1, 2]},
        runtime_env={
            "env_vars": {"HF_TOKEN": "hunter2hunter2"},
            "working_dir": "https://user:hunter3@git.example.com/a.zip",
        },
        deployments=[{"name": "D", "user_config": {"db": {"password": "hunter4"}}}],
    )
    assert found.secrets == (
        "runtime_env.env_vars.HF_TOKEN of application 'fruit'",
        "runtime_env.working_dir of application 'fruit'",
        "deployments.user_config.db.password of application 'fruit'",
    )
    assert "hunter" not in repr(found)
    assert found.hidden == ()


def test_what_ray_hides_is_known_to_be_hidden() -> None:
    """To write `<redacted>` into a file would break what runs."""
    hidden = {"env_vars": {"A": "<redacted>", "B": "x"}}
    found = one(deployments=[{"name": "D", "ray_actor_options": {"runtime_env": hidden}}])
    assert found.hidden == ("deployments.ray_actor_options.runtime_env.env_vars.A of application 'fruit'",)


def test_a_hostile_name_stays_in_its_line() -> None:
    """Serve takes any text as a name."""
    name = "a\nb\x1b[31m"
    found = of(live(app(name, "UNHEALTHY", config=config("x")), app("z\n", config=None)))
    assert all(text.isprintable() for text in (*found.notes, *found.left_out))
