"""Schemas of the formats that others define, as they publish them, and a check against one.

Where they are from stands in README.md beside them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema.validators  # type: ignore[import-untyped]  # it publishes no types


@cache
def _validator(name: str) -> Any:
    schema = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def faults(name: str, document: object) -> list[str]:
    """What is wrong with a document in the eyes of the schema `<name>.json`: a line each, with its place."""
    return [f"{fault.json_path}: {fault.message}" for fault in _validator(name).iter_errors(document)]
