"""`deployer audit export` on a real store and through the real API: formats, filters, and --follow."""

from __future__ import annotations

import csv
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.audit_log import FromStore, Wish
from deployer.cli.audit_stream import Patience, Stream
from deployer.cli.main import cli
from deployer.core.events import Paused, Resumed
from deployer.settings import load
from tests.contract.histories import failing, good, overtaken, play, rollback
from tests.support.build import release
from tests.support.eventually import eventually
from tests.support.store_faces import StoreFaces, standing
from tests.support.tcp_proxy import TcpProxy
from tests.unit.core.test_cdevents import broken
from tests.unit.core.test_cloudevents import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

NAMES = ("dev", "staging", "production")
WITHIN = 40.0
"""Seconds for what a process does at once, on a machine that is busy."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment."""
    for name in [name for name in os.environ if name.startswith("DEPLOYER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[StoreFaces]:
    """A daemon's faces over a log: each environment had a good deploy, and one a failure and its rollback."""
    with standing(tmp_path / "deployer.db", NAMES) as made:
        for name in NAMES:
            write(made.store, name, "one")
        record = made.store.load("staging")
        record = play(made.store, record, failing(record, release("bad")))
        record = play(made.store, record, rollback(record))
        made.store.commit(record, [Paused(at=datetime.now(UTC), actor="ada (local)", reason="lunch")])
        yield made


def write(store: SqlStore, name: str, what: str) -> None:
    """One more good deploy."""
    record = store.load(name)
    play(store, record, good(record, release(f"{name} {what}")))


def pause(store: SqlStore, name: str, why: str) -> None:
    """One more event outside a rollout."""
    record = store.load(name)
    now = datetime.now(UTC)
    kind = Resumed if record.paused is not None else Paused
    store.commit(record, [kind(at=now, actor="ada (local)", reason=why)])


def here(faces: StoreFaces, *args: str) -> Result:
    """Type `deployer audit ARGS` on the daemon's machine."""
    return CliRunner().invoke(cli, ["audit", *args, "-c", str(faces.state_dir / "deployer.yaml")])


def there(url: str, file: Path, *args: str) -> Result:
    """Type it on another machine."""
    options = ["--server", url, "--token-file", str(file)]
    return CliRunner().invoke(cli, ["audit", *args, *options], env={"HOME": "/nonexistent"})


def token_file(faces: StoreFaces, folder: Path) -> Path:
    """The file with the token that opens everything."""
    file = folder / "token"
    file.write_text(faces.token)
    file.chmod(0o600)
    return file


def objects(result: Result) -> list[dict[str, Any]]:
    """What was printed, a line each."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


ASKED = [
    [],
    ["--result", "failed"],
    ["--result", "good", "-e", "staging"],
    ["--result", "in_progress"],
    ["--rollout", "staging#2"],
    ["--revision", release("bad").revision.commit[:8]],
    ["--digest", release("bad").digest[:20]],
    ["--digest", release("bad").digest.removeprefix("sha256:")],
    ["--type", "paused", "--actor", "ada"],
    ["--result", "failed", "--type", "held"],
]


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_the_same_from_here_and_from_there(faces: StoreFaces, tmp_path: Path, asked: list[str]) -> None:
    """By every filter, in the list and in each format."""
    file = token_file(faces, tmp_path)
    with faces.serving() as url:
        listed = here(faces, "list", *asked, "-n", "1000", "-o", "json")
        assert listed.exit_code == 0, listed.output
        assert there(url, file, "list", *asked, "-n", "1000", "-o", "json").stdout == listed.stdout
        items = objects(here(faces, "export", *asked))
        assert items == json.loads(listed.stdout)[::-1]
        for form in ("jsonl", "csv", "cloudevents", "cdevents"):
            more = ["--source", "/here"] if form.startswith("c") and form != "csv" else []
            command = ["export", *asked, "--format", form, *more]
            mine = here(faces, *command)
            assert mine.exit_code == 0, mine.output
            assert there(url, file, *command).stdout == mine.stdout


def test_what_the_filters_mean(faces: StoreFaces) -> None:
    """Events of rollouts of this release, or that ended so; and others that are about it."""
    failed = objects(here(faces, "export", "--result", "failed"))
    assert [one["type"] for one in failed] == ["started", "applied", "failed", "held"]
    assert {one["rollout"] for one in failed} == {"staging#2"}
    of_commit = objects(here(faces, "export", "--revision", release("bad").revision.commit[:8]))
    assert [one["type"] for one in of_commit] == ["seen", "started", "applied", "failed", "held"]
    assert of_commit == objects(here(faces, "export", "--digest", release("bad").digest[7:20]))
    assert objects(here(faces, "export", "--rollout", "staging#2")) == failed
    assert objects(here(faces, "export", "--rollout", "staging")) == []
    of_first = objects(here(faces, "export", "--digest", release("staging one").digest))
    assert {one["rollout"] for one in of_first} == {None, "staging#1", "staging#3"}


def test_the_page_and_the_api_take_the_same_filters(faces: StoreFaces) -> None:
    """And refuse a result that there is none of."""
    with faces.serving() as url:
        page = web(url, faces.token, "/audit?result=failed&environment=staging")
        assert page[0] == 200
        assert page[1].count("<tr>") == 5
        assert 'name="result"' in page[1]
        assert 'name="digest"' in page[1]
        assert "/audit.csv?environment=staging&amp;result=failed" in page[1]
        digest = release("bad").digest
        assert web(url, faces.token, f"/audit.jsonl?digest={digest}")[1].count("\n") == 5
        assert web(url, faces.token, "/audit?result=nice")[0] == 422
        assert web(url, faces.token, "/api/v1/audit?result=nice")[0] == 422
        found = json.loads(web(url, faces.token, "/api/v1/audit?result=failed&limit=2")[1])
        assert [one["type"] for one in found["items"]] == ["held", "failed"]
        more = json.loads(web(url, faces.token, f"/api/v1/audit?result=failed&before={found['next']}")[1])
        assert [one["type"] for one in more["items"]] == ["applied", "started"]


def web(url: str, token: str, path: str) -> tuple[int, str]:
    """One request of somebody who may see everything."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{url}{path}", headers={"Authorization": f"Bearer {token}"}, timeout=20)
    return answer.status_code, answer.text


def test_cloudevents_keep_to_the_rules(faces: StoreFaces) -> None:
    """Each line; `data` is the line of the JSON Lines, the source where people find the environment."""
    items = objects(here(faces, "export"))
    made = objects(here(faces, "export", "--format", "cloudevents"))
    assert [one["data"] for one in made] == items
    assert [fault for one in made for fault in faults(one)] == []
    assert len({one["id"] for one in made}) == len(made)
    assert {one["source"] for one in made} == {f"/deployer/env/{name}" for name in NAMES}
    file = faces.state_dir / "deployer.yaml"
    file.write_text(f"{file.read_text()}server: {{public_url: 'https://deployer.example.com'}}\n")
    (first, *_) = objects(here(faces, "export", "--format", "cloudevents"))
    assert first["source"] == "https://deployer.example.com/env/dev"
    (named, *_) = objects(here(faces, "export", "--format", "cloudevents", "--source", "//here.example/"))
    assert named["source"] == "//here.example/env/dev"


def test_the_source_is_the_server_that_was_named(faces: StoreFaces, tmp_path: Path) -> None:
    """Unless another is given."""
    file = token_file(faces, tmp_path)
    with faces.serving() as url:
        (first, *_) = objects(there(url, file, "export", "--format", "cloudevents"))
        assert first["source"] == f"{url}/env/dev"


def test_cdevents_tell_what_happened_to_services(faces: StoreFaces) -> None:
    """What is there of it; how much is not is said on stderr."""
    result = here(faces, "export", "--format", "cdevents")
    made = objects(result)
    assert [rule for one in made for rule in broken(one)] == []
    short = [(one["type"].split(".", 2)[2].rsplit(".", 3)[0], one["subject"]) for one in made]
    assert short == [
        ("service.deployed", "dev"),
        ("service.deployed", "staging"),
        ("service.deployed", "production"),
        ("incident.detected", "staging#2"),
        ("service.rolledback", "staging"),
        ("incident.resolved", "staging#2"),
    ]
    assert made[3]["data"]["subject"]["content"]["artifactId"].endswith(release("bad").digest)
    whole = len(objects(here(faces, "export")))
    assert f"{whole - 5} events have no counterpart in CDEvents, and were left out." in result.stderr
    # What came before is told of all the same where a filter leaves it out.
    later = objects(here(faces, "export", "--format", "cdevents", "--rollout", "staging#3"))
    assert later == made[4:]
    write(faces.store, "dev", "two")
    last = here(faces, "export", "--format", "cdevents", "--rollout", "dev#2", "--type", "good")
    assert [one["type"] for one in objects(last)] == ["dev.cdevents.service.upgraded.0.3.0"]
    assert last.stderr == ""
    one = here(faces, "export", "--format", "cdevents", "--rollout", "dev#2", "--type", "healthy")
    assert one.stderr == "1 event has no counterpart in CDEvents, and was left out.\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--follow", "--until", "2026-11-23"], "leave --until out"),
        (["--source", "/here"], "--source is for --format cloudevents and cdevents"),
        (["--format", "cdevents", "--source", "a b"], "--source must be a URI"),
        (["--format", "cdevents", "--source", "https://a.example/?b"], "--source must be a URI"),
        (["-e", "nowhere"], "No environment 'nowhere' in the settings"),
        (["-e", "nowhere", "--follow"], "No environment 'nowhere' in the settings"),
        (["--result", "nice"], "'nice' is not one of"),
        (["-o", "json"], "say --format jsonl or csv"),
    ],
)
def test_what_makes_no_sense_is_refused(faces: StoreFaces, args: list[str], told: str) -> None:
    """With what does."""
    result = here(faces, "export", *args)
    assert result.exit_code == 64, result.output
    assert told in " ".join(result.stderr.split())


# --- while the daemon writes ---------------------------------------------------------------------------


@pytest.mark.parametrize("result", [None, "good", "failed", "superseded"])
def test_each_event_once_while_others_are_written(tmp_path: Path, result: str | None) -> None:
    """Three environments write as fast as they can; whatever ended when, nothing is lost or told twice."""
    with ExitStack() as stack:
        made = stack.enter_context(standing(tmp_path / "deployer.db", NAMES))
        settings = load(tmp_path / "deployer.yaml", {})
        log = FromStore(settings)
        stack.callback(log.rest)
        stream = Stream(log, Wish(result=result), Patience(log, is_patient=True))
        writers = [threading.Thread(target=live, args=[made.store, name]) for name in NAMES]
        found: list[dict[str, Any]] = []
        for one in writers:
            one.start()
        while any(one.is_alive() for one in writers):
            found += stream.news()
        found += stream.news()
        everything = made.store.events(limit=100_000)
        results = {entry.id: entry.result.value for entry in made.store.history(limit=100_000)}

    expected = [
        stored.id
        for stored in everything
        if result is None or results.get(getattr(stored.event, "rollout", "")) == result
    ]
    assert sorted(one["id"] for one in found) == expected
    assert len(expected) > 50
    for name in NAMES:
        begun = [one for one in found if one["environment"] == name and one["type"] == "started"]
        rollouts = [one["rollout"] for one in begun]
        assert rollouts == sorted(rollouts, key=lambda one: int(one.partition("#")[2]))
    if result is None:
        assert [one["id"] for one in found] == expected


def live(store: SqlStore, name: str) -> None:
    """Deploys, failures, rollbacks and what is overtaken, one commit after another."""
    record = store.load(name)
    for number in range(12):
        record = play(store, record, good(record, release(f"{name} {number}")))
        record = play(store, record, [overtaken(record, f"{name} fast {number}")])
        record = play(store, record, failing(record, release(f"{name} bad {number}")))
        record = play(store, record, rollback(record))


# --- the command as a process --------------------------------------------------------------------------


class Following:
    """`deployer audit export --follow` in a process of its own, whose lines are read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Begin to read."""
        self.process = process
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=[process.stdout, self._lines.put], daemon=True),
            threading.Thread(target=self._read, args=[process.stderr, self.said.append], daemon=True),
        ]
        for one in self._readers:
            one.start()

    @staticmethod
    def _read(stream: IO[str], put: Any) -> None:
        for line in stream:
            put(line)

    def line(self) -> str:
        """The next line of stdout."""
        return self._lines.get(timeout=WITHIN)

    def item(self) -> dict[str, Any]:
        """The same as JSON."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def is_silent(self) -> bool:
        """Whether there is no line of stdout that was not read."""
        return self._lines.empty()

    def told(self, text: str) -> bool:
        """Whether this was said on stderr."""
        return text in "".join(self.said)

    def interrupted(self) -> int:
        """Press Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(WITHIN)
        for one in self._readers:
            one.join(WITHIN)
        return code


@contextmanager
def following(faces: StoreFaces, *args: str) -> Iterator[Following]:
    """Start it; at the end it is stopped, whatever happened."""
    command = [sys.executable, "-m", "deployer", "audit", "export", "--follow", *args]
    if "--server" not in args:
        command += ["-c", str(faces.state_dir / "deployer.yaml")]
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(faces.state_dir),
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(sys.path),
    }
    with subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    ) as process:
        try:
            yield Following(process)
        finally:
            process.kill()


def test_it_goes_on_until_ctrl_c(faces: StoreFaces) -> None:
    """What is there, then each event as it happens; exit code 130, and no traceback."""
    there_were = objects(here(faces, "export"))
    with following(faces) as told:
        assert [told.item() for _ in there_were] == there_were
        for why in ("one", "two"):
            pause(faces.store, "dev", why)
            assert told.item()["reason"] == why
        assert told.interrupted() == 130
    assert "".join(told.said).split() == ["Interrupted."]


def test_it_goes_on_over_a_restart_of_the_daemon(tmp_path: Path) -> None:
    """The store is closed and opened again, and nothing is lost."""
    with standing(tmp_path / "deployer.db", NAMES) as first:
        pause(first.store, "dev", "before")
        with following(first, "-e", "dev") as told:
            assert told.item()["reason"] == "before"
            first.store.close()
            with closing(SqlStore.open(tmp_path / "deployer.db")) as second:
                pause(second, "dev", "after")
                assert told.item()["reason"] == "after"
                assert told.interrupted() == 130


def test_a_store_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """It is said once; another store in its place is read from its end on."""
    file = tmp_path / "deployer.db"
    with standing(file, NAMES) as first:
        for why in ("one", "two", "three"):
            pause(first.store, "dev", why)
        with following(first) as told:
            assert [told.item()["reason"] for _ in range(3)] == ["one", "two", "three"]
            first.store.close()
            file.rename(tmp_path / "away.db")
            eventually(lambda: told.told("It is tried again until Ctrl-C."), within=WITHIN)
            (tmp_path / "away.db").rename(file)
            eventually(lambda: told.told("The log can be read again"), within=WITHIN)
            with closing(SqlStore.open(file)) as again:
                pause(again, "dev", "four")
                assert told.item()["reason"] == "four"
            for name in ("deployer.db", "deployer.db-wal", "deployer.db-shm"):
                (tmp_path / name).unlink(missing_ok=True)
            with closing(SqlStore.open(file)) as another:
                pause(another, "dev", "anew")
                eventually(lambda: told.told("The log is shorter than it was"), within=WITHIN)
                pause(another, "dev", "and on")
                assert told.item()["reason"] == "and on"
            assert told.interrupted() == 130
    assert "Traceback" not in "".join(told.said)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_it_ends_when_nobody_reads(faces: StoreFaces, form: str) -> None:
    """As `... --follow | head -2` does, although nothing happens any more; without a traceback."""
    command = [sys.executable, "-m", "deployer", "audit", "export", "--follow", "--format", form]
    file = faces.state_dir / "deployer.yaml"
    with subprocess.Popen(
        [*command, "-c", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len([process.stdout.readline() for _ in range(2)]) == 2
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(WITHIN) == 1
    assert said == ""


def test_csv_begins_with_the_names_and_goes_on(faces: StoreFaces) -> None:
    """Line by line, also where there is nothing yet."""
    with following(faces, "--format", "csv", "--type", "resumed") as told:
        names = next(csv.reader(io.StringIO(told.line())))
        pause(faces.store, "staging", "=1+1")
        row = dict(zip(names, next(csv.reader(io.StringIO(told.line()))), strict=True))
        assert (row["type"], row["reason"], row["environment"]) == ("resumed", "'=1+1", "staging")
        assert told.interrupted() == 130


def test_a_rollout_is_followed_to_its_end(faces: StoreFaces) -> None:
    """By its result: nothing of it before, then all of it. As CDEvents: what its end means."""
    record = faces.store.load("production")
    begun, *batches = failing(record, release("worse"))
    with (
        following(faces, "--result", "failed", "-e", "production") as by_result,
        following(faces, "--format", "cdevents", "-e", "production") as as_cdevents,
    ):
        assert as_cdevents.item()["type"] == "dev.cdevents.service.deployed.0.3.0"
        record = faces.store.commit(record, begun)
        record = play(faces.store, record, batches)
        record = play(faces.store, record, rollback(record))
        assert [by_result.item()["type"] for _ in range(4)] == ["started", "applied", "failed", "held"]
        told = [as_cdevents.item() for _ in range(3)]
        assert [one["subject"] for one in told] == ["production#2", "production", "production#2"]
        assert [rule for one in told for rule in broken(one)] == []
        assert by_result.interrupted() == 130
        assert as_cdevents.interrupted() == 130
        assert by_result.is_silent()
    assert as_cdevents.told("events have no counterpart in CDEvents, and were left out.")


def test_a_server_that_cannot_be_reached_is_waited_for(faces: StoreFaces, tmp_path: Path) -> None:
    """It is said once, and what happened meanwhile comes when it is back."""
    file = token_file(faces, tmp_path)
    with faces.serving() as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        with (
            TcpProxy(parts.hostname, parts.port) as wire,
            following(faces, "--server", wire.address, "--token-file", str(file), "--type", "paused") as told,
        ):
            assert told.item()["reason"] == "lunch"
            pause(faces.store, "dev", "before")
            assert told.item()["reason"] == "before"
            wire.cut()
            pause(faces.store, "production", "meanwhile")
            eventually(lambda: told.told("It is tried again until Ctrl-C."), within=WITHIN)
            wire.mend()
            assert told.item()["reason"] == "meanwhile"
            assert told.told("The log can be read again")
            assert told.interrupted() == 130
    assert "".join(told.said).count("It is tried again") == 1
    assert "Traceback" not in "".join(told.said)


def test_a_server_that_takes_the_token_no_more_ends_it(faces: StoreFaces, tmp_path: Path) -> None:
    """With its words, and the exit code of what is not allowed."""
    file = token_file(faces, tmp_path)
    with faces.serving() as url, following(faces, "--server", url, "--token-file", str(file)) as told:
        assert told.item()["id"] == 1
        file.write_text(f"dpl_{'x' * 43}")
        assert told.process.wait(WITHIN) == 7
    assert "Traceback" not in "".join(told.said)
