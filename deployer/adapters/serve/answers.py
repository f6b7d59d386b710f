"""What an HTTP answer means that is not simply good, and what a person can do about it.

Owns the reading of statuses and of error bodies. Must not know the requests, nor secrets: what it quotes is
scrubbed by its caller. Invariant: whatever the body is, the reading of it ends in half a sentence.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from deployer.adapters.serve.errors import BadAnswer, NoAnswer
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from deployer.adapters.serve.transport import Answer

_SCHEMA_ERRORS = re.compile(r"\d+ validation errors? for \w+\n")
"""How pydantic's list of errors starts."""

_REFUSED_WHOLE = re.compile(r"\d+ validation errors? for ServeDeploySchema\n")
"""How the 400 starts that changed nothing; any other 400 comes out of the controller's work (2.60)."""

_SCHEMA_DETAIL = " [type="
"""What pydantic puts after each error begins so: its type and the input. Of use to programmers only."""

_POISON = "get_serve_instance_details"
"""In the 503 that says "the GCS may be down" but means: the controller cannot describe an application."""

_POISON_STEP = (
    "A config with `num_replicas` and no value after it does this to every application;"
    " the next config without it cures it."
)

_LOG_STEP = "If it stays so, look into dashboard_ServeHead.log on its head node."

_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}

_TOKEN_STEP = "Put Ray's token into the file that `cluster.token_file` names."  # noqa: S105 - where, not what

WRONG_PLACE = (
    "Check that `cluster.address` names the dashboard itself (port 8265), with a proxy's path if it has one."
)


def is_web_page(text: str) -> bool:
    """Whether this is HTML, which nothing in Ray's API answers: a login page, or another service."""
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def is_refused_whole(text: str) -> bool:
    """Whether this is the body of the 400 that changed nothing."""
    return _REFUSED_WHOLE.match(text) is not None


def require_200(answer: Answer) -> None:
    """Raise NoAnswer for a server that cannot or will not, BadAnswer for one that is not Serve's."""
    match answer.status:
        case HTTPStatus.OK:
            return
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN as status:
            raise NoAnswer(cause=f"it did not let us in ({status})", step=_TOKEN_STEP)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY:
            step = _POISON_STEP if _POISON in answer.text else _LOG_STEP
            raise NoAnswer(cause=f"it answered {status} ({gist(answer.text)})", step=step)
        case status if answer.location:
            raise BadAnswer(cause=f"it redirects ({status}) to {_place(answer.location)}")
        case status:
            raise BadAnswer(cause=f"it answered {status}")


def _place(location: str) -> str:
    """Where a redirect points to, without its query: login pages carry tokens there."""
    return re.split(r"[?#]", location, maxsplit=1)[0]


def gist(text: str) -> str:
    """The useful lines of an error body: each schema error with its place, or a traceback's last line."""
    if is_web_page(text):
        return "a web page"
    text = plain(text).strip()
    schema = _SCHEMA_ERRORS.search(text)
    if schema is None:
        return text.rpartition("\n")[2] or "no reason given"
    errors: list[str] = []
    for line in text[schema.end() :].splitlines():
        if not line.startswith(" "):
            errors.append(f"{line}:")
        elif errors and "For further information visit" not in line:
            errors[-1] += f" {line.strip().partition(_SCHEMA_DETAIL)[0]}"
    return "; ".join(errors)
