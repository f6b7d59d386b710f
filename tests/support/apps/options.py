"""What the options of Serve's schema name by import path: policies, a shared actor, a second deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from ray import serve

from tests.support.apps import good

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext
    from ray.serve.handle import DeploymentHandle


@ray.remote(num_cpus=0)
class Shared:
    """An actor beside the replicas of a deployment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take anything."""


class Grows:
    """An autoscaling policy that wants so many replicas, whatever the load is."""

    def __init__(self, replicas: int) -> None:
        """Take the number."""
        self.replicas = replicas

    def __call__(self, _: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Want it."""
        return self.replicas, {}


def two_each(contexts: dict[Any, AutoscalingContext]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
    """Want two replicas of each deployment of the application."""
    return dict.fromkeys(contexts, 2), {}


class Front:
    """The ingress of the application with two deployments."""

    def __init__(self, behind: DeploymentHandle) -> None:
        """Take the other one."""
        self.behind = behind


Ingress = serve.deployment(name="Front", ray_actor_options={"num_cpus": 0})(Front)


def app(args: dict[str, str]) -> serve.Application:
    """A deployment `Front` before a deployment `D`."""
    return Ingress.bind(good.app(args))
