"""Gitea after its source (routers/api/v1/repo, services/convert), as strict as its swagger description."""

from __future__ import annotations

from typing import Any

from tests.contract.forge.samples import laid
from tests.contract.forge.server import (
    WEB,
    Asked,
    Check,
    FakeForge,
    Given,
    Note,
    Pull,
    Reply,
    Ticket,
    WrongRequest,
    expect_keys,
    expect_query,
    parts_of,
    stamp,
)

_PAGES = {"page", "limit"}

_REVIEWS = {
    "approved": "APPROVED",
    "changes_requested": "REQUEST_CHANGES",
    "commented": "COMMENT",
    "pending": "PENDING",
    "requested": "REQUEST_REVIEW",
    # It stays what it was, and says so beside it.
    "dismissed": "APPROVED",
}


class FakeGitea(FakeForge):
    """One repository at a Gitea. `says_nothing`: without a status it answers with an empty body, as once."""

    prefix = "/api/v1"

    def __init__(self, *, project: str, token: str) -> None:
        """As the base class; Gitea gives 50 items a page at most (MAX_RESPONSE_ITEMS)."""
        super().__init__(project=project, token=token)
        self.page_limit = 50
        self.says_nothing = True

    def respond(self, asked: Asked) -> Reply:
        """The answer to a request."""
        if asked.headers.get("authorization") != f"token {self.token}":
            return Reply(status=401, value={"message": "token is required", "url": f"{WEB}/api/swagger"})
        if (asked.method, asked.path) == ("GET", f"{self.prefix}/user"):
            return Reply(value=_user(self.me))
        kind, owner, name, *rest = parts_of(asked.path.removeprefix(self.prefix))
        if kind != "repos":
            message = "no such operation"
            raise WrongRequest(message)
        if f"{owner}/{name}" != self.project:
            return _not_found()
        match (asked.method, *rest):
            case ("GET",):
                return Reply(value={"id": 1, "full_name": self.project})
            case "GET", "pulls":
                return self._list(asked)
            case "POST", "pulls":
                return self._post(asked)
            case "GET", "pulls", number:
                return self._get(int(number))
            case "PATCH", "pulls", number:
                return self._patch(int(number), asked)
            case "GET", "issues":
                return self._tickets(asked)
            case "POST", "issues":
                body = expect_keys(asked, required={"title"}, allowed={"body"})
                made = self.add_ticket(self.me, body["title"], body.get("body", ""))
                return Reply(status=201, value=self._ticket(made))
            case (("GET" | "PATCH"), "issues", number):
                return self._one_ticket(int(number), asked)
            case "POST", "issues", number, "comments":
                body = expect_keys(asked, required={"body"}, allowed=set())
                return Reply(status=201, value=_note(self.add_note(int(number), self.me, body["body"])))
            case "GET", "issues", number, "comments":
                expect_query(asked, {"since", "before"})
                return Reply(value=[_note(note) for note in self.pull(int(number)).notes])
            case "PATCH", "issues", "comments", id_:
                body = expect_keys(asked, required={"body"}, allowed=set())
                changed = self._change_note(int(id_), body["body"])
                return Reply(value=_note(changed)) if changed is not None else _not_found()
            case "GET", "pulls", number, "reviews":
                expect_query(asked, _PAGES)
                found = [given for given in self.reviews if given.number == int(number)]
                return self._listed([self._review(given) for given in found], asked)
            case "GET", "commits", commit, "pull":
                by_merge = [pull for pull in self.pulls if pull.merge_commit == commit]
                return Reply(value=self._shown(by_merge[0])) if by_merge else _not_found()
            case "GET", "commits", commit, "status":
                return self._status(commit, asked)
            case "POST", "statuses", commit:
                return self._post_status(commit, asked)
            case _:
                message = "no such operation"
                raise WrongRequest(message)

    def _tickets(self, asked: Asked) -> Reply:
        """Without `type` pull requests are in this list, too; without `created_by` everybody's."""
        expect_query(asked, {"state", "type", "created_by", "q", "since", "before", *_PAGES})
        query = asked.query
        found = [
            self._ticket(one)
            for one in reversed(self.tickets)
            if query.get("state", "open") in {"all", one.state}
            and query.get("created_by", one.author) == one.author
        ]
        if query.get("type") != "issues":
            found += [{**self._ticket(pull), "pull_request": {"merged": False}} for pull in self.pulls]
        return self._listed(found, asked)

    def _one_ticket(self, number: int, asked: Asked) -> Reply:
        found = self.ticket(number)
        if found is None:
            return _not_found()
        if asked.method == "GET":
            return Reply(value=self._ticket(found))
        body = expect_keys(asked, required=set(), allowed={"title", "body", "state"})
        if body.get("state", "open") not in {"open", "closed"}:
            message = f"state {body['state']!r} is unknown"
            raise WrongRequest(message)
        found.title = body.get("title", found.title)
        found.body = body.get("body", found.body)
        found.state = body.get("state", found.state)
        return Reply(status=201, value=self._ticket(found))

    def _ticket(self, one: Ticket | Pull) -> Any:
        ours = {
            "id": 3000 + one.number,
            "number": one.number,
            "title": one.title,
            "body": one.body,
            "state": "open" if one.state == "open" else "closed",
            "user": _user(one.author),
            "html_url": f"{WEB}/{self.project}/issues/{one.number}",
        }
        return laid("gitea-issue", ours)

    def _list(self, asked: Asked) -> Reply:
        expect_query(asked, {"state", "base_branch", "sort", *_PAGES})
        query = asked.query
        found = [
            pull
            for pull in reversed(self.pulls)
            if query.get("state", "open") in {"all", "open" if pull.state == "open" else "closed"}
            and query.get("base_branch", pull.base) == pull.base
        ]
        return self._listed([self._shown(pull) for pull in found], asked)

    def _listed(self, found: list[Any], asked: Asked) -> Reply:
        return Reply(value=self._page(found, asked, "limit"), headers={"X-Total-Count": str(len(found))})

    def _post(self, asked: Asked) -> Reply:
        body = expect_keys(asked, required={"head", "base", "title"}, allowed={"body"})
        if found := self._open_between(body["head"], body["base"]):
            said = f"pull request already exists for these targets [id: {found[0].number}]"
            return Reply(status=409, value={"message": said, "url": f"{WEB}/api/swagger"})
        made = self._created(
            head=body["head"], base=body["base"], title=body["title"], body=body.get("body", "")
        )
        return Reply(status=201, value=self._shown(made))

    def _get(self, number: int) -> Reply:
        return Reply(value=self._shown(self.pull(number))) if number <= len(self.pulls) else _not_found()

    def _patch(self, number: int, asked: Asked) -> Reply:
        body = expect_keys(asked, required=set(), allowed={"title", "body", "state", "base"})
        pull = self.pull(number)
        pull.title = body.get("title", pull.title)
        pull.body = body.get("body", pull.body)
        if "state" in body:
            if body["state"] not in {"open", "closed"} or pull.state == "merged":
                message = f"state {body['state']!r} is not for a pull request that is {pull.state}"
                raise WrongRequest(message)
            pull.state = body["state"]
        # Gitea answers 201 to this.
        return Reply(status=201, value=self._shown(pull))

    def _status(self, commit: str, asked: Asked) -> Reply:
        expect_query(asked, _PAGES)
        newest = {check.name: check for check in self.checks if check.commit == commit}
        found = [_shown_status(check) for check in newest.values()]
        page = self._page(found, asked, "limit")
        if not page and self.says_nothing:
            return Reply()
        ours = {"sha": commit, "total_count": len(page), "statuses": page or None}
        return Reply(value=laid("gitea-combined-status", ours))

    def _post_status(self, commit: str, asked: Asked) -> Reply:
        body = expect_keys(asked, required={"state"}, allowed={"context", "description", "target_url"})
        if body["state"] not in {"pending", "success", "error", "failure", "warning", "skipped"}:
            message = f"state {body['state']!r} is unknown"
            raise WrongRequest(message)
        self.add_check(
            commit,
            body.get("context", "default"),
            body["state"],
            description=body.get("description", ""),
            url=body.get("target_url"),
            is_run=False,
        )
        return Reply(status=201, value=_shown_status(self.checks[-1]))

    def _shown(self, pull: Pull) -> Any:
        is_merged = pull.state == "merged"
        # Once the branch is gone; a merge deletes it.
        ref = f"refs/pull/{pull.number}/head" if is_merged else pull.head
        own, fork = {"id": 1, "full_name": self.project}, {"id": 2, "full_name": "somebody/x"}
        ours = {
            "id": 1000 + pull.number,
            "number": pull.number,
            "html_url": f"{WEB}/{self.project}/pulls/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "user": _user(pull.author),
            "merged": is_merged,
            "merged_at": stamp(pull.created) if is_merged else None,
            "merge_commit_sha": pull.merge_commit,
            "merged_by": _user(pull.merged_by) if is_merged else None,
            "head": {
                "label": pull.head,
                "ref": ref,
                "sha": pull.head_commit,
                "repo": fork if pull.from_fork else own,
            },
            "base": {"label": pull.base, "ref": pull.base, "sha": self.head_of(pull.base), "repo": own},
        }
        return laid("gitea-pull-request", ours)

    def _review(self, given: Given) -> Any:
        ours = {
            "id": given.id,
            "user": _user(given.login),
            "state": _REVIEWS[given.state],
            "dismissed": given.state == "dismissed",
            "commit_id": given.commit,
            "stale": False,
            "official": True,
            "submitted_at": stamp(given.at),
            "html_url": f"{WEB}/{self.project}/pulls/{given.number}#issuecomment-{given.id}",
        }
        return laid("gitea-review", ours)


def _note(note: Note) -> Any:
    return laid("gitea-comment", {"id": note.id, "body": note.body, "user": _user(note.author)})


def _not_found() -> Reply:
    return Reply(status=404, value={"message": "The target couldn't be found.", "url": f"{WEB}/api/swagger"})


def _user(login: str | None) -> Any:
    return laid("gitea-user", {"login": login, "full_name": f"{login} of Example"}) if login else None


def _shown_status(check: Check) -> Any:
    ours = {
        "id": check.id,
        "context": check.name,
        "status": check.state,
        "description": check.description,
        "target_url": check.url or "",
    }
    return laid("gitea-status", ours)
