"""Comments below a pull request: those that are our own, and how one is written and changed.

Owns their paths and shapes, and whose a comment is. Must not know HTTP, nor what a comment says. Invariant:
nobody else's comment is ever taken for one of ours, whatever it says.

https://docs.github.com/rest/issues/comments, https://docs.gitlab.com/api/notes/, and Gitea's /api/swagger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._requests import Doing
from deployer.adapters.forge._types import Comment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deployer.adapters.forge._requests import Api

_A_PAGE = "30"
"""A comment has up to 64 kB, an answer 1 MiB at most; most comments are short."""


class Comments:
    """The comments of one project at one forge. Safe in any thread."""

    def __init__(
        self,
        api: Api,
        *,
        needs: str,
        name: str,
        listed: Callable[[int], str],
        one: Callable[[int, int], str],
        method: str,
        query: Mapping[str, str] | None,
        app_id: str | None = None,
    ) -> None:
        """Take where they are.

        `needs` is what a token needs to write them, `name` is what a login is called. `listed` is the path
        of the list by the number of the pull request, `one` that of a comment, and `method` changes it.
        `query` is asked with the list, page by page; None: the forge gives all of it at once. With `app_id`
        we are that GitHub App, which has no user of its own.
        """
        self._api = api
        self._needs = needs
        self._name = name
        self._listed = listed
        self._one = one
        self._method = method
        self._query = query
        self._app_id = app_id
        self._me: str | None = None

    def own(self, number: int) -> tuple[Comment, ...]:
        """Those that we wrote, the oldest first."""
        doing = Doing(what=f"read the comments of pull request {number}", needs=self._needs)
        me = self.me()
        found = []
        for value in self._values(number, doing):
            with self._api.reading(doing):
                one = read.mapping(value)
                if self._is_own(one, me):
                    found.append(Comment(id=read.number(one, "id"), body=read.text(one, "body")))
        return tuple(sorted(found, key=lambda comment: comment.id))

    def write(self, number: int, body: str) -> int:
        """Write one; its id."""
        doing = Doing(what=f"comment on pull request {number}", needs=self._needs)
        answer = self._api.send("POST", self._listed(number), doing, {"body": body})
        with self._api.reading(doing):
            return read.number(read.mapping(answer), "id")

    def change(self, number: int, id_: int, body: str) -> None:
        """Have one say something else."""
        doing = Doing(what=f"change a comment of pull request {number}", needs=self._needs)
        self._api.send(self._method, self._one(number, id_), doing, {"body": body})

    def me(self) -> str:
        """The login of who owns our token, in lower case; "" for an App, which has none."""
        return self._login() if self._app_id is None else ""

    def is_own(self, one: Mapping[str, Any]) -> bool:
        """Whether we wrote this comment, or this issue."""
        return self._is_own(one, self.me())

    def _values(self, number: int, doing: Doing) -> Iterator[Any]:
        path = self._listed(number)
        if self._query is not None:
            yield from self._api.pages(path, doing, {**self._query, "per_page": _A_PAGE})
            return
        answer = self._api.get(path, doing)
        with self._api.reading(doing):
            found = read.items(answer)
        yield from found

    def _is_own(self, one: Mapping[str, Any], me: str) -> bool:
        # What GitLab itself writes, for each commit that is pushed.
        if one.get("system") is True:
            return False
        if self._app_id is not None:
            app = one.get("performed_via_github_app")
            user = one.get("user")
            if not isinstance(app, dict) or not isinstance(user, dict):
                return False
            # A person can write by an App, too: as themselves.
            return str(app.get("id")) == self._app_id and user.get("type") == "Bot"
        who = read.login(one, "author" if self._name == "username" else "user", self._name)
        return who is not None and who.casefold() == me

    def _login(self) -> str:
        """Whose token it is: asked once."""
        if self._me is None:
            doing = Doing(what="ask whose token it is", needs="the right to read its own user")
            answer = self._api.get("/user", doing)
            with self._api.reading(doing):
                holder = {"me": answer}
                found = read.login(holder, "me", self._name)
                if found is None:
                    raise read.Malformed(wanted="a login name")
            self._me = found.casefold()
        return self._me
