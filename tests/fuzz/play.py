"""Many inputs, one after the other, and what came of them in figures.

Owns the sums. Must not know how inputs are made or judged. Invariant: the sums of two parts are those of the
whole, so that parts can run side by side.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz.generate import make
from tests.fuzz.target import CANARY, Input, run

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SECONDS = 2.0
"""Of CPU, for one input, as the issue says."""
MAX_GROWTH_KIB = 200 * 1024
"""How much larger a process may get than it was before its first input."""


@dataclass(slots=True, kw_only=True)
class Sums:
    """What came of some inputs. `slowest`: seconds of CPU and the number. `broken`: by number."""

    inputs: int = 0
    size: int = 0
    valid: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    planted: int = 0
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)
    growth_kib: int = 0
    broken: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Sums) -> None:
        """Take in what came of others."""
        self.inputs += other.inputs
        self.size += other.size
        self.valid += other.valid
        self.invalid += other.invalid
        self.codes += other.codes
        self.compared += other.compared
        self.planted += other.planted
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.growth_kib = max(self.growth_kib, other.growth_kib)
        self.broken |= other.broken


def play(seed: int, numbers: Iterable[int]) -> Sums:
    """Run the inputs of these numbers."""
    # What the readers load at their first use is not what an input costs.
    run(Input(config=b"applications: []", policy=b"drift: heal", compared=True))
    sums = Sums()
    before = peak_kib()
    for number in numbers:
        one = make(seed, number)
        outcome = run(one)
        data = (one.config or b"") + (one.policy or b"")
        kind = "config" if one.policy is None else "policy"
        (sums.valid if outcome.valid else sums.invalid)[kind] += 1
        sums.inputs += 1
        sums.size += len(data)
        sums.codes.update(outcome.codes)
        sums.compared += one.compared
        sums.planted += CANARY.encode() in data
        sums.seconds += outcome.seconds
        sums.slowest = max(sums.slowest, (outcome.seconds, number))
        broken = outcome.broken
        if outcome.seconds > MAX_SECONDS:
            broken = [*broken, f"{outcome.seconds:.1f} s of CPU"]
        if broken:
            sums.broken[number] = broken
    sums.growth_kib = peak_kib() - before
    if sums.growth_kib > MAX_GROWTH_KIB:
        sums.broken[-1] = [f"the process grew by {sums.growth_kib:,} KiB"]
    return sums


def peak_kib() -> int:
    """The most memory that this process ever had.

    Not `ru_maxrss`: on Linux that begins with what the parent had, and is kept over an exec.
    """
    return status_kib("VmHWM")


def status_kib(name: str) -> int:
    """A line of what Linux says of this process, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
