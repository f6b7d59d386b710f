"""Each gate: when it is open, what closes it, what it says, and who may skip it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.core import gates, lineage
from deployer.core.approvals import ApprovalRule, why_not
from deployer.core.effect import effect
from deployer.core.events import (
    Approved,
    DriftClass,
    Drifted,
    Event,
    Failed,
    Failure,
    FailureClass,
    Kind,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    Rejected,
    RetryAsked,
    RollbackAsked,
    Seen,
    SyncAsked,
)
from deployer.core.gates import (
    AtForge,
    BecameGood,
    CheckState,
    ForgeCheck,
    GateState,
    Gating,
    Proof,
    Rules,
    Verdict,
)
from deployer.core.record import evolve
from deployer.core.types import Desired, Lineage, Merged, Person, Policy, Release
from deployer.core.windows import Fixed, Recurring
from tests.support.build import START, applied, at, desired, live, record_of, release, running, seen, started
from tests.unit.core.test_commands import failed, good

A, B, C = release("a"), release("b"), release("c")
LIVE = running(A)
WANTS_B = (*good(1, A), seen(B, 50))
NOW = at(100)


def state(
    rules: Rules,
    *events: Event,
    wanted: Release = B,
    proofs: dict[str, Proof] | None = None,
    there: Any = LIVE,
    second: float = 100,
    forge: AtForge | None = None,
) -> GateState:
    """The one gate that the rules have."""
    record = record_of(*(events or WANTS_B))
    gating = Gating(rules=rules, proofs=proofs or {}, forge=forge)
    (only,) = gates.gates(desired(wanted), there, record, at(second), gating, {})
    return only


def test_without_rules_there_are_no_gates() -> None:
    """And nothing waits."""
    assert gates.gates(desired(B), LIVE, record_of(*WANTS_B), NOW, gates.NONE, {}) == ()


# --- requires ----------------------------------------------------------------------------------------


UNKNOWN = "Nothing is known of us yet: it is looked at again by itself."


def test_it_must_have_been_good_elsewhere_for_so_long() -> None:
    """Each environment by itself; the one that takes longest is told."""
    rules = Rules(requires={"us": 60.0, "eu": 30.0})
    never = state(rules)
    assert (never.verdict, never.evidence) == (Verdict.CLOSED, UNKNOWN)
    bad = state(rules, proofs={"us": Proof(why="It is held in us."), "eu": Proof(good_since=at(0))})
    assert (bad.verdict, bad.evidence, bad.next_check) == (Verdict.CLOSED, "It is held in us.", None)
    young = state(rules, proofs={"us": Proof(good_since=at(50)), "eu": Proof(good_since=at(75))})
    assert (young.verdict, young.next_check) == (Verdict.CLOSED, at(110))
    assert young.evidence.startswith("It is good in us since ")
    old = state(rules, proofs={"us": Proof(good_since=at(40)), "eu": Proof(good_since=at(70))})
    assert (old.verdict, old.evidence) == (Verdict.OPEN, "It is good in us, eu for long enough.")


def test_a_commit_is_proved_by_the_rollout_that_made_it_good() -> None:
    """What is held there is not, nor what was rolled back by a person."""
    proved = BecameGood(at=at(10), digest=A.digest)
    assert gates.prove(record_of(*good(1, A)), proved, A.revision.commit) == Proof(good_since=at(10))
    why = gates.prove(record_of(*failed(1, A)), proved, A.revision.commit).why
    assert why.startswith("It is held in staging: ")


def test_what_is_held_is_a_config_by_whatever_commit() -> None:
    """A commit that changed nothing was wanted when it was rolled back: the one that did is held with it."""
    same = Release(revision=C.revision, config=B.config)
    back = RollbackAsked(at=at(70), actor="ada", reason="slow", release=A, made_good="staging#1")
    record = record_of(*good(1, A), *good(2, B), seen(same, 60), back)
    assert [one.release.revision.commit for one in record.held] == [C.revision.commit]
    proved = BecameGood(at=at(20), digest=B.digest)
    for commit, became_good in ((B, proved), (C, None)):
        found = gates.prove(record, became_good, commit.revision.commit)
        assert found.good_since is None
        assert found.why == (
            "It is held in staging: rolled back by ada: slow. Mend it and push, or have it tried once more"
            " there: `deployer retry staging`."
        )


def test_a_commit_that_changes_nothing_is_as_good_as_what_runs() -> None:
    """As it is the config that proves itself; but not while a rollback to it is asked for, or on its way."""
    same = Release(revision=B.revision, config=A.config)
    events = (*good(1, A), seen(same, 50))
    assert gates.prove(record_of(*events), None, B.revision.commit).good_since == record_of(*events).good_at
    asked = RollbackAsked(at=at(60), actor="ada", release=A, made_good="staging#1")
    back = (*good(1, A), *good(2, C), seen(same, 50), asked)
    for later in (
        (*events, Refused(at=at(60), message="it is gone")),
        back,
        (*back, started(A, 3, Kind.ROLLBACK, 61)),
    ):
        assert gates.prove(record_of(*later), None, B.revision.commit).good_since is None


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (
            (),
            "staging has not had it: nothing is good there yet. Push it to staging, and let it become good.",
        ),
        (
            good(1, A),
            f'staging has not had it: {A.revision.short} "commit a" is good there. Push it to staging, and'
            " let it become good.",
        ),
        (WANTS_B, "staging wants it, and has not made it good: see `deployer explain staging`."),
        ((*WANTS_B, started(B, 2)), "staging#2 is trying it in staging: see `deployer status staging`."),
    ],
)
def test_what_is_not_proved_says_why(events: tuple[Event, ...], says: str) -> None:
    """So that the next step is clear."""
    assert gates.prove(record_of(*events), None, B.revision.commit) == Proof(why=says)


# --- checks ----------------------------------------------------------------------------------------------

GREEN, RUNNING, RED = (ForgeCheck(state=CheckState(one)) for one in ("success", "pending", "failure"))
OVERRIDE = ' Who may override it types `deployer sync staging --skip checks --reason "..."`.'


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (None, "The forge is being asked how the checks of this commit stand."),
        (AtForge(trouble="the forge is down"), "How the checks stand is not known: The forge is down."),
        (
            AtForge(checks={"test": GREEN, "lint": replace(RED, url="https://ci/1"), "build": RUNNING}),
            "Failed at the forge: lint (https://ci/1). Mend it and push, or run it again there.",
        ),
        (
            AtForge(checks={"test": GREEN, "build": RUNNING}),
            "The forge has not heard of lint for this commit yet.",
        ),
        (
            AtForge(checks={"test": GREEN, "lint": RUNNING, "build": replace(RUNNING, url="https://ci/2")}),
            "Still running at the forge: lint, build (https://ci/2).",
        ),
    ],
)
def test_a_check_that_is_not_green_closes_the_gate(forge: AtForge | None, says: str) -> None:
    """Also one that nobody has heard of, and a forge that does not answer: what failed is said first."""
    closed = state(Rules(checks=("test", "lint", "build")), forge=forge)
    assert (closed.name, closed.verdict) == ("checks", Verdict.CLOSED)
    assert closed.evidence == says + OVERRIDE


def test_green_checks_open_the_gate_and_others_do_not_matter() -> None:
    """Of those that are asked for."""
    forge = AtForge(checks={"test": GREEN, "lint": GREEN, "other": RED})
    opened = state(Rules(checks=("test", "lint")), forge=forge)
    assert (opened.verdict, opened.evidence) == (Verdict.OPEN, "Green at the forge: test, lint.")


def test_who_opened_or_merged_the_pull_request_does_not_approve_it() -> None:
    """By the names that they have at the forge; unless nobody minds."""
    rule = ApprovalRule(required=1, people=frozenset({"lin", "bob"}), forge={"lin": ("Lin-GH",)})
    record = record_of(*WANTS_B)
    assert why_not("lin", rule, B.revision, record, ("lin-gh",)) is not None
    assert why_not("bob", rule, B.revision, record, ("lin-gh",)) is None
    easy = replace(rule, prevent_self_approval=False)
    assert why_not("lin", easy, B.revision, record, ("lin-gh",)) is None
    plan = effect(B, Policy(), LIVE, record, {}).digest
    said_so = Approved(at=at(60), actor="lin (token x)", plan=plan, digest=B.digest, commit=B.revision.commit)
    rules = Rules(approvals=rule)
    assert state(rules, *WANTS_B, said_so).verdict is Verdict.OPEN
    merged = state(rules, *WANTS_B, said_so, forge=AtForge(made_by=("somebody", "LIN-gh")))
    assert merged.verdict is Verdict.CLOSED
    assert "lin is among those who made or promoted this commit" in merged.evidence


def test_approvals_wait_for_the_forge_where_only_that_knows_who_merged() -> None:
    """An answer that is not there opens nothing: not after a restart, and not while it is down."""
    rule = ApprovalRule(required=1, people=frozenset({"lin"}), forge={"lin": ("lin-gh",)}, reviews=True)
    record = record_of(*WANTS_B)
    plan = effect(B, Policy(), LIVE, record, {}).digest
    given = Approved(at=at(60), actor="lin (token x)", plan=plan, digest=B.digest, commit=B.revision.commit)

    def asked(rule: ApprovalRule, forge: AtForge | None) -> GateState:
        return state(Rules(approvals=rule), *WANTS_B, given, forge=forge)

    unknown = asked(rule, None)
    assert (unknown.verdict, unknown.plan) == (Verdict.CLOSED, plan)
    assert unknown.evidence == (
        "It has 1 of 1 approvals (lin), but the forge does not tell who merged it: it is being asked."
    )
    down = asked(rule, AtForge(trouble="the forge is down"))
    assert down.evidence.endswith(
        "does not tell who merged it: the forge is down. It is asked again by itself."
    )
    assert asked(rule, AtForge(made_by=("somebody",))).verdict is Verdict.OPEN
    assert asked(replace(rule, prevent_self_approval=False), None).verdict is Verdict.OPEN
    assert asked(replace(rule, reviews=False), None).verdict is Verdict.OPEN


def test_who_made_a_config_does_not_approve_it_by_a_later_commit() -> None:
    """One that changes nothing here; and the promotion that brought the config is looked at as before."""
    rule = ApprovalRule(required=1, people=frozenset({"ada", "bob", "lin"}))
    by_lin = replace(
        C.revision, author=Person(name="lin", email="lin@x"), committer=Person(name="ci", email="ci@x")
    )
    same = Release(revision=by_lin, config=B.config)
    asked = PromotionAsked(
        at=at(40), actor="bob (token 1)", source="dev", rollout="dev#1", commit=B.revision.commit
    )
    record = record_of(*good(1, A), asked, seen(B, 50), seen(same, 60))
    assert record.first == B.revision
    for login in ("ada", "bob", "lin"):
        assert why_not(login, rule, by_lin, record) is not None
    another = record_of(*good(1, A), seen(B, 50), seen(same, 60), seen(A, 70))
    assert another.first is None
    assert why_not("lin", rule, by_lin, record_of(*good(1, A), seen(B, 50))) is not None


def test_who_made_what_came_along_does_not_approve_it() -> None:
    """Behind a merge, or pushed with it; and what was wanted and never good is a part of what comes next."""
    ada, bob, lin = (Person(name=one, email=f"{one}@x") for one in ("ada", "bob", "lin"))
    rule = ApprovalRule(required=1, people=frozenset({"ada", "bob", "lin"}))

    def by(what: Release, who: Person) -> Release:
        return replace(what, revision=replace(what.revision, author=who, committer=who))

    def may(last: Release, *wanted: Release, along: tuple[Person, ...] = ()) -> list[str]:
        record = record_of(*good(1, start))
        for what in (*wanted, last):
            seen_last = record.seen
            assert seen_last is not None
            compared = Lineage(since=seen_last.revision.commit, people=along)
            people = lineage.people(Desired(release=what, lineage=compared), record)
            record = evolve(record, replace(seen(what, 50), people=people))
        return [one for one in ("ada", "bob", "lin") if why_not(one, rule, last.revision, record) is None]

    start, change, more = by(A, ada), by(B, bob), by(C, lin)
    assert may(change) == ["ada", "lin"]
    assert may(change, along=(lin, bob)) == ["ada"]
    assert may(more, change) == ["ada"]
    assert may(by(B, ada), more, change) == []
    # What runs is nobody's any more, also where it came back in between.
    assert may(more, change, start) == ["ada", "bob"]


def test_who_asked_for_a_pull_request_does_not_approve_its_merge() -> None:
    """Also before it is known which commit that made."""
    rule = ApprovalRule(required=1, people=frozenset({"lin"}))
    asked = PromotionAsked(
        at=at(-60),
        actor="lin (token x)",
        source="dev",
        rollout="dev#3",
        commit="c0ffee",
        by_pull_request=True,
    )
    opened = Proposed(
        at=at(-59), commit="c0ffee", branch="main", head="badcafe", number=7, url="https://forge/7"
    )
    wanted = B.revision
    late = record_of(asked, opened, *WANTS_B)
    assert why_not("lin", rule, wanted, late) is not None
    early = record_of(replace(asked, at=at(40)), replace(opened, at=at(41)), *WANTS_B)
    assert why_not("lin", rule, wanted, early) is None
    merge = replace(wanted, merged=Merged(commit="badcafe"))
    assert why_not("lin", rule, merge, early) is not None


# --- windows and freezes -------------------------------------------------------------------------------


def test_windows_and_freezes_tell_how_to_override_them() -> None:
    """Where they are closed."""
    begins, ends = at(90), at(190)
    freeze = Fixed(begins=begins, ends=ends, reason="Christmas")
    frozen = state(Rules(freezes=(freeze,)))
    assert (frozen.name, frozen.verdict, frozen.next_check) == ("freezes", Verdict.CLOSED, ends)
    assert "Christmas" in frozen.evidence
    assert '`deployer sync staging --skip freezes --reason "..."`' in frozen.evidence
    thawed = state(Rules(freezes=(freeze,)), second=190)
    assert thawed.verdict is Verdict.OPEN
    assert "--skip" not in thawed.evidence
    window = Recurring(cron=f"{START.minute} {START.hour} * * *", duration=3600.0, time_zone="UTC")
    assert state(Rules(windows=(window,))).verdict is Verdict.OPEN
    assert state(Rules(windows=(window,)), second=7200).verdict is Verdict.CLOSED


# --- drift, capacity -------------------------------------------------------------------------------------


EDITED = replace(LIVE, apps={"fruit": replace(LIVE.apps["fruit"], config={"name": "fruit"})})


def test_what_was_changed_by_hand_is_not_deployed_over() -> None:
    """The cluster itself tells, whatever the policy in git says of drift; what is sick does not count."""
    rules = Rules(drift=True)
    assert state(rules).verdict is Verdict.OPEN
    sick = running(A, status="UNHEALTHY")
    assert state(rules, there=sick).verdict is Verdict.OPEN
    found = state(rules, there=EDITED)
    assert found.verdict is Verdict.CLOSED
    assert "Undo it there, or skip this once: " in found.evidence
    # Out of sight, what was known last counts.
    told = Drifted(at=at(60), drift=DriftClass.EDITED, what="somebody set price.")
    blind = state(rules, *WANTS_B, told, there=None)
    assert (blind.verdict, blind.evidence[:20]) == (Verdict.CLOSED, "somebody set price. ")
    # Of what our own rollout brings nobody is to blame.
    ours = state(rules, *WANTS_B, started(B, 2), applied(2, 52), seen(C, 60), there=running(B, stamp=3.0))
    assert (ours.verdict, ours.evidence) == (
        Verdict.OPEN,
        "staging#2 is changing the cluster: nobody's edit outlasts that.",
    )


def test_after_a_rollback_that_failed_somebody_may_have_repaired_it_by_hand() -> None:
    """Nobody can tell, so it waits for who can."""
    back = (*good(1, A), *failed(2, C), *of_kind(3, A, Kind.ROLLBACK), seen(B, 90))
    found = state(Rules(drift=True), *back)
    assert found.verdict is Verdict.CLOSED
    assert found.evidence.startswith("After what failed last nobody knows what was repaired by hand.")


def of_kind(number: int, what: Release, kind: Kind) -> list[Event]:
    """A rollout of this kind that failed."""
    failure = Failure(failure_class=FailureClass.CODE, message="boom")
    return [
        started(what, number, kind),
        Failed(at=at(number), rollout=f"staging#{number}", failure=failure),
    ]


def test_what_does_not_fit_waits() -> None:
    """For what is free to be told, and to be enough."""
    rules = Rules(capacity=True)
    big = release(
        "big", {"name": "fruit", "deployments": [{"name": "D", "ray_actor_options": {"num_cpus": 9}}]}
    )
    events = (*good(1, A), seen(big, 50))
    roomy, full = replace(LIVE, free={"CPU": 20.0}), replace(LIVE, free={"CPU": 1.0})
    assert state(rules, *events, wanted=big, there=roomy).verdict is Verdict.OPEN
    short = state(rules, *events, wanted=big, there=full)
    assert short.verdict is Verdict.CLOSED
    assert short.evidence.startswith("It does not fit: CPU 9 of 1 free.")
    assert state(rules, *events, wanted=big, there=None).verdict is Verdict.CLOSED
    untold = state(rules, *events, wanted=big, there=LIVE)
    assert (untold.verdict, untold.evidence) == (
        Verdict.CLOSED,
        "The cluster does not tell what is free: this gate is of no use there. Who may override it types"
        ' `deployer sync staging --skip capacity --reason "..."`.',
    )


# --- manual ----------------------------------------------------------------------------------------------


def test_manual_waits_for_sync_of_this_very_config() -> None:
    """Which a retry is too; and once it is good, the wish is spent."""
    rules = Rules(manual=True)
    closed = state(rules)
    assert closed.verdict is Verdict.CLOSED
    assert "`deployer sync staging` does it." in closed.evidence
    go = SyncAsked(at=at(60), actor="ada (token x)", digest=B.digest, commit=B.revision.commit)
    assert state(rules, *WANTS_B, go).evidence.startswith("ada wants it deployed, since ")
    assert state(rules, *WANTS_B, go, seen(C, 70), wanted=C).verdict is Verdict.CLOSED
    # The same config, judged in another way perhaps: another commit is another wish.
    again = Release(revision=C.revision, config=B.config)
    assert state(rules, *WANTS_B, go, seen(again, 70), wanted=again).verdict is Verdict.CLOSED
    held = (*good(1, A), *failed(2, B))
    assert state(rules, *held).verdict is Verdict.CLOSED
    retry = RetryAsked(at=at(90), reason="again", digest=B.digest)
    assert state(rules, *held, retry).verdict is Verdict.OPEN
    assert record_of(*WANTS_B, go, *good(2, B)).go is None


# --- approvals -------------------------------------------------------------------------------------------

RULE = ApprovalRule(required=1, people=frozenset({"lin", "bob", "eve"}), expire_after=3600.0)
PLAN = effect(B, Policy(), LIVE, record_of(*WANTS_B), {}).digest


def said(who: str, second: float = 60, *, plan: str = PLAN, rejects: bool = False, reason: str = "") -> Event:
    """Somebody approves B, or rejects it."""
    kind = Rejected if rejects else Approved
    return kind(
        at=at(second),
        actor=f"{who} (token x)",
        reason=reason,
        plan=plan,
        digest=B.digest,
        commit=B.revision.commit,
    )


def approvals(*events: Event, rule: ApprovalRule = RULE, **more: Any) -> GateState:
    """How the gate stands after these."""
    return state(Rules(approvals=rule), *WANTS_B, *events, **more)


def test_one_of_the_people_approves_what_it_would_do() -> None:
    """And until it expires it counts."""
    closed = approvals()
    assert (closed.verdict, closed.plan) == (Verdict.CLOSED, PLAN)
    assert closed.evidence == (
        "It has 0 of 1 approvals. bob, eve, lin may approve it: `deployer plan staging` shows what it would"
        " do, `deployer approve staging` approves it."
    )
    is_open = approvals(said("lin"))
    assert (is_open.verdict, is_open.evidence) == (Verdict.OPEN, "It has 1 of 1 approvals (lin).")
    assert is_open.next_check == at(60 + 3600)
    assert approvals(said("lin"), second=60 + 3599).verdict is Verdict.OPEN
    expired = approvals(said("lin"), second=60 + 3600)
    assert expired.verdict is Verdict.CLOSED
    assert "lin's does not count: it is older than 1h." in expired.evidence


def test_so_many_different_people() -> None:
    """Who says it twice counts once."""
    two = replace(RULE, required=2)
    assert approvals(said("lin"), said("lin", 70), rule=two).verdict is Verdict.CLOSED
    assert approvals(said("lin"), said("bob", 70), rule=two).verdict is Verdict.OPEN


def test_it_is_void_when_the_effect_changes() -> None:
    """As what was approved is not what would happen."""
    void = approvals(said("lin", plan="sha256:other"))
    assert void.verdict is Verdict.CLOSED
    assert "lin's does not count: what the deploy would do has changed since." in void.evidence
    elsewhere = approvals(said("lin"), there=live())
    assert elsewhere.verdict is Verdict.CLOSED
    assert elsewhere.plan != PLAN


def test_another_config_asks_anew() -> None:
    """Also if git comes back to the first one."""
    record = record_of(*WANTS_B, said("lin"), seen(C, 70), seen(B, 80))
    assert record.opinions == ()
    assert record_of(*WANTS_B, said("lin"), *good(2, B)).opinions == ()


def test_a_rejection_closes_it_until_the_same_person_approves() -> None:
    """However many others approved."""
    no = said("bob", 70, rejects=True, reason="not on Friday")
    closed = approvals(said("lin"), no)
    assert closed.verdict is Verdict.CLOSED
    assert closed.evidence == (
        "bob rejected it: not on Friday. Push another commit, or let bob approve it after all."
    )
    assert approvals(said("lin"), said("bob", 70, rejects=True)).evidence.startswith("bob rejected it. ")
    assert approvals(said("lin"), no, said("bob", 80)).verdict is Verdict.OPEN


def test_a_rejection_does_not_pass_by_itself() -> None:
    """Neither with time nor with another effect; and who made the commit may reject it."""
    no = said("bob", 60, rejects=True, reason="a leak")
    late = approvals(no, said("lin", 60 + 3000), second=60 + 3601)
    assert late.verdict is Verdict.CLOSED
    assert "bob rejected it: a leak." in late.evidence
    other = said("bob", 60, rejects=True, plan="sha256:other")
    assert approvals(other, said("lin")).verdict is Verdict.CLOSED
    stranger = said("mallory", 60, rejects=True)
    assert approvals(stranger, said("lin")).verdict is Verdict.OPEN


def test_who_may_not_approve_does_not_count() -> None:
    """Whatever their token is."""
    stranger = approvals(said("mallory"))
    assert stranger.verdict is Verdict.CLOSED
    assert "mallory is not among those who may approve: bob, eve, lin." in stranger.evidence


MADE_BY_LIN = [
    Person(name="lin", email="x@example.com"),
    Person(name="X", email="lin@example.com"),
    Person(name="X", email="12+lin@users.noreply.github.com"),
    Person(name="X", email="12-lin@users.noreply.gitlab.com"),
    Person(name="X", email="l.i@corp.example"),
]


@pytest.mark.parametrize("person", MADE_BY_LIN, ids=lambda person: person.email)
@pytest.mark.parametrize("role", ["author", "committer", "co_authors"])
def test_nobody_approves_their_own(person: Person, role: str) -> None:
    """By their name, their address, one that a forge made for them, or one that the settings know."""
    rule = replace(RULE, emails={"lin": ("L.I@corp.example",)})
    value: Any = (person,) if role == "co_authors" else person
    own = Release(revision=replace(B.revision, **{role: value}), config=B.config)
    events = (*good(1, A), Seen(at=at(50), release=own), said("lin"))
    record = record_of(*events)

    def verdict(of: ApprovalRule) -> GateState:
        (only,) = gates.gates(desired(own), LIVE, record, NOW, Gating(rules=Rules(approvals=of)), {})
        return only

    closed = verdict(rule)
    assert closed.verdict is Verdict.CLOSED
    assert "nobody approves their own" in closed.evidence
    assert "bob, eve may approve it" in closed.evidence
    assert verdict(replace(rule, prevent_self_approval=False)).verdict is Verdict.OPEN
    alone = verdict(replace(rule, people=frozenset({"lin"})))
    assert "Nobody is left who may approve it" in alone.evidence


def promoted(who: str, commit: str = B.revision.commit, *, skipped: tuple[str, ...] = ()) -> list[Event]:
    """Somebody promoted this commit."""
    asked = PromotionAsked(
        at=at(40),
        actor=f"{who} (token x)",
        reason="fire",
        source="dev",
        rollout="dev#3",
        commit=commit,
        skipped=skipped,
    )
    return [asked, Promoted(at=at(41), commit=commit, branch="env/staging")]


@pytest.mark.parametrize("who", ["lin", "LIN", "lin@example.com", "l.i@corp.example"])
def test_who_promoted_it_does_not_approve_it(who: str) -> None:
    """As a merger; however the proxy spells them; also when another commit was promoted since."""
    rule = replace(RULE, emails={"lin": ("L.I@corp.example",)})
    asked, done = promoted(who)
    later = promoted("bob", C.revision.commit)
    of_copy = PromotionAsked(at=at(40), actor=who, source="dev", rollout="dev#3", commit="c0ffee")
    copied = Promoted(at=at(41), commit="c0ffee", branch="main", copied=B.revision.commit)
    proposed = Proposed(
        at=at(45), commit="c0ffee", branch="main", head=B.revision.commit, number=1, url="https://forge/1"
    )
    plain = ((asked,), (asked, done), (asked, done, *later), (asked, done, later[0]))
    for events in (*plain, (of_copy, copied), (of_copy, proposed)):
        record = record_of(*good(1, A), *events, seen(B, 50), said("lin"))
        assert why_not("lin", rule, B.revision, record) is not None
        assert why_not("bob", rule, B.revision, record) is None


def test_who_made_a_commit_that_is_brought_along_does_not_approve_it() -> None:
    """Of a promotion all that it brings counts, and not its newest commit alone."""
    lin = Person(name="L", email="lin@example.com")
    asked, done = promoted("bob")
    assert isinstance(asked, PromotionAsked)
    along = replace(asked, people=(lin,))
    asked_for, there = (record_of(*good(1, A), *events, seen(B, 50)) for events in ((along,), (along, done)))
    assert why_not("lin", RULE, B.revision, asked_for) is not None
    assert why_not("lin", RULE, B.revision, there) is not None
    assert why_not("lin", RULE, C.revision, there) is None


def test_nothing_can_be_approved_out_of_sight() -> None:
    """What it would do is not known then."""
    blind = approvals(said("lin"), there=None)
    assert (blind.verdict, blind.plan) == (Verdict.CLOSED, None)


# --- before a promotion -----------------------------------------------------------------------------------


def test_a_commit_promotes_itself_when_nothing_but_its_config_and_people_could_stop_it() -> None:
    """Those are asked when its branch has it."""
    freeze = Fixed(begins=at(90), ends=at(190), reason="Christmas")
    rules = Rules(requires={"us": 60.0}, freezes=(freeze,), manual=True, capacity=True, approvals=RULE)
    record = record_of(*good(1, A))
    proofs = {"us": Proof(good_since=at(0))}

    def closed(second: float, gating: Gating) -> list[str]:
        return [one.name for one in gates.closed(gates.before_push(record, at(second), gating))]

    assert closed(100, Gating(rules=rules)) == ["requires", "freezes"]
    assert closed(100, Gating(rules=rules, proofs=proofs)) == ["freezes"]
    assert closed(190, Gating(rules=rules, proofs=proofs)) == []


# --- skipping --------------------------------------------------------------------------------------------


def skip(*names: str, commit: str = B.revision.commit) -> SyncAsked:
    """An administrator wants it all the same."""
    return SyncAsked(
        at=at(60), actor="eve (token x)", reason="fire", digest=B.digest, commit=commit, skipped=names
    )


def test_a_closed_gate_is_skipped_for_one_commit() -> None:
    """By whom and why is told with what it would have said."""
    rules = Rules(requires={"us": 60.0})
    found = state(rules, *WANTS_B, skip("requires"))
    assert (found.verdict, found.evidence) == (
        Verdict.SKIPPED,
        f"Skipped by eve: fire. It would be closed: {UNKNOWN}",
    )
    assert gates.closed([found]) == ()
    assert state(rules, *WANTS_B, skip("windows")).verdict is Verdict.CLOSED
    # What another person wishes afterwards makes it nobody else's.
    for later in (skip(), skip("windows")):
        told = state(rules, *WANTS_B, skip("requires"), replace(later, actor="ada (token y)", reason="now"))
        assert told.evidence == found.evidence
    anew = state(rules, *WANTS_B, skip("requires"), replace(skip("requires"), actor="ada", reason="now"))
    assert anew.evidence.startswith("Skipped by ada: now. ")
    assert state(rules, *WANTS_B, skip("requires", commit=A.revision.commit)).verdict is Verdict.CLOSED
    open_anyway = state(rules, *WANTS_B, skip("requires"), proofs={"us": Proof(good_since=at(0))})
    assert open_anyway.verdict is Verdict.OPEN
    hotfix, pushed = promoted("eve", skipped=("requires",))
    assert state(rules, hotfix, pushed, *WANTS_B).verdict is Verdict.SKIPPED
    # A promotion that was not pushed skips nothing, if the commit comes in another way.
    not_pushed = PromotionFailed(at=at(41), commit=B.revision.commit, why="It is protected.")
    assert state(rules, hotfix, not_pushed, *WANTS_B).verdict is Verdict.CLOSED


def test_nobody_approves_for_others() -> None:
    """Neither approvals nor a manual sync can be skipped."""
    assert approvals(skip("approvals")).verdict is Verdict.CLOSED
    manual = Rules(manual=True)
    other = skip("manual", commit=A.revision.commit)
    assert state(manual, *WANTS_B, other).verdict is Verdict.CLOSED
