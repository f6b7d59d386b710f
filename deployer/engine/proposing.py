"""The one pull request of an edge: opened, kept up to date, told of the gates, and closed when it is empty.

Owns what is asked of the forge for that. Must not know events, nor what a gate asks for. Invariant: at most
one pull request of deployer's is open for each edge, because its branch is one; what it says was true when it
was last looked at; and a status that the forge has already is not sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deployer.adapters.forge import State
from deployer.core import proposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.adapters.forge import PullRequest
    from deployer.core.commands import GoodRelease
    from deployer.core.gates import GateState
    from deployer.engine.ways import Edge, Prepared


class Forge(Protocol):
    """A project at a forge: `deployer.adapters.forge.Forge`. Everything raises ForgeUnavailable."""

    def open_pull_request(self, head: str, base: str) -> PullRequest | None:
        """The open one from this branch to that."""

    def pull_request(self, number: int) -> PullRequest:
        """The one of that number."""

    def create(self, *, head: str, base: str, title: str, body: str) -> PullRequest:
        """Open one."""

    def update(self, number: int, *, title: str, body: str) -> PullRequest:
        """Write it anew."""

    def close(self, number: int, *, comment: str) -> None:
        """Close it, with a comment."""

    def set_status(
        self, commit: str, *, context: str, state: State, description: str, url: str | None
    ) -> None:
        """Say something of a commit."""

    def interrupt(self) -> None:
        """End what runs."""


class Proposals:
    """The pull request of one edge. One thread at a time."""

    def __init__(self, edge: Edge, forge: Forge, page: str | None) -> None:
        """Take both. `page` is where people see the target's gates, if they can reach the daemon."""
        self._edge = edge
        self._forge = forge
        self._page = page
        self._told: tuple[str, dict[str, object]] = "", {}

    def standing(self) -> PullRequest | None:
        """The one that is open."""
        return self._forge.open_pull_request(self._edge.proposals, self._edge.branch)

    def of(self, number: int) -> PullRequest:
        """The one of that number, however it stands."""
        return self._forge.pull_request(number)

    def put(self, chosen: GoodRelease, prepared: Prepared, reason: str, by: str) -> tuple[PullRequest, bool]:
        """Open it, or write it anew, for what its branch has now; and whether it is a new one.

        `reason` is why it is promoted, `by` the login name of who asked for it.
        """
        edge, lane = self._edge, prepared.lane
        title = proposal.title(edge.target, chosen)
        body = proposal.body(
            edge.ends,
            chosen,
            commits=lane.ahead,
            in_the_way=lane.in_the_way,
            copied=prepared.copy,
            is_more=lane.is_more,
            by=by,
            reason=reason,
        )
        standing = self.standing()
        if standing is not None:
            return self._forge.update(standing.number, title=title, body=body), False
        return self._forge.create(head=edge.proposals, base=edge.branch, title=title, body=body), True

    def tell(self, commit: str, gates: Sequence[GateState]) -> None:
        """Say of the commit at its top how each gate stands, as far as that is news."""
        of, told = self._told
        if of != commit:
            told = {}
        for context, (state, description) in proposal.statuses(self._edge.target, gates).items():
            if told.get(context) != (state, description):
                self._forge.set_status(
                    commit,
                    context=context,
                    state=State(state.value),
                    description=description,
                    url=self._page,
                )
                told[context] = state, description
        self._told = commit, told

    def close(self, number: int, why: str) -> None:
        """Close it, and say why there."""
        self._forge.close(number, comment=why)

    def interrupt(self) -> None:
        """End what runs."""
        self._forge.interrupt()
