"""A Serve application that fails in the way its config asks for. It needs no CPU: the tests share one head.

`args`: `fault` is one of `none`, `raise` and `exit` (in the constructor), `raise_late` (after 1.5 s of it),
`slow` (it takes ten minutes), `sick` (the health check fails from the start), `sick_later` (from 2 s after
the start) and `crash_later` (the process exits 4 s after it). Any other key is there to be different: a
change of `args` starts every replica anew. `user_config`: `fail: true` makes `reconfigure` raise.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from starlette.requests import Request

FAULTS = ("none", "raise", "raise_late", "exit", "slow", "sick", "sick_later", "crash_later")
LATE_SECONDS = 1.5
SLOW_SECONDS = 600.0
SICK_AFTER_SECONDS = 2.0
CRASH_AFTER_SECONDS = 4.0


class Frail:
    """Answers every request with its process id, for as long as its fault lets it."""

    def __init__(self, fault: str) -> None:
        """Start, or fail to."""
        if fault not in FAULTS:
            message = f"there is no fault {fault!r}"
            raise ValueError(message)
        self.fault = fault
        self.started_at = time.monotonic()
        if fault == "raise_late":
            time.sleep(LATE_SECONDS)
        if fault in {"raise", "raise_late"}:
            message = "no model file at models/fruit.bin"
            raise FileNotFoundError(message)
        if fault == "exit":
            os._exit(1)
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault == "crash_later":
            threading.Timer(CRASH_AFTER_SECONDS, os._exit, [1]).start()

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Raise if `fail` is set."""
        if config.get("fail"):
            message = f"cannot use {config}"
            raise ValueError(message)

    def check_health(self) -> None:
        """Raise if the fault says so."""
        is_late = time.monotonic() - self.started_at > SICK_AFTER_SECONDS
        if self.fault == "sick" or (self.fault == "sick_later" and is_late):
            message = "the model does not answer"
            raise RuntimeError(message)

    async def __call__(self, _: Request) -> str:
        """Answer."""
        return str(os.getpid())


Deployment = serve.deployment(
    name="D",
    num_replicas=2,
    ray_actor_options={"num_cpus": 0},
    # What takes ten and twenty seconds by default takes one, so that a test does not wait for it.
    health_check_period_s=1,
    graceful_shutdown_timeout_s=1,
    graceful_shutdown_wait_loop_s=0.1,
)(Frail)


def app(args: dict[str, str]) -> serve.Application:
    """Build the application; `args` come from the config."""
    return Deployment.bind(args.get("fault", "none"))
