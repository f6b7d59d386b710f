"""Delivers to a forge: the statuses of commits, and what becomes of deployments.

Owns which call a message becomes, and what a forge's refusal means for it. Must not know HTTP, nor any forge,
nor when it is tried again. Invariant: to deliver a message twice shows nothing twice, for a status replaces
the one before it under its name, and a deployment is found again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from deployer.adapters.forge import Deployment, DeploymentState, ForgeUnavailable, State
from deployer.core import commit_status
from deployer.core.messages import COMMIT_STATUS, DEPLOYMENT, of_deployments, of_forge
from deployer.engine.outbox import Away, LockedOut, Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from deployer.adapters.store import OutboxRow
    from deployer.core.status import Status

_FIRST_SERVER_ERROR = 500

_NOT_LET_IN = frozenset({401, 403})

_ELSEWHERE = range(300, 400)


class Forge(Protocol):
    """A project at a forge: `deployer.adapters.forge.Forge`. Everything raises ForgeUnavailable."""

    def set_status(
        self, commit: str, *, context: str, state: State, description: str, url: str | None
    ) -> None:
        """Show this beside the commit."""

    def show_deployment(
        self,
        of: Deployment,
        state: DeploymentState,
        *,
        description: str,
        log_url: str | None,
        environment_url: str | None,
    ) -> None:
        """Show how it stands."""

    def interrupt(self) -> None:
        """End what runs."""


class ForgeTarget:
    """The forge that keeps one repository: the statuses of its commits."""

    is_here = False
    kind = COMMIT_STATUS

    def __init__(
        self, repository: str, forge: Forge, environments: Collection[str], public_url: str | None
    ) -> None:
        """Take the forge. `public_url` is by which people reach the daemon, if they can."""
        self.name = self.audience = of_forge(repository)
        self.environments: Collection[str] = frozenset(environments)
        self._forge = forge
        self._public_url = public_url.rstrip("/") if public_url is not None else None

    def hears_of(self, status: Status) -> bool:
        """Whether a commit of this repository waits for something."""
        return status.environment in self.environments and commit_status.waiting(status) is not None

    def deliver(self, row: OutboxRow) -> None:
        """Tell the forge. Raises Refused, Away or LockedOut."""
        if row.kind != self.kind:
            message = (
                f"this version does not know what a {row.kind} is here: a newer one wrote it. Install that"
                " one again, or type `deployer outbox drop`"
            )
            raise Refused(message)
        try:
            self.tell(row)
        except ForgeUnavailable as error:
            raise _meaning(error) from error
        except ValueError as error:
            # A commit of another length than the forges know.
            raise Refused(str(error)) from error

    def tell(self, row: OutboxRow) -> None:
        """Make the call. Raises ForgeUnavailable, and ValueError for what is no commit."""
        told = row.payload
        rollout = told["rollout"]
        self._forge.set_status(
            told["commit"],
            context=told["context"],
            state=State(told["state"]),
            description=told["text"],
            url=self.page(f"/rollouts/{_path(rollout)}" if rollout is not None else _environment(row)),
        )

    def interrupt(self) -> None:
        """End what runs. The forge is asked nothing any more, by anybody."""
        self._forge.interrupt()

    def page(self, path: str) -> str | None:
        """Where people see it."""
        return f"{self._public_url}{path}" if self._public_url is not None else None


class DeploymentTarget(ForgeTarget):
    """The same forge, as the keeper of deployments: it has a place in the outbox of its own.

    So a token that may not write deployments keeps no status from being told.
    """

    kind = DEPLOYMENT

    def __init__(
        self,
        repository: str,
        forge: Forge,
        environments: Collection[str],
        public_url: str | None,
        *,
        branches: Mapping[str, str],
    ) -> None:
        """Take the same, and the branch that each environment follows, if it follows one."""
        super().__init__(repository, forge, environments, public_url)
        self.name = self.audience = of_deployments(repository)
        self._branches = dict(branches)

    def hears_of(self, status: Status) -> bool:  # noqa: ARG002 - of a target
        """What waits has no rollout yet."""
        return False

    def tell(self, row: OutboxRow) -> None:
        """Make the calls."""
        told = row.payload
        tag = told["tag"]
        of = Deployment(
            commit=told["commit"],
            environment=row.environment,
            rollout=told["rollout"],
            ref=tag or self._branches.get(row.environment) or told["commit"],
            is_tag=tag is not None,
            task=told["task"],
        )
        self._forge.show_deployment(
            of,
            DeploymentState(told["state"]),
            description=told["text"],
            log_url=self.page(f"/rollouts/{_path(of.rollout)}"),
            environment_url=self.page(_environment(row)),
        )


def _environment(row: OutboxRow) -> str:
    return f"/env/{_path(row.environment)}"


def _path(name: str) -> str:
    return quote(name, safe="")


def _meaning(error: ForgeUnavailable) -> Refused | Away:
    """Whether the forge is away, does not let us in, or only does not take this."""
    status = error.status
    if error.retry_after_seconds is not None:
        return Away(error.why, error.retry_after_seconds)
    if status is None or status >= _FIRST_SERVER_ERROR:
        return Away(error.why)
    if status in _NOT_LET_IN or status in _ELSEWHERE:
        return LockedOut(error.why)
    return Refused(error.why)
