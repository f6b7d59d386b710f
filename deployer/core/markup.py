"""Makes what strangers wrote into commits harmless for the markup of the place where it is shown.

Owns which characters do something where, and what stands in their place. Must not know where a message goes,
beyond the name of its markup, nor how. Invariant: what comes out begins no tag, no link with a text of its
own, and no mention of anybody, in a place of that style; and a person reads the same words as before.

apprise (2.2) escapes HTML for Telegram and mail, `& < >` for Slack, and CommonMark for Google Chat and Teams;
it leaves mentions alone everywhere, and all there is at Discord, Mattermost, Zulip and others. Tests look at
what arrives, so that a release of it that does less is noticed.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ZERO_WIDTH = "\u200b"
"""Parts what would be a mention or a tag, and is not seen."""


class Style(StrEnum):
    """How a place reads text."""

    EXACT = "exact"
    """It shows it as it is, or apprise escapes all of it."""
    QUIET = "quiet"
    """The same, but for mentions."""
    ESCAPED = "escaped"
    """apprise escapes the Markdown; what begins with `<`, and mentions, it does not."""
    MARKDOWN = "markdown"
    """Markdown that a backslash escapes, and nobody has."""
    UNKNOWN = "unknown"
    """Anything: what could be markup is written in its wide form (U+FF1C for `<`), which is none anywhere."""


_STYLES = {
    "mailto": Style.EXACT,
    "mailtos": Style.EXACT,
    "ntfy": Style.EXACT,
    "ntfys": Style.EXACT,
    "pagerduty": Style.EXACT,
    "json": Style.EXACT,
    "jsons": Style.EXACT,
    "slack": Style.QUIET,
    "tgram": Style.QUIET,
    "matrix": Style.QUIET,
    "matrixs": Style.QUIET,
    "wxteams": Style.QUIET,
    "gchat": Style.ESCAPED,
    "workflow": Style.ESCAPED,
    "workflows": Style.ESCAPED,
    "discord": Style.MARKDOWN,
    "mmost": Style.MARKDOWN,
    "mmosts": Style.MARKDOWN,
}
"""By what apprise calls the place. Opsgenie is not there: it shows HTML in a description."""

_MARKDOWN = re.compile(r"([\\`*_~|\[\]()#$])")
_TAGS = re.compile(r"([@<&])")
_WIDE = {ord(one): ord(one) + 0xFEE0 for one in "\\`*_~|[](){}<>&@#$^"}
"""Unicode has each again, in the width of a Chinese character, at this distance."""

_WIDE_BACKSLASH = chr(_WIDE[ord("\\")])


def style(schemas: Iterable[str]) -> Style:
    """How the place reads text that apprise knows by one of these names."""
    return next((_STYLES[one] for one in sorted(schemas) if one in _STYLES), Style.UNKNOWN)


def sent_as(of: Style) -> str:
    """The format that apprise is told to send. It escapes plain text where that is not what is sent."""
    return "markdown" if of is Style.ESCAPED else "text"


def harmless(text: str, of: Style) -> str:
    """The text for a place of that style. Its lines stay."""
    match of:
        case Style.EXACT:
            return text
        case Style.QUIET:
            return text.replace("@", f"@{ZERO_WIDTH}")
        case Style.ESCAPED:
            # Behind a backslash apprise 2.2 takes its own escape back, on the way to Google Chat.
            return _TAGS.sub(rf"\1{ZERO_WIDTH}", text.replace("\\", _WIDE_BACKSLASH))
        case Style.MARKDOWN:
            return _TAGS.sub(rf"\1{ZERO_WIDTH}", _MARKDOWN.sub(r"\\\1", text))
        case _:
            return text.translate(_WIDE)
