"""What each environment's gates ask for, and what is known elsewhere of the commit that git wants.

Owns the looking up for `deployer.core.gates`, and waking those who wait for what just became good elsewhere.
Must not decide. Invariant: what is known elsewhere is read from the store at every pass, so that a release
that lost its proof a moment ago opens nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from deployer.adapters.store import StoreError
from deployer.core import gates, sentences
from deployer.core.events import Failed, Good, Held, RollbackAsked, Seen
from deployer.core.gates import Gating, Proof, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from deployer.core.commands import GoodRelease
    from deployer.core.events import Event
    from deployer.core.gates import AtForge, BecameGood, GateState
    from deployer.core.record import Record
    from deployer.core.status import Status

log = structlog.get_logger(__name__)

_NEWS = (Good, Failed, Held, Seen, RollbackAsked)
"""Of another environment: after these its proofs may be others."""


class Store(Protocol):
    """What is needed of the store."""

    def load(self, environment: str) -> Record:
        """The record of an environment."""

    def became_good(self, environment: str, commit: str) -> BecameGood | None:
        """When a rollout first made this commit good there."""


class AtForges(Protocol):
    """What is known of commits at the forges: `deployer.engine.at_forge.ForgeWatch`."""

    def of(self, environment: str, commit: str) -> AtForge | None:
        """What the forge says of it, as of the last answer."""

    def want(self, environment: str, commit: str) -> None:
        """Somebody wants to know soon."""


class Gatings:
    """The gating of each environment. Thread-safe; told as a listener what passes do."""

    def __init__(
        self,
        rules: Mapping[str, Rules],
        store: Store,
        wake: Callable[[str], None],
        now: Callable[[], datetime],
        forge: AtForges | None = None,
    ) -> None:
        """Take the rules by environment; one that is not there has no gates. `wake` must not wait."""
        self._rules = rules
        self._store = store
        self._wake = wake
        self._now = now
        self._forge = forge
        self._waiting: dict[str, list[str]] = {}
        for environment, one in rules.items():
            for required in one.requires:
                self._waiting.setdefault(required, []).append(environment)

    def rules(self, environment: str) -> Rules:
        """What its gates ask for."""
        return self._rules.get(environment, gates.NONE.rules)

    def of(self, environment: str, commit: str | None) -> Gating:
        """What a deploy of this commit has to wait for. None: git wants nothing that could be deployed.

        What the store cannot tell is no proof.
        """
        rules = self.rules(environment)
        if commit is None:
            return Gating(rules=rules)
        origins = self._origins(environment, commit) if rules.requires else {}
        return Gating(
            rules=rules,
            proofs={name: self._proof(name, origins.get(name, commit)) for name in rules.requires},
            forge=self._forge.of(environment, commit) if self._forge is not None else None,
        )

    def before_push(self, target: str, candidate: GoodRelease) -> tuple[GateState, ...]:
        """The gates that tell already how they stand for this release, as far as they can before a push."""
        record, commit = self._store.load(target), candidate.release.revision.commit
        if self._forge is not None:
            self._forge.want(target, commit)
        return gates.before_push(record, self._now(), self.of(target, commit))

    def may_promote(self, target: str, candidate: GoodRelease) -> str | None:
        """Why this is not to be promoted there by itself now, as a sentence; None if it is.

        Not approvals and manual: those are for what its branch has. Raises what the store does.
        """
        record = self._store.load(target)
        if record.paused is not None:
            return sentences.paused(record)
        gate = next(iter(gates.closed(self.before_push(target, candidate))), None)
        if gate is None:
            return None
        return f"{candidate.rollout} waits for the gate {gate.name}. {gate.evidence}"

    def recorded(self, record: Record, event: Event) -> None:
        """Wake those who wait for what this environment proves."""
        if isinstance(event, _NEWS):
            for environment in self._waiting.get(record.environment, ()):
                self._wake(environment)

    def observed(self, status: Status) -> None:
        """Nothing to do."""

    def _origins(self, environment: str, commit: str) -> dict[str, str]:
        """The commits that this one is a copy of, as we made it, by the environments that they are from."""
        try:
            promoted = self._store.load(environment).promoted
        except StoreError:
            # Its own pass says so.
            return {}
        # A merge may bring more than what proved itself.
        return {
            one.source: one.commit
            for one in promoted
            if commit in one.commits and not (one.is_more and commit == one.copied)
        }

    def _proof(self, environment: str, commit: str) -> Proof:
        """What cannot be read proves nothing; but it keeps no pass of another environment from its work."""
        try:
            record = self._store.load(environment)
            return gates.prove(record, self._store.became_good(environment, commit), commit)
        except StoreError as error:
            log.warning("proof_unreadable", of=environment, error=str(error))
            return Proof(
                why=f"What {environment} proved cannot be read from the store: see the daemon's log."
            )
