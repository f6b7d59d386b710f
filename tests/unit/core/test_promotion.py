"""Which release is promoted: the newest good one, a named one, a hotfix; or a sentence that says why none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.core import promotion, sentences
from deployer.core.commands import REFUSED, USAGE, Declined, GoodRelease
from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Observed,
    Refused,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
)
from deployer.core.gates import Verdict
from deployer.core.record import Record, fold
from deployer.core.types import Policy, Release
from tests.support.build import at, record_of, release, revision

A, B, C = release("a"), release("b"), release("c")
PRODUCTION = Record(environment="production")
BOOM = Failure(failure_class=FailureClass.CODE, message="boom")


def started(number: int, what: Release, name: str = "staging") -> list[Event]:
    """Git wants it, and it is being tried."""
    rollout = f"{name}#{number}"
    return [
        Seen(at=at(number), release=what),
        Started(
            at=at(number), rollout=rollout, kind=Kind.DEPLOY, release=what, policy=Policy(), trigger="test"
        ),
        Applied(at=at(number), rollout=rollout),
    ]


def healthy(number: int, what: Release) -> list[Event]:
    """It soaks."""
    rollout = f"staging#{number}"
    return [
        *started(number, what),
        Observed(at=at(number), rollout=rollout, states=(), settled=True),
        Healthy(at=at(number), rollout=rollout),
    ]


def good(number: int, what: Release) -> list[Event]:
    """It ended well."""
    return [*healthy(number, what), Good(at=at(number), rollout=f"staging#{number}")]


def failed(number: int, what: Release, name: str = "staging") -> list[Event]:
    """It failed, and is held."""
    rollout = f"{name}#{number}"
    return [
        *started(number, what, name),
        Failed(at=at(number), rollout=rollout, failure=BOOM),
        Held(at=at(number), rollout=rollout, reason="boom"),
    ]


def releases(*goods: tuple[int, Release]) -> list[GoodRelease]:
    """The good releases, newest first."""
    return [GoodRelease(rollout=f"staging#{n}", release=what, at=at(n)) for n, what in goods]


def chosen(answer: GoodRelease | Declined) -> tuple[str, Release]:
    """What was chosen, and the rollout that stands for it."""
    assert isinstance(answer, GoodRelease), answer
    return answer.rollout, answer.release


def declined(answer: GoodRelease | Declined, exit_code: int = REFUSED) -> str:
    """Why not."""
    assert isinstance(answer, Declined), answer
    assert answer.exit_code == exit_code
    return answer.why


# --- without a name --------------------------------------------------------------------------------------


def test_the_newest_good_release_is_promoted() -> None:
    """Good comes after the soak."""
    source = record_of(*good(1, A), *good(2, B))

    assert chosen(promotion.candidate(source, releases((2, B), (1, A)), PRODUCTION)) == ("staging#2", B)


def test_a_newer_one_that_is_being_tried_does_not_starve_the_next_environment() -> None:
    """Also while it soaks."""
    good_ones = releases((1, A))

    for trying in (started(2, B), healthy(2, B), failed(2, B)):
        source = record_of(*good(1, A), *trying)
        assert chosen(promotion.candidate(source, good_ones, PRODUCTION)) == ("staging#1", A)


def test_what_a_person_rolled_back_is_not_promoted() -> None:
    """It was good, and is held since: the one before it is the candidate."""
    back = RollbackAsked(at=at(3), actor="ada", reason="slow", release=A, made_good="staging#1")
    source = record_of(*good(1, A), *good(2, B), back)

    assert chosen(promotion.candidate(source, releases((2, B), (1, A)), PRODUCTION)) == ("staging#1", A)
    why = declined(promotion.candidate(source, releases((2, B)), PRODUCTION))
    assert why == (
        "All that was good in staging is held there, so there is nothing to promote to production."
        " Push a fix to staging."
    )


def test_a_promotion_that_is_open_tells_how_its_proof_stands() -> None:
    """Good once is good, until it is held there; a hotfix never had one."""
    (chosen_one,) = releases((2, B))
    source = record_of(*good(1, A), *good(2, B))
    stands = promotion.proof(source, chosen_one)
    assert (stands.name, stands.verdict) == ("soak", Verdict.OPEN)
    assert stands.evidence == f"staging#2 made it good in staging at {sentences.clock(at(2))}."
    back = RollbackAsked(at=at(3), actor="ada", reason="slow", release=A, made_good="staging#1")
    held = promotion.proof(record_of(*good(1, A), *good(2, B), back), chosen_one)
    assert held.verdict is Verdict.CLOSED
    assert held.evidence == f'{B.revision.short} "commit b" is held in staging (rolled back by ada: slow).'
    hotfix = promotion.proof(source, chosen_one, ("soak",))
    assert (hotfix.verdict, hotfix.evidence) == (
        Verdict.SKIPPED,
        "Whether it is good in staging is skipped: a hotfix.",
    )


def test_what_changed_the_source_since_it_was_promoted() -> None:
    """Newest first, without what changed nothing; all that is known, where it is not known since when."""
    same = Release(revision=C.revision, config=B.config)
    wanted = [Seen(at=at(number), release=what) for number, what in ((4, A), (3, same), (2, B), (1, A))]

    def found(commit: Release, since: Release | None) -> list[int]:
        of = promotion.changes(
            wanted, commit.revision.commit, since.revision.commit if since is not None else None
        )
        return [wanted.index(one) for one in of]

    assert found(C, A) == [2]
    assert found(C, None) == [2, 3]
    assert found(B, A) == [2]
    assert found(A, B) == [0]
    assert found(release("unknown"), None) == [0, 2, 3]
    assert promotion.changes([], A.revision.commit, None) == []


def test_what_has_no_proof_any_more_says_why() -> None:
    """Somebody else's commit, a pull request whose place was taken, a skip that comes too late."""
    (chosen_one,) = releases((2, B))
    why = promotion.foreign_head("deployer/staging-to-production", chosen_one, "badcafe1234")
    gate = promotion.no_proof(why)
    assert (gate.name, gate.verdict) == ("soak", Verdict.CLOSED)
    assert gate.evidence == (
        "badcafe, which somebody pushed to deployer/staging-to-production, is not what staging#2 proved."
    )
    assert promotion.replaced("production", 7, "c0ffee1") == (
        "c0ffee1 is promoted to production instead, so deployer closes pull request #7."
    )
    assert promotion.skipped_too_late("production", chosen_one, {"windows", "checks"}) == (
        f'{B.revision.short} "commit b" is on the branch of production already, so no gate is skipped by'
        ' promoting it: `deployer sync production --skip checks,windows --reason "..."` does that.'
    )


def test_where_nothing_is_good_there_is_nothing_to_promote() -> None:
    """With what is being tried, if anything."""
    why = declined(promotion.candidate(record_of(), [], PRODUCTION))
    assert why == (
        "Nothing became good in staging yet, so there is nothing to promote to production."
        " See `deployer status staging`."
    )

    why = declined(promotion.candidate(record_of(*started(1, A)), [], PRODUCTION))
    assert f'staging#1 is trying {A.revision.short} "commit a". See' in why


def test_what_is_held_in_the_target_is_not_promoted_to_it() -> None:
    """By its commit: the same commit has another config there, and so another digest."""
    there = replace(release("b", "other"), revision=B.revision)
    target = fold("production", failed(1, there, "production"))
    source = record_of(*good(1, A), *good(2, B))

    why = declined(promotion.candidate(source, releases((2, B), (1, A)), target))
    assert why == (
        f'{B.revision.short} "commit b" is held in production (boom): `deployer retry production --reason'
        " ...` tries it once more while its branch is there, or promote a newer one."
    )
    # Another commit is not meant; nor one that somebody wants tried once more.
    assert chosen(promotion.candidate(source, releases((1, A)), target)) == ("staging#1", A)
    asked = RetryAsked(at=at(2), actor="ada", reason="x", digest=there.digest)
    again = fold("production", [*failed(1, there, "production"), asked])
    assert chosen(promotion.candidate(source, releases((2, B)), again)) == ("staging#2", B)


# --- what changes nothing in the source --------------------------------------------------------------------

SAME = replace(A, revision=revision("same"))
"""Another commit with the config of A: it changes another environment's folder."""


def test_a_commit_that_changes_nothing_in_the_source_goes_as_what_is_good_there() -> None:
    """It had no rollout there; it stands for the one that made the config good."""
    source = record_of(*good(1, A), Seen(at=at(2), release=SAME))

    assert chosen(promotion.candidate(source, releases((1, A)), PRODUCTION)) == ("staging#1", SAME)
    for name in (SAME.revision.commit, SAME.revision.short):
        found = promotion.candidate(source, releases((1, A)), PRODUCTION, name=name)
        assert chosen(found) == ("staging#1", SAME)
        assert isinstance(found, GoodRelease)
        assert found.at == at(1)
        found = promotion.candidate(source, releases((1, A)), PRODUCTION, name=name, skip=["soak"])
        assert chosen(found) == ("staging#1", SAME)
    # By the rollout its own commit is meant.
    for name in ("staging#1", "1", A.revision.commit):
        assert chosen(promotion.candidate(source, releases((1, A)), PRODUCTION, name=name))[1] == A


def test_what_changes_nothing_waits_while_the_source_is_not_at_rest() -> None:
    """Refused, in flight, or a way back that has not begun; and the good commit itself is no second one."""
    seen = Seen(at=at(3), release=SAME)
    refused = Refused(at=at(4), message="rewritten", is_rewrite=True)
    heal = Started(at=at(4), rollout="staging#2", kind=Kind.HEAL, release=A, policy=Policy(), trigger="test")
    back = RollbackAsked(at=at(4), actor="ada", reason="x", release=A, made_good="staging#1")
    for later in ([seen, refused], [seen, heal], [seen, back], [], [Seen(at=at(3), release=B)]):
        source = record_of(*good(1, A), *later)
        assert chosen(promotion.candidate(source, releases((1, A)), PRODUCTION)) == ("staging#1", A)


# --- without being asked -----------------------------------------------------------------------------------


def by_itself(*events: Event, goods: list[GoodRelease]) -> str | None:
    """Why the candidate is not promoted by itself."""
    source = record_of(*events)
    found = promotion.candidate(source, goods, PRODUCTION)
    assert isinstance(found, GoodRelease)
    return promotion.not_by_itself(source, goods, "production", found)


def test_what_a_rewrite_may_have_dropped_waits_for_a_person() -> None:
    """Another refusal is no statement about what was good before."""
    events, goods = [*good(1, A), *good(2, B)], releases((2, B), (1, A))
    rewrite = Refused(at=at(3), message="does not follow", is_rewrite=True)

    assert by_itself(*events, rewrite, goods=goods) == (
        f'{B.revision.short} "commit b" is not promoted to production by itself: the branch of staging was'
        f" rewritten since. `deployer promote staging production --release {B.revision.short}` promotes it"
        " all the same."
    )
    assert by_itself(*events, Refused(at=at(3), message="no yaml"), goods=goods) is None


def test_what_git_takes_back_waits() -> None:
    """A revert that is seen, or soaks; what is merely newer keeps nothing back."""
    events, goods = [*good(1, A), *good(2, B)], releases((2, B), (1, A))
    revert = Seen(at=at(3), release=SAME)

    said = by_itself(*events, revert, goods=goods)
    assert said is not None
    assert f'staging goes back with {SAME.revision.short} "commit same" to what was good there before' in said
    assert by_itself(*events, *healthy(3, C), goods=goods) is None
    assert by_itself(*events, goods=goods) is None
    # Git wants what a person rolled back: that is not older than what is good now.
    back = RollbackAsked(at=at(3), actor="ada", reason="slow", release=A, made_good="staging#1")
    assert by_itself(*events, back, goods=goods) is None
    (b, _) = goods
    assert promotion.not_by_itself(record_of(), goods, "production", b) is None


def test_what_only_git_can_tell_and_what_nobody_can_tell_yet() -> None:
    """Two sentences."""
    (a,) = releases((1, A))
    assert "by itself: the branch of staging does not have it any more. `deployer" in promotion.dropped(
        "staging", "production", a
    )
    assert promotion.unsettled("production", "1" * 40, 9) == (
        "The promotion of 1111111 to production was cut off, and the server may still be at it: what became"
        " of it is known in 9 s. Try again then."
    )


# --- by name ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["staging#1", "1", A.revision.commit, A.revision.commit[:7].upper(), A.digest]
)
def test_a_good_release_is_named_as_for_a_rollback(name: str) -> None:
    """A rollout, its number, a commit, a digest."""
    source = record_of(*good(1, A), *good(2, B))

    found = promotion.candidate(source, releases((2, B), (1, A)), PRODUCTION, name=name)

    assert chosen(found) == ("staging#1", A)


@pytest.mark.parametrize("begun", [started(2, B), healthy(2, B)])
def test_what_is_not_good_yet_waits(begun: list[Event]) -> None:
    """Or is a hotfix: the command is there to copy."""
    source = record_of(*good(1, A), *begun)

    why = declined(promotion.candidate(source, releases((1, A)), PRODUCTION, name="2"))

    assert why == (
        f'{B.revision.short} "commit b" is not good in staging yet: staging#2 is trying it. Wait until it is'
        " good, or, if it must be, `deployer promote staging production --release 2 --skip soak --reason"
        " ...`."
    )


def test_what_is_held_in_the_source_is_not_promotable_by_name() -> None:
    """Whether it was good once or never."""
    back = RollbackAsked(at=at(3), actor="ada", reason="slow", release=A, made_good="staging#1")
    was_good = record_of(*good(1, A), *good(2, B), back)
    why = declined(promotion.candidate(was_good, releases((2, B), (1, A)), PRODUCTION, name="2"))
    assert "is held in staging (rolled back by ada: slow): push a fix, or, if it must be, `deployer" in why

    never = record_of(*good(1, A), *failed(2, B))
    why = declined(promotion.candidate(never, releases((1, A)), PRODUCTION, name="2"))
    assert "is held in staging (boom): push a fix, or, if it must be, `deployer promote staging" in why


@pytest.mark.parametrize("skip", [(), ("soak",)])
def test_what_is_no_release_is_said_with_those_that_are(skip: tuple[str, ...]) -> None:
    """With how to find others."""
    source = record_of(*good(1, A))

    why = declined(promotion.candidate(source, releases((1, A)), PRODUCTION, name="9", skip=skip), USAGE)
    assert why == (
        "'9' is no release of staging, or could be more than one. The newest good ones are"
        f' staging#1 ({A.revision.short} "commit a"). Name a rollout, or more of the commit: see'
        " `deployer history staging`."
    )
    why = declined(promotion.candidate(record_of(), [], PRODUCTION, name="9", skip=skip), USAGE)
    assert "Nothing became good there yet. Name" in why


# --- hotfixes --------------------------------------------------------------------------------------------


def test_a_hotfix_may_be_what_soaks() -> None:
    """The rollout that tries it stands for it."""
    source = record_of(*good(1, A), *healthy(2, B))

    found = promotion.candidate(source, releases((1, A)), PRODUCTION, name="2", skip={"soak", "windows"})

    assert chosen(found) == ("staging#2", B)
    assert isinstance(found, GoodRelease)
    assert found.at == at(2)


def test_a_hotfix_is_healthy_at_least() -> None:
    """What nobody saw run is not promoted by any path, unless it was tried to its end."""
    source = record_of(*good(1, A), *started(2, B))

    why = declined(promotion.candidate(source, releases((1, A)), PRODUCTION, name="2", skip=["soak"]))

    assert why == (
        f'{B.revision.short} "commit b" is not healthy in staging yet: see `deployer status staging`,'
        " and promote it when staging#2 is."
    )


def test_a_hotfix_may_be_held_in_the_source() -> None:
    """A person takes it upon them: it may have failed of something that production does not have."""
    source = record_of(*good(1, A), *failed(2, B))
    for name in ("2", B.revision.short, B.digest):
        found = promotion.candidate(source, releases((1, A)), PRODUCTION, name=name, skip=["soak"])
        assert chosen(found) == ("staging#2", B)

    back = RollbackAsked(at=at(3), actor="ada", reason="slow", release=A, made_good="staging#1")
    was_good = record_of(*good(1, A), *good(2, B), back)
    found = promotion.candidate(was_good, releases((2, B), (1, A)), PRODUCTION, name="2", skip=["soak"])
    assert chosen(found) == ("staging#2", B)


def test_a_hotfix_is_not_what_the_target_holds() -> None:
    """That is the target's own gate, with a way of its own."""
    target = fold("production", failed(1, B, "production"))
    source = record_of(*healthy(1, B))

    why = declined(promotion.candidate(source, [], target, name="1", skip=["soak"]))

    assert "is held in production (boom): `deployer retry production --reason ...` tries it once more" in why


# --- what makes no sense ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "skip", "reason", "why"),
    [
        (None, ["approvals"], "x", "There is nothing called 'approvals' to skip. There are: soak, requires,"),
        (None, ["soak"], "x", "A hotfix names what it is: `deployer promote staging production --release"),
        ("2", ["windows", "soak"], "", "A reason is needed, for those who read the log later: `deployer"),
    ],
)
def test_what_makes_no_sense_is_said(name: str | None, skip: list[str], reason: str, why: str) -> None:
    """Approvals, above all, are nobody's to skip; a hotfix is named; what is skipped has a reason."""
    found = promotion.misuse("staging", "production", name=name, skip=skip, reason=reason)

    assert found is not None
    assert found.exit_code == USAGE
    assert found.why.startswith(why)


@pytest.mark.parametrize(
    ("name", "skip", "reason"), [(None, [], ""), ("2", ["soak"], "x"), (None, ["windows"], "x")]
)
def test_what_makes_sense_is_let_through(name: str | None, skip: list[str], reason: str) -> None:
    """A plain promotion needs no reason."""
    assert promotion.misuse("staging", "production", name=name, skip=skip, reason=reason) is None


# --- sentences -------------------------------------------------------------------------------------------


def test_what_the_target_has_seen_is_promoted_already() -> None:
    """The very commit: the same config by another one is not."""
    (a,) = releases((1, A))
    same_config = replace(A, revision=revision("z"))

    assert promotion.is_promoted(fold("production", [Seen(at=at(1), release=A)]), a)
    assert not promotion.is_promoted(fold("production", [Seen(at=at(1), release=same_config)]), a)
    assert not promotion.is_promoted(PRODUCTION, a)
    assert promotion.nothing_to_do("production", "env/production", a) == (
        f'Branch env/production of production has {A.revision.short} "commit a" already: nothing to do.'
    )


def test_what_was_pushed_and_what_would_be() -> None:
    """From where, and how much."""
    (a,) = releases((1, A))
    name = f'{A.revision.short} "commit a", staging#1'

    assert promotion.pushed("production", "p", a, "1" * 40) == (
        f"{name}, is promoted: branch p of production, which was at 1111111, is there now."
        " See `deployer status production`."
    )
    assert "which is new, is there now" in promotion.pushed("production", "p", a, None)
    for commits, is_more, count in (
        (1, False, "1 commit"),
        (2, False, "2 commits"),
        (50, True, "more than 50 commits"),
    ):
        said = promotion.planned("production", "p", a, commits, is_more=is_more)
        assert said == f"{name}, would be promoted: {count} would be pushed to branch p of production."


def test_what_is_in_the_way_is_named_with_what_to_do() -> None:
    """A few of the commits, with their authors."""
    (a,) = releases((1, A))
    commits = [revision(str(number)) for number in range(6)]

    ends = ("staging", "production")
    said = promotion.in_the_way(ends, "p", a, commits[:1], is_more=False)
    assert said == (
        f'{A.revision.short} "commit a" cannot be promoted to production: branch p is not behind it, it has'
        f' what that commit does not have: {commits[0].short} "commit 0" by Ada. Merge p into the branch that'
        f" you promote from, and let that become good there; or open a pull request with {A.revision.short}"
        " to it, and merge that; or, if those commits are not wanted, put the branch back by hand."
    )
    offered = promotion.in_the_way(ends, "p", a, commits[:1], is_more=False, has_forge=True)
    command = "`deployer promote staging production --pull-request` opens a pull request"
    assert f"good there; or {command}, whose merge brings it there; or, if" in offered
    assert '"commit 4" by Ada, and more.' in promotion.in_the_way(ends, "p", a, commits, is_more=False)
    assert "by Ada, and more." in promotion.in_the_way(ends, "p", a, commits[:1], is_more=True)


def test_without_a_credential_the_commands_are_there_to_copy() -> None:
    """One on each line."""
    assert promotion.by_hand("configs", ("git fetch x y", "git push x y:z")) == (
        "deployer has no credential for pushing to configs: set its `write`, or type, in a clone of it:\n"
        "  git fetch x y\n"
        "  git push x y:z"
    )


def test_what_a_copy_does_is_told() -> None:
    """Before, after, and where nothing has to be copied."""
    (a,) = releases((1, A))
    name = f'{A.revision.short} "commit a"'
    assert promotion.copying("production", "main", "p/s.yaml", a, ["fruit args.price: 3 -> 5"]) == (
        f"{name}, staging#1, would be promoted: it would change p/s.yaml on branch main, for production:\n"
        "  fruit args.price: 3 -> 5"
    )
    assert promotion.copied("production", "main", a, "1" * 40, 1) == (
        f"{name}, staging#1, is promoted: 1 change for production on branch main, by 1111111."
        " See `deployer status production`."
    )
    assert "2 changes for" in promotion.copied("production", "main", a, "1" * 40, 2)
    assert promotion.nothing_to_copy("production", "main", "p/s.yaml", a) == (
        f"p/s.yaml of production, on branch main, says what {name} says already: nothing to do."
    )
    assert promotion.cannot_copy("production", a, "line 3 is shared") == (
        f"{name} cannot be copied to production: Line 3 is shared."
    )
    assert promotion.edit_by_hand("configs", "p/s.yaml", ["fruit args.key: REDACTED"]) == (
        "deployer has no credential for pushing to configs: set its `write`, or edit p/s.yaml by hand (a"
        " patch would show what is secret):\n  fruit args.key: REDACTED"
    )


def test_what_is_copied_is_never_a_commit_that_changed_nothing() -> None:
    """What it says was promoted with the release that it repeats."""
    same = Release(revision=B.revision, config=A.config)
    record = fold("staging", [*good(1, A), Seen(at=at(50), release=same)])
    plain = promotion.candidate(record, releases((1, A)), PRODUCTION)
    copied = promotion.candidate(record, releases((1, A)), PRODUCTION, is_copied=True)
    assert isinstance(plain, GoodRelease)
    assert isinstance(copied, GoodRelease)
    assert (plain.release.revision, copied.release.revision) == (B.revision, A.revision)


def test_a_pull_request_needs_a_forge_and_skips_no_gate() -> None:
    """The commit that it is merged as is not known when it is opened."""
    (a,) = releases((1, A))

    def asked(skip: tuple[str, ...] = (), *, has_forge: bool = True) -> Declined | None:
        return promotion.by_pull_request("production", a, skip=skip, has_forge=has_forge)

    assert asked() is None
    assert asked(("soak",)) is None
    refused = asked(("windows", "soak", "drift"))
    assert refused is not None
    assert refused.exit_code == USAGE
    assert refused.why == (
        "--skip drift,windows is for one commit, and the one that a pull request will be merged as is not"
        f" known yet. Promote {A.revision.short} without it, and when it is merged:"
        ' `deployer sync production --skip drift,windows --reason "..."`.'
    )
    nowhere = asked(has_forge=False)
    assert nowhere is not None
    assert "write `forge` at the repository" in nowhere.why


def test_what_is_told_of_a_pull_request() -> None:
    """Where it is, and what to do there."""
    (a,) = releases((1, A))
    name = f'{A.revision.short} "commit a"'
    new = promotion.proposed("production", a, 7, "https://forge/7", is_new=True)
    assert new == (
        f"{name}, staging#1, is proposed for production: pull request #7 is open. Merge it at https://forge/7"
    )
    old = promotion.proposed("production", a, 7, "https://forge/7", is_new=False)
    assert "pull request #7 was open, and has it now." in old
    again = promotion.proposed_already("production", a, 7, "https://forge/7")
    assert again.startswith(f"{name} is proposed for production already: pull request #7 has it")
    assert promotion.superseded("production", "main").startswith("Branch main of production has all of this")
