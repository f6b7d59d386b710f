"""`POST /hooks/<repository>`: a forge says that somebody pushed, and the daemon looks at once.

Owns what is asked of such a request before, while and after its body is read, and its answer. Must not know
how a forge signs (`core.webhooks`), nor what a look is. Invariant: a look is all that follows, and only of a
request that was signed with a secret of that very repository; who has none learns nothing, not even which
repositories there are; no body is read beyond `BODY_BYTES`; and nothing here waits but for the rest of a
request.

The signature is the authentication: there is no token here, and no rule for the Host. Bodies are never
decoded, unpacked or parsed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from deployer import logs
from deployer.core import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Message, Receive, Scope, Send

PREFIX = "/hooks/"

BODY_BYTES = 1_048_576
"""1 MiB: many hundred commits with the names of their files. A push of more is found by the poll."""

_REMEMBERED = 2_000
"""Delivery ids of each repository, which forges repeat within hours. An older one costs one look."""

_CHECK_SECONDS = 1.0
"""Between two looks at whether a file with a secret has changed."""

_WARN_SECONDS = 60.0
"""Between two warnings about one repository: who sends rubbish does not fill the log."""

_NAME = 100
"""So much of a repository's name that is none goes into the log."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSpec:
    """How the webhooks of one repository are signed. With two secrets, both are taken."""

    scheme: webhooks.Scheme
    secret_file: Path
    previous_secret_file: Path | None = None


class Hooks:
    """Answers all requests below `/hooks/` (ASGI)."""

    def __init__(
        self,
        specs: Mapping[str, HookSpec],
        look_now: Callable[[str], object],
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the secrets. `specs` by repository; `look_now` is called with one, and must not wait.

        `now` and `monotonic` give seconds. A secret that cannot be used is told to the log, and taken as soon
        as it can.
        """
        self._look_now = look_now
        self._now = now
        self._hooks = {name: _Hook(name, spec, monotonic) for name, spec in specs.items()}
        self._nobodys = _Refusals(None, monotonic)
        decoy = secrets.token_bytes(32)
        self._decoys = (decoy, decoy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            answer = await self._answer(scope, receive)
        except asyncio.CancelledError:
            # The server cancels what is under way when it stops, and nothing else; see `Guard`.
            answer = _STOPPING
        await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        name = scope["path"].removeprefix(PREFIX)
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if scope["method"] != "POST":
            return _NOT_POST
        if any(header == b"origin" or header.startswith(b"sec-fetch-") for header, _ in headers):
            return self._refuse(name, _A_PAGE, "a web page sent it")
        # uvicorn has made sure that a length is a number, and holds to it.
        length = next((value for header, value in headers if header == b"content-length"), None)
        if length is None or any(header == b"transfer-encoding" for header, _ in headers):
            return self._refuse(name, _NO_LENGTH, "it does not say how long it is (Content-Length)")
        if int(length) > BODY_BYTES:
            return self._refuse(name, _TOO_LARGE, f"it has {int(length)} bytes, more than {BODY_BYTES}")
        body = await _read(receive)
        if body is None:
            return _LEFT
        return self._judge(name, headers, body)

    def _judge(self, name: str, headers: list[tuple[bytes, bytes]], body: bytes) -> _Answer:
        """Verify, and look. A refusal takes the same steps whether there is such a repository or not."""
        hook = self._hooks.get(name)
        keys = None if hook is None else hook.keys()
        scheme = "github" if hook is None else hook.scheme
        verdict = webhooks.verify(scheme, keys or self._decoys, headers, body, self._now())
        if hook is None:
            return self._refuse(name, _REFUSED, "no repository of this name has a webhook in the settings")
        if keys is None:
            return self._refuse(name, _REFUSED, "its secret cannot be used, as was said before")
        if isinstance(verdict, webhooks.Refused):
            return self._refuse(name, _REFUSED, verdict.why)
        if verdict.is_ping:
            answer = _PONG
        elif hook.has_seen(verdict.delivery):
            answer = _REPEATED
        else:
            self._look_now(name)
            hook.remember(verdict.delivery)
            answer = _ACCEPTED
        log.debug("webhook_accepted", repository=name, delivery=verdict.delivery, answer=answer.name)
        return answer

    def _refuse(self, name: str, answer: _Answer, why: str) -> _Answer:
        log.debug("webhook_refused", repository=name[:_NAME], answer=answer.name, why=why)
        hook = self._hooks.get(name)
        (self._nobodys if hook is None else hook.refusals).add(why)
        return answer


class _Hook:
    """One repository's: its keys, what was delivered, what was refused."""

    def __init__(self, name: str, spec: HookSpec, monotonic: Callable[[], float]) -> None:
        self.scheme = spec.scheme
        self.refusals = _Refusals(name, monotonic)
        self._name = name
        self._monotonic = monotonic
        self._files = [spec.secret_file]
        if spec.previous_secret_file is not None:
            self._files.append(spec.previous_secret_file)
        self._seen: dict[str, None] = {}
        self._versions: list[object] = []
        self._keys: tuple[bytes, bytes] | None = None
        self._check_at = 0.0
        self.keys()

    def keys(self) -> tuple[bytes, bytes] | None:
        """The keys of now; None if there is none. Always two, so that one secret takes as long as two."""
        now = self._monotonic()
        if now >= self._check_at:
            self._check_at = now + _CHECK_SECONDS
            self._read_what_changed()
        return self._keys

    def has_seen(self, delivery: str | None) -> bool:
        """Whether this delivery was there before."""
        return delivery in self._seen

    def remember(self, delivery: str | None) -> None:
        """It was there. A delivery without an id is always a new one."""
        if delivery is not None:
            self._seen[delivery] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def _read_what_changed(self) -> None:
        versions = [_version(path) for path in self._files]
        if versions == self._versions:
            return
        is_first, self._versions = not self._versions, versions
        found = [key for path in self._files if (key := self._read(path)) is not None]
        self._keys = (found[0], found[-1]) if found else None
        if not is_first:
            log.info("webhook_secrets_read_again", repository=self._name, usable=len(found))

    def _read(self, path: Path) -> bytes | None:
        """The key in a file; None, and a line in the log, if it cannot be used."""
        try:
            secret = path.read_bytes().removesuffix(b"\n").removesuffix(b"\r")
            logs.hide(secret.decode(errors="replace"))
            return webhooks.key(self.scheme, secret)
        except OSError as error:
            why = error.strerror or type(error).__name__
        except ValueError as error:
            why = str(error)
        log.warning("webhook_secret_unusable", repository=self._name, file=str(path), why=why)
        return None


class _Refusals:
    """Counts what was refused for one repository, and warns of it at most once a minute."""

    def __init__(self, name: str | None, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._monotonic = monotonic
        self._count = 0
        self._warn_at = 0.0

    def add(self, why: str) -> None:
        """Count one more. `why` is said of the last one before a warning."""
        self._count += 1
        now = self._monotonic()
        if now >= self._warn_at:
            log.warning("webhooks_refused", repository=self._name, count=self._count, why=why)
            self._count = 0
            self._warn_at = now + _WARN_SECONDS


class _Answer:
    """An answer, made once: refusing must be cheap."""

    def __init__(self, status: HTTPStatus, body: Mapping[str, str], *headers: tuple[bytes, bytes]) -> None:
        self.name = body.get("status", status.phrase)
        content = json.dumps(body).encode()
        length = (b"content-length", str(len(content)).encode())
        self._start: Message = {
            "type": "http.response.start",
            "status": status.value,
            "headers": [(b"content-type", b"application/json"), length, *headers],
        }
        self._body: Message = {"type": "http.response.body", "body": content}

    async def send(self, send: Send) -> None:
        """Send it. Who has left gets nothing."""
        await send(self._start)
        await send(self._body)


_ACCEPTED = _Answer(HTTPStatus.ACCEPTED, {"status": "accepted"})
_REPEATED = _Answer(HTTPStatus.ACCEPTED, {"status": "repeated"})
_PONG = _Answer(
    HTTPStatus.OK,
    {"status": "pong", "detail": "The signature is right: deployer will look when somebody pushes."},
)
_REFUSED = _Answer(
    HTTPStatus.UNAUTHORIZED,
    {"detail": "Not accepted. The log of the daemon says why (webhooks_refused)."},
)
_A_PAGE = _Answer(HTTPStatus.FORBIDDEN, {"detail": "Web pages may not send webhooks."})
_NOT_POST = _Answer(
    HTTPStatus.METHOD_NOT_ALLOWED, {"detail": "Webhooks are sent with POST."}, (b"allow", b"POST")
)
_NO_LENGTH = _Answer(
    HTTPStatus.LENGTH_REQUIRED,
    {"detail": "Say how long the body is (Content-Length), and do not send it in chunks."},
)
_TOO_LARGE = _Answer(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"detail": f"A webhook may have up to {BODY_BYTES} bytes."}
)
_STOPPING = _Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"detail": "The daemon is stopping. Send it again."})
_LEFT = _Answer(HTTPStatus.BAD_REQUEST, {"detail": "The request did not come whole."})
"""For nobody: the connection is closed."""


async def _read(receive: Receive) -> bytes | None:
    """The body; None if the sender left before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _version(path: Path) -> object:
    """What changes when the file does, or its rights."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
