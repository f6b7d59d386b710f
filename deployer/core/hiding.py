"""Takes the secrets of a config out of what leaves the machine: a file for a ticket, an event in full.

Owns how a text that may have been cut is searched. Must not know where it goes; which values of a config are
secrets, and every spelling of one, is for `scrub` to say. Invariant: what comes out of `Hiding.text` holds no
secret value that was given, be it as it is, as JSON or Python escape it, as a URL encodes it, in base64 (also
in the middle of something that is encoded) or in hex; what comes out of `Hiding.evidence` holds no half of
one either, where a text was cut.

`scrub` does less, for it is done at every look: here a text is searched once, when somebody asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.core.redact import mask
from deployer.core.scrub import (
    MIN_SECRET_CHARACTERS,
    REDACTED,
    plain,
    scrub,
    secret_parts,
    secret_values,
    spellings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_CUT = re.compile(r"\.\.\.|…")
"""What stands where the rest of a text was left out."""

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
        text = scrub(plain(text), frozenset())
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
    secrets = {
        part for file in files for value in secret_values(file) for part in secret_parts(value)
    } - shown
    return Hiding(form for secret in secrets - shown for form in spellings(secret))


def names_of(body: Mapping[str, object]) -> Iterator[str]:
    """The names of the applications and deployments of a config, which are shown wherever it is told of."""
    applications = body.get("applications")
    for application in applications if isinstance(applications, list) else ():
        deployments = application.get("deployments") or ()
        yield from (str(one["name"]) for one in (application, *deployments) if "name" in one)


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
