"""A commit's way from dev to production, on a real Ray head and a real git server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from tests.e2e.site import Site, git
from tests.support import git_server
from tests.support.eventually import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(600)]

BRANCHES = {"dev": "main", "staging": "env/staging", "production": "env/production"}
JUDGED = "health: {stability_window: 0s}\nsoak: 1s\n"
SLOWLY = "health: {stability_window: 0s}\nsoak: 1h\n"


class Line:
    """Three environments in a line, each with an application of its own on one cluster."""

    def __init__(self, root: Path, head: ServeHead, url: str) -> None:
        """Write the settings; `url` is that of the repository, which is at `root/configs.git`."""
        self.site = Site(root=root, address=head.address)
        self.head = head
        self.clone = self.site.clone
        git(self.clone, "checkout", "--quiet", "-B", "main")
        gates = {
            "requires": {"staging": "1s"},
            "approvals": {"required": 1, "from": ["lin"]},
        }
        more: dict[str, dict[str, Any]] = {
            "dev": {},
            "staging": {"promote_from": {"environment": "dev", "auto": True}},
            "production": {"promote_from": "staging", "gates": gates},
        }
        settings = yaml.safe_load(self.site.settings.read_text())
        settings["repositories"]["configs"] = {"url": url, "poll_interval": "1s", "write": {}}
        settings["environments"] = {
            name: {
                "repository": "configs",
                "branch": branch,
                "path": f"environments/{name}",
                "cluster": {"address": head.address},
                **more[name],
            }
            for name, branch in BRANCHES.items()
        }
        self.site.settings.write_text(yaml.safe_dump(settings))

    def commit(self, price: int, subject: str, *, broken: str = "", slow: str = "") -> str:
        """Push this price for all of them to main.

        `broken` names the one whose import fails, `slow` the one that soaks for longer than this test takes.
        """
        for name in BRANCHES:
            folder = self.clone / "environments" / name
            folder.mkdir(parents=True, exist_ok=True)
            module = "froot" if name == broken else "fruit"
            app = {
                "name": name,
                "route_prefix": f"/{name}",
                "import_path": f"deployer.examples.{module}:app",
                "deployments": [
                    {
                        "name": "MangoStand",
                        "user_config": {"price": price},
                        "ray_actor_options": {"num_cpus": 0},
                    },
                    {"name": "OrangeStand", "ray_actor_options": {"num_cpus": 0}},
                    {"name": "FruitMarket", "ray_actor_options": {"num_cpus": 0}},
                ],
            }
            (folder / "serve_config.yaml").write_text(yaml.safe_dump({"applications": [app]}))
            (folder / "environment.yaml").write_text(SLOWLY if name == slow else JUDGED)
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "-m", subject)
        return self.push()

    def push(self) -> str:
        """Push what the clone has to main; its commit."""
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD")

    def approve(self, token: Path) -> None:
        """Somebody approves what waits in production."""
        approved = self.site.command(
            "approve", "production", "--plan", self.plan_digest(), "--token-file", str(token)
        )
        assert approved.returncode == 0, approved.stdout + approved.stderr

    def branch(self, name: str) -> str:
        """Where an environment's branch is."""
        return git(self.site.bare, "rev-parse", f"refs/heads/{BRANCHES[name]}")

    def status(self, name: str) -> dict[str, Any]:
        """`deployer status NAME -o json`."""
        done = self.site.command("status", name, "-o", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)[0])

    def until_live(self, name: str, commit: str) -> None:
        """Wait until the commit is good there."""

        def observe() -> bool:
            state = self.status(name)
            assert state["live"] is not None, state["message"]
            assert state["live"]["revision"] == commit, state["message"]
            return state["rollout"] is None

        eventually(observe, within=120, every=0.5, what=f"{commit[:7]} is live in {name}")

    def token(self, name: str, role: str) -> Path:
        """The file with a person's token."""
        made = self.site.command("token", "create", name, "--role", role, "-o", "json")
        assert made.returncode == 0, made.stderr
        file = self.site.root / f"{name}.token"
        file.touch(mode=0o600)
        file.write_text(json.loads(made.stdout)["secret"])
        return file

    def plan_digest(self) -> str:
        """What waits for approvals in production."""

        def observe() -> str | None:
            gates = {gate["name"]: gate for gate in self.status("production")["gates"]}
            assert gates["requires"]["verdict"] in {"open", "skipped"}, gates
            plan: str | None = gates["approvals"]["plan"]
            return plan

        return eventually(observe, within=60, every=0.5, what="it waits for an approval")

    def price(self, name: str) -> float:
        """What a mango costs there."""
        answer = requests.get(f"{self.head.http}/{name}", params={"name": "mango", "amount": "1"}, timeout=10)
        answer.raise_for_status()
        return float(answer.json()["total"])


@pytest.fixture
def line(tmp_path: Path, fresh_serve: ServeHead) -> Iterator[Line]:
    """The environments, with the daemon running."""
    with git_server.serving(tmp_path) as server:
        made = Line(tmp_path, fresh_serve, server.url("configs.git"))
        try:
            yield made
        finally:
            made.site.stop()


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """What is said with exit code 7."""
    assert done.returncode == 7, done.stdout + done.stderr
    return done.stdout + done.stderr


def types_of(line: Line) -> list[str]:
    """What is in the audit log of production."""
    listed = line.site.command("audit", "list", "-e", "production", "-n", "500", "-o", "json").stdout
    return [one["type"] for one in json.loads(listed)]


def test_the_very_commit_that_proved_itself_goes_to_production(line: Line) -> None:
    """By itself to staging, approved to production; a bad one stops at staging; no push is forced."""
    command = line.site.command
    first = line.commit(3, "open the market")
    line.site.start()
    line.until_live("dev", first)
    line.until_live("staging", first)
    assert line.branch("staging") == first

    promoted = command("promote", "staging", "production", "--reason", "the first one")
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    assert line.branch("production") == first
    lin, plan = line.token("lin", "approver"), line.plan_digest()
    assert "token of this machine" in refused(command("approve", "production", "--plan", plan))
    approved = command("approve", "production", "--plan", plan, "--token-file", str(lin))
    assert approved.returncode == 0, approved.stdout + approved.stderr
    line.until_live("production", first)
    assert {line.price(name) for name in BRANCHES} == {3.0}

    # Good in dev, and broken in staging: there it ends.
    bad = line.commit(4, "move the code", broken="staging")
    line.until_live("dev", bad)
    eventually(
        lambda: any(hold["revision"] == bad for hold in line.status("staging")["held"]),
        within=120,
        every=0.5,
        what="it is held in staging",
    )
    line.until_live("staging", first)
    assert (line.price("dev"), line.price("staging"), line.price("production")) == (4.0, 3.0, 3.0)
    said = refused(command("promote", "staging", "production", "--release", bad[:7], "--reason", "hurry"))
    assert "held" in said
    assert line.branch("production") == first

    # The fix goes all the way.
    fixed = line.commit(5, "mend staging")
    line.until_live("staging", fixed)
    done = command("promote", "staging", "production", "--reason", "the fix")
    assert done.returncode == 0, done.stdout + done.stderr
    line.approve(lin)
    line.until_live("production", fixed)
    assert line.price("production") == 5.0

    # Two people promote at once: it is pushed once, and both are told how it is.
    raised = line.commit(6, "raise the price")
    line.until_live("staging", raised)
    with ThreadPoolExecutor(2) as people:
        asked = [people.submit(command, "promote", "staging", "production", "--reason", "now") for _ in "ab"]
        answers = [one.result() for one in asked]
    assert 0 in [one.returncode for one in answers]
    for one in answers:
        told = one.stdout + one.stderr
        assert any(said in told for said in ("is promoted", "nothing to do", "is under way")), told
    assert line.branch("production") == raised
    line.approve(lin)
    line.until_live("production", raised)
    assert types_of(line).count("promotion_asked") == 3

    # It is taken back in git: that goes the same way, as a commit of its own.
    git(line.clone, "revert", "--no-edit", "HEAD")
    reverted = line.push()
    line.until_live("staging", reverted)
    done = command("promote", "staging", "production", "--reason", "too dear")
    assert done.returncode == 0, done.stdout + done.stderr
    line.approve(lin)
    line.until_live("production", reverted)
    assert {line.price(name) for name in BRANCHES} == {5.0}

    # A hotfix does not wait until staging has proved it: recorded, with what was skipped.
    hotfix = line.commit(2, "prices are wrong", slow="staging")
    eventually(
        lambda: (line.status("staging")["rollout"] or {}).get("phase") == "soak",
        within=120,
        every=0.5,
        what="it soaks in staging",
    )
    fix = ("promote", "staging", "production", "--release", hotfix[:7], "--reason", "INC-4711")
    assert "is not good in staging yet" in refused(command(*fix))
    done = command(*fix, "--skip", "soak,requires")
    assert done.returncode == 0, done.stdout + done.stderr
    line.approve(lin)
    line.until_live("production", hotfix)
    assert line.price("production") == 2.0
    assert line.status("production")["promotion"]["skipped"] == ["requires", "soak"]
    fixed = hotfix

    # Somebody pushes to production's branch past all of this: the next promotion would not be a fast-forward.
    git(line.clone, "checkout", "--quiet", "-B", "hotfix", fixed)
    git(line.clone, "commit", "--quiet", "--allow-empty", "-m", "a note for production")
    git(line.clone, "push", "--quiet", "origin", f"HEAD:{BRANCHES['production']}")
    git(line.clone, "checkout", "--quiet", "main")
    git(line.clone, "reset", "--quiet", "--hard", fixed)
    last = line.commit(7, "raise the price again")
    line.until_live("staging", last)
    said = refused(command("promote", "staging", "production", "--reason", "again"))
    assert "a note for production" in said

    types = types_of(line)
    assert types.count("promotion_asked") == types.count("promoted") == 5
    assert types.count("approved") == 5
