"""What the routes of the pages share.

Owns the list of parts, the messages that are shown once, and who may see what. Must not know a page.
Invariant: something of an environment that the caller may not see is not found, as if it were not there.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from deployer.web.access import Right, caller
from deployer.web.pages.fragments import Fragments
from deployer.web.pages.render import Renderer
from deployer.web.problems import USAGE, Problem
from deployer.web.site import Site

if TYPE_CHECKING:
    from fastapi import Request


_NOTICES = 500
"""Messages that nobody has fetched yet: a browser does so at once, so these are lost pages."""


class Notices:
    """What a command said, for the page that is shown after it. Thread-safe.

    The address of that page holds a key that nobody can guess, not the text: a link from elsewhere cannot put
    words into the daemon's mouth, and the text is shown once, also where a page loads itself again.
    """

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, str] = OrderedDict()

    def put(self, text: str) -> str:
        """Keep a message. Returns its key."""
        key = secrets.token_urlsafe(9)
        with self._lock:
            self._texts[key] = text
            while len(self._texts) > _NOTICES:
                self._texts.popitem(last=False)
        return key

    def take(self, key: str) -> str:
        """The message, once; "" if there is none."""
        with self._lock:
            return self._texts.pop(key, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that the pages are made of."""

    site: Site
    render: Renderer
    fragments: Fragments
    notices: Notices = field(default_factory=Notices)

    def visible(self, request: Request) -> tuple[str, ...]:
        """The environments that the caller may see, in the order of the settings."""
        mine = caller(request).environments
        return tuple(name for name in self.site.environments if mine is None or name in mine)

    def environment_of(self, request: Request, rollout: str) -> str:
        """The environment of a rollout (`production#42`). Raises Problem if the caller may not see it."""
        name = rollout.rpartition("#")[0]
        if name not in self.site.environments or not caller(request).may(Right.READ, name):
            detail = "There is no such rollout, or you may not see it. One is called like production#42."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        return name
