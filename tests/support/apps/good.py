"""A small Serve application whose behaviour its config chooses. Must not need any CPU: tests share one head.

`args`: `start_seconds` makes the constructor slow; `answer` is what a request gets, until `user_config`
brings another. The environment variable `GREETER_RAISES` makes the constructor raise its value;
`user_config: {fail: true}` makes `reconfigure` raise.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from starlette.requests import Request


@serve.deployment(
    num_replicas=1,
    ray_actor_options={"num_cpus": 0},
    # A health check a second, so that a broken replica shows within the seconds a test has.
    health_check_period_s=1,
    graceful_shutdown_timeout_s=1,
    graceful_shutdown_wait_loop_s=0.1,
)
class Greeter:
    """Answers with one word."""

    def __init__(self, start_seconds: float, answer: str) -> None:
        """Raise what the environment says, or take `start_seconds` to start."""
        if reason := os.environ.get("GREETER_RAISES"):
            raise RuntimeError(reason)
        time.sleep(start_seconds)
        self.answer = answer

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take another answer, or raise if `fail` is set."""
        if config.get("fail"):
            message = f"cannot use {config}"
            raise ValueError(message)
        self.answer = config.get("answer", self.answer)

    async def __call__(self, request: Request) -> str:
        """Answer."""
        return self.answer


def app(args: dict[str, str]) -> serve.Application:
    """Build the application; `args` come from the config."""
    return Greeter.bind(float(args.get("start_seconds", 0)), args.get("answer", "hello"))
