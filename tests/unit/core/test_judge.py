"""Serve's statuses, read as Serve means them. Messages and sequences are those of Ray 2.60."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deployer.core.events import FailureClass, Kind, LogSource, Resubmitted, State
from deployer.core.judge import (
    Failing,
    Phase,
    Progressing,
    Settled,
    Sighting,
    Verdict,
    cause,
    failed_starts,
    judge,
    see,
    stability_window,
)
from deployer.core.live import App, Deployment, Replica
from deployer.core.record import Rollout, evolve
from deployer.core.scrub import plain
from deployer.core.types import Policy
from tests.support.build import (
    app,
    applied,
    at,
    deployment,
    live,
    observed,
    record_of,
    release,
    started,
)

SAID = json.loads((Path(__file__).parents[2] / "support" / "serve_messages.json").read_text())
RETRYING = "A replica failed to start with exception. Retrying {} more time(s). Error:\n"
CONSTRUCTOR = (
    RETRYING
    + "ray::ServeReplica:fruit:D.initialize_and_get_metadata() (pid=5059, ip=127.0.0.1)\n"
    + '  File "fruit.py", line 39, in __init__\n'
    + "    raise FileNotFoundError(message)\n"
    + "FileNotFoundError: no model file at models/fruit.bin"
)
PIP = (
    RETRYING
    + "Exception when allocating Replica(id='5ihuv87t', deployment='D', app='fruit'):"
    + " Failed to set up runtime environment.\n"
    + "Could not create the actor because its associated runtime env failed to be created.\n"
    + "[Node 127.0.0.1] Traceback (most recent call last):\n"
    + "    WARNING: Location 'file:///simple/torhc/' is ignored: it is neither a file nor a directory.\n"
    + "    ERROR: Could not find a version that satisfies the requirement torhc (from versions: none)\n"
    + "    ERROR: No matching distribution found for torhc\n"
)
SICK = (
    "A replica's health check failed. This deployment will be UNHEALTHY until the replica recovers or a new"
    " deploy happens."
)
NO_ROOM = (
    "Deployment 'D' in application 'fruit' has 1 replicas that have taken more than 30s to be scheduled. This"
    " may be due to waiting for the cluster to auto-scale or for a runtime environment to be installed."
    ' Resources required for each replica: {"unobtainium": 1}, total resources available: {}.'
    " Use `ray status` for more details."
)


def replica(name: str, state: str = "RUNNING", *, node: str | None = "n1", log: str = "") -> Replica:
    """One replica; it has a log once it is placed."""
    return Replica(replica_id=name, state=state, node_id=node, log_path=log or f"serve/{name}.log")


def fruit(status: str, *deployments: Deployment, message: str = "") -> App:
    """The application `fruit`."""
    return app("fruit", status, message=message, deployments=deployments)


def updating(*replicas: Replica, message: str = "", target: int = 2, **more: Any) -> Deployment:
    """A deployment in the middle of a rolling update."""
    return deployment(
        status="UPDATING",
        status_trigger="CONFIG_UPDATE_STARTED",
        replicas=replicas,
        message=message,
        target=target,
        **more,
    )


def healthy(*names: str, trigger: str = "CONFIG_UPDATE_COMPLETED") -> Deployment:
    """A deployment with these replicas, all RUNNING."""
    return deployment(
        status_trigger=trigger, replicas=tuple(replica(name) for name in names), target=len(names)
    )


def unhealthy(*replicas: Replica, **more: Any) -> Deployment:
    """A deployment whose health check failed."""
    values = {"status_trigger": "HEALTH_CHECK_FAILED", "message": SICK, "target": 2, **more}
    return deployment(status="UNHEALTHY", replicas=replicas, **values)


def rollout_of(
    *apps: str | dict[str, Any], policy: Policy | None = None, kind: Kind = Kind.DEPLOY, **more: Any
) -> Rollout:
    """A rollout of these applications, applied at second 1."""
    what = release("x", *(apps or ("fruit",)))
    record = record_of(started(what, kind=kind, policy=policy or Policy(), **more), applied())
    assert record.rollout is not None
    return record.rollout


class Watch:
    """A rollout that is looked at again and again, as the policy does."""

    def __init__(self, **more: Any) -> None:
        """Begin with a rollout whose PUT was taken at second 1."""
        self.record = record_of(started(release("x", "fruit"), **more), applied())

    @property
    def rollout(self) -> Rollout:
        """It is in flight."""
        assert self.record.rollout is not None
        return self.record.rollout

    def look(self, second: float, one: App, *, serving: bool = True) -> Verdict:
        """Note what is seen, as often as it changes by being noted, and judge it."""
        cluster = live(one)
        for _ in range(3):
            sighting = see(cluster, self.rollout)
            self.record = evolve(
                self.record,
                observed(second=second, states=sighting.states, settled=sighting.settled, sick=sighting.sick),
            )
        return judge(cluster, self.rollout, see(cluster, self.rollout), at(second), serving=serving)


def verdict(*apps: App, rollout: Rollout | None = None, second: float = 40, serving: bool = True) -> Verdict:
    """Judge one look at these applications, long after the PUT."""
    known = rollout or rollout_of(*(one.name for one in apps))
    cluster = live(*apps)
    return judge(cluster, known, see(cluster, known), at(second), serving=serving)


def failing(result: Verdict, failure_class: FailureClass, message: str) -> Failing:
    """It fails so."""
    assert isinstance(result, Failing), result
    assert (result.failure.failure_class, result.failure.message) == (failure_class, message)
    return result


def recorded(name: str) -> App:
    """What Ray 2.60 really said, as an observation of `fruit`."""
    kind = "failures" if name in SAID["failures"] else "warnings"
    said = SAID[kind][name]
    deployments = [
        deployment(
            each["name"],
            each["status"],
            status_trigger=each["status_trigger"],
            message=plain(each["message"]),
            target=1,
            replicas=tuple(
                replica(f"r{number}", one["state"], node="n1" if one["has_node_id_key"] else None)
                for number, one in enumerate(each["replicas"])
            ),
        )
        for each in said["deployments"]
    ]
    return fruit(said["status"], *deployments, message=plain(said["message"]))


class TestRecorded:
    """The messages that a real Ray gave."""

    @pytest.mark.parametrize(
        ("name", "failure_class", "begins", "ends"),
        [
            ("import_error", FailureClass.CONFIG, "fruit: ModuleNotFoundError: ", ""),
            ("attribute_missing", FailureClass.CONFIG, "fruit: AttributeError: ", ""),
            ("builder_raises", FailureClass.CONFIG, "fruit: ValueError: ", ""),
            ("unknown_deployment", FailureClass.CONFIG, "fruit: ValueError: Deployment 'Nobody' ", "['D']"),
            ("unknown_deployment_rebuilt", FailureClass.CONFIG, "fruit: ValueError: Deployment ", "['D']"),
            ("working_dir_unreachable", FailureClass.RUNTIME_ENV, "fruit: ", ""),
            ("constructor_raises", FailureClass.CODE, "fruit / D: FileNotFoundError: ", ""),
            ("reconfigure_raises", FailureClass.CODE, "fruit / D: ValueError: ", ""),
        ],
    )
    def test_each_fault_has_its_class(
        self, name: str, failure_class: FailureClass, begins: str, ends: str
    ) -> None:
        """And one line that says why; the whole text is the evidence."""
        result = verdict(recorded(name))

        assert isinstance(result, Failing)
        assert result.failure.failure_class is failure_class
        assert result.failure.message.startswith(begins)
        assert result.failure.message.endswith(ends)
        assert len(result.failure.message) < 320
        assert len(result.failure.detail) > len(result.failure.message)
        assert result.may_retry == (name == "working_dir_unreachable")

    def test_the_first_failed_start_is_seen_at_once(self) -> None:
        """Long before Serve gives up."""
        result = verdict(recorded("retrying"))

        assert isinstance(result, Failing)
        assert result.failure.failure_class is FailureClass.CODE
        assert result.failure.message.startswith("fruit / D: FileNotFoundError: ")

    @pytest.mark.parametrize(("name", "phase"), [("slow_start", Phase.START), ("no_room", Phase.SCHEDULE)])
    def test_what_serve_waits_for_without_end(self, name: str, phase: Phase) -> None:
        """Neither ever becomes DEPLOY_FAILED: only a deadline ends it."""
        result = verdict(recorded(name))

        assert isinstance(result, Progressing)
        assert (result.phase, result.text) == (phase, "fruit DEPLOYING: D 0/1 UPDATING")


class TestSettled:
    """RUNNING and HEALTHY and complete."""

    @pytest.mark.parametrize(
        "one",
        [
            fruit("RUNNING", healthy("r1")),
            fruit("RUNNING", healthy("r1", "r2", "r3"), deployment("E", running=0, target=0)),
            fruit("RUNNING", deployment(running=2, target=None)),
        ],
        ids=["plain", "scaled to zero", "no target (Ray 2.9.3)"],
    )
    def test_settled(self, one: App) -> None:
        """The application serves as wanted."""
        assert verdict(one, app("b")) == Settled()

    def test_other_applications_do_not_count(self) -> None:
        """Only the release's own are judged."""
        cluster = live(app("fruit"), app("theirs", "DEPLOY_FAILED"))
        rollout = rollout_of()

        assert judge(cluster, rollout, see(cluster, rollout), at(9), serving=True) == Settled()

    def test_no_applications_are_settled(self) -> None:
        """There is nothing to wait for."""
        what = replace(release("x"), config=release("y", {"name": "y"}).config)
        rollout = replace(
            rollout_of(), release=replace(what, config=replace(what.config, text='{"applications":[]}'))
        )

        assert see(live(), rollout) == Sighting(states=(), settled=True, sick=False, phase=None, text="")

    @pytest.mark.parametrize("status", ["UPSCALING", "DOWNSCALING"])
    def test_autoscaling_is_fine_once_it_was_settled(self, status: str) -> None:
        """Before that it is Serve's false RUNNING: no new replica has started yet."""
        scaling = fruit(
            "RUNNING", deployment(status=status, status_trigger="AUTOSCALING", running=1, target=2)
        )
        watch = Watch()
        assert watch.look(3, scaling) == Progressing(phase=Phase.START, text=f"fruit RUNNING: D 1/2 {status}")
        assert watch.look(4, fruit("RUNNING", healthy("r1"))) == Settled()
        assert watch.look(5, scaling) == Settled()

    def test_an_old_replica_that_is_left_keeps_it_unsettled(self) -> None:
        """It serves the code that should be gone."""
        rollout = rollout_of(leaving=("old",))

        assert isinstance(verdict(fruit("RUNNING", healthy("old", "new")), rollout=rollout), Progressing)
        assert verdict(fruit("RUNNING", healthy("newer", "new")), rollout=rollout) == Settled()


class TestProgressing:
    """Not there yet, and in which phase."""

    @pytest.mark.parametrize(
        ("one", "phase", "text"),
        [
            (fruit("DEPLOYING"), Phase.BUILD, "fruit DEPLOYING"),
            (fruit("RUNNING"), Phase.BUILD, "fruit RUNNING"),
            (
                fruit("DEPLOYING", updating(replica("r1"), replica("r2", "STARTING", node=None))),
                Phase.SCHEDULE,
                "fruit DEPLOYING: D 1/2 UPDATING",
            ),
            (
                fruit("DEPLOYING", updating(replica("r1"), replica("r2", "STARTING"))),
                Phase.START,
                "fruit DEPLOYING: D 1/2 UPDATING",
            ),
            (
                fruit("RUNNING", deployment(running=1, target=2)),
                Phase.START,
                "fruit RUNNING: D 1/2 HEALTHY",
            ),
            (fruit("UNHEALTHY", healthy("r1")), Phase.START, "fruit UNHEALTHY: D 1/1 HEALTHY"),
            (fruit("PONDERING", healthy("r1")), Phase.START, "fruit PONDERING: D 1/1 HEALTHY"),
        ],
        ids=["build", "vacuously running", "schedule", "start", "incomplete", "unhealthy", "unknown"],
    )
    def test_progressing(self, one: App, phase: Phase, text: str) -> None:
        """RUNNING alone is not proof, and empty deployments are not healthy ones."""
        assert verdict(one, app("b")) == Progressing(phase=phase, text=text)

    def test_the_earliest_phase_counts(self) -> None:
        """An application that still builds sets the deadline; both are named."""
        starting, building = fruit("DEPLOYING", updating()), app("math", "DEPLOYING", deployments=())

        assert verdict(starting, building) == Progressing(
            phase=Phase.BUILD, text="fruit DEPLOYING: D 0/2 UPDATING; math DEPLOYING"
        )

    def test_an_old_verdict_of_a_deployment_proves_nothing_while_it_deploys(self) -> None:
        """For one tick after a PUT the deployments show what came of the one before."""
        old = deployment(status="DEPLOY_FAILED", message=CONSTRUCTOR.format(0))
        rollout = rollout_of(starting={"fruit/D": 0})

        assert isinstance(verdict(fruit("DEPLOYING", old), rollout=rollout, second=1.5), Progressing)


class TestFailFast:
    """A start that failed is visible long before Serve gives up."""

    @pytest.mark.parametrize(
        ("given", "serving", "left", "ends"),
        [
            (None, True, 5, True),
            (None, False, 5, False),
            (None, False, 4, True),
            (3, True, 4, False),
            (3, True, 3, True),
            (0, True, 1, False),
        ],
        ids=[
            "default where a good release serves",
            "default on a first deploy: one is forgiven",
            "default on a first deploy: two are not",
            "as the policy says: not yet",
            "as the policy says",
            "off",
        ],
    )
    def test_after_so_many_failed_starts(
        self, given: int | None, serving: bool, left: int, ends: bool
    ) -> None:
        """Two replicas may fail six times in all: "Retrying 5 more" is the first."""
        rollout = rollout_of(policy=Policy(fail_fast_after=given))
        starting = fruit("DEPLOYING", updating(replica("old"), message=CONSTRUCTOR.format(left)))
        result = verdict(starting, rollout=rollout, serving=serving)

        if ends:
            failing(
                result, FailureClass.CODE, "fruit / D: FileNotFoundError: no model file at models/fruit.bin"
            )
        else:
            assert isinstance(result, Progressing)

    def test_failures_of_replicas_from_before_do_not_count(self) -> None:
        """What was starting before the PUT fails with the old error; Serve counts it as the new version's."""
        rollout = replace(rollout_of(), starting={"fruit/D": 2})
        message = fruit("DEPLOYING", updating(replica("old"), message=CONSTRUCTOR.format(4)))
        own = fruit("DEPLOYING", updating(replica("old"), message=CONSTRUCTOR.format(3)))

        assert isinstance(verdict(message, rollout=rollout), Progressing)
        failing(
            verdict(own, rollout=rollout),
            FailureClass.CODE,
            "fruit / D: FileNotFoundError: no model file at models/fruit.bin",
        )

    def test_a_runtime_environment_has_one_more(self) -> None:
        """It depends on the network: Serve's own next try is its retry. No replica wrote a log."""
        one, two = (
            fruit("DEPLOYING", updating(replica("old", "STOPPING"), message=PIP.format(left)))
            for left in (5, 4)
        )
        assert isinstance(verdict(one), Progressing)

        result = failing(
            verdict(two),
            FailureClass.RUNTIME_ENV,
            "fruit / D: ERROR: No matching distribution found for torhc",
        )
        assert (result.may_retry, result.failure.log) == (False, None)

    def test_not_before_the_status_can_be_ours(self) -> None:
        """Where starts failed before the PUT too, a message within a second of it may be about those."""
        starting = fruit("DEPLOYING", updating(message=CONSTRUCTOR.format(5)))
        troubled = rollout_of(starting={"fruit/D": 0})

        assert isinstance(verdict(starting, rollout=troubled, second=1.9), Progressing)
        assert isinstance(verdict(starting, rollout=troubled, second=2.0), Failing)
        assert isinstance(verdict(starting, second=1.1), Failing)

    @pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RESTORE, Kind.HEAL])
    def test_only_a_deploy(self, kind: Kind) -> None:
        """What is brought back has proved itself: to give up on it would help nobody."""
        rollout = rollout_of(kind=kind)

        assert isinstance(
            verdict(fruit("DEPLOYING", updating(message=CONSTRUCTOR.format(1))), rollout=rollout), Progressing
        )

    @pytest.mark.parametrize(
        ("message", "target", "starts"),
        [
            ("", 2, 0),
            (NO_ROOM, 2, 0),
            (RETRYING.format(5), 2, 1),
            (RETRYING.format(1), 2, 5),
            (RETRYING.format(19), 7, 1),
            (RETRYING.format(19), 60, 1),
            (RETRYING.format(2), None, 1),
            (RETRYING.format(9), 2, 1),
        ],
        ids=["no message", "another", "first", "fifth", "seven", "sixty", "no target", "a larger budget"],
    )
    def test_failed_starts_are_counted_from_what_is_left(
        self, message: str, target: int | None, starts: int
    ) -> None:
        """Serve counts down the smaller of 20 and three per replica."""
        assert failed_starts(deployment(message=message, target=target, running=1)) == starts


class TestFailing:
    """Serve gave up, and where it says why."""

    @pytest.mark.parametrize("status", ["DEPLOY_FAILED", "UNHEALTHY"])
    def test_a_start_failure(self, status: str) -> None:
        """The deployment's message; the application's only lists names. UNHEALTHY: Ray 2.9 and 2.40."""
        text = "The deployment failed to start 3 times in a row.\n  File y\nValueError: bad price"
        broken = deployment("M", status, status_trigger="REPLICA_STARTUP_FAILED", message=text, running=0)
        result = verdict(fruit("DEPLOY_FAILED", deployment(), broken, message="Failed to update ['M']."))

        assert failing(result, FailureClass.CODE, "fruit / M: ValueError: bad price").failure.detail == text

    def test_the_one_that_serve_gave_up_on_is_to_blame(self) -> None:
        """Not the ingress, which is UNHEALTHY because what it calls does not start."""
        ingress = deployment("A", "UNHEALTHY", message=SICK)
        broken = deployment(
            "M", "DEPLOY_FAILED", status_trigger="REPLICA_STARTUP_FAILED", message="ValueError: bad price"
        )

        failing(
            verdict(fruit("DEPLOY_FAILED", ingress, broken)),
            FailureClass.CODE,
            "fruit / M: ValueError: bad price",
        )

    def test_a_bad_option_with_healthy_deployments(self) -> None:
        """The application's message, while the old deployments are fine."""
        message = "ValueError: Invalid route_prefix '/x/', may not end with a trailing '/'."
        result = verdict(fruit("DEPLOY_FAILED", healthy("r1"), message=message))

        failing(result, FailureClass.CONFIG, f"fruit: {message}")

    def test_no_text_at_all(self) -> None:
        """A broken deployment without a message falls back to the application's."""
        result = verdict(fruit("DEPLOY_FAILED", deployment(status="DEPLOY_FAILED")))

        failing(result, FailureClass.CONFIG, "fruit: Serve gave no reason")

    def test_a_runtime_environment_of_a_deployment(self) -> None:
        """Its own class, but not worth a retry of ours: Serve has tried six times."""
        broken = deployment(
            status="DEPLOY_FAILED", status_trigger="REPLICA_STARTUP_FAILED", message=PIP.format(0), running=0
        )
        result = failing(
            verdict(fruit("DEPLOY_FAILED", broken)),
            FailureClass.RUNTIME_ENV,
            "fruit / D: ERROR: No matching distribution found for torhc",
        )
        assert not result.may_retry

    def test_an_import_error_inside_a_working_environment_is_the_config_s(self) -> None:
        """The word alone does not make it one of a runtime environment."""
        message = "Deploying app 'fruit' failed with exception:\nImportError: no runtime_env here"

        failing(
            verdict(fruit("DEPLOY_FAILED", message=message)),
            FailureClass.CONFIG,
            "fruit: ImportError: no runtime_env here",
        )

    def test_a_process_that_exits_in_its_constructor(self) -> None:
        """The whole error is its name."""
        message = RETRYING.format(5) + "ActorDiedError()"

        failing(
            verdict(fruit("DEPLOYING", updating(message=message))),
            FailureClass.CODE,
            "fruit / D: ActorDiedError()",
        )


class TestMayHeal:
    """DEPLOY_FAILED by a failed health check went back to RUNNING by itself (2.60)."""

    CRASHED = deployment(
        status="DEPLOY_FAILED", status_trigger="HEALTH_CHECK_FAILED", running=1, target=4, message=SICK
    )

    def test_it_is_waited_for(self) -> None:
        """For as long as a spell of UNHEALTHY may last."""
        watch = Watch()
        one = fruit("DEPLOY_FAILED", self.CRASHED)
        assert isinstance(watch.look(10, one), Progressing)
        assert watch.rollout.sick_since == at(10)
        assert isinstance(watch.look(40, one), Progressing)
        assert watch.look(24, fruit("RUNNING", healthy("r1"))) == Settled()

    def test_not_for_ever(self) -> None:
        """Then it is flapping."""
        watch = Watch()
        one = fruit("DEPLOY_FAILED", self.CRASHED)
        watch.look(10, one)

        failing(
            watch.look(40.1, one), FailureClass.FLAPPING, f"fruit / D was UNHEALTHY while it started: {SICK}"
        )

    def test_the_other_trigger_is_final(self) -> None:
        """A start that failed beside it ends the wait."""
        other = deployment("E", "DEPLOY_FAILED", status_trigger="REPLICA_STARTUP_FAILED", message="x")

        assert isinstance(verdict(fruit("DEPLOY_FAILED", self.CRASHED, other)), Failing)


class TestFlapping:
    """UNHEALTHY inside the stability window or the soak."""

    def test_seen_unhealthy(self) -> None:
        """As a health check that begins to fail 3 s after the start was seen."""
        watch = Watch()
        assert watch.look(4.4, fruit("RUNNING", healthy("9bt1", "rnyk"))) == Settled()
        sick = unhealthy(replica("9bt1"), replica("mabo", "STARTING", node=None), replica("rnyk", "STOPPING"))
        result = watch.look(7.7, fruit("UNHEALTHY", sick, message="The deployments ['D'] are UNHEALTHY."))

        failure = failing(
            result, FailureClass.FLAPPING, f"fruit / D was UNHEALTHY after it had started well: {SICK}"
        ).failure
        assert failure.log == LogSource(replica="rnyk", node_id="n1", path="serve/rnyk.log")
        assert failure.detail == SICK

    def test_recovered_between_two_looks(self) -> None:
        """HEALTHY/UNSPECIFIED means recovered from UNHEALTHY: nobody saw it, and it counts."""
        watch = Watch()
        watch.look(7.3, fruit("RUNNING", healthy("0wm1", "c0ku")))
        result = watch.look(11.6, fruit("RUNNING", healthy("40es", "c0ku", trigger="UNSPECIFIED")))

        failing(
            result,
            FailureClass.FLAPPING,
            "fruit was UNHEALTHY after it had started well: Serve gave no reason",
        )

    def test_seen_after_the_clock_was_put_back(self) -> None:
        """To before the PUT: what is seen is no verdict of the one before for that."""
        watch = Watch()
        watch.look(7, fruit("RUNNING", healthy("a", "b")))
        result = watch.look(-60, fruit("UNHEALTHY", unhealthy(replica("a"))))

        assert isinstance(result, Failing)
        assert result.failure.failure_class is FailureClass.FLAPPING

    def test_recovered_a_second_time_between_two_looks(self) -> None:
        """The trigger stays, but as many other replicas run."""
        watch = Watch(policy=Policy(max_flaps=1))
        watch.look(7, fruit("RUNNING", healthy("0wm1", "c0ku")))
        recovered = fruit("RUNNING", healthy("40es", "c0ku", trigger="UNSPECIFIED"))
        assert watch.look(11, recovered) == Settled()
        assert watch.look(12, recovered) == Settled()
        result = watch.look(14, fruit("RUNNING", healthy("40es", "sy0c", trigger="UNSPECIFIED")))

        failing(
            result,
            FailureClass.FLAPPING,
            "fruit was UNHEALTHY 2 times after it had started well: Serve gave no reason",
        )

    @pytest.mark.parametrize(
        "after",
        [
            healthy("a", "b", "c", trigger="UNSPECIFIED"),
            deployment("E", status_trigger="UNSPECIFIED", running=2),
            healthy("c", "d"),
        ],
        ids=["another number of replicas", "another deployment", "another trigger"],
    )
    def test_what_is_no_recovery(self, after: Deployment) -> None:
        """Scaled after an old recovery; a deployment that was not seen before; replicas moved."""
        watch = Watch()
        # Settled with the trigger of a recovery from before this rollout.
        trigger = "UNSPECIFIED" if after.status_trigger == "UNSPECIFIED" else "CONFIG_UPDATE_COMPLETED"
        watch.look(7, fruit("RUNNING", healthy("a", "b", trigger=trigger)))

        assert watch.look(8, fruit("RUNNING", after)) == Settled()
        assert watch.rollout.flaps == 0

    def test_recovered_before_it_was_settled_is_no_flap(self) -> None:
        """What happened while it started is over."""
        watch = Watch()
        watch.look(5, fruit("UNHEALTHY", unhealthy(replica("a"))))

        assert watch.look(8, fruit("RUNNING", healthy("a", "b", trigger="UNSPECIFIED"))) == Settled()
        assert watch.rollout.flaps == 0

    def test_what_ran_before_the_last_put_is_no_measure(self) -> None:
        """Somebody else's PUT replaced the replicas, and ours brought them back."""
        watch = Watch()
        watch.look(5, fruit("RUNNING", healthy("a", "b")))
        again = Resubmitted(at=at(6), rollout="staging#1", cause="x")
        watch.record = evolve(evolve(watch.record, again), applied(second=7))
        cluster = live(fruit("RUNNING", healthy("c", "d", trigger="UNSPECIFIED")))

        assert not see(cluster, watch.rollout).sick

    def test_forgiven_up_to_so_many(self) -> None:
        """Healthy spells of 0.2 s make two flaps of what looks like one."""
        watch = Watch(policy=Policy(max_flaps=2))
        well, sick = fruit("RUNNING", healthy("a", "b")), fruit("UNHEALTHY", unhealthy(replica("a")))
        again = fruit("RUNNING", healthy("a", "b", trigger="UNSPECIFIED"))
        watch.look(4.4, well)
        assert isinstance(watch.look(7.65, sick), Progressing)
        assert watch.look(8.89, again) == Settled()
        assert isinstance(watch.look(9.08, sick), Progressing)
        assert watch.look(10.34, again) == Settled()

        failing(
            watch.look(13.52, sick),
            FailureClass.FLAPPING,
            f"fruit / D was UNHEALTHY 3 times after it had started well: {SICK}",
        )

    def test_a_spell_that_lasts(self) -> None:
        """However many flaps are forgiven, one must end within its grace."""
        watch = Watch(policy=Policy(max_flaps=9))
        sick = fruit("UNHEALTHY", unhealthy(replica("a")))
        watch.look(4, fruit("RUNNING", healthy("a", "b")))
        watch.look(10, sick)
        assert isinstance(watch.look(40, sick), Progressing)
        assert isinstance(watch.look(40.1, sick), Failing)

    def test_slower_health_checks_have_a_longer_grace(self) -> None:
        """Three times the period, where that is known only from the code."""
        watch = Watch(policy=Policy(max_flaps=9))
        sick = fruit("UNHEALTHY", unhealthy(replica("a"), effective={"health_check_period_s": 20.0}))
        watch.look(4, fruit("RUNNING", healthy("a", "b")))
        watch.look(10, sick)
        assert isinstance(watch.look(70, sick), Progressing)
        assert isinstance(watch.look(70.1, sick), Failing)

    @pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RESTORE, Kind.HEAL])
    def test_only_a_deploy(self, kind: Kind) -> None:
        """There is nothing to go back to from what is brought back."""
        watch = Watch(kind=kind)
        watch.look(4, fruit("RUNNING", healthy("a", "b")))

        assert isinstance(watch.look(99, fruit("UNHEALTHY", unhealthy(replica("a")))), Progressing)

    def test_an_application_can_be_sick_without_a_deployment_that_says_so(self) -> None:
        """Then it is named alone."""
        watch = Watch()
        watch.look(4, fruit("RUNNING", healthy("a")))

        failing(
            watch.look(5, fruit("UNHEALTHY", healthy("a"), message="x went away")),
            FailureClass.FLAPPING,
            "fruit was UNHEALTHY after it had started well: x went away",
        )


class TestStabilityWindow:
    """How long it must stay settled."""

    @pytest.mark.parametrize(
        ("policy", "config", "code", "kind", "seconds"),
        [
            (Policy(), None, None, Kind.DEPLOY, 30),
            (Policy(), 5, None, Kind.DEPLOY, 30),
            (Policy(), 20, None, Kind.DEPLOY, 60),
            (Policy(), 20, 30.0, Kind.DEPLOY, 90),
            (Policy(), "20", None, Kind.DEPLOY, 30),
            (Policy(stability_window=0), 20, 30.0, Kind.DEPLOY, 0),
            (Policy(stability_window=7), None, None, Kind.DEPLOY, 7),
            (Policy(stability_window=7), None, None, Kind.ROLLBACK, 0),
        ],
        ids=["default", "fast", "in the config", "in the code", "no number", "none", "given", "rollback"],
    )
    def test_window(
        self, policy: Policy, config: object, code: float | None, kind: Kind, seconds: float
    ) -> None:
        """The larger of 30 s and three times the longest health check period of the release."""
        listed = {} if config is None else {"deployments": [{"name": "D", "health_check_period_s": config}]}
        rollout = rollout_of({"name": "fruit", **listed}, policy=policy, kind=kind)
        effective = None if code is None else {"health_check_period_s": code}
        cluster = live(fruit("RUNNING", deployment(effective=effective)))

        assert stability_window(rollout, cluster) == timedelta(seconds=seconds)


class TestLog:
    """Whose log shows the failure."""

    def source(
        self, *replicas: Replica, dead: tuple[Replica, ...] = (), leaving: tuple[str, ...] = ()
    ) -> str:
        """Give the replica whose log is named; "" for none."""
        one = fruit("DEPLOYING", updating(*replicas, dead=dead, message=CONSTRUCTOR.format(5)))
        result = verdict(one, rollout=rollout_of(leaving=leaving))
        assert isinstance(result, Failing)
        return result.failure.log.replica if result.failure.log else ""

    def test_the_one_that_is_stopping(self) -> None:
        """In the look that brings the message it still is there, and the next try starts already."""
        replicas = replica("a0cr"), replica("q9pb", "STARTING", node=None), replica("vfnm", "STOPPING")

        assert self.source(*replicas, dead=(replica("wyki", "STOPPED"),)) == "vfnm"

    def test_the_newest_dead(self) -> None:
        """A process that exits is gone at once, and only listed among the dead; the newest is the last."""
        dead = replica("ceil", "STOPPED"), replica("46m8", "STOPPED")

        assert self.source(replica("cdjm"), replica("sr8i", "STARTING"), dead=dead) == "46m8"

    def test_not_one_of_the_release_before(self) -> None:
        """It stops because it is replaced, and died of nothing."""
        replicas = replica("old1", "STOPPING"), replica("next", "STARTING")

        assert self.source(*replicas, dead=(replica("old2"),), leaving=("old1", "old2")) == "next"

    def test_one_that_starts_or_any(self) -> None:
        """Better than nothing."""
        assert self.source(replica("a"), replica("b", "STARTING")) == "b"
        assert self.source(replica("a"), replica("b", "STARTING", node=None)) == "a"

    def test_none(self) -> None:
        """An older Ray tells no path."""
        nameless = Replica(replica_id="a", state="STOPPING", node_id="n1")

        assert self.source(nameless) == ""
        assert self.source() == ""


def test_what_is_seen_is_what_the_timeline_keeps() -> None:
    """One state for the application and one per deployment, with Serve's words in one line each."""
    one = fruit(
        "DEPLOYING",
        updating(replica("a"), replica("b", "STARTING"), message=CONSTRUCTOR.format(4)),
        message="x\nValueError: y",
    )

    assert see(live(one), rollout_of()).states == (
        State(app="fruit", status="DEPLOYING", says="ValueError: y"),
        State(
            app="fruit",
            deployment="D",
            status="UPDATING",
            trigger="CONFIG_UPDATE_STARTED",
            running=1,
            target=2,
            failed_starts=2,
            says="FileNotFoundError: no model file at models/fruit.bin",
        ),
    )


def test_the_set_of_replicas_counts_only_when_all_are_there() -> None:
    """While they come and go it says nothing; once HEALTHY, another set is another state."""

    def seen_replicas(one: Deployment) -> str:
        return see(live(fruit("RUNNING", one)), rollout_of()).states[1].replicas

    assert seen_replicas(updating(replica("a"))) == ""
    assert seen_replicas(healthy("a", "b")) == seen_replicas(healthy("b", "a"))
    assert seen_replicas(healthy("a", "b")) != seen_replicas(healthy("a", "c"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "Serve gave no reason"),
        (" \n", "Serve gave no reason"),
        ("one\ntwo", "one"),
        ("Traceback (most recent call last):\nKeyError: 'a'\nfoo", "KeyError: 'a'"),
        ("a.b.Error: x\n    indented.Error: y", "a.b.Error: x"),
        ("KeyError: 'a'\n    assert price\nAssertionError\n", "AssertionError"),
        ("Retrying 5 more time(s). Error:\nActorDiedError()", "ActorDiedError()"),
    ],
)
def test_the_cause_is_the_last_line_that_names_an_error(text: str, line: str) -> None:
    """Code in a traceback is indented; the error is not."""
    assert cause(text) == line


def test_a_long_cause_is_cut() -> None:
    """One line for people stays one line."""
    text = cause("ValueError: " + "x" * 1000)

    assert len(text) == 300
    assert text.endswith("…")
