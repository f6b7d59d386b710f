"""All hostile repositories, in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.hostile import commits, contents, damage, layouts, refs, trees

if TYPE_CHECKING:
    from tests.hostile.case import Case

PARTS = (trees, commits, refs, layouts, damage, contents)
"""Modules; the first line of each says what its cases are about."""

CORPUS: dict[str, Case] = {case.name: case for part in PARTS for case in part.CASES}
