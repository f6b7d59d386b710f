"""`python -m tests.fuzz.worst`: every hostile file once, in this process, which limits itself first.

Prints what came of each as JSON: seconds of CPU, KiB that the process grew by, and what was broken. A file
that needs more than the limits ends this process, not the machine.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from pathlib import Path

from tests.fuzz.hostile import HOSTILE
from tests.fuzz.play import status_kib
from tests.fuzz.target import Input, run

_ADDRESS_SPACE = 1024 * 1024 * 1024
"""Bytes: the interpreter and its libraries take a quarter of it."""
_CPU_SECONDS = 240
"""All files together take 50 on a slow machine."""


def main() -> None:
    """Run all that are named, or all there are."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    run(Input(config=b"applications: []", policy=b"drift: heal"))
    for name in sys.argv[1:] or HOSTILE:
        gc.collect()
        # The peak begins anew, where the kernel allows it: then each file has its own.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = status_kib("VmRSS")
        outcome = run(HOSTILE[name])
        growth = status_kib("VmHWM") - before
        # A line each, so that what was done is known even if the next one ends the process.
        line = {"name": name, "seconds": outcome.seconds, "growth_kib": growth, "broken": outcome.broken}
        print(json.dumps(line), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    main()
