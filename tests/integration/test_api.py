"""The API and the commands that use it: over real HTTP, real git and a real store, on a fake cluster."""

from __future__ import annotations

import json
import re
import resource
import socket
import stat
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.adapters import statedir
from deployer.adapters.admin_token import AdminTokenUnusable
from deployer.cli import client
from deployer.cli.daemon import running
from deployer.core.events import DAEMON
from deployer.engine.controller import Controller
from deployer.settings import load
from deployer.web import serving
from tests.support.bare_faces import nothing
from tests.support.daemon_site import HOLDING, NAME, SETTINGS, DaemonSite
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from deployer.core.types import Release

STATUS = f"/api/v1/environments/{NAME}/status"
JSON_PAGE = Path(__file__).parents[2] / "docs" / "json.md"
PAUSE = f"/api/v1/environments/{NAME}/pause"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The daemon's log would come out among what the commands print."""
    with capture_logs():
        yield


@pytest.fixture
def site(tmp_path: Path) -> DaemonSite:
    """A site with one good commit, and no daemon yet."""
    made = DaemonSite(tmp_path)
    made.push(message="open the market")
    return made


@pytest.fixture
def live(site: DaemonSite) -> Iterator[DaemonSite]:
    """A site whose daemon runs and has brought the commit to the cluster."""
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        yield site


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonSite]:
    """The same for tests that change nothing: one for all of them."""
    site = DaemonSite(tmp_path_factory.mktemp("still"))
    site.push(message="open the market")
    with capture_logs(), site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        yield site


def token(site: DaemonSite) -> dict[str, str]:
    """The header that opens the API."""
    return {"Authorization": f"Bearer {site.api()[1]}"}


# --- who gets in -------------------------------------------------------------------------------------------


def test_what_does_not_exist_needs_the_token_too(still: DaemonSite) -> None:
    """Nobody finds out what there is; every route is asked in test_permissions.py."""
    assert still.http("GET", "/healthz").json() == {"status": "ok"}
    for method, path in [("GET", STATUS), ("GET", "/docs"), ("GET", "/openapi.json"), ("PUT", STATUS)]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": still.api()[1]}):
            answer = still.http(method, path, headers=headers)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "deployer.example.com"}, 421),
        ({"Host": "127.0.0.1.example.com:80"}, 421),
        ({"Host": "localhost:8700"}, 200),
        ({"Host": "[::1]:8700"}, 200),
        ({"Origin": "http://127.0.0.1:8700"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_no_page_of_another_site_gets_in(still: DaemonSite, headers: dict[str, str], status: int) -> None:
    """Not under another name, and not from another site: not even with the token, nor to /healthz."""
    for path in (STATUS, "/healthz"):
        assert still.http("GET", path, headers={**token(still), **headers}).status_code == status


def test_a_body_has_a_limit_and_a_shape(still: DaemonSite) -> None:
    """413, 411 and 422, as problems, and nothing happens."""
    order = {"by": "ada", "reason": "x"}
    large = still.http("POST", PAUSE, headers=token(still), json={**order, "reason": "x" * 70_000})
    chunked = still.http("POST", PAUSE, headers=token(still), data=iter([b"{", b" " * 70_000]))
    bodies: list[object] = [
        {},
        [],
        {"by": "ada\n(root)"},
        {**order, "sceonds": 3},
        {**order, "seconds": -1},
        {**order, "seconds": 1e300},
    ]
    wrong = [still.http("POST", PAUSE, headers=token(still), json=body) for body in bodies]

    assert (large.status_code, chunked.status_code) == (413, 411)
    assert [answer.status_code for answer in wrong] == [422] * 6
    for answer in (large, chunked, *wrong):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    assert "root" not in wrong[2].text
    assert still.store.load(NAME).paused is None


def test_an_unknown_environment_names_the_known_ones(still: DaemonSite) -> None:
    """On every route: 404, and a usage error for the command line."""
    for what in ("status", "explain", "live", "logs"):
        answer = still.http("GET", f"/api/v1/environments/prod/{what}", headers=token(still))
        assert (answer.status_code, answer.json()["exit_code"]) == (404, 64)
        assert "It has: staging." in answer.json()["detail"]
    for what in ("sync", "pause", "resume", "retry", "rollback"):
        answer = still.http(
            "POST", f"/api/v1/environments/prod/{what}", headers=token(still), json={"by": "ada"}
        )
        assert answer.status_code == 404


# --- where it is -------------------------------------------------------------------------------------------


def test_the_daemon_says_where_it_is_and_takes_it_back(tmp_path: Path) -> None:
    """For its own user only, with the token of this machine; the wiring of the real daemon does so."""
    path = tmp_path / "deployer.yaml"
    path.write_text(SETTINGS.format(root=tmp_path, url=(tmp_path / "none.git").as_uri()))
    found = []
    for _ in range(2):
        with capture_logs() as logs, running(load(path, {})):
            file = tmp_path / "state" / "api.json"
            found.append(json.loads(file.read_text()))
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert sorted(entry.name for entry in file.parent.glob("api*")) == ["api.json"]
        assert not file.exists()
        assert found[-1]["token"] not in repr(logs)

    kept = (tmp_path / "state" / "admin.token").read_text().strip()
    assert [one["token"] for one in found] == [kept, kept]


def test_a_port_that_is_taken_is_no_reason_not_to_run(site: DaemonSite) -> None:
    """Another one is used, and said."""
    with site.running(), socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        port = taken.getsockname()[1]
        with serving(nothing, site.root, host="127.0.0.1", port=port, token="none") as url:
            assert not url.endswith(f":{port}")
    assert [entry["wanted"] for entry in logs if entry["event"] == "api_port_unusable"] == [port]


def test_what_refuses_to_start_does_so_before_anything_runs(
    site: DaemonSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that others could read: no pass has begun when it is found."""
    settings = load(site.settings, {})
    settings.state_dir.mkdir(exist_ok=True)
    (settings.state_dir / "admin.token").touch(0o644)
    begun: list[Controller] = []
    start = Controller.start

    def noted(controller: Controller) -> None:
        begun.append(controller)
        start(controller)

    monkeypatch.setattr(Controller, "start", noted)
    with pytest.raises(AdminTokenUnusable), running(settings):
        pass
    assert begun == []


def test_the_daemon_takes_the_descriptors_that_it_may_have(site: DaemonSite) -> None:
    """Each open page is one, and 1024 is what it begins with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
        with running(load(site.settings, {})):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_daemon_commands_say_so(site: DaemonSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a killed one left its address behind, and where another program has its port now."""
    never = site.type("retry", NAME, "--reason", "x")
    with site.running():
        left = (site.state_dir / "api.json").read_text()
    (site.state_dir / "api.json").write_text(left)
    dead = site.type("retry", NAME, "--reason", "x")
    monkeypatch.setattr(client, "_PATIENCE_SECONDS", 0.1)
    with statedir.lock(site.state_dir):
        refused = site.type("retry", NAME, "--reason", "x")
        (site.state_dir / "api.json").unlink()
        starting = site.type("retry", NAME, "--reason", "x")

    for result in (never, dead):
        assert "The daemon is not running" in result.stderr
        assert "`deployer run`" in result.stderr
    assert "Nothing answers at http://127.0.0.1:" in refused.stderr
    assert [result.exit_code for result in (never, dead, refused, starting)] == [1] * 4
    assert "is starting or stopping" in starting.stderr


def test_a_stop_does_not_wait_for_a_cluster(site: DaemonSite) -> None:
    """A request that hangs is left behind, as a pass is, and told so without a traceback."""
    answers: list[requests.Response] = []
    entered, leave = threading.Event(), threading.Event()

    def hang(**_: Any) -> Any:
        entered.set()
        leave.wait(20)
        return type(site.cluster).observe(site.cluster)

    try:
        with site.running():
            eventually(lambda: site.store.views(NAME), within=10)
            headers = token(site)
            site.cluster.observe = hang  # type: ignore[method-assign]  # a cluster that does not answer
            asking = threading.Thread(target=_live, args=(site, headers, answers), daemon=True)
            asking.start()
            assert entered.wait(10)
            began = time.monotonic()
        assert time.monotonic() - began < 8
    finally:
        leave.set()
        asking.join(10)
    assert [answer.status_code for answer in answers] == [503]
    assert answers[0].json()["detail"].startswith("The daemon is stopping")


def _live(site: DaemonSite, headers: dict[str, str], answers: list[requests.Response]) -> None:
    answers.append(site.http("GET", f"/api/v1/environments/{NAME}/live", headers=headers))


# --- commands ----------------------------------------------------------------------------------------------


def test_sync_waits_until_the_newest_commit_is_good(live: DaemonSite) -> None:
    """The daemon polls once an hour here: it is the command that makes it look."""
    commit = live.push(message="raise the price", args={"price": 5})
    result = live.type("sync", NAME, "--wait", "-o", "json")

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["outcome"], told["rollout"], told["exit_code"]) == ("good", "staging#2", 0)
    assert "staging: " in result.stderr
    assert live.json("status", NAME)[0]["live"]["revision"] == commit


def test_sync_returns_at_once_without_wait(live: DaemonSite) -> None:
    """It says what it does; a dry run does nothing."""
    live.push(args={"price": 5})
    dry = live.type("sync", NAME, "--dry-run")
    assert dry.stdout.startswith("Would be done: Git (repository configs)")
    assert live.store.load(NAME).rollouts == 1

    assert live.type("sync", NAME).exit_code == 0
    eventually(lambda: live.store.load(NAME).rollouts == 2, within=10)


def test_a_bad_commit_ends_in_4_and_is_held(live: DaemonSite) -> None:
    """Rolled back; asked again, the answer is the same; after the fix all is well."""
    bad = live.push("import_error:app", message="oops")
    first = live.type("sync", NAME, "--wait")
    again = live.type("sync", NAME, "--wait", "-o", "json")

    assert first.exit_code == 4, first.output
    assert f"{bad[:7]} failed (config)" in first.stdout
    assert "Rolled back to " in first.stdout
    assert (again.exit_code, json.loads(again.stdout)["outcome"]) == (4, "rolled_back")
    live.push(args={"price": 5})
    assert live.type("sync", NAME, "--wait").exit_code == 0


def test_an_invalid_commit_ends_in_3(live: DaemonSite) -> None:
    """With the file and the line."""
    live.repo.commit({f"environments/{NAME}/serve_config.yaml": "applications: 7\n"})
    result = live.type("sync", NAME, "--wait")

    assert result.exit_code == 3
    assert "serve_config.yaml:1:" in result.stdout


def test_a_first_deploy_that_fails_ends_in_1(tmp_path: Path) -> None:
    """There is nothing to go back to."""
    site = DaemonSite(tmp_path)
    site.push("import_error:app")
    with site.running():
        result = site.type("sync", NAME, "--wait")

    assert result.exit_code == 1
    assert "no good release to go back to" in result.stdout


def test_a_sync_times_out(live: DaemonSite) -> None:
    """The daemon goes on with it, and the message tells where it stands."""
    live.push("slow:app", args={"start_seconds": 6000})
    result = live.type("sync", NAME, "--wait", "--timeout", "1s")

    assert result.exit_code == 6
    assert "Not over after 1s; the daemon goes on. Last: " in result.stdout
    eventually(lambda: live.store.load(NAME).rollout, within=30, what="a rollout is in flight")


def test_a_paused_environment_refuses_a_sync_until_it_is_resumed(live: DaemonSite) -> None:
    """Who paused it, and why, is in the log of events and in the answers."""
    paused = live.type("pause", NAME, "--for", "2h", "--reason", "market day")
    assert paused.exit_code == 0, paused.output
    live.push(args={"price": 5})
    refused = live.type("sync", NAME, "--wait")
    resumed = live.type("resume", NAME)

    assert refused.exit_code == 7
    assert "market day" in refused.stdout
    assert resumed.exit_code == 0
    assert live.type("sync", NAME, "--wait").exit_code == 0
    events = {one.event.type: one.event for one in live.store.events(NAME)}
    assert (events["paused"].reason, events["paused"].actor != DAEMON) == ("market day", True)
    assert events["paused"].actor.endswith(" (local)")


def test_a_rollback_goes_back_and_a_retry_undoes_it(live: DaemonSite) -> None:
    """What git wants is held meanwhile, and `sync` says so with 7."""
    live.push(args={"price": 5})
    assert live.type("sync", NAME, "--wait").exit_code == 0
    dry = live.json("rollback", NAME, "--dry-run")
    back = live.type("rollback", NAME, "--wait", "--reason", "too dear")
    held = live.type("sync", NAME, "--wait")

    assert (dry["events"], dry["dry_run"]) == (["rollback_asked"], True)
    assert back.exit_code == 0, back.output
    assert "is live again" in back.stdout
    assert "is held until git says something else" in back.stderr
    assert (held.exit_code, "too dear" in held.stdout) == (7, True)
    assert _running(live) == _good(live, "staging#1")
    assert live.type("retry", NAME, "--reason", "it is cheap enough").exit_code == 0
    assert live.type("sync", NAME, "--wait").exit_code == 0
    assert _running(live) == _good(live, "staging#2")


def _good(site: DaemonSite, rollout: str) -> Release:
    return next(one.release for one in site.store.good_releases(NAME) if one.rollout == rollout)


def _running(site: DaemonSite) -> Release | None:
    return site.store.load(NAME).good


def test_a_rollback_interrupts_a_deploy(live: DaemonSite) -> None:
    """One command at 3 am: what is stuck is cancelled, and what was good comes back."""
    live.push("slow:app", args={"start_seconds": 6000})
    live.type("sync", NAME)
    eventually(lambda: live.store.load(NAME).rollout, within=10)
    back = live.type("rollback", NAME, "--wait", "--to", "1")
    after = live.type("sync", NAME, "--wait")

    assert back.exit_code == 0, back.output
    assert [entry.result.value for entry in live.store.history(NAME)] == ["good", "cancelled", "good"]
    assert after.exit_code == 7


def test_a_rollback_waits_for_the_cluster_to_be_seen(live: DaemonSite) -> None:
    """Asked for while it is away, and asked again: neither command says that it is over before it is."""
    live.push(args={"price": 5})
    assert live.type("sync", NAME, "--wait").exit_code == 0
    live.cluster.reachable = False
    first = live.type("rollback", NAME, "--wait", "--timeout", "1s")
    again = live.type("rollback", NAME, "--wait", "--timeout", "1s")
    live.cluster.reachable = True
    third = live.type("rollback", NAME, "--wait")

    assert (first.exit_code, again.exit_code, third.exit_code) == (6, 6, 0)
    assert "on its way back" in again.stderr
    assert [entry.kind.value for entry in live.store.history(NAME)] == ["rollback", "deploy", "deploy"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("retry", NAME, "--reason", "why not"), 7, "nothing to retry"),
        (("retry", NAME), 64, "A reason is needed"),
        (("pause", NAME), 64, "A reason is needed"),
        (("pause", NAME, "--for", "soon", "--reason", "x"), 64, "is not a duration"),
        (("rollback", NAME), 7, "no other good release"),
        (("rollback", NAME, "--to", "feed"), 64, "staging#1  "),
        (("logs", NAME, "veg"), 64, "It has: fruit."),
        (("sync", "prod"), 64, "There are: staging."),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(
    still: DaemonSite, args: tuple[str, ...], code: int, says: str
) -> None:
    """With the exit code of product.md, on stderr, without a traceback."""
    before = still.store.load(NAME)
    result = still.type(*args)

    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert result.stdout == ""
    after = still.store.load(NAME)
    # That it was refused is in the log, but for what made no sense as it was typed.
    told = [one.event.type for one in still.store.events(NAME, limit=1000)[before.sequence :]]
    assert told in ([], ["command_refused"])
    assert after == replace(before, sequence=after.sequence)


def test_commands_and_passes_do_not_lose_to_each_other(live: DaemonSite) -> None:
    """Ten people pause and resume while a rollout writes events: every wish is answered and in the log."""
    live.push("slow:app", args={"start_seconds": 40})
    live.type("sync", NAME)
    bodies = [{"by": f"p{number}", "reason": "busy"} for number in range(10)]
    answers: list[int] = []
    headers = token(live)

    def ask(body: dict[str, str]) -> None:
        answers.append(live.http("POST", PAUSE, headers=headers, json=body).status_code)

    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    paused = [one.event.actor for one in live.store.events(NAME) if one.event.type == "paused"]
    assert sorted(answers) == [200] * 10
    assert sorted(paused) == [f"p{number} (local)" for number in range(10)]


# --- what is shown -----------------------------------------------------------------------------------------


def test_live_shows_what_the_cluster_received_without_secrets(live: DaemonSite) -> None:
    """As JSON and for people; somebody else's applications by name only."""
    secret = "hunter2-canary"
    live.push(runtime_env={"env_vars": {"TOKEN": secret}}, args={"note": f"uses {secret}", "price": 3})
    assert live.type("sync", NAME, "--wait").exit_code == 0
    live.cluster.serve_run("theirs")
    told, shown = live.type("live", NAME, "-o", "json"), live.type("live", NAME)
    config = json.loads(told.stdout)["apps"][0]["config"]

    assert secret not in told.output + shown.output
    assert config["runtime_env"] == {"env_vars": {"TOKEN": "<redacted>"}}
    assert config["args"] == {"note": "uses <redacted>", "price": 3}
    assert json.loads(told.stdout)["foreign"] == ["theirs"]
    assert "# fruit is RUNNING" in shown.stdout
    assert "price: 3" in shown.stdout


def test_live_says_why_a_cluster_cannot_be_seen(live: DaemonSite) -> None:
    """A failure, not a traceback."""
    live.cluster.reachable = False
    result = live.type("live", NAME)

    assert result.exit_code == 1
    assert "cannot be seen: Connection refused" in result.stderr


def test_logs_shows_replicas_and_what_was_kept_of_a_failed_one(still: DaemonSite) -> None:
    """The end of each, by application too."""
    seen = still.cluster.observe()
    replica = seen.apps["fruit"].deployments[0].replicas[0].replica_id  # type: ignore[union-attr]  # reachable
    still.cluster.logs[replica] = "one\ntwo\nthree\n"
    shown = still.type("logs", NAME, "fruit", "-n", "2")
    told = still.json("logs", NAME)

    assert f"==> fruit / D / {replica} (RUNNING) <==\ntwo\nthree\n" in shown.stdout
    assert [one["text"] for one in told["logs"]] == ["one\ntwo\nthree\n"]
    assert (told["failed"], told["left_out"]) == (None, 0)


def test_the_kept_log_is_there_when_it_is_needed(live: DaemonSite) -> None:
    """While the cluster cannot be seen, with the reason why there is no other."""
    live.push("constructor_raises:app")
    assert live.type("sync", NAME, "--wait").exit_code == 4
    with_all = live.json("logs", NAME, "fruit")
    live.cluster.reachable = False
    away, told = live.type("logs", NAME), live.type("logs", NAME, "-o", "json")

    assert (with_all["failed"]["rollout"], with_all["error"]) == ("staging#2", None)
    assert len(with_all["logs"]) == 1
    assert away.exit_code == told.exit_code == 1
    assert away.stdout.startswith("==> staging#2 failed: ")
    assert "cannot be seen" in away.stderr
    assert json.loads(told.stdout)["failed"] == with_all["failed"]
    assert "cannot be seen" in json.loads(told.stdout)["error"]


def test_the_kept_log_is_there_while_the_daemon_is_down(site: DaemonSite) -> None:
    """Of the application that is asked for only; and without a store there is just the reason."""
    nothing = site.type("logs", NAME)
    with site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        site.push("constructor_raises:app")
        assert site.type("sync", NAME, "--wait").exit_code == 4
    down, others = site.type("logs", NAME, "fruit"), site.type("logs", NAME, "fru")

    assert [result.exit_code for result in (nothing, down, others)] == [1] * 3
    assert down.stdout.startswith("==> staging#2 failed: ")
    assert nothing.stdout == others.stdout == ""
    for result in (nothing, down, others):
        assert "The daemon is not running" in result.stderr


def test_logs_of_somebody_elses_application_are_not_shown(live: DaemonSite) -> None:
    """It is on the same cluster, and no business of this environment."""
    live.cluster.serve_run("theirs")
    result = live.type("logs", NAME, "theirs")

    assert (result.exit_code, result.stdout) == (64, "")
    assert "staging has no application 'theirs'. It has: fruit." in result.stderr


def test_every_field_of_the_commands_is_documented(live: DaemonSite) -> None:
    """`docs/json.md` names what the commands of the API print."""
    live.push("import_error:app")
    waited = json.loads(live.type("sync", NAME, "--wait", "-o", "json").stdout)
    told = [
        waited,
        live.json("live", NAME),
        live.json("logs", NAME),
        live.json("sync", NAME),
        live.json("retry", NAME, "--reason", "x", "--dry-run"),
        live.json("pause", NAME, "--reason", "x"),
    ]
    printed = set(re.findall(r'"(\w+)":', json.dumps([{**one, "config": None} for one in told])))
    of_configs = {*told[1]["apps"][0]["config"], *HOLDING["runtime_env"]["env_vars"]}

    assert printed - of_configs <= set(re.findall(r"`(\w+)`", JSON_PAGE.read_text()))


def test_explain_works_while_the_daemon_runs_and_while_it_is_down(still: DaemonSite) -> None:
    """From what was published last; it says which of the two it is."""
    running = still.type("explain", NAME)
    over_http = still.http("GET", STATUS.replace("status", "explain"), headers=token(still)).json()
    told = still.json("explain", NAME)

    assert running.exit_code == 0, running.output
    assert "=> 25  git wants what is live -> wait" in running.stdout
    assert "git wants" in running.stdout
    assert running.stderr == ""
    assert over_http["line"] == told["line"] == 25


def test_explain_says_that_the_daemon_is_down(site: DaemonSite) -> None:
    """And that it has seen nothing, if it has."""
    with site.running():
        eventually(lambda: site.store.views(NAME), within=10)
    result = site.type("explain", NAME)

    assert result.exit_code == 0
    assert "The daemon is not running. This is what it saw" in result.stderr
