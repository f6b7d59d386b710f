"""Takes the secrets of a config out of what leaves the machine: a file for a ticket, an event in full.

Owns which values of a config are secrets, and every spelling in which one is looked for. Must not know where
the text goes. Invariant: what comes out of `Hiding.text` holds no secret value that was given, be it as it
is, as JSON or Python escape it, as a URL encodes it, in base64 (also in the middle of something that is
encoded) or in hex; what comes out of `Hiding.evidence` holds no half of one either, where a text was cut.

`scrub` does less, for it is done at every look: here a text is searched once, when somebody asks for it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from deployer.core.redact import is_secret, mask
from deployer.core.scrub import MIN_SECRET_CHARACTERS, REDACTED, plain, scrub, secret_parts, spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from deployer.core.redact import Path

_LOGIN = re.compile(r"://([^\s/'\"<>]+)@")
"""`user:password` of a URL. It ends at the next slash, so no part of a text is searched twice."""

_QUERY = re.compile(r"([?&]([\w.-]{1,64})=)[^&#\s'\"<>]+")
"""A parameter of a URL."""

_CUT = re.compile(r"\.\.\.|…")
"""What stands where the rest of a text was left out."""

_SKIPPED = (0, 2, 3)
"""Characters of base64 that depend on what stands before, by how many bytes of a group of three that is."""

_OURS = frozenset(
    {
        *("id", "environment", "rollout", "type", "at", "hash", "previous_hash", "known_by"),
        *("kind", "result", "event", "phase", "name", "verdict", "started_at", "about"),
    }
)
"""Fields that hold a name or a word of ours: a value of an environment variable can be the same word."""


class Hiding:
    """What is hidden.

    Of thousands of spellings hardly one is in a text. So which can be is found first, by their first and last
    characters, at the cost of the text alone.
    """

    def __init__(self, forms: Iterable[str] = ()) -> None:
        """Take every spelling: each has at least as many characters as a secret has."""
        # The longest first, so that a value in another does not break it up; and always in the same order.
        self._forms = tuple(sorted(set(forms), key=lambda form: (-len(form), form)))
        self._heads = _by(form[:MIN_SECRET_CHARACTERS] for form in self._forms)
        self._tails = _by(form[-MIN_SECRET_CHARACTERS:] for form in self._forms)
        # The texts of events are mostly the same few.
        self._known: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text, plain, with `<redacted>` for each secret, and for what a URL has of passwords."""
        text = _QUERY.sub(_parameter, scrub(plain(text), frozenset()))
        for form in self._possible(text, self._heads):
            text = text.replace(form, REDACTED)
        return text

    def evidence(self, text: str) -> str:
        """The same, for a text that may begin or end within a secret, or have `...` for the rest of it."""
        if text not in self._known:
            told = self.text(text)
            for form in self._possible(told, self._heads):
                told = _without_beginning(told, form)
            for form in self._possible(told, self._tails):
                told = _without_end(told, form)
            self._known[text] = told
        return self._known[text]

    def texts(self, value: object, key: str = "") -> Any:  # noqa: ANN401 - JSON
        """A copy of this tree, whose keys are ours, with every text as `evidence` has it."""
        match value:
            case str():
                return value if key in _OURS else self.evidence(value)
            case Mapping():
                return {name: self.texts(inner, name) for name, inner in value.items()}
            case list() | tuple():
                return [self.texts(inner, key) for inner in value]
            case _:
                return value

    def tree(self, value: object) -> object:
        """A copy of what a person wrote in a file: without what its keys call a secret, and as `text`."""
        return mask(value, self.text)

    def _possible(self, text: str, places: Mapping[str, Sequence[int]]) -> list[str]:
        """The spellings that begin, or end, with what stands somewhere in the text; in their order."""
        if not places:
            return []
        windows = {
            text[at : at + MIN_SECRET_CHARACTERS] for at in range(len(text) - MIN_SECRET_CHARACTERS + 1)
        }
        numbers = {number for window in windows & places.keys() for number in places[window]}
        return [self._forms[number] for number in sorted(numbers)]


def hiding(files: Iterable[object], public: Iterable[str] = ()) -> Hiding:
    """What hides the secrets of these configs. `public` are names that are shown anyway.

    An environment variable that says in which environment it is would else take its name out of everything.
    """
    shown = frozenset(public)
    secrets = {part for file in files for value in _values(file, ()) for part in secret_parts(value)} - shown
    return Hiding(form for secret in secrets for form in _forms(secret))


def names_of(body: Mapping[str, object]) -> Iterator[str]:
    """The names of the applications and deployments of a config, which are shown wherever it is told of."""
    applications = body.get("applications")
    for application in applications if isinstance(applications, list) else ():
        deployments = application.get("deployments") or ()
        yield from (str(one["name"]) for one in (application, *deployments) if "name" in one)


def _values(value: object, path: Path) -> Iterator[str]:
    """Every secret in this tree: what its keys call one, and what stands in URLs."""
    match value:
        case Mapping():
            for key, inner in value.items():
                yield from _values(inner, (*path, key))
        case list() | tuple():
            for inner in value:
                yield from _values(inner, path)
        case _ if is_secret(path):
            yield str(value)
        case str():
            for found in _LOGIN.finditer(value):
                yield from (found[1], found[1].partition(":")[2], unquote(found[1].partition(":")[2]))
            for found in _QUERY.finditer(value):
                if is_secret((found[2],)):
                    sent = found[0][1:]
                    yield from (sent.partition("=")[2], *(text for _, text in parse_qsl(sent)))
        case _:
            # A number, and nothing calls it a secret.
            return


def _forms(secret: str) -> Iterator[str]:
    """How it can stand in a text."""
    yield from spellings(secret)
    # What was JSON, and is quoted as a text of JSON once more.
    yield json.dumps(json.dumps(secret)[1:-1])[1:-1]
    content = secret.encode("utf-8", "surrogatepass")
    for before, skipped in enumerate(_SKIPPED):
        bits = 8 * (before + len(content))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + content).decode()[skipped : bits // 6]
    yield content.hex()


def _parameter(found: re.Match[str]) -> str:
    return f"{found[1]}{REDACTED}" if is_secret((found[2],)) else found[0]


def _by(keys: Iterable[str]) -> dict[str, list[int]]:
    """The numbers of the spellings by what is the same in several."""
    found: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    return found


def _without_beginning(text: str, form: str) -> str:
    """The text, less the beginning of `form` that stands at its end, and before each `...`."""
    head = form[:MIN_SECRET_CHARACTERS]
    for end in (len(text), *(found.start() for found in reversed([*_CUT.finditer(text)]))):
        begin = text.find(head, max(0, end - len(form)), end)
        while begin >= 0 and not form.startswith(text[begin:end]):
            begin = text.find(head, begin + 1, end)
        if begin >= 0:
            text = f"{text[:begin]}{REDACTED}{text[end:]}"
    return text


def _without_end(text: str, form: str) -> str:
    """The text, less the end of `form` that stands at its start: the longest there is."""
    tail = form[-MIN_SECRET_CHARACTERS:]
    end = text.rfind(tail, 0, len(form)) + len(tail)
    while end >= len(tail) and not form.endswith(text[:end]):
        end = text.rfind(tail, 0, end - 1) + len(tail)
    return REDACTED + text[end:] if end >= len(tail) else text
