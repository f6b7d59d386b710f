"""Serve's schemas, as data: one JSON Schema for each known version of Ray.

Owns the files in `data/` and the choice among them. Must not know what is checked with them. Invariant: the
files are what `python -m tests.schemas.generate` makes of Ray's own models, and nothing else; the contract
test makes that of the installed Ray again and compares.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from deployer.core.serve_schema import Schema, ray_release

KNOWN = (
    "2.9.3",
    "2.12.0",
    "2.24.0",
    "2.32.0",
    "2.40.0",
    "2.44.1",
    "2.47.1",
    "2.50.1",
    "2.53.0",
    "2.55.1",
    "2.58.1",
    "2.59.0",
    "2.60.0",
)
"""Oldest first: the oldest that this project has measured, the newest, and a dozen between.

The oldest that installs on Python 3.11 is 2.3.0; it has no `/api/serve/applications/` and no such schema
(read in its wheel). 2.4.0 to 2.8 have one on another port, and were never tried.
"""
NEWEST = KNOWN[-1]

_DATA = Path(__file__).with_name("data")


@lru_cache
def schema(ray_version: str | None = None) -> Schema:
    """The schema to check a config with that is meant for this version of Ray; None is the newest known.

    Between two known versions it is the later one, which knows what the earlier does: an option that came
    with it passes. Past the newest it is that one, incomplete. Raises ValueError for what is no version of
    Ray, or an older one than any that is known.
    """
    if ray_version is None:
        return _load(NEWEST)
    wanted = ray_release(ray_version)
    if wanted is None:
        message = f"{ray_version!r} is no version of Ray: write it as {NEWEST.rpartition('.')[0]}"
        raise ValueError(message)
    if wanted < _known(KNOWN[0]):
        message = f"Ray {ray_version} is older than {KNOWN[0]}, the first that deployer can work with"
        raise ValueError(message)
    for known in KNOWN:
        if wanted <= _known(known):
            return _load(known)
    return Schema(NEWEST, _load(NEWEST).root, complete=False)


def _known(version: str) -> tuple[int, int]:
    major, minor, _ = version.split(".")
    return int(major), int(minor)


@lru_cache
def _load(known: str) -> Schema:
    # Not by importlib.resources, whose imports take as long as a small config to check.
    data = (_DATA / f"{known}.json").read_bytes()
    return Schema(known, json.loads(data))
