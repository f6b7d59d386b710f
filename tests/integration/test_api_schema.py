"""The API against its own description: schemathesis asks the real daemon whatever the description allows.

And what it does not allow: values at and beyond each limit, wrong types, unknown fields. The examples are the
same in every run. What was found once has a test of its own below.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import BaseSchema, Case
from schemathesis.checks import ignored_auth, missing_required_header
from structlog.testing import capture_logs

from deployer.web.api.once import HEADER
from tests.support.daemon_site import NAME, DaemonSite
from tests.support.eventually import eventually
from tests.support.faces import uncalled

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

# hypothesis takes the poller's thread, which waits for a random time, for a strategy that is not repeatable.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

SECONDS = 20
EXAMPLES = 8
"""Random ones of each operation, beside those at the limits."""

STREAM = "/api/v1/events"
"""Never ends, so it is asked by hand."""

ENVIRONMENT = f"/api/v1/environments/{NAME}"
ORDER = {"by": "ada", "reason": "fair day"}


def _described(**parameters: str) -> BaseSchema:
    """The operations of the API; `parameters` are always sent so."""
    config = schemathesis.Config.from_dict({"parameters": parameters, "seed": 1})
    return schemathesis.openapi.from_dict(uncalled().openapi(), config=config).exclude(path=STREAM)


ANY = _described()
KNOWN = _described(**{"path.environment": NAME, "path.rollout": f"{NAME}#1"})


class _Kept(logging.Handler):
    """What uvicorn says of a request that failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


class Watched(DaemonSite):
    """A site whose daemon's log is kept."""

    log: list[MutableMapping[str, Any]]
    errors: list[str]

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """With the token of this machine."""
        headers = {"Authorization": f"Bearer {self.api()[1]}", **more.pop("headers", {})}
        return self.http(method, path, headers=headers, **more)

    def broken(self) -> list[object]:
        """What it logged of bugs."""
        bad = {"error", "critical", "exception"}
        return [one for one in self.log if one["log_level"] in bad or "exc_info" in one] + list(self.errors)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Two commits are on the cluster."""
    made, kept = Watched(tmp_path_factory.mktemp("site")), _Kept()
    made.errors = kept.records
    logging.getLogger().addHandler(kept)
    try:
        with capture_logs() as made.log, made.running():
            for message in ("open the market", "add stalls"):
                made.push(message=message, runtime_env={"env_vars": {"STALLS": str(len(message))}})
                assert made.type("sync", NAME, "--wait").exit_code == 0
            yield made
    finally:
        logging.getLogger().removeHandler(kept)


def _ask(site: Watched, case: Case[Any]) -> None:
    url, token = site.api()
    if isinstance(case.body, dict) and case.body.get("by") is None:
        # The description cannot say that it must be there with this token, and with no other.
        case.body = {**case.body, "by": "ada"}
    if case.headers.get(HEADER):
        # A key is for one order: the same one with another is refused.
        case.headers[HEADER] = str(uuid.uuid4())
    case.call_and_validate(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=SECONDS,
        # They ask without a token until nothing is answered (429). test_permissions.py does that.
        excluded_checks=[ignored_auth, missing_required_header],
    )
    assert not site.broken()


@ANY.parametrize()
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked(site: Watched, case: Case[Any]) -> None:
    """No operation fails; each answers as the description says, and refuses what that does not allow."""
    _ask(site, case)


@KNOWN.parametrize()
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_of_what_there_is(site: Watched, case: Case[Any]) -> None:
    """The same of an environment and a rollout that there are: names at random are mostly not found."""
    _ask(site, case)


# --- by hand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({"after": "0"}, {}),
        ({}, {"Last-Event-ID": "0"}),
        ({"after": "999999999999999999"}, {"Last-Event-ID": "0"}),
        ({"after": "0", "environment": NAME}, {}),
    ],
)
def test_the_stream_is_one(site: Watched, query: dict[str, str], headers: dict[str, str]) -> None:
    """Its type is the described one, and from 0 on it has every event; the header goes before the query."""
    asked = {"Authorization": f"Bearer {site.api()[1]}", **headers}
    url = f"{site.api()[0]}{STREAM}"
    with closing(requests.get(url, params=query, headers=asked, stream=True, timeout=SECONDS)) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].partition(";")[0] == "text/event-stream"
        lines = answer.iter_lines(decode_unicode=True, chunk_size=1)
        assert next(lines).startswith("retry:")
        assert next(line for line in lines if line.startswith("id:"))
    eventually(lambda: site.hub.listeners == 0, within=SECONDS, what="nobody listens")
    assert not site.broken()


@pytest.mark.parametrize(
    "query", [{"after": "-1"}, {"after": "x"}, {"after": "9" * 19}, {"environment": "x" * 201}]
)
def test_what_is_no_place_in_the_stream_is_refused(site: Watched, query: dict[str, str]) -> None:
    """With a problem, not with a stream that says nothing."""
    answer = site.ask("GET", STREAM, params=query)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("path", [f"{ENVIRONMENT}/live", f"{ENVIRONMENT}/logs", f"{ENVIRONMENT}/plan"])
def test_a_cluster_that_is_away_is_told_as_described(site: Watched, path: str) -> None:
    """What cannot be answered without it is a problem with a status that the description has."""
    answers = uncalled().openapi()["paths"][path.replace(NAME, "{environment}")]["get"]["responses"]
    site.cluster.reachable = False
    try:
        answer = site.ask("GET", path)
    finally:
        site.cluster.reachable = True
    if path.endswith("/plan"):
        assert answer.status_code == 200
    else:
        assert answer.status_code == 502
        assert "application/problem+json" in answers["502"]["content"]
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "Connection refused" in answer.json()["detail"]


# --- what was found ----------------------------------------------------------------------------------------


def test_what_is_almost_a_boolean_is_none(site: Watched) -> None:
    """`"dry_run": 0` was carried out as if it were false; so was `"no"`."""
    for almost in (0, 1, "no", "true"):
        answer = site.ask("POST", f"{ENVIRONMENT}/sync", json={**ORDER, "dry_run": almost})
        assert answer.status_code == 422, almost


def test_a_number_is_no_time(site: Watched) -> None:
    """`since=2026` was 2026 seconds after 1970 began: everything."""
    for path in ("/api/v1/rollouts", "/api/v1/audit"):
        for number in ("2026", "0.5", "1764000000"):
            answer = site.ask("GET", path, params={"since": number})
            assert answer.status_code == 422, answer.text
            assert "2026-11-22T10:00:00Z" in answer.json()["detail"]
        for time in ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.5+02:00"):
            assert site.ask("GET", path, params={"since": time}).status_code == 200


def test_a_filter_with_a_slip_in_its_name_is_refused(site: Watched) -> None:
    """It found everything."""
    for path in ("/api/v1/rollouts", "/api/v1/audit", "/api/v1/stats"):
        answer = site.ask("GET", path, params={"enviroment": NAME})
        assert answer.status_code == 422
        assert "environment" in answer.json()["detail"]
    answer = site.ask("GET", "/api/v1/environments", params={"": "staging"})
    assert (answer.status_code, "There are: none." in answer.json()["detail"]) == (422, True)


def test_who_leaves_a_long_stream_says_nothing_to_the_log(site: Watched) -> None:
    """Each event was sent by itself: asyncio warned of every one that could not be sent, 200 at a time."""
    for command in ("pause", "resume") * 30:
        assert site.ask("POST", f"{ENVIRONMENT}/{command}", json=ORDER).status_code == 200
    for _ in range(10):
        asked = {"Authorization": f"Bearer {site.api()[1]}", "Last-Event-ID": "0"}
        requests.get(f"{site.api()[0]}{STREAM}", headers=asked, stream=True, timeout=SECONDS).close()
    eventually(lambda: site.hub.listeners == 0, within=SECONDS, what="nobody listens")
    assert not site.broken()


def test_all_methods_of_an_address_are_told(site: Watched) -> None:
    """`Allow` had the first route's alone."""
    answer = site.ask("PUT", "/api/v1/tokens")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


def test_the_description_says_what_a_problem_is() -> None:
    """Its type was told as plain JSON; and it did not say that a token is needed."""
    described = uncalled().openapi()
    for path, of in described["paths"].items():
        for operation in of.values():
            assert list(operation["responses"]["4XX"]["content"]) == ["application/problem+json"]
            assert ("security" in operation) is (path not in {"/healthz", "/readyz"})
    assert described["components"]["schemas"]["Problem"]["required"]
