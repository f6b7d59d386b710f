"""Issues: the one that is our own, by its mark, and how one is opened, changed and closed.

Owns their paths and shapes, and whose an issue is. Must not know HTTP, nor what an issue says. Invariant:
nobody else's issue is ever taken for one of ours, whatever it says, and no pull request for an issue.

https://docs.github.com/rest/issues/issues, https://docs.gitlab.com/api/issues/, and Gitea's /api/swagger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._requests import Doing
from deployer.adapters.forge._shown import shown_body, shown_title
from deployer.adapters.forge._types import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.adapters.forge._requests import Api


class Issues:
    """The issues of one project at one forge. Safe in any thread."""

    def __init__(
        self,
        api: Api,
        *,
        path: str,
        needs: str,
        by: Literal["per_page", "limit"],
        query: Callable[[], Mapping[str, str]],
        is_own: Callable[[Mapping[str, Any]], bool],
        text: str = "body",
        number: str = "number",
        url: str = "html_url",
        closing: Mapping[str, str],
        method: str = "PATCH",
        comments: str = "comments",
    ) -> None:
        """Take where they are, and what their parts are called.

        `path` is that of the list, `needs` what a token needs to write them; `query` asks for the open ones,
        ours if it can, and `by` says how many come at once. `is_own` tells whether we wrote one. `closing` is
        sent to close one, and `method` changes it.
        """
        self._api = api
        self._path = path
        self._needs = needs
        self._by: Literal["per_page", "limit"] = by
        self._query = query
        self._is_own = is_own
        self._text = text
        self._number = number
        self._url = url
        self._closing = closing
        self._method = method
        self._comments = comments

    def open(self, mark: str) -> Issue | None:
        """The open one of ours that begins with this; the newest, if there are several."""
        doing = Doing(what="look for an open issue", needs=self._needs)
        query = {**self._query(), self._by: "20"}
        for value in self._api.pages(self._path, doing, query, by=self._by):
            with self._api.reading(doing):
                one = read.mapping(value)
                # GitHub lists pull requests among them.
                if one.get("pull_request") is None and self._is_own(one):
                    found = self._issue(one)
                    if found.body.lstrip().startswith(mark):
                        return found
        return None

    def create(self, title: str, body: str) -> Issue:
        """Open one. Not safe to repeat."""
        doing = Doing(what="open an issue", needs=self._needs)
        answer = self._api.send("POST", self._path, doing, self._sent(title, body))
        with self._api.reading(doing):
            return self._issue(read.mapping(answer))

    def update(self, number: int, title: str, body: str) -> Issue:
        """Give one another title and body."""
        doing = Doing(what=f"change issue {number}", needs=self._needs)
        answer = self._api.send(self._method, self._one(number), doing, self._sent(title, body))
        with self._api.reading(doing):
            return self._issue(read.mapping(answer))

    def close(self, number: int, comment: str) -> None:
        """Close it if it is open, and say why; nothing is done to one that is closed."""
        doing = Doing(what=f"close issue {number}", needs=self._needs)
        found = self._api.get(self._one(number), doing)
        with self._api.reading(doing):
            is_open = read.raw(read.mapping(found), "state") != "closed"
        if not is_open:
            return
        # In this order a repetition after half of it says nothing twice.
        self._api.send(self._method, self._one(number), doing, dict(self._closing))
        if comment:
            self._api.send(
                "POST", f"{self._one(number)}/{self._comments}", doing, {"body": shown_body(comment)}
            )

    def _sent(self, title: str, body: str) -> dict[str, object]:
        return {"title": shown_title(title), self._text: shown_body(body)}

    def _one(self, number: int) -> str:
        return f"{self._path}/{number:d}"

    def _issue(self, one: Mapping[str, Any]) -> Issue:
        return Issue(
            number=read.number(one, self._number),
            url=read.link(one, self._url) or "",
            title=read.line(one, "title"),
            body=read.text(one, self._text),
        )
