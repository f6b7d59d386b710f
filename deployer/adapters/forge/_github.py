"""GitHub, and GitHub Enterprise Server: https://docs.github.com/rest, version 2022-11-28.

Owns what GitHub lists, and in which words. Must not know HTTP. Invariant: what is asked is in GitHub's
published description; the contract suite asks a server that was made from it.

The lists are read in pages of fewer than the 100 that GitHub gives: a pull request has up to 90 kB, with both
repositories and its text in it, and an answer has 1 MiB at most.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._deployments import AtGitHub
from deployer.adapters.forge._pulls import (
    PullsForge,
    is_merged_into,
    of_base,
    rank,
)
from deployer.adapters.forge._requests import Doing
from deployer.adapters.forge._shown import DESCRIPTION_CHARACTERS, shown_description
from deployer.adapters.forge._types import CheckResult, Opinion, Review, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.adapters.forge._requests import Api
    from deployer.adapters.forge._types import Deployment, DeploymentState, PullRequest

DEFAULT_URL = "https://api.github.com"

_READ_PULLS = "read access to Pull requests"

_READ_RUNS = (
    "read access to Checks, which an App (github_app) and a classic token can have, but no fine-grained one"
)
"""GitHub's page of fine-grained tokens does not offer it (github/rest-api-description#4290)."""

_OPINIONS = {
    "APPROVED": Opinion.APPROVED,
    "CHANGES_REQUESTED": Opinion.CHANGES_REQUESTED,
    "DISMISSED": Opinion.DISMISSED,
    "COMMENTED": Opinion.COMMENTED,
}
"""Of a review. There is PENDING beside them: nobody but its author sees it, and it says nothing yet."""

_STATES = {
    "success": State.SUCCESS,
    "pending": State.PENDING,
    "failure": State.FAILURE,
    "error": State.FAILURE,
}
"""Of a commit status."""

_GREEN = frozenset({"success", "neutral", "skipped"})
"""How a check run that is good enough concludes: "required checks must have a `successful`, `skipped`, or
`neutral` status" (docs.github.com, troubleshooting required status checks)."""


def headers(token: str) -> Mapping[str, str]:
    """What GitHub wants to see."""
    return {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        "Authorization": f"Bearer {token}",
    }


class GitHub(PullsForge):
    """One repository at GitHub."""

    write_pulls = "write access to Pull requests, and read access to Contents"
    write_statuses = "write access to Commit statuses"
    write_issues = "write access to Issues, which the repository has"
    creator = "creator"
    # The four there are: error, failure, pending, success.
    said = MappingProxyType({State.RUNNING: "pending", State.CANCELLED: "error"})

    def __init__(self, api: Api, app_id: str | None = None) -> None:
        """Take the API to ask, and the id of the App that we are, if we are one."""
        super().__init__(api, app_id=app_id)
        self._deployments = AtGitHub(api, self._repo)

    def open_pull_request(self, head: str, base: str) -> PullRequest | None:
        """The open one from this branch of the project to that one."""
        doing = Doing(what="look for an open pull request", needs=_READ_PULLS)
        query = {"state": "open", "head": f"{self._owner}:{head}", "base": base, "per_page": "10"}
        for value in self._api.pages(f"{self._repo}/pulls", doing, query):
            with self._api.reading(doing):
                if self._is_between(value, head, base):
                    return self._pull(value)
        return None

    def open_pull_requests(self, base: str) -> tuple[PullRequest, ...]:
        """All open ones to this branch, from forks as well, the lowest number first."""
        doing = Doing(what="list the open pull requests", needs=_READ_PULLS)
        found: list[PullRequest] = []
        for value in self._api.pages(
            f"{self._repo}/pulls", doing, {"state": "open", "base": base, "per_page": "10"}
        ):
            with self._api.reading(doing):
                found.append(self._pull(value))
        return of_base(found, base)

    def pull_request_of(self, commit: str, base: str | None = None) -> PullRequest | None:
        """The merged one that brought this commit.

        https://docs.github.com/rest/commits/commits#list-pull-requests-associated-with-a-commit
        """
        doing = Doing(what=f"find the pull request of {commit[:12]}", needs=_READ_PULLS)
        path = f"{self._repo}/commits/{read.check_commit(commit)}/pulls"
        found: list[PullRequest] = []
        for value in self._api.pages(path, doing, {"per_page": "10"}):
            with self._api.reading(doing):
                found.append(self._pull(value))
        merged = [pull for pull in found if is_merged_into(pull, base)]
        if not merged:
            return None
        best = min(merged, key=lambda pull: rank(pull, commit))
        # A list does not say who merged.
        return self._by_number(best.number, doing)

    def reviews(self, number: int) -> tuple[Review, ...]:
        """The last word of each person, the newest last. A comment takes no other word back."""
        doing = Doing(what=f"read the reviews of pull request {number}", needs=_READ_PULLS)
        said: list[tuple[int, Review]] = []
        for value in self._api.pages(f"{self._path(number)}/reviews", doing, {"per_page": "30"}):
            with self._api.reading(doing):
                said += _reviewed(read.mapping(value))
        return read.last_words(said)

    def checks(self, commit: str) -> tuple[CheckResult, ...]:
        """The newest of each name, of statuses and of check runs."""
        doing = Doing(what=f"read the statuses of {commit[:12]}", needs="read access to Commit statuses")
        doing_runs = Doing(what=f"read the check runs of {commit[:12]}", needs=_READ_RUNS)
        path = f"{self._repo}/commits/{read.check_commit(commit)}"
        checks = read.Checks()
        statuses = self._api.pages(
            f"{path}/status", doing, {"per_page": "100"}, of=lambda page: read.mapping(page).get("statuses")
        )
        runs = self._api.pages(
            f"{path}/check-runs",
            doing_runs,
            {"filter": "latest", "per_page": "30"},
            of=lambda page: read.mapping(page).get("check_runs"),
        )
        for value in statuses:
            with self._api.reading(doing):
                status = read.mapping(value)
                checks.add(read.number(status, "id"), _status(status), source="status")
        for value in runs:
            with self._api.reading(doing_runs):
                run = read.mapping(value)
                app = read.mapping(run.get("app") or {})
                checks.add(read.number(run, "id"), _run(run), source=f"app {app.get('id')}")
        return checks.result()

    def show_deployment(
        self,
        of: Deployment,
        state: DeploymentState,
        *,
        description: str,
        log_url: str | None,
        environment_url: str | None,
    ) -> None:
        """Show how it stands; made if it is not there."""
        shown = shown_description(description, DESCRIPTION_CHARACTERS)
        self._deployments.show(of, state, description=shown, log_url=log_url, environment_url=environment_url)


def _reviewed(review: Mapping[str, Any]) -> list[tuple[int, Review]]:
    """A review with its id; none for one that is not given yet, or whose author is not there any more."""
    state = read.raw(review, "state").upper()
    who = read.login(review, "user", "login")
    if state == "PENDING" or who is None:
        return []
    if state not in _OPINIONS:
        raise read.Malformed(wanted="a word of GitHub's as a review's `state`")
    given = Review(
        login=who,
        state=_OPINIONS[state],
        commit=read.commit(review, "commit_id") or "",
        at=read.moment(review, "submitted_at"),
        url=read.link(review, "html_url") or "",
    )
    return [(read.number(review, "id"), given)]


def _status(status: Mapping[str, Any]) -> CheckResult:
    state = read.raw(status, "state")
    if state not in _STATES:
        raise read.Malformed(wanted="a word of GitHub's as a status' `state`")
    return CheckResult(
        name=read.raw(status, "context"),
        state=_STATES[state],
        url=read.link(status, "target_url"),
        description=read.line(status, "description"),
    )


def _run(run: Mapping[str, Any]) -> CheckResult:
    conclusion = read.raw(run, "conclusion")
    if read.raw(run, "status") != "completed":
        state = State.PENDING
    else:
        state = State.SUCCESS if conclusion in _GREEN else State.FAILURE
    output = read.mapping(run.get("output") or {})
    return CheckResult(
        name=read.raw(run, "name"),
        state=state,
        url=read.link(run, "html_url"),
        description=read.line(output, "title") or read.line(run, "conclusion") or read.line(run, "status"),
    )
