"""One Ray cluster through Serve's REST API: look at it, send it a config.

Owns the two requests, how long they may take, and the sentences for everything that can go wrong with
them. Must not know what follows from an answer. Invariant: a PUT is sent at most once per `apply`; no
sentence holds the token or the value of an environment variable, neither of a config that was sent nor
of one that the cluster reported.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.adapters.serve import parse
from deployer.adapters.serve.answers import WRONG_PLACE, gist, is_refused_whole, is_web_page, require_200
from deployer.adapters.serve.credentials import TokenFile
from deployer.adapters.serve.errors import BadAnswer, NoAnswer, Rejected, Unclear
from deployer.adapters.serve.transport import Transport, Waits
from deployer.core.live import Unreachable, Unreadable
from deployer.core.scrub import plain, scrub, secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from deployer.core.live import Live, Observation
    from deployer.core.record import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a cluster may take, in seconds.

    `connect`: one lost SYN is sent again after 1 s and 3 s; who has not answered then is down.
    `get`, between two bytes: a GET takes 4-34 ms, and 1.6 s while Serve's controller restarts (2.60).
    `look`: two or three GETs in all; a server that drips its answer must not keep a worker.
    `put`, between two bytes: a PUT that has to start Serve took 15.5 s on a loaded machine (2.60), and
    giving up early saves nothing: the config would be applied all the same, and we would not know.
    `whole_put`: as above, with the connection and the answer.
    """

    connect: float = 3.05
    get: float = 10.0
    look: float = 15.0
    put: float = 120.0
    whole_put: float = 130.0


APPLICATIONS = "/api/serve/applications/"
"""Without the trailing slash Ray answers 404."""

VERSION = "/api/version"

_MESSAGE_LIMIT = 20_000
"""Characters of one message. A traceback has 2-6 kB; a hostile or a looping one can have megabytes."""

_MESSAGE_HEAD = 2_000
"""Of those, from the start: Serve's own sentence. The rest is from the end, where the error is."""

_CAUSE_LIMIT = 1_000
"""Characters of what a sentence quotes."""

_KNOWN_SECRETS_LIMIT = 2_000
"""How many secret values are remembered. An old message can quote a config that is no longer there."""

_LIMITS = Limits()


class ServeCluster:
    """The `Cluster` port over HTTP. For one worker at a time; `close` may come from any thread."""

    def __init__(
        self,
        address: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        """Connect to nothing yet.

        `address` is the dashboard's URL, with a path if a proxy puts it under one. `token_file` holds
        Ray's token and is read again when it changes. `ca_file` replaces the usual authorities.
        Raises ValueError for an address that cannot be one.
        """
        self._address = _checked(address)
        self._token = TokenFile(token_file) if token_file else None
        self._limits = limits
        self._transport = Transport(self._address, ca_file=ca_file)
        self._lock = threading.Lock()
        self._secrets: dict[str, None] = {}

    def observe(self) -> Observation:
        """Look once. Never raises for what the network or the server does: that is an observation too."""
        with self._lock:
            try:
                with self._transport.turn(self._limits.look):
                    return self._look()
            except NoAnswer as error:
                cause = self._quoted(error.cause)
                return Unreachable(
                    why=f"The Ray cluster at {self._address} cannot be seen: {cause}. {error.step}"
                )
            except BadAnswer as error:
                cause = self._quoted(error.cause)
                return Unreadable(
                    why=f"What answers at {self._address} is not understood: {cause}. {WRONG_PLACE}"
                )

    def apply(self, rollout: Rollout) -> None:
        """PUT the config of a rollout whose intent is durable. Returns once the server answered 200.

        Raises Rejected when Serve refused it, and Unclear when nobody knows whether it was applied.
        """
        config = rollout.release.config
        with self._lock:
            self._remember(secrets_of(config.body()))
            try:
                self._put(config.text.encode())
            except NoAnswer as error:
                unclear = self._unclear(error.cause, error.step)
            except BadAnswer as error:
                unclear = self._unclear(error.cause, WRONG_PLACE)
            else:
                return
            # Not inside the `except`: the cause is not scrubbed, and would be printed with a traceback.
            raise unclear

    def close(self) -> None:
        """Cut off a request that is in flight, and give the connection back. Nothing works after it."""
        self._transport.close()

    def _look(self) -> Live:
        version = self._get(VERSION)
        details = self._get(APPLICATIONS)
        if not details.get("applications"):
            # Had the head been replaced between the two, the old session would come with the new
            # emptiness, and that reads as "somebody deleted everything" instead of "start again".
            version = self._get(VERSION)
        self._remember(secrets_of(details))
        return parse.live(version, details, self._clean)

    def _get(self, path: str) -> dict[str, Any]:
        waits = Waits(connect=self._limits.connect, read=self._limits.get)
        answer = self._transport.get(path, self._authorization(), waits)
        require_200(answer)
        return parse.document(answer.text)

    def _put(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", **self._authorization()}
        waits = Waits(connect=self._limits.connect, read=self._limits.put)
        with self._transport.turn(self._limits.whole_put):
            answer = self._transport.put(APPLICATIONS, headers, body, waits)
        if answer.status == HTTPStatus.BAD_REQUEST:
            raise self._rejected(answer.text)
        require_200(answer)
        if is_web_page(answer.text):
            # A login page of a proxy comes as 200 too; Ray's own answer is empty.
            raise BadAnswer(cause="it answered the PUT with a web page")

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        token = self._token.read()
        self._remember([token])
        # Exactly so: with a small "bearer", or in Ray's own header beside this one, it is refused (2.60).
        return {"Authorization": f"Bearer {token}"}

    def _rejected(self, text: str) -> Rejected:
        what = self._quoted(gist(text))
        if is_refused_whole(text):
            return Rejected(f"Serve refused the config as a whole: {what}", half_applied=False)
        return Rejected(f"Serve failed while it applied the config: {what}", half_applied=True)

    def _unclear(self, cause: str, step: str) -> Unclear:
        cause = self._quoted(cause)
        return Unclear(
            f"It is not known whether the Ray cluster at {self._address} took the config: {cause}. {step}"
        )

    def _remember(self, secrets: Iterable[str]) -> None:
        for secret in secrets:
            self._secrets.pop(secret, None)
            self._secrets[secret] = None
        while len(self._secrets) > _KNOWN_SECRETS_LIMIT:
            del self._secrets[next(iter(self._secrets))]

    def _clean(self, message: str) -> str:
        """A message as people may read it: in full up to the limit, then its head and its end."""
        text = scrub(plain(message), self._secrets.keys())
        if len(text) <= _MESSAGE_LIMIT:
            return text
        tail = _MESSAGE_LIMIT - _MESSAGE_HEAD
        left_out = len(text) - _MESSAGE_LIMIT
        return f"{text[:_MESSAGE_HEAD]}\n[{left_out} characters left out]\n{text[-tail:]}"

    def _quoted(self, text: str) -> str:
        """Words of somebody else, fit to stand inside a sentence."""
        line = " ".join(scrub(plain(text), self._secrets.keys()).split())
        return line if len(line) <= _CAUSE_LIMIT else f"{line[: _CAUSE_LIMIT - 1]}…"


def _checked(address: str) -> str:
    """The address without a trailing slash."""
    url = urlsplit(address)
    if url.username is not None or url.password is not None:
        message = "a cluster's address cannot hold a user or a password: use token_file"
        raise ValueError(message)
    is_http = url.scheme in {"http", "https"} and url.hostname
    if not is_http or url.query or url.fragment or " " in address or not address.isprintable():
        message = f"{address!r} is no address of a dashboard, such as http://ray-prod:8265"
        raise ValueError(message)
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"
