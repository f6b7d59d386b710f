"""What Ray's log API answers for one replica, read for every Ray.

Owns the request's parameters, the framings of the answer, and how much is kept. Must not know HTTP, nor
which values are secret: cleaning is its caller's. Invariant: nothing is cut here before it was cleaned, so
that no half of a secret is left that a search for the whole of it would not find.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from deployer.adapters.serve.answers import gist, is_web_page, require_200
from deployer.adapters.serve.errors import BadAnswer, NoAnswer

if TYPE_CHECKING:
    from deployer.adapters.serve.transport import Answer
    from deployer.core.events import LogSource

LIMIT_BYTES = 64 * 1024
"""Of what is kept. The log of a replica that failed to start has 200 bytes, a traceback 2-6 kB (2.60)."""

_LINES = 1_000
"""Asked for: 64 KB of lines of 65 characters. Serve's own have about a hundred."""

_GOOD_FRAME = re.compile(r"1(?=[^\d\s])")
"""What older Rays put before each piece that they could read (seen in the source of 2.4)."""

_ERROR = re.compile(
    r"0Closing HTTP stream due to internal server error\.\n(.*)"  # older Rays, as a 200
    r"|.*\[get_logs\] Fetch log error: (.*)",  # those that know `format`, as a 200 too
    re.DOTALL,
)

_GONE_STEP = "Its node may be gone, or the file has been rotated away."

_EMPTY = "it sent an empty log"
"""What Ray 2.60 now and then answers for a file that is not there: its agent tells so in the first metadata
of a stream without messages, and on a busy machine these are not always seen. Serve writes a line into every
log before a replica is there to be asked for, so an empty one is none."""


def path(source: LogSource) -> str:
    """Where to ask. The file's name must not start with a slash: Ray takes it for one at the root (2.60)."""
    query = {
        "node_id": source.node_id,
        "filename": source.path.lstrip("/"),
        "lines": _LINES,
        # Ray 2.60 ignores it; before, it spares us the framing.
        "format": "text",
    }
    return f"/api/v0/logs/file?{urlencode(query)}"


def text(answer: Answer) -> str:
    """What there is of the log, not cleaned. Raises NoAnswer and BadAnswer."""
    found = answer.text
    if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # "A file is not found at", and "Agent for node id ... doesn't exist" (2.60).
        raise NoAnswer(cause=gist(found), step=_GONE_STEP)
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NoAnswer(cause="this Ray has no log API (404)", step="Look into the file on its node.")
    require_200(answer)
    if is_web_page(found):
        raise BadAnswer(cause="it answered with a web page")
    if error := _ERROR.fullmatch(found):
        raise NoAnswer(cause=gist(error[1] or error[2] or ""), step=_GONE_STEP)
    if not found:
        raise NoAnswer(cause=_EMPTY, step=_GONE_STEP)
    return _GOOD_FRAME.sub("", found, count=1) if found.startswith("1") else found


def last(cleaned: str) -> str:
    """The end of a cleaned log that is kept."""
    content = cleaned.encode()
    return cleaned if len(content) <= LIMIT_BYTES else content[-LIMIT_BYTES:].decode(errors="ignore")
