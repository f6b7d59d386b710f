"""What the answer of a daemon, or none, means for a command: an error with its sentence and exit code.

Owns these sentences. Must not send anything. Invariant: each says what to do next, and nothing of a token.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.cli.main import Exit, Failure
from deployer.core.scrub import plain

if TYPE_CHECKING:
    import requests

_BUSY = (
    "The daemon is busy: too many connections to its API are open. Try again in a moment; `ss -tp` shows"
    " who has them."
)


class NotNow(Failure):
    """The daemon does not answer, or not yet: the same request may work later."""


class NotYet(NotNow):
    """The request was not taken, and may be in a moment: to ask again cannot do anything twice."""


class Lost(NotNow):
    """The connection ended before the answer: to ask again under the same key does nothing twice."""


def not_trusted(url: str, error: Exception) -> str:
    """From an error of TLS: OpenSSL's reason stands inside all that wraps it."""
    text = str(error)
    found = re.search(r"certificate verify failed: (.+?) \(_ssl", text)
    if found is None:
        what = re.search(r"\[SSL: (\w+)\]", text)
        return f"{url} does not speak TLS as it should ({what[1] if what else type(error).__name__})."
    why = f" ({plain(found[1])})"
    return (
        f"{url} cannot be trusted{why}: its certificate is checked with this system's authorities, or with"
        " those in the file that --ca-file (or $DEPLOYER_CA_FILE) names."
    )


def is_refused(error: requests.RequestException) -> bool:
    """Whether there was no connection, so that nothing was sent."""
    from requests import ConnectTimeout
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, ConnectTimeout) or isinstance(reason, NewConnectionError)


def understood(answer: requests.Response, url: str) -> Any:  # noqa: ANN401 - JSON
    """What the API said, where it did what was asked. Raises Failure with its words where it did not."""
    status = answer.status_code
    if status == HTTPStatus.NO_CONTENT:
        return {}
    try:
        content = answer.json()
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return content
        detail, exit_code = plain(str(content["detail"])), int(content["exit_code"])
    except (ValueError, KeyError, TypeError) as error:
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            # Not in the API's own words, but in its server's, which counts connections.
            raise NotYet(_BUSY) from error
        if (failure := _usual(answer, url, "")) is not None:
            raise failure from error
        message = f"What answers at {answer.url} is not this daemon's API (HTTP {status})."
        raise NotNow(message) from error
    if (failure := _usual(answer, url, detail)) is not None:
        raise failure
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise NotNow(detail, exit_code)
    if status == HTTPStatus.CONFLICT and "Idempotency-Key" in detail:
        # What was sent before, and whose answer was lost, is still being carried out.
        raise NotYet(detail, exit_code)
    raise Failure(detail, exit_code)


def _usual(answer: requests.Response, url: str, detail: str) -> Failure | None:
    """The sentence for what any request can be answered, with the next step."""
    match answer.status_code:
        case HTTPStatus.FORBIDDEN:
            what = detail or f"{url} does not let you do this."
            return Failure(f"{what} `deployer token list` shows what each token may.", Exit.REFUSED)
        case HTTPStatus.MISDIRECTED_REQUEST:
            host = urlsplit(url).hostname
            return Failure(
                f"The daemon does not answer to the name {host}: add it to server.allowed_hosts in its"
                " settings, or use a name that is there."
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            after = answer.headers.get("Retry-After", "")
            wait = f"{after} s" if after.isascii() and after.isdigit() else "a minute"
            return NotNow(f"{detail or f'{url} takes no more requests from here for now.'} Wait {wait}.")
        case _:
            return None
