"""`deployer doctor` on real parts: git servers, dashboards, stores and files, well and not."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from deployer.adapters.store import OutboxStore, SqlStore
from deployer.adapters.store.tables import REVISION
from deployer.cli.context import STORE_FILE
from deployer.cli.main import cli
from deployer.core.messages import PEOPLE
from deployer.core.record import Record, evolve
from tests.contract.histories import overtaken
from tests.integration.test_plan import FOLDER, config, release
from tests.support.build import at
from tests.support.daemon_site import DaemonSite
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import FakeRay
from tests.support.git_server import serving
from tests.support.hostile_http import NOTHING, VERSION, Hostile, answer
from tests.support.repos import BareRepo
from tests.support.sshd import SshServer
from tests.unit.core.test_commands import good

if TYPE_CHECKING:
    import socket

    from click.testing import Result

    from tests.support.hostile_http import Behaviour, Request
    from tests.support.ray_head import ServeHead

TOKEN = "token-canary-0123456789"
GIT_TOKEN = "git-canary-0123456789"
HOOK_SECRET = "hook-canary-0123456789"
NOBODY = 65_534

Told = dict[tuple[str, str], list[tuple[str, str, str | None]]]
"""By group and subject: state, what it says, next step."""


class Patient:
    """Settings made of parts, and the command on them."""

    def __init__(self, root: Path) -> None:
        """One repository on this machine, one environment; the cluster is to be given."""
        self.root = root
        self.repo = BareRepo(root / "configs.git")
        self.repo.commit({f"{FOLDER}/serve_config.yaml": config()})
        self.state_dir = root / "state"
        self.settings: dict[str, Any] = {
            "state_dir": str(self.state_dir),
            "repositories": {"configs": {"url": str(self.repo.path)}},
            "environments": {},
        }
        self.follow("staging")

    def follow(self, name: str, address: str = "http://127.0.0.1:9", **more: Any) -> None:
        """Have an environment, in a folder of its own."""
        given = {
            "repository": "configs",
            "branch": "main",
            "path": name,
            "cluster": {"address": address},
            **more,
        }
        self.settings["environments"][name] = {key: one for key, one in given.items() if one is not None}

    def secret(self, name: str, content: str, mode: int = 0o600) -> str:
        """A file with a secret; its path."""
        path = self.root / name
        path.write_text(f"{content}\n")
        path.chmod(mode)
        return str(path)

    def type(self, *args: str) -> Result:
        """Type `deployer doctor ARGS`."""
        file = self.root / "deployer.yaml"
        file.write_text(json.dumps(self.settings))
        return self.type_again(*args)

    def type_again(self, *args: str) -> Result:
        """The same, with the settings that are there."""
        file = self.root / "deployer.yaml"
        done = CliRunner().invoke(cli, ["doctor", "-c", str(file), *args])
        for canary in (TOKEN, GIT_TOKEN, HOOK_SECRET):
            assert canary not in done.output
        return done

    def told(self, *groups: str, timeout: str = "10s") -> Told:
        """What it finds in these groups."""
        done = self.type("--only", ",".join(groups), "--timeout", timeout, "-o", "json")
        answer = json.loads(done.stdout)
        assert done.exit_code == (1 if answer["failed"] else 0)
        found: Told = {}
        for one in answer["findings"]:
            parts = (one["state"], one["says"], one["next_step"])
            found.setdefault((one["group"], one["subject"]), []).append(parts)
        return found

    def remember(self) -> None:
        """Give the environment a history."""
        store, record = SqlStore.open(self.state_dir / STORE_FILE), Record(environment="staging")
        for event in good(1, release("a", config())):
            store.commit(record, [event])
            record = evolve(record, event)
        store.close()


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """One with a repository on this machine."""
    return Patient(tmp_path)


def ray(*, token: str | None = None, ahead: timedelta = timedelta()) -> Behaviour:
    """A dashboard with Serve not started; with a token it lets nobody in without it."""

    def behave(request: Request, _: socket.socket) -> bytes:
        date = [f"Date: {format_datetime(datetime.now(UTC) + ahead, usegmt=True)}"]
        given = request.headers.get("authorization")
        if token is not None and given != f"Bearer {token}":
            return answer(401 if given is None else 403, "" if request.method == "HEAD" else "no", date)
        if request.method == "HEAD":
            return answer(200, "", date)
        return answer(200, json.dumps(VERSION if request.path == "/api/version" else NOTHING), date)

    return behave


def fingerprint(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: mode, and of files when they were changed, and what is in them."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes())
        if path.is_file()
        else (path.lstat().st_mode, 0, b"")
        for path in sorted(root.rglob("*"))
    }


def test_where_all_is_well_nothing_fails_and_nothing_is_changed(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every group; no byte, mode or time below the folder, and nothing left in the temporary one."""
    scratch = patient.root / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with Hostile(ray(token=TOKEN)) as dashboard, serving(patient.root, token=GIT_TOKEN) as server:
        file = patient.secret("ray.token", TOKEN)
        patient.follow("staging", cluster={"address": dashboard.address, "token_file": file})
        patient.settings["repositories"]["configs"] = {
            "url": server.url("configs.git"),
            "token_file": patient.secret("git.token", GIT_TOKEN),
            "webhook": {"scheme": "github", "secret_file": patient.secret("hook", HOOK_SECRET)},
        }
        patient.remember()
        patient.type("--only", "settings")
        before = fingerprint(patient.root)
        done = patient.type_again()

        after = fingerprint(patient.root)
    # What SQLite keeps beside a file that is read: its index, and a log with nothing in it.
    after.pop(f"{patient.state_dir}/{STORE_FILE}-shm")
    assert after.pop(f"{patient.state_dir}/{STORE_FILE}-wal")[2] == b""
    assert after == before
    lines = done.stdout.splitlines()
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in lines if not line.startswith("   ")][:-1] == ["ok"] * 16 + ["warn"]
    assert lines[-3].split() == f"warn daemon not running: nobody holds {patient.state_dir}".split()
    assert lines[-2:] == [
        "      -> Start it with `deployer run`, or `systemctl start deployer`.",
        "16 ok, 1 warning, 0 failed.",
    ]
    assert all(request.method in {"GET", "HEAD"} for request in dashboard.requests)


# --- repositories ------------------------------------------------------------------------------------


def test_a_repository_is_read_with_the_token_and_refused_with_another(patient: Patient) -> None:
    """By basic authentication of a real git server."""
    with serving(patient.root, token=GIT_TOKEN) as server:
        for name, token in (("configs", GIT_TOKEN), ("wrong", "something-else")):
            file = patient.secret(f"{name}.token", token)
            patient.settings["repositories"][name] = {"url": server.url("configs.git"), "token_file": file}
        patient.settings["repositories"]["without"] = {"url": server.url("configs.git")}
        found = patient.told("git")

    assert found["git", "repository configs"] == [("ok", "reads main", None)]
    refused = ("fail", "the server refused the credentials", "Check token_file and username, or github_app.")
    assert found["git", "repository wrong"] == [refused]
    asks = ("fail", "the server asks for credentials", "Set token_file or github_app.")
    assert found["git", "repository without"] == [asks]


def test_a_branch_and_a_tag_that_are_not_there_are_named_beside_those_that_are(patient: Patient) -> None:
    """With the environment that waits for each."""
    patient.repo.git("tag", "v1.4.0", "main")
    patient.follow("prod", branch=None, tags={"versions": ">=1.2 <2"})
    patient.follow("dev", branch="env/dev")
    patient.follow("next", branch=None, tags={"versions": ">=2"})
    patient.follow("old", branch=None, commit="c" * 40)

    assert patient.told("git")["git", "repository configs"] == [
        ("ok", "reads main, tag v1.4.0; commit ccccccc is not looked for", None),
        (
            "fail",
            "there is no branch env/dev, which dev follows",
            "Push it, or correct environments.dev.branch.",
        ),
        (
            "fail",
            "there is no tag v* of version >=2, which next follows",
            "Push one, or correct environments.next.tags.",
        ),
    ]


def test_remotes_that_hang_cost_one_deadline_together_and_delay_no_other(patient: Patient) -> None:
    """Twenty-four of them before one that answers; each is named."""
    good = patient.settings["repositories"].pop("configs")
    with serving(patient.root) as server:
        server.hold.set()
        for number in range(24):
            patient.settings["repositories"][f"hangs-{number}"] = {"url": server.url("configs.git")}
        patient.settings["repositories"]["configs"] = good
        begin = time.monotonic()
        found = patient.told("git", timeout="2s")
        took = time.monotonic() - begin
        server.released.set()

    assert found["git", "repository configs"][0][0] == "ok"
    hung = [findings for (_, subject), findings in found.items() if "hangs" in subject]
    silent = ("fail", "no answer within 2 s", "Check the server and the network.")
    assert hung == [[silent]] * 24
    assert took < 24  # one after the other they would take 48 s


def test_nobody_there_and_no_repository_there_are_told_apart(patient: Patient) -> None:
    """Each with its own next step."""
    with serving(patient.root) as server:
        gone = server.url("configs.git")
        patient.settings["repositories"]["other"] = {"url": server.url("nothing.git")}
        other = patient.told("git")["git", "repository other"]
    patient.settings["repositories"]["other"] = {"url": gone}
    nobody = patient.told("git")["git", "repository other"]
    patient.settings["repositories"]["other"] = {"url": str(patient.root / "nothing.git")}
    local = patient.told("git")["git", "repository other"]

    assert [other[0][1], nobody[0][1], local[0][1]] == [
        "there is no such repository, or the credentials may not see it",
        "nothing answers there",
        "there is no git repository",
    ]


def test_a_host_that_known_hosts_does_not_have_is_said_before_ssh_says_it(patient: Patient) -> None:
    """Over a real sshd: first well, then with the keys of another host."""
    server = SshServer(patient.root / "ssh")
    patient.settings["repositories"]["configs"] = {
        "url": server.url(patient.repo.path),
        "ssh_key_file": str(server.key_file),
        "known_hosts_file": str(server.known_hosts_file),
    }
    with server.running():
        well = patient.told("git")["git", "repository configs"]
        server.write_known_hosts(port=server.port + 1)
        unknown = patient.told("git")["git", "repository configs"]

    assert well == [("ok", "reads main", None)]
    assert unknown[0][:2] == ("fail", f"known_hosts_file has no key of [127.0.0.1]:{server.port}")
    assert unknown[1][:2] == ("fail", "the ssh server's host key is not known")


# --- clusters and clocks -----------------------------------------------------------------------------


def test_a_cluster_with_a_token_takes_ours_and_nobody_else(patient: Patient) -> None:
    """One with the right token, one with another, one without any."""
    with ExitStack() as stack:
        right, wrong, none = (stack.enter_context(Hostile(ray(token=TOKEN))).address for _ in range(3))
        for name, address, token in (("a", right, TOKEN), ("b", wrong, "something-else")):
            file = patient.secret(f"{name}.token", token)
            patient.follow(name, cluster={"address": address, "token_file": file})
        patient.follow("staging", none)
        found = patient.told("clusters")

    assert found["clusters", f"cluster {right}"] == [
        ("ok", "Ray 2.60.0, Serve is not started (the first deploy starts it)", None),
        ("ok", "takes the token, and answers nobody without one", None),
    ]
    step = "Put Ray's token into the file that `cluster.token_file` names."
    refused = "it did not let us in (403): the token in cluster.token_file is not its own"
    assert found["clusters", f"cluster {wrong}"] == [("fail", refused, step)]
    assert found["clusters", f"cluster {none}"] == [("fail", "it did not let us in (401)", step)]


def test_a_cluster_that_answers_anybody_is_warned_of_also_where_we_have_a_token(patient: Patient) -> None:
    """The token then proves nothing. Two environments on one cluster ask it once."""
    with FakeRay(FakeCluster(), lambda *_: True) as dashboard:
        patient.follow("staging", dashboard.address)
        patient.follow("prod", dashboard.address)
        without = patient.told("clusters")
        file = patient.secret("ray.token", TOKEN)
        for name in ("staging", "prod"):
            patient.follow(name, cluster={"address": dashboard.address, "token_file": file})
        with_token = patient.told("clusters")

    assert [[state for state, _, _ in one] for one in without.values()] == [["ok", "warn"]]
    assert with_token == without
    ((_, (_, says, step)),) = without.values()
    assert says.startswith("IT ANSWERS WITHOUT A TOKEN: whoever reaches it can run code on it")
    assert "RAY_AUTH_MODE=token" in str(step)


def test_a_cluster_that_hangs_fails_within_its_deadline(patient: Patient) -> None:
    """Also one that drips."""

    def drip(request: Request, connection: socket.socket) -> None:
        dashboard.drip(connection, answer(200, json.dumps(VERSION)), every=0.2)

    with Hostile(drip) as dashboard:
        patient.follow("staging", dashboard.address)
        begin = time.monotonic()
        found = patient.told("clusters", timeout="1s")

        assert time.monotonic() - begin < 8
    ((one,),) = found.values()
    assert one[:2] == ("fail", "no complete answer within 1 s")


@pytest.mark.parametrize(
    ("ahead", "state", "says"),
    [(0, "ok", "as this machine's, within 1 s"), (-30, "warn", "behind"), (400, "fail", "ahead of")],
)
def test_a_clock_that_is_off_is_seen_in_the_dashboards_answer(
    patient: Patient, ahead: int, state: str, says: str
) -> None:
    """Also by who is not let in: no token is sent for it."""
    with Hostile(ray(token=TOKEN, ahead=timedelta(seconds=ahead))) as dashboard:
        patient.follow("staging", dashboard.address)
        found = patient.told("clock")["clock", f"clock of 127.0.0.1:{dashboard.port}"]

        assert "authorization" not in dashboard.requests[0].headers
    ((found_state, found_says, _),) = found
    assert found_state == state
    assert says in found_says


# --- this machine ------------------------------------------------------------------------------------


def test_a_flipped_byte_in_the_log_is_found_and_the_event_named(patient: Patient) -> None:
    """SQLite sees nothing wrong with it: the chain does."""
    patient.remember()
    well = patient.told("store")
    file = patient.state_dir / STORE_FILE
    content = bytearray(file.read_bytes())
    content[content.index(b"sha256:") + 8] ^= 1
    file.write_bytes(content)
    damaged = patient.told("store")

    assert well["store", "store"][0][1].endswith(f"of 1 environment, schema {REVISION}")
    assert well["store", "audit chain"][0][1].endswith("of 1 environment are as they were written")
    state, says, step = damaged["store", "audit chain"][0]
    assert state == "fail"
    assert says.endswith("of staging is not as it was written")
    assert step == "Stop the daemon, keep a copy of the file, and restore a backup."


def test_what_was_not_delivered_is_told_with_what_to_do(patient: Patient) -> None:
    """Who takes nothing with how much waits, and what was given up; nothing of it is a failure."""
    patient.remember()
    well = patient.told("store")["store", "messages"]
    with closing(SqlStore.open(patient.state_dir / STORE_FILE)) as store:
        outbox = OutboxStore(store.database)
        state = outbox.register("log", PEOPLE)
        record = store.load("staging")
        store.commit(record, overtaken(record, "x"), ["one", "two"])
        outbox.pause("log", why="it answered 502: the next look tries again", until=at(1000))
        away = patient.told("store")["store", "messages"]
        outbox.bury("log", PEOPLE, why="it refused the token: check token_file", at=at(1000))
        dead = patient.told("store")["store", "messages"]

    assert state.attempts == 0
    assert [one[0] for one in well] == ["ok"]
    assert well[0][1] == "all is delivered, or on its way, to log"
    assert away[0][0] == "warn"
    assert away[0][1].startswith("log takes nothing, and ")
    assert away[0][1].endswith("wait for it: it answered 502: the next look tries again")
    assert dead[-1][0] == "warn"
    assert "dead letters for log: it refused the token: check token_file" in dead[-1][1]
    assert str(dead[-1][2]).startswith("Mend that, then type `deployer outbox retry all`")


@pytest.mark.parametrize("content", [b"", b"no database\n" * 500])
def test_a_file_that_is_no_store_is_a_failure_with_a_next_step(patient: Patient, content: bytes) -> None:
    """Truncated, or something else."""
    patient.state_dir.mkdir(mode=0o700)
    (patient.state_dir / STORE_FILE).write_bytes(content)
    found = patient.told("store")

    assert [(state, bool(step)) for ((state, _, step),) in found.values()] == [("fail", True)] * 2 + [
        ("skip", False)
    ]


def test_a_clock_before_the_newest_event_is_seen(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history of these tests is of 2026; a machine whose clock starts in 1970 comes before it."""
    patient.remember()
    monkeypatch.setattr("deployer.cli.doctoring.clocks.datetime", _Early)
    ((state, says, _),) = patient.told("clock")["clock", "clock"]

    assert state == "fail"
    assert "before the newest event in the store" in says


class _Early(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime(1970, 1, 1, tzinfo=tz)


def test_a_state_dir_that_cannot_be_written_to_is_a_failure_and_stays_as_it_is(patient: Patient) -> None:
    """For its own owner; root, who may write anywhere, steps down for it."""
    patient.type()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        patient.state_dir = Path(folder) / "state"
        patient.settings["state_dir"] = str(patient.state_dir)
        patient.state_dir.mkdir()
        Path(folder).chmod(0o755)
        patient.state_dir.chmod(0o500)
        (Path(folder) / "deployer.yaml").write_text(json.dumps(patient.settings))
        if os.geteuid() == 0:
            os.chown(patient.state_dir, NOBODY, NOBODY)
            os.seteuid(NOBODY)
            stack.callback(os.seteuid, 0)
        arguments = ["doctor", "-c", f"{folder}/deployer.yaml", "--only", "disk,daemon"]
        done = CliRunner().invoke(cli, arguments)

        assert done.exit_code == 1
        assert f"FAIL  state_dir  {patient.state_dir} cannot be written to\n" in done.stdout
        assert stat.S_IMODE(patient.state_dir.stat().st_mode) == 0o500
        assert list(patient.state_dir.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_only_the_daemons_user_can_see_is_left_out_and_said(patient: Patient) -> None:
    """For a person beside a daemon that runs as another user: no failure, and whom to be."""
    with Hostile(ray(token=TOKEN)) as dashboard, tempfile.TemporaryDirectory() as folder:
        patient.root = Path(folder)
        patient.root.chmod(0o755)
        patient.state_dir = patient.root / "state"
        patient.settings["state_dir"] = str(patient.state_dir)
        token = patient.secret("ray.token", TOKEN)
        patient.follow("staging", cluster={"address": dashboard.address, "token_file": token})
        cluster = f"cluster {dashboard.address}"
        patient.remember()
        patient.type()
        os.seteuid(NOBODY)
        try:
            done = patient.type_again("--only", "files,clusters,clock,disk,store,daemon", "-o", "json")
        finally:
            os.seteuid(0)
    found = json.loads(done.stdout)
    told = {one["subject"]: one["says"] for one in found["findings"] if one["state"] != "ok"}

    assert done.exit_code == 0, found
    closed = "only root, who runs the daemon, can see it: type `sudo -u root deployer doctor`"
    assert told == {
        "staging: cluster.token_file": f"{token} cannot be read by this user; the daemon runs as root",
        cluster: "not asked: only the daemon can read its token",
        **dict.fromkeys(("clock", "state_dir", "store", "audit chain", "messages", "daemon"), closed),
    }


def test_loose_modes_short_secrets_and_missing_files_are_failures(patient: Patient) -> None:
    """Each with what to type; nothing of what is in them is shown."""
    hook = {
        "scheme": "github",
        "secret_file": patient.secret("short", HOOK_SECRET[:12]),
        "previous_secret_file": patient.secret("loose hook", HOOK_SECRET, 0o640),
    }
    patient.settings["repositories"]["configs"] = {
        "url": "https://127.0.0.1:9/a.git",
        "token_file": patient.secret("loose", GIT_TOKEN, 0o644),
        "webhook": hook,
    }
    missing = str(patient.root / "missing")
    patient.follow("staging", cluster={"address": "http://127.0.0.1:9", "token_file": missing})
    pipe = patient.root / "pipe"
    os.mkfifo(pipe)
    patient.follow("prod", signatures={"allowed_signers_file": str(pipe)})
    patient.state_dir.mkdir(mode=0o755)
    found = patient.told("files", "disk")
    root = patient.root

    assert found["files", "configs: token_file"] == [
        (
            "fail",
            f"{root}/loose can be read or changed by others than its owner (mode 0644)",
            f"Type: chmod 600 {root}/loose",
        )
    ]
    assert (
        found["files", "configs: webhook.previous_secret_file"][0][2]
        == f"Type: chmod 600 '{root}/loose hook'"
    )
    assert found["files", "configs: webhook.secret_file"] == [
        (
            "fail",
            f"{root}/short: it is shorter than 16 bytes",
            "Make one with `openssl rand -hex 32`. Then give the same to the forge.",
        )
    ]
    assert found["files", "staging: cluster.token_file"] == [
        (
            "fail",
            f"{missing} cannot be read: No such file or directory",
            "Put the file there, or correct the setting.",
        )
    ]
    assert found["files", "prod: allowed_signers_file"][0][:2] == ("fail", f"{pipe} is no file")
    assert found["disk", "state_dir"] == [
        (
            "warn",
            f"{patient.state_dir} can be seen by others than its owner (mode 0755)",
            f"Type: chmod 700 {patient.state_dir}",
        )
    ]


def test_a_daemon_that_runs_and_answers_is_seen(tmp_path: Path) -> None:
    """While it holds its state directory and writes its store."""
    site = DaemonSite(tmp_path)
    site.push()
    with site.running():
        done = site.type("doctor", "--only", "daemon,store,clock")

    assert done.exit_code == 0, done.output
    daemon = next(line for line in done.stdout.splitlines() if " daemon " in line)
    assert daemon.startswith("ok    daemon ")
    assert daemon.endswith("; its API answers")


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_a_real_ray_head_is_understood(patient: Patient, fresh_serve: ServeHead) -> None:
    """Its version is known, its clock is ours, and it lets everybody in, which is said."""
    patient.follow("staging", fresh_serve.address)
    found = patient.told("clusters", "clock")

    states = {subject: [state for state, _, _ in one] for (_, subject), one in found.items()}
    host = fresh_serve.address.removeprefix("http://")
    assert states == {
        f"cluster {fresh_serve.address}": ["ok", "warn"],
        f"clock of {host}": ["ok"],
        "clock": ["skip"],
    }
    assert "Serve runs with 0 applications" in found["clusters", f"cluster {fresh_serve.address}"][0][1]
