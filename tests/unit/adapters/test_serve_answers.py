"""What Serve's documents and error bodies are read as, for every Ray, and for what is no Ray at all."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError

from deployer.adapters.serve import Rejected, ServeCluster, transport
from deployer.adapters.serve.answers import gist, is_refused_whole
from deployer.adapters.serve.errors import BadAnswer, NoAnswer
from deployer.adapters.serve.parse import UNKNOWN, document, live
from deployer.core.live import App, Deployment, Live, Replica
from deployer.core.scrub import plain

SAID = json.loads((Path(__file__).parents[2] / "support" / "serve_messages.json").read_text())
VERSION = {"version": "4", "ray_version": "2.60.0", "session_name": "session_1"}


def read(details: dict[str, Any], version: dict[str, Any] | None = None) -> Live:
    """The observation in these two documents."""
    return live(version or VERSION, details, plain)


def test_everything_that_serve_status_shows_is_read() -> None:
    """Ray 2.60: proxies, applications, deployments, replicas, messages, targets, the config received."""
    config = {"name": "fruit", "import_path": "fruit:app", "route_prefix": "/fruit"}
    details = {
        "controller_info": {"actor_id": "a1"},
        "proxies": {"node-1": {"node_id": "node-1", "status": "HEALTHY", "log_file_path": "/x"}},
        "target_capacity": 50,
        "restores_unset_config_options": True,
        "target_groups": [],
        "applications": {
            "fruit": {
                "name": "fruit",
                "route_prefix": "/fruit",
                "status": "DEPLOYING",
                "message": "\x1b[36mon its way\x1b[39m",
                "last_deployed_time_s": 1795384216.5,
                "deployed_app_config": config,
                "source": "declarative",
                "deployments": {
                    "Mango": {
                        "name": "Mango",
                        "status": "UPDATING",
                        "status_trigger": "CONFIG_UPDATE_STARTED",
                        "message": "",
                        "target_num_replicas": 2,
                        "replicas": [
                            {"replica_id": "r1", "state": "RUNNING", "node_id": "node-1", "pid": 7},
                            {"replica_id": "r2", "state": "STARTING"},
                        ],
                        "recent_dead_replicas": [],
                    }
                },
            }
        },
    }
    assert read(details) == Live(
        session="session_1",
        ray_version="2.60.0",
        serve_started=True,
        proxies={"node-1": "HEALTHY"},
        target_capacity=50.0,
        restores_unset_options=True,
        apps={
            "fruit": App(
                name="fruit",
                status="DEPLOYING",
                message="on its way",
                route_prefix="/fruit",
                last_deployed_time_s=1795384216.5,
                source="declarative",
                config=config,
                deployments=(
                    Deployment(
                        name="Mango",
                        status="UPDATING",
                        status_trigger="CONFIG_UPDATE_STARTED",
                        target_replicas=2,
                        replicas=(
                            Replica(replica_id="r1", state="RUNNING", node_id="node-1"),
                            Replica(replica_id="r2", state="STARTING", node_id=None),
                        ),
                    ),
                ),
            )
        },
    )


def test_an_old_ray_says_less() -> None:
    """Ray 2.9.3 names no session, no source and no target; what it does not say is not made up."""
    details = {
        "controller_info": {"actor_id": "a1"},
        "deploy_mode": "EveryNode",
        "proxies": {},
        "target_capacity": None,
        "applications": {
            "fruit": {"status": "RUNNING", "message": "", "deployments": {"Mango": {"status": "HEALTHY"}}}
        },
    }
    seen = read(details, {"version": "4", "ray_version": "2.9.3"})
    assert (seen.session, seen.ray_version, seen.restores_unset_options) == (None, "2.9.3", False)
    app = seen.apps["fruit"]
    assert (app.source, app.config, app.last_deployed_time_s) == ("", None, 0.0)
    assert app.deployments == (Deployment(name="Mango", status="HEALTHY"),)


def test_words_of_a_newer_ray_are_kept_as_they_are() -> None:
    """An unknown status is news for people, and no reason to stop reading."""
    app = {"status": "HIBERNATING", "source": "cosmic", "deployments": {"D": {"status": "DREAMING"}}}
    seen = read({"applications": {"fruit": app}}).apps["fruit"]
    assert (seen.status, seen.source, seen.deployments[0].status) == ("HIBERNATING", "cosmic", "DREAMING")


def test_names_and_words_cannot_move_a_cursor() -> None:
    """Ray accepts an application whose name holds an escape sequence."""
    app = {"status": "RUN\x1b[2JNING", "route_prefix": "/\x07x", "deployments": {"D\x1b[1m": {}}}
    seen = read({"applications": {"fr\x1b[31muit": app}}).apps["fruit"]
    assert (seen.status, seen.route_prefix, seen.deployments[0].name) == ("RUNNING", "/x", "D")


@pytest.mark.parametrize("stamp", ["soon", None, True, float("nan"), float("inf"), 10**400])
def test_a_stamp_that_is_no_number_is_none(stamp: object) -> None:
    """Not a number compares with nothing, so "has it changed" would never be answered."""
    seen = read({"applications": {"fruit": {"last_deployed_time_s": stamp}}})
    assert seen.apps["fruit"].last_deployed_time_s == 0.0
    assert seen.apps["fruit"].status == UNKNOWN


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"applications": []},
        {"applications": {"fruit": "RUNNING"}},
        {"applications": {"fruit": {"deployments": {"D": 1}}}},
        {"applications": {"fruit": {"deployments": {"D": {"replicas": [None]}}}}},
    ],
)
def test_a_document_that_is_not_serves_is_refused(details: dict[str, Any]) -> None:
    """Half of it would be worse than none: a missing application reads as a deleted one."""
    with pytest.raises(BadAnswer):
        read(details)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "message", "replicas", "D"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["applications", "proxies", "target_capacity", "controller_info"]),
        JSON | st.dictionaries(st.text(max_size=3), JSON, max_size=3),
    )
)
def test_any_document_is_either_read_or_refused(details: dict[str, Any]) -> None:
    """No other error comes out, whatever the types are."""
    seen: Live | None = None
    with suppress(BadAnswer):
        seen = read(details)
    listed = details.get("applications")
    assert seen is None or (isinstance(listed, dict) and len(seen.apps) <= len(listed))


@given(st.text())
def test_any_text_is_either_a_document_or_refused(text: str) -> None:
    """The same for what is not even JSON."""
    found: dict[str, Any] | None = None
    with suppress(BadAnswer):
        found = document(text)
    assert found is None or found == json.loads(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("schema", "applications.0.import_path: Field required"),
        (
            "controller",
            "TypeError: runtime_env['env_vars'] must be of type Dict[str, str],"
            " but the value 123456789 is of type <class 'int'>",
        ),
        ("not_json", "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("null_replicas_get", "target_num_replicas: Input should be a valid integer"),
    ],
)
def test_the_gist_of_what_ray_said(name: str, expected: str) -> None:
    """The useful line of each recorded body; nothing of what pydantic quotes."""
    assert gist(SAID["refusals"][name]["text"]) == expected


def test_the_gist_of_several_schema_errors_names_each_place() -> None:
    """A person mends all of them at once."""
    text = (
        "2 validation errors for ServeDeploySchema\n"
        "applications.0.name\n  Field required [type=missing, input_value={}, input_type=dict]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/missing\n"
        "http_options.port\n  Value error, two lines\n  of it [type=x, input_value=1, input_type=int]"
    )
    assert (
        gist(text) == "applications.0.name: Field required; http_options.port: Value error, two lines of it"
    )


@pytest.mark.parametrize(("text", "expected"), [("", "no reason given"), ("\ufeff <html>x", "a web page")])
def test_a_body_without_a_gist(text: str, expected: str) -> None:
    """There is always something to put into the sentence."""
    assert gist(text) == expected


def test_only_the_400_of_the_schema_changed_nothing() -> None:
    """The other one comes out of the controller, which was half-way through."""
    assert is_refused_whole(SAID["refusals"]["schema"]["text"])
    assert not is_refused_whole(SAID["refusals"]["controller"]["text"])
    assert not is_refused_whole(f"x: {SAID['refusals']['schema']['text']}")


def test_a_name_that_does_not_resolve() -> None:
    """Told as such. The error is built here, because a real look-up would leave the machine."""
    unknown = socket.gaierror(-2, "Name or service not known")
    cause = NameResolutionError("ray-prod", HTTPConnection("ray-prod"), unknown)
    error = requests.exceptions.ConnectionError(MaxRetryError(HTTPConnectionPool("ray-prod"), "/", cause))
    told = transport._translated(error, transport.Waits(connect=1, read=1))
    assert isinstance(told, NoAnswer)
    assert (told.cause, told.step) == ("its name does not resolve", "Check `cluster.address` and the DNS.")


def test_an_error_that_nobody_foresaw_is_told_in_its_own_words() -> None:
    """A later version of requests may raise something new; it is still a sentence."""
    told = transport._translated(requests.exceptions.InvalidURL("odd"), transport.Waits(connect=1, read=1))
    assert isinstance(told, NoAnswer)
    assert told.cause == "odd"


def test_the_memory_of_secrets_is_bounded_and_keeps_the_newest() -> None:
    """Rotated secrets must not pile up for years."""
    cluster = ServeCluster("http://127.0.0.1:1")
    cluster._remember(f"secret-{n}" for n in range(5_000))
    cluster._remember(["secret-4000"])
    assert len(cluster._secrets) == 2_000
    assert list(cluster._secrets)[-2:] == ["secret-4999", "secret-4000"]
    assert isinstance(cluster._rejected("secret-4999"), Rejected)
    assert "secret-4999" not in cluster._rejected("secret-4999").message
    cluster.close()
