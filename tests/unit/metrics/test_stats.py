"""`deployer stats`: the numbers of a real store, read without a daemon."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.main import cli
from deployer.core.record import Record
from tests.support.build import START, ended_well, failed, held, release, seen, started
from tests.support.build import applied as put
from tests.unit.cli.test_json_docs import differences, paths

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from deployer.core.events import Event
    from deployer.core.types import Release

SETTINGS = """\
state_dir: {root}/state
repositories: {{configs: {{url: "https://git.example.com/configs.git"}}}}
environments:
  staging: {{repository: configs, branch: main, path: a, cluster: {{address: "http://127.0.0.1:9"}}}}
  production: {{repository: configs, branch: main, path: b, cluster: {{address: "http://127.0.0.1:9"}}}}
"""


def committed(name: str, at: datetime) -> Release:
    """A release of a commit that was made then."""
    made = release(name)
    return replace(made, revision=replace(made.revision, committed_at=at))


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """The settings, and a store with a good deploy an hour ago and one that failed half an hour ago."""
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    file = tmp_path / "deployer.yaml"
    file.write_text(SETTINGS.format(root=tmp_path))
    good, bad = (
        committed("good", begin - timedelta(minutes=5)),
        committed("bad", begin),
    )
    events = (
        *(seen(good), started(good), put(), *ended_well(second=60)),
        *(seen(bad, 1800), started(bad, 2, second=1800), put(2, 1801), failed(2, 1810), held(2, 1810)),
    )
    with closing(SqlStore.open(tmp_path / "state" / STORE_FILE)) as store:
        store.commit(Record(environment="staging"), [moved(event, begin - START) for event in events])
    return file


def moved(event: Event, span: timedelta) -> Event:
    """The event at another time."""
    return replace(event, at=event.at + span)


def stats(settings: Path, *args: str) -> Result:
    """What the command prints."""
    return CliRunner().invoke(cli, ["stats", *args, "-c", str(settings)])


def numbers(settings: Path, *args: str) -> list[dict[str, Any]]:
    """The same as JSON."""
    found: list[dict[str, Any]] = json.loads(stats(settings, *args, "-o", "json").stdout)
    return found


def test_the_numbers_are_those_of_the_store(settings: Path) -> None:
    """Of every environment, in the order of the settings; the time of the commit came through the store."""
    staging, production = numbers(settings)

    assert (staging["environment"], production["environment"]) == ("staging", "production")
    assert staging["days"] == 30
    assert staging["deployment_frequency"]["deploys"] == 1
    assert staging["lead_time"] == {"median_seconds": 360.0, "p90_seconds": 360.0, "deploys": 1}
    assert staging["change_failure_rate"]["ratio"] == 0.5
    assert staging["time_to_restore"]["not_restored"] == 1
    assert production["change_failure_rate"]["ratio"] is None
    assert [one["environment"] for one in numbers(settings, "production")] == ["production"]


def test_people_get_a_table_and_the_next_step(settings: Path) -> None:
    """What could not be measured is a dash; what is still broken is said with the command to type."""
    result = stats(settings, "--days", "7")
    lines = result.stdout.splitlines()

    assert result.exit_code == 0
    assert lines[1].split() == ["staging", "1", "0.14", "6m", "6m", "1", "of", "2", "50%", "-", "-"]
    assert lines[2].split() == ["production", "0", "0.00", "-", "-", "0", "of", "0", "-", "-", "-"]
    assert lines[3] == "staging: 1 failed and nothing has been good since: deployer status staging"
    assert "last 7 days" in result.stderr


def test_what_cannot_be_asked_is_refused(settings: Path) -> None:
    """An environment that the settings do not have, and a period of nothing."""
    assert stats(settings, "nowhere").exit_code == 64
    assert stats(settings, "--days", "0").exit_code == 64


def test_every_field_is_documented_and_no_other(settings: Path) -> None:
    """In docs/json.md."""
    shown = numbers(settings)

    assert list(differences("stats", {path for one in shown for path in paths(one)})) == []
