"""Sends a JSON message to a program, signed by Standard Webhooks.

Owns the request, its headers, and what an answer means to a person. Must not know what the message says, nor
when it is tried again. Invariant: the same message has the same `webhook-id` and the same bytes whenever it
is sent; it goes nowhere but to `url`; neither secret is in any sentence, and both are read at each message,
so that what is replaced counts from the next one on.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: three headers; 2xx
is success, all else is not, redirects too; 410 is "do not send any more"; 429 and 502 to 504 are "less".
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.core import webhooks
from deployer.core.redact import one_line
from deployer.core.scrub import first
from deployer.outgoing import NoAnswer, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from deployer.outgoing import Answer

TOTAL_SECONDS = 10.0
"""For one message: the specification has 15 to 30, and a target holds up nobody but itself."""

_LIMIT_BYTES = 64 * 1024
_FILE_BYTES = 16 * 1024
_SHOWN = 200
_LONGEST_SECONDS = 3600.0
"""That a receiver can keep us waiting."""

_TOKEN = re.compile(r"[!-~]{1,4000}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_OK = range(200, 300)
_ELSEWHERE = range(300, 400)
_FIRST_SERVER_ERROR = 500


class WebhookUnavailable(Exception):  # noqa: N818 - says what it is
    """It was not taken. `why` is a sentence; `status` is None if there was no answer."""

    def __init__(
        self, why: str, *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        """Take the sentence."""
        super().__init__(why)
        self.why = why
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Webhook:
    """One receiver. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        secret_file: Path,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.time,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        """Take where it is. The files are read at each message."""
        self._url = url
        # Of some receivers the path is the secret.
        self._shown = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self._secret_file = secret_file
        self._token_file = token_file
        self._ca_file = ca_file
        self._clock = clock
        self._total_seconds = total_seconds
        self._stop = _Stop()

    def send(self, id_: str, body: Mapping[str, Any]) -> None:
        """Send it. `id_` is printable ASCII without a dot. Raises WebhookUnavailable."""
        content = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        key, token = self._key(), self._token()
        sent_at = int(self._clock())
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "webhook-id": id_,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": webhooks.sign(key, id_, sent_at, content),
        }
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            answer = request(
                "POST",
                self._url,
                headers=headers,
                body=content,
                ca_file=self._ca_file,
                cutter=self._stop,
                total_seconds=self._total_seconds,
                limit_bytes=_LIMIT_BYTES,
            )
        except NoAnswer as error:
            raise WebhookUnavailable(self._sentence(f"it {error}".replace("api_url", "url"))) from error
        if answer.status not in _OK:
            raise self._refusal(answer, token)

    def interrupt(self) -> None:
        """End what runs; nothing is sent any more."""
        self._stop.interrupt()

    def _refusal(self, answer: Answer, token: str | None) -> WebhookUnavailable:
        secrets = frozenset({token}) if token is not None else frozenset[str]()
        said = one_line(first(answer.body.decode("utf-8", "replace"), secrets, _SHOWN)).strip()
        cause = _cause(answer.status) + (f" (it says: {said})" if said else "")
        seconds = _retry_after(answer, self._clock())
        return WebhookUnavailable(self._sentence(cause), status=answer.status, retry_after_seconds=seconds)

    def _sentence(self, cause: str) -> str:
        return f"cannot send to {self._shown}: {cause}"

    def _key(self) -> bytes:
        try:
            return webhooks.key("generic", self._read(self._secret_file, "secret_file"))
        except ValueError as error:
            why = f"its secret_file {self._secret_file} cannot sign: {error}"
            raise WebhookUnavailable(self._sentence(why)) from error

    def _token(self) -> str | None:
        if self._token_file is None:
            return None
        found = self._read(self._token_file, "token_file").decode("ascii", "replace")
        if not _TOKEN.fullmatch(found):
            why = f"the first line of its token_file {self._token_file} is no token: write one there"
            raise WebhookUnavailable(self._sentence(why))
        return found

    def _read(self, path: Path, what: str) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(_FILE_BYTES).strip().partition(b"\n")[0].strip()
        except OSError as error:
            why = f"cannot read its {what} {path}: {error.strerror}"
            raise WebhookUnavailable(self._sentence(why)) from error


class _Stop:
    """Ends requests from another thread. Fits `outgoing.Cutter`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self._is_set = False

    def interrupt(self) -> None:
        with self._lock:
            self._is_set = True
            for end in self._ends:
                end()

    @contextmanager
    def ending(self, end: Callable[[], None], /) -> Iterator[None]:
        self.check()
        with self._lock:
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)

    def check(self) -> None:
        if self._is_set:
            message = "it was not sent to the end: the daemon is shutting down"
            raise WebhookUnavailable(message)


def _cause(status: int) -> str:
    if status in _ELSEWHERE:
        return "it redirects elsewhere: write the final address as url"
    if status >= _FIRST_SERVER_ERROR:
        return f"it answered {status}: it is tried again"
    match status:
        case 401 | 403:
            return f"it answered {status}, and does not let us in: check secret_file and token_file"
        case 404:
            return "it answered 404, and knows no such address: check url"
        case 410:
            return "it answered 410, and wants nothing any more: take the route out of the settings"
        case 429:
            return "it was asked too often, and is asked again later"
        case _:
            return f"it answered {status}, and does not take this: see what it says"


def _retry_after(answer: Answer, now: float) -> float | None:
    """When it wants to be asked again (RFC 9110, 10.2.3): seconds, or a date. None: it does not say."""
    if answer.status != 429 and answer.status < _FIRST_SERVER_ERROR:  # noqa: PLR2004 - too many requests
        return None
    told = answer.headers.get("retry-after", "")
    if _NUMBER.fullmatch(told):
        seconds = float(told)
    else:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 1.0), _LONGEST_SECONDS)
