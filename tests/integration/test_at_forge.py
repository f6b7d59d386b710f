"""What a forge says of commits that wait: checks open a gate, reviews approve; over real requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from deployer.adapters.forge import forge
from deployer.adapters.store import SqlStore
from deployer.core.approvals import ApprovalRule, why_not
from deployer.core.events import Approved, Event, Rejected, Seen
from deployer.core.gates import AtForge, Gating, Rules, Verdict
from deployer.core.status import Status, status
from deployer.core.types import Person
from deployer.engine.at_forge import ForgeWatch, Place
from tests.contract.forge.fakes import PROJECT, TOKEN, FakeForge, serving
from tests.contract.forge.server import Reply
from tests.support.build import desired, release, running
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.core import gates
    from deployer.core.record import Record

NAME = "production"
RULES = Rules(
    checks=("ci/test",),
    approvals=ApprovalRule(
        required=1,
        people=frozenset({"lin", "bob"}),
        forge={"lin": ("lin-gh",), "bob": ("Bob-GH",)},
        reviews=True,
    ),
)
ADA = Person(name="Ada", email="ada@example.com")
OLD, NEW = release("old"), release("new")
NEW = replace(NEW, revision=replace(NEW.revision, author=ADA, committer=ADA))
COMMIT = NEW.revision.commit
HEAD = "5" * 40


@dataclass(kw_only=True)
class Waiting:
    """An environment that wants a commit, and waits; what the daemon does with it."""

    store: SqlStore
    fake: FakeForge
    watch: ForgeWatch
    rules: Rules
    kind: Any
    woken: list[str] = field(default_factory=list)

    def look(self) -> Status:
        """A pass: what it sees is told to who listens."""
        record = self.store.load(NAME)
        gating = Gating(rules=self.rules, forge=self.watch.of(NAME, COMMIT))
        seen = status(desired(NEW), running(OLD), record, datetime.now(UTC), gating=gating)
        self.watch.observed(seen)
        return seen

    def gate(self, name: str) -> gates.GateState:
        """One gate, after a pass."""
        return next(gate for gate in self.look().gates if gate.name == name)

    def opinions(self) -> list[Event]:
        """What is in the log of what people said."""
        stored = self.store.events(NAME, limit=100)
        return [one.event for one in stored if isinstance(one.event, Approved | Rejected)]

    def merged(self, author: str = "ada-gh", merged_by: str = "ada-gh", base: str = "main") -> int:
        """The pull request that brought the commit."""
        number = self.fake.add_merged(COMMIT, author, merged_by, head_commit=HEAD)
        self.fake.pull(number).base = base
        return number


Site = TypeVar("Site", bound=Waiting)


def begun(store: SqlStore) -> Record:
    """Git wants the commit."""
    return store.commit(store.load(NAME), [Seen(at=datetime.now(UTC) - timedelta(seconds=5), release=NEW)])


def made(store: SqlStore, fake: FakeForge, kind: Any, rules: Rules) -> Waiting:
    """A watch over one environment, not begun."""
    return arranged(Waiting, store, fake, kind, rules)


def arranged(of: type[Site], store: SqlStore, fake: FakeForge, kind: Any, rules: Rules) -> Site:
    """The same, as who can do more with it."""
    asked = forge(kind, api_url=fake.api_url, project=PROJECT, token=lambda: TOKEN, ca_file=None)
    woken: list[str] = []
    watch = ForgeWatch(
        {"configs": asked},
        {NAME: Place(repository="configs", branch="main", rules=rules)},
        load=store.load,
        commit=store.commit,
        wake=woken.append,
        now=lambda: datetime.now(UTC),
        every_seconds=0.1,
    )
    return of(store=store, fake=fake, watch=watch, rules=rules, kind=kind, woken=woken)


@pytest.fixture(params=["github", "gitlab", "gitea"])
def waiting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Waiting]:
    """The same at a forge of each kind."""
    store = SqlStore.open(tmp_path / "store.db")
    begun(store)
    with serving(request.param) as fake:
        one = made(store, fake, request.param, RULES)
        one.watch.start()
        try:
            yield one
        finally:
            one.watch.stop(10.0)
            store.close()


def test_checks_open_the_gate_when_they_are_green(waiting: Waiting) -> None:
    """Nobody has to wait for a timer: the environment is woken."""
    assert waiting.gate("checks").evidence.startswith("The forge is being asked")
    eventually(lambda: "has not heard of ci/test" in waiting.gate("checks").evidence, within=20)
    waiting.fake.add_check(COMMIT, "ci/test", "pending")
    eventually(lambda: "Still running at the forge: ci/test" in waiting.gate("checks").evidence, within=20)
    waiting.fake.add_check(COMMIT, "ci/test", "failure")
    eventually(lambda: "Failed at the forge: ci/test" in waiting.gate("checks").evidence, within=20)
    before = len(waiting.woken)
    waiting.fake.add_check(COMMIT, "ci/test", "success")
    eventually(lambda: waiting.gate("checks").verdict is Verdict.OPEN, within=20)
    assert len(waiting.woken) > before


def test_a_forge_that_does_not_answer_opens_nothing(waiting: Waiting) -> None:
    """Not even what was green; it says so, and once it answers again that counts."""
    waiting.fake.add_check(COMMIT, "ci/test", "success")
    eventually(lambda: waiting.gate("checks").verdict is Verdict.OPEN, within=20)
    waiting.fake.down = True
    eventually(lambda: waiting.gate("checks").verdict is Verdict.CLOSED, within=20)
    assert "How the checks stand is not known" in waiting.gate("checks").evidence
    waiting.fake.down = False
    eventually(lambda: waiting.gate("checks").verdict is Verdict.OPEN, within=20)


def test_a_review_approves_once(waiting: Waiting) -> None:
    """For what the deploy would do when it was found; it is an event like any approval."""
    number = waiting.merged()
    waiting.fake.add_review(number, "lin-gh", "approved", at=datetime.now(UTC))
    eventually(lambda: waiting.gate("approvals").verdict is Verdict.OPEN, within=20)
    (approved,) = waiting.opinions()
    assert isinstance(approved, Approved)
    assert (approved.actor, approved.commit) == ("lin (at the forge as lin-gh)", COMMIT)
    assert approved.reason == f"review of pull request #{number}"
    asked = len(waiting.fake.requests)
    eventually(lambda: len(waiting.fake.requests) > asked + 8, within=20)
    assert waiting.opinions() == [approved]


def test_no_review_is_used_twice(waiting: Waiting) -> None:
    """Neither for another plan, nor when git wants it again after something else."""
    number = waiting.merged()
    waiting.fake.add_review(number, "lin-gh", "approved", at=datetime.now(UTC))
    eventually(lambda: waiting.look() is not None and len(waiting.opinions()) == 1, within=20)
    now = datetime.now(UTC)
    record = waiting.store.load(NAME)
    record = waiting.store.commit(record, [Seen(at=now, release=OLD), Seen(at=now, release=NEW)])
    assert record.opinions == ()
    asked = len(waiting.fake.requests)
    eventually(lambda: waiting.look() is not None and len(waiting.fake.requests) > asked + 8, within=20)
    assert len(waiting.opinions()) == 1


def test_a_review_that_is_too_old_is_none(waiting: Waiting) -> None:
    """As an approval of that age is none."""
    number = waiting.merged()
    waiting.fake.add_review(number, "lin-gh", "approved", at=datetime.now(UTC) - timedelta(days=8))
    waiting.look()
    eventually(lambda: waiting.look() is not None and len(waiting.fake.requests) > 12, within=20)
    assert waiting.opinions() == []


def test_a_limit_is_kept_and_told(waiting: Waiting) -> None:
    """Nobody is asked before the forge wants to be asked again."""
    waiting.look()
    eventually(lambda: len(waiting.fake.requests) > 2, within=20)
    waiting.fake.canned = Reply(status=429, value={"message": "rate limit"}, headers={"Retry-After": "3600"})
    eventually(
        lambda: waiting.look() is not None and "asked too often" in waiting.gate("checks").evidence, within=20
    )
    asked = len(waiting.fake.requests)
    waiting.watch.want(NAME, "7" * 40)
    waiting.watch.want(NAME, "8" * 40)
    assert not threading.Event().wait(1.0)
    assert len(waiting.fake.requests) == asked
    assert "asked too often" in waiting.gate("checks").evidence


def test_one_answer_is_for_all_who_want_it(tmp_path: Path) -> None:
    """Fifty environments of a wave want the same commit."""
    store = SqlStore.open(tmp_path / "store.db")
    rules = Rules(checks=("ci/test",))
    with serving("gitea") as fake:
        asked = forge("gitea", api_url=fake.api_url, project=PROJECT, token=lambda: TOKEN, ca_file=None)
        names = [f"wave-{number}" for number in range(50)]
        watch = ForgeWatch(
            {"configs": asked},
            {name: Place(repository="configs", branch="main", rules=rules) for name in names},
            load=store.load,
            commit=store.commit,
            wake=lambda _: None,
            now=lambda: datetime.now(UTC),
            every_seconds=600,
        )
        for name in names:
            watch.want(name, COMMIT)
        watch.start()
        eventually(lambda: all(watch.of(name, COMMIT) is not None for name in names), within=20)
        watch.stop(10.0)
        assert len(fake.requests) == 1
    store.close()


def test_who_asks_for_changes_rejects(waiting: Waiting) -> None:
    """A comment changes nothing."""
    number = waiting.merged()
    begin = datetime.now(UTC)
    waiting.fake.add_review(number, "lin-gh", "approved", at=begin)
    eventually(lambda: waiting.look() is not None and len(waiting.opinions()) == 1, within=20)
    waiting.fake.add_review(number, "lin-gh", "commented", at=datetime.now(UTC))
    waiting.fake.add_review(number, "Bob-GH", "changes_requested", at=datetime.now(UTC))
    eventually(lambda: waiting.look() is not None and len(waiting.opinions()) == 2, within=20)
    gate = waiting.gate("approvals")
    assert gate.verdict is Verdict.CLOSED
    assert gate.evidence.startswith(
        f"bob rejected it: review of pull request #{number}: changes are requested."
    )


@pytest.mark.parametrize(
    "who", ["opened it", "merged it", "is a stranger", "saw another head", "other branch"]
)
def test_what_does_not_count_is_no_approval(waiting: Waiting, who: str) -> None:
    """Nobody approves their own; nobody approves what was not merged so."""
    number = waiting.merged(
        author="lin-gh" if who == "opened it" else "ada-gh",
        merged_by="lin-gh" if who == "merged it" else "ada-gh",
        base="env/other" if who == "other branch" else "main",
    )
    login = "mallory" if who == "is a stranger" else "lin-gh"
    commit = "6" * 40 if who == "saw another head" else None
    waiting.fake.add_review(number, login, "approved", commit=commit, at=datetime.now(UTC))
    waiting.look()
    eventually(lambda: len(waiting.fake.requests) > 12 and waiting.look() is not None, within=20)
    # GitLab does not say which head was approved: it takes approvals back by itself when one is pushed.
    counts = who == "saw another head" and waiting.fake.prefix.startswith("/api/v4")
    assert len(waiting.opinions()) == (1 if counts else 0)
    if counts:
        return
    assert waiting.gate("approvals").verdict is Verdict.CLOSED


def test_who_merged_it_does_not_approve_with_the_command_either(waiting: Waiting) -> None:
    """The forge tells who it was."""
    waiting.merged(merged_by="lin-gh")
    waiting.look()

    def known() -> AtForge | None:
        found = waiting.watch.of(NAME, COMMIT)
        waiting.look()
        assert found is not None
        assert "lin-gh" in found.made_by
        return found

    found = eventually(known, within=20)
    assert found is not None
    record = waiting.store.load(NAME)
    rule = RULES.approvals
    assert rule is not None
    assert why_not("lin", rule, NEW.revision, record, found.made_by) is not None


def test_nobody_is_asked_about_what_does_not_wait(tmp_path: Path) -> None:
    """Nor about an environment whose gates need no forge, nor before it is wanted."""
    store = SqlStore.open(tmp_path / "store.db")
    with serving("github") as fake:
        idle = made(store, fake, "github", Rules())
        idle.watch.start()
        idle.watch.want(NAME, COMMIT)
        assert idle.watch.of(NAME, COMMIT) is None
        idle.watch.stop(5.0)
        busy = made(store, fake, "github", replace(RULES, approvals=None))
        busy.watch.want(NAME, COMMIT)
        busy.watch.start()
        eventually(lambda: busy.watch.of(NAME, COMMIT) is not None, within=20)
        answer = busy.watch.of(NAME, COMMIT)
        assert answer == AtForge()
        busy.watch.stop(5.0)
        assert all(COMMIT in one.path for one in fake.requests)
    store.close()


def test_a_stop_cuts_a_forge_that_hangs(tmp_path: Path) -> None:
    """And what it was asked is no answer."""
    store = SqlStore.open(tmp_path / "store.db")
    with serving("github") as fake:
        one = made(store, fake, "github", RULES)
        with fake._lock:
            one.watch.start()
            one.watch.want(NAME, COMMIT)
            eventually(one.watch._threads[0].is_alive, within=5)
            one.watch.stop(8.0)
            assert not one.watch._threads[0].is_alive()
        assert one.watch.of(NAME, COMMIT) is None
    store.close()
