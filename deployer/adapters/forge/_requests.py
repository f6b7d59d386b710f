"""Asks a forge's API, and turns what goes wrong into a sentence.

Owns the requests, and the token on its way. Must not know what the answers mean.
Invariant: a request ends in time and goes nowhere but to `api_url`; none is made while the forge wants none;
whatever comes back becomes a JSON value or one `ForgeUnavailable` whose sentence has the cause and the next
step, and no token.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlencode

from deployer.adapters.forge._refusals import message, refusal, retry_after
from deployer.adapters.forge._types import ForgeUnavailable
from deployer.adapters.forge._values import Malformed, items
from deployer.outgoing import NoAnswer, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from deployer.outgoing import Answer

TOTAL_SECONDS = 10.0
"""For one request. A forge that answers at all does so in a second."""

LIMIT_BYTES = 1024 * 1024
"""Of one answer."""

PAGES = 10
"""That are read of one list. A commit of a repository of configs has a handful of anything."""

_TOKEN = re.compile(r"[!-~]{1,4000}")
"""What a header can carry. GitHub's tokens of an App have some 40 characters, JWT of others a thousand."""


_COUNT = re.compile(r"[0-9]{1,9}")

_NO_CONTENT, _UNAUTHORIZED = 204, 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """What is being done, for sentences: `cannot {what} ...`, `give the token {needs}`."""

    what: str
    needs: str


class _Refused(ForgeUnavailable):
    """The forge said no. `said` are its own words."""

    said: str = ""


def words(error: ForgeUnavailable) -> str:
    """The forge's own words, to look for a cause in."""
    return error.said if isinstance(error, _Refused) else ""


class Stop:
    """Ends the requests of all threads. Fits `outgoing.Cutter`."""

    def __init__(self) -> None:
        """Nothing is to stop yet."""
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self._is_set = False

    def interrupt(self) -> None:
        """End what runs; whoever begins from now on is refused."""
        with self._lock:
            self._is_set = True
            for end in self._ends:
                end()

    @contextmanager
    def ending(self, end: Callable[[], None], /) -> Iterator[None]:
        """Have `end` called by an interrupt that comes while the block runs. It must not wait."""
        with self._lock:
            self._refuse()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)

    def check(self) -> None:
        """Raise ForgeUnavailable if the interrupt came."""
        with self._lock:
            self._refuse()

    def _refuse(self) -> None:
        if self._is_set:
            message = "the forge was not asked to the end: the daemon is shutting down"
            raise ForgeUnavailable(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """The forge was asked too often. `until` is of this process's clock, `ends` for people.

    `status` is that of the answer which said so.
    """

    until: float
    ends: datetime
    status: int


class Api:
    """One project's part of a forge's API."""

    def __init__(
        self,
        *,
        api_url: str,
        project: str,
        token: Callable[[], str],
        headers: Callable[[str], Mapping[str, str]],
        ca_file: Path | None,
        refused: Callable[[], object] = lambda: None,
    ) -> None:
        """Take where it is, and how the token is shown there. `token` is called for each request.

        `refused` is told that the forge did not take the token.
        """
        self.project = project
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._headers = headers
        self._ca_file = ca_file
        self._refused = refused
        self.stop = Stop()
        # Of whatever was asked: it holds for the token, and so for every thread and every question.
        self._limit: _Limit | None = None
        self._limit_lock = threading.Lock()

    def get(self, path: str, doing: Doing, query: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """What is at this path."""
        return self._decoded(self._asked("GET", path, doing, query or {}), doing)

    def send(self, method: str, path: str, doing: Doing, body: Mapping[str, object]) -> Any:  # noqa: ANN401 - JSON
        """What the forge says of what it was sent."""
        return self._decoded(self._asked(method, path, doing, {}, body), doing)

    def pages(
        self,
        path: str,
        doing: Doing,
        query: Mapping[str, str],
        *,
        of: Callable[[Any], object] = lambda page: page,
        by: str = "per_page",
    ) -> Iterator[Any]:
        """Every item of a list, page by page, each counted by us. `of` takes the list out of an answer.

        `query[by]` is the size of a page. A forge may have a smaller size of its own, and says how many there
        are in all (Gitea), or keeps to ours. Raises ForgeUnavailable if there is no end to it: a cut list
        would look like a whole one.
        """
        size, seen = int(query[by]), 0
        for page in range(1, PAGES + 1):
            answer = self._asked("GET", path, doing, {**query, "page": str(page)})
            with self.reading(doing):
                found = items(of(self._decoded(answer, doing)))
            yield from found
            seen += len(found)
            total = _COUNT.fullmatch(answer.headers.get("x-total-count", ""))
            is_last = seen >= int(total[0]) if total else by == "per_page" and len(found) < size
            if not found or is_last:
                return
        self._fail(doing, f"there are more than {seen}, and no more are read: remove what nobody needs")

    @contextmanager
    def reading(self, doing: Doing) -> Iterator[None]:
        """Turn what an answer lacks into a sentence."""
        try:
            yield
        except Malformed as error:
            cause = f"its answer has something else where {error.wanted} should be"
            raise self._unavailable(doing, f"{cause}: check api_url and kind") from error

    def _asked(
        self,
        method: str,
        path: str,
        doing: Doing,
        query: Mapping[str, str],
        body: Mapping[str, object] | None = None,
    ) -> Answer:
        # Before the token, for which an App asks the forge, too.
        self._keep_limit(doing)
        token = self._token()
        if not _TOKEN.fullmatch(token):
            self._fail(doing, "the token is empty or has characters that no token has: check token_file")
        # In this order always, as what is asked is.
        url = f"{self._api_url}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = request(
                method,
                url,
                headers=self._headers(token),
                body=body,
                ca_file=self._ca_file,
                cutter=self.stop,
                total_seconds=TOTAL_SECONDS,
                limit_bytes=LIMIT_BYTES,
            )
        except NoAnswer as error:
            raise self._unavailable(doing, f"it {error}") from error
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - every success
            raise self._refusal(answer, doing, token)
        return answer

    def _decoded(self, answer: Answer, doing: Doing) -> Any:  # noqa: ANN401 - JSON
        body = answer.body.strip()
        if not body:
            # What is cut within the headers arrives as an empty success.
            if answer.status != _NO_CONTENT and "content-length" not in answer.headers:
                self._fail(doing, "its answer was cut short: the next look tries again")
            return None
        if body.startswith(b"<"):
            self._fail(doing, "it answers with a web page, of a login or of another service: check api_url")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._unavailable(doing, "its answer is no JSON: check api_url") from error

    def _refusal(self, answer: Answer, doing: Doing, token: str) -> ForgeUnavailable:
        if answer.status == _UNAUTHORIZED:
            self._refused()
        said = message(answer.body, token)
        seconds = retry_after(answer, said)
        if seconds is not None:
            self._limited(seconds, answer.status)
        cause = refusal(answer.status, said, seconds, needs=doing.needs)
        refused = _Refused(self._sentence(doing, cause), retry_after_seconds=seconds, status=answer.status)
        refused.said = said
        return refused

    def _limited(self, seconds: float, status: int) -> None:
        until, ends = time.monotonic() + seconds, datetime.now(UTC) + timedelta(seconds=seconds)
        with self._limit_lock:
            if self._limit is None or until > self._limit.until:
                self._limit = _Limit(until=until, ends=ends, status=status)

    def _keep_limit(self, doing: Doing) -> None:
        """Raise ForgeUnavailable while nothing is to be asked: it was refused, so nothing was done."""
        limit = self._limit
        left = limit.until - time.monotonic() if limit is not None else 0.0
        if limit is None or left <= 0.0:
            return
        # When, and not in how many seconds: people are told what is the same once.
        when = f"it was asked too often, and is asked nothing before {limit.ends:%H:%M:%S} UTC"
        message = self._sentence(doing, f"{when}: give deployer a token of its own")
        raise ForgeUnavailable(message, retry_after_seconds=left, status=limit.status)

    def _fail(self, doing: Doing, cause: str) -> NoReturn:
        raise self._unavailable(doing, cause)

    def _unavailable(self, doing: Doing, cause: str) -> ForgeUnavailable:
        return ForgeUnavailable(self._sentence(doing, cause))

    def _sentence(self, doing: Doing, cause: str) -> str:
        return f"cannot {doing.what} in {self.project} at {self._api_url}: {cause}"
