"""One Ray cluster through Serve's REST API: look at it, send it a config.

Owns the two requests, how long they may take, and the sentences for everything that can go wrong with
them. Must not know what follows from an answer. Invariant: a PUT is sent at most once per `apply`; no
sentence holds the token or the value of an environment variable, neither of a config that was sent nor
of one that the cluster reported.
"""

from __future__ import annotations

import re
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.adapters.serve import parse
from deployer.adapters.serve.credentials import TokenFile
from deployer.adapters.serve.errors import BadAnswer, NoAnswer, Rejected, Unclear
from deployer.adapters.serve.transport import Transport, Waits
from deployer.core.live import Unreachable, Unreadable
from deployer.core.scrub import plain, scrub, secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from deployer.adapters.serve.transport import Answer
    from deployer.core.live import Live, Observation
    from deployer.core.record import Rollout

CONNECT_SECONDS = 3.05
"""One lost SYN is sent again after 1 s and 3 s; who has not answered then is down or behind a firewall."""

GET_WAITS = Waits(connect=CONNECT_SECONDS, read=10.0)
"""A GET takes 4-34 ms, and 1.6 s while Serve's controller restarts (2.60). More means hung."""

OBSERVE_SECONDS = 15.0
"""A whole look, two or three GETs: a server that drips its answer must not keep a worker."""

PUT_WAITS = Waits(connect=CONNECT_SECONDS, read=120.0)
"""A PUT that has to start Serve took 15.5 s on a loaded machine (2.60), and giving up early is no saving:
the config would be applied all the same, and we would not know."""

PUT_SECONDS = 130.0
"""A whole PUT: as above, and its answer."""

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

_SCHEMA_ERRORS = re.compile(r"\d+ validation errors? for \w+\n")
"""How pydantic's list of errors starts."""

_REFUSED_WHOLE = re.compile(r"\d+ validation errors? for ServeDeploySchema\n")
"""How the 400 starts that changed nothing; any other 400 comes out of the controller's work (2.60)."""

_SCHEMA_DETAIL = re.compile(r" \[type=\w+,.*\]$")
"""What pydantic puts after each error: its type and the input. Of use to programmers only."""

_POISON = "get_serve_instance_details"
"""In the 503 that says "the GCS may be down" but means: the controller cannot describe an application."""

_POISON_STEP = (
    "A config with `num_replicas` and no value after it does this to every application;"
    " the next config without it cures it."
)

_LOG_STEP = "If it stays so, look into dashboard_ServeHead.log on its head node."

_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}

_TOKEN_STEP = "Put Ray's token into the file that `cluster.token_file` names."  # noqa: S105 - where, not what

_WRONG_PLACE = (
    "Check that `cluster.address` names the dashboard itself (port 8265), with a proxy's path if it has one."
)


class ServeCluster:
    """The `Cluster` port over HTTP. For one worker at a time; `close` may come from any thread."""

    def __init__(self, address: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        """Connect to nothing yet.

        `address` is the dashboard's URL, with a path if a proxy puts it under one. `token_file` holds
        Ray's token and is read again when it changes. `ca_file` replaces the usual authorities.
        Raises ValueError for an address that cannot be one.
        """
        self._address = _checked(address)
        self._token = TokenFile(token_file) if token_file else None
        self._transport = Transport(self._address, ca_file=ca_file)
        self._lock = threading.Lock()
        self._secrets: dict[str, None] = {}

    def observe(self) -> Observation:
        """Look once. Never raises for what the network or the server does: that is an observation too."""
        with self._lock:
            try:
                with self._transport.turn(OBSERVE_SECONDS):
                    return self._look()
            except NoAnswer as error:
                cause = self._quoted(error.cause)
                return Unreachable(
                    why=f"The Ray cluster at {self._address} cannot be seen: {cause}. {error.step}"
                )
            except BadAnswer as error:
                cause = self._quoted(error.cause)
                return Unreadable(
                    why=f"What answers at {self._address} is no Ray dashboard: {cause}. {_WRONG_PLACE}"
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
                raise self._unclear(error.cause, error.step) from error
            except BadAnswer as error:
                raise self._unclear(error.cause, _WRONG_PLACE) from error

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
        answer = self._transport.get(path, self._authorization(), GET_WAITS)
        _require_200(answer)
        return parse.document(answer.text)

    def _put(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", **self._authorization()}
        with self._transport.turn(PUT_SECONDS):
            answer = self._transport.put(APPLICATIONS, headers, body, PUT_WAITS)
        if answer.status == HTTPStatus.BAD_REQUEST:
            raise self._rejected(answer.text)
        _require_200(answer)

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        token = self._token.read()
        self._remember([token])
        # Exactly so: with a small "bearer", or in Ray's own header beside this one, it is refused (2.60).
        return {"Authorization": f"Bearer {token}"}

    def _rejected(self, text: str) -> Rejected:
        what = self._quoted(_gist(text))
        if _REFUSED_WHOLE.match(text):
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
    if not is_http or url.query or url.fragment or " " in address or plain(address) != address:
        message = f"{address!r} is no address of a dashboard, such as http://ray-prod:8265"
        raise ValueError(message)
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def _require_200(answer: Answer) -> None:
    """Raise NoAnswer for a server that cannot or will not, BadAnswer for one that is not Serve's."""
    match answer.status:
        case HTTPStatus.OK:
            return
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN as status:
            raise NoAnswer(cause=f"it did not let us in ({status})", step=_TOKEN_STEP)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY:
            step = _POISON_STEP if _POISON in answer.text else _LOG_STEP
            raise NoAnswer(cause=f"it answered {status} ({_gist(answer.text)})", step=step)
        case status if answer.location:
            raise BadAnswer(cause=f"it redirects ({status}) to {_place(answer.location)}")
        case status:
            raise BadAnswer(cause=f"it answered {status}")


def _place(location: str) -> str:
    """Where a redirect points to, without its query: login pages carry tokens there."""
    return re.split(r"[?#]", location, maxsplit=1)[0]


def _gist(text: str) -> str:
    """The useful lines of an error body: each schema error with its place, or a traceback's last line."""
    text = plain(text).strip()
    if text.startswith("<"):
        return "a web page"
    schema = _SCHEMA_ERRORS.search(text)
    if schema is None:
        return text.rpartition("\n")[2] or "no reason given"
    errors: list[str] = []
    for line in text[schema.end() :].splitlines():
        if not line.startswith(" "):
            errors.append(f"{line}:")
        elif errors and "For further information visit" not in line:
            errors[-1] += f" {_SCHEMA_DETAIL.sub('', line.strip())}"
    return "; ".join(errors)
