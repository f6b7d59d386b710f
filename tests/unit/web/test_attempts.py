"""How often an address is told that it is not known."""

from __future__ import annotations

from deployer.web.attempts import ADDRESSES, AT_ONCE, EACH_SECONDS, Attempts


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now = 1_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def test_some_at_once_then_one_every_few_seconds() -> None:
    """And the answer says after how many."""
    clock = Clock()
    attempts = Attempts(clock)
    assert [attempts.failed("192.0.2.1") for _ in range(AT_ONCE)] == [None] * AT_ONCE
    assert attempts.failed("192.0.2.1") == EACH_SECONDS
    clock.now += EACH_SECONDS - 1
    assert attempts.failed("192.0.2.1") == 1
    clock.now += 1
    assert attempts.failed("192.0.2.1") is None
    assert attempts.failed("192.0.2.1") == EACH_SECONDS


def test_rest_fills_it_up_and_no_further() -> None:
    """A day without a failure is as good as the first day."""
    clock = Clock()
    attempts = Attempts(clock)
    attempts.failed("192.0.2.1")
    clock.now += 86_400
    results = [attempts.failed("192.0.2.1") for _ in range(AT_ONCE + 1)]
    assert [one is None for one in results] == [*[True] * AT_ONCE, False]


def test_nobody_pays_for_another() -> None:
    """Addresses are counted one by one; the many of one IPv6 customer together."""
    attempts = Attempts(Clock())
    for number in range(AT_ONCE):
        attempts.failed("192.0.2.1")
        attempts.failed(f"2001:db8::{number:x}")
    assert attempts.failed("192.0.2.1") is not None
    assert attempts.failed("192.0.2.2") is None
    assert attempts.failed("2001:db8::ffff") is not None
    assert attempts.failed("2001:db8:0:1::1") is None
    assert attempts.failed("None") is None


def test_memory_is_bounded() -> None:
    """Who failed longest ago is forgotten first, and who goes on is not."""
    attempts = Attempts(Clock())
    for _ in range(AT_ONCE):
        attempts.failed("192.0.2.1")
    for number in range(2 * ADDRESSES):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number % 100 == 0:
            assert attempts.failed("192.0.2.1") is not None
    assert len(attempts._buckets) == ADDRESSES
