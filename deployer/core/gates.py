"""The gates before a forward deploy: what an operator asks for beside git and a cluster that answers.

Owns their rules and their evidence. Must not know settings files, nor how other environments are looked up.
Invariant: a gate is a pure function of what is known now, so what was open may close again until the deploy
starts; a closed gate says what opens it, and when; and nothing but a deploy of what git wants is ever asked
here: rollback, restore and heal wait for nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core import approvals, capacity, drift, sentences, windows
from deployer.core.approvals import ApprovalRule
from deployer.core.effect import Effect, effect
from deployer.core.events import DriftClass
from deployer.core.record import Skip
from deployer.core.rollouts import is_kept, is_live
from deployer.core.windows import Opening, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.core.live import Live
    from deployer.core.record import Record
    from deployer.core.types import Desired, Revision

REQUIRES, CHECKS, FREEZES, WINDOWS = "requires", "checks", "freezes", "windows"
DRIFT, CAPACITY, MANUAL, APPROVALS = "drift", "capacity", "manual", "approvals"

SKIPPABLE = (REQUIRES, CHECKS, FREEZES, WINDOWS, DRIFT, CAPACITY)
"""What who may override can skip for one commit, with a reason. Nobody approves for others."""


class Verdict(StrEnum):
    """What a gate says."""

    OPEN = "open"
    CLOSED = "closed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an operator asks for before anything is deployed to an environment.

    `requires`: for how many seconds the commit must have been good in these other environments. `checks`: the
    names of what must be green at the forge.
    """

    requires: Mapping[str, float] = field(default_factory=dict)
    checks: tuple[str, ...] = ()
    approvals: ApprovalRule | None = None
    windows: tuple[Span, ...] = ()
    freezes: tuple[Span, ...] = ()
    manual: bool = False
    drift: bool = False
    capacity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Since when a commit is good in another environment; None: it is not, and `why` is a sentence."""

    good_since: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BecameGood:
    """That a rollout made a commit good: when the first one did, and the digest of what it deployed."""

    at: datetime
    digest: str


class CheckState(StrEnum):
    """How a check of a commit stands at the forge."""

    SUCCESS = "success"
    PENDING = "pending"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeCheck:
    """One commit status, or check run. `url` is where its own page is."""

    state: CheckState
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtForge:
    """What the forge says of one commit. `trouble` is why it was not to be asked, as a sentence.

    `made_by` are the names at the forge of who opened and who merged the pull request that brought it.
    """

    checks: Mapping[str, ForgeCheck] = field(default_factory=dict)
    made_by: tuple[str, ...] = ()
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """The rules of one environment, and what is known elsewhere of the commit that git wants.

    `forge` is None while nobody has asked it.
    """

    rules: Rules = field(default_factory=Rules)
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    forge: AtForge | None = None


NONE = Gating()
"""An environment without gates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """One gate as it stands. `evidence` is a sentence.

    `next_check` is when it may be another by itself; None where only an act changes it. `plan` is the digest
    that approvals have to be for, where the gate waits for some.
    """

    name: str
    verdict: Verdict
    evidence: str
    next_check: datetime | None = None
    plan: str | None = None


def gates(
    desired: Desired,
    live: Live | None,
    record: Record,
    now: datetime,
    gating: Gating,
    neighbours: Mapping[str, str],
) -> tuple[GateState, ...]:
    """Every gate that the rules name, in the order in which a release meets them."""
    skips = _skips(desired, record)
    return tuple(
        _unless_skipped(gate, skips.get(gate.name))
        for gate in _gates(desired, live, record, now, gating, neighbours)
    )


def closed(states: Sequence[GateState]) -> tuple[GateState, ...]:
    """Those that a deploy waits for."""
    return tuple(gate for gate in states if gate.verdict is Verdict.CLOSED)


def before_push(record: Record, now: datetime, gating: Gating) -> tuple[GateState, ...]:
    """The gates that a commit meets in the record's environment, as they stand before its branch has it.

    What only the config there can tell (capacity, approvals, manual) is asked then.
    """
    return tuple(_known_before(record, now, gating))


def prove(record: Record, became_good: BecameGood | None, commit: str) -> Proof:
    """Since when this commit is good in the record's environment, if a rollout made it so.

    A commit that changes nothing there is as good as what runs, once that is at rest. What is held is its
    config, by whatever commit it was wanted then.
    """
    name, seen, good = record.environment, record.seen, record.good
    digests = {became_good.digest} if became_good is not None else set()
    if seen is not None and seen.revision.commit == commit:
        digests.add(seen.digest)
    hold = next(
        (one for one in record.held if one.release.revision.commit == commit or one.digest in digests), None
    )
    if hold is not None:
        again = f"Mend it and push, or have it tried once more there: `deployer retry {name}`."
        return Proof(why=f"It is held in {name}: {sentences.ended(hold.reason)} {again}")
    if became_good is not None:
        return Proof(good_since=became_good.at)
    is_wanted = seen is not None and seen.revision.commit == commit and record.refused is None
    if seen is not None and is_wanted and record.asked is None and is_live(record, seen.digest):
        return Proof(good_since=record.good_at)
    if is_wanted and record.rollout is not None:
        return Proof(why=f"{record.rollout.id} is trying it in {name}: see `deployer status {name}`.")
    if is_wanted:
        return Proof(why=f"{name} wants it, and has not made it good: see `deployer explain {name}`.")
    there = f"{sentences.name(good)} is good there" if good is not None else "nothing is good there yet"
    return Proof(why=f"{name} has not had it: {there}. Push it to {name}, and let it become good.")


def _gates(
    desired: Desired,
    live: Live | None,
    record: Record,
    now: datetime,
    gating: Gating,
    neighbours: Mapping[str, str],
) -> Iterator[GateState]:
    rules = gating.rules
    yield from _known_before(record, now, gating, live)
    needs_effect = live is not None and (rules.capacity or rules.approvals is not None)
    of = None
    if needs_effect and live is not None:
        of = effect(desired.release, desired.policy, live, record, neighbours)
    if rules.capacity:
        yield _capacity(of, live, record.environment)
    if rules.manual:
        yield _manual(desired, record)
    if rules.approvals is not None:
        yield _approvals(rules.approvals, desired.release.revision, of, record, now, gating.forge)


def _known_before(
    record: Record, now: datetime, gating: Gating, live: Live | None = None
) -> Iterator[GateState]:
    """The gates that need nothing but the commit, and the cluster where it was looked at."""
    rules = gating.rules
    if rules.requires:
        yield _requires(rules.requires, gating.proofs, now)
    if rules.checks:
        yield _checks(rules.checks, gating.forge, record.environment)
    if rules.freezes:
        yield _opening(FREEZES, windows.freezes(rules.freezes, rules.windows, now), record)
    if rules.windows:
        yield _opening(WINDOWS, windows.windows(rules.windows, rules.freezes, now), record)
    if rules.drift:
        yield _drift(record, live)


def _skips(desired: Desired, record: Record) -> dict[str, str]:
    """The gates that are skipped for this very commit, each with who did it and why."""
    commit, go = desired.release.revision.commit, record.go
    promoted = [
        Skip(by=one.by, reason=one.reason, skipped=one.skipped)
        for one in record.promoted
        if commit in one.commits
    ]
    asked = go.skips if go is not None and go.commit == commit else ()
    return {
        gate: f"Skipped by {one.by}: {one.reason}"
        for one in (*promoted, *asked)
        for gate in one.skipped
        if gate in SKIPPABLE
    }


def _unless_skipped(gate: GateState, skipped: str | None) -> GateState:
    if skipped is None or gate.verdict is not Verdict.CLOSED:
        return gate
    return GateState(
        name=gate.name,
        verdict=Verdict.SKIPPED,
        evidence=f"{sentences.sentence(skipped)} It would be closed: {gate.evidence}",
        next_check=gate.next_check,
    )


def _requires(requires: Mapping[str, float], proofs: Mapping[str, Proof], now: datetime) -> GateState:
    """Closed by the first environment that has not proved it, or not for long enough."""
    later: list[tuple[datetime, str]] = []
    for name, seconds in requires.items():
        proof = proofs.get(
            name, Proof(why=f"Nothing is known of {name} yet: it is looked at again by itself.")
        )
        if proof.good_since is None:
            return GateState(name=REQUIRES, verdict=Verdict.CLOSED, evidence=proof.why)
        due = proof.good_since + timedelta(seconds=seconds)
        if now < due:
            needed = sentences.span(timedelta(seconds=seconds))
            since = sentences.clock(proof.good_since)
            why = (
                f"It is good in {name} since {since}, and must be for {needed}: until {sentences.clock(due)}."
            )
            later.append((due, why))
    if later:
        due, why = max(later)
        return GateState(name=REQUIRES, verdict=Verdict.CLOSED, evidence=why, next_check=due)
    listed = ", ".join(requires)
    return GateState(name=REQUIRES, verdict=Verdict.OPEN, evidence=f"It is good in {listed} for long enough.")


def _checks(names: Sequence[str], forge: AtForge | None, environment: str) -> GateState:
    """Closed by the first that is not green: what failed first, then what is not there, then what runs."""
    skip = f'Who may override it types `deployer sync {environment} --skip {CHECKS} --reason "..."`.'

    def shut(evidence: str) -> GateState:
        return GateState(name=CHECKS, verdict=Verdict.CLOSED, evidence=f"{evidence} {skip}")

    if forge is None:
        return shut("The forge is being asked how the checks of this commit stand.")
    if forge.trouble is not None:
        return shut(f"How the checks stand is not known: {sentences.sentence(forge.trouble)}")
    there = {name: forge.checks[name] for name in names if name in forge.checks}

    def listed(state: CheckState) -> str:
        found = ((name, check.url) for name, check in there.items() if check.state is state)
        return ", ".join(f"{name} ({url})" if url is not None else name for name, url in found)

    if failed := listed(CheckState.FAILURE):
        return shut(f"Failed at the forge: {failed}. Mend it and push, or run it again there.")
    if missing := ", ".join(name for name in names if name not in there):
        return shut(f"The forge has not heard of {missing} for this commit yet.")
    if running := listed(CheckState.PENDING):
        return shut(f"Still running at the forge: {running}.")
    return GateState(name=CHECKS, verdict=Verdict.OPEN, evidence=f"Green at the forge: {', '.join(names)}.")


def _opening(name: str, opening: Opening, record: Record) -> GateState:
    skip = ""
    if not opening.is_open:
        command = f"deployer sync {record.environment} --skip {name} --reason"
        skip = f' Who may override it types `{command} "..."`.'
    return GateState(
        name=name,
        verdict=Verdict.OPEN if opening.is_open else Verdict.CLOSED,
        evidence=f"{opening.evidence}{skip}",
        next_check=opening.next_change,
    )


def _drift(record: Record, live: Live | None) -> GateState:
    """What somebody changed by hand may be a rescue, which a deploy would undo.

    It is looked at the cluster itself: what the policy in git says of drift does not count here.
    """
    name = record.environment
    skip = f'skip this once: `deployer sync {name} --skip drift --reason "..."`.'
    if record.rollout is not None:
        # It replaces what it was not told of by itself, and what it brings is nobody's edit.
        evidence = f"{record.rollout.id} is changing the cluster: nobody's edit outlasts that."
        return GateState(name=DRIFT, verdict=Verdict.OPEN, evidence=evidence)
    if record.good is not None and not is_kept(record):
        evidence = f"After what failed last nobody knows what was repaired by hand. Look at it, then {skip}"
        return GateState(name=DRIFT, verdict=Verdict.CLOSED, evidence=evidence)
    seen = drift.find(live, record) if live is not None else None
    told = (record.drift.drift, record.drift.what) if record.drift is not None else None
    found = seen if live is not None else told
    if found is None or found[0] not in (DriftClass.EDITED, DriftClass.MISSING):
        return GateState(name=DRIFT, verdict=Verdict.OPEN, evidence="Nobody has changed the cluster by hand.")
    evidence = f"{sentences.ended(found[1])} Undo it there, or {skip}"
    return GateState(name=DRIFT, verdict=Verdict.CLOSED, evidence=evidence)


def _capacity(of: Effect | None, live: Live | None, environment: str) -> GateState:
    skip = f'Who may override it types `deployer sync {environment} --skip {CAPACITY} --reason "..."`.'
    if of is None or live is None:
        evidence = (
            "What is free is not known while the cluster cannot be seen: it is looked at again by itself."
        )
        return GateState(name=CAPACITY, verdict=Verdict.CLOSED, evidence=evidence)
    found = capacity.capacity(of.diff, of.old, of.new, live, live.ray_version)
    short = [str(need) for need in found.needs if need.verdict is capacity.Verdict.SHORT]
    if not short and any(need.free is None for need in found.needs):
        evidence = f"The cluster does not tell what is free: this gate is of no use there. {skip}"
        return GateState(name=CAPACITY, verdict=Verdict.CLOSED, evidence=evidence)
    if not short:
        notes = "".join(f" Not counted: {note}." for note in found.notes)
        return GateState(name=CAPACITY, verdict=Verdict.OPEN, evidence=f"It fits into what is free.{notes}")
    evidence = f"It does not fit: {', '.join(short)}. It is looked at again as long as it waits. {skip}"
    return GateState(name=CAPACITY, verdict=Verdict.CLOSED, evidence=evidence)


def _manual(desired: Desired, record: Record) -> GateState:
    name, release, go = record.environment, desired.release, record.go
    hold = record.hold_of(release.digest)
    if hold is not None and hold.may_retry:
        evidence = "Somebody wants it tried once more."
        return GateState(name=MANUAL, verdict=Verdict.OPEN, evidence=evidence)
    if go is not None and go.commit == release.revision.commit:
        evidence = f"{go.by} wants it deployed, since {sentences.clock(go.at)}."
        return GateState(name=MANUAL, verdict=Verdict.OPEN, evidence=evidence)
    evidence = (
        f"{name} deploys when it is told to: `deployer plan {name}` shows what {sentences.name(release)}"
        f" would do, `deployer sync {name}` does it."
    )
    return GateState(name=MANUAL, verdict=Verdict.CLOSED, evidence=evidence)


def _approvals(
    rule: ApprovalRule,
    revision: Revision,
    of: Effect | None,
    record: Record,
    now: datetime,
    forge: AtForge | None,
) -> GateState:
    if of is None:
        evidence = (
            "What would be approved is not known while the cluster cannot be seen: it is looked at again by"
            " itself."
        )
        return GateState(name=APPROVALS, verdict=Verdict.CLOSED, evidence=evidence)
    told = approvals.tally(rule, revision, of.digest, record, now, forge.made_by if forge is not None else ())
    is_enough = len(told.approved) >= rule.required
    names = ", ".join(one.by for one in told.approved)
    have = f"It has {len(told.approved)} of {rule.required} approvals{f' ({names})' if names else ''}"
    # Who opened and who merged the pull request do not approve it, and only the forge knows who they are.
    asks_forge = rule.reviews and rule.prevent_self_approval
    verdict, expires = Verdict.CLOSED, None
    if told.rejected:
        last = told.rejected[-1]
        text = f"{last.by} rejected it{f': {last.reason}' if last.reason else ''}"
        evidence = f"{text.rstrip('.')}. Push another commit, or let {last.by} approve it after all."
    elif is_enough and asks_forge and (forge is None or forge.trouble is not None):
        why = "it is being asked."
        if forge is not None and forge.trouble is not None:
            why = f"{sentences.ended(forge.trouble)} It is asked again by itself."
        evidence = f"{have}, but the forge does not tell who merged it: {why}"
    elif is_enough:
        verdict, evidence = Verdict.OPEN, f"{have}."
        expires = min(one.at for one in told.approved) + timedelta(seconds=rule.expire_after)
    else:
        name = record.environment
        others = [f"{one.by}'s does not count: {why}." for one, why in told.not_counted]
        how = f"`deployer plan {name}` shows what it would do, `deployer approve {name}` approves it."
        who = f"{', '.join(told.may)} may approve it: {how}"
        if not told.may:
            left = "Nobody is left who may approve it"
            who = f"{left}: push another commit, made by others, or change the settings."
        evidence = " ".join([f"{have}.", *others, who])
    return GateState(name=APPROVALS, verdict=verdict, evidence=evidence, next_check=expires, plan=of.digest)
