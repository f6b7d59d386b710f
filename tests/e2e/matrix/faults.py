"""The catalogue: how a rollout or its cluster can fail, how it is brought about, and what must follow.

Owns the list. Must not know how a row is run or measured. Invariant: a row says its whole expectation: the
class of the failure, every rollout that follows, what is held, and how many requests may be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.core.events import FailureClass
from tests.e2e.matrix.configs import CLOSED, application, better, fault, pip, policy
from tests.e2e.matrix.scene import Fault, Outcome, Scene

if TYPE_CHECKING:
    from collections.abc import Callable


def push(**changes: Any) -> Callable[[Scene], None]:
    """Push the good application with these changes."""
    return lambda scene: scene.push_bad(application(**changes))


def _superseded(scene: Scene) -> None:
    scene.push_bad(application(args=fault("slow")))
    scene.until_stuck()
    scene.push_fix(better())


def _deleted_while_deploying(scene: Scene) -> None:
    scene.push_fix(better())
    scene.site.until_in_flight("deploy")
    scene.put_by_hand()


def _half_applied(scene: Scene) -> None:
    first = application("another", args={"fault": "none", "release": "half"})
    scene.push_bad(first, application(runtime_env={"pip": "/nowhere/requirements.txt"}))


def _controller_killed(scene: Scene) -> None:
    scene.push_fix(better())
    scene.site.until_in_flight("deploy")
    scene.kill_controller()


def _controller_killed_at_rest(scene: Scene) -> None:
    scene.kill_controller()
    scene.until_looked_at()
    scene.until_seen_again()


def _edited_by_hand(scene: Scene) -> None:
    scene.put_by_hand(application(args={"fault": "none", "release": "by hand"}))


def _scaled_by_hand(scene: Scene) -> None:
    scene.put_by_hand(application(replicas=1))


def _head_restarted(scene: Scene) -> None:
    scene.restart_head()


def _dashboard_killed(scene: Scene) -> None:
    scene.kill_dashboard()
    scene.until_blind()
    scene.start_dashboard()
    scene.until_seen_again()


def _cut_off(scene: Scene) -> None:
    scene.push_fix(better())
    scene.site.until_in_flight("deploy")
    scene.cut_off()
    scene.until_blind()
    scene.mend()


FLAPPED = "was UNHEALTHY after it had started well"

FAULTS: tuple[Fault, ...] = (
    Fault(
        id="import error",
        how="push an `import_path` whose module imports what is not installed",
        provoke=push(import_path="import_error:app"),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CONFIG,
        says="ModuleNotFoundError: No module named 'a_module_that_nobody_installed'",
    ),
    Fault(
        id="unknown deployment",
        how="push a deployment name that the application does not have",
        provoke=push(deployment={"name": "Dee"}),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CONFIG,
        says="Deployment 'Dee' does not exist",
    ),
    Fault(
        id="constructor raises",
        how="push `args` with which the constructor raises",
        provoke=push(args=fault("raise")),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CODE,
        says="FileNotFoundError: no model file at models/fruit.bin",
    ),
    Fault(
        id="constructor exits",
        how="the constructor calls `os._exit(1)`",
        provoke=push(args=fault("exit")),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CODE,
        says="ActorDiedError",
    ),
    Fault(
        id="reconfigure raises",
        how="push a `user_config` with which `reconfigure` raises",
        provoke=push(deployment={"user_config": {"fail": True}}),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CODE,
        says="ValueError: cannot use {'fail': True}",
    ),
    Fault(
        id="health check fails at start",
        how="`check_health` raises from the first time on",
        provoke=push(args=fault("sick")),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CODE,
        says="RuntimeError: the model does not answer",
    ),
    Fault(
        id="health check fails later",
        how="`check_health` raises from 2 s after the start on; window 10 s",
        provoke=push(args=fault("sick_later")),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.FLAPPING,
        says=FLAPPED,
        policy=policy(window="10s"),
        quick=True,
    ),
    Fault(
        id="crash loop",
        how="every process exits 4 s after its start; window 10 s",
        provoke=push(args=fault("crash_later")),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.FLAPPING,
        says=FLAPPED,
        policy=policy(window="10s"),
        # A request that is in the process when it exits gets a 500, and nobody can prevent that.
        may_lose=2,
    ),
    Fault(
        id="not schedulable",
        how="push a resource that no node has; schedule deadline 5 s",
        provoke=push(deployment={"ray_actor_options": {"num_cpus": 0, "resources": {"unobtainium": 1}}}),
        outcome=Outcome.PUT_BACK,
        failure=FailureClass.CAPACITY,
        says="no room for a replica within 5s",
        policy=policy(schedule="5s"),
        quick=True,
    ),
    Fault(
        id="runtime_env: pip",
        how="push a pip package, from an index on a closed port",
        provoke=push(runtime_env=pip("no-such-package")),
        outcome=Outcome.RETRIED,
        failure=FailureClass.RUNTIME_ENV,
        says="ERROR: No matching distribution found for no-such-package",
    ),
    Fault(
        id="runtime_env: URI",
        how="push a `working_dir` on a closed port",
        provoke=push(runtime_env={"working_dir": f"https://{CLOSED}/code.zip"}),
        outcome=Outcome.RETRIED,
        failure=FailureClass.RUNTIME_ENV,
        says="requests.exceptions.ConnectionError: HTTPSConnectionPool(host='127.0.0.1', port=9)",
    ),
    Fault(
        id="slow constructor",
        how="the constructor takes 10 minutes; start deadline 6 s",
        provoke=push(args=fault("slow")),
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.DEADLINE,
        says="not healthy within 6s (start)",
        policy=policy(start="6s"),
    ),
    Fault(
        id="half-applied 400",
        how="push a second application with a pip file that the head lacks; Serve has begun with the first",
        provoke=_half_applied,
        outcome=Outcome.ROLLED_BACK,
        failure=FailureClass.CONFIG,
        says="/nowhere/requirements.txt is not a valid file",
        quick=True,
    ),
    Fault(
        id="superseded",
        how="push the fix while the constructor of the release before hangs",
        provoke=_superseded,
        outcome=Outcome.SUPERSEDED,
    ),
    Fault(
        id="deleted while deploying",
        how="push a good release; somebody PUTs an empty list during its rollout",
        provoke=_deleted_while_deploying,
        outcome=Outcome.SENT_AGAIN,
        may_lose=None,
    ),
    Fault(
        id="edited by hand",
        how="somebody PUTs other `args`",
        provoke=_edited_by_hand,
        outcome=Outcome.HEALED,
    ),
    Fault(
        id="scaled by hand",
        how="somebody PUTs one replica instead of two",
        provoke=_scaled_by_hand,
        outcome=Outcome.HEALED,
    ),
    Fault(
        id="deleted by hand",
        how="somebody PUTs an empty list",
        provoke=lambda scene: scene.put_by_hand(),
        outcome=Outcome.RESTORED,
        may_lose=None,
    ),
    Fault(
        id="out of sight",
        how="the connection to the cluster is cut during a good rollout, and mended",
        provoke=_cut_off,
        outcome=Outcome.WAITED,
    ),
    Fault(
        id="controller killed in a rollout",
        how="SIGKILL to Serve's controller while a good release rolls out",
        provoke=_controller_killed,
        outcome=Outcome.WAITED,
    ),
    Fault(
        id="controller killed at rest",
        how="SIGKILL to Serve's controller while nothing happens",
        provoke=_controller_killed_at_rest,
        outcome=Outcome.LEFT_ALONE,
    ),
    Fault(
        id="dashboard killed",
        how="SIGKILL to the dashboard, and start it again when the daemon has said that it is blind",
        provoke=_dashboard_killed,
        outcome=Outcome.LEFT_ALONE,
    ),
    Fault(
        id="head stopped and started",
        how="the whole Ray head is stopped, and another one is started at its address; timed from then on",
        provoke=_head_restarted,
        outcome=Outcome.RESTORED,
        may_lose=None,
    ),
)
"""In the order of the table."""
