"""Pauses between tries."""

from __future__ import annotations

import time

from deployer.engine.tries import FIRST_SECONDS, LONGEST_SECONDS, Tries


def test_each_pause_is_twice_as_long_up_to_a_limit_and_a_success_forgets_them() -> None:
    """Also after as many failures as there can be."""
    tries = Tries()
    pauses = [tries.failure() for _ in range(3000)]
    assert pauses[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert set(pauses[10:]) == {LONGEST_SECONDS}
    assert tries.failed == 3000
    assert tries.next_at > time.monotonic()

    tries.success()
    assert (tries.failed, tries.next_at) == (0, 0.0)
    assert tries.failure() == FIRST_SECONDS
