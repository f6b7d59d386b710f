"""Commit statuses from the transaction to the forge, and whatever comes in the way of them."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.forge import Kind, forge
from deployer.adapters.store import OutboxStore, SqlStore
from deployer.core.record import Record
from deployer.engine.forge_delivery import ForgeTarget
from deployer.engine.news import News
from deployer.engine.outbox import Outbox, Patience
from tests.contract.forge.fakes import TOKEN, FakeForge, serving
from tests.contract.forge.server import Asked, Reply
from tests.integration.killed_teller import told_and_killed
from tests.support.build import applied, at, ended_well, failed, held, release, seen, started
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deployer.core.events import Event

PUBLIC = "https://deployer.example/"
QUICK = Patience(first=0.02, longest=0.2, refusals=3, lockouts=3)
A, B = release("a"), release("b")
CONTEXT = "deployer/staging"
SAID = "Fruit / D: ValueError: bad price."

GOOD_A: list[Event] = [seen(A), started(A), applied(), *ended_well()]
BAD_B: list[Event] = [seen(B, 20), started(B, 2, second=20), applied(2, 21), failed(2), held(2)]


class Site:
    """A store, a forge, and a daemon's outbox between the two."""

    def __init__(self, path: Path, fake: FakeForge, kind: Kind) -> None:
        """Open the store."""
        self.fake = fake
        self.kind = kind
        self.token = TOKEN
        self.store = SqlStore.open(path)
        self.outbox = OutboxStore(self.store.database)
        self.news = News({"staging": "configs"})
        self.record = Record(environment="staging")

    def note(self, events: Sequence[Event]) -> None:
        """Commit them as a pass does."""
        for event in events:
            told = self.news.of(self.record, event)
            self.record = self.store.commit(self.record, [event], told)

    def target(self) -> ForgeTarget:
        """The forge, as a new process has it."""
        asked = forge(
            self.kind,
            api_url=self.fake.api_url,
            project=self.fake.project,
            token=lambda: self.token,
            ca_file=None,
        )
        return ForgeTarget("configs", asked, ["staging"], PUBLIC)

    @contextmanager
    def delivering(self) -> Iterator[Outbox]:
        """Deliver in the block, in threads."""
        box = Outbox(self.outbox, [self.target()], patience=QUICK)
        box.start()
        try:
            yield box
        finally:
            box.stop()

    def states(self, commit: str) -> list[str]:
        """Every state that was shown beside a commit, in its order."""
        return [check.state for check in self.fake.checks if check.commit == commit]

    def attempts(self) -> int:
        """How often the forge took nothing, in a row."""
        return sum(one.attempts for one in self.outbox.targets())

    def waits(self) -> int:
        """How many messages wait."""
        return self.outbox.waiting("forge/configs", "forge/configs").count


@pytest.fixture(params=["github", "gitlab", "gitea"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each of the three."""
    found: Kind = request.param
    return found


@pytest.fixture
def site(tmp_path: Path, kind: Kind) -> Iterator[Site]:
    """One of each kind."""
    with serving(kind) as fake:
        site = Site(tmp_path / "deployer.db", fake, kind)
        with closing(site.store):
            yield site


def commit(what: object) -> str:
    """The commit of a release."""
    return str(what.revision.commit)  # type: ignore[attr-defined]


def test_a_good_and_a_bad_commit_are_shown_with_their_links(site: Site) -> None:
    """The state, the sentence, and the page of the rollout."""
    site.note([*GOOD_A, *BAD_B])
    with site.delivering():
        eventually(lambda: site.waits() == 0, within=60)

    rollout = "https://deployer.example/rollouts/staging%23"
    assert site.fake.statuses(commit(A)) == {CONTEXT: ("success", "Live after 10 s.", f"{rollout}1")}
    shown = site.fake.statuses(commit(B))[CONTEXT]
    assert shown == ("failure", SAID, f"{rollout}2")


def test_only_the_newest_of_what_waited_is_told(site: Site) -> None:
    """What was moot before the forge was asked is not shown at all."""
    site.note(GOOD_A)
    with site.delivering():
        eventually(lambda: site.waits() == 0, within=60)

    assert site.states(commit(A)) == ["success"]


def test_each_change_is_told_while_it_happens(site: Site) -> None:
    """Pending, on its way, live: in this order."""
    with site.delivering() as box:
        for event in GOOD_A:
            site.note([event])
            box.recorded(site.record, event)
            eventually(lambda: site.waits() == 0, within=60)

    # GitLab has a word for what is on its way, and refuses to be told the same state again.
    there = ["pending", "running", "success"]
    shown = ["pending", "pending", "pending", "success"]
    assert site.states(commit(A)) == (there if site.kind == "gitlab" else shown)


def test_a_forge_that_was_down_is_told_what_is_true_when_it_is_back(site: Site) -> None:
    """Nothing is lost, and nothing that is not true any more is shown."""
    site.fake.down = True
    with site.delivering() as box:
        for event in [*GOOD_A, *BAD_B]:
            site.note([event])
            box.recorded(site.record, event)
        eventually(lambda: site.attempts() >= 3, within=60)
        assert "answered 503" in site.outbox.targets()[0].why
        site.fake.down = False
        eventually(lambda: site.waits() == 0, within=60)

    assert (site.states(commit(A)), site.states(commit(B))) == (["success"], ["failure"])
    assert site.outbox.letters() == []


def refusing(status: int, message: str, **headers: str) -> Callable[[Asked], Reply]:
    """A forge that answers so."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _asked: Reply(status=status, value={"message": message}, headers=sent)


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_kept(site: Site, status: int) -> None:
    """It is not asked again before the time that it gave, not even by a new process."""
    site.note(GOOD_A)
    site.fake.instead = refusing(status, "slow down", retry_after="2")
    with site.delivering():
        eventually(lambda: site.attempts() == 1, within=60)
    asked = len(site.fake.requests)
    site.fake.instead = lambda _: None
    began = time.monotonic()
    with site.delivering():
        eventually(lambda: site.states(commit(A)) == ["success"], within=60)

    assert asked == 1
    assert time.monotonic() - began >= 1.0


def test_a_token_that_is_refused_makes_dead_letters_that_say_so(site: Site) -> None:
    """After some tries; with a good one they are delivered as soon as somebody wants it."""
    site.note(GOOD_A)
    site.token = "expired"
    with site.delivering() as box:
        eventually(lambda: len(site.outbox.letters()) == 1, within=60)
        (letter,) = site.outbox.letters()
        assert "it refused the token: check token_file" in letter.why
        assert "expired" not in letter.why
        assert len(site.fake.requests) == QUICK.lockouts

        site.token = TOKEN
        site.outbox.revive([letter], at(0))
        box.wake()
        eventually(lambda: site.states(commit(A)) == ["success"], within=60)
    assert site.outbox.letters() == []


def test_a_commit_that_the_forge_does_not_know_keeps_no_other_waiting(site: Site) -> None:
    """It was rewritten away, perhaps; all else is told."""
    site.note([*GOOD_A, *BAD_B])

    def unknown(asked: Asked) -> Reply | None:
        if commit(A) not in asked.path:
            return None
        said = f"No commit found for SHA: {commit(A)}"
        return Reply(status=HTTPStatus.UNPROCESSABLE_ENTITY, value={"message": said})

    site.fake.instead = unknown
    with site.delivering():
        eventually(lambda: len(site.outbox.letters()) == 1, within=60)
        eventually(lambda: site.states(commit(B)) == ["failure"], within=60)
    assert "No commit found for SHA" in site.outbox.letters()[0].why


def test_an_answer_that_was_lost_shows_nothing_twice(site: Site) -> None:
    """The forge took it, and answered 502: it is told again, and shows one status."""
    site.note(GOOD_A)
    lost: list[Asked] = []

    def losing(asked: Asked) -> Reply | None:
        if lost:
            return None
        lost.append(asked)
        site.fake.respond(asked)
        return Reply(status=502, raw=b"<html>bad gateway</html>")

    site.fake.instead = losing
    with site.delivering():
        eventually(lambda: site.waits() == 0, within=60)

    assert list(site.fake.statuses(commit(A))) == [CONTEXT]
    assert site.fake.statuses(commit(A))[CONTEXT][0] == "success"


def test_a_forge_that_hangs_is_cut_off_by_a_stop(site: Site) -> None:
    """Nothing is held against it, and the next start tells it."""
    site.note(GOOD_A)
    asked, leave = threading.Event(), threading.Event()

    def hanging(_asked: Asked) -> Reply | None:
        asked.set()
        leave.wait(20)
        return Reply(status=500)

    site.fake.instead = hanging
    with site.delivering() as box:
        assert asked.wait(20)
        box.leave()
        box.stop()
    leave.set()
    assert site.attempts() == 0

    site.fake.instead = lambda _: None
    with site.delivering():
        eventually(lambda: site.waits() == 0, within=60)
    assert site.fake.statuses(commit(A))[CONTEXT][0] == "success"


def test_a_daemon_that_is_killed_before_it_tells_loses_nothing(tmp_path: Path, kind: Kind) -> None:
    """Kill -9 between the commit and the delivery, again and again."""
    with serving(kind) as fake, ExitStack() as stack:
        path = tmp_path / "deployer.db"
        commits = [told_and_killed(path, number) for number in range(1, 4)]
        site = Site(path, fake, kind)
        stack.enter_context(closing(site.store))
        with site.delivering():
            eventually(lambda: site.waits() == 0, within=60)

        for one in commits[:-1]:
            assert site.states(one)[-1] in {"error", "canceled", "warning"}
        assert fake.statuses(commits[-1])[CONTEXT][0] in {"pending", "running"}
        assert all(len(site.states(one)) == 1 for one in commits)


def test_hostile_words_reach_no_page_of_the_forge(site: Site) -> None:
    """Neither by a reason, nor by a subject: one plain line."""
    evil = release("evil")
    hostile = failed(1)
    told = site.news.of(Record(environment="staging"), seen(evil))
    assert told[0].text.startswith("deployer/staging of ")
    site.note([seen(evil), started(evil), applied(), hostile])
    with site.delivering():
        eventually(lambda: site.waits() == 0, within=60)
    _, description, _ = site.fake.statuses(commit(evil))[CONTEXT]
    assert description.isprintable()


def test_an_environment_without_a_forge_tells_nobody(site: Site) -> None:
    """And what is told to one is not told to others."""
    news = News({"production": "configs"})

    assert [one.audience for one in news.of(Record(environment="staging"), seen(A))] == []
    assert [one.audience for one in site.news.of(Record(environment="staging"), seen(A))] == ["forge/configs"]
