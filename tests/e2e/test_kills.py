"""The daemon dies in the middle: nothing is lost, doubled or forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.play import play
from tests.e2e.test_stories import market, total

if TYPE_CHECKING:
    from tests.e2e.site import Site
    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(240)]


def test_killed_in_the_middle_of_a_rollout(site: Site, fresh_serve: ServeHead) -> None:
    """The next start goes on waiting for the same rollout, and does not send it again."""
    site.push(market(3), "open the market")
    first = site.start()
    site.until_in_flight("deploy")
    first.kill()
    (cut,) = site.rollouts()
    assert cut["result"] == "in_progress"

    site.start()
    (entry,) = site.until_history("deploy good")
    assert entry["id"] == cut["id"]
    assert entry["started_at"] == cut["started_at"]
    assert len(applied_events(site)) == 1
    assert total(fresh_serve) == 6


def test_killed_in_the_middle_of_a_rollback(site: Site, fresh_serve: ServeHead) -> None:
    """The next start finishes the rollback; the bad digest stays held."""
    good = site.push(market(3), "open the market")
    first = site.start()
    site.until_live(good)
    bad = site.push(market(3, mango=""), "break it")
    site.until_in_flight("rollback")
    first.kill()
    assert [entry["result"] for entry in site.rollouts()] == ["in_progress", "failed", "good"]

    site.start()
    rollback, failed, _ = site.until_history("rollback good", "deploy failed", "deploy good")
    assert failed["followed_by"] == rollback["id"]
    assert len(site.rollouts()) == 3
    state = site.until_wanted(bad)
    assert (state["mode"], state["live"]["revision"]) == ("held", good)
    assert total(fresh_serve) == 6


def test_sigterm_in_the_middle_of_a_rollout(site: Site, fresh_serve: ServeHead) -> None:
    """Stops inside 5 s with exit code 0; the next start goes on; a restart is no reason to roll back."""
    site.push(market(3), "open the market")
    first = site.start()
    site.until_in_flight("deploy")
    code, seconds = first.terminate()
    assert code == 0, first.log.read_text()[-2000:]
    assert seconds < 5
    print(f"stopped {seconds:.2f} s after SIGTERM")  # noqa: T201 - the figure

    down = site.command("status")
    assert "The daemon is not running." in down.stderr
    assert down.returncode == 0

    site.start()
    (entry,) = site.until_history("deploy good")
    assert entry["failure"] is None
    assert len(applied_events(site)) == 1


def test_a_second_daemon_is_refused(site: Site) -> None:
    """One daemon per state directory; the error names the holder."""
    site.push(market(3), "open the market")
    first = site.start()
    second = site.command("run")

    assert second.returncode == 1
    assert str(first.process.pid) in second.stderr
    assert first.process.poll() is None


def applied_events(site: Site) -> list[object]:
    """The `Applied` facts of the site's whole history: one for each PUT that was taken."""
    return [event for event in site.facts() if event.type == "applied"]


@pytest.mark.parametrize(
    ("seed", "place"),
    [
        (25, "PUT late"),
        pytest.param(34, "PUT unanswered", marks=pytest.mark.long),
        pytest.param(96, "event", marks=pytest.mark.long),
    ],
)
def test_killed_where_a_call_to_ray_is_held(seed: int, place: str, fresh_serve: ServeHead) -> None:
    """The crash matrix on a real Ray: calls are held on the wire, and the daemon is killed there.

    `make crash` plays twenty of these.
    """
    run = play(seed, fresh_serve)
    assert not run.broken, str(run)
    assert run.reached[0].startswith(place), str(run)
