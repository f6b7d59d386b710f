"""What GitHub's API and Gitea's have in common: Gitea's was made after GitHub's.

Owns the paths and the shapes of pull requests that both have. Must not know how either lists things.
Invariant: a pull request from somebody's fork is never taken for one of the project's own branches.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._comments import Comments
from deployer.adapters.forge._issues import Issues
from deployer.adapters.forge._requests import Doing
from deployer.adapters.forge._shown import DESCRIPTION_CHARACTERS, shown_body, shown_description, shown_title
from deployer.adapters.forge._types import Forge, PullRequest, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deployer.adapters.forge._requests import Api


class PullsForge(Forge):
    """The part of GitHub and Gitea that is alike.

    `write_pulls` is what a token needs for it, in words; `said` are its words for the states that it has none
    of the same name for. `creator` is how a list of issues is asked for those of one person, `only_issues`
    how it has no pull requests.
    """

    write_pulls: str
    write_statuses: str
    write_issues: str
    said: Mapping[State, str]
    creator: str
    only_issues: Mapping[str, str] = MappingProxyType({})

    def __init__(self, api: Api, *, app_id: str | None = None, is_paged: bool = True) -> None:
        """Take the API to ask; `is_paged`: comments are listed page by page. `app_id` is of a GitHub App."""
        self._api = api
        self._owner, _, name = api.project.partition("/")
        self._repo = f"/repos/{quote(self._owner, safe='')}/{quote(name, safe='')}"
        self._comments = Comments(
            api,
            needs=self.write_pulls,
            name="login",
            listed=lambda number: f"{self._repo}/issues/{number:d}/comments",
            one=lambda _, id_: f"{self._repo}/issues/comments/{id_:d}",
            method="PATCH",
            query={} if is_paged else None,
            app_id=app_id,
        )
        self._issues = Issues(
            api,
            path=f"{self._repo}/issues",
            needs=self.write_issues,
            by="per_page" if is_paged else "limit",
            query=self._own_issues,
            is_own=self._comments.is_own,
            closing={"state": "closed"},
        )

    def _own_issues(self) -> Mapping[str, str]:
        """What asks for the open issues that are ours; an App has no name to ask by."""
        me = self._comments.me()
        return {"state": "open", **({self.creator: me} if me else {}), **self.only_issues}

    def interrupt(self) -> None:
        """End what is being asked, and ask nothing any more."""
        self._api.stop.interrupt()

    def _create(self, *, head: str, base: str, title: str, body: str) -> PullRequest:
        doing = Doing(what="open a pull request", needs=self.write_pulls)
        sent = {"head": head, "base": base, "title": shown_title(title), "body": shown_body(body)}
        answer = self._api.send("POST", f"{self._repo}/pulls", doing, sent)
        with self._api.reading(doing):
            return self._pull(answer)

    def pull_request(self, number: int) -> PullRequest:
        """The one of that number, however it stands."""
        return self._by_number(
            number, Doing(what=f"read pull request {number}", needs="read access to Pull requests")
        )

    def update(self, number: int, *, title: str, body: str) -> PullRequest:
        """Give it another title and body."""
        doing = Doing(what=f"update pull request {number}", needs=self.write_pulls)
        sent = {"title": shown_title(title), "body": shown_body(body)}
        answer = self._api.send("PATCH", self._path(number), doing, sent)
        with self._api.reading(doing):
            return self._pull(answer)

    def close(self, number: int, *, comment: str) -> None:
        """Close it if it is open, and say why; nothing is done to one that is closed or merged."""
        doing = Doing(what=f"close pull request {number}", needs=self.write_pulls)
        if self._by_number(number, doing).state != "open":
            return
        # In this order a repetition after half of it says nothing twice.
        self._api.send("PATCH", self._path(number), doing, {"state": "closed"})
        if comment:
            self._api.send(
                "POST", f"{self._repo}/issues/{number}/comments", doing, {"body": shown_body(comment)}
            )

    def set_status(
        self, commit: str, *, context: str, state: State, description: str, url: str | None
    ) -> None:
        """Show this beside the commit, under the name `context`, instead of what was shown before."""
        doing = Doing(what=f"set a status of {commit[:12]}", needs=self.write_statuses)
        sent: dict[str, object] = {
            "state": self.said.get(state, state.value),
            "context": context,
            "description": shown_description(description, DESCRIPTION_CHARACTERS),
        }
        if url is not None:
            sent["target_url"] = url
        self._api.send("POST", f"{self._repo}/statuses/{read.check_commit(commit)}", doing, sent)

    def _by_number(self, number: int, doing: Doing) -> PullRequest:
        answer = self._api.get(self._path(number), doing)
        with self._api.reading(doing):
            return self._pull(answer)

    def _path(self, number: int) -> str:
        return f"{self._repo}/pulls/{number:d}"

    def _pull(self, value: object) -> PullRequest:
        pull = read.mapping(value)
        head, base = read.mapping(pull.get("head")), read.mapping(pull.get("base"))
        # GitHub's lists have the time alone.
        is_merged = pull.get("merged") is True or pull.get("merged_at") is not None
        state = read.raw(pull, "state")
        if state not in {"open", "closed"}:
            raise read.Malformed(wanted="`open` or `closed` as `state`")
        ref = read.line(head, "ref")
        if ref.startswith("refs/pull/"):
            # At Gitea so, once the branch is deleted.
            ref = read.line(head, "label")
        return PullRequest(
            number=read.number(pull, "number"),
            url=read.link(pull, "html_url") or "",
            title=read.line(pull, "title"),
            body=read.text(pull, "body"),
            head=ref,
            head_commit=read.commit(head, "sha") or "",
            base=read.line(base, "ref"),
            state="merged" if is_merged else "open" if state == "open" else "closed",
            author=read.login(pull, "user", "login") or "",
            merged_by=read.login(pull, "merged_by", "login") if is_merged else None,
            # Of an open one, GitHub names a merge that it has tried.
            merge_commit=read.commit(pull, "merge_commit_sha") if is_merged else None,
            from_fork=_is_from_fork(head, base),
        )

    def _is_between(self, value: object, head: str, base: str) -> bool:
        """Whether this pull request is open, and from that branch of this project to that one."""
        pull = read.mapping(value)
        from_, to = read.mapping(pull.get("head")), read.mapping(pull.get("base"))
        return (
            read.raw(pull, "state") == "open"
            and not _is_from_fork(from_, to)
            and read.raw(from_, "ref") == head
            and read.raw(to, "ref") == base
        )


def _is_from_fork(head: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    # Null once a fork is deleted.
    repositories = [read.mapping(side.get("repo") or {}).get("id", side) for side in (head, base)]
    return bool(repositories[0] != repositories[1])


def rank(pull: PullRequest, commit: str) -> tuple[int, int]:
    """Which of several merged ones brought this commit: the least."""
    if pull.merge_commit == commit:
        return 0, pull.number
    return 1 if pull.head_commit == commit else 2, pull.number


def is_merged_into(pull: PullRequest, base: str | None) -> bool:
    """Whether it was merged, and into this branch if one is asked for."""
    return pull.state == "merged" and base in {None, pull.base}


def of_base(found: Iterable[PullRequest], base: str) -> tuple[PullRequest, ...]:
    """The open ones to this branch, the lowest number first: a forge may not know how to ask for a branch."""
    wanted = (pull for pull in found if pull.state == "open" and pull.base == base and pull.head_commit)
    return tuple(sorted(wanted, key=lambda pull: pull.number))
