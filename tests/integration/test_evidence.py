"""One event and one rollout in full, and its evidence as a file: from a real store, here and from afar."""

from __future__ import annotations

import base64
import io
import json
import os
import sqlite3
import stat
import zipfile
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import click
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from deployer.adapters.store import SqlStore, StoreCorrupt
from deployer.adapters.store.evidence import Evidence
from deployer.cli import completing, rollouts
from deployer.cli.client import Daemon
from deployer.cli.context import STORE_FILE
from deployer.cli.main import Failure as Refusal
from deployer.cli.main import cli
from deployer.core.events import (
    Approved,
    DaemonStarted,
    Failed,
    Failure,
    FailureClass,
    GateEvidence,
    Held,
    LogKept,
    LogSource,
    Paused,
    Promoted,
    PromotionAsked,
    RollbackAsked,
    Seen,
    Started,
)
from deployer.core.scrub import REDACTED
from deployer.core.types import Check, Policy
from deployer.engine.dossiers import Dossiers
from deployer.web.models._evidence import Evidence as Shown
from tests.contract.histories import good, play, rollback, started, story
from tests.support import large_store
from tests.support.build import at, release
from tests.support.daemon_site import NAME, DaemonSite
from tests.unit.cli.test_json_docs import differences, paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from deployer.core.events import Event
    from deployer.core.record import Record

SETTINGS = """\
state_dir: {root}/state
repositories: {{configs: {{url: "{root}/configs.git"}}}}
environments:
  staging: {{repository: configs, branch: main, path: staging, cluster: {{address: "http://ray-head:8265"}}}}
  dev: {{repository: configs, branch: main, path: dev, cluster: {{address: "http://ray-dev:8265"}}}}
"""

CANARIES = {
    "env": 'env "5up3r" s3cr3t/\u00e9',
    "named": "named-5up3r-s3cr3t",
    "url": "url-5up3r-s3cr3t",
    "before": "before-5up3r-s3cr3t",
}
SECRET_APP = {
    "name": "fruit",
    "import_path": "good:app",
    "args": {"db_password": CANARIES["named"], "dsn": f"postgres://ada:{CANARIES['url']}@db/x"},
    "runtime_env": {"env_vars": {"KEY": CANARIES["env"], "ENVIRONMENT": "staging"}},
}
BEFORE_APP = {
    "name": "fruit",
    "import_path": "good:app",
    "runtime_env": {"env_vars": {"KEY": CANARIES["before"]}},
}
SOURCE = LogSource(replica="fruit#Mango#x1", node_id="n1", path="serve/x1.log")


def spelled(secret: str) -> list[str]:
    """How it can stand in a text."""
    raw = secret.encode()
    encoded = [base64.b64encode(text).decode() for text in (raw, b"ada:" + raw)]
    return [secret, json.dumps(secret)[1:-1], quote(secret, safe=""), *encoded]


LOG = "\n".join(f"it says {form}!" for secret in CANARIES.values() for form in spelled(secret))


class Machine:
    """A machine with a store, whose daemon is down, and a person at its keyboard."""

    def __init__(self, root: Path) -> None:
        """Make the settings and an empty store."""
        self.root = root
        self.settings = root / "deployer.yaml"
        self.settings.write_text(SETTINGS.format(root=root))
        self.path = root / "state" / STORE_FILE
        self.store = SqlStore.open(self.path)

    def type(self, *args: str) -> Result:
        """Type `deployer ARGS`; what it printed and its exit code."""
        return CliRunner().invoke(cli, [*args, "-c", str(self.settings)])

    def json(self, *args: str) -> Any:
        """The same with `-o json`, for a command that ends well."""
        result = self.type(*args, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def tell(self, environment: str, *events: Event) -> Record:
        """Append to the log of an environment."""
        return self.store.commit(self.store.load(environment), events)

    def id_of(self, kind: str) -> int:
        """The newest event of this type."""
        return int(self.json("audit", "list", "--type", kind, "-n", "1")[0]["id"])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """One where a deploy was good, the next failed, and was rolled back; every text of it full of secrets."""
    for name in [name for name in os.environ if name.startswith("DEPLOYER_")]:
        monkeypatch.delenv(name)
    made = Machine(tmp_path)
    monkeypatch.chdir(tmp_path)
    with closing(made.store):
        _fill(made)
        yield made


def _fill(made: Machine) -> None:
    play(made.store, made.store.load("staging"), good(made.store.load("staging"), release("one", BEFORE_APP)))
    two = release("two", SECRET_APP)
    commit = two.revision.commit
    clusters = {"staging": "http://old-head:8265", "dev": "http://ray-dev:8265"}
    made.tell(
        "@deployer",
        DaemonStarted(
            at=at(1), version="0.0.9", python="3.12.0", schema="0002", settings="s", clusters=clusters
        ),
    )
    made.tell("staging", Seen(at=at(20), actor="Ada <ada@example.com>", release=two))
    made.tell(
        "staging",
        PromotionAsked(
            at=at(21), actor="ada (token 1)", reason="sale", source="dev", rollout="dev#3", commit=commit
        ),
        Promoted(at=at(22), commit=commit, branch="main"),
    )
    made.tell(
        "staging", Approved(at=at(23), actor="lin (token 2)", plan="p", digest=two.digest, commit=commit)
    )
    gate = GateEvidence(name="requires", verdict="open", evidence="It is good in dev for long enough.")
    check = Check(app="fruit", path="/fruit?api_key=sent-5up3r-s3cr3t", body='{"token":"sent-5up3r-s3cr3t"}')
    begun = replace(
        started(made.store.load("staging"), two),
        gates=(gate,),
        policy=Policy(checks=(check,)),
        ray_version="2.59.0",
        session="session_7",
    )
    made.tell("staging", begun)
    failure = Failure(
        failure_class=FailureClass.CODE,
        message=f"fruit / Mango: RuntimeError: {CANARIES['env']}",
        detail=f"Traceback ...\n{LOG}\nRuntimeError",
        log=SOURCE,
    )
    made.tell(
        "staging",
        Failed(at=at(31), rollout="staging#2", failure=failure),
        Held(at=at(31), rollout="staging#2", reason=failure.message),
    )
    made.tell("staging", LogKept(at=at(32), rollout="staging#2", source=SOURCE, text=LOG))
    play(made.store, made.store.load("staging"), rollback(made.store.load("staging")))


def members(content: bytes) -> dict[str, bytes]:
    """The files of a bundle, without the name of their folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def assert_clean(content: bytes) -> None:
    """No secret is in it, however spelled."""
    for secret in (*CANARIES.values(), "sent-5up3r-s3cr3t"):
        for form in spelled(secret):
            assert form.rstrip("=")[:-2].encode() not in content, form


# --- one event -------------------------------------------------------------------------------------------


def test_the_start_of_a_rollout_in_full(machine: Machine) -> None:
    """By its id and by its place: who, why, every field, its hashes, what it changed and restarts."""
    listed = {one["id"]: one for one in machine.json("audit", "list")}
    began = next(one for one in listed.values() if one["rollout"] == "staging#2" and one["type"] == "started")
    told = machine.json("audit", "show", str(began["id"]))

    assert told == machine.json("audit", "show", f"staging:{began['sequence']}")
    assert {key: told[key] for key in began} == began
    assert (told["hash_is_right"], told["previous_is_right"]) == (True, True)
    assert told["previous_hash"] == listed[began["id"] - 1]["hash"]
    assert told["fields"]["gates"][0]["evidence"] == "It is good in dev for long enough."
    assert told["commit"] == release("two").revision.commit
    assert told["of_rollout"]["result"] == "failed"
    effects = {one["option"]: (one["change"], one["effect"]) for one in told["changes"]}
    assert effects["runtime_env.env_vars.KEY"] == ("changed", "rebuilds the app")
    assert_clean(json.dumps(told).encode())


def test_an_event_as_a_person_reads_it(machine: Machine) -> None:
    """Sentences first, then every field; the diff where one began, and no secret."""
    began = machine.json("audit", "list", "--type", "started", "-n", "2")[1]
    shown = machine.type("audit", "show", str(began["id"])).stdout
    assert f"Event {began['id']}: started, staging:{began['sequence']}" in shown
    assert "  gates[0].evidence " in shown
    assert "The rollout staging#2 (deploy, failed):" in shown
    assert "runtime_env.env_vars.KEY" in shown
    assert "rebuilds the app" in shown
    assert_clean(shown.encode())

    kept = machine.type("audit", "show", str(machine.id_of("log_kept"))).stdout
    assert f"it says {REDACTED}!" in kept
    assert_clean(kept.encode())
    approved = machine.type("audit", "show", str(machine.id_of("approved"))).stdout
    assert "lin (token 2): the token with this ID was shown" in approved
    assert "Changes" not in approved
    machine.tell("staging", Paused(at=at(60), actor="ada (local)", reason="lunch"))
    paused = machine.type("audit", "show", str(machine.id_of("paused"))).stdout
    assert "lunch" in paused
    assert "The rollout" not in paused


def test_every_event_of_the_log_can_be_shown(machine: Machine) -> None:
    """In both forms; of each the hash is right, also of the daemon's own."""
    two = release("one", BEFORE_APP)
    machine.tell("staging", RollbackAsked(at=at(70), actor="ada (local)", release=two, made_good="staging#1"))
    listed = machine.json("audit", "list", "-n", "1000")
    assert {one["environment"] for one in listed} == {"staging", "@deployer"}
    for one in listed:
        told = machine.json("audit", "show", f"{one['environment']}:{one['sequence']}")
        assert told["id"] == one["id"]
        assert told["hash_is_right"]
        assert told["previous_is_right"]
        assert machine.type("audit", "show", str(one["id"])).exit_code == 0


def test_a_changed_event_says_so(machine: Machine) -> None:
    """Its own hash is wrong; the one of the event after it that was moved does not follow."""
    number = machine.id_of("held")
    machine.store.close()
    with closing(sqlite3.connect(machine.path)) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("UPDATE events SET reason = 'nothing' WHERE id = ?", (number,))
        connection.execute("UPDATE events SET hash = ? WHERE id = ?", ("0" * 64, number - 1))
        connection.commit()
    told = machine.json("audit", "show", str(number))
    assert (told["hash_is_right"], told["previous_is_right"]) == (False, False)
    shown = machine.type("audit", "show", str(number)).stdout
    assert "WRONG: this event was changed" in shown
    assert "WRONG: the event before it" in shown
    made = machine.type("rollouts", "bundle", "staging#2")
    assert made.exit_code == 0, made.output
    assert (
        b"are not as they were written" in members((machine.root / "staging-2.zip").read_bytes())["README.md"]
    )


def test_an_event_that_cannot_be_read_says_why(machine: Machine) -> None:
    """With the next step, not with a traceback."""
    number = machine.id_of("held")
    machine.store.close()
    with closing(sqlite3.connect(machine.path)) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("UPDATE events SET data = '{}' WHERE id = ?", (number,))
        connection.commit()
    result = machine.type("audit", "show", str(number))
    assert result.exit_code == 1
    assert "restore a backup" in result.stderr
    with closing(SqlStore.open_readonly(machine.path)) as store, pytest.raises(StoreCorrupt):
        Evidence(store.database).of_rollout("staging#2")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("staging#2", "`deployer rollouts show 'staging#2'` shows a rollout"),
        ("x", "'x' is no event: an event is called by its ID"),
        ("99999", "There is no event 99999: `deployer audit list` shows their IDs."),
        ("staging:999", "There is no event staging:999"),
    ],
)
def test_what_is_no_event_is_told_so(machine: Machine, name: str, told: str) -> None:
    """As a mistake in the command."""
    result = machine.type("audit", "show", name)
    assert result.exit_code == 64
    assert told in result.stderr


def test_the_table_of_the_log_begins_with_the_ids(machine: Machine) -> None:
    """They are what `audit show` takes."""
    header, first, *_ = machine.type("audit", "list").stdout.splitlines()
    assert header.split()[:2] == ["ID", "ENV"]
    assert first.split()[0] == str(machine.json("audit", "list", "-n", "1")[0]["id"])


# --- one rollout -----------------------------------------------------------------------------------------


def test_a_rollout_in_sentences(machine: Machine) -> None:
    """Who, why, gates and approvals, how it ended, the first error, what followed; then all that happened."""
    shown = machine.type("rollouts", "show", "staging#2")
    assert shown.exit_code == 0, shown.output
    for part in (
        "staging#2  deploy  failed",
        "is approved, for what it would do now (p), by lin (token 2)",
        "gate requires",
        "first error",
        "staging#3 answered it, a rollback to",
        "Timeline (UTC):",
        "Checks:",
        "The first error in full:",
        "rebuilds the app",
        "`deployer rollouts bundle 'staging#2'`",
    ):
        assert part in shown.stdout
    told = machine.json("rollouts", "show", "staging#2")
    assert told["gates"][0]["name"] == "requires"
    assert [one["about"] for one in told["story"]][:5] == ["what", "who", "commit", "why", "before"]
    assert machine.json("rollouts", "show", "staging#3")["kind"] == "rollback"


def test_a_rollout_that_is_not_there(machine: Machine) -> None:
    """Its name is told, harmless, and how one is called."""
    for command in ("show", "bundle"):
        result = machine.type("rollouts", command, "staging#9\x1b[2J")
        assert result.exit_code == 64
        assert "There is no rollout 'staging#9'." in result.stderr


def test_a_shell_completes_the_newest_rollouts(machine: Machine) -> None:
    """With how each ended, and its commit."""
    context = click.Context(cli, info_name="deployer")
    context.params = {"config": str(machine.settings)}
    found = completing.rollouts(context, click.Argument(["rollout"]), "staging#")
    assert [one.value for one in found] == ["staging#3", "staging#2", "staging#1"]
    assert found[1].help == f"failed: {release('two').revision.short} commit two"


# --- the bundle ------------------------------------------------------------------------------------------


def test_a_bundle_has_the_evidence_and_no_secret(machine: Machine) -> None:
    """All that a ticket needs, whatever the log and the error repeat of the config."""
    result = machine.type("rollouts", "bundle", "staging#2")
    assert result.exit_code == 0, result.output
    file = machine.root / "staging-2.zip"
    content = file.read_bytes()
    made = members(content)

    assert_clean(content)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in machine.root.iterdir() if path.name.startswith(".")] == []
    assert f"staging-2.zip: {len(content):,} bytes" in result.stdout
    assert all(name in result.stdout for name in made)
    events = [json.loads(line) for line in made["timeline.jsonl"].splitlines()]
    listed = machine.json("audit", "list", "-n", "100")
    assert [(one["id"], one["hash"]) for one in events] == [
        (one["id"], one["hash"]) for one in reversed(listed) if one["rollout"] == "staging#2"
    ]
    before = [json.loads(line)["type"] for line in made["before.jsonl"].splitlines()]
    assert before == ["seen", "promotion_asked", "promoted", "approved"]
    versions = json.loads(made["versions.json"])
    assert versions["daemon"]["version"] == "0.0.9"
    assert versions["cluster"]["address"] == "http://old-head:8265"
    assert versions["ray"]["when_it_began"] == "2.59.0"
    assert made["log-1-fruit-Mango-x1.txt"].startswith(f"it says {REDACTED}!".encode())
    assert made["error.txt"].startswith(b"Traceback ...\n")
    assert b"db_password: <redacted>" in made["config.yaml"]
    assert json.loads(made["rollout.json"])["environment"] == "staging"


def test_the_same_store_makes_the_same_bytes(machine: Machine) -> None:
    """Whenever, and wherever it is packed."""
    for name in ("one.zip", "other.zip"):
        assert machine.type("rollouts", "bundle", "staging#2", "--file", name).exit_code == 0
    assert (machine.root / "one.zip").read_bytes() == (machine.root / "other.zip").read_bytes()


def test_nothing_is_written_over(machine: Machine) -> None:
    """Neither a file, nor a link that leads nowhere, nor a folder; exit code 64, and no litter."""
    (machine.root / "staging-2.zip").write_text("mine")
    (machine.root / "link.zip").symlink_to(machine.root / "nowhere")
    (machine.root / "folder").mkdir()
    for name in ("staging-2.zip", "link.zip", "folder"):
        result = machine.type("rollouts", "bundle", "staging#2", "--file", name)
        assert result.exit_code == 64
        assert f"{name} is there already, and is not written over" in result.stderr
    assert (machine.root / "staging-2.zip").read_text() == "mine"
    assert not (machine.root / "nowhere").exists()
    missing = machine.type("rollouts", "bundle", "staging#2", "--file", "no/such/folder.zip")
    assert missing.exit_code == 1
    assert "cannot be written: No such file or directory" in missing.stderr
    assert {path.name for path in machine.root.iterdir()} == {
        *("deployer.yaml", "state", "staging-2.zip", "link.zip", "folder"),
    }


def test_what_came_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """Also where a file system has no hard links."""
    target = tmp_path / "x.zip"
    rollouts._write(target, b"first")
    with pytest.raises(Refusal) as refused:
        rollouts._write(target, b"second")
    assert refused.value.exit_code == 64
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"first", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_without_hard_links_it_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And over nothing."""

    def none(_source: object, _target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    target = tmp_path / "x.zip"
    rollouts._write(target, b"first")
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"first", 0o600)
    with pytest.raises(Refusal, match="is there already"):
        rollouts._write(target, b"second")
    assert target.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_a_bundle_goes_through_a_pipe_and_not_to_a_terminal(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it is then told on stderr."""
    piped = machine.type("rollouts", "bundle", "staging#2", "--file", "-")
    assert piped.exit_code == 0, piped.output
    assert "README.md" in members(piped.stdout_bytes)
    assert "stdout: " in piped.stderr
    assert not (machine.root / "-").exists()
    told = machine.json("rollouts", "bundle", "staging#2", "--file", "x.zip")
    assert told["file"] == str(machine.root / "x.zip")
    assert told["bytes"] == len(piped.stdout_bytes)
    assert told["members"][0]["name"] == "staging-2/README.md"

    monkeypatch.setattr("deployer.cli.rollouts._is_terminal", lambda: True)
    refused = machine.type("rollouts", "bundle", "staging#2", "--file", "-")
    assert refused.exit_code == 64
    assert "A ZIP file is nothing for a terminal" in refused.stderr


def test_every_rollout_of_an_old_store_can_be_packed(tmp_path: Path) -> None:
    """Of every kind and end; none shows the secret that all of their configs have."""
    path = tmp_path / "deployer.db"
    large_store.make(path, environments=4, rollouts=12, seed=5)
    with closing(SqlStore.open_readonly(path)) as store:
        shown = Shown(store, {})
        entries = store.history(limit=1000)
        assert len(entries) > 30
        for entry in entries:
            content = shown.bundle(entry.id, None)
            assert content is not None
            assert large_store.SECRET.encode() not in content
            assert {"README.md", "timeline.jsonl", "config.yaml"} <= members(content).keys()


def test_every_field_is_documented_and_no_other(machine: Machine) -> None:
    """In docs/json.md, of both, beside those that other commands have too."""
    event = machine.json("audit", "show", str(machine.json("audit", "list", "--type", "started")[0]["id"]))
    rollout = machine.json("rollouts", "show", "staging#2")
    [listed, *_] = machine.json("history", "-n", "1")
    assert event["of_rollout"].keys() == listed.keys() | {"story"}
    own = {key: value for key, value in rollout.items() if key not in listed}
    shown = {**event, "fields": {}, "of_rollout": None, "changes": []}
    assert list(differences("audit show", paths(shown))) == []
    assert list(differences("rollouts show", paths(own))) == []
    packed = machine.json("rollouts", "bundle", "staging#2")
    assert list(differences("rollouts bundle", paths(packed))) == []


# --- who may see what ------------------------------------------------------------------------------------


def test_who_sees_one_environment_is_told_of_no_other(machine: Machine) -> None:
    """In a gate's evidence and in a promotion: another environment; the events of others are not there."""
    shown = Shown(machine.store, {"staging": "http://ray-head:8265"})
    mine = frozenset({"staging"})
    told = shown.rollout("staging#2", mine)
    assert told is not None
    assert told["gates"][0]["evidence"] == "It is good for long enough wherever it has to be."
    content = shown.bundle("staging#2", mine)
    assert content is not None
    for text in (json.dumps(told).encode(), content):
        assert b"dev#3" not in text
        assert b"in dev" not in text
        assert b"sale" not in text
        assert b"another environment" in text
        assert b"ray-dev" not in text
    asked = machine.id_of("promotion_asked")
    event = shown.event(str(asked), mine)
    assert event is not None
    assert event["fields"]["source"] == "another environment"
    full = shown.event(str(asked), None)
    assert full is not None
    assert full["fields"]["source"] == "dev"

    assert shown.event(str(asked), frozenset({"dev"})) is None
    assert shown.event("@deployer:1", mine) is None
    assert shown.event("@deployer:1", None) is not None
    assert shown.event("no name", None) is None
    assert shown.event("999", None) is None
    assert shown.bundle("staging#9", None) is None
    assert shown.rollout("staging#9", None) is None


def test_what_a_cluster_runs_is_the_last_seen_ray(tmp_path: Path) -> None:
    """Where the start of a rollout does not say it; else the newest that is known."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        story(store, store.load("staging"))
        source = Dossiers(store, {})
        first = source.rollout("staging#1")
        assert first is not None
        assert first.ray_version == "2.60.0"
        for ray, schema in (("2.41.0", "2.44.1"), ("nightly", "2.60.0")):
            store.publish("staging", {"cluster": {"ray_version": ray}}, at(1000))
            found = source.rollout("staging#1")
            assert found is not None
            around = source.around(found)
            assert (found.ray_version, around.ray_version, around.serve_schema) == (ray, ray, schema)
        store.publish("staging", {"cluster": None}, at(1001))
        assert source.around(first).ray_version is None


# --- from another machine --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonSite]:
    """A daemon that has brought a commit to the cluster, and gone back from the next."""
    made = DaemonSite(tmp_path_factory.mktemp("site"))
    env: dict[str, Any] = {"runtime_env": {"env_vars": {"KEY": CANARIES["env"]}}}
    made.push(message="open the market", **env)
    with capture_logs(), made.running():
        assert made.type("sync", NAME, "--wait").exit_code == 0
        made.push("constructor_raises:app", message="a bad idea", **env)
        assert made.type("sync", NAME, "--wait").exit_code == 4
        yield made


def there(site: DaemonSite, *args: str) -> Result:
    """Type it on another machine."""
    file = site.root / "token"
    file.write_text(site.api()[1])
    file.chmod(0o600)
    options = ["--server", site.api()[0], "--token-file", str(file)]
    with capture_logs():
        return CliRunner().invoke(cli, [*args, *options], env={"HOME": "/nonexistent"})


def test_it_is_the_same_from_another_machine(
    site: DaemonSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event, the rollout, and the bundle to the byte."""
    monkeypatch.chdir(tmp_path)
    numbers = [one["id"] for one in site.json("audit", "list", "--type", "started")]
    for command in (
        ["rollouts", "show", f"{NAME}#2"],
        *(["audit", "show", str(number)] for number in numbers),
        ["audit", "show", f"{NAME}:1"],
    ):
        far = there(site, *command, "-o", "json")
        assert far.exit_code == 0, far.output
        assert json.loads(far.stdout) == site.json(*command)
        assert there(site, *command).stdout == site.type(*command).stdout
    assert there(site, "rollouts", "bundle", f"{NAME}#2", "--file", "far.zip").exit_code == 0
    assert site.type("rollouts", "bundle", f"{NAME}#2", "--file", "here.zip").exit_code == 0
    content = (tmp_path / "far.zip").read_bytes()
    assert content == (tmp_path / "here.zip").read_bytes()
    assert_clean(content)
    assert "error.txt" in members(content)

    for command in (["rollouts", "show", "x#1"], ["rollouts", "bundle", "x#1"], ["audit", "show", "9999"]):
        unknown = there(site, *command)
        assert unknown.exit_code == 64
        assert "that you may see" in unknown.stderr


def test_the_answer_is_a_file_that_need_not_be_sent_again(site: DaemonSite) -> None:
    """With its name; the same tag as long as nothing has changed."""
    headers = {"Authorization": f"Bearer {site.api()[1]}"}
    path = f"/api/v1/rollouts/{NAME}%232/bundle"
    answer = site.http("GET", path, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{NAME}-2.zip"'
    again = site.http("GET", path, headers={**headers, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    page = site.http("GET", f"/rollouts/{NAME}%232", headers=headers)
    assert f'href="{path}" download' in page.text


def test_what_is_no_file_is_told_so(
    site: DaemonSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was cut off on its way makes no file of evidence that looks like one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Daemon, "download", lambda _self, _path: b"PK but no ZIP")
    result = there(site, "rollouts", "bundle", f"{NAME}#2")
    assert result.exit_code == 1
    assert "What the daemon sent is no ZIP file" in result.stderr
    assert [*tmp_path.iterdir()] == []


def test_started_is_what_the_tests_think(machine: Machine) -> None:
    """The store gives back what was written: the evidence is of real events."""
    found = Evidence(machine.store.database).of_rollout("staging#2")
    begun = cast("Started", found[0].event)
    assert (begun.session, begun.gates[0].name) == ("session_7", "requires")
    assert all(one.is_intact and one.is_linked for one in found)
    daemon = Evidence(machine.store.database).daemon_before(found[0].id)
    assert daemon is not None
    assert daemon.version == "0.0.9"
