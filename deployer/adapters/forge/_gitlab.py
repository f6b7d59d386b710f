"""GitLab: https://docs.gitlab.com/api/, version 4.

Owns the paths, the shapes and the words of GitLab, where a pull request is a merge request. Must not know
HTTP. Invariant: a merge request from somebody's fork is never taken for one of the project's own branches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._comments import Comments
from deployer.adapters.forge._deployments import AtGitLab
from deployer.adapters.forge._issues import Issues
from deployer.adapters.forge._pulls import (
    is_merged_into,
    of_base,
    rank,
)
from deployer.adapters.forge._requests import Doing, words
from deployer.adapters.forge._shown import shown_body, shown_description, shown_title
from deployer.adapters.forge._types import (
    CheckResult,
    Forge,
    ForgeUnavailable,
    Opinion,
    PullRequest,
    Review,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.adapters.forge._requests import Api
    from deployer.adapters.forge._types import Deployment, DeploymentState, PullState

_READ = "the scope read_api (or api), and the role Reporter in the project"
_WRITE = "the scope api, and the role Developer in the project"
_WRITE_ISSUES = "the scope api, and the role Reporter in the project, which has issues"

_URL_CHARACTERS = 255
"""Of a status' link: GitLab refuses a longer one."""

_PULL_STATES: dict[str, PullState] = {
    "opened": "open",
    # While GitLab merges it.
    "locked": "open",
    "merged": "merged",
    "closed": "closed",
}

_AGAINST = "requested_changes"

_REVIEWERS = frozenset(
    {"unreviewed", "review_started", "reviewed", _AGAINST, "approved", "unapproved", "attention_requested"}
)
"""How a reviewer may stand: app/models/concerns/merge_request_reviewer_state.rb, and a word of 14.x."""

_NOT_FOUND = 404

_PENDING = frozenset(
    {
        "created",
        "waiting_for_resource",
        "waiting_for_callback",
        "preparing",
        "pending",
        "running",
        "scheduled",
        "canceling",
        # Somebody has to start it by hand.
        "manual",
    }
)
"""Of a commit status. All but these and `success` (failed, canceled, skipped) is red, as GitLab's own setting
"Pipelines must succeed" has it unless told otherwise."""

_TRANSITION = re.compile(r"Cannot transition status via :\w+ from :(?P<held>\w+)")
"""How GitLab refuses a status that is there already, with a 400: `Cannot transition status via :enqueue from
:pending`."""

_HELD = {
    State.SUCCESS: {"success"},
    State.PENDING: {"pending", "running"},
    State.FAILURE: {"failed"},
    State.RUNNING: {"running"},
    State.CANCELLED: {"canceled"},
}
"""From where a status need not go anywhere."""

_SENT = {
    State.SUCCESS: "success",
    State.PENDING: "pending",
    State.FAILURE: "failed",
    State.RUNNING: "running",
    State.CANCELLED: "canceled",
}

_DESCRIPTION_CHARACTERS = 255
"""Of a commit status: more is refused."""


def headers(token: str) -> Mapping[str, str]:
    """What GitLab wants to see."""
    return {"Accept": "application/json", "PRIVATE-TOKEN": token}


class GitLab(Forge):
    """One project at GitLab."""

    def __init__(self, api: Api) -> None:
        """Take the API to ask."""
        self._api = api
        self._project = f"/projects/{quote(api.project, safe='')}"
        self._comments = Comments(
            api,
            needs=_WRITE,
            name="username",
            listed=lambda number: f"{self._path(number)}/notes",
            one=lambda number, id_: f"{self._path(number)}/notes/{id_:d}",
            method="PUT",
            query={"order_by": "created_at", "sort": "asc"},
        )
        self._issues = Issues(
            api,
            path=f"{self._project}/issues",
            needs=_WRITE_ISSUES,
            by="per_page",
            query=lambda: {"state": "opened", "scope": "created_by_me"},
            is_own=self._comments.is_own,
            text="description",
            number="iid",
            url="web_url",
            closing={"state_event": "close"},
            method="PUT",
            comments="notes",
        )

    def interrupt(self) -> None:
        """End what is being asked, and ask nothing any more."""
        self._api.stop.interrupt()

    def open_pull_request(self, head: str, base: str) -> PullRequest | None:
        """The open one from this branch of the project to that one."""
        doing = Doing(what="look for an open merge request", needs=_READ)
        query = {"state": "opened", "source_branch": head, "target_branch": base, "per_page": "20"}
        for value in self._api.pages(f"{self._project}/merge_requests", doing, query):
            with self._api.reading(doing):
                # GitLab ignored the branches once (gitlab-org/gitlab#5130), and the source may be a fork's.
                merge_request = read.mapping(value)
                if (
                    read.raw(merge_request, "source_branch") == head
                    and read.raw(merge_request, "target_branch") == base
                    and merge_request.get("source_project_id") == merge_request.get("target_project_id")
                ):
                    return _pull(value)
        return None

    def _create(self, *, head: str, base: str, title: str, body: str) -> PullRequest:
        doing = Doing(what="open a merge request", needs=_WRITE)
        sent = {
            "source_branch": head,
            "target_branch": base,
            "title": shown_title(title),
            "description": shown_body(body),
        }
        answer = self._api.send("POST", f"{self._project}/merge_requests", doing, sent)
        with self._api.reading(doing):
            return _pull(answer)

    def open_pull_requests(self, base: str) -> tuple[PullRequest, ...]:
        """All open ones to this branch, from forks as well, the lowest number first."""
        doing = Doing(what="list the open merge requests", needs=_READ)
        query = {"state": "opened", "target_branch": base, "per_page": "20"}
        found: list[PullRequest] = []
        for value in self._api.pages(f"{self._project}/merge_requests", doing, query):
            with self._api.reading(doing):
                found.append(_pull(value))
        return of_base(found, base)

    def pull_request(self, number: int) -> PullRequest:
        """The one of that number, however it stands."""
        doing = Doing(what=f"read merge request {number}", needs=_READ)
        answer = self._api.get(self._path(number), doing)
        with self._api.reading(doing):
            return _pull(answer)

    def update(self, number: int, *, title: str, body: str) -> PullRequest:
        """Give it another title and body."""
        doing = Doing(what=f"update merge request {number}", needs=_WRITE)
        sent = {"title": shown_title(title), "description": shown_body(body)}
        answer = self._api.send("PUT", self._path(number), doing, sent)
        with self._api.reading(doing):
            return _pull(answer)

    def close(self, number: int, *, comment: str) -> None:
        """Close it if it is open, and say why; nothing is done to one that is closed or merged."""
        doing = Doing(what=f"close merge request {number}", needs=_WRITE)
        answer = self._api.get(self._path(number), doing)
        with self._api.reading(doing):
            if _pull(answer).state != "open":
                return
        # In this order a repetition after half of it says nothing twice.
        self._api.send("PUT", self._path(number), doing, {"state_event": "close"})
        if comment:
            self._api.send("POST", f"{self._path(number)}/notes", doing, {"body": shown_body(comment)})

    def pull_request_of(self, commit: str, base: str | None = None) -> PullRequest | None:
        """The merged one that brought this commit.

        https://docs.gitlab.com/api/commits/#list-all-merge-requests-associated-with-a-commit
        """
        doing = Doing(what=f"find the merge request of {commit[:12]}", needs=_READ)
        path = f"{self._project}/repository/commits/{read.check_commit(commit)}/merge_requests"
        found: list[PullRequest] = []
        for value in self._api.pages(path, doing, {"per_page": "20"}):
            with self._api.reading(doing):
                found.append(_pull(value))
        merged = [pull for pull in found if is_merged_into(pull, base)]
        return min(merged, key=lambda pull: rank(pull, commit), default=None)

    def reviews(self, number: int) -> tuple[Review, ...]:
        """How each person stands now, the newest last: who approves it, and who asks for changes.

        An approval that was taken back is not there any more. GitLab does not say for which commit either is
        (https://docs.gitlab.com/api/merge_request_approvals/). Of an approval an older one does not say when
        (gitlab-org/gitlab#335669): it then counts from the day of the merge request, which none can be older
        than. Who asks for changes has done so since they became a reviewer, or later.
        """
        doing = Doing(what=f"read the approvals of merge request {number}", needs=_READ)
        answer = self._api.get(f"{self._path(number)}/approvals", doing)
        with self._api.reading(doing):
            approvals = [read.mapping(one) for one in read.items(read.mapping(answer).get("approved_by"))]
        opened: Mapping[str, Any] = {}
        if any(not one.get("approved_at") for one in approvals):
            seen = self._api.get(self._path(number), doing)
            with self._api.reading(doing):
                opened = read.mapping(seen)
        said: dict[str, Review] = {}
        with self._api.reading(doing):
            for one in approvals:
                at = (one, "approved_at") if one.get("approved_at") else (opened, "created_at")
                said |= _given(one, Opinion.APPROVED, at=at)
        # GitLab changes the one and then the other: who is seen to do both does not approve.
        said |= self._against(number)
        return tuple(sorted(said.values(), key=lambda review: review.at))

    def _against(self, number: int) -> dict[str, Review]:
        """Who asks for changes, by name.

        https://docs.gitlab.com/api/merge_requests/#get-single-merge-request-reviewers
        """
        doing = Doing(what=f"read the reviewers of merge request {number}", needs=_READ)
        said: dict[str, Review] = {}
        try:
            for value in self._api.pages(f"{self._path(number)}/reviewers", doing, {"per_page": "100"}):
                with self._api.reading(doing):
                    reviewer = read.mapping(value)
                    state = read.raw(reviewer, "state")
                    if state not in _REVIEWERS:
                        raise read.Malformed(wanted="a word of GitLab's as a reviewer's `state`")
                    if state == _AGAINST:
                        said |= _given(reviewer, Opinion.CHANGES_REQUESTED, at=(reviewer, "created_at"))
        except ForgeUnavailable as error:
            # An old one (before 15.3) has no such path, nor such a word. The merge request is there: its
            # approvals were read.
            if error.status != _NOT_FOUND:
                raise
        return said

    def checks(self, commit: str) -> tuple[CheckResult, ...]:
        """The newest of each name: the jobs of the project's pipelines, and what others have set."""
        doing = Doing(what=f"read the checks of {commit[:12]}", needs=_READ)
        path = f"{self._project}/repository/commits/{read.check_commit(commit)}/statuses"
        checks = read.Checks()
        for value in self._api.pages(path, doing, {"per_page": "100"}):
            with self._api.reading(doing):
                status = read.mapping(value)
                checks.add(read.number(status, "id"), _status(status))
        return checks.result()

    def set_status(
        self, commit: str, *, context: str, state: State, description: str, url: str | None
    ) -> None:
        """Show this beside the commit, under the name `context`, instead of what was shown before."""
        doing = Doing(what=f"set a status of {commit[:12]}", needs=_WRITE)
        sent: dict[str, object] = {
            "state": _SENT[state],
            "name": context,
            "description": shown_description(description, _DESCRIPTION_CHARACTERS),
        }
        if url is not None and len(url) <= _URL_CHARACTERS:
            sent["target_url"] = url
        try:
            self._api.send("POST", f"{self._project}/statuses/{read.check_commit(commit)}", doing, sent)
        except ForgeUnavailable as error:
            told = _TRANSITION.search(words(error))
            if told is None or told["held"] not in _HELD[state]:
                raise

    def show_deployment(
        self,
        of: Deployment,
        state: DeploymentState,
        *,
        description: str,  # noqa: ARG002 - GitLab has no room for it
        log_url: str | None,  # noqa: ARG002
        environment_url: str | None,  # noqa: ARG002
    ) -> None:
        """Show how it stands; made if it is not there."""
        AtGitLab(self._api, self._project, _WRITE).show(of, state)

    def _path(self, number: int) -> str:
        return f"{self._project}/merge_requests/{number:d}"


def _pull(value: object) -> PullRequest:
    merge_request = read.mapping(value)
    state = _PULL_STATES.get(read.raw(merge_request, "state"))
    if state is None:
        raise read.Malformed(wanted="a word of GitLab's as `state`")
    is_merged = state == "merged"
    # `merged_by` is what it was called before 14.7.
    merger = read.login(merge_request, "merge_user", "username") or read.login(
        merge_request, "merged_by", "username"
    )
    return PullRequest(
        number=read.number(merge_request, "iid"),
        url=read.link(merge_request, "web_url") or "",
        title=read.line(merge_request, "title"),
        body=read.text(merge_request, "description"),
        head=read.line(merge_request, "source_branch"),
        head_commit=read.commit(merge_request, "sha") or "",
        base=read.line(merge_request, "target_branch"),
        state=state,
        author=read.login(merge_request, "author", "username") or "",
        merged_by=merger if is_merged else None,
        # A fast-forward makes none, and a squash without a merge commit makes the squashed one.
        merge_commit=(
            read.commit(merge_request, "merge_commit_sha") or read.commit(merge_request, "squash_commit_sha")
            if is_merged
            else None
        ),
        from_fork=merge_request.get("source_project_id") != merge_request.get("target_project_id"),
    )


def _given(
    value: Mapping[str, Any], state: Opinion, *, at: tuple[Mapping[str, Any], str]
) -> dict[str, Review]:
    """What this person says, by their name; nothing of who is not there any more."""
    who = read.login(value, "user", "username")
    if who is None:
        return {}
    return {who.casefold(): Review(login=who, state=state, commit="", at=read.moment(*at), url="")}


def _status(status: Mapping[str, Any]) -> CheckResult:
    word = read.raw(status, "status")
    state = State.SUCCESS if word == "success" else State.PENDING if word in _PENDING else State.FAILURE
    return CheckResult(
        name=read.raw(status, "name"),
        state=state,
        url=read.link(status, "target_url"),
        description=read.line(status, "description") or read.one_line(word, 40),
    )
