"""One Ray cluster through its REST APIs: look at it, send it a config, read a replica's log.

Owns the requests to the dashboard, how long they may take, and the sentences for everything that can go
wrong with them. Must not know what follows from an answer. Invariant: a PUT is sent at most once per
`apply`; no sentence and no log holds the token or the value of an environment variable, neither of a config
that was sent nor of one that the cluster reported.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.adapters.serve import parse, replica_log
from deployer.adapters.serve.answers import WRONG_PLACE, gist, is_refused_whole, is_web_page, require_200
from deployer.adapters.serve.credentials import TokenFile
from deployer.adapters.serve.errors import BadAnswer, LogUnavailable, NoAnswer, Rejected, Unclear
from deployer.adapters.serve.probe import Prober
from deployer.adapters.serve.secrecy import Secrecy
from deployer.adapters.serve.transport import Transport, Waits
from deployer.core.live import Unreachable, Unreadable
from deployer.core.scrub import secrets_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from deployer.adapters.serve.transport import Answer as HttpAnswer
    from deployer.core.checks import Answer
    from deployer.core.events import LogSource
    from deployer.core.live import Live, Observation
    from deployer.core.record import Rollout
    from deployer.core.types import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a cluster may take, in seconds.

    `connect`: one lost SYN is sent again after 1 s and 3 s; who has not answered then is down.
    `get`, between two bytes: a GET takes 4-34 ms, and 1.6 s while Serve's controller restarts (2.60).
    `look`: two to four GETs in all; a server that drips its answer must not keep a worker.
    `put`, between two bytes: a PUT that has to start Serve took 15.5 s on a loaded machine (2.60), and
    giving up early saves nothing: the config would be applied all the same, and we would not know.
    `whole_put`: as above, with the connection and the answer.
    `log`: the file is read by an agent on its node, in 10 ms (2.60); nothing depends on it.
    """

    connect: float = 3.05
    get: float = 10.0
    look: float = 15.0
    put: float = 120.0
    whole_put: float = 130.0
    log: float = 10.0


APPLICATIONS = "/api/serve/applications/"
"""Without the trailing slash Ray answers 404."""

VERSION = "/api/version"

CLUSTER_STATUS = "/api/cluster_status"

_LIMITS = Limits()


class ServeCluster:
    """The `Cluster` port over HTTP. For one worker at a time; `close` may come from any thread."""

    def __init__(
        self,
        address: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        serve_address: str | None = None,
        limits: Limits = _LIMITS,
        secrecy: Secrecy | None = None,
    ) -> None:
        """Connect to nothing yet.

        `address` is the dashboard's URL, with a path if a proxy puts it under one. `token_file` holds
        Ray's token and is read again when it changes. `ca_file` replaces the usual authorities.
        `serve_address` is the URL of Serve's proxy; None stands for the dashboard's host and the port that
        Serve tells. `secrecy` is given to several that see one cluster, so that what one of them learns to
        be secret is so for all.
        Raises ValueError for an address that cannot be one.
        """
        self._address = _checked(address)
        self._token = TokenFile(token_file) if token_file else None
        self._limits = limits
        self._transport = Transport(self._address, ca_file=ca_file)
        self._lock = threading.Lock()
        self._secrecy = secrecy or Secrecy()
        self._prober = Prober(self._address, serve_address=serve_address, ca_file=ca_file)

    def observe(self, *, resources: bool = False) -> Observation:
        """Look once. Never raises for what the network or the server does: that is an observation too.

        `resources` also asks for the free ones; where they are not told, `Live.free` stays None.
        """
        with self._lock:
            try:
                with self._transport.turn(self._limits.look):
                    return self._look(resources=resources)
            except NoAnswer as error:
                cause = self._secrecy.quoted(error.cause)
                return Unreachable(
                    why=f"The Ray cluster at {self._address} cannot be seen: {cause}. {error.step}"
                )
            except BadAnswer as error:
                cause = self._secrecy.quoted(error.cause)
                return Unreadable(
                    why=f"What answers at {self._address} is not understood: {cause}. {WRONG_PLACE}"
                )

    def apply(self, rollout: Rollout, body: Mapping[str, Any]) -> None:  # noqa: ARG002 - the proof of the intent
        """PUT `body` for a rollout whose intent is durable. Returns once the server answered 200.

        Raises Rejected when Serve refused it, and Unclear when nobody knows whether it was applied.
        """
        with self._lock:
            self._secrecy.remember(secrets_of(body))
            try:
                self._put(json.dumps(body).encode())
            except NoAnswer as error:
                unclear = self._unclear(error.cause, error.step)
            except BadAnswer as error:
                unclear = self._unclear(error.cause, WRONG_PLACE)
            else:
                return
            # Not inside the `except`: the cause is not scrubbed, and would be printed with a traceback.
            raise unclear

    def remember(self, config: Mapping[str, Any]) -> None:
        """Never say the secrets of this config, which the cluster had from us before this process began."""
        self._secrecy.remember(secrets_of(config))

    def probe(self, check: Check, live: Live) -> Answer:
        """Make one attempt of a check through Serve's proxy, within its time-out. Never raises."""
        answer = self._prober.ask(check, live)
        return replace(answer, error=self._secrecy.quoted(answer.error), secrets=self._secrecy.known)

    def log_tail(self, source: LogSource) -> str:
        """The end of a replica's log, scrubbed, within 64 KB and 10 s. Raises LogUnavailable.

        Ray's agent reads the file on its node, so a replica that has ended still has its log.
        """
        with self._lock:
            try:
                with self._transport.turn(self._limits.log):
                    text = replica_log.text(self._ask(replica_log.path(source)))
            except NoAnswer as error:
                unavailable = self._unavailable(source, error.cause, error.step)
            except BadAnswer as error:
                unavailable = self._unavailable(source, error.cause, WRONG_PLACE)
            else:
                return replica_log.last(self._secrecy.end(text, replica_log.LIMIT_BYTES))
            # Not inside the `except`, as in `apply`.
            raise unavailable

    def close(self) -> None:
        """Cut off a request that is in flight, and give the connection back. Nothing works after it."""
        self._transport.close()
        self._prober.close()

    def _look(self, *, resources: bool) -> Live:
        version = self._get(VERSION)
        details = self._get(APPLICATIONS)
        if not details.get("applications"):
            # Had the head been replaced between the two, the old session would come with the new
            # emptiness, and that reads as "somebody deleted everything" instead of "start again".
            version = self._get(VERSION)
        self._secrecy.remember(secrets_of(details))
        live = parse.live(version, details, self._secrecy.message)
        return replace(live, free=self._free()) if resources else live

    def _free(self) -> dict[str, float] | None:
        """The free resources. Who cannot tell them has still been seen."""
        try:
            return parse.free(self._get(CLUSTER_STATUS))
        except (NoAnswer, BadAnswer):
            return None

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._ask(path)
        require_200(answer)
        return parse.document(answer.text)

    def _ask(self, path: str) -> HttpAnswer:
        waits = Waits(connect=self._limits.connect, read=self._limits.get)
        return self._transport.get(path, self._authorization(), waits)

    def _put(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", **self._authorization()}
        waits = Waits(connect=self._limits.connect, read=self._limits.put)
        with self._transport.turn(self._limits.whole_put):
            answer = self._transport.once("PUT", APPLICATIONS, headers, body, waits)
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
        self._secrecy.remember([token])
        # Exactly so: with a small "bearer", or in Ray's own header beside this one, it is refused (2.60).
        return {"Authorization": f"Bearer {token}"}

    def _rejected(self, text: str) -> Rejected:
        what = self._secrecy.quoted(gist(text))
        if is_refused_whole(text):
            return Rejected(f"Serve refused the config as a whole: {what}", half_applied=False)
        return Rejected(f"Serve failed while it applied the config: {what}", half_applied=True)

    def _unclear(self, cause: str, step: str) -> Unclear:
        cause = self._secrecy.quoted(cause)
        return Unclear(
            f"It is not known whether the Ray cluster at {self._address} took the config: {cause}. {step}"
        )

    def _unavailable(self, source: LogSource, cause: str, step: str) -> LogUnavailable:
        cause, replica = self._secrecy.quoted(cause).rstrip("."), self._secrecy.quoted(source.replica)
        return LogUnavailable(
            f"The log of replica {replica} cannot be had from {self._address}: {cause}. {step}"
        )


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
