"""A PUT carries everybody else's applications along, and is not sent where it would take something away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.body import NONCE, applications, compose, foreign, needs_rebuild, obstacle
from deployer.core.types import Release, ServeConfig
from tests.support.build import app, live, release, revision

if TYPE_CHECKING:
    from deployer.core.live import App, Live


def fruit(**keys: Any) -> dict[str, Any]:
    """The application `fruit` with these keys."""
    return {"name": "fruit", "import_path": "good:app", "route_prefix": "/fruit", **keys}


def theirs(name: str, **more: Any) -> App:
    """Somebody else's application."""
    config = {"name": name, "import_path": "theirs:app", "route_prefix": f"/{name}"}
    return app(name, **{"config": config, "route_prefix": f"/{name}", **more})


def with_env(name: str, value: str) -> dict[str, Any]:
    """A config with an environment variable."""
    return {"name": name, "import_path": "a:b", "runtime_env": {"env_vars": {"TOKEN": value}}}


def test_without_a_nonce_the_applications_are_sent_as_the_file_says() -> None:
    """Nothing is added that would be another code version to Serve."""
    assert applications(release("a", fruit()), "") == {"fruit": fruit()}


@pytest.mark.parametrize(
    ("runtime_env", "sent"),
    [
        ({}, {"env_vars": {NONCE: "n1"}}),
        (
            {"pip": ["x"], "env_vars": {"A": "b"}},
            {"pip": ["x"], "env_vars": {"A": "b", NONCE: "n1"}},
        ),
        ({"env_vars": None}, {"env_vars": {NONCE: "n1"}}),
        (["what Serve refuses"], ["what Serve refuses"]),
    ],
)
def test_the_nonce_stands_beside_what_the_runtime_env_has(runtime_env: object, sent: object) -> None:
    """It changes the code version and nothing else."""
    assert applications(release("a", fruit(runtime_env=runtime_env)), "n1")["fruit"] == fruit(
        runtime_env=sent
    )


def test_the_nonce_is_in_every_application_also_in_one_without_a_runtime_env() -> None:
    """All of them are to be built again."""
    sent = applications(release("a", "x", "y"), "n1")
    assert [one["runtime_env"] for one in sent.values()] == [{"env_vars": {NONCE: "n1"}}] * 2


def test_a_body_holds_our_applications_and_everybody_elses() -> None:
    """Else Serve would delete theirs. What is ours and not listed goes; `serve run` needs no listing."""
    there = live(
        theirs("zoo"),
        theirs("bees"),
        theirs("script", source="imperative", config=None),
        theirs("going", status="DELETING", config=None),
        theirs("old"),
        theirs("orphan", config=None),
    )
    body = compose(release("a", fruit()), "", there, {"old"})
    assert body == {"applications": [there.apps["bees"].config, fruit(), there.apps["zoo"].config]}
    assert compose(release("a", fruit()), "", live(theirs("fruit")), ()) == {"applications": [fruit()]}


def test_a_body_has_the_releases_own_top_level_keys_and_its_nonce() -> None:
    """They belong to the file; only the list is made up."""
    config = ServeConfig(
        text='{"applications":[{"import_path":"a:b","name":"fruit"}],"http_options":{"port":8100}}', digest=""
    )
    body = compose(Release(revision=revision("a"), config=config), "n1", live(), ())
    assert body["http_options"] == {"port": 8100}
    assert body["applications"][0]["runtime_env"] == {"env_vars": {NONCE: "n1"}}


def test_foreign_is_what_is_not_ours_and_not_going() -> None:
    """Declarative or not, in the order of names."""
    there = live(
        theirs("zoo"), theirs("script", source="imperative"), theirs("old"), theirs("x", status="DELETING")
    )
    assert foreign(there, ["old"]) == ("script", "zoo")


NOTHING_IN_THE_WAY = [
    pytest.param(live(), id="an empty cluster"),
    pytest.param(live(theirs("zoo")), id="another application"),
    pytest.param(live(theirs("mine", source="imperative", route_prefix="/fruit")), id="one we own"),
    pytest.param(live(theirs("script", source="imperative", config=None)), id="a `serve run`"),
    pytest.param(live(theirs("zoo", status="DELETING", config=None, route_prefix="/fruit")), id="going"),
    pytest.param(live(theirs("fruit", status="DELETING", source="imperative")), id="our name, going"),
    pytest.param(live(theirs("zoo", route_prefix=None, config={"route_prefix": None})), id="no prefix"),
    pytest.param(
        live(theirs("zoo", config=with_env("zoo", "plain") | {"deployments": [{"name": "D"}]})), id="values"
    ),
    pytest.param(live(theirs("zoo", config={"runtime_env": {"env_vars": None}})), id="no values"),
]


@pytest.mark.parametrize("there", NOTHING_IN_THE_WAY)
def test_a_body_that_takes_nothing_away_is_sent(there: Live) -> None:
    """There is no reason to wait for a person."""
    assert obstacle(release("a", fruit()), there, {"mine"}, {"zoo": "production"}) is None


def test_what_runs_under_a_wanted_name_is_adopted_only_at_the_beginning() -> None:
    """Later it is somebody else's, whom a rollback would take it away from."""
    there = live(theirs("fruit", config=with_env("fruit", "<redacted>")))

    assert obstacle(release("a", fruit()), there, {"mine"}, {}, adopts=True) is None
    assert obstacle(release("a", fruit()), there, {"fruit"}, {}) is None
    assert obstacle(release("a", fruit()), there, {"mine"}, {}) == (
        "Application fruit runs on the cluster already, and is not this environment's: give ours another "
        "name, or list it under `owns` in environment.yaml to replace it."
    )


IN_THE_WAY = [
    pytest.param(
        live(theirs("fruit", source="imperative", config=None)),
        "Application fruit was started on the cluster with `serve run`, and is not this environment's: "
        "delete it with `serve.delete('fruit')`, give ours another name, or list it under `owns` in "
        "environment.yaml to replace it.",
        id="the name of a `serve run`",
    ),
    pytest.param(
        live(theirs("zoo", source="imperative", route_prefix="/fruit")),
        "Application fruit wants the route prefix /fruit, and so does zoo, which is not this environment's: "
        "give one of them another `route_prefix`.",
        id="the prefix of a `serve run`",
    ),
    pytest.param(
        live(theirs("zoo", route_prefix=None, config={"route_prefix": "/fruit"})),
        "Application fruit wants the route prefix /fruit, and so does zoo, which is not this environment's: "
        "give one of them another `route_prefix`.",
        id="the prefix of one that is not up yet",
    ),
    pytest.param(
        live(theirs("zoo", config=None)),
        "Application zoo is not this environment's, and Serve tells no config of it, so that it would be "
        "deleted: its owner has to deploy it again, or to delete it.",
        id="left by a half-applied PUT",
    ),
    pytest.param(
        live(theirs("a\nb", config=None)),
        r"Application a\nb is not this environment's, and Serve tells no config of it, so that it would be "
        "deleted: its owner has to deploy it again, or to delete it.",
        id="one line whatever the name",
    ),
]
REDACTED = [
    with_env("zoo", "<redacted>"),
    {"deployments": [{"name": "D", "ray_actor_options": with_env("D", "<redacted>")}]},
]


@pytest.mark.parametrize(("there", "sentence"), IN_THE_WAY)
def test_it_is_said_what_is_in_the_way_and_what_to_do(there: Live, sentence: str) -> None:
    """A PUT would take it over, steal its traffic, or delete it."""
    assert obstacle(release("a", fruit()), there, (), {}) == sentence


@pytest.mark.parametrize("config", REDACTED)
def test_masked_values_are_never_sent_back(config: dict[str, Any]) -> None:
    """Their owner's secrets would be replaced by the mask."""
    there = live(theirs("zoo", config={**config, "route_prefix": "/zoo"}))
    assert "zoo is not this environment's, and Ray hides" in str(obstacle(release("a", "x"), there, (), {}))


def test_a_name_that_another_environment_has_is_not_taken() -> None:
    """Two environments that put the same name would fight for ever."""
    assert obstacle(release("a", fruit()), live(), {"fruit"}, {"fruit": "production"}) == (
        "Application fruit belongs to environment production on the same cluster: "
        "give one of the two another name."
    )


def test_a_prefix_that_a_release_uses_twice_is_not_sent() -> None:
    """Serve refuses it; the default is `/`, and null is no prefix."""
    twice = release("a", {"name": "a", "import_path": "a:b"}, {"name": "b", "import_path": "a:b"})
    assert obstacle(twice, live(), (), {}) == (
        "Application b wants the route prefix /, and so does a: give one of them another `route_prefix`."
    )
    none = release("a", *({"name": name, "import_path": "a:b", "route_prefix": None} for name in "ab"))
    assert obstacle(none, live(), (), {}) is None


KEPT = [
    pytest.param(fruit(), fruit(), id="the same"),
    pytest.param(fruit(), fruit(external_scaler_enabled=False), id="an option more"),
    pytest.param(fruit(logging_config={}), fruit(), id="a logging_config, which may be anybody's"),
    pytest.param(fruit(deployments=[{"name": "D"}]), fruit(), id="a deployment without options"),
    pytest.param(
        fruit(deployments=[{"name": "D", "num_replicas": 1}]),
        fruit(deployments=[{"name": "D", "num_replicas": 2}]),
        id="another value",
    ),
    pytest.param(
        fruit(deployments=[{"name": "D", "user_config": {"a": 1, "b": 2}}]),
        fruit(deployments=[{"name": "D", "user_config": {"a": 1}}]),
        id="a user config, which is replaced as a whole",
    ),
    pytest.param(
        fruit(deployments=[{"name": "D", "num_replicas": 1}], args={"a": 1}), fruit(), id="other args"
    ),
    pytest.param(
        fruit(external_scaler_enabled=True), fruit(import_path="good:other"), id="another import path"
    ),
    pytest.param(
        fruit(external_scaler_enabled=True, runtime_env={"env_vars": {NONCE: "n1"}}), fruit(), id="a nonce"
    ),
    pytest.param(
        fruit(deployments=[{"name": "D", "ray_actor_options": None}]),
        fruit(deployments=[{"name": "D", "ray_actor_options": {"num_cpus": 1}}]),
        id="a null",
    ),
    pytest.param(fruit(deployments="no list"), fruit(), id="what Serve never reports"),
]
STUCK = [
    pytest.param(fruit(external_scaler_enabled=True), fruit(), id="of the application"),
    pytest.param(fruit(deployments=[{"name": "D", "num_replicas": 1}]), fruit(), id="of a deployment"),
    pytest.param(
        fruit(deployments=[{"name": "D", "user_config": {}}], runtime_env={}, args={}),
        fruit(deployments=[{"name": "D"}]),
        id="user config; no runtime_env is an empty one",
    ),
    *(
        pytest.param(
            fruit(deployments=[{"name": "D", group: {"a": 1, "b": 2}}]),
            fruit(deployments=[{"name": "D", group: {"a": 1}}]),
            id=f"inside {group}",
        )
        for group in ("ray_actor_options", "autoscaling_config")
    ),
]


@pytest.mark.parametrize(("reported", "sent"), KEPT)
def test_a_put_that_leaves_nothing_behind_needs_no_rebuild(
    reported: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Nothing that the release does not set is in force, or the code is another anyway."""
    assert not needs_rebuild(release("a", sent), live(app("fruit", config=reported)))


@pytest.mark.parametrize(("reported", "sent"), STUCK)
def test_an_option_that_would_stay_needs_a_rebuild_on_an_older_ray(
    reported: dict[str, Any], sent: dict[str, Any]
) -> None:
    """Ray 2.60 says of itself that it restores it."""
    there = app("fruit", config=reported)
    assert needs_rebuild(release("a", sent), live(there))
    assert not needs_rebuild(release("a", sent), live(there), nonce="n1")
    assert not needs_rebuild(release("a", sent), live(there, restores_unset_options=True))


@pytest.mark.parametrize("there", [live(), live(app("fruit", config=None)), live(theirs("zoo"))])
def test_where_nothing_of_ours_runs_nothing_can_stay(there: Live) -> None:
    """Also not of an application whose config is not told."""
    assert not needs_rebuild(release("a", fruit()), there)
