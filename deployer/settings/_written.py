"""What was written, before it is known to be sound: for the rules that span groups.

Owns the careful look at it, and the words that such rules share. Must not know any rule. Invariant: whatever
was written, nothing here fails; what is unsound by itself counts as not there, and is reported elsewhere.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from deployer.core.fields import dotted
from deployer.core.redact import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from deployer.core.redact import Path as Keys
    from deployer.settings import _values as values

__all__ = ["dotted", "hint", "mapping", "normal", "unknown"]


def mapping(raw: object, key: str) -> Mapping[str, Any]:
    """The mapping at this key; an empty one if there is something else, which is reported elsewhere."""
    value = raw.get(key) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else {}


def normal(parse: Callable[[str, values.Base], str], value: object, base: values.Base) -> str | None:
    """The normal form; None if the value has none, which is reported elsewhere."""
    try:
        return parse(value, base) if isinstance(value, str) else None
    except ValueError:
        return None


def unknown(keys: Keys, what: str, name: str, known: Collection[str]) -> str:
    """The sentence for a name that names nothing: `no repository is called 'confgs' (did you mean ...)`."""
    return f"{dotted(keys)}: no {what} is called {quote(name)} ({hint(name, known)})"


def hint(word: str, known: Collection[str]) -> str:
    """What was probably meant, or else what there is."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {quote(close[0])}?"
    return f"known: {', '.join(known)}" if known else "there are none"
