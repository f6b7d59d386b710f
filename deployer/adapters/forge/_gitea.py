"""Gitea and Forgejo: the API that every instance describes at /api/swagger.

Owns what Gitea lists, and in which words. Must not know HTTP. Invariant: a list counts as whole only once
Gitea has said so, for an instance may give fewer items a page than were asked for (MAX_RESPONSE_ITEMS).

Facts are from Gitea's source (routers/api/v1/repo, services/convert; 1.25), where Forgejo's comes from.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._pulls import PullsForge, is_merged_into, of_base
from deployer.adapters.forge._requests import Doing
from deployer.adapters.forge._types import CheckResult, ForgeUnavailable, Opinion, Review, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.adapters.forge._requests import Api
    from deployer.adapters.forge._types import Deployment, DeploymentState, PullRequest

_READ = "the scope read:repository"

_NOT_FOUND = 404

_PULLS_A_PAGE = "20"
"""Each has some 12 kB with both repositories in it, and its text."""

_OPINIONS = {
    "APPROVED": Opinion.APPROVED,
    "REQUEST_CHANGES": Opinion.CHANGES_REQUESTED,
    "COMMENT": Opinion.COMMENTED,
}
"""Of a review. PENDING and REQUEST_REVIEW beside them are nobody's word."""

_STATES = {
    "success": State.SUCCESS,
    "skipped": State.SUCCESS,
    "warning": State.SUCCESS,
    "pending": State.PENDING,
    "failure": State.FAILURE,
    "error": State.FAILURE,
}
"""Of a commit status. Gitea itself lets a branch be merged with a warning, and with what was skipped."""


def headers(token: str) -> Mapping[str, str]:
    """What Gitea wants to see."""
    return {"Accept": "application/json", "Authorization": f"token {token}"}


class Gitea(PullsForge):
    """One repository at a Gitea or a Forgejo."""

    write_pulls = "the scopes write:repository and write:issue"
    write_statuses = "the scope write:repository"
    write_issues = "the scopes write:issue and read:user"
    creator = "created_by"
    only_issues = MappingProxyType({"type": "issues"})
    # Its sixth word, skipped, only newer ones know.
    said = MappingProxyType({State.RUNNING: "pending", State.CANCELLED: "warning"})

    def __init__(self, api: Api) -> None:
        """Take the API to ask. All comments of a pull request come at once."""
        super().__init__(api, is_paged=False)

    def open_pull_requests(self, base: str) -> tuple[PullRequest, ...]:
        """All open ones to this branch, from forks as well, the lowest number first."""
        doing = Doing(what="list the open pull requests", needs=_READ)
        query = {"state": "open", "base_branch": base, "limit": _PULLS_A_PAGE}
        found: list[PullRequest] = []
        for value in self._api.pages(f"{self._repo}/pulls", doing, query, by="limit"):
            with self._api.reading(doing):
                found.append(self._pull(value))
        return of_base(found, base)

    def open_pull_request(self, head: str, base: str) -> PullRequest | None:
        """The open one from this branch of the project to that one.

        The list can be told the base (an older Gitea ignores it), not the head.
        """
        doing = Doing(what="look for an open pull request", needs=_READ)
        query = {"state": "open", "base_branch": base, "limit": _PULLS_A_PAGE}
        for value in self._api.pages(f"{self._repo}/pulls", doing, query, by="limit"):
            with self._api.reading(doing):
                if self._is_between(value, head, base):
                    return self._pull(value)
        return None

    def pull_request_of(self, commit: str, base: str | None = None) -> PullRequest | None:
        """The merged one that brought this commit: Gitea finds it by the commit that the merge ended with."""
        doing = Doing(what=f"find the pull request of {commit[:12]}", needs=_READ)
        try:
            answer = self._api.get(f"{self._repo}/commits/{read.check_commit(commit)}/pull", doing)
        except ForgeUnavailable as error:
            if error.status != _NOT_FOUND:
                raise
            # Or the project is not there; whoever may see nothing hears that here.
            self._api.get(self._repo, doing)
            return None
        with self._api.reading(doing):
            pull = self._pull(answer)
        return pull if is_merged_into(pull, base) else None

    def reviews(self, number: int) -> tuple[Review, ...]:
        """The last word of each person, the newest last. A comment takes no other word back."""
        doing = Doing(what=f"read the reviews of pull request {number}", needs=_READ)
        said: list[tuple[int, Review]] = []
        for value in self._api.pages(f"{self._path(number)}/reviews", doing, {"limit": "30"}, by="limit"):
            with self._api.reading(doing):
                said += _reviewed(read.mapping(value))
        return read.last_words(said)

    def checks(self, commit: str) -> tuple[CheckResult, ...]:
        """The newest of each name. Without any, an older Gitea answers with nothing at all."""
        doing = Doing(what=f"read the checks of {commit[:12]}", needs=_READ)
        path = f"{self._repo}/commits/{read.check_commit(commit)}/status"
        checks = read.Checks()
        for value in self._api.pages(path, doing, {"limit": "50"}, of=_statuses, by="limit"):
            with self._api.reading(doing):
                status = read.mapping(value)
                checks.add(read.number(status, "id"), _status(status))
        return checks.result()

    def show_deployment(
        self,
        of: Deployment,
        state: DeploymentState,  # noqa: ARG002 - as the others have it
        *,
        description: str,  # noqa: ARG002
        log_url: str | None,  # noqa: ARG002
        environment_url: str | None,  # noqa: ARG002
    ) -> None:
        """Refuse: Gitea has none."""
        why = f"cannot show the deployment {of.rollout} in {self._api.project}: Gitea has no deployments"
        raise ForgeUnavailable(why, status=_NOT_FOUND)


def _statuses(page: object) -> object:
    return [] if page is None else read.mapping(page).get("statuses") or []


def _reviewed(review: Mapping[str, Any]) -> list[tuple[int, Review]]:
    """A review with its id; none for what is nobody's word."""
    state = read.raw(review, "state").upper()
    who = read.login(review, "user", "login")
    if who is None or state not in _OPINIONS:
        return []
    dismissed = review.get("dismissed", False)
    if not isinstance(dismissed, bool):
        raise read.Malformed(wanted="true or false as `dismissed`")
    given = Review(
        login=who,
        state=Opinion.DISMISSED if dismissed else _OPINIONS[state],
        commit=read.commit(review, "commit_id") or "",
        at=read.moment(review, "submitted_at"),
        url=read.link(review, "html_url") or "",
    )
    return [(read.number(review, "id"), given)]


def _status(status: Mapping[str, Any]) -> CheckResult:
    state = read.raw(status, "status")
    if state not in _STATES:
        raise read.Malformed(wanted="a word of Gitea's as a status' `status`")
    return CheckResult(
        name=read.raw(status, "context"),
        state=_STATES[state],
        url=read.link(status, "target_url"),
        description=read.line(status, "description"),
    )
