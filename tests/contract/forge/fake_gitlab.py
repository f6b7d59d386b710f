"""GitLab after its documentation (https://docs.gitlab.com/api/), as strict as that is about what is asked."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from tests.contract.forge.samples import laid, sample
from tests.contract.forge.server import (
    WEB,
    Asked,
    Check,
    FakeForge,
    Note,
    Pull,
    Reply,
    Shown,
    Ticket,
    WrongRequest,
    expect_keys,
    expect_query,
    parts_of,
    stamp,
)

_PAGES = {"page", "per_page"}

_STATES = {"pending", "running", "success", "failed", "canceled", "skipped"}
"""That a status can be set to: docs.gitlab.com/api/commits/#set-the-pipeline-status-of-a-commit."""

_DEPLOYED = {"running", "success", "failed", "canceled"}
"""docs.gitlab.com/api/deployments/#create-a-deployment."""

_OURS = {"failed": "failure"}

_EVENTS = {"pending": "enqueue", "running": "run", "success": "success", "failed": "drop"}


_REFUSED = {("pending", "pending"), ("running", "pending"), ("running", "running")}
"""What is there, and what is asked for."""

_REVIEWED = {
    "approved": "approved",
    "changes_requested": "requested_changes",
    "commented": "reviewed",
    "dismissed": "unapproved",
    "pending": "review_started",
    "requested": "unreviewed",
}
"""How a reviewer stands after a word: app/models/concerns/merge_request_reviewer_state.rb."""


class FakeGitLab(FakeForge):
    """One project at GitLab.

    `tells_when`: approvals come with a time, as from 17.x on. `has_reviewers`: it tells how reviewers stand,
    as from 15.3 on.
    """

    prefix = "/api/v4"

    def __init__(self, *, project: str, token: str) -> None:
        """As the base class."""
        super().__init__(project=project, token=token)
        self.tells_when = True
        self.has_reviewers = True

    def respond(self, asked: Asked) -> Reply:
        """The answer to a request."""
        if asked.headers.get("private-token") != self.token:
            return Reply(status=401, value={"message": "401 Unauthorized"})
        if (asked.method, asked.path) == ("GET", f"{self.prefix}/user"):
            return Reply(value=laid("gitlab-user", {"username": self.me, "name": self.me}))
        root = f"{self.prefix}/projects/"
        path = asked.path.removeprefix(root)
        project, _, rest = path.partition("/")
        if path == asked.path or "/" not in self.project:
            message = "no such operation"
            raise WrongRequest(message)
        if project != quote(self.project, safe=""):
            return Reply(status=404, value={"message": "404 Project Not Found"})
        match (asked.method, *parts_of(rest)):
            case "GET", "merge_requests":
                return self._list(asked)
            case "POST", "merge_requests":
                return self._post(asked)
            case "GET", "merge_requests", number:
                return self._get(int(number))
            case "PUT", "merge_requests", number:
                return self._put(int(number), asked)
            case "POST", "merge_requests", number, "notes":
                body = expect_keys(asked, required={"body"}, allowed=set())
                return Reply(status=201, value=_note(self.add_note(int(number), self.me, body["body"])))
            case "GET", "merge_requests", number, "notes":
                expect_query(asked, {"order_by", "sort", *_PAGES})
                # What GitLab itself has to say is in the list as well.
                itself = {**_note(Note(id=1, author=self.me, body="added 1 commit")), "system": True}
                found = [itself, *(_note(note) for note in self.pull(int(number)).notes)]
                return Reply(value=self._page(found, asked, "per_page", 20))
            case "PUT", "merge_requests", number, "notes", note:
                body = expect_keys(asked, required={"body"}, allowed=set())
                changed = self._change_note(int(note), body["body"])
                if changed is None:
                    return Reply(status=404, value={"message": "404 Note Not Found"})
                return Reply(value=_note(changed))
            case "GET", "merge_requests", number, "approvals":
                return self._approvals(int(number))
            case "GET", "merge_requests", number, "reviewers" if not self.has_reviewers:
                # So its router says it, and a resource that is not there says `message`.
                return Reply(status=404, value={"error": "404 Not Found"})
            case "GET", "merge_requests", number, "reviewers":
                expect_query(asked, _PAGES)
                return Reply(value=self._page(self._reviewers(int(number)), asked, "per_page", 20))
            case "GET", "issues":
                expect_query(asked, {"state", "scope", "order_by", "sort", *_PAGES})
                wanted = {"opened": "open", "closed": "closed"}.get(asked.query.get("state", ""))
                found = [
                    self._ticket(one)
                    for one in reversed(self.tickets)
                    if wanted in {None, one.state}
                    and (asked.query.get("scope") != "created_by_me" or one.author == self.me)
                ]
                return Reply(value=self._page(found, asked, "per_page", 20))
            case "POST", "issues":
                body = expect_keys(asked, required={"title"}, allowed={"description"})
                made = self.add_ticket(self.me, body["title"], body.get("description", ""))
                return Reply(status=201, value=self._ticket(made))
            case (("GET" | "PUT"), "issues", number):
                return self._one_ticket(int(number), asked)
            case "POST", "issues", number, "notes":
                body = expect_keys(asked, required={"body"}, allowed=set())
                return Reply(status=201, value=_note(self.add_note(int(number), self.me, body["body"])))
            case "GET", "repository", "commits", commit, "merge_requests":
                expect_query(asked, {"state", *_PAGES})
                shown = [self._shown(pull) for pull in self._with_commit(commit)]
                return Reply(value=self._page(shown, asked, "per_page", 20))
            case "GET", "repository", "commits", commit, "statuses":
                expect_query(asked, {"all", "name", "ref", "stage", *_PAGES})
                newest = {check.name: check for check in self.checks if check.commit == commit}
                found = [_status(check) for check in newest.values()]
                return Reply(value=self._page(found, asked, "per_page", 20))
            case "POST", "statuses", commit:
                return self._post_status(commit, asked)
            case "GET", "deployments":
                return self._deployments(asked)
            case "POST", "deployments":
                return self._post_deployment(asked)
            case "PUT", "deployments", number:
                return self._put_deployment(int(number), asked)
            case _:
                message = "no such operation"
                raise WrongRequest(message)

    def _one_ticket(self, number: int, asked: Asked) -> Reply:
        found = self.ticket(number)
        if found is None:
            return Reply(status=404, value={"message": "404 Not found"})
        if asked.method == "GET":
            return Reply(value=self._ticket(found))
        body = expect_keys(asked, required=set(), allowed={"title", "description", "state_event"})
        found.title = body.get("title", found.title)
        found.body = body.get("description", found.body)
        match body.get("state_event"):
            case None:
                pass
            case "close":
                found.state = "closed"
            case event:
                message = f"state_event {event!r} is none of this test"
                raise WrongRequest(message)
        return Reply(value=self._ticket(found))

    def _ticket(self, one: Ticket) -> Any:
        ours = {
            "id": 2000 + one.number,
            "iid": one.number,
            "project_id": 7,
            "title": one.title,
            "description": one.body,
            "state": "opened" if one.state == "open" else "closed",
            "author": _user(one.author),
            "web_url": f"{WEB}/{self.project}/-/issues/{one.number}",
        }
        return laid("gitlab-issue", ours)

    def _list(self, asked: Asked) -> Reply:
        expect_query(asked, {"state", "source_branch", "target_branch", "order_by", "sort", *_PAGES})
        query = asked.query
        found = [
            pull
            for pull in reversed(self.pulls)
            if query.get("state", "all") in {"all", _state(pull)}
            and query.get("source_branch", pull.head) == pull.head
            and query.get("target_branch", pull.base) == pull.base
        ]
        return Reply(value=[self._shown(pull) for pull in self._page(found, asked, "per_page", 20)])

    def _post(self, asked: Asked) -> Reply:
        required = {"source_branch", "target_branch", "title"}
        body = expect_keys(asked, required=required, allowed={"description"})
        if found := self._open_between(body["source_branch"], body["target_branch"]):
            said = f"Another open merge request already exists for this source branch: !{found[0].number}"
            return Reply(status=409, value={"message": [said]})
        made = self._created(
            head=body["source_branch"],
            base=body["target_branch"],
            title=body["title"],
            body=body.get("description", ""),
        )
        return Reply(status=201, value=self._shown(made))

    def _get(self, number: int) -> Reply:
        if number > len(self.pulls):
            return Reply(status=404, value={"message": "404 Not found"})
        return Reply(value=self._shown(self.pull(number)))

    def _put(self, number: int, asked: Asked) -> Reply:
        body = expect_keys(asked, required=set(), allowed={"title", "description", "state_event"})
        pull = self.pull(number)
        pull.title = body.get("title", pull.title)
        pull.body = body.get("description", pull.body)
        match body.get("state_event"):
            case None:
                pass
            case "close" if pull.state == "open":
                pull.state = "closed"
            case event:
                message = f"state_event {event!r} is not for a merge request that is {pull.state}"
                raise WrongRequest(message)
        return Reply(value=self._shown(pull))

    def _approvals(self, number: int) -> Reply:
        approved: dict[str, dict[str, Any]] = {}
        for given in self.reviews:
            if given.number != number:
                continue
            if given.state == "approved":
                entry: dict[str, Any] = {"user": _user(given.login)}
                if self.tells_when:
                    entry["approved_at"] = stamp(given.at)
                approved[given.login] = entry
            elif given.state in {"changes_requested", "dismissed"}:
                # Who asks for changes approves no more: gitlab-org/gitlab!134766.
                approved.pop(given.login, None)
        ours = {"approved": bool(approved), "iid": number, "approved_by": [*approved.values()]}
        return Reply(value=laid("gitlab-approvals", ours))

    def _reviewers(self, number: int) -> list[dict[str, Any]]:
        """Each with how they stand now, and since when they are a reviewer: not since when they stand so."""
        found: dict[str, dict[str, Any]] = {}
        for given in self.reviews:
            if given.number == number:
                new = {"user": _user(given.login), "created_at": stamp(given.at)}
                entry = found.setdefault(given.login, laid("gitlab-reviewer", new))
                # A comment by itself changes nothing.
                is_said = given.state != "commented" or entry["state"] == "unreviewed"
                entry["state"] = _REVIEWED[given.state] if is_said else entry["state"]
        return [*found.values()]

    def _post_status(self, commit: str, asked: Asked) -> Reply:
        allowed = {"ref", "name", "context", "target_url", "description", "coverage", "pipeline_id"}
        body = expect_keys(asked, required={"state"}, allowed=allowed)
        state, name = body["state"], body.get("name") or body.get("context") or "default"
        if state not in _STATES or max(len(body.get(key, "")) for key in ("target_url", "description")) > 255:
            message = "state does not have a valid value, or target_url or description is too long"
            raise WrongRequest(message)
        if re.fullmatch(r"[0-9a-f]{40}", commit) is None:
            return Reply(status=404, value={"message": "404 Commit Not Found"})
        held = self.statuses(commit).get(name)
        # Only what is under way already is refused; after an end a new one begins (measured by others).
        if held is not None and (held[0], state) in _REFUSED:
            event = f"Cannot transition status via :{_EVENTS[state]} from :{held[0]}"
            return Reply(status=400, value={"message": f"{event} (Reason(s): Status cannot transition)"})
        self.add_check(
            commit,
            name,
            _OURS.get(state, state),
            description=body.get("description", ""),
            url=body.get("target_url"),
            is_run=False,
        )
        return Reply(status=201, value=_status(self.checks[-1]))

    def _deployments(self, asked: Asked) -> Reply:
        expect_query(asked, _PAGES | {"environment", "order_by", "sort", "status"})
        # docs.gitlab.com/api/deployments: by default the oldest come first.
        found = sorted(self.deployments, key=lambda one: one.id, reverse=asked.query.get("sort") == "desc")
        found = [one for one in found if asked.query.get("environment", one.environment) == one.environment]
        return Reply(value=[_deployment(one) for one in self._page(found, asked, "per_page")])

    def _post_deployment(self, asked: Asked) -> Reply:
        told = dict(asked.body)
        is_tag = told.pop("tag", None)
        wanted = {"environment", "sha", "ref", "status"}
        body = expect_keys(replace(asked, body=told), required=wanted, allowed=set())
        if body["status"] not in _DEPLOYED or not isinstance(is_tag, bool):
            message = "status does not have a valid value, or tag is invalid"
            raise WrongRequest(message)
        made = Shown(
            id=next(self._ids),
            commit=body["sha"],
            environment=body["environment"],
            ref=body["ref"],
            states=[body["status"]],
        )
        self.deployments.append(made)
        return Reply(status=201, value=_deployment(made))

    def _put_deployment(self, number: int, asked: Asked) -> Reply:
        body = expect_keys(asked, required={"status"}, allowed=set())
        (one,) = [one for one in self.deployments if one.id == number]
        if body["status"] not in _DEPLOYED or one.states[-1] == body["status"]:
            said = f'Cannot transition status via :run from "{one.states[-1]}"'
            return Reply(status=400, value={"message": said})
        one.states.append(body["status"])
        return Reply(value=_deployment(one))

    def _shown(self, pull: Pull) -> Any:
        is_merged = pull.state == "merged"
        ours = {
            "id": 1000 + pull.number,
            "iid": pull.number,
            "project_id": 7,
            "source_project_id": 8 if pull.from_fork else 7,
            "target_project_id": 7,
            "title": pull.title,
            "description": pull.body or None,
            "state": _state(pull),
            "created_at": stamp(pull.created),
            "source_branch": pull.head,
            "target_branch": pull.base,
            "author": _user(pull.author),
            "merge_user": _user(pull.merged_by) if is_merged else None,
            "merged_by": _user(pull.merged_by) if is_merged else None,
            "sha": pull.head_commit,
            "merge_commit_sha": pull.merge_commit,
            "squash_commit_sha": None,
            "web_url": f"{WEB}/{self.project}/-/merge_requests/{pull.number}",
        }
        return laid("gitlab-merge-request", ours)


def _deployment(one: Shown) -> Any:
    ours = {
        "id": one.id,
        "iid": one.id,
        "ref": one.ref,
        "sha": one.commit,
        "status": one.states[-1],
        "created_at": "2026-01-01T12:00:00.000Z",
        "environment": {"name": one.environment},
    }
    return laid("gitlab-deployment", ours)


def _note(note: Note) -> Any:
    return laid("gitlab-note", {"id": note.id, "body": note.body, "author": _user(note.author)})


def _state(pull: Pull) -> str:
    return {"open": "opened"}.get(pull.state, pull.state)


def _user(login: str | None) -> Any:
    """As it stands in other answers."""
    if not login:
        return None
    return {**sample("gitlab-note")["author"], "username": login, "name": f"{login} of Example"}


def _status(check: Check) -> Any:
    ours = {
        "id": check.id,
        "sha": check.commit,
        "status": {"failure": "failed", "pending": "running"}.get(check.state, check.state),
        "name": check.name,
        "target_url": check.url,
        "description": check.description or None,
    }
    return laid("gitlab-status", ours)
