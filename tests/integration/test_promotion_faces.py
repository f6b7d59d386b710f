"""Promotion and gates as people meet them: the commands, the API and the pages of the whole daemon."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.page_reader import Read
from tests.support.promotion_site import BRANCHES, PromotionSite
from tests.support.terminal import Terminal, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests
    from click.testing import Result

DEPLOYER = Path(sys.executable).parent / "deployer"

GATED: dict[str, Any] = {
    "dev": {},
    "staging": {"promote_from": "dev"},
    "production": {
        "promote_from": "staging",
        "gates": {"requires": {"staging": "0s"}, "approvals": {"required": 1, "from": ["ada", "lin"]}},
    },
}
MANUAL: dict[str, Any] = {
    **GATED,
    "production": {
        "promote_from": "staging",
        "sync": "manual",
        "gates": {
            "freezes": [
                {
                    "begins": "2020-01-01T00:00",
                    "ends": "2120-01-01T00:00",
                    "time_zone": "UTC",
                    "reason": "a century without deploys",
                }
            ]
        },
    },
}


FREEZE = MANUAL["production"]["gates"]["freezes"][0]
FROZEN: dict[str, Any] = {
    "dev": {},
    "staging": {"promote_from": {"environment": "dev", "auto": True}, "gates": {"freezes": [FREEZE]}},
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The daemon's log would come out among what the commands print."""
    with capture_logs():
        yield


def up_to_staging(site: PromotionSite) -> str:
    """One commit, good in dev and in staging."""
    first = site.push(1)
    site.settle("dev")
    result = site.type("promote", "dev", "staging", "--reason", "first", "--wait")
    assert result.exit_code == 0, result.output
    assert site.head("staging") == first
    return first


def words(answer: requests.Response) -> str:
    """What is read on a page, which must be a good one."""
    assert answer.status_code == 200, answer.text
    read = Read.of(answer.text)
    assert read.complaints() == []
    return " ".join("".join(read.text).split())


def test_a_commit_goes_from_dev_to_production(tmp_path: Path) -> None:
    """The very same one: good in dev, promoted, good in staging, promoted, approved, in production."""
    site = PromotionSite(tmp_path, **GATED)
    with site.running():
        first = up_to_staging(site)
        lin, ada = site.give("lin", "approver", "production"), site.give("ada", "admin")

        promoted = site.type("promote", "staging", "production", "--reason", "the sale", "--wait", token=ada)

        # The gate ends the wait, with its sentence.
        assert promoted.exit_code == 7, promoted.output
        assert "waits for the gate approvals. It has 0 of 1 approvals." in promoted.stdout
        assert site.head("production") == first
        view = site.json("status", "production")[0]
        assert [(gate["name"], gate["verdict"]) for gate in view["gates"]] == [
            ("requires", "open"),
            ("approvals", "closed"),
        ]
        assert (view["promotion"]["source"], view["promotion"]["result"]) == ("staging", "promoted")
        evidence = [one for one in site.json("explain", "production")["evidence"] if one["about"] == "gate"]
        assert [one["says"].split(".")[0] for one in evidence] == ["requires is open", "approvals is closed"]

        # The plan that is shown is the one that is approved.
        (waiting,) = site.ask("GET", "/api/v1/approvals").json()["items"]
        plan = site.ask("GET", "/api/v1/environments/production/plan").json()
        assert plan["digest"] == waiting["plan"]
        assert (waiting["revision"], waiting["people"], waiting["closed"]) == (
            first,
            ["ada", "lin"],
            ["approvals"],
        )
        text = site.type("plan", "production", "--server", base(site), token=lin).stdout
        assert "Gate: approvals 0 of 1." in text
        lanes = site.ask("GET", "/api/v1/promotions").json()["items"]
        assert [(lane["source"], lane["target"]) for lane in lanes] == [
            ("dev", "staging"),
            ("staging", "production"),
        ]
        assert all(lane["candidate"]["revision"] == first and "already" in lane["why"] for lane in lanes)
        assert lanes[1]["last"]["revision"] == first

        # Whose word does not count.
        nobody = site.type("approve", "production", "--plan", plan["digest"])
        assert nobody.exit_code == 7
        assert "the token of this machine is everybody's" in nobody.output
        another = site.type("approve", "production", "--plan", f"sha256:{'0' * 64}", token=lin)
        assert another.exit_code == 7
        assert "is another plan now" in another.output
        assert site.type("approve", "production", "--plan", "x", token=lin).exit_code == 64
        unseen = site.type("approve", "production", token=lin)
        assert unseen.exit_code == 64
        assert "There is no terminal to ask at" in unseen.output
        assert "Plan: 1 to add" in unseen.output
        silent = site.type("reject", "production", "--plan", plan["digest"], token=lin)
        assert silent.exit_code == 64
        assert "A reason is needed" in silent.output

        # The page says the same, and a form does it.
        page = site.ask("GET", "/approvals", token=lin)
        assert "It has 0 of 1 approvals." in words(page)
        assert re.search(r'name="plan" value="(.*?)"', page.text)[1] == plan["digest"]  # type: ignore[index] # it is there
        for typed, code, said in (
            ("n", 7, "Nothing was done."),
            ("y", 0, "lin rejected it: too dear."),
        ):
            with at_a_terminal(site, "reject", "production", "--reason", "too dear", token=lin) as at:
                shown = at.read_until("Reject this for production?", within=60)
                assert "Plan: 1 to add" in shown
                at.type(f"{typed}\n")
                assert at.finish(within=60) == code
            assert said in " ".join(at.output.split())
        done = site.type(
            "approve", "production", "--plan", plan["digest"][:19], "--reason", "cheap", token=lin
        )
        assert done.exit_code == 0, done.output
        assert "is approved for production by lin, as 1 of 1." in done.stdout

        site.settle("production")
        assert site.json("status", "production")[0]["live"]["revision"] == first
        assert site.ask("GET", "/api/v1/approvals").json()["items"] == []
        again = site.type("approve", "production", "--plan", plan["digest"], token=lin)
        assert again.exit_code == 7

        # What was promoted is in the log of where to, and not in the rollout of where from.
        timeline = site.ask("GET", "/api/v1/rollouts/staging%231").json()["timeline"]
        assert {"promotion_asked", "promoted"}.isdisjoint(one["event"] for one in timeline)
        logged = site.ask("GET", f"/api/v1/audit?environment=production&revision={first}").json()["items"]
        assert {"promotion_asked", "promoted", "approved", "rejected"} <= {one["type"] for one in logged}

        # The next one is ahead of staging, and shown before it goes.
        second = site.push(2)
        site.settle("dev")
        dry = site.json("promote", "dev", "staging", "--dry-run", "--reason", "look")
        assert (dry["dry_run"], dry["source"], dry["target"]["revision"]) == (True, "dev", second)
        assert site.head("staging") == first
        text = words(site.ask("GET", "/promotions"))
        assert "1 commit would be brought, by fast-forward" in text
        assert "Promote" in text
        asked = site.ask("GET", "/env/staging/promote?source=dev")
        assert "price 2" in words(asked)
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="(.*?)"', asked.text))
        assert form == {"source": "dev", "release": second}
        posted = site.ask("POST", "/env/staging/promote", data={**form, "reason": "go"})
        assert (posted.status_code, posted.headers["Location"].split("?")[0]) == (303, "/promotions")
        assert site.head("staging") == second


@contextmanager
def at_a_terminal(site: PromotionSite, *args: str, token: str) -> Iterator[Terminal]:
    """Type `deployer ARGS` at a terminal of 80 columns, with a person's token."""
    command = [str(DEPLOYER), *args, "-c", str(site.settings), "--token-file", str(site.keep(token))]
    with terminal(command, env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}) as at:
        yield at


def base(site: PromotionSite) -> str:
    """Where the daemon is."""
    return str(json.loads((site.state_dir / "api.json").read_text())["url"])


def test_what_cannot_be_promoted_is_said_with_the_reason(tmp_path: Path) -> None:
    """Another source, nothing good, what is held, what is not behind, what may not be skipped."""
    site = PromotionSite(tmp_path, **GATED)
    with site.running():

        def refused(*args: str, token: str | None = None) -> tuple[int, str]:
            result = site.type("promote", *args, "--reason", "why", token=token)
            assert result.exit_code, result.output
            return result.exit_code, result.output

        site.push(1)
        code, said = refused("dev", "staging")
        assert (code, "Nothing became good in dev yet" in said) == (7, True)
        first = up_to_staging(site)
        assert "comes from staging, and from nowhere else" in refused("dev", "production")[1]
        assert refused("staging", "dev")[0] == 64
        assert refused("nowhere", "staging")[0] == 64
        assert refused("dev", "staging", "--release", "dev#9")[0] == 64
        code, said = refused("dev", "staging", "--skip", "manual")
        assert (code, "nothing called 'manual'" in said) == (64, True)
        assert site.type("promote", "dev", "staging", "--skip", "windows,").exit_code == 64
        deployer = site.give("kim", "deployer", "dev", "staging")
        body = {"skip": ["windows"], "reason": "now"}
        answer = site.ask("POST", "/api/v1/environments/staging/promote", deployer, json=body)
        assert (answer.status_code, answer.json()["exit_code"]) == (409, 7)
        assert "to override gates is a right of its own" in answer.json()["detail"]

        # Where there is nothing to do, that is no error.
        again = site.json("promote", "dev", "staging", "--reason", "again")
        assert (again["events"], "nothing to do" in again["message"]) == ([], True)

        # One that failed in dev is held there.
        site.push(2, app="constructor_raises:app")
        assert site.type("sync", "dev", "--wait").exit_code == 4
        assert "is held in dev" in refused("dev", "staging", "--release", "dev#2")[1]
        assert site.head("staging") == first

        # A commit on staging's own branch is in the way.
        own = site.push(3, branch="env/staging")
        site.push(4)
        site.settle("dev")
        code, said = refused("dev", "staging")
        assert (code, "is not behind it" in said, own[:7] in said) == (7, True, True)
        lane = site.ask("GET", "/api/v1/promotions").json()["items"][0]
        assert [one["revision"] for one in lane["in_the_way"]] == [own]
        assert "1 in the way only staging has them" in words(site.ask("GET", "/promotions"))


def test_without_a_credential_the_commands_are_printed(tmp_path: Path) -> None:
    """And they do just that, typed by hand."""
    site = PromotionSite(tmp_path, can_push=False, **GATED)
    with site.running():
        first = site.push(1)
        site.settle("dev")

        result = site.type("promote", "dev", "staging", "--reason", "first")

        assert result.exit_code == 7, result.output
        (lane, _) = site.ask("GET", "/api/v1/promotions").json()["items"]
        assert len(lane["commands"]) == 2
        for command in lane["commands"]:
            assert command in result.output
            assert command in words(site.ask("GET", "/promotions"))
        site.repo.git("update-ref", "refs/heads/env/staging", first)
        site.settle("staging")


def test_where_sync_is_manual_it_waits_for_a_person(tmp_path: Path) -> None:
    """And a freeze for who may skip it: the plan first, on the command line and on the page."""
    site = PromotionSite(tmp_path, **MANUAL)
    with site.running():
        first = up_to_staging(site)
        assert site.type("promote", "staging", "production", "--reason", "sale").exit_code == 0

        def is_gated() -> bool:
            view = site.json("status", "production")[0]
            return [gate["verdict"] for gate in view["gates"]] == ["closed", "closed"]

        assert eventually(is_gated, within=30)
        gates = site.ask("GET", "/api/v1/environments/production/gates").json()["items"]
        assert [gate["name"] for gate in gates][-2:] == ["freezes", "manual"]
        assert [gate["verdict"] for gate in gates][:-2] == ["open"] * (len(gates) - 2)
        page = site.ask("GET", "/env/production")
        assert "a century without deploys" in words(page)
        assert 'href="/env/production/sync"' in page.text

        # The button that only looks deploys nothing; the question names what it would deploy.
        posted = site.ask("POST", "/env/production/sync", data={"reason": ""})
        assert (posted.status_code, posted.headers["Location"]) == (303, "/env/production/sync")
        asked = site.ask("GET", "/env/production/sync")
        assert f"Deploy to production: {first[:7]}?" in words(asked)
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="(.*?)"', asked.text))
        posted = site.ask("POST", "/env/production/sync", data={**form, "reason": "now"})
        assert posted.headers["Location"].startswith("/env/production?said=")
        result = site.type("sync", "production", "--wait")
        assert result.exit_code == 7, result.output
        assert "waits for the gate freezes" in result.stdout

        kim = site.give("kim", "deployer")
        assert site.type("sync", "production", "--skip", "freezes").exit_code == 64
        body = {"skip": ["freezes"], "reason": "now"}
        refused = site.ask("POST", "/api/v1/environments/production/sync", kim, json=body)
        assert (refused.status_code, "to override gates is a right of its own" in refused.text) == (409, True)
        oli = site.give("oli", "overrider")
        result = site.type(
            "sync", "production", "--skip", "freezes", "--reason", "a fix", "--wait", token=oli
        )
        assert result.exit_code == 0, result.output
        assert site.json("status", "production")[0]["live"]["revision"] == first
        said = [one["says"] for one in site.json("audit", "list", "--environment", "production")]
        assert any("without waiting for freezes" in one for one in said)


def test_what_is_asked_for_now_is_what_was_pushed_just_before(tmp_path: Path) -> None:
    """Git is polled once an hour here: a fix through a freeze does not become what was known before."""
    site = PromotionSite(tmp_path, **MANUAL)
    branch, skip = BRANCHES["production"], ("--skip", "freezes", "--reason", "INC-1")

    def asked() -> list[str]:
        (audit,) = [site.json("audit", "list", "--environment", "production", "--type", "sync_asked")]
        return [one["says"] for one in audit]

    def go(*more: str) -> Result:
        return site.type("sync", "production", *more)

    with site.running():
        first = site.push(1, branch=branch)
        result = go(*skip, "--wait")
        assert result.exit_code == 0, result.output
        assert site.json("status", "production")[0]["live"]["revision"] == first

        # One that waits in the freeze, and then the fix: that is what goes through it.
        second = site.push(2, branch=branch)
        result = go("--wait")
        assert (result.exit_code, "waits for the gate freezes" in result.stdout) == (7, True), result.output
        fix = site.push(3, branch=branch)
        result = go(*skip)
        assert (result.exit_code, fix[:7] in result.stdout) == (0, True), result.output
        site.settle("production")
        assert site.json("status", "production")[0]["live"]["revision"] == fix
        assert [fix[:7] in one for one in asked()].count(True) == 1
        assert not any(second[:7] in one and "without" in one for one in asked())

        # Nothing to skip a gate for is no success.
        before = asked()
        result = go(*skip)
        assert (result.exit_code, "is there already" in result.output) == (7, True), result.output
        assert asked() == before

        # Another config than the one that was looked at is left alone.
        third = site.push(4, branch=branch)
        result = go("--wait")
        assert (result.exit_code, third[:7] in result.output) == (7, True), result.output
        looked_at = site.json("plan", "production", "--server", base(site), token=site.give("ada", "admin"))[
            0
        ]
        fourth = site.push(5, branch=branch)
        result = go("--wait")
        assert (result.exit_code, fourth[:7] in result.output) == (7, True), result.output
        before = asked()
        result = go(*skip, "--digest", looked_at["config_digest"])
        assert (result.exit_code, "look at `deployer plan production` again" in result.output) == (7, True)
        body = {"digest": looked_at["config_digest"]}
        answer = site.ask("POST", "/api/v1/environments/production/sync", json={**body, "by": "ada"})
        assert (answer.status_code, answer.json()["exit_code"]) == (409, 7)
        assert asked() == before

        # Where git is away, what it wants now is not guessed; a config that is named is not in doubt.
        looked_at = site.json("plan", "production", "--server", base(site), token=site.give("bob", "admin"))[
            0
        ]
        site.repo.path.rename(site.repo.path.with_suffix(".away"))
        result = go()
        assert (result.exit_code, "What git wants in production now is not known" in result.output) == (
            7,
            True,
        )
        assert asked() == before
        result = go(*skip, "--digest", looked_at["config_digest"])
        assert result.exit_code == 0, result.output
        assert "It was not found out first whether git wants it now" in result.stdout

        def is_live() -> bool:
            return bool(site.json("status", "production")[0]["live"]["revision"] == fourth)

        assert eventually(is_live, within=30)


def test_what_a_promotion_by_itself_waits_for_is_shown(tmp_path: Path) -> None:
    """On the page and in the API; with the gate's own words to who may see every environment."""
    site = PromotionSite(tmp_path, **FROZEN)
    with site.running():
        site.push(1)
        site.settle("dev")

        def lane(token: str | None = None) -> dict[str, Any]:
            (one,) = site.ask("GET", "/api/v1/promotions", token).json()["items"]
            return dict(one)

        eventually(lambda: "a century without deploys" in (lane()["waits"] or ""), within=30)
        assert lane()["failing"] is None
        assert "Not promoted by itself yet: dev#1 waits for the gate freezes." in words(
            site.ask("GET", "/promotions")
        )
        some = site.give("pat", "admin", "dev", "staging")
        assert lane(some)["waits"] == "staging does not let it in yet: see `deployer status staging`."


def test_who_may_not_see_an_environment_does_not_read_its_name(tmp_path: Path) -> None:
    """Not in gates, sentences, plans, events, nor on a page; and the way from it is not there."""
    site = PromotionSite(tmp_path, **GATED)
    with site.running():
        up_to_staging(site)
        named = site.type("promote", "staging", "production", "--reason", "staging made it good")
        assert named.exit_code == 0, named.output
        only = site.give("pat", "admin", "production")

        def is_gated() -> bool:
            return bool(site.json("status", "production")[0]["gates"])

        assert eventually(is_gated, within=30)
        for what in ("", "/status", "/explain", "/gates", "/plan"):
            path = f"/api/v1/environments/production{what}"
            assert "staging" in site.ask("GET", path).text or what == "/plan", path
            assert "staging" not in site.ask("GET", path, only).text, path
        for path in ("/api/v1/environments", "/api/v1/audit", "/api/v1/promotions", "/api/v1/approvals"):
            answer = site.ask("GET", path, only)
            assert answer.status_code == 200
            assert "staging" not in answer.text, path
        for path in ("/", "/env/production", "/env/production/plan", "/promotions", "/approvals", "/audit"):
            assert "staging" not in words(site.ask("GET", path, only)), path
        for body in ({"source": "staging"}, {"source": "nowhere"}):
            refused = site.ask("POST", "/api/v1/environments/production/promote", only, json=body)
            assert refused.status_code == 404
        refused = site.ask("POST", "/api/v1/environments/production/promote", only, json={})
        assert (refused.status_code, "staging" in refused.text) == (409, False)
