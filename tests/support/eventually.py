"""Waiting in tests: a condition with a deadline, and the last observation in the failure text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(observe: Callable[[], T | None], *, within: float, every: float = 0.05, what: str = "") -> T:
    """Call `observe` until it returns something true, and return that.

    Fails with the last observation after `within` seconds. An AssertionError raised by `observe` counts
    as "not yet" and is shown too.
    """
    deadline = time.monotonic() + within
    while True:
        last: object
        try:
            value = observe()
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            message = f"not within {within} s: {what or observe}; last observation: {last!r}"
            raise AssertionError(message)
        time.sleep(every)
