"""GitHub as its published description says: wrong requests are refused, its own answers are checked too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.contract.forge.excerpt import EXCERPT
from tests.contract.forge.openapi import Description, Operation
from tests.contract.forge.server import (
    WEB,
    Asked,
    Check,
    FakeForge,
    Given,
    Note,
    Pull,
    Reply,
    Shown,
    Ticket,
    WrongRequest,
    parts_of,
    stamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_DESCRIPTION_CHARACTERS = 140
"""Of a status. The description of the API does not say it; GitHub answers 422 to a longer one."""


class Gone(Exception):  # noqa: N818 - says what it is
    """It is not there any more, for which the description has no answer."""


class MockGitHub(FakeForge):
    """One repository at GitHub."""

    def __init__(self, *, project: str, token: str) -> None:
        """As the base class."""
        super().__init__(project=project, token=token)
        self.description = Description(json.loads(EXCERPT.read_text(encoding="utf-8")))

    def respond(self, asked: Asked) -> Reply:
        """The answer to a request that fits the description."""
        wanted = {
            "authorization": f"Bearer {self.token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
        }
        if asked.headers.get("authorization") != wanted["authorization"]:
            return Reply(status=401, value={"message": "Bad credentials", "documentation_url": WEB})
        wrong = [name for name, value in wanted.items() if asked.headers.get(name) != value]
        if wrong or not asked.headers.get("user-agent"):
            message = f"headers: {wrong or 'no user-agent'}"
            raise WrongRequest(message)
        operation = self.description.find(asked.method, list(parts_of(asked.path)))
        if operation is None:
            message = "no such operation"
            raise WrongRequest(message)
        if faults := self.description.faults(operation, asked.query, asked.body):
            raise WrongRequest("; ".join(faults))
        if operation.path != "/user" and (
            f"{operation.values['owner']}/{operation.values['repo']}" != self.project
        ):
            return Reply(
                status=404, value={"message": "Not Found", "documentation_url": WEB, "status": "404"}
            )
        try:
            reply = self._doing(operation)(operation, asked)
        except Gone:
            return Reply(
                status=404, value={"message": "Not Found", "documentation_url": WEB, "status": "404"}
            )
        schema = self.description.answer_schema(operation, reply.status)
        lies = ["no such status"] if schema is None else self.description.mismatches(schema, reply.value)
        if lies:
            message = f"the mock's own answer {reply.status} is none of GitHub's: {lies[:5]}"
            raise WrongRequest(message)
        return reply

    def _doing(self, operation: Operation) -> Callable[[Operation, Asked], Reply]:
        name = operation.path.removeprefix("/repos/{owner}/{repo}/")
        return {
            ("GET", "pulls"): self._list,
            ("POST", "pulls"): self._post_pull,
            ("GET", "pulls/{pull_number}"): self._get,
            ("PATCH", "pulls/{pull_number}"): self._patch,
            ("GET", "pulls/{pull_number}/reviews"): self._list_reviews,
            ("GET", "/user"): self._whose,
            ("GET", "issues"): self._tickets,
            ("POST", "issues"): self._post_ticket,
            ("GET", "issues/{issue_number}"): self._ticket_of,
            ("PATCH", "issues/{issue_number}"): self._patch_ticket,
            ("GET", "issues/{issue_number}/comments"): self._comments,
            ("POST", "issues/{issue_number}/comments"): self._comment,
            ("PATCH", "issues/comments/{comment_id}"): self._change_comment,
            ("GET", "commits/{commit_sha}/pulls"): self._pulls_of,
            ("GET", "commits/{ref}/status"): self._status,
            ("GET", "commits/{ref}/check-runs"): self._runs,
            ("POST", "statuses/{sha}"): self._post_status,
            ("GET", "deployments"): self._deployments,
            ("POST", "deployments"): self._post_deployment,
            ("POST", "deployments/{deployment_id}/statuses"): self._post_deployment_status,
        }[operation.method, name]

    # --- pull requests -----------------------------------------------------------------------------------

    def _list(self, operation: Operation, asked: Asked) -> Reply:
        owner, _, head = asked.query.get("head", "").partition(":")
        found = [
            pull
            for pull in reversed(self.pulls)
            if asked.query.get("state", "open") in {"all", "open" if pull.state == "open" else "closed"}
            and (not head or (pull.head == head and owner == self._owner_of_head(pull)))
            and asked.query.get("base", pull.base) == pull.base
        ]
        return Reply(value=[self._simple(pull) for pull in self._page(found, asked, "per_page")])

    def _pulls_of(self, operation: Operation, asked: Asked) -> Reply:
        found = self._with_commit(operation.values["commit_sha"])
        return Reply(value=[self._simple(pull) for pull in self._page(found, asked, "per_page")])

    def _post_pull(self, operation: Operation, asked: Asked) -> Reply:
        body = asked.body
        if self._open_between(body["head"], body["base"]):
            said = f"A pull request already exists for {self.project.partition('/')[0]}:{body['head']}."
            return _invalid("PullRequest", "custom", said)
        made = self._created(
            head=body["head"], base=body["base"], title=body.get("title", ""), body=body.get("body", "")
        )
        return Reply(status=201, value=self._full(made))

    def _get(self, operation: Operation, asked: Asked) -> Reply:
        number = int(operation.values["pull_number"])
        if number > len(self.pulls):
            return Reply(
                status=404, value={"message": "Not Found", "documentation_url": WEB, "status": "404"}
            )
        return Reply(value=self._full(self.pull(number)))

    def _patch(self, operation: Operation, asked: Asked) -> Reply:
        pull = self.pull(int(operation.values["pull_number"]))
        pull.title = asked.body.get("title", pull.title)
        pull.body = asked.body.get("body", pull.body)
        if pull.state != "merged":
            pull.state = asked.body.get("state", pull.state)
        return Reply(value=self._full(pull))

    def _comment(self, operation: Operation, asked: Asked) -> Reply:
        made = self.add_note(int(operation.values["issue_number"]), self.me, asked.body["body"])
        return Reply(status=201, value=self._note(made))

    def _comments(self, operation: Operation, asked: Asked) -> Reply:
        number = int(operation.values["issue_number"])
        found = (self.ticket(number) or self.pull(number)).notes
        return Reply(value=[self._note(note) for note in self._page(found, asked, "per_page")])

    def _change_comment(self, operation: Operation, asked: Asked) -> Reply:
        changed = self._change_note(int(operation.values["comment_id"]), asked.body["body"])
        if changed is None:
            # The description has no 404 for it; GitHub does.
            raise Gone
        return Reply(value=self._note(changed))

    def _note(self, note: Note) -> Any:
        user = self._user(note.author)
        app = self._like("nullable-integration", {"id": note.app}) if note.app is not None else None
        user = {**user, "type": "Bot" if app is not None else "User"}
        ours = {"id": note.id, "body": note.body, "user": user, "performed_via_github_app": app}
        return self._like("issue-comment", ours)

    def _whose(self, operation: Operation, asked: Asked) -> Reply:
        if self.app is not None:
            said = {"message": "Resource not accessible by integration", "documentation_url": WEB}
            return Reply(status=403, value=said)
        return Reply(value=self._like("public-user", {"login": self.me}))

    # --- issues ------------------------------------------------------------------------------------------

    def _tickets(self, operation: Operation, asked: Asked) -> Reply:
        # Every pull request is in this list, too.
        of = dict.fromkeys(("url", "html_url", "diff_url", "patch_url"), WEB)
        pulls = [
            self._like(
                "issue",
                {
                    "number": one.number,
                    "body": one.body,
                    "user": self._user(one.author),
                    "pull_request": of,
                },
            )
            for one in self.pulls
            if one.state == "open" and asked.query.get("creator", one.author) == one.author
        ]
        found = [
            self._ticket(one)
            for one in reversed(self.tickets)
            if asked.query.get("state", "open") in {"all", one.state}
            and asked.query.get("creator", one.author) == one.author
        ]
        return Reply(value=self._page([*pulls, *found], asked, "per_page"))

    def _post_ticket(self, operation: Operation, asked: Asked) -> Reply:
        made = self.add_ticket(self.me, asked.body["title"], asked.body.get("body", ""))
        return Reply(status=201, value=self._ticket(made))

    def _ticket_of(self, operation: Operation, asked: Asked) -> Reply:
        found = self.ticket(int(operation.values["issue_number"]))
        if found is None:
            raise Gone
        return Reply(value=self._ticket(found))

    def _patch_ticket(self, operation: Operation, asked: Asked) -> Reply:
        found = self.ticket(int(operation.values["issue_number"]))
        if found is None:
            raise Gone
        found.title = asked.body.get("title", found.title)
        found.body = asked.body.get("body", found.body)
        found.state = asked.body.get("state", found.state)
        return Reply(value=self._ticket(found))

    def _ticket(self, one: Ticket) -> Any:
        app = self._like("nullable-integration", {"id": one.app}) if one.app is not None else None
        user = {**self._user(one.author), "type": "Bot" if app is not None else "User"}
        shown = self._like(
            "issue",
            {
                "number": one.number,
                "title": one.title,
                "body": one.body,
                "state": one.state,
                "user": user,
                "performed_via_github_app": app,
                "html_url": f"{WEB}/{self.project}/issues/{one.number}",
            },
        )
        return {name: value for name, value in shown.items() if name != "pull_request"}

    # --- reviews, checks, statuses -----------------------------------------------------------------------

    def _list_reviews(self, operation: Operation, asked: Asked) -> Reply:
        number = int(operation.values["pull_number"])
        found = [given for given in self.reviews if given.number == number]
        return Reply(value=[self._review(given) for given in self._page(found, asked, "per_page")])

    def _status(self, operation: Operation, asked: Asked) -> Reply:
        commit = operation.values["ref"]
        newest = {check.name: check for check in self.checks if check.commit == commit and not check.is_run}
        shown = [self._simple_status(check) for check in newest.values()]
        value = self._like(
            "combined-commit-status",
            {"sha": commit, "total_count": len(shown), "statuses": self._page(shown, asked, "per_page")},
        )
        return Reply(value=value)

    def _runs(self, operation: Operation, asked: Asked) -> Reply:
        found = [check for check in self.checks if check.commit == operation.values["ref"] and check.is_run]
        if asked.query.get("filter", "latest") == "latest":
            found = list({(check.name, check.by): check for check in found}.values())
        shown = [self._run(check) for check in self._page(found, asked, "per_page")]
        return Reply(value={"total_count": len(found), "check_runs": shown})

    def _post_status(self, operation: Operation, asked: Asked) -> Reply:
        body = asked.body
        if len(body.get("description") or "") > _DESCRIPTION_CHARACTERS:
            message = "description is too long (maximum is 140 characters)"
            raise WrongRequest(message)
        self.add_check(
            operation.values["sha"],
            body.get("context", "default"),
            body["state"],
            description=body.get("description") or "",
            url=body.get("target_url"),
            is_run=False,
        )
        made = self._simple_status(self.checks[-1])
        return Reply(status=201, value=self._like("status", {**made, "creator": self._user(self.me)}))

    # --- deployments -------------------------------------------------------------------------------------

    def _deployments(self, operation: Operation, asked: Asked) -> Reply:
        found = [
            one
            for one in reversed(self.deployments)
            if asked.query.get("sha", one.commit) == one.commit
            and asked.query.get("environment", one.environment) == one.environment
        ]
        return Reply(value=[self._deployment(one) for one in self._page(found, asked, "per_page")])

    def _post_deployment(self, operation: Operation, asked: Asked) -> Reply:
        body = asked.body
        if body.get("auto_merge", True) or body.get("required_contexts") != []:
            return Reply(status=409, value={"message": "Conflict: a required status is not green"})
        made = Shown(
            id=next(self._ids),
            commit=body["ref"],
            environment=body.get("environment", "production"),
            ref=body["ref"],
            payload=body.get("payload", ""),
            task=body.get("task", "deploy"),
        )
        self.deployments.append(made)
        return Reply(status=201, value=self._deployment(made))

    def _post_deployment_status(self, operation: Operation, asked: Asked) -> Reply:
        body = asked.body
        if len(body.get("description") or "") > _DESCRIPTION_CHARACTERS:
            message = "description is too long (maximum is 140 characters)"
            raise WrongRequest(message)
        found = [one for one in self.deployments if str(one.id) == operation.values["deployment_id"]]
        if not found:
            return _invalid("DeploymentStatus", "missing", "No such deployment")
        found[0].states.append(body["state"])
        found[0].said.append(body)
        value = self._like("deployment-status", {"id": next(self._ids), "state": body["state"]})
        return Reply(status=201, value=value)

    def _deployment(self, one: Shown) -> Any:
        ours = {
            "id": one.id,
            "sha": one.commit,
            "ref": one.ref,
            "environment": one.environment,
            "payload": one.payload,
            "task": one.task,
        }
        return self._like("deployment", ours)

    # --- as GitHub shows them ----------------------------------------------------------------------------

    def _like(self, schema: str, ours: dict[str, Any]) -> Any:
        return _laid(self.description.sample(self.description.named(schema)), ours)

    def _user(self, login: str | None) -> Any:
        return self._like("simple-user", {"login": login}) if login else None

    def _owner_of_head(self, pull: Pull) -> str:
        return "somebody" if pull.from_fork else self.project.partition("/")[0]

    def _shown(self, pull: Pull) -> dict[str, Any]:
        own = {"id": 1, "full_name": self.project}
        fork = {"id": 2, "full_name": f"somebody/{self.project.partition('/')[2]}"}
        return {
            "number": pull.number,
            "html_url": f"{WEB}/{self.project}/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body or None,
            "state": "open" if pull.state == "open" else "closed",
            "user": self._user(pull.author),
            "created_at": stamp(pull.created),
            "merged_at": stamp(pull.created) if pull.state == "merged" else None,
            # Of an open one it is the merge that GitHub has tried.
            "merge_commit_sha": pull.merge_commit or pull.head_commit[::-1],
            "head": {
                "label": f"{self._owner_of_head(pull)}:{pull.head}",
                "ref": pull.head,
                "sha": pull.head_commit,
                "repo": fork if pull.from_fork else own,
            },
            "base": {"ref": pull.base, "sha": self.head_of(pull.base), "repo": own},
        }

    def _simple(self, pull: Pull) -> Any:
        return self._like("pull-request-simple", self._shown(pull))

    def _full(self, pull: Pull) -> Any:
        more = {
            "merged": pull.state == "merged",
            "merged_by": self._user(pull.merged_by),
            # A list may have null for who is gone; one by itself has this.
            "user": self._user(pull.author or "ghost"),
        }
        return self._like("pull-request", {**self._shown(pull), **more})

    def _review(self, given: Given) -> Any:
        link = f"{WEB}/{self.project}/pull/{given.number}#pullrequestreview-{given.id}"
        ours: dict[str, Any] = {
            "id": given.id,
            "user": self._user(given.login),
            "state": given.state.upper(),
            "commit_id": given.commit or None,
            "html_url": link,
        }
        if given.state != "pending":
            ours["submitted_at"] = stamp(given.at)
        return self._like("pull-request-review", ours)

    def _simple_status(self, check: Check) -> Any:
        ours = {
            "id": check.id,
            "context": check.name,
            "state": check.state,
            "description": check.description or None,
            "target_url": check.url,
        }
        return self._like("simple-commit-status", ours)

    def _run(self, check: Check) -> Any:
        is_over = check.state != "pending"
        ours = {
            "id": check.id,
            "name": check.name,
            "status": "completed" if is_over else "in_progress",
            "conclusion": check.state if is_over else None,
            "html_url": check.url,
            "output": {"title": check.description or None},
            "app": self._like("nullable-integration", {"id": check.by}),
        }
        return self._like("check-run", ours)


def _laid(under: Any, over: Any) -> Any:
    """`under` with the values of `over` in it, at any depth."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{name: _laid(under.get(name), value) for name, value in over.items()}}


def _invalid(resource: str, code: str, said: str) -> Reply:
    errors = [{"resource": resource, "code": code, "message": said}]
    value = {"message": "Validation Failed", "errors": errors, "documentation_url": WEB, "status": "422"}
    return Reply(status=422, value=value)
