"""`deployer init`: the files that it writes, and a running cluster that it adopts without touching it."""

from __future__ import annotations

import copy
import shutil
import subprocess
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click.testing import CliRunner

from deployer.adapters import schemas
from deployer.adapters.serve import ServeCluster
from deployer.cli.main import cli
from deployer.core import policy, serve_config
from deployer.core.live import Live
from deployer.settings import load
from tests.contract.every_option import everything
from tests.support import build
from tests.support.eventually import eventually
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import FakeRay
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.support.ray_head import ServeHead

NO_ENV = {"HOME": "/home/ada"}
SECRET = "hunter2-and-more"
SETTLES_SECONDS = 180.0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the person in it; no repository around it counts."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*args: str) -> Result:
    """Type `deployer init ARGS`."""
    return CliRunner().invoke(cli, ["init", *args])


def valid(*args: str) -> Result:
    """Type `deployer validate --strict ARGS`, without Ray's own validator, which takes seconds."""
    return CliRunner().invoke(cli, ["validate", "--strict", "--no-ray", *args])


def files(folder: Path) -> set[str]:
    """Every file below it, but for git's own."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != ".git"}


def written(folder: Path, environment: str = "production") -> serve_config.Reading:
    """The config that was written for an environment."""
    file = folder / "environments" / environment / "serve_config.yaml"
    return serve_config.read(file.read_bytes(), str(file), schemas.schema())


class Told(FakeCluster):
    """A cluster that says just this."""

    def __init__(self, live: Live) -> None:
        """Take it."""
        super().__init__()
        self._told = live

    def observe(self, *, resources: bool = False) -> Live:
        """Say it."""
        return self._told


def adopted(live: Live, *args: str) -> Result:
    """What `init --from-cluster` makes of a cluster that says this."""
    with FakeRay(Told(live), lambda *_: True) as ray:
        return init("--from-cluster", ray.address, *args)


def app(name: str = "fruit", **more: Any) -> dict[str, Any]:
    """What Serve reports of a small application."""
    return {"name": name, "route_prefix": f"/{name}", "import_path": "good:app", **more}


def test_what_is_written_is_valid_without_a_warning(here: Path) -> None:
    """Two environments, their settings, and the schemas that their first lines name."""
    result = init()
    assert result.exit_code == 0, result.output
    names = {"serve_config.yaml", "environment.yaml"}
    ray = f".deployer/serve_config-ray-{schemas.NEWEST}.schema.json"
    assert files(here) == {
        *(f"environments/{each}/{name}" for each in ("staging", "production") for name in names),
        *(ray, ".deployer/environment.schema.json", ".deployer/deployer.schema.json", "deployer.yaml"),
    }
    assert all(f"  {name}\n" in result.stdout for name in files(here))
    done = valid()
    assert (done.exit_code, done.stdout) == (0, "2 environments are valid.\n")
    settings = load(here / "deployer.yaml", NO_ENV)
    assert {one.path for one in settings.environments.values()} == {
        "environments/staging",
        "environments/production",
    }
    for path in here.rglob("*.yaml"):
        modeline = path.read_text().partition("\n")[0]
        schema = modeline.removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / schema).resolve() in {one.resolve() for one in here.rglob("*.json")}, modeline


def test_nothing_is_overwritten(here: Path) -> None:
    """One file that is there, and nothing is written at all."""
    file = here / "environments/production/environment.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("soak: 1m\n")
    result = init()
    assert result.exit_code == 1
    assert "environments/production/environment.yaml exists already" in result.stderr
    assert files(here) == {"environments/production/environment.yaml"}
    assert file.read_text() == "soak: 1m\n"


def test_a_link_to_nowhere_is_there_too(here: Path) -> None:
    """To write through it would make a file that nobody expects."""
    folder = here / "environments/qa"
    folder.mkdir(parents=True)
    (folder / "serve_config.yaml").symlink_to(here / "nowhere")
    assert init("--environment", "qa").exit_code == 1
    assert not (here / "nowhere").exists()


def test_one_more_environment(here: Path) -> None:
    """The settings and schemas stay as they are; what is to be added to the settings is told."""
    assert init("--environment", "staging").exit_code == 0
    (here / "deployer.yaml").write_text("# mine\n")
    (here / ".deployer/environment.schema.json").write_text("{}\n")
    result = init("--environment", "qa", "--layout", "branch")
    assert result.exit_code == 0, result.output
    assert (here / "deployer.yaml").read_text() == "# mine\n"
    assert (here / ".deployer/environment.schema.json").read_text() == "{}\n"
    assert "To deploy it, add below `environments:` of the daemon's settings:\n  qa:\n" in result.stdout
    assert "    branch: env/qa\n" in result.stdout
    assert "git push origin HEAD:refs/heads/env/qa\n" in result.stdout
    assert valid().exit_code == 0


def test_the_settings_name_the_repository_that_one_is_in(here: Path) -> None:
    """Its address, the branch, and the way from its top; an address with a password does not get there."""
    for args in (["init", "-q", "-b", "trunk"], ["remote", "add", "origin", "git@git.example.com:ml/c.git"]):
        subprocess.run(["git", *args], check=True, timeout=30)
    assert init("ray/configs", "--environment", "qa").exit_code == 0
    settings = load(here / "ray/configs/deployer.yaml", NO_ENV)
    assert settings.repositories["configs"].url == "git@git.example.com:ml/c.git"
    assert settings.environments["qa"].branch == "trunk"
    assert settings.environments["qa"].path == "ray/configs/environments/qa"
    url = f"https://ada:{SECRET}@git.example.com/c.git"
    subprocess.run(["git", "remote", "set-url", "origin", url], check=True, timeout=30)
    assert init("other").exit_code == 0
    assert SECRET not in (here / "other/deployer.yaml").read_text()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--environment", "Prod"], "no name of an environment"),
        (["--environment", "../x"], "no name of an environment"),
        (["--from-cluster", "http://x", "--from-app", "a:b"], "cannot stand together"),
        (["--from-cluster", "http://x", "--environment", "a", "--environment", "b"], "name one"),
        (["--token-file", "/dev/null"], "are for --from-cluster"),
        (["--from-cluster", "ray:8265"], "is no address of a dashboard"),
        (["--from-cluster", f"http://ada:{SECRET}@ray:8265"], "use token_file"),
    ],
)
def test_what_makes_no_sense(here: Path, args: list[str], why: str) -> None:
    """A usage error, and no file."""
    result = init(*args)
    assert result.exit_code == 64, result.output
    assert why in result.stderr
    assert SECRET not in result.output
    assert files(here) == set()


def test_a_cluster_that_does_not_answer(here: Path) -> None:
    """Says so, and writes nothing."""
    result = init("--from-cluster", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "The Ray cluster at http://127.0.0.1:9 cannot be seen" in result.stderr
    assert files(here) == set()


def test_a_cluster_is_adopted_as_it_is(here: Path) -> None:
    """The digest of what was read, the Ray that runs it, and a check to begin with."""
    told = app(deployments=[{"name": "D", "num_replicas": 2, "health_check_period_s": 10.0}])
    http = {"host": "0.0.0.0", "port": 8100, "request_timeout_s": 30.0}
    result = adopted(
        build.live(
            build.app("fruit", config=told),
            build.app("notebook", source="imperative"),
            options={"http_options": http},
        )
    )
    assert result.exit_code == 0, result.output
    reading = written(here)
    assert reading.config == serve_config.canonical({
        "http_options": {"port": 8100, "request_timeout_s": 30.0}, "applications": [told]
    })  # fmt: skip
    rules, _ = policy.parse((here / "environments/production/environment.yaml").read_bytes(), "e")
    assert rules.ray_version == "2.60"
    assert "Not taken along:\n  Application 'notebook' was started with `serve run`" in result.stdout
    assert "changes nothing on the cluster" in result.stdout
    done = valid()
    assert (done.exit_code, done.stdout) == (0, "1 environment is valid.\n")
    (found,) = load(here / "deployer.yaml", NO_ENV).environments.values()
    assert found.cluster.address.startswith("http://127.0.0.1:")


def test_secrets_are_written_and_never_printed(here: Path) -> None:
    """They are the config. Who writes them into a repository is told which they are."""
    told = app(runtime_env={"env_vars": {"HF_TOKEN": SECRET}})
    result = adopted(build.live(build.app("fruit", config=told)))
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    assert "  runtime_env.env_vars.HF_TOKEN of application 'fruit'\n" in result.stdout
    assert written(here).config.applications()["fruit"]["runtime_env"]["env_vars"] == {"HF_TOKEN": SECRET}


def test_values_that_ray_hides_stop_it(here: Path) -> None:
    """A file with `<redacted>` in it would be deployed."""
    told = app(runtime_env={"env_vars": {"A": "<redacted>"}})
    result = adopted(build.live(build.app("fruit", config=told)))
    assert result.exit_code == 1
    assert "Ray hides the values of runtime_env.env_vars.A of application 'fruit'" in result.stderr
    assert "RAY_DASHBOARD_REDACT_RUNTIME_ENV=0" in result.stderr
    assert files(here) == set()


@pytest.mark.parametrize(
    "live", [build.live(serve_started=False), build.live(build.app("x", source="imperative"))]
)
def test_nothing_to_adopt(here: Path, live: Live) -> None:
    """No empty config is written: the daemon would delete by it."""
    result = adopted(live)
    assert result.exit_code == 1
    assert "There is nothing to adopt at http://127.0.0.1:" in result.stderr
    assert files(here) == set()


def test_what_serve_took_and_deployer_does_not_is_written_and_told(here: Path) -> None:
    """With its place in the file, so that it can be put right there."""
    told = app(route_prefix="/fruit/", runtime_env={"env_vars": {"UPLOAD": False, "TOKEN": SECRET}})
    result = adopted(build.live(build.app("fruit", config=told)))
    assert result.exit_code == 3
    file = "environments/production/serve_config.yaml"
    assert (here / file).exists()
    assert f"{file}:6:19: `route_prefix` ends with a slash" in result.stderr
    assert f"{file}:10:17: environment variable 'UPLOAD' must be text" in result.stderr
    assert "put it right in the file" in result.stdout
    assert SECRET not in result.output
    assert valid().exit_code == 3


@pytest.mark.parametrize(
    ("ray_version", "pinned"), [("2.40.0", "2.40"), ("99.1.0", "99.1"), ("1.13.0", None)]
)
def test_the_version_that_is_pinned_is_one_that_is_known(
    here: Path, ray_version: str, pinned: str | None
) -> None:
    """Where the daemon could not pin it either, nothing is, and the oldest schema is taken."""
    result = adopted(build.live(build.app("fruit", config=app()), ray_version=ray_version))
    assert result.exit_code == 0, result.output
    rules, _ = policy.parse((here / "environments/production/environment.yaml").read_bytes(), "e")
    assert rules.ray_version == pinned
    expected = {"2.40.0": "2.40.0", "99.1.0": "99.1", "1.13.0": schemas.KNOWN[0]}[ray_version]
    assert (here / f".deployer/serve_config-ray-{expected}.schema.json").exists()
    assert valid().exit_code == 3, "an application without a time-out has a warning"


def test_an_application_that_nobody_can_ask(here: Path) -> None:
    """It has no route; the check that is shown is then any."""
    result = adopted(build.live(build.app("fruit", config=app(route_prefix=None))))
    assert result.exit_code == 0, result.output
    assert "#path: /fruit" in (here / "environments/production/environment.yaml").read_text()


def test_a_folder_that_cannot_be_written(here: Path) -> None:
    """One sentence that names the file."""
    (here / "environments").write_text("")
    result = init()
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: environments/staging/serve_config.yaml cannot be written: ")


MARKET = """
from ray import serve

@serve.deployment(num_replicas=2, health_check_period_s=5)
class Stand:
    def __call__(self):
        return "mango"

app = Stand.bind()
"""


@pytest.mark.timeout(120)
def test_code_is_built_where_ray_is_installed(here: Path) -> None:
    """One application at the root, two at paths with their names, which are those of their modules."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    (here / "market.py").write_text(MARKET)
    shutil.copytree(here, here / "other", ignore=shutil.ignore_patterns("other"))
    (here / "other/__init__.py").write_text("")
    result = init("--environment", "one", "--from-app", "market:app")
    assert result.exit_code == 0, result.output
    assert written(here, "one").config.body() == {
        "applications": [
            {
                "name": "market",
                "route_prefix": "/",
                "import_path": "market:app",
                "deployments": [{"name": "Stand", "num_replicas": 2, "health_check_period_s": 5.0}],
            }
        ]
    }
    result = init("two", "--environment", "two", "--from-app", "market:app", "--from-app", "other.market:app")
    assert result.exit_code == 0, result.output
    apps = written(here / "two", "two").config.applications()
    assert {name: one["route_prefix"] for name, one in apps.items()} == {
        "market": "/market",
        "market-2": "/market-2",
    }


@pytest.mark.timeout(120)
def test_code_that_cannot_be_built(here: Path) -> None:
    """The reason is the last line of what `serve build` says."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    result = init("--from-app", "nowhere:app")
    assert result.exit_code == 1
    assert (
        result.stderr
        == "Error: `serve build nowhere:app` failed here: ModuleNotFoundError: No module named 'nowhere'\n"
    )
    assert files(here) == set()


def ids(address: str, names: set[str]) -> dict[str, set[str]]:
    """The replicas of each application, once everything is RUNNING and HEALTHY."""
    cluster = ServeCluster(address)

    def settled() -> dict[str, set[str]]:
        seen = cluster.observe()
        assert isinstance(seen, Live)
        found = {}
        for name in names:
            one = seen.apps[name]
            assert one.status == "RUNNING", (name, one.status, one.message)
            assert {deployment.status for deployment in one.deployments} == {"HEALTHY"}, one.deployments
            found[name] = {r.replica_id for each in one.deployments for r in each.replicas}
        return found

    try:
        return eventually(settled, within=SETTLES_SECONDS, what="everything RUNNING and HEALTHY")
    finally:
        cluster.close()


@pytest.mark.ray
@pytest.mark.timeout(500)
def test_the_first_deploy_of_an_adopted_cluster_changes_nothing(here: Path, fresh_serve: ServeHead) -> None:
    """On a real Ray, with every option of Serve's schema in use: no replica is replaced."""
    url = f"{fresh_serve.address}/api/serve/applications/"
    body = copy.deepcopy(everything(str(here / "logs")))
    (fixed,) = (one for one in body["applications"] if one["name"] == "fixed")
    # Text, which deployer refuses: that is another test's.
    fixed["deployments"][0]["request_router_config"]["max_backoff_s"] = 0.5
    requests.put(url, json=body, timeout=120).raise_for_status()
    names = {one["name"] for one in body["applications"]}
    ids(fresh_serve.address, names)
    result = init("--from-cluster", fresh_serve.address)
    assert result.exit_code == 0, result.output
    reading = written(here)
    before = ids(fresh_serve.address, names)
    answer = requests.put(url, json=reading.config.body(), timeout=120)
    assert answer.status_code == 200, answer.text
    after = ids(fresh_serve.address, names)
    # A policy among them grows its deployment on its own.
    assert {name: before[name] - after[name] for name in names} == {name: set() for name in names}
    stated = requests.get(url, timeout=30).json()
    port = int(fresh_serve.http.rpartition(":")[2])
    assert reading.config.body()["http_options"]["port"] == stated["http_options"]["port"] == port
    again = CliRunner().invoke(cli, ["init", "again", "--from-cluster", fresh_serve.address])
    assert again.exit_code == 0, again.output
    assert written(here / "again").config == reading.config
