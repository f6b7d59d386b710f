"""A small Serve application whose behaviour its config chooses. It needs no CPU: the tests share one head.

`args`: `start_seconds` makes the constructor slow; any other key is there to be different. `user_config`:
`answer` is what a request gets; `fail: true` makes `reconfigure` raise. The environment variable
`GREETER_RAISES` makes the constructor raise its value.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from starlette.requests import Request


class Greeter:
    """Answers every request with one word."""

    def __init__(self, start_seconds: float) -> None:
        """Raise what the environment says, or take `start_seconds` to start."""
        if reason := os.environ.get("GREETER_RAISES"):
            raise RuntimeError(reason)
        time.sleep(start_seconds)
        self.answer = "hello"

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take another answer, or raise if `fail` is set."""
        if config.get("fail"):
            message = f"cannot use {config}"
            raise ValueError(message)
        self.answer = config.get("answer", self.answer)

    async def __call__(self, _: Request) -> str:
        """Answer."""
        return self.answer


Deployment = serve.deployment(
    name="D",
    ray_actor_options={"num_cpus": 0},
    # What takes ten and twenty seconds by default takes one, so that a test does not wait for it.
    health_check_period_s=1,
    graceful_shutdown_timeout_s=1,
    graceful_shutdown_wait_loop_s=0.1,
)(Greeter)


def app(args: dict[str, str]) -> serve.Application:
    """Build the application; `args` come from the config."""
    return Deployment.bind(float(args.get("start_seconds", 0)))
