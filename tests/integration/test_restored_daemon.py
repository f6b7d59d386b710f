"""A daemon whose store is a backup: it goes on from there, and does nothing before it has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from tests.support.audited import Files
from tests.support.daemon_site import NAME, DaemonSite
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from pathlib import Path

WHY = ("--accept-loss", "--reason", "the disk died")


def verified(site: DaemonSite) -> int:
    """What both verifiers say of the store."""
    return Files(folder=site.root, log=site.state_dir / "deployer.db", keys=[]).both().code


def story(site: DaemonSite) -> str:
    """A deploy, a backup, another deploy, and the backup in the place of the store; the newest commit."""
    backup = str(site.root / "backup.db")
    site.push(message="the first")
    with capture_logs(), site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        assert site.type("backup", backup).exit_code == 0
        newest = site.push(app="good:other", message="the second")
        assert site.type("sync", NAME, "--wait").exit_code == 0
        robbed = site.type("restore", backup, *WHY)
        assert robbed.exit_code == 7
        assert "is in use by process" in robbed.output
    refused = site.type("restore", backup)
    assert refused.exit_code == 7
    assert "that it has not" in refused.output
    return newest


def test_nothing_is_done_before_somebody_has_looked(tmp_path: Path) -> None:
    """What runs is newer than what the store knows: it stays, until a person resumes the environment."""
    site = DaemonSite(tmp_path)
    newest = story(site)
    assert site.type("restore", str(tmp_path / "backup.db"), *WHY).exit_code == 0
    before = list(site.cluster.puts)
    # The daemon logs to the same stdout, in its threads.
    with capture_logs(), site.running():
        site.type("sync", NAME)
        eventually(lambda: site.json("status")[0]["paused"], within=20)
        eventually(lambda: (site.json("status")[0]["wanted"] or {}).get("revision") == newest, within=20)
        [status] = site.json("status")
        assert status["paused"]["reason"] == "the disk died"
        assert status["drift"]["class"] == "edited"
        assert site.cluster.puts == before

        assert site.type("resume", NAME).exit_code == 0
        assert site.type("sync", NAME, "--wait").exit_code == 0
        assert site.json("status")[0]["live"]["revision"] == newest
    assert verified(site) == 0
    # What git wants was sent once more, and nothing starts anew; the rollout's number is given out again.
    assert site.cluster.puts == [*before, before[-1]]


def test_without_the_pause_the_daemon_goes_on_at_once(tmp_path: Path) -> None:
    """It ends where git is."""
    site = DaemonSite(tmp_path)
    newest = story(site)
    assert site.type("restore", str(tmp_path / "backup.db"), *WHY, "--no-pause").exit_code == 0
    with capture_logs(), site.running():
        assert site.type("sync", NAME, "--wait").exit_code == 0
        assert site.json("status")[0]["live"]["revision"] == newest
    assert verified(site) == 0
