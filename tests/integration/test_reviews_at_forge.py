"""Which word of a person counts, of those at the forge and those by command; over real requests.

The clock of the forge is never ours: what is said there carries times of minutes ago, or to come.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore
from deployer.core import consent
from deployer.core.commands import Accepted
from deployer.core.events import Approved, Rejected, Seen
from deployer.core.gates import Verdict
from tests.contract.forge.fakes import serving
from tests.integration.test_at_forge import NAME, NEW, OLD, RULES, Waiting, arranged, begun
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = timedelta(minutes=1)


class People(Waiting):
    """The same, and people who type commands."""

    def command(self, *, rejects: bool = False) -> None:
        """Lin approves, or rejects, what the deploy would do now."""
        plan = self.gate("approvals").plan
        assert plan is not None
        record = self.store.load(NAME)
        answer = consent.approve(
            record,
            self.rules,
            plan=plan,
            current=plan,
            of=NEW.digest,
            actor="lin (token ab12cd34)",
            login="lin",
            reason="said so",
            now=datetime.now(UTC),
            rejects=rejects,
        )
        assert isinstance(answer, Accepted), answer
        self.store.commit(record, answer.events)

    def says(self, state: str, *, ago: timedelta, who: str = "lin-gh") -> None:
        """Somebody reviews the pull request, so long ago by the clock of the forge."""
        self.fake.add_review(1, who, state, at=datetime.now(UTC) - ago)

    def kinds(self) -> list[type]:
        """What people said, the oldest first."""
        return [type(one) for one in self.opinions()]

    def heard(self, *kinds: type) -> None:
        """Wait until that is in the log, and no more after some looks."""
        eventually(lambda: self.look() is not None and self.kinds() == list(kinds), within=20)
        self.looks()
        assert self.kinds() == list(kinds)

    def looks(self) -> None:
        """Some looks at the forge."""
        asked = len(self.fake.requests)
        eventually(lambda: self.look() is not None and len(self.fake.requests) > asked + 16, within=20)


@pytest.fixture(params=["github", "gitlab", "gitea"])
def people(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The commit waits, and was merged; nobody asks the forge yet."""
    store = SqlStore.open(tmp_path / "store.db")
    begun(store)
    with serving(request.param) as fake:
        one = arranged(People, store, fake, request.param, RULES)
        assert one.merged() == 1
        try:
            yield one
        finally:
            one.watch.stop(10.0)
            store.close()


def test_a_veto_counts_though_the_clock_of_the_forge_is_behind(people: People) -> None:
    """It came half a minute after the approval, which was recorded when the forge's clock was not so far."""
    people.watch.start()
    people.says("approved", ago=MINUTE)
    people.heard(Approved)
    assert people.gate("approvals").verdict is Verdict.OPEN
    people.says("changes_requested", ago=MINUTE / 2)
    people.heard(Approved, Rejected)
    gate = people.gate("approvals")
    assert gate.verdict is Verdict.CLOSED
    assert gate.evidence.startswith("lin rejected it: review of pull request #1: changes are requested.")


def test_who_approves_after_all_does_so_at_the_forge_too(people: People) -> None:
    """Each word in turn, all of them before what was recorded last, by the clock of the forge."""
    people.watch.start()
    for minutes, state in enumerate(("changes_requested", "approved", "changes_requested", "approved")):
        people.says(state, ago=(10 - minutes) * MINUTE)
        people.heard(*[Rejected, Approved, Rejected, Approved][: minutes + 1])
    assert people.gate("approvals").verdict is Verdict.OPEN


def test_a_veto_that_is_heard_after_an_approval_by_command_counts(people: People) -> None:
    """Which was first nobody knows, as these are two clocks."""
    people.command()
    people.says("changes_requested", ago=MINUTE)
    people.watch.start()
    people.heard(Approved, Rejected)
    assert people.gate("approvals").verdict is Verdict.CLOSED


def test_who_approves_by_command_after_their_veto_was_heard_has_approved(people: People) -> None:
    """Whatever the clock of the forge says, and also after a restart."""
    people.says("changes_requested", ago=-MINUTE)
    people.watch.start()
    people.heard(Rejected)
    people.command()
    people.heard(Rejected, Approved)
    people.watch.stop(10.0)
    again = arranged(People, people.store, people.fake, people.kind, RULES)
    again.watch.start()
    try:
        again.heard(Rejected, Approved)
        assert again.gate("approvals").verdict is Verdict.OPEN
    finally:
        again.watch.stop(10.0)


def test_a_review_does_not_take_back_a_newer_rejection_by_command(people: People) -> None:
    """It was there before, though the clock of the forge is ahead."""
    people.says("approved", ago=-MINUTE)
    people.command(rejects=True)
    people.watch.start()
    people.heard(Rejected)
    assert people.gate("approvals").verdict is Verdict.CLOSED


def test_a_review_after_a_rejection_by_command_takes_it_back(people: People) -> None:
    """A look between the two has not found it, though the clock of the forge is behind."""
    people.watch.start()
    people.command(rejects=True)
    people.heard(Rejected)
    people.says("approved", ago=MINUTE)
    people.heard(Rejected, Approved)
    assert people.gate("approvals").verdict is Verdict.OPEN


def test_a_veto_of_who_merged_it_counts(people: People) -> None:
    """As the command takes one of who made the commit."""
    people.fake.pull(1).merged_by = "lin-gh"
    people.says("changes_requested", ago=MINUTE)
    people.watch.start()
    people.heard(Rejected)


def test_time_ends_no_veto(people: People) -> None:
    """An approval of that age is none."""
    people.says("changes_requested", ago=timedelta(days=8))
    people.says("approved", ago=timedelta(days=8), who="Bob-GH")
    people.watch.start()
    people.heard(Rejected)


def test_two_names_of_one_person_are_one(people: People) -> None:
    """What the one asks for stands, whatever the other approves; then each approval is heard."""
    rule = RULES.approvals
    assert rule is not None
    both = replace(RULES, approvals=replace(rule, forge={"lin": ("lin-gh", "lin-2")}))
    one = arranged(People, people.store, people.fake, people.kind, both)
    one.watch.start()
    try:
        one.says("approved", ago=3 * MINUTE)
        one.heard(Approved)
        one.says("changes_requested", ago=2 * MINUTE, who="lin-2")
        one.heard(Approved, Rejected)
        one.says("approved", ago=MINUTE)
        one.heard(Approved, Rejected)
        one.says("approved", ago=MINUTE / 2, who="lin-2")
        one.heard(Approved, Rejected, Approved, Approved)
    finally:
        one.watch.stop(10.0)


# --- taken back ------------------------------------------------------------------------------------------


def test_an_approval_that_is_not_there_any_more_is_taken_back(people: People) -> None:
    """At GitLab it is so that people take one back; elsewhere a review was deleted, or its author."""
    people.watch.start()
    people.says("approved", ago=MINUTE)
    people.heard(Approved)
    people.fake.reviews.clear()
    people.heard(Approved, Rejected)
    gate = people.gate("approvals")
    assert gate.verdict is Verdict.CLOSED
    assert gate.evidence.startswith("lin rejected it: review of pull request #1: it was taken back.")
    people.says("approved", ago=MINUTE / 2)
    people.heard(Approved, Rejected, Approved)


def test_one_that_is_dismissed_is_taken_back(people: People) -> None:
    """GitLab knows no such word: there it is gone. A comment that is left is no approval."""
    people.watch.start()
    people.says("commented", ago=2 * MINUTE)
    people.says("approved", ago=MINUTE)
    people.heard(Approved)
    (given,) = [one for one in people.fake.reviews if one.state == "approved"]
    given.state = "dismissed"
    people.heard(Approved, Rejected)


def test_only_a_comment_is_left(people: People) -> None:
    """Which says nothing, so the approval is gone."""
    people.watch.start()
    people.says("commented", ago=2 * MINUTE)
    people.says("approved", ago=MINUTE)
    people.heard(Approved)
    people.fake.reviews.pop()
    people.heard(Approved, Rejected)


def test_what_was_approved_by_command_is_not_taken_back_by_a_review(people: People) -> None:
    """The command was the last word."""
    people.watch.start()
    people.says("approved", ago=MINUTE)
    people.heard(Approved)
    people.command()
    people.heard(Approved, Approved)
    people.fake.reviews.clear()
    people.heard(Approved, Approved)
    assert people.gate("approvals").verdict is Verdict.OPEN


def test_what_is_not_read_is_not_gone(people: People) -> None:
    """Neither where the forge is down, nor where a list is too long to be read to its end."""
    people.watch.start()
    people.says("approved", ago=MINUTE)
    people.heard(Approved)
    people.fake.down = True
    (given,) = people.fake.reviews
    people.fake.reviews.clear()
    people.looks()
    for number in range(1100):
        people.fake.add_review(1, f"person-{number}", "commented")
    people.fake.reviews.append(given)
    people.fake.down = False
    asked = len(people.fake.requests)
    eventually(lambda: people.look() is not None and len(people.fake.requests) > asked + 30, within=30)
    assert people.kinds() == [Approved]


def test_a_veto_that_stands_counts_for_what_git_wants_again(people: People) -> None:
    """An approval does not: what it would do now nobody has seen."""
    people.says("changes_requested", ago=MINUTE)
    people.says("approved", ago=2 * MINUTE, who="Bob-GH")
    people.watch.start()
    people.heard(Approved, Rejected)
    record, now = people.store.load(NAME), datetime.now(UTC)
    after = people.store.commit(record, [Seen(at=now, release=OLD), Seen(at=now, release=NEW)])
    assert after.opinions == ()
    people.heard(Approved, Rejected, Rejected)
