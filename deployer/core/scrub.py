"""Takes secrets and terminal tricks out of text that came from a cluster, before anybody reads it.

Owns what counts as a secret in a Serve config, and how a text is cleaned of it. Must not know where the
text goes. Invariant: what comes out of `scrub` holds no value that was given to it, in none of the
spellings that Serve's messages use, and what comes out of `plain` cannot move a cursor.

Everybody waits while a text is searched (a regular expression keeps the interpreter to itself), and whose
text it is chooses what is in it. So every pattern here takes time in proportion to the text, whatever that
is, and a text of which only an end is shown is searched only there (`first` and `last`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from deployer.core.secret_names import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

REDACTED = "<redacted>"
"""What stands where a secret was. The word that Ray itself uses for browsers."""

MIN_SECRET_CHARACTERS = 6
"""Shorter values ("1", "true", "prod") are everywhere: to take them out would make a message unreadable."""

_MIN_LINE_CHARACTERS = 16
"""A line of a key file is a secret of its own, since a message may quote one line. Shorter ones are not."""

_INPUT_VALUE = re.compile(r"(\[type=[^\n,]{1,64}, )input_value=.{0,256}?, (?=input_type=)", re.DOTALL)
"""Pydantic quotes what it was given, cut in the middle (`{'TOKEN': 'hunt...`): no search for the whole
value finds the half that is left, so the quotation goes as a whole (seen in Ray's 400 and 503, 2.60).
It has about 50 characters, four times as many where a quoted message is quoted again, and line breaks only
where the value is an object that prints itself so (pydantic 2.14). Without the bounds and what stands before
it, `input_value=` in an ordinary log would take all up to the next error with it."""

_USERINFO = re.compile(r"://[^\s/'\"<>]+@")
"""`user:password@` of a URL, as in a `working_dir` or a pip index. It ends at the next slash, so no part of
a text is searched twice."""

_LOGIN = re.compile(r"://([^\s/'\"<>]+)@")
"""The same, less what stands around it."""

_QUERY = re.compile(r"([?&]([\w.-]{1,64})=)[^&#\s'\"<>]+")
"""A parameter of a URL. A name that is longer than 64 characters is none, so this takes linear time."""

_LEAST_LOGIN = 16
"""Characters. A shorter user name without a password is a name (`postgres`), and may stand in any text."""

_SKIPPED = (0, 2, 3)
"""Characters of base64 that depend on what stands before, by how many bytes of a group of three that is."""

_MANY = 64
"""Spellings of which it is first looked which can be in a text at all."""

_LEAST_MARGIN = 4096
"""Characters: more than a quotation of pydantic, or than a token in a URL, has."""

_GROWTH = 3
"""How much longer a part of a secret can be after the search: six characters of it may be another secret,
and become the ten of `<redacted>`."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, strings
    r"|\x1b[ -/]*[0-~]"
)

_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and newline, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls: they make a line read as another
    r"\u2028\u2029"  # line ends that only some programs see
    r"\ud800-\udfff]"  # halves of characters: JSON can carry them, UTF-8 cannot
)


def plain(text: str) -> str:
    """The text without terminal codes, control characters (but newline and tab) and bidi controls."""
    return _INVISIBLE.sub("", _ESCAPES.sub("", text))


def secrets_of(body: Mapping[str, Any]) -> frozenset[str]:
    """Every secret in it, at any depth, that is at least 6 characters long; and each long line of one.

    Takes a Serve config (application and deployment level) as well as what Serve answers.
    """
    return frozenset(part for value in secret_values(body) for part in secret_parts(value))


def secret_values(tree: object) -> Iterator[str]:
    """What its keys call a secret, `env_vars` above all, and the passwords and tokens in URLs.

    A value that is not text counts as Ray would print it: Ray's refusal of `{A: 123456}` quotes the number.
    """
    todo: list[tuple[object, bool]] = [(tree, False)]
    while todo:
        item, is_hidden = todo.pop()
        if isinstance(item, Mapping):
            todo.extend((inner, is_hidden or is_secret((key,))) for key, inner in item.items())
        elif isinstance(item, list | tuple):
            todo.extend((inner, is_hidden) for inner in item)
        elif is_hidden:
            yield str(item)
        elif isinstance(item, str) and "://" in item:
            yield from _in_urls(item)


def scrub(text: str, secrets: AbstractSet[str]) -> str:
    """The text with each secret replaced by `<redacted>`, and passwords and tokens in URLs too.

    Finds a value as it is, as JSON and Python escape it, as a URL encodes it, in base64 and hex, and as
    `plain` leaves it. The longest go first, so that a value inside another does not break it up.
    """
    text = _USERINFO.sub(f"://{REDACTED}@", _INPUT_VALUE.sub(r"\1", text))
    text = _QUERY.sub(_parameter, text)
    forms = _ordered(frozenset(secrets))
    for spelling in forms if len(forms) <= _MANY else _possible(text, forms):
        text = text.replace(spelling, REDACTED)
    return text


def first(text: str, secrets: AbstractSet[str], characters: int) -> str:
    """At most so many characters from the start of the text, plain and scrubbed.

    Only that much of it is searched, and a margin, which is then thrown away: the cut can leave the half
    of a secret at its edge, which no search finds. So the margin is as long as what can be left there.
    """
    margin = _margin(secrets)
    window = text[: 2 * characters + margin]
    cleaned = scrub(plain(window), secrets)
    return (cleaned if len(window) == len(text) else cleaned[:-margin])[:characters]


def last(text: str, secrets: AbstractSet[str], characters: int) -> str:
    """At most so many characters from the end of the text, plain and scrubbed; else as `first`."""
    margin = _margin(secrets)
    window = text[-(2 * characters + margin) :]
    cleaned = scrub(plain(window), secrets)
    return (cleaned if len(window) == len(text) else cleaned[margin:])[-characters:]


def _margin(secrets: AbstractSet[str]) -> int:
    longest = max((len(form) for secret in secrets for form in spellings(secret)), default=0)
    return max(_LEAST_MARGIN, _GROWTH * longest)


def _in_urls(text: str) -> Iterator[str]:
    for found in _LOGIN.finditer(text):
        user, separator, password = found[1].partition(":")
        if separator or len(user) >= _LEAST_LOGIN:
            yield from (found[1], password, unquote(password))
    for found in _QUERY.finditer(text):
        if is_secret((found[2],)):
            sent = found[0][1:]
            yield from (sent.partition("=")[2], *(value for _, value in parse_qsl(sent)))


def _parameter(found: re.Match[str]) -> str:
    return f"{found[1]}{REDACTED}" if is_secret((found[2],)) else found[0]


# Cached: the same are looked for in every message of every look.
@lru_cache(maxsize=64)
def _ordered(secrets: frozenset[str]) -> tuple[str, ...]:
    """Every spelling of each, the longest first, and always in the same order."""
    forms = {form for secret in secrets for form in spellings(secret)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _possible(text: str, forms: Sequence[str]) -> list[str]:
    """The spellings whose first characters stand somewhere in the text; in their order.

    What takes the place of one before brings none about: what is left beside it stood in the text, too.
    """
    size = MIN_SECRET_CHARACTERS
    windows = {text[at : at + size] for at in range(len(text) - size + 1)}
    return [form for form in forms if form[:size] in windows]


def secret_parts(value: str) -> Iterator[str]:
    """The value, and each long line of it, if it is long enough to be a secret."""
    if len(value) >= MIN_SECRET_CHARACTERS:
        yield value
        yield from (line for line in value.splitlines() if len(line) >= _MIN_LINE_CHARACTERS)


@lru_cache(maxsize=4096)
def spellings(secret: str) -> tuple[str, ...]:
    """How it can stand in a text. Cached: the same few are looked for in every message of every look."""
    stripped = plain(secret)
    content = secret.encode("utf-8", "surrogatepass")
    return (
        secret,
        stripped if len(stripped) >= MIN_SECRET_CHARACTERS else secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        # What was JSON, and is quoted as a text of JSON once more.
        json.dumps(json.dumps(secret)[1:-1])[1:-1],
        repr(secret)[1:-1],
        quote(secret, errors="replace"),
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        *_in_base64(content),
        content.hex(),
    )


def _in_base64(content: bytes) -> Iterator[str]:
    """Also in the middle of something that is encoded."""
    for before, skipped in enumerate(_SKIPPED):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + content).decode()[skipped : 8 * (before + len(content)) // 6]
