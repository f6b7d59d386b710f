"""Each way to differ from the current release has its class and its sentence; nothing else is drift."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.body import applications
from deployer.core.drift import find, restart_needed
from deployer.core.events import DriftClass, Kind
from deployer.core.record import Finished, Record, Result
from deployer.core.types import Policy, Release, ServeConfig
from tests.support.build import START, app, deployment, live, release, revision

if TYPE_CHECKING:
    from deployer.core.live import Live

GOOD = release("a", "fruit", "math")


NOTHING = Release(revision=revision("nothing"), config=ServeConfig(text='{"applications":[]}', digest="d"))
FAILED_HEAL = Finished(
    id="staging#2",
    kind=Kind.HEAL,
    release=GOOD,
    policy=Policy(),
    result=Result.FAILED,
    finished_at=START,
    nonce="n2",
)


def record(good: Release | None = GOOD, **more: Any) -> Record:
    """The record of an environment whose current release this is."""
    names = frozenset(good.config.applications() if good else ())
    return replace(Record(environment="staging"), **{"good": good, "apps": names, "session": "s1", **more})


def cluster(nonce: str = "", *, fruit: dict[str, Any] | None = None, **more: Any) -> Live:
    """The cluster as the release says, with `fruit` and the whole changed so."""
    apps = (
        app(name, **{"config": sent, **((fruit or {}) if name == "fruit" else {})})
        for name, sent in applications(GOOD, nonce).items()
    )
    return live(*apps, **{"session": "s1", **more})


def with_top(**keys: Any) -> Release:
    """A release with these keys beside its applications."""
    text = json.dumps({**GOOD.config.body(), **keys})
    return Release(revision=revision("top"), config=ServeConfig(text=text, digest="sha256:0"))


def without(*names: str) -> Live:
    """The cluster without these."""
    there = cluster()
    return replace(there, apps={name: one for name, one in there.apps.items() if name not in names})


def plus(**more: Any) -> Live:
    """The cluster with one application more."""
    there = cluster()
    return replace(there, apps={**there.apps, "old": app("old", **{"config": {"name": "old"}, **more})})


NONE = [
    pytest.param(cluster(), record(), id="as it is"),
    pytest.param(live(), record(None), id="there is no current release"),
    pytest.param(cluster(session=None), record(), id="Ray 2.9.3 names no session"),
    pytest.param(cluster(), record(session=None), id="the session was not known"),
    pytest.param(cluster("n1"), record(good_nonce="n1"), id="sent with a nonce"),
    pytest.param(
        cluster("n2"),
        record(good_nonce="n1", last=FAILED_HEAL),
        id="sent by a heal that failed, with its nonce",
    ),
    pytest.param(live(), record(NOTHING, session="s2"), id="a release of nothing"),
    pytest.param(
        replace(plus(), target_capacity=50.0),
        record(),
        id="another capacity, beside somebody else's application",
    ),
    pytest.param(plus(), record(), id="somebody else's application"),
    pytest.param(plus(source="imperative"), record(apps=frozenset({"old"})), id="ours, as a `serve run`"),
    pytest.param(plus(status="DELETING"), record(apps=frozenset({"old"})), id="ours, going"),
    pytest.param(cluster(fruit={"status": "DEPLOYING"}), record(), id="somebody put the same again"),
    pytest.param(cluster(fruit={"status": "NOT_STARTED"}), record(), id="not started yet"),
    *(
        pytest.param(
            cluster(fruit={"deployments": (deployment(status=status, running=7, target=9),)}),
            record(),
            id=status,
        )
        for status in ("UPDATING", "UPSCALING", "DOWNSCALING")
    ),
    pytest.param(cluster(target_capacity=100.0), record(), id="the whole capacity"),
    pytest.param(cluster(), record(with_top(target_capacity=None)), id="a null capacity"),
    pytest.param(cluster(target_capacity=50.0), record(with_top(target_capacity="50")), id="a capacity"),
]


@pytest.mark.parametrize(("there", "known"), NONE)
def test_what_is_as_it_was_left_is_no_drift(there: Live, known: Record) -> None:
    """A false alarm would put a good release again and again."""
    assert find(there, known) is None


EDITED = DriftClass.EDITED
FOUND = [
    pytest.param(
        cluster(session="s2"),
        record(),
        DriftClass.LOST,
        "The Ray head is another one (session s2) than the one that the release was brought to (s1).",
        id="another head",
    ),
    pytest.param(
        cluster(serve_started=False),
        record(),
        DriftClass.LOST,
        "Serve does not run on the cluster any more.",
        id="no Serve",
    ),
    pytest.param(
        live(app("fruit", "DELETING"), app("zoo"), session="s1"),
        record(),
        DriftClass.LOST,
        "Nothing of the release is on the cluster any more: fruit, math.",
        id="nothing there",
    ),
    pytest.param(
        without("math"),
        record(),
        DriftClass.MISSING,
        "math is not on the cluster any more.",
        id="one is missing",
    ),
    pytest.param(
        cluster(fruit={"status": "DELETING", "config": None}),
        record(),
        DriftClass.MISSING,
        "fruit is not on the cluster any more.",
        id="one is going",
    ),
    pytest.param(
        live(app("a"), session="s1"),
        record(release("x", *"abcde")),
        DriftClass.MISSING,
        "b, c, d and 1 more are not on the cluster any more.",
        id="many are missing",
    ),
    pytest.param(
        cluster(fruit={"source": "imperative"}),
        record(),
        EDITED,
        "fruit was replaced by a `serve run`.",
        id="a `serve run` over it",
    ),
    pytest.param(
        cluster(fruit={"config": {"name": "fruit", "import_path": "good:app", "route_prefix": "/secret"}}),
        record(),
        EDITED,
        "fruit has another config than the release, first at route_prefix.",
        id="another value",
    ),
    pytest.param(
        cluster(),
        record(good_nonce="n1"),
        EDITED,
        "fruit has another config than the release, first at runtime_env.",
        id="without the nonce",
    ),
    pytest.param(
        plus(),
        record(apps=frozenset({"old"})),
        EDITED,
        "old is on the cluster, and the release does not list it.",
        id="one is back",
    ),
    pytest.param(
        plus(),
        record(good_policy=Policy(owns=("old",))),
        EDITED,
        "old is on the cluster, and the release does not list it.",
        id="one that we own by policy",
    ),
    pytest.param(
        replace(plus(source="imperative", config=None), target_capacity=50.0),
        record(),
        EDITED,
        "The cluster's target_capacity is not that of the release.",
        id="another capacity, beside a `serve run`",
    ),
    pytest.param(
        cluster(target_capacity=50.0),
        record(),
        EDITED,
        "The cluster's target_capacity is not that of the release.",
        id="another capacity",
    ),
    pytest.param(
        cluster(),
        record(with_top(target_capacity=50)),
        EDITED,
        "The cluster's target_capacity is not that of the release.",
        id="without its capacity",
    ),
    pytest.param(
        cluster(fruit={"config": None, "status": "UNHEALTHY"}),
        record(),
        DriftClass.UNKNOWN,
        "fruit is on the cluster, but Serve tells no config of it.",
        id="no config",
    ),
    pytest.param(
        cluster(fruit={"status": "DANCING"}),
        record(),
        DriftClass.UNKNOWN,
        "fruit has a status that is not known: 'DANCING'.",
        id="a new status",
    ),
    pytest.param(
        cluster(fruit={"deployments": (deployment(status="DAN\nCING"),)}),
        record(),
        DriftClass.UNKNOWN,
        r"fruit/D has a status that is not known: 'DAN\nCING'.",
        id="a new status of a deployment",
    ),
    pytest.param(
        cluster(fruit={"status": "UNHEALTHY", "deployments": (deployment(), deployment("E", "UNHEALTHY"))}),
        record(),
        DriftClass.SICK,
        "fruit/E is UNHEALTHY.",
        id="a deployment is sick",
    ),
    pytest.param(
        cluster(fruit={"status": "DEPLOY_FAILED", "deployments": ()}),
        record(),
        DriftClass.SICK,
        "fruit is DEPLOY_FAILED.",
        id="an application is sick",
    ),
]


@pytest.mark.parametrize(("there", "known", "drift", "sentence"), FOUND)
def test_each_way_to_differ_is_told(there: Live, known: Record, drift: DriftClass, sentence: str) -> None:
    """With its class, and a sentence without any value of a config."""
    assert find(there, known) == (drift, sentence)


def test_what_asks_for_more_is_told_first() -> None:
    """A sick application beside a missing one is not the news."""
    worst = cluster(fruit={"status": "UNHEALTHY"})
    both = replace(worst, apps={"fruit": worst.apps["fruit"]})
    found = find(both, record())
    assert found is not None
    assert found[0] is DriftClass.MISSING


EFFECTIVE = {
    "proxy_location": "HeadOnly",
    "http_options": {
        "host": "127.0.0.1", "port": 8000, "root_path": "", "request_timeout_s": None,
        "keep_alive_timeout_s": 5, "ssl_keyfile_password": "hunter2",
    },
    "grpc_options": {"port": 9000, "grpc_servicer_functions": [], "request_timeout_s": 5.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("top", "sentences"),
    [
        ({}, ()),
        ({"proxy_location": "HeadOnly", "http_options": {"port": "8000", "request_timeout_s": None}}, ()),
        ({"grpc_options": {"request_timeout_s": 5}, "http_options": {"typo": 1}}, ()),
        ({"http_options": 5, "grpc_options": None}, ()),
        ({"http_options": {"port": 8100}}, ("http_options.port is 8000, the file says 8100",)),
        (
            {"proxy_location": "EveryNode", "http_options": {"root_path": "/x", "request_timeout_s": 5}},
            (
                "http_options.request_timeout_s is not set, the file says 5",
                "http_options.root_path is empty, the file says /x",
                "proxy_location is HeadOnly, the file says EveryNode",
            ),
        ),
        (
            {"http_options": {"ssl_keyfile_password": "hunter3"}},
            ("http_options.ssl_keyfile_password is not what the file says",),
        ),
        (
            {"grpc_options": {"grpc_servicer_functions": ["a:b"]}},
            ("grpc_options.grpc_servicer_functions is [], the file says ['a:b']",),
        ),
        (
            {"http_options": {"root_path": "/a\nb"}},
            (r"http_options.root_path is empty, the file says /a\nb",),
        ),
    ],
)
def test_an_option_that_needs_a_restart_is_told(top: dict[str, Any], sentences: tuple[str, ...]) -> None:
    """In the order of their names, what is in effect first; and never a password."""
    assert restart_needed(live(options=EFFECTIVE), with_top(**top)) == sentences


def test_where_nothing_is_told_nothing_is_said() -> None:
    """As by Ray 2.9.3, or by a cluster without Serve."""
    wanted = with_top(proxy_location="EveryNode", http_options={"port": 8100})
    assert restart_needed(live(), wanted) == ()
    assert restart_needed(live(options={"http_options": "none"}), wanted) == ()
