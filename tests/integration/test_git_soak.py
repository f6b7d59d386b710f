"""A short soak in every run; `python -m tests.git_soak` is the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.git_soak import soak

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("kind", "fetches"), [("file", 40), ("http", 12), ("ssh", 5)])
def test_fetches_leave_nothing_behind(kind: str, fetches: int, tmp_path: Path) -> None:
    """As many descriptors, threads and children after the last fetch as before the first; little memory."""
    done = soak(kind, fetches, tmp_path)

    before, after = done.before, done.after
    assert (after.descriptors, after.threads, after.children) == (
        before.descriptors,
        before.threads,
        before.children,
    )
    # What is cached of a fetch is a few KiB.
    assert after.memory_mib - before.memory_mib < 8.0
