"""One deployment of the fake cluster while its application is rolled out.

As Serve does it: missing replicas start at once; then the old ones are replaced, a fifth of them at a time
and at least one, so that with two replicas one old is left beside a new one that cannot start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deployer.core.live import Deployment, Replica
from tests.support import fake_behaviour as behaviour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NODE = "node-1"
MOST_DEAD = 10
MOST_STARTS = 20


@dataclass(frozen=True, kw_only=True)
class Alive:
    """A replica that runs, and with what."""

    replica: Replica
    code: str
    user_config: object


class Part:
    """One deployment on its way: the replicas by what becomes of them."""

    def __init__(
        self,
        app: str,
        name: str,
        config: Mapping[str, Any],
        alive: tuple[Alive, ...],
        dead: tuple[Replica, ...],
        make: Callable[[], Replica],
    ) -> None:
        """Sort the replicas that run: those of another code must go, others may only need to be told."""
        wanted = behaviour.deployments(config)[name]
        self.name = name
        self.target = behaviour.count(config, name)
        self.effective = behaviour.effective(config, name)
        self.budget = min(MOST_STARTS, 3 * self.target)
        self.failures = 0
        self.message = ""
        self.dead = list(dead)
        self.starting: list[Replica] = []
        self.stopping: list[Replica] = []
        self._log = f"serve/replica_{app}_{name}"
        self._make = make
        self._version = f"{behaviour.code(config)} {wanted.get('ray_actor_options')}"
        self._user_config = wanted.get("user_config")
        same = [one for one in alive if one.code == self._version]
        self.old = [one for one in alive if one.code != self._version]
        self.fresh = [one for one in same if one.user_config == self._user_config]
        self.untold = [one for one in same if one.user_config != self._user_config]
        while len(self.alive) > self.target:
            surplus = (self.old or self.untold or self.fresh).pop()
            self.stopping.append(surplus.replica)

    @property
    def alive(self) -> tuple[Alive, ...]:
        """What serves."""
        return (*self.fresh, *self.untold, *self.old)

    @property
    def is_done(self) -> bool:
        """Whether all that run are the new ones, in full number."""
        return len(self.fresh) == self.target and not self.old

    def tell(self) -> None:
        """Reconfigure those that only need it."""
        self.fresh += [replace(one, user_config=self._user_config) for one in self.untold]
        self.untold = []

    def distrust(self) -> None:
        """Those that only need to be told will fail at it: they are replaced, one by one."""
        self.old += self.untold
        self.untold = []

    def begin_round(self) -> None:
        """Start what is missing, or else stop some old ones and start their successors."""
        missing = self.target - len(self.alive)
        if not missing:
            batch = max(1, self.target // 5)
            self.stopping += [one.replica for one in self.old[:batch]]
            missing, self.old = len(self.old[:batch]), self.old[batch:]
        self.starting = [self._make() for _ in range(missing)]

    def place(self) -> None:
        """Ray has found room for those that start; those that stopped are gone."""
        self.bury()
        self.starting = [
            replace(one, node_id=NODE, log_path=f"{self._log}_{one.replica_id}.log") for one in self.starting
        ]

    def bury(self) -> None:
        """What stopped is gone."""
        self.dead = [*self.dead, *(replace(one, state="STOPPED") for one in self.stopping)][-MOST_DEAD:]
        self.stopping = []

    def run(self) -> None:
        """Those that start have started."""
        self.fresh += [
            Alive(replica=replace(one, state="RUNNING"), code=self._version, user_config=self._user_config)
            for one in self.starting
        ]
        self.starting = []

    def fail(self, error: str) -> None:
        """Those that start have failed. While there are tries left, others start."""
        self.failures += len(self.starting)
        self.stopping += [replace(one, state="STOPPING") for one in self.starting]
        left = self.budget - self.failures
        if left > 0:
            self.message = behaviour.retrying(left, error)
            self.starting = [self._make() for _ in self.starting]
        else:
            self.message = behaviour.failed_start(error, self.budget)
            self.starting = []
            self.bury()

    def lose(self, victim: Alive) -> None:
        """A replica that ran has died."""
        self.fresh.remove(victim)
        self.stopping.append(victim.replica)
        self.bury()

    def seen(self, status: str, trigger: str) -> Deployment:
        """What a GET shows of it."""
        stopping = [replace(one, state="STOPPING") for one in self.stopping]
        return Deployment(
            name=self.name,
            status=status,
            status_trigger=trigger,
            message=self.message,
            target_replicas=self.target,
            replicas=(*stopping, *(one.replica for one in self.alive), *self.starting),
            dead=tuple(self.dead),
            effective=self.effective,
        )

    def on_its_way(self) -> Deployment:
        """The same in a rollout that goes on."""
        if self.is_done:
            return self.seen("HEALTHY", "CONFIG_UPDATE_COMPLETED")
        return self.seen("UPDATING", "CONFIG_UPDATE_STARTED")
