"""Environment variables over the settings file: what they set, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.errors import InvalidConfig
from deployer.settings import Log
from tests.support.settings_files import SMALL, errors, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are; a test writes them."""
    return tmp_path / "deployer.yaml"


# --- environment variables ------------------------------------------------------------------------------


def test_variables_override_the_file(file: Path) -> None:
    """Scalars, groups and names with dashes; numbers too."""
    env = {
        "DEPLOYER_WORKERS": "7",
        "DEPLOYER_STATE_DIR": "/elsewhere",
        "DEPLOYER_LOG__LEVEL": "debug",
        "DEPLOYER_ENVIRONMENTS__STAGING__BRANCH": "1.10",
        "DEPLOYER_ENVIRONMENTS__STAGING__CLUSTER__ADDRESS": "http://other:8265",
        "DEPLOYER_REPOSITORIES__SERVE_CONFIGS__POLL_INTERVAL": "5s",
    }
    found = read(file, f"{SMALL}workers: 3\nlog:\n", env)
    assert found.workers == 7
    assert found.state_dir == Path("/elsewhere")
    assert found.log == Log(format="auto", level="debug")
    assert found.environments["staging"].branch == "1.10"
    assert found.environments["staging"].cluster.address == "http://other:8265"
    assert found.repositories["serve-configs"].poll_interval == 5.0


def test_variables_can_say_everything(file: Path) -> None:
    """With an empty file, as in a container."""
    env = {
        "DEPLOYER_REPOSITORIES__SERVE_CONFIGS__URL": "/srv/git/configs.git",
        "DEPLOYER_ENVIRONMENTS__EU_WEST__REPOSITORY": "serve-configs",
        "DEPLOYER_ENVIRONMENTS__EU_WEST__BRANCH": "main",
        "DEPLOYER_ENVIRONMENTS__EU_WEST__PATH": "environments/eu-west",
        "DEPLOYER_ENVIRONMENTS__EU_WEST__CLUSTER__ADDRESS": "http://ray:8265",
    }
    assert list(read(file, "", env).environments) == ["eu-west"]


@pytest.mark.parametrize(
    "env",
    [
        {"DEPLOYER_CONFIG": "/somewhere"},
        {"DEPLOYER_WORKERS": ""},
        {"deployer_workers": "x"},
        {"DEPLOYER_PORT": "tcp://10.0.0.1:80", "DEPLOYER_SERVICE_HOST": "10.0.0.1"},
    ],
    ids=["the file's own", "empty", "not ours", "set by Kubernetes"],
)
def test_variables_that_set_nothing(file: Path, env: dict[str, str]) -> None:
    """They belong to others, or say nothing."""
    assert read(file, SMALL, env) == read(file, SMALL, {})


STAGING = "DEPLOYER_ENVIRONMENTS__STAGING"
WRONG_VARIABLES = [
    ("DEPLOYER_WORKERS", "many", "workers must be a whole number from 1 to 1000"),
    ("DEPLOYER_LOG__LEVLE", "debug", "unknown key 'levle' in log (did you mean 'level'?)"),
    ("DEPLOYER_LOGS__LEVEL", "debug", "unknown key 'logs' (did you mean 'log'?)"),
    ("DEPLOYER_SERVER__LISTEN", ":1", "server.listen must be an address and a port, such as 127.0.0.1:8700"),
    ("DEPLOYER_SERVER_LISTEN", ":1", "no setting has this name (did you mean DEPLOYER_SERVER__LISTEN?"),
    ("DEPLOYER_ENVIRONMENTS", "a", "environments must be a mapping of names, not text"),
    ("DEPLOYER_STATE_DIR__X", "a", "state_dir holds no keys that could be set"),
    (f"{STAGING}__BRANCH__X", "a", "environments.staging.branch holds no keys that could be set"),
    (
        f"{STAGING}__BRANCH",
        "a b",
        "environments.staging.branch must be a branch, and git allows no such name",
    ),
    (f"{STAGING}__REPOSITORY", "x", "environments.staging.repository: no repository is called 'x'"),
    (
        "DEPLOYER_REPOSITORIES__SERVE_CONFIGS__URL",
        "https://a:hunter2@h/x",
        "repositories.serve-configs.url holds",
    ),
    ("DEPLOYER_WORKRES", "3", "no setting has this name (did you mean DEPLOYER_WORKERS?"),
    ("DEPLOYER_LOG_LEVEL", "debug", "no setting has this name (did you mean DEPLOYER_LOG__LEVEL?"),
    (
        "DEPLOYER_ENVIRONMENTS_STAGING_BRANCH",
        "x",
        "no setting has this name (did you mean DEPLOYER_ENVIRONMENTS__NAME__KEY?"
        " Two underscores separate keys)",
    ),
]


@pytest.mark.parametrize(("variable", "value", "why"), WRONG_VARIABLES)
def test_a_wrong_variable_is_named(file: Path, variable: str, value: str, why: str) -> None:
    """The error names the variable, not a line of the file that somebody would search in vain."""
    text = f"state_dir: /s\n{SMALL}"
    with pytest.raises(InvalidConfig) as caught:
        read(file, text, {variable: value})
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"environment variable {variable}: {why}")
    assert "hunter2" not in str(caught.value)


def test_what_a_variable_leaves_out_names_it(file: Path) -> None:
    """An environment that only a variable began lacks its keys there, not in the file."""
    found = errors(file, SMALL, {"DEPLOYER_ENVIRONMENTS__NEW__BRANCH": "main"})
    assert [error.partition(" is missing")[0] for error in found] == [
        f"DEPLOYER_ENVIRONMENTS__NEW__BRANCH: environments.new.{key}"
        for key in ("repository", "path", "cluster")
    ]
