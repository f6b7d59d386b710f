"""What is promised of gates, held against every decision and against every gate that is closed.

A `Judge` stands around `decide`: it compares the start of a deploy with the books, what is no deploy with a
decision that knows no gates, and tries out what a closed gate says of the time and the act that open it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.core import decide, gates, lineage
from deployer.core.actions import Action, Note
from deployer.core.events import Approved, Kind, Started, SyncAsked
from deployer.core.gates import GateState, Gating, Verdict
from deployer.core.live import Live, Observation
from deployer.core.record import Record, evolve
from deployer.core.types import Desired, Wanted
from deployer.engine.reconcile import Policy as Decide
from tests.unit.core.gate_book import ORDER, Book, Proves, fits
from tests.unit.machine.ledger import demand

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.events import Event

ACTS = re.compile(
    r"`deployer [a-z]+ |\b[Pp]ush (a|another|it|what) |\bMend it and push\b|\bUndo it there\b"
    r"|\bmay approve it\b|\bapprove it after all\b|\bchange the settings\b"
    r"|\blooked at again (by itself|as long as it waits)\b|\basked again\b|\bis being asked\b"
)
"""What opens a gate: a command, or an act of somebody, or of the daemon itself."""

_SYNC = re.compile(r'`deployer sync (?P<where>\S+?)(?: --skip (?P<gate>\w+) --reason "\.\.\.")?`')
_MAY = re.compile(r"(?<!left )\b(?P<who>[a-z]+) may approve it: ")


def unexplained(gate: GateState, now: datetime) -> str | None:
    """What the evidence of a closed gate lacks; None if it is one, with the time or act that opens it."""
    text = gate.evidence
    if not re.fullmatch(r"\S[^\n\r]*\.", text):
        return f"{gate.name} has no sentence: {text!r}"
    if gate.next_check is not None:
        return None if gate.next_check > now else f"{gate.name} tells a time that is over: {gate.next_check}"
    return None if ACTS.search(text) else f"{gate.name} does not tell what opens it: {text!r}"


@dataclass(kw_only=True)
class Judge:
    """Around `decide`. Breaks off with `Broken` where a promise is broken."""

    environment: str
    decide: Decide
    book: Book
    elsewhere: Mapping[str, Proves]
    told: Counter[str] = field(default_factory=Counter)
    """How often it came to what the promises are about."""

    def __call__(
        self,
        wanted: Wanted,
        live: Observation,
        record: Record,
        now: datetime,
        neighbours: Mapping[str, str],
        gating: Gating,
    ) -> Action:
        """Decide, and judge that."""
        action = self.decide(wanted, live, record, now, neighbours, gating)
        freely = decide.decide(wanted, live, record, now, neighbours)
        is_deploy = (begun := _begun(freely)) is not None and begun.kind is Kind.DEPLOY
        demand(is_deploy or action == freely, f"a gate is in the way of what is no deploy: {freely}")
        desired, begun = lineage.admitted(wanted, record), _begun(action)
        if begun is not None:
            self.told[begun.kind.value] += 1
        if isinstance(desired, Desired):
            seen = live if isinstance(live, Live) else None
            if seen is not None and begun is not None and begun.kind is Kind.DEPLOY:
                self._check_start(begun, desired, seen, now)
                self.told["overtakes"] += bool(begun.gates and record.rollout is not None)
            self._check_closed(desired, seen, record, now, gating)
        return action

    # --- a deploy begins ---------------------------------------------------------------------------------

    def _check_start(self, begun: Started, desired: Desired, live: Live, now: datetime) -> None:
        """Every gate is open, or was skipped by a wish for this very commit; and that is what is told."""
        release, book = desired.release, self.book
        commit = release.revision.commit
        must = book.open(release, desired.policy, live, now, self.elsewhere)
        told = {one.name: one for one in begun.gates}
        demand([*told] == [name for name in ORDER if name in must], f"told of {[*told]}, and has {[*must]}")
        for name, is_open in must.items():
            verdict, evidence = told[name].verdict, told[name].evidence
            skippers = book.skipped.get(commit, {}).get(name, set())
            demand(is_open or bool(skippers), f"a deploy through the closed gate {name}: {evidence}")
            self.told[f"{name} {verdict}"] += 1
            if verdict == Verdict.SKIPPED:
                who = evidence.removeprefix("Skipped by ").partition(": ")[0]
                demand(who in skippers, f"{name} was not skipped by {who}: {evidence}")
            else:
                demand(verdict == Verdict.OPEN and is_open, f"{name} is closed, and told as {verdict}")
        if "approvals" in must:
            counted = book.counted(fits(release, desired.policy, live), commit, now)
            demand({one.plan for one in counted} == {begun.effect}, "what was approved is another effect")

    # --- a gate is closed --------------------------------------------------------------------------------

    def _check_closed(
        self, desired: Desired, live: Live | None, record: Record, now: datetime, gating: Gating
    ) -> None:
        def still(name: str, record: Record, at: datetime) -> GateState | None:
            found = gates.closed(gates.gates(desired, live, record, at, gating, {}))
            return next((one for one in found if one.name == name), None)

        for gate in gates.closed(gates.gates(desired, live, record, now, gating, {})):
            self.told[f"{gate.name} closed"] += 1
            lack = unexplained(gate, now)
            demand(lack is None, f"unexplained: {lack}")
            if gate.next_check is not None:
                later = still(gate.name, record, gate.next_check)
                demand(
                    later is None, f"unexplained: {gate.name} is closed at the time that it tells: {later}"
                )
            for act in self._acts(gate, desired, record, now):
                after = still(gate.name, evolve(record, act), now)
                does = after is None or (isinstance(act, Approved) and f"{act.actor}'s" not in after.evidence)
                demand(does, f"unexplained: {gate.name} is closed after the act that it tells: {after}")
        for gate in gates.closed(gates.before_push(record, now, gating)):
            lack = unexplained(gate, now)
            demand(lack is None, f"unexplained before a push: {lack}")

    def _acts(self, gate: GateState, desired: Desired, record: Record, now: datetime) -> list[Event]:
        """What the evidence says that somebody may do, done."""
        release = desired.release
        digest, commit = release.digest, release.revision.commit
        found: list[Event] = []
        if (sync := _SYNC.search(gate.evidence)) is not None:
            names = sync["where"] == self.environment and sync["gate"] in {None, gate.name}
            demand(names, f"unexplained: {gate.name} tells a command for something else: {gate.evidence}")
            skipped = (gate.name,) if sync["gate"] else ()
            found += [SyncAsked(at=now, actor="eve", digest=digest, commit=commit, skipped=skipped)]
        may, is_seen = _MAY.search(gate.evidence), record.seen is not None and record.seen.digest == digest
        if may is not None and is_seen and gate.plan is not None:
            found += [Approved(at=now, actor=may["who"], plan=gate.plan, digest=digest, commit=commit)]
        return found


def _begun(action: Action) -> Started | None:
    """The rollout that it starts."""
    events = action.events if isinstance(action, Note) else ()
    return next((one for one in events if isinstance(one, Started)), None)
