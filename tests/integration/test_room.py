"""A release that found no room, over the whole daemon in this process, whose clock can be moved.

The real command tells the same story in `tests/e2e/test_promises.py`, but for the minute that it would wait.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deployer.core.events import RetryAsked, Started
from deployer.core.record import Result
from deployer.core.rest import ROOM_FIRST_SECONDS
from tests.support.daemon_site import NAME, DaemonSite
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.core.record import Record

FULL: dict[str, Any] = {"deployments": [{"name": "D", "ray_actor_options": {"num_cpus": 8}}]}
IMPATIENT = "health: {stability_window: 0s, deadlines: {schedule: 300ms}}\nsoak: 0s\n"


def test_it_is_tried_again_by_itself_when_there_is_room(tmp_path: Path) -> None:
    """Not before some time has passed, nor before more is free; then without a word from anybody."""
    site = DaemonSite(tmp_path)
    good = site.push(args={"price": 3})
    with site.running():

        def rests_on(commit: str) -> Record:
            record = site.store.load(NAME)
            assert record.good is not None
            assert record.good.revision.commit == commit, site.store.views(NAME)
            assert record.rollout is None
            return record

        def says(text: str) -> bool:
            message = site.store.views(NAME)[NAME][1]["message"]
            assert text in message, message
            return True

        assert site.type("sync", NAME, "--wait").exit_code == 0
        full = site.push(args={"price": 5}, policy=IMPATIENT, **FULL)
        assert site.type("sync", NAME).exit_code == 0
        eventually(lambda: site.store.load(NAME).starved, within=60, what="it found no room")
        eventually(lambda: says("found no room on the cluster and is tried again not before"), within=60)
        record = rests_on(good)
        assert (record.held, record.rollouts) == ((), 3)
        puts = len(site.cluster.puts)

        site.ahead = timedelta(seconds=ROOM_FIRST_SECONDS + 1)
        assert site.type("sync", NAME).exit_code == 0
        eventually(lambda: says("is tried again when more resources are free"), within=60)
        assert len(site.cluster.puts) == puts

        site.cluster.free = {"CPU": 8.0}
        assert site.type("sync", NAME).exit_code == 0
        record = eventually(lambda: rests_on(full), within=60, what="it is good")
        facts = [one.event for one in site.store.events(NAME)]

    assert record.starved is None
    assert record.last is not None
    assert record.last.result is Result.GOOD
    assert not any(isinstance(fact, RetryAsked) for fact in facts)
    triggers = [fact.trigger for fact in facts if isinstance(fact, Started)]
    assert triggers == ["push", "push", "staging#2 failed", "there may be room now"]
