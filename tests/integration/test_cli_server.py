"""--server against a real daemon; and every command that reads prints JSON and YAML."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner
from structlog.testing import capture_logs

from deployer.cli import audit_log
from deployer.cli.main import _COMMANDS, _IS_OF_THIS_MACHINE, cli
from tests.support.daemon_site import NAME, DaemonSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonSite]:
    """A daemon that has brought a commit to the cluster, gone back from the next, and was paused once."""
    made = DaemonSite(tmp_path_factory.mktemp("site"))
    made.push(message="open the market")
    with capture_logs(), made.running():
        assert made.type("sync", NAME, "--wait").exit_code == 0
        made.push("constructor_raises:app", message="a bad idea")
        assert made.type("sync", NAME, "--wait").exit_code == 4
        assert made.type("pause", NAME, "--reason", "lunch").exit_code == 0
        assert made.type("resume", NAME).exit_code == 0
        yield made


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of this machine's environment; and the daemon's log is not among what commands print."""
    for name in [name for name in os.environ if name.startswith("DEPLOYER_")]:
        monkeypatch.delenv(name)
    with capture_logs():
        yield


def token(site: DaemonSite, folder: Path, role: str) -> Path:
    """The file with a new token of this role."""
    file = folder / role
    made = site.type("token", "create", f"a-{role}", "--role", role)
    assert made.exit_code == 0, made.output
    file.write_text(made.stdout)
    file.chmod(0o600)
    return file


def there(site: DaemonSite, token_file: Path | None, *args: str) -> Result:
    """Type `deployer ARGS` as a person on another machine, who has no settings."""
    options = ["--server", site.api()[0], *(["--token-file", str(token_file)] if token_file else [])]
    return CliRunner().invoke(cli, [*args, *options], env={"HOME": "/nonexistent"})


ALIKE = [
    ["status"],
    ["status", NAME],
    ["history"],
    ["history", NAME, "-n", "1"],
    ["history", "--kind", "rollback"],
    ["history", "--result", "failed", "--since", "1h"],
    ["history", "--until", "1h"],
    ["history", "--author", "nobody"],
    ["explain", NAME],
    ["live", NAME],
    ["audit", "list"],
    ["audit", "list", "-n", "3", "--type", "paused"],
    ["audit", "list", "--actor", "deployer", "--environment", NAME],
    ["stats"],
    ["token", "list"],
    ["outbox", "list"],
]


@pytest.mark.parametrize("command", ALIKE, ids=" ".join)
def test_it_tells_the_same_as_the_store(site: DaemonSite, tmp_path: Path, command: list[str]) -> None:
    """Field by field, but for what the API tells more of, and for the moment."""
    file = token(site, tmp_path, "admin")
    here = site.json(*command)
    result = there(site, file, *command, "-o", "json")

    assert result.exit_code == 0, result.output
    assert steady(json.loads(result.stdout), here) == steady(here, here)


def steady(found: Any, like: Any) -> Any:
    """Without what is not in the other, and what is another at each look."""
    if isinstance(like, dict):
        moving = {"observed_at", "seen_at", "from", "until", "last_used_at", "state", "looks_again_at"}
        return {key: steady(found.get(key), like[key]) for key in like.keys() - moving}
    if isinstance(like, list) and isinstance(found, list):
        assert len(found) == len(like)
        return [steady(one, other) for one, other in zip(found, like, strict=True)]
    return found


def test_a_plan_is_that_of_the_daemon(site: DaemonSite, tmp_path: Path) -> None:
    """For what git wants there; what is read here cannot be asked for."""
    file = token(site, tmp_path, "viewer")
    told = there(site, file, "plan", NAME, "-o", "json")
    text = there(site, file, "plan", NAME)
    changed = there(site, file, "plan", NAME, "--detailed-exitcode")
    local = there(site, file, "plan", NAME, "--ref", "main")

    assert told.exit_code == 0, told.output
    [plan] = json.loads(told.stdout)
    assert plan["environment"] == NAME
    assert text.exit_code == 0
    assert text.stdout.splitlines()[-1].startswith("Plan: ")
    assert "fruit" in text.stdout
    assert changed.exit_code == (2 if plan["changes"] else 0)
    assert local.exit_code == 64


def test_an_export_is_the_whole_log_from_here_and_from_there(
    site: DaemonSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first, page after page; by the same filters as the list."""
    monkeypatch.setattr(audit_log, "PAGE", 3)
    file = token(site, tmp_path, "viewer")
    listed = site.json("audit", "list", "-n", "1000")
    here = site.type("audit", "export")
    assert len(listed) > 3
    assert [json.loads(line) for line in here.stdout.splitlines()] == listed[::-1]
    assert there(site, file, "audit", "export").stdout == here.stdout

    wish = ["audit", "export", "--format", "csv", "--type", "good", "-e", NAME]
    rows = list(csv.DictReader(io.StringIO(site.type(*wish).stdout)))
    assert {(row["environment"], row["type"]) for row in rows} == {(NAME, "good")}
    assert there(site, file, *wish).stdout == site.type(*wish).stdout

    unknown, with_output = site.type("audit", "export", "-e", "stagin"), site.type(*wish, "-o", "json")
    assert (unknown.exit_code, with_output.exit_code) == (64, 64)
    assert "No environment 'stagin' in the settings. There are: staging." in unknown.stderr
    assert "say --format jsonl or csv" in with_output.stderr


def test_logs_come_with_what_was_kept(site: DaemonSite, tmp_path: Path) -> None:
    """Also of a replica that is gone."""
    here = site.json("logs", NAME)
    result = there(site, token(site, tmp_path, "viewer"), "logs", NAME, "-o", "json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["logs"] == here["logs"]
    assert here["failed"] is not None
    assert found["failed"] == {**here["failed"], "replica": None}


def test_a_write_is_in_the_name_of_the_token(site: DaemonSite, tmp_path: Path) -> None:
    """Not in that of whoever is logged in."""
    file = token(site, tmp_path, "deployer")
    paused = there(site, file, "pause", NAME, "--reason", "from afar")
    assert paused.exit_code == 0, paused.output
    assert there(site, file, "resume", NAME).exit_code == 0
    [event] = site.json("audit", "list", "--type", "paused", "-n", "1")

    assert event["actor"].startswith("a-deployer (token ")
    assert event["reason"] == "from afar"


def test_the_token_of_the_machine_says_who_is_logged_in(
    site: DaemonSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over an ssh tunnel, with a copy of it: it is everybody's who administers that machine."""
    monkeypatch.setenv("SUDO_USER", "ada")
    file = tmp_path / "admin"
    file.write_text(site.api()[1])
    file.chmod(0o600)
    assert there(site, file, "pause", NAME, "--reason", "through a tunnel").exit_code == 0
    assert there(site, file, "resume", NAME).exit_code == 0
    [event] = site.json("audit", "list", "--type", "paused", "-n", "1")

    assert event["actor"] == "ada (local)"


def test_sync_waits_for_another_machines_daemon(site: DaemonSite, tmp_path: Path) -> None:
    """As CI does: the ending is in the exit code."""
    result = there(site, token(site, tmp_path, "deployer"), "sync", NAME, "--wait", "-o", "json")

    assert result.exit_code == 4, result.output
    assert json.loads(result.stdout)["outcome"] == "rolled_back"


def test_who_may_not_is_told_so(site: DaemonSite, tmp_path: Path) -> None:
    """Exit code 7, whether there is no token, a wrong one, or one that may only look."""
    viewer = token(site, tmp_path, "viewer")
    wrong = tmp_path / "wrong"
    wrong.write_text("dpl_" + "x" * 43)
    wrong.chmod(0o600)

    for file, told in (
        (None, "wants a token"),
        (wrong, "does not take the token"),
        (viewer, "deployer token list"),
    ):
        result = there(site, file, "resume", NAME)
        assert result.exit_code == 7, result.output
        assert told in result.output
    assert there(site, viewer, "status").exit_code == 0


def test_an_unknown_environment_is_a_usage_error(site: DaemonSite, tmp_path: Path) -> None:
    """As it is with settings."""
    result = there(site, token(site, tmp_path, "viewer"), "status", "nowhere")

    assert result.exit_code == 64, result.output
    assert f"It has: {NAME}" in result.output


def test_the_health_is_asked_without_a_token(site: DaemonSite) -> None:
    """One line and 0; here and there."""
    for result in (site.type("healthcheck"), there(site, None, "healthcheck")):
        assert result.exit_code == 0, result.output
        assert result.stdout == f"ok: {site.api()[0]} answers and is ready\n"


def test_a_daemon_that_is_not_there_is_not_well(tmp_path: Path) -> None:
    """One line and 1."""
    site = DaemonSite(tmp_path)
    result = site.type("healthcheck")

    assert result.exit_code == 1
    assert result.stdout.startswith("not well: The daemon is not running")
    assert len(result.stdout.splitlines()) == 1


def test_a_log_is_verified_and_a_change_is_found(tmp_path: Path) -> None:
    """Exit code 0, then 1 with the first event that is not as it was."""
    site = DaemonSite(tmp_path)
    site.push(message="open the market")
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
    good = site.type("audit", "verify")
    assert good.exit_code == 0
    assert good.stdout.startswith("Verified: ")
    damage(site)
    bad = site.type("audit", "verify", "-o", "json")

    assert bad.exit_code == 1
    found = json.loads(bad.stdout)
    assert found["verdict"] == "changed"
    assert any(one.startswith(f"Event 2 of {NAME} (id ") for one in found["findings"])


def damage(site: DaemonSite) -> None:
    """Somebody edits the second event, past the triggers."""
    with closing(sqlite3.connect(site.state_dir / "deployer.db")) as raw, raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("UPDATE events SET actor = 'nobody' WHERE sequence = 2")


# --- every command that reads ------------------------------------------------------------------------------

READS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("validate",): ("{folder}",),
    ("plan",): (NAME, "--against", "release"),
    ("diff",): ("--environment", NAME, "1", "1"),
    ("render",): (NAME,),
    ("schema",): ("environment",),
    ("status",): (),
    ("explain",): (NAME,),
    ("history",): (),
    ("stats",): (),
    ("live",): (NAME,),
    ("logs",): (NAME,),
    ("audit", "list"): (),
    ("audit", "show"): ("1",),
    ("rollouts", "show"): (f"{NAME}#1",),
    ("audit", "verify"): (),
    ("doctor",): ("--only", "settings"),
    ("healthcheck",): (),
    ("config", "show"): (),
    ("config", "validate"): (),
    ("config", "schema"): (),
    ("token", "list"): (),
    ("outbox", "list"): (),
    ("notify", "list"): (),
}
"""With the arguments with which each has something to read."""

OTHERS = {
    "run", "init", "try", "demo", "completion", "sync", "rollback", "retry", "pause", "resume",
    "promote", "approve", "reject", "backup", "restore",
}  # fmt: skip
"""They do something, and print JSON of that where it is worth it; or they are for a person alone."""


def commands() -> Iterator[tuple[str, ...]]:
    """Every command of the table, with those of groups instead of the groups."""
    context = click.Context(cli)
    for name in _COMMANDS:
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)
        else:
            yield (name,)


def test_every_command_is_in_one_of_the_two() -> None:
    """One that is added tomorrow must say whether it reads."""
    writes = {("token", "create"), ("token", "revoke"), ("rollouts", "bundle")}
    writes |= {("outbox", "retry"), ("outbox", "drop"), ("notify", "test")}

    export = {("audit", "export")}  # in formats of its own

    signs = {("audit", "checkpoint"), ("audit", "seal")}  # for a log that is signed

    assert {*commands()} == {*READS} | {(name,) for name in OTHERS} | writes | export | signs
    assert {name for name in _IS_OF_THIS_MACHINE if name not in OTHERS} <= {names[0] for names in READS}


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("command", list(READS), ids=" ".join)
def test_every_read_prints_json_and_yaml(
    site: DaemonSite, tmp_path: Path, command: tuple[str, ...], form: str
) -> None:
    """Nothing but that on stdout, and the same in both."""
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "serve_config.yaml").write_text(
        "applications: [{name: a, import_path: 'a:b', route_prefix: /a}]\n"
    )
    rest = [part.format(folder=folder) for part in READS[command]]
    result = site.type(*command, *rest, "-o", form)

    assert result.exit_code in {0, 1}, result.output
    found = json.loads(result.stdout) if form == "json" else yaml.safe_load(result.stdout)
    assert isinstance(found, dict | list)
    if form == "json":
        # Also where nobody expects it: YAML of it is the same data.
        assert yaml.safe_load(json.dumps(found)) == found
