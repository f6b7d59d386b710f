"""The quick rows of the matrix that no story tells, on the session's Ray head. `make matrix` runs all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.matrix.faults import FAULTS
from tests.e2e.matrix.report import line
from tests.e2e.matrix.scene import ENDS_SECONDS, Fault, Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(ENDS_SECONDS + 120)]

QUICK = [pytest.param(fault, id=fault.id) for fault in FAULTS if fault.quick]


@pytest.mark.parametrize("fault", QUICK)
def test_a_fault_ends_as_the_catalogue_says(
    fault: Fault, fresh_serve: ServeHead, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Class, rollouts, hold, what is live and the requests lost are those of the row."""
    row = Scene(fault, fresh_serve, tmp_path).run()
    record_property("requests", f"{row.failed} of {row.sent} failed")
    print(line(row))  # noqa: T201 - the figures
    assert row.problems == []
