"""The rule by which a key names a secret: `env_vars`, `hf_token`, `db_password`.

Owns the names. Must not know files, nor what is done with a value. Invariant: whether a value is a secret is
told by the keys above it alone, so that it is the same wherever it is asked.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]
"""Where a value is in a tree of mappings and lists: `("applications", 0, "name")`."""

_NAME = (
    "(?:env_vars|password|passwd|passphrase|secret|token|credentials?"
    "|api[_-]?key|access[_-]?key|private[_-]?key)"
)
_KEY = re.compile(rf"(?:.*[_-])?{_NAME}", re.IGNORECASE | re.DOTALL)
# Looks back one character only: a search for the whole of `hf_token` takes quadratic time on "a-a-a-...".
_WORD = re.compile(rf"(?<![a-z0-9]){_NAME}(?!\w)", re.IGNORECASE)


def is_secret(path: Path) -> bool:
    """Whether the value at this path may not be shown.

    Environment variables, and what is named like a secret: `hf_token`, but not `max_tokens`.
    """
    return any(isinstance(key, str) and _KEY.fullmatch(key) is not None for key in path)


def mentions_secret(text: str) -> bool:
    """Whether a key of `is_secret` stands anywhere in this text."""
    return _WORD.search(text) is not None
