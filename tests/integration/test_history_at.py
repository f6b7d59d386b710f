"""`deployer history ENV --at TIME`, from the store and over the API: what was live, and who approved it."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from click.testing import CliRunner
from structlog.testing import capture_logs

from deployer.adapters.store import SqlStore
from deployer.cli.main import cli
from deployer.core.events import (
    Applied,
    Approved,
    Good,
    Healthy,
    Kind,
    Observed,
    Promoted,
    PromotionAsked,
    Rejected,
    Seen,
    Started,
    State,
)
from deployer.core.types import Policy
from tests.support.build import release
from tests.support.store_faces import standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from deployer.core.record import Record
    from deployer.core.types import Release

NOW = datetime.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(hours=2)
A, B = release("a"), release("b")
SHORT_A, SHORT_B = A.revision.short, B.revision.short
SECONDS = 20


def at(second: float) -> datetime:
    """So many seconds after the story began."""
    return BEGAN + timedelta(seconds=second)


def said(second: float) -> str:
    """That time, as a sentence has it."""
    return f"{at(second):%Y-%m-%d %H:%M:%S} UTC"


def typed(second: float) -> str:
    """That time, as a person types it in full."""
    return at(second).isoformat().replace("+00:00", "Z")


def approval(what: Release, who: str, second: float, *, rejects: bool = False) -> Approved | Rejected:
    """Somebody's word on it."""
    kind = Rejected if rejects else Approved
    return kind(
        at=at(second),
        actor=who,
        reason="looks right",
        plan="sha256:1",
        digest=what.digest,
        commit=what.revision.commit,
    )


def deployed(store: SqlStore, record: Record, what: Release, second: float) -> Record:
    """It is deployed, and good 20 s later."""
    rollout = record.next_rollout_id()
    author = str(what.revision.author)
    record = store.commit(
        record,
        [
            Started(
                at=at(second),
                actor=author,
                rollout=rollout,
                kind=Kind.DEPLOY,
                release=what,
                policy=Policy(),
                trigger="push",
            ),
            Applied(at=at(second + 1), rollout=rollout),
        ],
    )
    state = State(app="fruit", status="RUNNING")
    return store.commit(
        record,
        [
            Observed(at=at(second + 2), rollout=rollout, states=(state,), settled=True),
            Healthy(at=at(second + 20), rollout=rollout),
            Good(at=at(second + 20), rollout=rollout),
        ],
    )


def written(path: Path) -> None:
    """A is good, promoted from staging and approved by two; then B, which is on its way still."""
    store = SqlStore.open(path)
    try:
        record = store.load("production")
        asked = PromotionAsked(
            at=at(0),
            actor="lin (token 3)",
            reason="it is quiet now",
            source="staging",
            rollout="staging#9",
            commit=A.revision.commit,
        )
        promoted = Promoted(at=at(1), actor="lin (token 3)", commit=A.revision.commit, branch="production")
        record = store.commit(record, [asked, promoted, Seen(at=at(2), release=A)])
        opinions = [
            approval(A, "eve (token 1)", 3),
            approval(A, "grace (token 2)", 4),
            approval(A, "eve (token 1)", 5, rejects=True),
            approval(A, "ada (token 4)", 6),
        ]
        record = deployed(store, store.commit(record, opinions), A, 10)
        record = store.commit(record, [Seen(at=at(60), release=B), approval(B, "grace (token 2)", 61)])
        rollout = record.next_rollout_id()
        record = store.commit(
            record,
            [
                Started(
                    at=at(70),
                    rollout=rollout,
                    kind=Kind.DEPLOY,
                    release=B,
                    policy=Policy(),
                    trigger="push",
                    actor="Ada <ada@example.com>",
                ),
                Applied(at=at(75), rollout=rollout),
            ],
        )
        sick = State(app="fruit", deployment="D", status="UNHEALTHY", running=0, target=1)
        store.commit(record, [Observed(at=at(90), rollout=rollout, states=(sick,), settled=False, sick=True)])
    finally:
        store.close()


class Site:
    """The store, the API over it, and a person who types."""

    def __init__(self, folder: Path, url: str, secret: str) -> None:
        """Take where they are."""
        self.folder = folder
        self.url = url
        self.secret = secret

    def here(self, *args: str) -> Result:
        """Type `deployer history ARGS` on the daemon's machine."""
        return CliRunner().invoke(cli, ["history", *args, "-c", str(self.folder / "deployer.yaml")])

    def there(self, *args: str) -> Result:
        """The same on another machine, which has no settings."""
        file = self.folder / "token"
        file.touch(0o600)
        file.write_text(self.secret)
        options = ["--server", self.url, "--token-file", str(file)]
        return CliRunner().invoke(cli, ["history", *args, *options], env={"HOME": "/nonexistent"})

    def ask(self, path: str, *, secret: str = "", **more: Any) -> requests.Response:
        """One request to the API."""
        headers = {"Authorization": f"Bearer {secret or self.secret}", **more.pop("headers", {})}
        url = f"{self.url}/api/v1{path}"
        return requests.get(url, headers=headers, timeout=SECONDS, **more)

    def token(self, role: str, *environments: str) -> str:
        """The secret of a new token."""
        answer = requests.post(
            f"{self.url}/api/v1/tokens",
            json={"by": "ada", "name": "t", "role": role, "environments": list(environments) or None},
            headers={"Authorization": f"Bearer {self.secret}"},
            timeout=SECONDS,
        )
        assert answer.ok, answer.text
        return str(answer.json()["secret"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """It stands, over a store with the story."""
    path = tmp_path_factory.mktemp("site") / "deployer.db"
    written(path)
    with capture_logs(), standing(path, ["staging", "production"]) as faces, faces.serving() as url:
        yield Site(path.parent, url, faces.token)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of this machine's environment; and no log among what commands print."""
    for name in [name for name in os.environ if name.startswith("DEPLOYER_")]:
        monkeypatch.delenv(name)
    with capture_logs():
        yield


FIRST = [
    f'Live in production at {said(40)}: {SHORT_A} "commit a" by Ada <ada@example.com> ({A.digest[:19]}).',
    f"production#1, a deploy, brought it at {said(11)}, and production#2 took its place at {said(75)}.",
    f"It was good, since {said(30)}.",
    "Set off by a push of Ada <ada@example.com>.",
    f"lin (token 3) promoted it from staging, where staging#9 had proved it, at {said(0)}: it is quiet now.",
    f"grace (token 2) approved it, at {said(4)}: looks right.",
    f"ada (token 4) approved it, at {said(6)}: looks right.",
]


def test_what_was_live_is_a_few_sentences(site: Site) -> None:
    """Who, what, when, by whom approved: the same from the store and from the API."""
    here, there = site.here("production", "--at", typed(40)), site.there("production", "--at", typed(40))

    assert here.exit_code == 0, here.output
    assert here.stdout.splitlines() == FIRST
    assert (there.exit_code, there.stdout) == (0, here.stdout)


def test_who_approved_what_is_live_now(site: Site) -> None:
    """`now` is by the clock of whoever answers, and needs no other word."""
    for result in (site.here("production", "--at", "now"), site.there("production", "--at", "now")):
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[0].startswith("Live in production at ")
        assert lines[0].endswith(f': {SHORT_B} "commit b" by Ada <ada@example.com> ({B.digest[:19]}).')
        assert lines[1:] == [
            f"production#2, a deploy, brought it at {said(75)}, and it is live still.",
            "It was failing: fruit / D UNHEALTHY 0 of 1 replicas. It is on its way still.",
            "Set off by a push of Ada <ada@example.com>.",
            f"grace (token 2) approved it, at {said(61)}: looks right.",
            f'The good release, and so the way back, was {SHORT_A} "commit a",'
            f" which production#1 had made good at {said(30)}.",
        ]


def test_before_it_was_sick_it_was_judged(site: Site) -> None:
    """What was seen later is not told of a moment before."""
    told = site.here("production", "--at", typed(80)).stdout

    assert "It was being judged, and was not good yet. It is on its way still." in told


def test_the_time_is_of_this_machines_zone_unless_it_says_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And which moment that is, is told in UTC."""
    monkeypatch.setenv("TZ", "Etc/GMT-5")
    time.tzset()
    try:
        naive = (at(40) + timedelta(hours=5)).replace(tzinfo=None).isoformat()
        found = [site.here("production", "--at", naive), site.there("production", "--at", naive)]
        plus_two = (at(40) + timedelta(hours=2)).replace(tzinfo=None).isoformat() + "+02:00"
        found += [site.here("production", "--at", plus_two), site.there("production", "--at", plus_two)]
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert [result.stdout.splitlines() for result in found] == [FIRST] * 4


def test_how_long_ago_is_a_time_too(site: Site) -> None:
    """As for --since."""
    seconds = int((datetime.now(UTC) - at(40)).total_seconds())
    told = json.loads(site.here("production", "--at", f"{seconds}s", "-o", "json").stdout)

    assert told["live"]["rollout"] == "production#1"


def test_before_the_first_rollout_nothing_was_live(site: Site) -> None:
    """With when that was; and where nothing was ever deployed, that."""
    early = site.here("production", "--at", typed(5))
    never = site.there("staging", "--at", typed(5))

    assert early.stdout == (
        f"Nothing was deployed to production before {said(11)}, so nothing was live at {said(5)}.\n"
    )
    assert never.stdout == f"Nothing was deployed to staging before {said(5)}, nor has been since.\n"
    assert (early.exit_code, never.exit_code) == (0, 0)


def test_the_future_is_refused(site: Site) -> None:
    """As a usage error with both times, and what to type."""
    later = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)
    for result in (
        site.here("production", "--at", later.isoformat()),
        site.there("production", "--at", later.isoformat()),
    ):
        assert result.exit_code == 64
        assert f"{later:%Y-%m-%d %H:%M:%S} UTC is in the future, it is " in result.stderr
        assert "`deployer history production --at now` tells what is." in result.stderr


@pytest.mark.parametrize("form", ["json", "yaml", "jsonl"])
def test_it_is_the_same_for_scripts_from_both(site: Site, form: str) -> None:
    """One object, field by field."""
    here, there = (one("production", "--at", typed(40), "-o", form).stdout for one in (site.here, site.there))
    found = yaml.safe_load(here) if form == "yaml" else json.loads(here)

    assert here == there
    assert (len(here.splitlines()) == 1) is (form == "jsonl")
    assert (found["environment"], found["at"]) == ("production", at(40).strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    assert found["says"] == FIRST
    assert found["live"]["release"]["revision"] == A.revision.commit
    assert [one["actor"] for one in found["brought_by"]["approvals"]] == ["grace (token 2)", "ada (token 4)"]
    assert found["brought_by"]["promotion"]["rollout"] == "staging#9"


def test_a_list_of_rollouts_can_be_one_on_a_line(site: Site) -> None:
    """As for what was live."""
    lines = site.here("production", "-o", "jsonl").stdout.splitlines()

    assert [json.loads(line)["id"] for line in lines] == ["production#2", "production#1"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--at", "now"], "--at is for one environment: `deployer history ENV --at now`."),
        (
            ["production", "--at", "2026-11-03 14:00", "--kind", "deploy"],
            "--at takes no --kind: `deployer history production --at '2026-11-03 14:00'` tells what was live",
        ),
        (
            ["production", "--at", "now", "-n", "20", "--author", "ada"],
            "--at takes no --limit and no --author: `deployer history production --at now` tells",
        ),
        (["production", "--at", "now", "--since", "2h"], "--at takes no --since"),
        (["production", "--at", "yesterday"], "is no time: write 2h (ago), 2026-11-23"),
        (
            ["nowhere", "--at", "now"],
            "No environment 'nowhere' in the settings. There are: staging, production.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_a_usage_error(site: Site, args: list[str], told: str) -> None:
    """With what to type instead."""
    result = site.here(*args)

    assert result.exit_code == 64
    assert told in result.stderr


# --- the API ------------------------------------------------------------------------------------------------

PATH = "/environments/production/at"


def test_the_api_answers_for_a_time_and_without_one_for_now(site: Site) -> None:
    """And again only if the answer is another one."""
    found = site.ask(PATH, params={"time": typed(40)})
    again = site.ask(PATH, params={"time": typed(40)}, headers={"If-None-Match": found.headers["ETag"]})
    now = site.ask(PATH).json()

    assert (found.status_code, found.json()["live"]["standing"]) == (200, "good")
    assert again.status_code == 304
    assert now["live"]["rollout"] == "production#2"
    assert now["live"]["until"] is None
    assert datetime.fromisoformat(now["at"]) >= NOW


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"time": "2026"}, "2026-11-22T10:00:00Z"),
        ({"time": "2026-11-03T14:00:00"}, "time"),
        ({"at": "2026-11-03T14:00:00Z"}, "There are: time."),
        ({"time": "9999-12-31T23:59:59-12:00"}, "9999-12-31 23:59:59-12:00 is in the future"),
    ],
    ids=str,
)
def test_the_api_refuses_what_is_no_time(site: Site, params: dict[str, str], told: str) -> None:
    """A time has a zone there, and is past."""
    answer = site.ask(PATH, params=params)

    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert told in answer.json()["detail"]


def test_the_first_of_all_times_is_before_everything(site: Site) -> None:
    """Also where its year in UTC is none."""
    answer = site.ask(PATH, params={"time": "0001-01-01T00:00:00+12:00"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["live"] is None


def test_who_may_look_may_ask_and_learns_of_no_other_environment(site: Site) -> None:
    """Neither where it was promoted from, nor why."""
    told = site.ask(PATH, params={"time": typed(40)}, secret=site.token("viewer", "production"))
    other = site.ask(PATH, secret=site.token("viewer", "staging"))
    unknown = site.ask("/environments/nowhere/at")

    promotion = told.json()["brought_by"]["promotion"]
    assert (promotion["source"], promotion["rollout"], promotion["reason"]) == (None, None, "")
    assert promotion["actor"] == "lin (token 3)"
    assert "staging" not in told.text
    assert f"lin (token 3) promoted it, at {said(0)}." in told.json()["says"]
    assert (other.status_code, unknown.status_code) == (403, 404)
