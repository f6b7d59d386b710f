"""The page about the JSON names every field of the exported events, and no other."""

from __future__ import annotations

from deployer.core.cdevents import cd_events
from deployer.core.cloudevents import cloud_event
from tests.unit.cli.test_json_docs import differences, paths
from tests.unit.core.test_cdevents import FAILED, GOOD, past
from tests.unit.core.test_cloudevents import ITEM


def test_every_field_of_a_cloudevent_is_documented_and_no_other() -> None:
    """With those of the event in it."""
    known = set(paths(cloud_event(ITEM, "/deployer")))
    assert list(differences("audit export` as CloudEvents", known)) == []
    assert list(differences("audit export` as CloudEvents", known | {"colour"})) == ["colour has no row"]


def test_every_field_of_a_cdevent_is_documented_and_no_other() -> None:
    """Of services and of incidents."""
    made = [*cd_events(GOOD, past(), "/deployer"), *cd_events(FAILED, past(), "/deployer")]
    known = {path for one in made for path in paths(one)}
    assert list(differences("audit export` as CDEvents", known)) == []
    assert list(differences("audit export` as CDEvents", known - {"data.subject.content.description"}))
