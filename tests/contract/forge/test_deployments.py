"""Deployments: made once, found again, told how they stand; at each forge that has them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.adapters.forge import Deployment, DeploymentState, Forge, ForgeUnavailable, Kind, forge
from tests.contract.forge.fakes import TOKEN, serving
from tests.contract.forge.server import Asked, FakeForge, Reply

COMMIT, OTHER = "a" * 40, "b" * 40
ROLLOUT = Deployment(
    commit=COMMIT, environment="staging", rollout="staging#1", ref="main", is_tag=False, task="deploy"
)
PAGE = "https://deployer.example/rollouts/staging%231"


def tell(asking: Forge, *states: DeploymentState, of: Deployment = ROLLOUT) -> None:
    """Tell these states, one after the other."""
    for state in states:
        asking.show_deployment(
            of,
            state,
            description="Live after 31 s.",
            log_url=PAGE,
            environment_url="https://deployer.example/env/staging",
        )


QUEUED, IN_PROGRESS, SUCCESS, FAILURE, INACTIVE, CANCELLED = DeploymentState


@pytest.fixture(params=["github", "gitlab"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Those that have deployments."""
    found: Kind = request.param
    return found


@pytest.fixture
def again(kind: Kind, fake: FakeForge) -> Forge:
    """Another process."""
    return forge(kind, api_url=fake.api_url, project=fake.project, token=lambda: TOKEN, ca_file=None)


def states(fake: FakeForge) -> list[list[str]]:
    """What each was told."""
    return [one.states for one in fake.deployments]


def test_a_rollout_is_one_deployment(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """From its beginning to its end, and when something else takes its place."""
    tell(asking, QUEUED, IN_PROGRESS, SUCCESS, INACTIVE)

    (made,) = fake.deployments
    assert (made.commit, made.environment) == (COMMIT, "staging")
    if kind == "github":
        assert made.states == ["queued", "in_progress", "success", "inactive"]
        assert (made.payload, made.task) == ({"deployer": "staging#1"}, "deploy")
        assert made.said[2] == {
            "state": "success",
            "auto_inactive": False,
            "description": "Live after 31 s.",
            "log_url": PAGE,
            "environment_url": "https://deployer.example/env/staging",
        }
    else:
        # It has one word for both beginnings, and finds out by itself which success is the newest.
        assert made.states[:2] == ["running", "success"]
        assert made.ref == "main"


@pytest.mark.parametrize("end", [SUCCESS, FAILURE, CANCELLED])
def test_after_a_crash_it_is_found_and_not_made_again(
    asking: Forge, again: Forge, fake: FakeForge, kind: Kind, end: DeploymentState
) -> None:
    """Another process tells the rest of what the first began."""
    tell(asking, QUEUED)
    tell(again, IN_PROGRESS, end)

    assert len(fake.deployments) == 1
    at_gitlab = {SUCCESS: "success", FAILURE: "failed", CANCELLED: "canceled"}
    at_github = {SUCCESS: "success", FAILURE: "failure", CANCELLED: "inactive"}
    assert fake.deployments[0].states[-1] == (at_gitlab if kind == "gitlab" else at_github)[end]


def test_one_whose_making_was_not_heard_of_is_found(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """The forge made it, and its answer was lost."""
    lost: list[Asked] = []

    def losing(asked: Asked) -> Reply | None:
        if asked.method != "POST" or lost:
            return None
        lost.append(asked)
        fake.respond(asked)
        return Reply(status=502, raw=b"<html>bad gateway</html>")

    fake.instead = losing
    with pytest.raises(ForgeUnavailable, match="502"):
        tell(asking, QUEUED)
    tell(asking, QUEUED, SUCCESS)

    assert len(fake.deployments) == 1
    assert fake.deployments[0].states[-1] == "success"


def test_a_later_rollout_of_the_same_commit_is_another_one(
    asking: Forge, fake: FakeForge, kind: Kind
) -> None:
    """A rollback to it, say."""
    other = Deployment(
        commit=OTHER, environment="staging", rollout="staging#2", ref="main", is_tag=False, task="deploy"
    )
    back = Deployment(
        commit=COMMIT, environment="staging", rollout="staging#3", ref="v1", is_tag=True, task="rollback"
    )
    tell(asking, IN_PROGRESS, SUCCESS)
    tell(asking, IN_PROGRESS, FAILURE, of=other)
    tell(asking, IN_PROGRESS, SUCCESS, of=back)
    tell(asking, INACTIVE)

    assert [one.commit for one in fake.deployments] == [COMMIT, OTHER, COMMIT]
    last = [one[-1] for one in states(fake)]
    assert last == (
        ["inactive", "failure", "success"] if kind == "github" else ["success", "failed", "success"]
    )


def test_what_was_never_told_of_is_not_made_to_be_inactive(
    asking: Forge, fake: FakeForge, kind: Kind
) -> None:
    """It ended before anybody was told of deployments."""
    tell(asking, INACTIVE, CANCELLED)

    assert fake.deployments == []


def test_another_ones_deployments_are_let_be() -> None:
    """At GitHub: of the same commit and environment, made by a CI, without our mark."""
    with serving("github") as fake:
        asking = forge(
            "github", api_url=fake.api_url, project=fake.project, token=lambda: TOKEN, ca_file=None
        )
        tell(asking, SUCCESS)
        fake.deployments[0].payload = "by hand"
        tell(asking, SUCCESS, of=replace(ROLLOUT, rollout="staging#9"))

        assert [one.payload for one in fake.deployments] == ["by hand", {"deployer": "staging#9"}]


def test_gitea_has_none() -> None:
    """It says so without asking."""
    with serving("gitea") as fake:
        asking = forge("gitea", api_url=fake.api_url, project=fake.project, token=lambda: TOKEN, ca_file=None)
        with pytest.raises(ForgeUnavailable, match="Gitea has no deployments"):
            tell(asking, QUEUED)
        assert fake.requests == []


def test_what_a_token_needs_is_said(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """By the name that the forge has for it."""
    fake.canned = Reply(status=403, value={"message": "Resource not accessible by personal access token"})
    needs = {"github": "write access to Deployments", "gitlab": "the scope api"}[kind]

    with pytest.raises(ForgeUnavailable, match=needs):
        tell(asking, QUEUED)
