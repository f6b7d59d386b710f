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

from deployer.adapters.serve import transport
from deployer.adapters.serve.answers import gist, is_refused_whole
from deployer.adapters.serve.errors import BadAnswer, NoAnswer, NotConnected
from deployer.adapters.serve.parse import UNKNOWN, document, free, live
from deployer.adapters.serve.secrecy import Secrecy
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
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": 8000, "ssl_keyfile_password": "hunter2"},
        "grpc_options": {"port": 9000},
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
                            {
                                "replica_id": "r1",
                                "state": "RUNNING",
                                "node_id": "node-1",
                                "pid": 7,
                                "log_file_path": "/serve/replica_fruit_Mango_r1.log",
                            },
                            {"replica_id": "r2", "state": "STARTING"},
                        ],
                        "deployment_config": {"name": "Mango", "max_ongoing_requests": 5},
                        "recent_dead_replicas": [
                            {"replica_id": "r0", "state": "STOPPED", "log_file_path": None}
                        ],
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
        options={
            "http_options": {"host": "127.0.0.1", "port": 8000},
            "grpc_options": {"port": 9000},
            "proxy_location": "HeadOnly",
        },
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
                            Replica(
                                replica_id="r1",
                                state="RUNNING",
                                node_id="node-1",
                                log_path="serve/replica_fruit_Mango_r1.log",
                            ),
                            Replica(replica_id="r2", state="STARTING", node_id=None),
                        ),
                        dead=(Replica(replica_id="r0", state="STOPPED"),),
                        effective={"name": "Mango", "max_ongoing_requests": 5},
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


def test_odd_options_and_dead_replicas_are_left_out() -> None:
    """They are of use, but nothing stands on them: no reason to call the cluster unreadable."""
    deployment = {"deployment_config": [], "recent_dead_replicas": [None, {"replica_id": "r1"}, 3]}
    details: dict[str, Any] = {
        "http_options": None,
        "grpc_options": [],
        "proxy_location": 3,
        "applications": {"fruit": {"deployments": {"D": deployment}}},
    }
    seen = read(details)
    assert seen.options == {}
    (found,) = seen.apps["fruit"].deployments
    assert (found.effective, found.dead) == (None, (Replica(replica_id="r1", state=UNKNOWN),))


def status_of(usage: object, kinds: object = None) -> dict[str, Any]:
    """What `/api/cluster_status` answers, with this usage."""
    return {"data": {"clusterStatus": {"loadMetricsReport": {"usage": usage, "nodeTypes": kinds}}}}


def test_free_resources_have_the_names_that_a_config_uses() -> None:
    """Ray's dashboard writes them in camel case, but for those of each kind of node."""
    usage = {
        "CPU": [1.5, 4.0],
        "t4Gpu": [0.0, 2],
        "acceleratorType:A100": [0.0, 1.0],
        "objectStoreMemory": [220591.0, 100000000.0],
        "node:InternalHead": [0.001, 1.0],
        "node:127.0.0.1": [0.0, 1.0],
        "CPUGroup4Bd59Fd4E9A5B4Cff8Ca5B5D4Bfe01000000": [0.0, 1.0],
        "memory": [3.0, 1.0],
    }
    group = "CPU_group_4bd59fd4e9a5b4cff8ca5b5d4bfe01000000"
    raw = ["CPU", "t4_gpu", "accelerator_type:A100", "object_store_memory", "node:__internal_head__", group]
    found = free(status_of(usage, [[dict.fromkeys(raw, 1.0), 1]]))
    assert found == {"CPU": 2.5, "t4_gpu": 2.0, "accelerator_type:A100": 1.0, "memory": 0.0}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"data": None},
        {"data": {"clusterStatus": None}},
        status_of(None),
        status_of([]),
        status_of({}),
        status_of({"CPU": 4.0, "GPU": [1.0], "TPU": [None, 1.0]}, [None, [], [3], 4]),
    ],
)
def test_free_resources_that_are_not_told_are_none(status: dict[str, Any]) -> None:
    """As under the second autoscaler, which keeps them elsewhere."""
    assert free(status) is None


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
    assert isinstance(told, NotConnected)
    assert (told.cause, told.step) == ("its name does not resolve", "Check `cluster.address` and the DNS.")


def test_an_error_that_nobody_foresaw_is_told_in_its_own_words() -> None:
    """A later version of requests may raise something new; it is still a sentence."""
    told = transport._translated(requests.exceptions.InvalidURL("odd"), transport.Waits(connect=1, read=1))
    assert isinstance(told, NoAnswer)
    assert told.cause == "odd"


def test_the_memory_of_secrets_is_bounded_and_keeps_the_newest() -> None:
    """Rotated secrets must not pile up for years."""
    secrecy = Secrecy()
    secrecy.remember(f"secret-{n}" for n in range(5_000))
    secrecy.remember(["secret-0", "secret-3000"])
    secrecy.remember(["secret-new"])
    known = secrecy.known
    assert len(known) == 2_000
    assert {"secret-0", "secret-3000", "secret-new", "secret-4999"} <= known
    assert "secret-3002" not in known
    assert secrecy.quoted("secret-new\nand secret-4999") == "<redacted> and <redacted>"
