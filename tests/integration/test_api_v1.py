"""The API for programs: what may be relied on beside its answers. Real HTTP, real git, a real store."""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import requests
from structlog.testing import capture_logs

from deployer.web.access import rules
from tests.support import openapi
from tests.support.daemon_site import NAME, DaemonSite
from tests.support.eventually import eventually
from tests.support.faces import uncalled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = f"/api/v1/environments/{NAME}"
ORDER = {"by": "ada", "reason": "fair day"}
SECONDS = 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonSite]:
    """A site whose daemon has brought two commits to the cluster."""
    made = DaemonSite(tmp_path_factory.mktemp("site"))
    with capture_logs(), made.running():
        for message in ("open the market", "add stalls"):
            made.push(message=message, runtime_env={"env_vars": {"STALLS": str(len(message))}})
            assert made.type("sync", NAME, "--wait").exit_code == 0
        yield made


def ask(site: DaemonSite, method: str, path: str, **more: Any) -> requests.Response:
    """With the token of this machine."""
    headers = {"Authorization": f"Bearer {site.api()[1]}", **more.pop("headers", {})}
    return site.http(method, path, headers=headers, **more)


def get(site: DaemonSite, path: str, **more: Any) -> Any:
    """What a GET that works answers."""
    answer = ask(site, "GET", path, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- what it says of itself --------------------------------------------------------------------------------


def test_the_description_is_the_committed_one() -> None:
    """A change of the API shows in a review: `python -m tests.support.openapi` writes the file anew."""
    assert openapi.PAGE.read_text() == openapi.described()


def test_the_description_has_every_route_of_the_api(site: DaemonSite) -> None:
    """And each is served under `/api/v1/openapi.json`, to those who may read."""
    described = get(site, "/api/v1/openapi.json")["paths"]
    routes = {
        (method.lower(), path)
        for method, path, _ in rules(uncalled())
        if path.startswith("/api/") and not path.endswith("openapi.json")
    }
    assert routes == {
        (method, path) for path, of in described.items() for method in of if path.startswith("/api/")
    }


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/environments",
        ENVIRONMENT,
        f"{ENVIRONMENT}/gates",
        f"{ENVIRONMENT}/plan",
        f"{ENVIRONMENT}/releases",
        "/api/v1/rollouts",
        f"/api/v1/rollouts/{NAME}%231",
        "/api/v1/audit",
        "/api/v1/stats",
        "/api/v1/settings",
        "/api/v1/tokens",
    ],
)
def test_each_read_is_answered_and_has_a_tag(site: DaemonSite, path: str) -> None:
    """Who has the newest answer is told so, without it."""
    first = ask(site, "GET", path)
    tag = first.headers["ETag"] if path != "/api/v1/tokens" else ""
    assert first.status_code == 200
    assert first.json()
    if tag and ask(site, "GET", path).content == first.content:
        for known in (tag, f"W/{tag}", f'"other", {tag}'):
            again = ask(site, "GET", path, headers={"If-None-Match": known})
            assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert ask(site, "GET", path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_history_is_read_page_by_page(site: DaemonSite) -> None:
    """Each rollout once, the newest first."""
    whole = [one["id"] for one in get(site, "/api/v1/rollouts")["items"]]
    paged, cursor = [], None
    while True:
        page = get(site, "/api/v1/rollouts", params={"limit": 1, **({"before": cursor} if cursor else {})})
        paged += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert paged == whole
    assert whole == [f"{NAME}#2", f"{NAME}#1"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/rollouts?limit=0", 422),
        ("/api/v1/rollouts?limit=201", 422),
        ("/api/v1/rollouts?kind=nonsense", 422),
        ("/api/v1/rollouts?since=yesterday", 422),
        ("/api/v1/rollouts?since=2026-11-23T10:00:00", 422),
        ("/api/v1/rollouts?before=nonsense", 422),
        ("/api/v1/rollouts/nonsense", 404),
        (f"/api/v1/rollouts/{NAME}%2399", 404),
        ("/api/v1/environments/prod", 404),
        (f"{ENVIRONMENT}/plan?to=nonsense", 404),
    ],
)
def test_what_cannot_be_answered_is_a_problem(site: DaemonSite, path: str, status: int) -> None:
    """With a sentence."""
    answer = ask(site, "GET", path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert len(answer.json()["detail"]) > 20


def test_ready_means_that_the_store_can_be_written(site: DaemonSite) -> None:
    """Nobody needs a token to ask."""
    answer = site.http("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_the_badge_says_how_it_is(site: DaemonSite) -> None:
    """In the words of the status."""
    answer = ask(site, "GET", f"/badge/{NAME}.svg")
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert f"<title>{NAME}: Healthy</title>" in answer.text


# --- once --------------------------------------------------------------------------------------------------


def pauses(site: DaemonSite) -> int:
    """How often it was paused."""
    found = get(site, "/api/v1/audit", params={"type": "paused", "limit": 200})
    return len(found["items"])


@pytest.fixture
def resumed(site: DaemonSite) -> Iterator[None]:
    """Nothing is paused before and after."""
    yield
    ask(site, "POST", f"{ENVIRONMENT}/resume", json=ORDER)


@pytest.mark.usefixtures("resumed")
def test_a_repeated_order_is_carried_out_once(site: DaemonSite) -> None:
    """It gets the answer of the first, although it would be another by now."""
    key, before = str(uuid.uuid4()), pauses(site)
    path = f"{ENVIRONMENT}/pause"
    first = ask(site, "POST", path, json=ORDER, headers={"Idempotency-Key": key})
    ask(site, "POST", f"{ENVIRONMENT}/resume", json=ORDER)
    again = ask(site, "POST", path, json=ORDER, headers={"Idempotency-Key": key})

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert pauses(site) == before + 1
    assert site.store.load(NAME).paused is None


@pytest.mark.usefixtures("resumed")
def test_many_repeats_at_once_are_carried_out_once(site: DaemonSite) -> None:
    """Each gets the answer, or is told to ask again."""
    key, before = str(uuid.uuid4()), pauses(site)
    found: list[requests.Response] = []

    def pause() -> None:
        found.append(ask(site, "POST", f"{ENVIRONMENT}/pause", json=ORDER, headers={"Idempotency-Key": key}))

    threads = [threading.Thread(target=pause) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    answers = {answer.text for answer in found if answer.status_code == 200}
    assert {answer.status_code for answer in found} <= {200, 409}
    assert len(answers) == 1
    assert pauses(site) == before + 1


@pytest.mark.usefixtures("resumed")
def test_a_key_is_for_one_order(site: DaemonSite) -> None:
    """Another one under the same key is refused, and so is a key that is none."""
    key = str(uuid.uuid4())
    path = f"{ENVIRONMENT}/pause"
    assert ask(site, "POST", path, json=ORDER, headers={"Idempotency-Key": key}).status_code == 200
    other = {**ORDER, "reason": "another"}
    assert ask(site, "POST", path, json=other, headers={"Idempotency-Key": key}).status_code == 422
    resume = ask(site, "POST", f"{ENVIRONMENT}/resume", json=ORDER, headers={"Idempotency-Key": key})
    assert resume.status_code == 422
    assert ask(site, "POST", path, json=ORDER, headers={"Idempotency-Key": "x" * 256}).status_code == 400
    assert site.store.load(NAME).paused is not None


# --- who is written down -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("resumed")
def test_a_token_of_ones_own_says_who_it_is(site: DaemonSite) -> None:
    """Nobody is written down as somebody else; what is no right of the role is refused."""
    made = ask(site, "POST", "/api/v1/tokens", json={"by": "ada", "name": "lin", "role": "deployer"})
    assert made.status_code in {200, 201}, made.text
    mine = {"Authorization": f"Bearer {made.json()['secret']}"}

    as_ada = site.http("POST", f"{ENVIRONMENT}/pause", headers=mine, json=ORDER)
    as_lin = site.http("POST", f"{ENVIRONMENT}/pause", headers=mine, json={"reason": "fair day"})

    assert (as_ada.status_code, as_lin.status_code) == (422, 200)
    paused = site.store.load(NAME).paused
    assert paused is not None
    assert paused.actor == f"lin (token {made.json()['id']})"
    assert site.http("GET", "/api/v1/settings", headers=mine).status_code == 403


# --- streams -----------------------------------------------------------------------------------------------


class Stream:
    """The events as they come, read in a thread."""

    def __init__(self, site: DaemonSite, **headers: str) -> None:
        """Connect."""
        url, token = site.api()
        self.items: list[dict[str, Any]] = []
        self.is_over = False
        self._answer = requests.get(
            f"{url}/api/v1/events",
            headers={"Authorization": f"Bearer {token}", **headers},
            stream=True,
            timeout=(5, 60),
        )
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self._answer.iter_lines(decode_unicode=True, chunk_size=1):
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    item = json.loads(fields["data"])
                    assert (fields["id"], fields["event"]) == (str(item["id"]), item["type"])
                    self.items.append(item)
                    fields = {}
        except (requests.RequestException, AttributeError):
            # Closed, by the other end or here: urllib3 has nothing to read from any more then.
            pass
        self.is_over = True

    def close(self) -> None:
        """Leave. Closing alone would wait for the thread's read: for the next comment of the daemon, 15 s."""
        self._answer.raw.shutdown()
        self._answer.close()
        self._thread.join(SECONDS)


@pytest.mark.usefixtures("resumed")
def test_events_come_as_they_are_written_and_none_is_missed(site: DaemonSite) -> None:
    """Who comes back with the id of the last one gets those since, once each."""
    newest = get(site, "/api/v1/audit", params={"limit": 1})["items"][0]["id"]
    with closing(Stream(site)) as first:
        ask(site, "POST", f"{ENVIRONMENT}/pause", json=ORDER)
        eventually(lambda: [one["type"] for one in first.items] == ["paused"], within=SECONDS)
        last = str(first.items[0]["id"])
    ask(site, "POST", f"{ENVIRONMENT}/resume", json=ORDER)
    ask(site, "POST", f"{ENVIRONMENT}/pause", json=ORDER)
    with closing(Stream(site, **{"Last-Event-ID": last})) as again:
        eventually(lambda: [one["type"] for one in again.items] == ["resumed", "paused"], within=SECONDS)
    with closing(Stream(site, **{"Last-Event-ID": str(newest)})) as whole:
        eventually(lambda: len(whole.items) >= 3, within=SECONDS)
    ids = [one["id"] for one in whole.items]
    assert ids == sorted(set(ids))
    assert whole.items[0] == first.items[0]


def test_the_end_of_the_daemon_ends_the_streams(tmp_path: Path) -> None:
    """Also of those that have nothing to say; it waits for none of them."""
    site = DaemonSite(tmp_path)
    site.push()
    with capture_logs(), site.running():
        eventually(lambda: site.http("GET", "/healthz").ok, within=SECONDS)
        streams = [Stream(site) for _ in range(20)]
        eventually(lambda: site.hub.listeners == 20, within=SECONDS)
    eventually(lambda: all(one.is_over for one in streams), within=SECONDS)
