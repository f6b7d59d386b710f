"""`deployer try` before and after the trial itself: what is meant, whether it fits, and how it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from deployer.cli import trial, try_
from deployer.cli.main import cli
from deployer.cli.trial import Order, Outcome, _Watch, misfit
from deployer.core import policy, serve_config
from deployer.core.events import Checked, Event, Failed, Failure, FailureClass, LogKept, LogSource, Refused
from deployer.core.record import Record
from deployer.core.status import status
from tests.support import build

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

CONFIG = """\
applications:
  - name: fruit
    import_path: market:app
    deployments: [{name: D, num_replicas: 2, ray_actor_options: {num_cpus: 1, num_gpus: 0.5}}]
"""
SOURCE = LogSource(replica="r1", node_id="n1", path="serve/r1.log")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the person in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*args: str) -> Result:
    """Type `deployer try ARGS`."""
    return CliRunner().invoke(cli, ["try", *args])


def order(*deployments: dict[str, Any], **resources: float) -> Order:
    """A trial of one application with these deployments."""
    app = {"name": "fruit", "import_path": "market:app", "deployments": [*deployments]}
    return Order(
        name="qa",
        body={"applications": [app]},
        rules={},
        resources={"CPU": 2, **resources},
        ray_version="2.60.0",
    )


def deployment(replicas: int = 1, **options: Any) -> dict[str, Any]:
    """A deployment that asks for this."""
    return {"name": "D", "num_replicas": replicas, "ray_actor_options": options}


def environment(folder: Path, name: str, config: str = CONFIG) -> Path:
    """The folder of an environment below `environments`."""
    path = folder / "environments" / name
    path.mkdir(parents=True)
    (path / "serve_config.yaml").write_text(config)
    return path


def test_what_does_not_fit_is_told_at_once(here: Path) -> None:
    """By the folder, the file, or the environment's name; with what to type to pretend."""
    folder = environment(here, "qa")
    for target in ("qa", "environments", str(folder), str(folder / "serve_config.yaml")):
        result = typed(target, "--resources", '{"CPU": 8}')
        assert result.exit_code == 1, result.output
        assert "failed (capacity). It does not fit here: GPU 1 of 0 free." in result.stdout
        assert """--resources '{"CPU": 8, "GPU": 1}'""" in result.stdout
        assert "Starting" not in result.stderr


def test_for_scripts(here: Path) -> None:
    """The same as JSON."""
    environment(here, "qa")
    result = typed("qa", "-o", "json")
    told = json.loads(result.stdout)
    assert result.exit_code == told["exit_code"] == 1
    assert (told["outcome"], told["failure"]["class"]) == ("failed", "capacity")
    assert told["target"] == "environments/qa"


def test_what_is_not_valid_is_told_before_anything_starts(here: Path) -> None:
    """As `deployer validate` tells it."""
    environment(here, "qa", CONFIG.replace("import_path", "import_pth"))
    result = typed("qa")
    assert result.exit_code == 3
    assert "environments/qa/serve_config.yaml:3:5: error: unknown key 'import_pth'" in result.stdout
    assert "Starting" not in result.stderr


def test_one_at_a_time(here: Path) -> None:
    """Which of two is meant is not guessed."""
    environment(here, "qa")
    environment(here, "staging")
    result = typed("environments")
    assert result.exit_code == 1
    assert "There are 2 environments below environments: name one, such as environments/qa." in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--resources", "GPU=1"],
        ["--resources", "[1]"],
        ["--resources", '{"GPU": -1}'],
        ["--resources", '{"GPU": true}'],
        ["--resources", '{"GPU": NaN}'],
        ["--port", "0"],
        ["--timeout", "10"],
        ["--soak", "long"],
        ["--app-dir", "nowhere"],
    ],
)
def test_what_makes_no_sense(here: Path, args: list[str]) -> None:
    """A usage error."""
    environment(here, "qa")
    assert typed("qa", *args).exit_code == 64


@pytest.mark.parametrize(
    ("asked", "resources", "needs"),
    [
        (deployment(2, num_cpus=1), {}, None),
        (deployment(3, num_cpus=1), {}, "CPU 3 of 2 free"),
        (deployment(1, num_cpus=1, num_gpus=1), {"GPU": 1}, None),
        (deployment(1, num_gpus=1), {}, "GPU 1 of 0 free"),
        (deployment(2, resources={"disk": 1}), {"disk": 1}, "disk 2 of 1 free"),
        (deployment(1, memory=2**30), {}, None),
        (deployment(1, memory=2**30), {"memory": 2**20}, "memory 1 GiB of 0.000977 GiB free"),
        ({"name": "D", "placement_group_bundles": [{"CPU": 1, "TPU": 4}]}, {}, "TPU 4 of 0 free"),
        # What the code asks for is not known: the default of one processor may not be what it is.
        (deployment(9), {}, None),
    ],
)
def test_only_what_is_certain_does_not_fit(
    asked: dict[str, Any], resources: dict[str, float], needs: str | None
) -> None:
    """What the config itself asks for, against what Ray will believe to have."""
    found = misfit(order(asked, **resources))
    if needs is None:
        assert found is None
    else:
        assert found is not None
        assert (found.outcome, found.failure_class) == (Outcome.FAILED, FailureClass.CAPACITY)
        assert f"It does not fit here: {needs}. " in found.message
        pretended = json.loads(found.message.partition("--resources '")[2].rstrip("'"))
        assert misfit(order(asked, **pretended)) is None


def test_what_ray_is_told_to_have() -> None:
    """Its own resources have options of their own, and no fractions."""
    words = trial._flags({"CPU": 2, "GPU": 0.5, "memory": 1000, "disk": 1.5})
    assert words == ["--num-gpus=1", "--memory=1000", '--resources={"disk": 1.5}']
    assert trial._flags({"CPU": 2}) == []


def test_what_only_a_start_of_serve_takes_is_given_to_it(tmp_path: Path) -> None:
    """It is not in the commit: the daemon would say that Serve ignores it. Certificates are not here."""
    http = {"request_timeout_s": 5, "ssl_keyfile": "/k", "ssl_certfile": "/c", "root_path": "/r"}
    body = {**order(deployment(num_cpus=1e-07)).body, "http_options": http, "target_capacity": 50}
    rules = {"rollback": {"on": True}, "soak": "0s"}
    tried = Order(name="qa", body=body, rules=rules, resources={}, ray_version="2.60.0")
    assert trial._start(body) == {"http_options": {"request_timeout_s": 5, "root_path": "/r"}}
    assert trial._start({"applications": []}) == {}
    trial._commit(tmp_path / "configs", tried)
    folder = tmp_path / "configs/qa"
    read = serve_config.read((folder / "serve_config.yaml").read_bytes(), "f").config
    del body["http_options"]
    assert read == serve_config.canonical(body)
    found, _ = policy.parse((folder / "environment.yaml").read_bytes(), "f")
    assert (found.soak, found.rollback) == (0.0, True)


def judged(*events: Event, seconds: float = 0.0) -> trial.Verdict:
    """What a watch makes of these facts."""
    watch = _Watch()
    for event in events:
        watch.recorded(Record(environment="qa"), event)
    return watch.verdict(seconds)


def checked(number: int, *, passed: bool) -> Checked:
    """An attempt of a check."""
    return Checked(at=build.at(1), rollout="qa#1", check=number, passed=passed, message="", ms=1.0)


def test_a_good_end() -> None:
    """With how many checks passed: each once, however many attempts it took."""
    good = build.ended_well()[-1]
    found = judged(checked(0, passed=False), checked(0, passed=True), checked(1, passed=True), good)
    assert found.outcome is Outcome.GOOD
    assert found.message.endswith("2 checks passed.")


def test_a_bad_end_waits_for_the_log() -> None:
    """Where a replica has one; its text belongs to the verdict."""
    failed = build.failed(log=SOURCE)
    log = LogKept(at=build.at(31), rollout="qa#1", source=SOURCE, text="Traceback")
    found = judged(failed, log)
    assert (found.outcome, found.failure_class) == (Outcome.FAILED, FailureClass.CODE)
    assert (found.message, found.log) == ("fruit / D: ValueError: bad price", "Traceback")
    assert judged(build.failed()).log == ""


def test_the_first_end_counts() -> None:
    """What found no room is tried again by the daemon, which changes nothing."""
    assert judged(build.failed(), build.ended_well()[-1]).outcome is Outcome.FAILED


def test_what_the_daemon_does_not_take() -> None:
    """It reads the file with the schema of the very Ray that runs."""
    found = judged(Refused(at=build.at(1), message="wrong"))
    assert (found.outcome, found.message) == (Outcome.INVALID, "wrong")


def test_no_end_in_time() -> None:
    """What it did last is told."""
    watch = _Watch()
    watch.observed(
        status(build.desired(build.release("x")), build.live(), Record(environment="qa"), build.at(1))
    )
    found = watch.verdict(0.01)
    assert found.outcome is Outcome.TIMED_OUT
    assert found.message.startswith("It is not over. Last: ")
    assert judged().message == "It is not over. Last: Nothing was done yet."


def test_a_failure_has_its_error_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    """The first error and the log, the last lines of each, and nothing that moves a cursor."""
    verdict = trial.Verdict(
        outcome=Outcome.FAILED,
        message="fruit / D: \x1b[31mValueError",
        failure_class=FailureClass.CODE,
        detail="\n".join(f"line {number}" for number in range(100)),
        log="one\ntwo\n",
    )
    try_._show("qa", verdict, "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["qa: failed (code). fruit / D: ValueError", "The first error:", "  line 60"]
    assert lines[-4:] == ["  line 99", "The end of the replica's log:", "  one", "  two"]
    timed_out = trial.Verdict(outcome=Outcome.TIMED_OUT, message="It is not over.", detail="It is not over.")
    try_._show("qa", timed_out, "table")
    assert capsys.readouterr().out == "qa: timed out. It is not over.\n"


def test_the_failure_is_the_daemons_own() -> None:
    """Its first error in full comes along."""
    failure = Failure(failure_class=FailureClass.CHECKS, message="m", detail="d")
    found = judged(Failed(at=build.at(1), rollout="qa#1", failure=failure))
    assert (found.failure_class, found.message, found.detail) == (FailureClass.CHECKS, "m", "d")
