"""Serve's statuses, read as Serve means them."""

from __future__ import annotations

import pytest

from deployer.core.events import FailureClass
from deployer.core.judge import Failing, Phase, Progressing, Settled, cause, judge
from deployer.core.live import App, Replica
from tests.support.build import app, deployment, live


def verdict(*apps: App) -> object:
    """Judge these applications."""
    return judge(live(*apps), [one.name for one in apps])


class TestSettled:
    """RUNNING and HEALTHY and complete."""

    @pytest.mark.parametrize(
        "one",
        [
            app("a"),
            app("a", deployments=(deployment(running=3, target=3), deployment("E", running=0, target=0))),
            app("a", deployments=(deployment(running=2, target=None),)),
        ],
        ids=["plain", "scaled to zero", "no target (Ray 2.9.3)"],
    )
    def test_settled(self, one: App) -> None:
        """The application serves as wanted."""
        assert verdict(one, app("b")) == Settled()

    def test_other_applications_do_not_count(self) -> None:
        """Only the release's own are judged."""
        assert judge(live(app("a"), app("theirs", "DEPLOY_FAILED")), ["a"]) == Settled()


class TestProgressing:
    """Not there yet, and in which phase."""

    @pytest.mark.parametrize(
        ("one", "phase", "text"),
        [
            (app("a", "DEPLOYING", deployments=()), Phase.BUILD, "a DEPLOYING"),
            (app("a", "RUNNING", deployments=()), Phase.BUILD, "a RUNNING"),
            (
                app(
                    "a",
                    "DEPLOYING",
                    deployments=(
                        deployment(
                            status="UPDATING", replicas=(Replica(replica_id="r", state="STARTING"),), target=2
                        ),
                    ),
                ),
                Phase.SCHEDULE,
                "a DEPLOYING: D 0/2 UPDATING",
            ),
            (
                app("a", "DEPLOYING", deployments=(deployment(status="UPDATING", running=1, target=2),)),
                Phase.START,
                "a DEPLOYING: D 1/2 UPDATING",
            ),
            (
                app("a", "RUNNING", deployments=(deployment(status="UPSCALING", running=1, target=2),)),
                Phase.START,
                "a RUNNING: D 1/2 UPSCALING",
            ),
            (
                app("a", "RUNNING", deployments=(deployment(running=1, target=2),)),
                Phase.START,
                "a RUNNING: D 1/2 HEALTHY",
            ),
            (app("a", "UNHEALTHY"), Phase.START, "a UNHEALTHY: D 1/1 HEALTHY"),
        ],
        ids=["build", "vacuously running", "schedule", "start", "false running", "incomplete", "unhealthy"],
    )
    def test_progressing(self, one: App, phase: Phase, text: str) -> None:
        """RUNNING alone is not proof, and empty deployments are not healthy ones."""
        assert verdict(one, app("b")) == Progressing(phase=phase, text=text)

    def test_the_earliest_phase_counts(self) -> None:
        """An application that still builds sets the deadline; both are named."""
        building, starting = (
            app("a", "DEPLOYING", deployments=(deployment(status="UPDATING", running=0),)),
            app("b", "DEPLOYING", deployments=()),
        )

        assert verdict(building, starting) == Progressing(
            phase=Phase.BUILD, text="a DEPLOYING: D 0/1 UPDATING; b DEPLOYING"
        )

    def test_a_crash_after_the_start_may_heal(self) -> None:
        """DEPLOY_FAILED with the trigger HEALTH_CHECK_FAILED went back to RUNNING by itself (2.60)."""
        crashed = deployment(status="DEPLOY_FAILED", status_trigger="HEALTH_CHECK_FAILED", running=0)

        assert isinstance(verdict(app("a", "DEPLOY_FAILED", deployments=(crashed,))), Progressing)


TRACEBACK = """Deploying app 'a' failed with exception:
Traceback:
  File x
ModuleNotFoundError: No module named 'torch'
"""


class TestFailing:
    """Serve gave up, and where it says why."""

    def test_a_build_failure(self) -> None:
        """The application's message; no deployments."""
        assert_failure(
            app("a", "DEPLOY_FAILED", message=TRACEBACK, deployments=()),
            FailureClass.CONFIG,
            "a: ModuleNotFoundError: No module named 'torch'",
            TRACEBACK,
        )

    def test_a_runtime_env_failure(self) -> None:
        """Its own class: a package index that is down looks the same as a bad pin."""
        text = "Runtime env setup for app 'a' failed:\nno such package"

        assert_failure(
            app("a", "DEPLOY_FAILED", message=text, deployments=()),
            FailureClass.RUNTIME_ENV,
            "a: Runtime env setup for app 'a' failed:",
            text,
        )

    @pytest.mark.parametrize("status", ["DEPLOY_FAILED", "UNHEALTHY"])
    def test_a_start_failure(self, status: str) -> None:
        """The deployment's message; the application's only lists names. UNHEALTHY: Ray 2.9 and 2.40."""
        text = "The deployment failed to start 3 times in a row.\n  File y\nValueError: bad price"
        broken = deployment("M", status, status_trigger="REPLICA_STARTUP_FAILED", message=text, running=0)

        assert_failure(
            app("a", "DEPLOY_FAILED", message="Failed to update ['M'].", deployments=(deployment(), broken)),
            FailureClass.CODE,
            "a / M: ValueError: bad price",
            text,
        )

    def test_a_bad_option_with_healthy_deployments(self) -> None:
        """An unknown deployment name: the application's message, while the old deployments are fine."""
        assert_failure(
            app("a", "DEPLOY_FAILED", message="ValueError: Deployment 'X' does not exist."),
            FailureClass.CONFIG,
            "a: ValueError: Deployment 'X' does not exist.",
            "ValueError: Deployment 'X' does not exist.",
        )

    def test_no_text_at_all(self) -> None:
        """A broken deployment without a message falls back to the application's."""
        broken = deployment(status="DEPLOY_FAILED")

        assert_failure(
            app("a", "DEPLOY_FAILED", deployments=(broken,)),
            FailureClass.CONFIG,
            "a: Serve gave no reason",
            "",
        )


def assert_failure(one: App, failure_class: FailureClass, message: str, detail: str) -> None:
    """Demand this failure."""
    result = verdict(one)
    assert isinstance(result, Failing)
    assert (result.failure.failure_class, result.failure.message, result.failure.detail) == (
        failure_class,
        message,
        detail,
    )


def test_a_long_cause_is_cut() -> None:
    """One line for people stays one line."""
    text = cause("ValueError: " + "x" * 1000)

    assert len(text) == 300
    assert text.endswith("…")
