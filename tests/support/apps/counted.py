"""A Serve application that writes down every `reconfigure`: Serve's call of a replica, and that of our class.

`args`: `journal` is the file for it, one line `REPLICA KIND` per call, the kind `replica` or `class`; the
constructor is no call. Any other key is there to be different. Two deployments, `D` with two replicas before
`Behind` with one; neither needs a CPU, since the tests share one head. `start_seconds` and
`reconfigure_seconds` make the constructor and `reconfigure` of `D` slow; a `user_config` with `fail: true`
makes its `reconfigure` raise; the environment variable `COUNTED_RAISES` makes its constructor raise.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve._private.replica import Replica

if TYPE_CHECKING:
    from starlette.requests import Request

_OPTIONS: dict[str, Any] = {
    "ray_actor_options": {"num_cpus": 0},
    # What takes ten and twenty seconds by default takes one, so that a test does not wait for it.
    "health_check_period_s": 1,
    "graceful_shutdown_timeout_s": 1,
    "graceful_shutdown_wait_loop_s": 0.1,
}


def _write(journal: str, kind: str) -> None:
    replica = serve.get_replica_context().replica_id.unique_id
    with Path(journal).open("a", encoding="utf-8") as file:
        file.write(f"{replica} {kind}\n")


class Counted:
    """Answers with its process id, and writes down what Serve calls."""

    def __init__(self, args: dict[str, Any], *_: Any) -> None:
        """Take `start_seconds`, raise if told to, and watch the replica that this is in."""
        self.journal = str(args["journal"])
        self.reconfigure_seconds = float(args.get("reconfigure_seconds", 0))
        time.sleep(float(args.get("start_seconds", 0)))
        if reason := os.environ.get("COUNTED_RAISES"):
            raise RuntimeError(reason)
        serves = Replica.reconfigure

        async def reconfigure(replica: Replica, *values: Any, **more: Any) -> None:
            await serves(replica, *values, **more)
            _write(self.journal, "replica")

        # Over REST a replica that is reconfigured shows for some 100 ms, too short to rely on a look.
        Replica.reconfigure = reconfigure

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Take its time, or raise."""
        time.sleep(self.reconfigure_seconds)
        if config.get("fail"):
            message = f"cannot use {config}"
            raise ValueError(message)
        _write(self.journal, "class")

    async def __call__(self, _: Request) -> str:
        """Answer."""
        return str(os.getpid())


class Behind(Counted):
    """The second deployment: what is done to `D` touches it only where all is touched."""

    def __init__(self, args: dict[str, Any]) -> None:
        """Take no time to start."""
        super().__init__({"journal": args["journal"]})


Ingress = serve.deployment(name="D", num_replicas=2, **_OPTIONS)(Counted)
Second = serve.deployment(name="Behind", **_OPTIONS)(Behind)


def app(args: dict[str, Any]) -> serve.Application:
    """Both of them."""
    return Ingress.bind(args, Second.bind(args))


def alone(args: dict[str, Any]) -> serve.Application:
    """Only `D`."""
    return Ingress.bind(args)
