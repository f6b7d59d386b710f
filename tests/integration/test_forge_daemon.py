"""A daemon that runs, and a forge: what people see beside their commits, from the push to the rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.contract.forge.fakes import TOKEN, FakeForge, serving
from tests.support.eventually import eventually
from tests.support.promotion_site import PromotionSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLIC = "https://deployer.example"
DEV, STAGING = "deployer/dev", "deployer/staging"


class Site(PromotionSite):
    """The same, with a forge that the repository is at."""

    def __init__(self, root: Path, fake: FakeForge) -> None:
        """Name the forge in the settings."""
        token = root / "forge-token"
        token.touch(mode=0o600)
        token.write_text(TOKEN)
        self.fake = fake
        forge = {
            "kind": "github",
            "api_url": fake.api_url,
            "project": fake.project,
            "token_file": str(token),
            "deployments": True,
        }
        server = {"listen": "127.0.0.1:0", "public_url": PUBLIC}
        super().__init__(
            root,
            repository={"forge": forge},
            more={"server": server},
            staging={"sync": "manual"},
        )

    def shows(self, commit: str, context: str, state: str) -> str:
        """Wait until the commit shows this; the description and the link."""

        def look() -> str:
            found = self.fake.statuses(commit).get(context)
            assert found is not None, self.fake.statuses(commit)
            assert found[0] == state, found
            return f"{found[1]} {found[2]}"

        return eventually(look, within=60)

    def states(self, rollout: str) -> list[str]:
        """What the deployment of this rollout was told; empty if there is none."""
        return [
            state
            for one in self.fake.deployments
            if one.payload == {"deployer": rollout}
            for state in one.states
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One with a forge."""
    with serving("github") as fake, capture_logs():
        yield Site(tmp_path, fake)


def test_the_story_of_two_commits_at_the_forge(site: Site) -> None:
    """Good, bad, and the good one again; one that waits says for what; down for a while, and told after."""
    good = site.push(1)
    with site.running():
        said = site.shows(good, DEV, "success")
        assert said.startswith("Live after ")
        assert said.endswith(f"{PUBLIC}/rollouts/dev%231")

        site.fake.down = True
        bad = site.push(2, app="constructor_raises:app")
        assert site.type("sync", "dev", "--wait").exit_code == 4
        site.fake.down = False
        assert site.shows(bad, DEV, "failure").endswith(f"{PUBLIC}/rollouts/dev%232")
        assert site.shows(good, DEV, "success").startswith("Live again after ")
        eventually(lambda: site.states("dev#3")[-1:] == ["success"], within=60)
        eventually(lambda: site.states("dev#1")[-1:] == ["inactive"], within=60)

        listed = site.json("outbox", "list")
        assert [one["name"] for one in listed["targets"]] == [
            "log",
            "forge/configs",
            "forge/configs/deployments",
        ]
        assert listed["dead"] == []
    assert site.states("dev#2")[-1] == "failure"
    assert len(site.fake.deployments) == 3
    assert site.fake.deployments[0].said[-1]["log_url"] == f"{PUBLIC}/rollouts/dev%231"


def test_what_a_commit_waits_for_is_beside_it(site: Site) -> None:
    """Until somebody syncs; and what is overtaken meanwhile does not wait for ever."""
    with site.running():
        first = site.push(3, branch="env/staging")
        eventually(lambda: "Waits for manual." in site.shows(first, STAGING, "pending"), within=60)
        second = site.push(4, branch="env/staging")
        eventually(lambda: "Waits for manual." in site.shows(second, STAGING, "pending"), within=60)
        assert site.shows(first, STAGING, "error").startswith(f"Overtaken by {second[:7]} before")
        assert site.type("sync", "staging", "--wait").exit_code == 0
        assert site.shows(second, STAGING, "success").endswith(f"{PUBLIC}/rollouts/staging%231")
