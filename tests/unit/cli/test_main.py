"""The command tree: fast, forgiving about where options stand, exact about exit codes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.main import Exit, cli
from deployer.core.events import Kind, Started
from deployer.core.types import Policy
from tests.support import build

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = [
    "alembic",
    "apprise",
    "fastapi",
    "git",
    "pydantic",
    "ray",
    "requests",
    "sqlalchemy",
    "structlog",
    "uvicorn",
    "watchdog",
    "yaml",
]
"""What a command may need and `--help` does not."""


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `deployer ARGS` as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "deployer", *args],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": ":".join(sys.path)},
    )


def test_help_imports_nothing_heavy() -> None:
    """`deployer --help` answers at once because it loads no command."""
    program = (
        "import sys; from click.testing import CliRunner; from deployer.cli.main import cli\n"
        "result = CliRunner().invoke(cli, ['--help']); assert result.exit_code == 0, result.output\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.stdout.strip() == "[]", done.stderr


def test_validate_needs_little(tmp_path: Path) -> None:
    """A pre-commit hook waits for it: it loads what reads a file, and nothing that speaks to anybody."""
    file = tmp_path / "serve_config.yaml"
    file.write_text("applications: []\n")
    heavy = {*HEAVY, "importlib.metadata", "importlib.resources"} - {"yaml"}
    program = (
        "import sys; from click.testing import CliRunner; from deployer.cli.main import cli\n"
        f"result = CliRunner().invoke(cli, ['validate', '--no-ray', {str(file)!r}])\n"
        "assert result.exit_code == 0, result.output\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.stdout.strip() == "[]", done.stderr


def test_help_lists_every_command_and_the_exit_codes() -> None:
    """A newcomer's first look."""
    done = run("--help")

    assert done.returncode == 0
    commands = ["run", "status", "explain", "history", "sync", "rollback", "retry", "pause", "resume", "live"]
    for part in (*commands, "logs", "demo", "--config", "--output"):
        assert part in done.stdout
    codes = " ".join(done.stdout.partition("Exit codes: ")[2].split())
    for code in Exit:
        assert f"{int(code)} " in codes


def test_a_mistyped_command_is_a_usage_error_with_a_hint() -> None:
    """Exit code 64; 2 stays free."""
    done = run("statu")

    assert done.returncode == 64
    assert "Did you mean 'status'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_option_is_a_usage_error() -> None:
    """The same for options."""
    assert run("status", "--nonsense").returncode == 64


def test_no_settings_is_an_error_that_says_where_it_looked() -> None:
    """Exit code 3, no traceback."""
    done = run("status")

    assert done.returncode == 3
    assert "/etc/deployer/deployer.yaml" in done.stderr
    assert "Traceback" not in done.stderr


SETTINGS = """\
state_dir: {state}
repositories: {{configs: {{url: {state}/configs.git}}}}
environments:
  staging: {{repository: configs, branch: env/staging, path: ., cluster: {{address: "http://127.0.0.1:9"}}}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings of a daemon that never ran."""
    path = tmp_path / "deployer.yaml"
    path.write_text(SETTINGS.format(state=tmp_path / "state"))
    return path


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("command", ["status", "history"])
def test_options_stand_before_or_after_the_name(settings: Path, place: str, command: str) -> None:
    """Both places mean the same; a state directory that no daemon has used yet is an error that says so."""
    options = ["-c", str(settings), "-o", "json"]
    args = [*options, command] if place == "before" else [command, *options]
    result = CliRunner().invoke(cli, args)

    assert result.exit_code == 1, result.output
    assert "no daemon has run" in result.output.lower()


def test_an_unknown_environment_names_the_known_ones(settings: Path) -> None:
    """A usage error, before anything is read."""
    result = CliRunner().invoke(cli, ["history", "prod", "-c", str(settings)])

    assert result.exit_code == 64
    assert "There are: staging." in result.output


@pytest.mark.parametrize(("command", "table"), [("history", "rollouts"), ("status", "views")])
def test_a_damaged_store_ends_in_a_sentence(settings: Path, command: str, table: str) -> None:
    """What was read before the daemon would notice: exit code 1, what is wrong, what to do, no traceback."""
    path = settings.parent / "state" / STORE_FILE
    with closing(SqlStore.open(path)) as store:
        record = store.load("staging")
        release = build.release("a")
        start = Started(
            at=build.at(0),
            rollout="staging#1",
            kind=Kind.DEPLOY,
            release=release,
            policy=Policy(),
            trigger="push",
        )
        store.commit(record, [start])
        store.publish("staging", {"environment": "staging"}, build.at(0))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(f"UPDATE {table} SET data = '{{'")  # noqa: S608 - one of the two names above

    result = CliRunner().invoke(cli, [command, "-c", str(settings)])

    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert str(path) in result.output
    assert "estore a backup" in result.output
