"""One row on a real cluster: the good release live and under load, the fault, what followed, and how fast.

Owns the steps that a fault is made of, and the measuring. Must not know the faults. Invariant: what a row
says of the cluster was read from Serve and from the answers to the load, not from what the daemon believes;
what it says of the daemon was read from its record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import requests

from deployer.core.events import Failed, FailureClass, Resubmitted
from tests.e2e.matrix.configs import APP, PREFIX, application, policy
from tests.e2e.matrix.watch import Watch
from tests.e2e.site import Site
from tests.support.eventually import eventually
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.matrix.own_head import OwnHead
    from tests.support.ray_head import ServeHead

ENDS_SECONDS = 300.0
"""For the daemon to be at the end of the row. The slowest (pip, twice) takes 115 s on an idle machine."""

QUIET_SECONDS = 3.0
"""Under load after the end: so that a request lost late, or a rollout too many, is seen."""

QUICK_QUIET_SECONDS = 1.0
"""The same in `make test`. The load waits for its last answers in any case."""


class Outcome(StrEnum):
    """What the daemon makes of it, in the words of the table."""

    ROLLED_BACK = "rolled back, held"
    RETRIED = "tried twice, rolled back, held"
    PUT_BACK = "put back, not held"
    SUPERSEDED = "superseded by the fix"
    SENT_AGAIN = "sent again, good"
    HEALED = "healed"
    RESTORED = "restored"
    WAITED = "waited, then good"
    LEFT_ALONE = "nothing done"


ROLLOUTS: dict[Outcome, tuple[str, ...]] = {
    Outcome.ROLLED_BACK: ("deploy failed", "rollback good"),
    Outcome.RETRIED: ("deploy failed", "rollback good"),
    Outcome.PUT_BACK: ("deploy failed", "rollback good"),
    Outcome.SUPERSEDED: ("deploy superseded", "deploy good"),
    Outcome.SENT_AGAIN: ("deploy good",),
    Outcome.HEALED: ("heal good",),
    Outcome.RESTORED: ("restore good",),
    Outcome.WAITED: ("deploy good",),
    Outcome.LEFT_ALONE: (),
}
"""What is in the history after the good release, oldest first."""

HOLDS = frozenset({Outcome.ROLLED_BACK, Outcome.RETRIED})
"""Where the digest that failed is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row.

    `provoke` brings it about on a scene where the good release is live and under load. `may_lose`: so many
    requests; None is any number, where the proxy itself goes. `says` is a part of the failure's one line, and
    not empty where something fails. `quick`: in `make test`, which has some of the others as stories; all are
    in `make matrix`, on a head that a row may kill.
    """

    id: str
    how: str
    provoke: Callable[[Scene], None]
    outcome: Outcome
    failure: FailureClass | None = None
    says: str = ""
    policy: str = policy()
    may_lose: int | None = 0
    quick: bool = False

    def __post_init__(self) -> None:
        """Refuse a row whose failure may say anything."""
        if bool(self.says) is not (self.failure is not None):
            message = f"{self.id}: a row has a failure and what it says, or neither"
            raise ValueError(message)


@dataclass(kw_only=True)
class Row:
    """What was seen of a fault. Seconds count from when it was brought about."""

    fault: Fault
    seen_class: str = "-"
    rollouts: tuple[str, ...] = ()
    failed_after: float | None = None
    whole_after: float | None = None
    recorded_after: float | None = None
    sent: int = 0
    failed: int = 0
    worst_seconds: float = 0.0
    message: str = ""
    problems: list[str] = field(default_factory=list)


class Scene:
    """A site on a cluster, the load on it, and the watch beside it."""

    def __init__(self, fault: Fault, head: ServeHead, root: Path, own: OwnHead | None = None) -> None:
        """Start nothing yet. `own` is the head itself, where the row may kill it."""
        self.fault = fault
        self.head = head
        self.own = own
        self.site = Site(root=root, address=head.address)
        self.site.push_file("environment.yaml", fault.policy, "how a rollout is judged")
        self.bad = ""
        self.wanted = ""
        self.started_at = 0.0
        self._quiet_seconds = QUIET_SECONDS if own else QUICK_QUIET_SECONDS
        self._watch = Watch(own.direct if own else head.address, [application()])

    # --- the steps of a fault ------------------------------------------------------------------------

    def push_bad(self, *apps: dict[str, Any]) -> None:
        """Push what must not become live."""
        self.bad = self.site.push(self._config(*apps), "break it")

    def push_fix(self, *apps: dict[str, Any]) -> None:
        """Push what must become live."""
        self._watch.goal = list(apps)
        self.wanted = self.site.push(self._config(*apps), "make it better")

    def put_by_hand(self, *apps: dict[str, Any]) -> None:
        """PUT these applications past the daemon. In `make test` it is asked to look at once."""
        url = f"{self.head.address}/api/serve/applications/"
        requests.put(url, json={"applications": list(apps)}, timeout=60).raise_for_status()
        if self.own is None:
            asked = self.site.command("sync", "staging")
            assert asked.returncode == 0, asked.stderr

    def until_stuck(self) -> None:
        """Wait until a replica of the new release is on its way, and an old one has gone for it."""

        def observe() -> bool:
            answer = requests.get(self._watch.url, timeout=10).json()
            deployments = answer["applications"][APP]["deployments"].values()
            states = [replica["state"] for one in deployments for replica in one["replicas"]]
            assert sorted(states) == ["RUNNING", "STARTING"], states
            return True

        eventually(observe, within=30, every=0.1, what="the rollout is stuck")

    def until_blind(self) -> None:
        """Wait until the daemon has noticed that it does not see the cluster."""
        eventually(lambda: self.site.look()["sync"] == "Unknown", within=60, every=0.1, what="it is blind")

    def until_looked_at(self) -> None:
        """Wait until the daemon has looked at the cluster as it is from now on, whatever it saw."""
        now = datetime.now(UTC)

        def observe() -> bool:
            at = self.site.looked_at()
            assert at > now, f"the last look was at {at:%H:%M:%S.%f}, this was at {now:%H:%M:%S.%f}"
            return True

        eventually(observe, within=60, every=0.1, what="the daemon has looked since")

    def until_seen_again(self) -> None:
        """Wait until the daemon sees the cluster, and everything on it as it should be."""

        def observe() -> bool:
            state = self.site.look()
            assert (state["sync"], state["health"]) == ("Synced", "Healthy"), state["message"]
            return True

        eventually(observe, within=60, every=0.1, what="the daemon sees it again")

    def cut_off(self) -> None:
        """Cut the connection between the daemon and the cluster."""
        self._own().wire.cut()

    def mend(self) -> None:
        """Mend it."""
        self._own().wire.mend()

    def kill_controller(self) -> None:
        """Kill Serve's controller."""
        self._own().kill_controller()

    def kill_dashboard(self) -> None:
        """Kill the dashboard."""
        self._own().kill_dashboard()

    def start_dashboard(self) -> None:
        """Start the dashboard again."""
        self._own().start_dashboard()

    def restart_head(self) -> None:
        """Put another head in the place of this one; time begins when it answers."""
        own = self._own()
        own.restart()
        self._watch.url = f"{own.direct}/api/serve/applications/"
        self.started_at = time.monotonic()

    # --- the row -------------------------------------------------------------------------------------

    def run(self) -> Row:
        """Bring the fault about and measure what follows. `problems` says what differs from the catalogue."""
        row = Row(fault=self.fault)
        self.wanted = self.site.push(self._config(application()), "the good release")
        self.site.start()
        try:
            self.site.until_live(self.wanted)
            with Load(self.head.http + PREFIX) as load, self._watch:
                load.go_on(self._quiet_seconds)
                self.started_at = time.monotonic()
                try:
                    self.fault.provoke(self)
                    self._until_the_end()
                except (AssertionError, requests.RequestException) as error:
                    row.problems.append(str(error))
                # Under load, with nothing to wait for.
                load.go_on(self._quiet_seconds)
        finally:
            self.site.stop()
        row.sent, row.failed, row.worst_seconds = load.sent, len(load.failed), load.worst_seconds
        self._read(row)
        row.problems += list(self._differences(row, load))
        return row

    def _until_the_end(self) -> None:
        expected = list(ROLLOUTS[self.fault.outcome])

        def observe() -> bool:
            found = self._rollouts()
            assert found == expected, (found, self.site.look()["message"])
            assert self.site.look()["rollout"] is None, self.site.look()["message"]
            assert self._watch.whole_since is not None, "the cluster is not whole"
            return True

        eventually(observe, within=ENDS_SECONDS, every=0.1, what=f"{self.fault.id}: {expected}")

    def _rollouts(self) -> list[str]:
        """What came after the good release, oldest first."""
        return [f"{entry['kind']} {entry['result']}" for entry in reversed(self.site.rollouts()[:-1])]

    def _read(self, row: Row) -> None:
        row.rollouts = tuple(self._rollouts())
        failures = [event for event in self.site.facts() if isinstance(event, Failed)]
        if failures:
            failure = failures[0].failure
            row.seen_class, row.message = failure.failure_class.value, failure.message
            row.failed_after = self._after(failures[0].at)
        whole = self._watch.whole_since
        if whole is not None:
            row.whole_after = max(0.0, whole - self.started_at)
        newest = self.site.rollouts()[0]
        if row.rollouts and newest["finished_at"]:
            row.recorded_after = self._after(datetime.fromisoformat(newest["finished_at"]))

    def _after(self, at: datetime) -> float:
        """From the beginning to this wall time, in seconds."""
        ago = (datetime.now(UTC) - at).total_seconds()
        return time.monotonic() - ago - self.started_at

    def _differences(self, row: Row, load: Load) -> Iterator[str]:
        fault, state = self.fault, self.site.look()
        expected = fault.failure.value if fault.failure else "-"
        if row.seen_class != expected:
            yield f"class {row.seen_class} instead of {expected}: {row.message}"
        if fault.says not in row.message:
            yield f"the failure does not say {fault.says!r}, but {row.message!r}"
        if row.rollouts != ROLLOUTS[fault.outcome]:
            yield f"rollouts {row.rollouts} instead of {ROLLOUTS[fault.outcome]}"
        held = [hold["revision"] for hold in state["held"]]
        if held != ([self.bad] if fault.outcome in HOLDS else []):
            yield f"held {held}"
        if state["live"] is None or state["live"]["revision"] != self.wanted:
            yield f"live is {state['live']} instead of {self.wanted}"
        again = [event.is_retry for event in self.site.facts() if isinstance(event, Resubmitted)]
        if again != {Outcome.RETRIED: [True], Outcome.SENT_AGAIN: [False]}.get(fault.outcome, []):
            yield f"sent again: {again}"
        if row.whole_after is None:
            yield "the cluster is not whole at the end"
        if fault.may_lose is not None and len(load.failed) > fault.may_lose:
            yield f"{len(load.failed)} of {load.sent} requests failed: {load.failed[:3]}"

    def _config(self, *apps: dict[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = {"applications": list(apps)}
        if self.own is not None:
            # The next head must have its proxy at the same port.
            config["proxy_location"] = "HeadOnly"
            config["http_options"] = {"host": "127.0.0.1", "port": self.own.http_port}
        return config

    def _own(self) -> OwnHead:
        assert self.own is not None, "this row needs a head of its own"
        return self.own
