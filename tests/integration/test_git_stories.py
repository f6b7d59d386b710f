"""What happens to a repository, and what the daemon makes of it: history, folders, branches, freshness."""

from __future__ import annotations

import hmac
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import requests
from structlog.testing import capture_logs

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.daemon import running
from deployer.core.events import Refused, RetryAsked, Seen
from deployer.settings import load
from tests.support.daemon_site import FOLDER, NAME, DaemonSite
from tests.support.eventually import eventually
from tests.support.git_server import serving
from tests.support.webhooks import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.core.record import Record

POLL = 0.2
TOKEN = "s3cret-token-of-the-forge"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The daemon's log would come out among what the commands print."""
    with capture_logs():
        yield


@pytest.fixture
def site(tmp_path: Path) -> DaemonSite:
    """A repository, a cluster and a daemon between them."""
    return DaemonSite(tmp_path)


def state(site: DaemonSite) -> Any:
    """What `deployer status` says of the environment."""
    (found,) = site.json("status")
    return found


def until(site: DaemonSite, what: str, **wanted: Any) -> Any:
    """The status, once these fields are so; `live` and `wanted` are given as commits."""

    def look() -> Any:
        found = state(site)
        shown = found | {key: (found[key] or {}).get("revision") for key in ("live", "wanted")}
        assert {key: shown[key] for key in wanted} == wanted, found["message"]
        assert found["rollout"] is None, found["message"]
        return found

    return eventually(look, within=20, what=what)


def facts(site: DaemonSite, kind: type[Any]) -> list[Any]:
    """The events of a kind, oldest first."""
    return [one.event for one in site.store.events(NAME, limit=1000) if isinstance(one.event, kind)]


def test_a_forced_push_waits_for_a_person(site: DaemonSite) -> None:
    """What runs stays, the sentence says what to type, and what was typed is in the log."""
    good = site.push(message="the good one")
    with site.running(poll_seconds=POLL):
        until(site, "it is live", live=good, mode="auto")
        site.repo.delete("main")
        forced = site.push(app="other:app", message="another history")
        found = until(site, "it waits", live=good, mode="waiting", sync="OutOfSync", wanted=None)
        assert found["message"] == (
            f"{forced[:7]} is not deployed: branch main was rewritten, or is another one: it does not hold"
            f" {good[:7]}, which was deployed before. If that is meant, type"
            " `deployer retry staging --reason ...`."
            f' {good[:7]} "the good one" is live.'
        )
        assert [one.commit for one in facts(site, Refused) if one.is_rewrite] == [forced]

        asked = site.type("retry", NAME, "--reason", "history was cleaned")
        assert asked.exit_code == 0, asked.output
        until(site, "it is deployed", live=forced, mode="auto", sync="Synced")
        assert [one.accepts for one in facts(site, RetryAsked)] == [forced]
        assert "does not hold" in facts(site, Seen)[-1].rewritten


def test_a_rewritten_branch_that_comes_back_goes_on_by_itself(site: DaemonSite) -> None:
    """Somebody repaired it: a head that holds what was deployed needs no person."""
    good = site.push()
    with site.running(poll_seconds=POLL):
        until(site, "it is live", live=good)
        site.repo.delete("main")
        site.push(app="other:app")
        until(site, "it waits", live=good, mode="waiting")
        site.repo.branch("main", good)
        until(site, "it goes on", live=good, mode="auto", sync="Synced")
        after = site.push(app="third:app")
        until(site, "the next one is deployed", live=after, sync="Synced")


def test_a_forced_push_is_found_after_a_restart(site: DaemonSite) -> None:
    """The store knows what was deployed, also if the mirror is lost."""
    good = site.push()
    with site.running(poll_seconds=POLL):
        until(site, "it is live", live=good)
    site.repo.delete("main")
    site.push(app="other:app")
    shutil.rmtree(site.state_dir / "mirrors")
    with site.running(poll_seconds=POLL):
        until(site, "it waits", live=good, mode="waiting")
        assert "was rewritten" in state(site)["message"]


def test_a_rollback_works_after_the_history_is_gone(site: DaemonSite) -> None:
    """Rewritten, and collected as garbage: what was deployed is in the store."""
    good = site.push(message="the good one")
    with site.running(poll_seconds=POLL):
        until(site, "it is live", live=good)
        better = site.push(app="better:app")
        until(site, "the next one too", live=better)
        site.repo.delete("main")
        site.push(app="other:app")
        site.repo.git("reflog", "expire", "--expire=now", "--all")
        site.repo.git("gc", "--quiet", "--prune=now")
        until(site, "it waits", live=better, mode="waiting")
        asked = site.type("rollback", NAME, "--to", good, "--reason", "it was better")
        assert asked.exit_code == 0, asked.output
        until(site, "it is back", live=good)
        assert site.cluster.observe().apps["fruit"].config["import_path"] == "good:app"  # type: ignore[union-attr,index]  # it runs


@pytest.mark.parametrize("loss", ["branch", "folder", "repository"])
def test_an_environment_whose_config_is_gone_is_orphaned(site: DaemonSite, loss: str) -> None:
    """It keeps what runs and says so, and goes on when the config comes back."""
    good = site.push(message="the good one")
    with site.running(poll_seconds=POLL):
        until(site, "it is live", live=good)
        puts = len(site.cluster.puts)
        match loss:
            case "branch":
                site.repo.delete("main")
                why = "There is no branch main in repository configs."
            case "folder":
                gone = dict.fromkeys((f"{FOLDER}/serve_config.yaml", f"{FOLDER}/environment.yaml"))
                site.repo.commit({**gone, "environments/renamed/serve_config.yaml": "applications: []\n"})
                why = f"There is no {FOLDER}/serve_config.yaml on branch main of repository configs."
            case _:
                site.repo.git("for-each-ref")
                shutil.rmtree(site.repo.path)
                type(site.repo)(site.repo.path)
                why = "There is no branch main in repository configs."
        found = until(site, "it is orphaned", live=good, mode="orphaned", sync="OutOfSync", health="Healthy")
        assert found["message"] == (
            f'{why} staging is orphaned: what runs stays. {good[:7]} "the good one" is live.'
        )
        assert len(site.cluster.puts) == puts
        if loss == "branch":
            site.repo.branch("main", good)
            until(site, "it goes on", live=good, mode="auto", sync="Synced")


def test_commits_that_were_overtaken_are_in_the_log(site: DaemonSite) -> None:
    """Pushed while the daemon was down: only the newest is deployed, the others are named."""
    good = site.push()
    with site.running(poll_seconds=POLL):
        until(site, "it is live", live=good)
    first, second, newest = (site.push(app=f"app{number}:app") for number in range(3))
    with site.running(poll_seconds=POLL):
        until(site, "the newest is live", live=newest)
        assert facts(site, Seen)[-1].superseded == (second, first)


def test_status_and_explain_tell_how_fresh_git_is(site: DaemonSite) -> None:
    """When the head was last seen; and for how long it was not, with the reason."""
    good = site.push()
    with site.running(poll_seconds=POLL):
        assert until(site, "it is live", live=good)["git"]["trouble"] is None
        assert "head last seen" in site.type("explain", NAME).output
        site.repo.path.rename(site.root / "away.git")
        site.type("sync", NAME)

        def told() -> bool:
            site.type("sync", NAME)
            return "Its head was last seen" in site.type("status").output

        eventually(told, within=20)
        assert state(site)["git"]["trouble"] is not None


EVERYTHING = """\
state_dir: {root}/state
server: {{listen: "127.0.0.1:0"}}
repositories:
  configs:
    url: {url}
    poll_interval: 1h
    token_file: token
    webhook: {{scheme: github, secret_file: secret}}
environments:
  staging:
    repository: configs
    tags: {{versions: "^1.2"}}
    path: environments/staging
    cluster: {{address: "http://127.0.0.1:9"}}
    rewrites: accept
"""


def test_the_daemon_of_the_settings_hears_a_webhook_and_follows_a_tag(tmp_path: Path) -> None:
    """From the settings to the store: a token, tags, a signed webhook, a moved tag that is accepted."""
    site = DaemonSite(tmp_path)
    for name, text in (("token", TOKEN), ("secret", PLAIN)):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)

    def wanted(record: Record) -> str | None:
        return record.seen.revision.commit if record.seen is not None else None

    with serving(tmp_path, token=TOKEN) as server:
        site.settings.write_text(EVERYTHING.format(root=tmp_path, url=server.url("configs.git")))
        first = site.push()
        site.repo.git("tag", "v1.2.0", first)
        with running(load(site.settings, {})):
            url, _ = site.api()
            store = SqlStore.open_readonly(site.state_dir / STORE_FILE)
            try:
                eventually(lambda: wanted(store.load(NAME)) == first, within=20, what="the first look")
                second = site.push(app="other:app")
                site.repo.git("tag", "--force", "v1.2.0", second)
                body = b'{"ref": "refs/tags/v1.2.0"}'
                signed = hmac.new(PLAIN.encode(), body, "sha256").hexdigest()
                for signature, status in (("0" * 64, 401), (signed, 202)):
                    headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": "push"}
                    answer = requests.post(f"{url}/hooks/configs", data=body, headers=headers, timeout=10)
                    assert answer.status_code == status, answer.text
                eventually(
                    lambda: wanted(store.load(NAME)) == second, within=20, what="the webhook was heard"
                )
                seen = [one.event for one in store.events(NAME, limit=100) if isinstance(one.event, Seen)][-1]
                assert seen.release.revision.tag == "v1.2.0"
                assert seen.rewritten == f"tag v1.2.0 was moved from {first[:7]} to {second[:7]}"
            finally:
                store.close()
