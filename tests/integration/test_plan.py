"""`deployer plan`, `diff` and `render`: a real repository, a real store, and a dashboard over HTTP."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.main import cli
from deployer.core import serve_config
from deployer.core.record import Record, evolve
from deployer.core.types import Release
from tests.support.build import revision
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import FakeRay
from tests.support.repos import BareRepo
from tests.unit.core.test_commands import failed, good

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from tests.support.arrivals import Arrival, Moment

SECRET = "hunter2-hunter2"
FOLDER = "environments/staging"
FRUIT: dict[str, Any] = {
    "name": "fruit",
    "route_prefix": "/fruit",
    "import_path": "good:app",
    "runtime_env": {"env_vars": {"TOKEN": SECRET}},
    "deployments": [
        {
            "name": "Mango",
            "num_replicas": 1,
            "user_config": {"price": 3},
            "ray_actor_options": {"num_cpus": 0.5},
        }
    ],
}


def config(**deployment: Any) -> str:
    """The fruit market with these options of its stand changed."""
    stand = {**FRUIT["deployments"][0], **deployment}
    return yaml.safe_dump({"applications": [{**FRUIT, "deployments": [stand]}]})


def release(name: str, text: str) -> Release:
    """The release of commit `name` with this file."""
    return Release(revision=revision(name), config=serve_config.parse(text.encode(), "f")[0])


@dataclass
class Site:
    """A repository, a store and a cluster, and the command line on them."""

    root: Path
    repo: BareRepo
    ray: FakeRay

    @property
    def settings(self) -> Path:
        """Where the settings are."""
        return self.root / "deployer.yaml"

    def type(self, *args: str) -> Result:
        """What a person types after `deployer`."""
        return CliRunner().invoke(cli, ["-c", str(self.settings), *args])

    def json(self, *args: str) -> Any:
        """The same, as JSON."""
        done = self.type(*args, "-o", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def push(self, text: str, branch: str = "main", policy: str | None = None) -> str:
        """Commit a config; the commit's id."""
        files = {f"{FOLDER}/serve_config.yaml": text}
        if policy is not None:
            files[f"{FOLDER}/environment.yaml"] = policy
        return self.repo.commit(files, branch=branch, message="raise the price")

    def remember(self, *events: Any) -> None:
        """Give the environment this history."""
        with_store = SqlStore.open(self.root / "state" / STORE_FILE)
        record = Record(environment="staging")
        for event in events:
            with_store.commit(record, [event])
            record = evolve(record, event)
        with_store.close()

    def put(self, text: str) -> None:
        """Have the cluster run this."""
        body = serve_config.parse(text.encode(), "f")[0].body()
        answer = requests.put(f"{self.ray.address}/api/serve/applications/", json=body, timeout=10)
        assert answer.status_code == 200


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One with a repository and a cluster that has 4 CPUs free."""
    with standing(tmp_path) as made:
        yield made


@contextmanager
def standing(root: Path) -> Iterator[Site]:
    """The same, in this folder."""

    def go_on(arrival: Arrival, moment: Moment) -> bool:
        return True

    (root / "state").mkdir(mode=0o700)
    with FakeRay(FakeCluster(), go_on) as ray:
        made = Site(root=root, repo=BareRepo(root / "configs.git"), ray=ray)
        made.settings.write_text(
            f"state_dir: {root / 'state'}\n"
            f"repositories:\n  configs: {{url: {root / 'configs.git'}}}\n"
            "environments:\n  staging:\n    repository: configs\n    branch: main\n"
            f"    path: {FOLDER}\n    cluster: {{address: '{ray.address}'}}\n"
        )
        yield made


def test_the_plan_says_what_changes_restarts_and_needs(site: Site) -> None:
    """Against the cluster, with history, the way back, and without a secret."""
    site.put(config())
    site.remember(*good(1, release("a", config())))
    commit = site.push(config(num_replicas=3, user_config={"price": 7}))
    done = site.type("plan", "staging")
    lines = done.output.splitlines()
    assert done.exit_code == 0, done.output
    assert lines[0] == f'staging  {commit[:7]} "raise the price"  against live on {site.ray.address}'
    assert lines[1].split("  ")[1] == "~ fruit / Mango"
    assert lines[1].split()[-6:] == ["1", "->", "3", "scales", "in", "place"]
    assert lines[2].endswith("3 -> 7  reconfigures, no restart")
    assert "Capacity: fits: CPU 1 of 4 free." in lines
    assert any(line.startswith("Duration: ") and "(the last deploy)" in line for line in lines)
    assert any(line.startswith("Way back: ready (to ") for line in lines), done.output
    assert lines[-1].startswith("Plan: 0 to add, 1 to change, 0 to remove. sha256:")
    assert SECRET not in done.output


def test_the_exit_code_says_whether_anything_changes(site: Site) -> None:
    """With --detailed-exitcode: 2 for changes, 0 for none."""
    site.put(config())
    site.remember(*good(1, release("a", config())))
    site.push(config())
    same = site.type("plan", "staging", "--detailed-exitcode")
    assert (same.exit_code, "no change" in same.output) == (0, True)
    site.push(config(num_replicas=2))
    assert site.type("plan", "staging", "--detailed-exitcode").exit_code == 2
    assert site.type("plan", "staging").exit_code == 0


def test_a_branch_a_commit_a_folder(site: Site, tmp_path: Path) -> None:
    """What is planned can be any of these."""
    site.put(config())
    site.push(config())
    site.repo.branch("pr", site.repo.head() or "")
    commit = site.push(config(num_replicas=2), branch="pr")
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "serve_config.yaml").write_text(config(num_replicas=2))
    digests = {
        site.json("plan", "staging", *what)[0]["digest"]
        for what in (("--ref", "pr"), ("--ref", commit), ("--ref", commit[:9]), ("--from", str(folder)))
    }
    assert len(digests) == 1
    assert site.json("plan", "staging")[0]["digest"] not in digests


def test_a_cluster_that_is_away_does_not_keep_the_plan_waiting(site: Site) -> None:
    """It is compared with the last good release, and says so; what only the cluster knows is unknown."""
    site.remember(*good(1, release("a", config())))
    site.push(config(num_replicas=2))
    site.settings.write_text(site.settings.read_text().replace(site.ray.address, "http://127.0.0.1:9"))
    (plan,) = site.json("plan", "staging")
    assert plan["capacity"]["verdict"] == "unknown"
    assert plan["way_back"]["state"] == "degraded"
    assert "Compared with the last good release instead." in plan["remarks"][0]
    (offline,) = site.json("plan", "staging", "--against", "release")
    assert (offline["changes"], offline["remarks"]) == (plan["changes"], [])


def test_what_is_held_is_flagged_before_the_merge(site: Site) -> None:
    """Here, because it would not be deployed after it."""
    bad = release("b", config(user_config={"price": -1}))
    site.put(config())
    site.remember(*good(1, release("a", config())), *failed(2, bad))
    site.push(config(user_config={"price": -1}))
    (plan,) = site.json("plan", "staging")
    assert [gate["what"] for gate in plan["gates"]] == ["held"]


def test_a_config_that_cannot_be_used_ends_the_plan(site: Site) -> None:
    """With every error, and the exit code of `validate`."""
    site.put(config())
    site.push(config(num_replica=2))
    done = site.type("plan", "staging")
    assert done.exit_code == 3
    assert "unknown key 'num_replica' in deployment 'Mango' (did you mean 'num_replicas'?)" in done.output


def test_a_ref_that_is_not_there(site: Site) -> None:
    """It says what was looked for."""
    site.push(config())
    done = site.type("plan", "staging", "--ref", "nowhere")
    assert done.exit_code == 1
    assert "no branch, tag or commit 'nowhere' in repository configs" in done.output


def test_usage(site: Site) -> None:
    """An environment is needed, a known one, and one thing that is planned."""
    assert site.type("plan").exit_code == 64
    assert site.type("plan", "nowhere").exit_code == 64
    assert site.type("plan", "staging", "--ref", "a", "--from", "b").exit_code == 64


def test_markdown_is_one_comment_with_unchanged_environments_in_one_line(site: Site) -> None:
    """Hostile text of a commit is shown as it is, and neither mentions nor links anything."""
    site.put(config())
    site.repo.commit(
        {f"{FOLDER}/serve_config.yaml": config(num_replicas=2)}, message="<img src=x> @everyone [x](http://y)"
    )
    page = site.type("plan", "staging", "--format", "markdown").output
    assert page.startswith("<!-- deployer plan -->\n")
    assert "<b>staging</b>: 0 to add, 1 to change, 0 to remove; at most: scales in place" in page
    assert "<img" not in page
    assert "@everyone" not in page
    assert "](http" not in page
    site.push(config())
    assert "**staging**: no change" in site.type("plan", "staging", "--format", "markdown").output


def test_diff_between_any_two(site: Site, tmp_path: Path) -> None:
    """A file, a ref, a release, the cluster; two files need no settings."""
    site.put(config())
    site.remember(*good(1, release("a", config())))
    site.push(config(num_replicas=2))
    file = tmp_path / "other.yaml"
    file.write_text(config(num_replicas=3))
    for a, b, change in (
        ("staging@live", "staging@main", "1 -> 2"),
        ("staging@1", str(file), "1 -> 3"),
        ("main", str(file), "2 -> 3"),
        ("staging@staging#1", "live", None),
    ):
        found = site.json("diff", a, b)
        assert [line["change"] for line in found] == ([change] if change else []), (a, b)
    assert site.type("diff", "main", str(file), "--detailed-exitcode").exit_code == 2
    bare = CliRunner(env={"HOME": str(tmp_path), "DEPLOYER_CONFIG": "", "XDG_CONFIG_HOME": ""})
    done = bare.invoke(cli, ["diff", str(file), str(file)])
    assert (done.exit_code, "no difference" in done.output) == (0, True)
    nothing = bare.invoke(cli, ["diff", "main", str(file)])
    assert (nothing.exit_code, "no settings that would say" in nothing.output) == (64, True)


def test_render_masks_secrets_unless_asked(site: Site) -> None:
    """It prints what would be sent."""
    site.push(config())
    done = site.type("render", "staging")
    assert SECRET not in done.output
    shown = yaml.safe_load(site.type("render", "staging", "--show-secrets").stdout)
    assert shown["applications"][0]["runtime_env"]["env_vars"]["TOKEN"] == SECRET
    assert (
        json.loads(site.type("render", "staging", "-o", "json").stdout)["applications"][0]["name"] == "fruit"
    )


def test_nothing_is_left_behind(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No scratch folder, no change to the store."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    site.put(config())
    site.push(config())
    assert site.type("plan", "staging").exit_code == 0
    assert [*scratch.iterdir()] == []
    assert not (site.root / "state" / STORE_FILE).exists()


def test_every_field_is_in_the_docs(site: Site) -> None:
    """And nothing is in the docs that is not there."""
    site.put(config())
    site.remember(*good(1, release("a", config())))
    site.push(config(num_replicas=9))
    (plan,) = site.json("plan", "staging")
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    section = page.partition("## `deployer plan ")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \| (.+) \|$", section, re.MULTILINE)
    assert {name for cell, _ in rows for name in re.findall(r"`(\w+)`", cell)} == plan.keys()
    told = {name for _, words in rows for name in re.findall(r"`(\w+)`", words)}
    inside = {
        key
        for value in plan.values()
        for one in (value if isinstance(value, list) else [value])
        if isinstance(one, dict)
        for key in one
    }
    assert inside <= told
