"""Answers in the form of the documentation's samples: see README.md."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@cache
def _read(name: str) -> Any:
    return json.loads((_HERE / f"{name}.json").read_text(encoding="utf-8"))


def sample(name: str) -> Any:
    """The answer of that name, such as `gitlab-note`."""
    return copy.deepcopy(_read(name))


def laid(name: str, ours: dict[str, Any]) -> Any:
    """The sample with these values in place of its own. Raises KeyError for a field that it does not have."""
    return _laid(sample(name), ours, name)


def _laid(onto: dict[str, Any], ours: dict[str, Any], name: str) -> dict[str, Any]:
    for key, value in ours.items():
        if key not in onto:
            message = f"the documentation's {name} has no {key}"
            raise KeyError(message)
        has_both = isinstance(value, dict) and isinstance(onto[key], dict)
        onto[key] = _laid(onto[key], value, f"{name}.{key}") if has_both else value
    return onto
