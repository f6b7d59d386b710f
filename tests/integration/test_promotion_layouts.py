"""Folders instead of branches, and pull requests instead of pushes: the whole daemon, real git, a mock forge.

All three environments follow `main`, each a folder of its own. Only Ray is a fake, and answers over HTTP.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import copying
from deployer.core.live import Live
from tests.contract.forge.fakes import PROJECT, TOKEN, serving
from tests.support.eventually import eventually
from tests.support.promotion_site import NAMES, QUICK, PromotionSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.adapters.forge import Kind


FOLDERS = {name: f"environments/{name}" for name in NAMES}
BRANCH = "deployer/staging-to-production"


def config(name: str, price: int) -> str:
    """What a person writes for an environment."""
    return f"""\
# {name}
applications:
  - name: fruit
    import_path: good:app
    route_prefix: /{name}   # its own
    args: {{price: {price}}}
"""


class Folders(PromotionSite):
    """Three folders of one branch."""

    def write(self, prices: dict[str, int], message: str) -> str:
        """Push these prices; the commit."""
        files = {f"{FOLDERS[name]}/serve_config.yaml": config(name, price) for name, price in prices.items()}
        policies = {f"{folder}/environment.yaml": QUICK for folder in FOLDERS.values()}
        return self.repo.commit({**files, **policies}, message=message)

    def says(self, name: str, ref: str = "main") -> str:
        """What git says of an environment."""
        return self.repo.git("show", f"{ref}:{FOLDERS[name]}/serve_config.yaml") + "\n"

    def price(self, name: str) -> Any:
        """What runs there."""
        found = self.clusters[name].observe()
        assert isinstance(found, Live)
        sent = found.apps["fruit"].config
        assert sent is not None
        return sent["args"]["price"]

    def follow(self, name: str) -> None:
        """What the branch says now is live there."""
        result = self.type("sync", name, "--wait")
        assert result.exit_code == 0, result.output


@contextmanager
def site(root: Path, **more: dict[str, Any]) -> Iterator[Folders]:
    """The daemon over three folders; `more` are settings, by environment."""
    dev, staging, production = (
        {"branch": "main", "path": FOLDERS[name], **more.get(name, {})} for name in NAMES
    )
    made = Folders(root, dev=dev, staging=staging, production=production)
    made.write(dict.fromkeys(NAMES, 3), "open the market")
    with made.running():
        for name in NAMES:
            made.follow(name)
        yield made


def test_a_price_goes_from_folder_to_folder(tmp_path: Path) -> None:
    """By itself to staging, by a person to production; what is each one's own stays, comments too."""
    with site(
        tmp_path,
        staging={"promote_from": {"environment": "dev", "auto": True}},
        production={"promote_from": "staging"},
    ) as made:
        five = made.write({"dev": 5}, "raise the price")
        made.follow("dev")
        eventually(lambda: made.price("staging") == 5, within=60)
        assert made.says("staging") == config("staging", 5)
        assert copying.promoted_from(made.repo.git("log", "-1", "--format=%B", "main")) == ("dev#2", five)
        made.follow("staging")

        lanes = made.ask("GET", "/api/v1/promotions").json()["items"]
        (lane,) = [one for one in lanes if one["target"] == "production"]
        assert (lane["how"], lane["candidate"]["rollout"]) == ("copy", "staging#2")
        assert lane["changes"] == [{"where": "fruit", "field": "args.price", "old": "3", "new": "5"}]
        page = made.ask("GET", "/promotions").text
        assert "would be copied" in page
        assert "args.price" in page

        planned = made.type("promote", "staging", "production", "--dry-run")
        assert planned.exit_code == 0, planned.output
        assert "fruit  args.price  3 -> 5" in planned.stdout or "args.price: 3 -> 5" in planned.stdout
        assert made.price("production") == 3
        done = made.type("promote", "staging", "production", "--reason", "season", "--wait")
        assert done.exit_code == 0, done.output
        assert made.price("production") == 5
        assert made.says("production") == config("production", 5)
        (status,) = made.json("status", "production")
        assert status["promotion"]["result"] == "promoted"
        assert status["promotion"]["copied"] == status["live"]["revision"]

        again = made.type("promote", "staging", "production")
        assert again.exit_code == 0
        assert "says already: nothing to do" in " ".join(again.output.split()) or "already" in again.output


def test_a_broken_release_stops_in_its_folder(tmp_path: Path) -> None:
    """It is held where it failed, and is never copied."""
    with site(tmp_path, staging={"promote_from": {"environment": "dev", "auto": True}}) as made:
        broken = config("dev", 9).replace("good:app", "import_error:app")
        made.repo.commit({f"{FOLDERS['dev']}/serve_config.yaml": broken}, message="break it")
        assert made.type("sync", "dev", "--wait").exit_code == 4
        refused = made.type("promote", "dev", "staging")
        (status,) = made.json("status", "dev")
        assert status["held"]
        assert made.says("staging") == config("staging", 3)
        assert "nothing to do" in refused.output or refused.exit_code == 7


# What differs between forges is in `test_copies.py` and `test_at_forge.py`.
@pytest.mark.parametrize(
    "kind", ["github", *(pytest.param(one, marks=pytest.mark.long) for one in ("gitlab", "gitea"))]
)
def test_a_pull_request_brings_it_and_its_review_lets_it_in(tmp_path: Path, kind: Kind) -> None:
    """Opened by itself; merged by a person; deployed when the forge is green and somebody has reviewed it."""
    secret = tmp_path / "forge.token"
    secret.touch(mode=0o600)
    secret.write_text(TOKEN)
    with serving(kind) as fake:
        where = {"kind": kind, "api_url": fake.api_url, "project": PROJECT, "token_file": str(secret)}
        made = Folders(
            tmp_path,
            repository={"forge": where},
            more={"people": {"lin": {"forge": ["lin-gh"]}}},
            dev={"branch": "main", "path": FOLDERS["dev"]},
            staging={"branch": "main", "path": FOLDERS["staging"]},
            production={
                "branch": "main",
                "path": FOLDERS["production"],
                "promote_from": {"environment": "staging", "auto": True, "by": "pull-request"},
                "gates": {
                    "checks": ["ci/test"],
                    "approvals": {"required": 1, "from": ["lin"], "reviews": True},
                },
            },
        )
        fake.follows = made.repo.head
        made.write(dict.fromkeys(NAMES, 3), "open the market")

        def gates() -> dict[str, Any]:
            (status,) = made.json("status", "production")
            return {gate["name"]: gate for gate in status["gates"]}

        with made.running():
            made.follow("staging")
            skipped = made.type("sync", "production", "--skip", "checks", "--reason", "the first one")
            assert skipped.exit_code == 0, skipped.output
            lin = made.give("lin", "approver")
            eventually(lambda: gates().get("approvals", {}).get("plan"), within=60)
            approved = made.type("approve", "production", "--plan", gates()["approvals"]["plan"], token=lin)
            assert approved.exit_code == 0, approved.output
            eventually(lambda: made.price("production") == 3, within=60)
            made.write({"staging": 5}, "raise the price")
            made.follow("staging")
            eventually(lambda: len(fake.pulls) == 1, within=60)
            (pull,) = fake.pulls
            assert (pull.head, pull.base, pull.state) == (BRANCH, "main", "open")
            assert made.says("production", BRANCH) == config("production", 5)
            assert made.says("production") == config("production", 3)

            # Somebody looks at it, and somebody else merges it.
            head = made.repo.head(BRANCH)
            assert head is not None
            fake.add_review(pull.number, "lin-gh", "approved", at=datetime.now(UTC))
            made.repo.branch("main", head)
            fake.merge(pull.number, "ada-gh", head)
            made.json("sync", "production")

            eventually(lambda: "has not heard of ci/test" in str(gates().get("checks")), within=60)
            assert made.price("production") == 3
            fake.add_check(head, "ci/test", "success")
            eventually(lambda: made.price("production") == 5, within=60)
            events = made.json("audit", "list", "-e", "production", "-n", "200")
            kinds = [one["type"] for one in events]
            assert kinds.count("proposed") == 1
            assert kinds.count("approved") == 2
