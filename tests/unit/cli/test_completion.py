"""Completion: a real bash asks, as when a person presses Tab; and what must never happen meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from deployer.adapters.store import SqlStore
from deployer.cli import completing
from deployer.cli.completion import script
from deployer.cli.context import STORE_FILE
from deployer.cli.main import cli
from deployer.core.gates import SKIPPABLE
from deployer.core.status import status, view
from deployer.settings import load
from tests.support.build import (
    app,
    applied,
    at,
    desired,
    ended_well,
    failed,
    held,
    live,
    record_of,
    release,
    running,
    seen,
    started,
)
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Mapping

LEFT = [one for one in SKIPPABLE if one != "windows"]
DEPLOYER = Path(sys.executable).parent / "deployer"

SETTINGS = """\
state_dir: {root}/state
repositories: {{configs: {{url: {root}/configs.git}}}}
environments:
  production: {{repository: configs, branch: main, path: p, cluster: {{address: "http://127.0.0.1:9"}}}}
  preview: {{repository: configs, branch: main, path: q, cluster: {{address: "http://127.0.0.1:9"}}}}
  staging: {{repository: configs, branch: main, path: s, cluster: {{address: "http://127.0.0.1:9"}}}}
"""

ASK = """\
{source}
COMP_WORDS=({words})
COMP_CWORD={at}
COMP_LINE={line!r}
_deployer_completion {deployer}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person with settings where they are looked for."""
    folder = tmp_path / ".config" / "deployer"
    folder.mkdir(parents=True)
    (folder / "deployer.yaml").write_text(SETTINGS.format(root=tmp_path))
    return tmp_path


@pytest.fixture
def store(home: Path) -> Path:
    """The same after a daemon has run: two good releases, one that failed, and a strange application."""
    a, b = release("a"), release("b")
    b = replace(b, revision=replace(b.revision, subject="raise \x1b[31m the\nprice"))
    good = (seen(a), started(a), applied(), *ended_well())
    bad = (seen(b, 20), started(b, 2, second=20), applied(2, 21), failed(2), held(2))
    with closing(SqlStore.open(home / "state" / STORE_FILE)) as opened:
        record = opened.load("staging")
        record = opened.commit(record, good)
        opened.commit(record, bad)
        names = ("$(touch pwned)", "a b", "fruit", "math")
        cluster = live(*running(a).apps.values(), *(app(name) for name in names))
        shown = view(status(desired(a), cluster, record_of(*good), at(60)))
        apps = [{"name": name, "status": "RUNNING"} for name in names]
        opened.publish("staging", {**shown, "apps": apps}, at(60))
        gate = {"name": "approvals", "verdict": "closed", "evidence": "It has 0 of 1 approvals."}
        gates = [{**gate, "plan": None}, {**gate, "plan": f"sha256:{'a' * 64}"}]
        opened.publish("production", {**shown, "environment": "production", "gates": gates}, at(60))
    return home


def environ(home: Path, **more: str) -> Mapping[str, str]:
    """What a shell of this person has."""
    return {"PATH": f"{DEPLOYER.parent}:/usr/bin:/bin", "HOME": str(home), **more}


def ask(home: Path, words: str, **more: str) -> tuple[list[str], str]:
    """What bash offers at the end of this line, and what was printed beside it."""
    require("bash", shutil.which("bash") is not None, "apt-get install bash")
    parts = words.split(" ")
    program = ASK.format(
        source=script("bash").replace("complete -o nosort", "complete"),
        words=" ".join(f"'{part}'" for part in parts),
        at=len(parts) - 1,
        line=words,
        deployer=DEPLOYER,
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=home,
        env=environ(home, **more),
    )
    return done.stdout.split("\n")[:-1], done.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("deployer stat", ["status", "stats"]),
        ("deployer status pr", ["production", "preview"]),
        ("deployer status ", ["production", "preview", "staging"]),
        ("deployer -o json status st", ["staging"]),
        ("deployer sync --wait pre", ["preview"]),
        ("deployer audit li", ["list"]),
        ("deployer audit list --environment st", ["staging"]),
        ("deployer status --wat", ["--watch"]),
        ("deployer history --kind r", ["rollback", "restore"]),
        ("deployer rollback staging --to ", ["staging#1"]),
        ("deployer rollback production --to ", [""]),
        ("deployer logs staging ", ["fruit", "math"]),
        ("deployer completion z", ["zsh"]),
        ("deployer promote ", ["production", "preview", "staging"]),
        ("deployer promote staging pr", ["production", "preview"]),
        ("deployer promote staging production --release ", ["staging#1"]),
        ("deployer promote staging production --skip so", ["soak"]),
        ("deployer promote staging production --skip soak,wi", ["soak,windows"]),
        ("deployer sync staging --skip so", [""]),
        ("deployer sync staging --skip windows,", [f"windows,{one}" for one in LEFT]),
        ("deployer approve production --plan ", ["a" * 64]),
        ("deployer reject staging --plan ", [""]),
    ],
)
def test_bash_completes(store: Path, line: str, offered: list[str]) -> None:
    """Commands, options, environments, good releases and applications; nothing else is printed."""
    found, errors = ask(store, line)

    assert errors == ""
    assert found == offered


def test_names_come_from_the_store_where_the_settings_cannot_be_read(store: Path) -> None:
    """It is where the variables say; all that ever had an event are there."""
    (store / ".config/deployer/deployer.yaml").write_text("environments: [")

    assert ask(store, "deployer status s", DEPLOYER_STATE_DIR=str(store / "state")) == (["staging"], "")


@pytest.mark.parametrize(
    "broken",
    [
        "environments: [",
        "environments: 7",
        "environments: {1: 2, null: 3}",
        "[]",
        "\x00",
        "- &a [*a]",
        "!!python/object/apply:os.system [touch pwned]",
    ],
)
def test_what_is_broken_offers_nothing_and_says_nothing(home: Path, broken: str) -> None:
    """A person is in the middle of a line."""
    (home / ".config/deployer/deployer.yaml").write_text(broken)

    assert ask(home, "deployer status x") == ([""], "")
    assert not (home / "pwned").exists()


def test_no_settings_and_a_damaged_store(home: Path) -> None:
    """The same."""
    (home / "state").mkdir()
    (home / "state" / STORE_FILE).write_bytes(b"no database" * 100)
    settings = home / ".config/deployer/deployer.yaml"

    assert ask(home, "deployer rollback staging --to ") == ([""], "")
    settings.unlink()
    assert ask(home, "deployer status ", DEPLOYER_STATE_DIR=str(home / "state")) == ([""], "")


def test_a_name_is_a_word_or_it_is_not_offered(store: Path) -> None:
    """An application can be called anything; what is offered is put into the line as it is."""
    found, _ = ask(store, "deployer logs staging ")

    assert found == ["fruit", "math"]
    assert not (store / "pwned").exists()


def test_a_disk_that_hangs_offers_nothing_soon(home: Path) -> None:
    """A named pipe that nobody writes to; the shell gets its line back."""
    settings = home / ".config/deployer/deployer.yaml"
    settings.unlink()
    os.mkfifo(settings)
    began = time.monotonic()

    assert ask(home, "deployer status ") == ([""], "")
    # The limit is 1 s; the rest is for the processes on a machine that is busy.
    assert time.monotonic() - began < 20


def test_a_completion_loads_nothing_heavy(home: Path) -> None:
    """Which is why it does not take long."""
    heavy = [
        "alembic",
        "fastapi",
        "filelock",
        "git",
        "pydantic",
        "requests",
        "rich",
        "sqlalchemy",
        "structlog",
    ]
    program = (
        "import sys; from deployer.cli.main import cli; from deployer.cli import completing\n"
        "completing._SECONDS = 30; completing.answer(cli, 'bash_complete')\n"
        f"print(sorted(set({heavy}) & set(sys.modules)))"
    )
    for command in (
        "status",
        "history",
        "explain",
        "live",
        "logs",
        "sync",
        "rollback",
        "retry",
        "pause",
        "resume",
    ):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environ(
                home, COMP_WORDS=f"deployer {command} ", COMP_CWORD="2", PYTHONPATH=":".join(sys.path)
            ),
        )
        assert done.stdout.endswith("[]\n"), (command, done.stdout, done.stderr)


def test_every_environment_can_be_completed() -> None:
    """Also those of commands that are added tomorrow."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        for one in [command, *(command.commands.values() if isinstance(command, click.Group) else ())]:
            for param in one.params:
                # `init` makes names, and `render` takes what may also be a file.
                if param.name in {"environment", "environments"} and name not in {"init", "render"}:
                    assert param._custom_shell_complete is not None, (name, one.name, param.name)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"XDG_CONFIG_HOME": "/x/config", "XDG_STATE_HOME": "/x/state"},
        {"XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": "relative"},
        {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"},
        {"DEPLOYER_STATE_DIR": "/elsewhere"},
        {"DEPLOYER_CONFIG": "named.yaml"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "state_dir", ["", "state_dir: ../below\n", "state_dir: ~/state\n", "state_dir: /abs\n"]
)
def test_it_looks_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], state_dir: str
) -> None:
    """The same places as `deployer.settings`, which would take too long to ask."""
    for name in ("CONFIG", "STATE_DIR", "SERVER"):
        monkeypatch.delenv(f"DEPLOYER_{name}", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("/x", str(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    context = click.Context(cli)
    # Before it is looked for, so that it is never the machine's own.
    file = tmp_path / ("config" if variables.get("XDG_CONFIG_HOME", "").startswith("/") else ".config")
    file = tmp_path / "named.yaml" if "DEPLOYER_CONFIG" in variables else file / "deployer/deployer.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(state_dir + SETTINGS.format(root=tmp_path).partition("\n")[2])
    settings = load(None, os.environ, check_files=False)

    assert completing._file(context).absolute() == file
    assert completing._state_dir(context) == settings.state_dir
    assert completing._environments(context) == list(settings.environments)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_say_how_to_install_them_and_are_taken_by_their_shells(
    shell: str, tmp_path: Path
) -> None:
    """The comment comes first, but for the line by which zsh knows the file."""
    text = script(shell)
    lines = text.split("\n")

    assert (lines[0] == "#compdef deployer") is (shell == "zsh")
    assert f"deployer completion {shell} >" in text
    assert text.index("# Completion for deployer.") < text.index("_deployer_completion")
    if shutil.which(shell) is None:
        assert shell != "bash"
        return
    (tmp_path / "script").write_text(text)
    checked = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, timeout=10, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_sourced_script_is_asked_by_bash(home: Path) -> None:
    """As a person installs it: `source <(deployer completion bash)`."""
    require("bash", shutil.which("bash") is not None, "apt-get install bash")
    done = subprocess.run(
        ["bash", "--norc", "-c", "source <(deployer completion bash) && complete -p deployer"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environ(home),
    )

    assert (done.stdout, done.stderr) == ("complete -o nosort -F _deployer_completion deployer\n", "")
