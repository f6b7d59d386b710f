"""Promotions over real git and a real store: by people, by themselves, cut off, raced and refused."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.git import GitUnavailable, Writer
from deployer.adapters.store import Conflict, SqlStore
from deployer.core.commands import USAGE, Declined
from deployer.core.events import (
    Applied,
    Event,
    Good,
    Healthy,
    Kind,
    Observed,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Seen,
    Started,
)
from deployer.core.record import Pushing, Record, evolve
from deployer.core.types import Person, Policy, Release
from deployer.engine.auto_promoting import AutoPromoter
from deployer.engine.promoting import Done, Outcome, Plan, Promoter
from deployer.engine.settling import FAILED
from deployer.engine.ways import Edge
from tests.support.build import release
from tests.support.eventually import eventually
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployer.core.commands import GoodRelease

PROMOTED = (PromotionAsked, Promoted)
FAILING = (PromotionAsked, PromotionFailed)


@dataclass(kw_only=True)
class Site:
    """A repository with a branch for each environment, what is recorded of them, and who promotes."""

    folder: Path
    origin: BareRepo
    store: SqlStore
    looked: list[str] = field(default_factory=list)
    listeners: list[Any] = field(default_factory=list)
    environments: tuple[str, ...] = ("dev", "staging", "production")
    conflicts: int = 0

    def commit(self, record: Record, events: Sequence[Event]) -> Record:
        """Make events durable and tell who listens, as the reconciler does."""
        if self.conflicts:
            self.conflicts -= 1
            message = "a pass was quicker"
            raise Conflict(message)
        after = self.store.commit(record, events)
        for event in events:
            for listener in self.listeners:
                listener.recorded(record, event)
            record = evolve(record, event)
        return after

    def promoter(
        self,
        *,
        auto: bool = False,
        url: str = "",
        settled_seconds: float = 0.0,
        forges: dict[str, Any] | None = None,
        **options: Any,
    ) -> Promoter:
        """A promoter; each one is another process's, over the same store and writer's directory.

        `settled_seconds`: by default no server is at it any more when another process comes.
        """
        url = url or self.origin.url
        edges = [
            Edge(
                source=source,
                target=target,
                repository="configs",
                url=url,
                branch=f"env/{target}",
                source_ref=f"refs/heads/env/{source}",
                auto=auto,
            )
            for source, target in zip(self.environments, self.environments[1:], strict=False)
        ]
        return Promoter(
            edges=edges,
            store=self.store,
            writers={"configs": Writer(self.folder / "configs.write.git", url, **options)},
            look_now=self.looked.append,
            now=lambda: datetime.now(UTC),
            commit=self.commit,
            forges=forges,
            settled_seconds=settled_seconds,
        )

    def push(self, environment: str, text: str) -> Release:
        """A commit on an environment's branch."""
        commit = self.origin.commit({"f": text}, branch=f"env/{environment}", message=text)
        made = release(text)
        return replace(made, revision=replace(made.revision, commit=commit))

    def begin(self, environment: str, what: Release) -> str:
        """A rollout that soaks."""
        record, at = self.store.load(environment), datetime.now(UTC)
        rollout = record.next_rollout_id()
        started = Started(
            at=at, rollout=rollout, kind=Kind.DEPLOY, release=what, policy=Policy(), trigger="test"
        )
        settled = Observed(at=at, rollout=rollout, states=(), settled=True)
        healthy = Healthy(at=at, rollout=rollout)
        self.commit(
            record, [Seen(at=at, release=what), started, Applied(at=at, rollout=rollout), settled, healthy]
        )
        return rollout

    def make_good(self, environment: str, what: Release) -> str:
        """It is deployed, and proves itself."""
        rollout = self.begin(environment, what)
        self.commit(self.store.load(environment), [Good(at=datetime.now(UTC), rollout=rollout)])
        return rollout

    def good(self, environment: str, text: str) -> Release:
        """A new commit that becomes good."""
        what = self.push(environment, text)
        self.make_good(environment, what)
        return what

    def facts(self, environment: str, *kinds: type[Event]) -> list[Any]:
        """What is recorded of promotions, or of other kinds."""
        wanted = kinds or (PromotionAsked, Promoted, PromotionFailed)
        stored = self.store.events(environment, limit=1000)
        return [one.event for one in stored if isinstance(one.event, wanted)]

    def types(self, environment: str) -> tuple[type, ...]:
        """The kinds of those facts."""
        return tuple(type(one) for one in self.facts(environment))

    def head(self, environment: str) -> str | None:
        """Where its branch is."""
        return self.origin.head(f"env/{environment}")

    def refuse(self, script: str) -> None:
        """Let the repository look at every push."""
        hook = self.origin.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The environments dev, staging and production; staging runs its first commit, production has none."""
    store = SqlStore.open(tmp_path / "store.db")
    yield Site(folder=tmp_path, origin=BareRepo(tmp_path / "origin.git"), store=store)
    store.close()


def done(answer: Done | Declined, outcome: Outcome) -> Done:
    """The answer, once it is shown that it came to that."""
    assert isinstance(answer, Done), answer
    assert answer.outcome is outcome, answer
    return answer


def declined(answer: object) -> str:
    """Why not."""
    assert isinstance(answer, Declined), answer
    return answer.why


# --- by people -------------------------------------------------------------------------------------------


def test_a_person_promotes_what_is_good(site: Site) -> None:
    """The very commit is on the next branch, the intent came first, and git is looked at at once."""
    a = site.good("staging", "a")
    b = site.good("staging", "b")
    site.origin.branch("env/production", a.revision.commit)

    answer = site.promoter().promote("production", actor="ada (token 1)", reason="the new prices")

    message = done(answer, Outcome.PROMOTED).message
    assert (
        f"staging#2, is promoted: branch env/production of production, which was at {a.revision.short}"
        in message
    )
    assert site.head("production") == b.revision.commit
    asked, promoted = site.facts("production")
    assert asked == PromotionAsked(
        at=asked.at,
        actor="ada (token 1)",
        reason="the new prices",
        source="staging",
        rollout="staging#2",
        commit=b.revision.commit,
        people=(Person(name="Ada", email="ada@example.com"),),
    )
    assert (promoted.actor, promoted.commit) == ("ada (token 1)", b.revision.commit)
    assert (promoted.branch, promoted.before) == ("env/production", a.revision.commit)
    record = site.store.load("production").promotion
    assert record is not None
    assert (record.result, record.by) == (Pushing.PROMOTED, "ada")
    assert site.looked == ["configs"]


def test_a_dry_run_tells_and_does_nothing(site: Site) -> None:
    """Neither in the store nor in the repository; the lane and the commands are in it."""
    a = site.good("staging", "a")

    answer = site.promoter().promote("production", actor="ada", dry_run=True)

    found = done(answer, Outcome.PLANNED)
    assert (
        "would be promoted: 1 commit would be pushed to branch env/production of production." in found.message
    )
    assert [one.commit for one in found.plan.lane.ahead] == [a.revision.commit]
    assert found.plan.commands[1].endswith(f"{a.revision.commit}:refs/heads/env/production")
    assert (site.head("production"), site.types("production"), site.looked) == (None, (), [])


def test_promoted_twice_is_promoted_once(site: Site) -> None:
    """The second time nothing is to be done, and nothing is written."""
    site.good("staging", "a")
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROMOTED)

    again = done(promoter.promote("production", actor="ada"), Outcome.NOTHING)

    assert again.message.endswith("already: nothing to do.")
    assert site.types("production") == PROMOTED


def test_nothing_good_is_nothing_to_promote(site: Site) -> None:
    """A plan says so as well; what makes no sense is told from what is only not so now."""
    promoter = site.promoter()

    assert declined(promoter.promote("production", actor="ada")).startswith(
        "Nothing became good in staging yet"
    )
    assert declined(promoter.plan("production")).startswith("Nothing became good in staging yet")
    answer = promoter.promote("production", actor="ada", skip=["soak"], reason="x")
    assert isinstance(answer, Declined)
    assert answer.exit_code == USAGE
    with pytest.raises(KeyError):
        promoter.promote("dev", actor="ada")


def test_a_hotfix_is_recorded_with_what_it_skips(site: Site) -> None:
    """Its rollout soaks still; a reason is needed, but not to see what it would do."""
    site.good("staging", "a")
    fix = site.push("staging", "fix")
    rollout = site.begin("staging", fix)
    promoter = site.promoter()

    assert "is not good in staging yet" in declined(
        promoter.promote("production", actor="ada", release=rollout)
    )
    hotfix: dict[str, Any] = {"actor": "ada", "release": rollout, "skip": ["windows", "soak"]}
    assert "A reason is needed" in declined(promoter.promote("production", **hotfix))
    done(promoter.promote("production", **hotfix, dry_run=True), Outcome.PLANNED)
    done(promoter.promote("production", **hotfix, reason="prices are wrong"), Outcome.PROMOTED)

    (asked, _) = site.facts("production")
    assert (asked.rollout, asked.skipped, asked.reason) == (rollout, ("soak", "windows"), "prices are wrong")
    assert site.head("production") == fix.revision.commit


def test_what_is_no_fast_forward_is_declined_before_any_intent(site: Site) -> None:
    """It names the commit that is in the way."""
    a = site.good("staging", "a")
    site.origin.branch("env/production", a.revision.commit)
    site.push("production", "by hand")
    site.good("staging", "b")

    for dry_run in (True, False):
        why = declined(site.promoter().promote("production", actor="ada", dry_run=dry_run))
        assert '"by hand" by Ada. Merge env/production into the branch that you promote from' in why
    assert site.types("production") == ()


def test_without_a_credential_the_commands_are_told(site: Site) -> None:
    """Nothing is written: a person does it."""
    a = site.good("staging", "a")

    why = declined(site.promoter(can_push=False).promote("production", actor="ada"))

    assert why.splitlines()[0].startswith(
        "deployer has no credential for pushing to configs: set its `write`"
    )
    assert why.splitlines()[2].endswith(f" {a.revision.commit}:refs/heads/env/production")
    assert site.types("production") == ()


def test_a_refused_push_is_a_failed_promotion(site: Site) -> None:
    """With what the server says, for the person and for the record."""
    site.good("staging", "a")
    site.refuse("echo only on Mondays >&2; exit 1")

    answer = site.promoter().promote("production", actor="ada")

    assert isinstance(answer, Declined)
    assert (answer.exit_code, "and says: only on Mondays: let" in answer.why) == (FAILED, True)
    asked, failed = site.facts("production")
    assert (type(asked), failed.why, failed.actor) == (PromotionAsked, answer.why, "ada")
    record = site.store.load("production").promotion
    assert record is not None
    assert (record.result, record.why) == (Pushing.FAILED, answer.why)


def test_a_race_that_is_lost_is_a_failed_promotion(site: Site) -> None:
    """Somebody pushed to the side between the look and the push: theirs stays."""
    a = site.good("staging", "a")
    site.origin.branch("env/production", a.revision.commit)
    site.origin.branch("side", a.revision.commit)
    side = site.origin.commit({"f": "side"}, branch="side", message="on the side")
    site.good("staging", "b")
    move = f"env -u GIT_QUARANTINE_PATH git update-ref refs/heads/env/production {side}"
    site.refuse(f'mkdir "$GIT_DIR/first" 2>/dev/null && {move}; exit 0')

    why = declined(site.promoter().promote("production", actor="ada"))

    assert '"on the side" by Ada' in why
    assert site.types("production") == FAILING
    assert site.head("production") == side


def test_a_pass_that_writes_in_between_is_no_trouble(site: Site) -> None:
    """An event of a promotion is taken on the newest record; one that never gets through is raised."""
    site.good("staging", "a")
    site.conflicts = 4
    done(site.promoter().promote("production", actor="ada"), Outcome.PROMOTED)

    site.good("staging", "b")
    site.conflicts = 5
    with pytest.raises(Conflict):
        site.promoter().promote("production", actor="ada")


def test_a_repository_that_is_away_begins_nothing(site: Site) -> None:
    """No intent without a look at the branch."""
    site.good("staging", "a")
    site.origin.path.rename(site.folder / "moved.git")

    with pytest.raises(GitUnavailable, match="there is no git repository"):
        site.promoter().promote("production", actor="ada")
    assert site.types("production") == ()


def test_two_people_at_once(site: Site) -> None:
    """One promotes; the other is told that it is under way."""
    site.good("staging", "a")
    site.refuse(f"touch {site.folder}/pushing; while ! test -e {site.folder}/go; do sleep 0.05; done")
    promoter = site.promoter()
    answers: list[Done | Declined] = []
    first = threading.Thread(target=lambda: answers.append(promoter.promote("production", actor="ada")))
    first.start()
    eventually((site.folder / "pushing").exists, within=20)

    why = declined(promoter.promote("production", actor="lin"))
    promoter.settle("production")  # whoever is at it does that

    (site.folder / "go").touch()
    first.join(30)
    assert why == "A promotion to production is under way: see `deployer status production`."
    done(answers[0], Outcome.PROMOTED)
    assert site.types("production") == PROMOTED


def test_a_look_needs_no_turn_of_a_promotion(site: Site) -> None:
    """Else a page that asks would have the promotion of somebody else refused."""
    site.good("staging", "a")
    promoter = site.promoter()

    with promoter._alone("production"):
        done(promoter.promote("production", actor="ada", dry_run=True), Outcome.PLANNED)


def test_from_the_intent_to_the_push_no_look_comes_in_between(site: Site) -> None:
    """The writer's turn comes first: an intent never waits for somebody else's fetch."""
    a = site.good("staging", "a")
    promoter = site.promoter()
    writer, refused = promoter._outcomes._ports.writers["configs"], []

    def look() -> None:
        try:
            writer.lane(a.revision.commit, "env/production", patience_seconds=0.01)
        except GitUnavailable as error:
            refused.append(error.why)

    class Viewer:
        """Looks at the very moment of the intent."""

        def recorded(self, _record: Record, event: Event) -> None:
            if isinstance(event, PromotionAsked):
                viewer = threading.Thread(target=look)
                viewer.start()
                viewer.join(30)

    site.listeners.append(Viewer())
    done(promoter.promote("production", actor="ada"), Outcome.PROMOTED)

    assert len(refused) == 1
    assert "or a look at it, has been under way for 0.01 s: try again" in refused[0]


def test_what_changes_nothing_in_the_source_is_promoted_too(site: Site) -> None:
    """A folder for each environment: the commit changes production's alone, so staging had no rollout."""
    a = site.good("staging", "a")
    only = site.origin.commit({"production/f": "new"}, branch="env/staging", message="for production")
    same = replace(a, revision=replace(a.revision, commit=only))
    site.commit(site.store.load("staging"), [Seen(at=datetime.now(UTC), release=same)])

    with running(site, site.promoter(auto=True)):
        eventually(lambda: site.types("production") == PROMOTED, within=30)

    assert site.head("production") == only
    assert site.facts("production")[0].rollout == "staging#1"


# --- cut off ---------------------------------------------------------------------------------------------


def asked(site: Site, what: Release) -> None:
    """A process before this wrote its intent, and was killed."""
    record = site.store.load("production")
    intent = PromotionAsked(
        at=datetime.now(UTC), actor="ada", source="staging", rollout="staging#1", commit=what.revision.commit
    )
    site.commit(record, [intent])


def test_killed_after_the_push_it_is_promoted(site: Site) -> None:
    """The branch has it: that is the outcome, and the next promotion goes on from there."""
    a = site.good("staging", "a")
    asked(site, a)
    site.origin.branch("env/production", a.revision.commit)

    site.promoter().settle("production")

    assert site.types("production") == PROMOTED
    assert site.looked == ["configs"]
    site.promoter().settle("production")
    assert site.types("production") == PROMOTED


def test_killed_before_the_push_it_failed_and_is_asked_again(site: Site) -> None:
    """The next promote settles it first, whoever asks."""
    asked(site, site.good("staging", "a"))

    done(site.promoter().promote("production", actor="lin"), Outcome.PROMOTED)

    assert site.types("production") == FAILING + PROMOTED
    assert site.facts("production")[1].why == "It was not pushed: the push was cut off. Promote it again."


def test_while_the_server_may_still_be_at_it_there_is_no_outcome(site: Site) -> None:
    """Its hook goes on without us: that the branch is not there yet says nothing, that it is says all."""
    a = site.good("staging", "a")
    asked(site, a)
    promoter = site.promoter(settled_seconds=600)

    unsettled = promoter.settle("production")
    assert "may still be at it: what became of it is known in" in declined(unsettled)
    assert declined(promoter.promote("production", actor="lin")).startswith("The promotion of")
    with running(site, promoter, every_seconds=0.05) as auto:
        eventually(lambda: not auto.trouble("production"), within=30)
        assert site.types("production") == (PromotionAsked,)
        site.origin.branch("env/production", a.revision.commit)
        eventually(lambda: site.types("production") == PROMOTED, within=30)


def test_a_person_whose_push_a_stop_ends_is_told_so(site: Site) -> None:
    """Not that nothing was done: the intent is there, and maybe the push."""
    site.good("staging", "a")
    site.refuse(f"touch {site.folder}/pushing; exec sleep 60")
    promoter, answers = site.promoter(), []
    person = threading.Thread(target=lambda: answers.append(promoter.promote("production", actor="ada")))
    person.start()
    eventually((site.folder / "pushing").exists, within=20)
    promoter.interrupt()
    person.join(30)

    assert "deployer was stopped while it pushed" in declined(answers[0])
    assert site.types("production") == (PromotionAsked,)


def test_what_was_asked_for_and_is_gone_failed(site: Site) -> None:
    """It cannot be on the branch, and is not in the way of what comes."""
    gone = release("gone")
    asked(site, gone)
    site.good("staging", "a")

    done(site.promoter().promote("production", actor="lin"), Outcome.PROMOTED)

    assert "does not give commit" in site.facts("production")[1].why


def test_a_lost_answer_that_nobody_can_read_back_has_no_outcome_yet(site: Site) -> None:
    """It is settled when the repository answers again: not as failed, since it was pushed."""
    site.good("staging", "a")
    away, back = site.folder / "away.git", site.origin.path
    hook = back / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\ntest "$1" = committed || exit 0\nmv {back} {away}\nkill -9 $PPID\n')
    hook.chmod(0o755)
    promoter = site.promoter()

    why = declined(promoter.promote("production", actor="ada"))

    assert "the connection broke off, and whether it got there is not known: cannot read" in why
    assert site.types("production") == (PromotionAsked,)
    away.rename(back)
    promoter.settle("production")
    assert site.types("production") == PROMOTED


# --- by itself -------------------------------------------------------------------------------------------


@contextmanager
def running(
    site: Site,
    promoter: Promoter,
    may: Callable[[str, GoodRelease], str | None] = lambda _target, _chosen: None,
    **options: Any,
) -> Iterator[AutoPromoter]:
    """The threads, until the block ends."""
    auto = AutoPromoter(promoter, load=site.store.load, may=may, **options)
    site.listeners.append(auto)
    auto.start()
    try:
        yield auto
    finally:
        site.listeners.remove(auto)
        auto.stop(10)
    assert not [one for one in threading.enumerate() if one.name.startswith("promote-")]


def test_what_becomes_good_is_promoted_by_itself(site: Site) -> None:
    """Along the whole line, each once it is good there; by `deployer`, with no reason."""
    with running(site, site.promoter(auto=True), every_seconds=600):
        a = site.good("dev", "a")
        # Not at its push: what comes of that is written behind it, to the same log.
        eventually(lambda: site.types("staging") == PROMOTED, within=30)
        assert site.head("staging") == a.revision.commit
        site.make_good("staging", a)
        eventually(lambda: site.head("production") == a.revision.commit, within=30)
        b = site.good("dev", "b")
        eventually(lambda: site.types("staging") == PROMOTED + PROMOTED, within=30)

    assert site.head("staging") == b.revision.commit
    assert site.head("production") == a.revision.commit
    (first, *_) = site.facts("staging")
    assert (first.actor, first.reason) == ("deployer", "")


def test_an_edge_that_is_not_auto_waits_for_a_person(site: Site) -> None:
    """What was cut off is settled there, too."""
    asked(site, site.good("staging", "a"))

    with running(site, site.promoter(), every_seconds=0.1):
        eventually(lambda: site.types("production") == FAILING, within=30)
        site.good("dev", "a")

    assert (site.head("production"), site.head("staging")) != (None, None)
    assert site.types("staging") == ()


def test_it_waits_for_the_gates_and_is_woken(site: Site) -> None:
    """`may` says why not; an event of the target, or the timer, asks again."""
    shut = {"production": "Production is frozen until Monday."}
    with running(
        site, site.promoter(auto=True), may=lambda target, _: shut.get(target), every_seconds=600
    ) as auto:
        a = site.good("staging", "a")
        eventually(lambda: auto.waits("production") == "Production is frozen until Monday.", within=30)
        assert (site.head("production"), auto.trouble("production")) == (None, None)
        shut.clear()
        site.make_good("production", release("before"))
        eventually(lambda: site.head("production") == a.revision.commit, within=30)
        eventually(lambda: auto.waits("production") is None, within=30)


def test_the_timer_asks_again(site: Site) -> None:
    """A window opens without an event."""
    shut = {"production": "closed"}
    with running(
        site, site.promoter(auto=True), may=lambda target, _: shut.get(target), every_seconds=0.1
    ) as auto:
        a = site.good("staging", "a")
        eventually(lambda: auto.waits("production") is not None, within=30)
        shut.clear()
        eventually(lambda: site.head("production") == a.revision.commit, within=30)


def test_a_refused_push_is_shown_and_tried_again_with_pauses(site: Site) -> None:
    """Not in a hot loop, and not for ever: what is fixed goes through by itself.

    The same refusal is told once; the intent of the next tries stands open.
    """
    times = site.folder / "asked"
    site.refuse(f'date +%s.%N >>{times}; test -e {site.folder}/open && exit 0; echo "no, never" >&2; exit 1')

    def tries() -> list[float]:
        return [float(line) for line in times.read_text().split()] if times.exists() else []

    with running(site, site.promoter(auto=True), every_seconds=0.05, first_retry_seconds=0.3) as auto:
        a = site.good("staging", "a")
        eventually(lambda: "no, never" in (auto.trouble("production") or ""), within=30)
        eventually(lambda: len(tries()) >= 4, within=60)
        first, second, third, *_ = tries()
        assert second - first >= 0.3
        assert third - second >= 0.6
        assert site.types("production") == (*FAILING, PromotionAsked)
        (site.folder / "open").touch()
        eventually(lambda: site.head("production") == a.revision.commit, within=60)
        eventually(lambda: auto.trouble("production") is None, within=30)

    assert site.types("production") == FAILING + PROMOTED


def test_another_refusal_is_told(site: Site) -> None:
    """And what stands open at a stop gets its outcome: it was refused, so the next start asks nobody."""
    site.refuse(f"echo x >>{site.folder}/asked; cat {site.folder}/words >&2; exit 1")
    (site.folder / "words").write_text("one\n")
    site.good("staging", "a")

    def pushes() -> int:
        return len((site.folder / "asked").read_text().split()) if (site.folder / "asked").exists() else 0

    promoter = site.promoter(auto=True, settled_seconds=600)
    with running(site, promoter, first_retry_seconds=0.05):
        eventually(lambda: pushes() >= 3, within=30)
        (site.folder / "words").write_text("two\n")
        eventually(lambda: len(site.facts("production", PromotionFailed)) == 2, within=30)
        known = pushes()
        eventually(lambda: pushes() >= known + 2, within=30)
        eventually(lambda: "production" in promoter._outcomes.open, within=30)

    first, second, third = (one.why for one in site.facts("production", PromotionFailed))
    assert ("says: one:" in first, "says: two:" in second, third) == (True, True, second)
    assert site.types("production") == FAILING * 3


def test_a_person_after_a_refusal_that_stands_open(site: Site) -> None:
    """It ends first, and the person's wish has an intent of its own."""
    site.refuse(f"echo x >>{site.folder}/asked; test -e {site.folder}/open")
    site.good("staging", "a")
    promoter = site.promoter(auto=True, settled_seconds=600)
    with running(site, promoter, first_retry_seconds=0.05):
        eventually(lambda: site.types("production") == (*FAILING, PromotionAsked), within=30)
        eventually(lambda: "production" in promoter._outcomes.open, within=30)
    (site.folder / "open").touch()

    person = site.promoter()
    done(person.promote("production", actor="ada"), Outcome.PROMOTED)

    assert site.types("production") == FAILING * 2 + PROMOTED
    assert site.facts("production")[-2].actor == "ada"


def test_what_the_source_dropped_is_not_promoted_by_itself(site: Site) -> None:
    """Its branch was put back, because it is bad; a person may still have it."""
    before = site.good("staging", "before")
    bad = site.good("staging", "bad")
    site.origin.branch("env/staging", before.revision.commit)

    with running(site, site.promoter(auto=True), every_seconds=0.05) as auto:
        eventually(lambda: "does not have it any more" in (auto.trouble("production") or ""), within=30)
    assert (site.head("production"), site.types("production")) == (None, ())

    done(site.promoter().promote("production", actor="ada", release=bad.revision.commit), Outcome.PROMOTED)


def test_what_the_source_takes_back_is_not_promoted_by_itself(site: Site) -> None:
    """A revert of it soaks: git is not even asked."""
    before = site.good("staging", "before")
    site.good("staging", "bad")
    revert = site.push("staging", "revert")
    site.begin("staging", replace(before, revision=revert.revision))

    with running(site, site.promoter(auto=True), every_seconds=0.05) as auto:
        eventually(lambda: "staging goes back with" in (auto.waits("production") or ""), within=30)
        assert (site.head("production"), auto.trouble("production")) == (None, None)
        site.commit(site.store.load("staging"), [Good(at=datetime.now(UTC), rollout="staging#3")])
        eventually(lambda: site.head("production") == revert.revision.commit, within=30)


def test_another_candidate_does_not_wait_for_the_pause_of_the_one_before(site: Site) -> None:
    """The fix of what a server refuses is often another commit."""
    bad = site.good("staging", "bad")
    site.refuse(f"read old new ref; test $new != {bad.revision.commit}")
    with running(site, site.promoter(auto=True), every_seconds=600, first_retry_seconds=600) as auto:
        eventually(lambda: auto.trouble("production") is not None, within=30)
        better = site.good("staging", "better")
        eventually(lambda: site.head("production") == better.revision.commit, within=30)
        eventually(lambda: auto.trouble("production") is None, within=30)


def test_what_a_person_put_back_is_not_promoted_again(site: Site) -> None:
    """Neither by the timer nor by the next start; and git is not asked for it again and again."""
    a = site.good("staging", "a")
    with running(site, site.promoter(auto=True), every_seconds=0.05):
        eventually(lambda: site.types("production") == PROMOTED, within=30)
        site.origin.delete("env/production")
        site.commit(site.store.load("production"), [Seen(at=datetime.now(UTC), release=release("other"))])
    with running(site, site.promoter(auto=True), every_seconds=0.05):
        b = site.good("staging", "b")
        eventually(lambda: site.facts("production")[-1].commit == b.revision.commit, within=30)
        eventually(lambda: site.types("production") == PROMOTED + PROMOTED, within=30)

    assert [one.commit for one in site.facts("production", Promoted)] == [
        a.revision.commit,
        b.revision.commit,
    ]


def test_a_branch_that_has_it_is_asked_once(site: Site) -> None:
    """Somebody pushed further by hand: nothing is written, and the server is left alone."""
    a = site.good("staging", "a")
    for branch in ("env/production", "env/dev"):
        site.origin.branch(branch, a.revision.commit)
    asked: list[str] = []

    def may(target: str, _: GoodRelease) -> None:
        asked.append(target)

    with running(site, site.promoter(auto=True), may=may, every_seconds=0.05):
        eventually(lambda: asked == ["production"], within=30)
        for text in "bcd":  # each wakes it, and it looks at what is good
            site.make_good("dev", site.push("dev", text))
        newest = site.origin.head("env/dev")
        eventually(lambda: site.head("staging") == newest, within=30)

    assert asked.count("production") == 1
    assert site.types("production") == ()


def test_a_repository_that_comes_back_is_promoted_in(site: Site) -> None:
    """While it is away the sentence says so, and no fact is written."""
    a = site.good("staging", "a")
    away = site.folder / "away.git"
    site.origin.path.rename(away)
    with running(site, site.promoter(auto=True), every_seconds=0.05, first_retry_seconds=0.1) as auto:
        eventually(lambda: "there is no git repository" in (auto.trouble("production") or ""), within=30)
        assert site.types("production") == ()
        away.rename(site.origin.path)
        eventually(lambda: site.head("production") == a.revision.commit, within=60)
        eventually(lambda: auto.trouble("production") is None, within=30)


def test_a_fault_of_ours_costs_one_edge_and_not_the_thread(site: Site) -> None:
    """It is said, and the other edge of the repository goes on."""

    def may(target: str, _: GoodRelease) -> None:
        if target == "staging":
            raise ZeroDivisionError

    site.good("dev", "a")
    b = site.good("staging", "b")
    with running(site, site.promoter(auto=True), may=may) as auto:
        eventually(lambda: site.head("production") == b.revision.commit, within=30)
        assert "deployer itself failed on the promotion to staging (ZeroDivisionError)" in str(
            auto.trouble("staging")
        )


def test_a_stop_ends_a_push_that_hangs_and_the_next_start_reads_it_back(site: Site) -> None:
    """Within a moment; the intent stays until somebody knows what became of it."""
    a = site.good("staging", "a")
    site.refuse(f"touch {site.folder}/pushing; test -e {site.folder}/go || exec sleep 60")
    promoter = site.promoter(auto=True)
    with running(site, promoter):
        eventually((site.folder / "pushing").exists, within=30)
    assert site.types("production") == (PromotionAsked,)
    with pytest.raises(GitUnavailable, match="shutting down"):
        promoter.plan("production")

    (site.folder / "go").touch()
    with running(site, site.promoter(auto=True, settled_seconds=0.5), every_seconds=0.1):
        eventually(lambda: site.head("production") == a.revision.commit, within=30)
        eventually(lambda: site.types("production") == FAILING + PROMOTED, within=30)


def test_two_edges_of_one_repository_and_a_person_race(site: Site) -> None:
    """Every branch gets there, and every intent has its one outcome before the next one."""
    promoter = site.promoter(auto=True)

    def is_there(environment: str, commit: str) -> bool:
        facts = site.facts(environment)
        return bool(facts) and isinstance(facts[-1], Promoted) and facts[-1].commit == commit

    with running(site, promoter, every_seconds=0.05, first_retry_seconds=0.1):
        behind = None
        for text in "abc":
            new = site.good("dev", text)
            behind = site.head("staging")
            if behind is not None:
                proved = replace(new, revision=replace(new.revision, commit=behind))
                site.make_good("staging", replace(proved, config=release(behind).config))
                promoter.promote("production", actor="ada")
            promoter.promote("staging", actor="ada")
            wanted = new.revision.commit
            eventually(partial(is_there, "staging", wanted), within=30)
        eventually(partial(is_there, "production", str(behind)), within=30)

    for environment in ("staging", "production"):
        types = site.types(environment)
        assert types == PROMOTED * (len(types) // 2)
    assert site.head("production") != site.head("staging")


def test_a_plan_of_a_release_by_name(site: Site) -> None:
    """An older one, which the branch has not."""
    a = site.good("staging", "a")
    site.good("staging", "b")

    plan = site.promoter().plan("production", release=a.revision.short)

    assert isinstance(plan, Plan)
    assert (plan.chosen.rollout, plan.can_push) == ("staging#1", True)
