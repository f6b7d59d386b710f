"""What happens to the daemon itself, and what it refused people: in the log, beside what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer import __version__
from deployer.core.events import DAEMON_LOG
from tests.support.promotion_site import NAMES, PromotionSite

if TYPE_CHECKING:
    from pathlib import Path


def test_starts_stops_tokens_and_refusals_are_in_the_log(tmp_path: Path) -> None:
    """Each once; who may do nothing there is written down as well; and every log verifies."""
    site = PromotionSite(tmp_path)
    with site.running():
        site.push(1)
        site.settle("dev")
        secret = site.give("lin", "viewer", "dev")
        (token,) = (one for one in site.json("token", "list") if one["name"] == "lin")
        # Nothing is held, and lin may only look.
        assert site.type("retry", "dev", "--reason", "again").exit_code == 7
        for name in ("dev", "staging"):
            path = f"/api/v1/environments/{name}/pause"
            assert site.ask("POST", path, token=secret, json={"reason": "mine"}).status_code == 403
        assert site.type("token", "revoke", token["id"], "--reason", "left").exit_code == 0

    events = site.json("audit", "list", "-n", "200")
    of_daemon = [one for one in reversed(events) if one["environment"] == DAEMON_LOG]
    assert [one["type"] for one in of_daemon] == [
        "daemon_started",
        "token_created",
        "token_revoked",
        "daemon_stopped",
    ]
    assert of_daemon[0]["says"] == f"deployer {__version__} started, with 3 environments."
    assert of_daemon[1]["says"] == f"The token {token['id']} of lin gives the role viewer in dev."
    assert (of_daemon[2]["reason"], of_daemon[2]["actor"].endswith("(local)")) == ("left", True)
    assert all(secret not in str(one) for one in events)

    found = [one for one in events if one["type"] == "command_refused"]
    refused = {(one["environment"], one["actor"].partition(" ")[0]): one for one in found}
    assert refused["dev", "lin"]["says"].startswith("`pause` was refused: lin (token ")
    assert refused["staging", "lin"]["says"].startswith("`pause` was refused: lin (token ")
    mine = next(one for (name, who), one in refused.items() if name == "dev" and who != "lin")
    assert mine["says"].startswith("`retry` was refused: ")
    assert len(refused) == 3

    verified = site.json("audit", "verify")
    assert (verified["verdict"], verified["environments"]) == ("verified", len(NAMES) + 1)

    with site.running():
        # Whoever may see some environments only learns nothing of the daemon.
        bob = site.give("bob", "viewer", "dev")
        seen = site.ask("GET", "/api/v1/audit?limit=200", token=bob).json()["items"]
        assert {one["environment"] for one in seen} == {"dev"}
        page = site.ask("GET", "/audit")
        assert page.status_code == 200
        assert f'href="/env/{DAEMON_LOG}"' not in page.text
        assert DAEMON_LOG in page.text
