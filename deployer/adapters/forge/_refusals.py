"""How a forge says no, and what a person does about it.

Owns the sentences for each status, and the reading of a forge's own words and of its limits. Must not know
what was asked. Invariant: the token is in none of it, and a forge's words stay short and on one line.
"""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from deployer.adapters.forge._values import one_line
from deployer.core.scrub import first

if TYPE_CHECKING:
    from deployer.outgoing import Answer

_MESSAGE_CHARACTERS = 500
"""That are kept of the forge's own words, to look for a cause in."""

_SHOWN_CHARACTERS = 200
"""Of them in a sentence: enough to tell which rule was hurt."""

_LONGEST_SECONDS = 3600.0
"""That a forge can keep us waiting: GitHub counts by the hour."""

_SECONDARY_SECONDS = 60.0
"""GitHub's own advice where it limits without saying for how long."""

_FORBIDDEN, _TOO_MANY, _TROUBLE = 403, 429, 500


def refusal(status: int, said: str, seconds: float | None, *, needs: str) -> str:
    """Why, and what to do, for an answer that is no success. `needs` is what the token has to be given."""
    shown = one_line(said, _SHOWN_CHARACTERS)
    return _cause(status, seconds, needs) + (f" (it says: {shown})" if shown else "")


def _cause(status: int, seconds: float | None, needs: str) -> str:
    if status == _TOO_MANY or (status == _FORBIDDEN and seconds is not None):
        when = "later" if seconds is None else f"in {seconds:.0f} s"
        return f"it was asked too often, and is asked again {when}: give deployer a token of its own"
    if 300 <= status < 400:  # noqa: PLR2004 - every redirect
        return "it redirects elsewhere: write the final URL as api_url, and the project's name of today"
    if status >= _TROUBLE:
        return f"it answered {status}: the next look tries again"
    match status:
        case 401:
            return "it refused the token: check token_file, or github_app, and that the token has not ended"
        case 403:
            return f"the token may not do this: give it {needs}"
        case 404:
            known = "it knows no such thing, or hides it from the token"
            return f"{known}: check project and api_url, and give the token {needs}"
        case 400 | 409 | 422:
            return "it does not take this: see what it says, and check the settings of this repository"
        case _:
            return f"it answered {status}: check api_url and kind"


def message(body: bytes, token: str) -> str:
    """The forge's own words in a refusal, without the token; nothing if there are none that can be read.

    `message` everywhere, which at GitLab may be a list or an object; beside it GitHub's `errors`; GitLab's
    `error` where its API gateway refuses.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    parts = [said.get("message"), said.get("error"), said.get("error_description")]
    errors = said.get("errors")
    if isinstance(errors, list):
        parts += [one.get("message") if isinstance(one, dict) else one for one in errors]
    words = "; ".join(part if isinstance(part, str) else json.dumps(part) for part in parts if part)
    return first(words, frozenset({token}), _MESSAGE_CHARACTERS)


def retry_after(answer: Answer, said: str) -> float | None:
    """When the forge wants to be asked again, if this is its limit at all.

    https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api: `retry-after` in
    seconds, else `x-ratelimit-reset` (of 1970) where nothing is left, else a minute. GitLab and Gitea send
    `retry-after` with a 429 (docs.gitlab.com/administration/settings/user_and_ip_rate_limits).
    """
    if answer.status not in {403, 429}:
        return None
    headers = answer.headers
    seconds = _number(headers.get("retry-after"))
    if seconds is None and headers.get("x-ratelimit-remaining") == "0":
        reset = _number(headers.get("x-ratelimit-reset"))
        seconds = _SECONDARY_SECONDS if reset is None else reset - _now(answer.date)
    if seconds is None and "rate limit" in said.casefold():
        seconds = _SECONDARY_SECONDS
    return None if seconds is None else min(max(seconds, 1.0), _LONGEST_SECONDS)


def _number(value: str | None) -> float | None:
    return float(value) if value is not None and re.fullmatch(r"[0-9]{1,12}", value) else None


def _now(date: str) -> float:
    """The forge's clock, which the reset is told by; ours if it does not tell."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return time.time()
