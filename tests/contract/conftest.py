"""The clusters that the contract is tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.lab import Bench, FakeLab, RayLab

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(
    params=["fake", pytest.param("real", marks=[pytest.mark.ray, pytest.mark.timeout(240)])], ids=str
)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An empty cluster of either kind."""
    if request.param == "fake":
        yield Bench(FakeLab())
        return
    with RayLab(request.getfixturevalue("fresh_serve")) as lab:
        yield Bench(lab)
