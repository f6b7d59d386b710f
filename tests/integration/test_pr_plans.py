"""A pull request, and the one comment below it: a real git server, a forge, clusters, the whole daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from deployer.cli.plan_markdown import MARKER
from deployer.engine import pr_plans
from tests.contract.forge.fakes import TOKEN, FakeForge, serving
from tests.contract.forge.server import Asked, Reply
from tests.support.eventually import eventually
from tests.support.promotion_site import PromotionSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.adapters.forge import Kind

KINDS: tuple[Kind, ...] = ("github", "gitlab", "gitea")


class Site(PromotionSite):
    """The same at a forge; dev and staging follow main, each with a folder of its own."""

    def __init__(self, root: Path, fake: FakeForge, kind: Kind) -> None:
        """Name the forge in the settings."""
        token = root / "forge-token"
        token.touch(mode=0o600)
        token.write_text(TOKEN)
        self.fake = fake
        fake.follows = self._at
        forge = {
            "kind": kind,
            "api_url": fake.api_url,
            "project": fake.project,
            "token_file": str(token),
            "statuses": False,
            "plans": True,
        }
        other = {"branch": "main", "path": "other"}
        super().__init__(root, repository={"forge": forge}, staging=other)

    def _at(self, branch: str) -> str | None:
        refs = self.repo.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        return refs.strip() or None

    def change(self, price: int, branch: str, **more: str) -> str:
        """A commit of a topic branch, which begins at main."""
        if self._at(branch) is None:
            self.repo.git("branch", branch, "main")
        return self.push(price, branch=branch, **more)

    def said(self, number: int, *words: str) -> str:
        """Wait until the one comment of ours has these words."""

        def look() -> str:
            ours = [note.body for note in self.fake.pull(number).notes if note.author == self.fake.me]
            assert len(ours) == 1, ours
            body = ours[0]
            missing = [one for one in words if one not in body]
            assert not missing, (missing, body)
            return body

        return eventually(look, within=20)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that looks as soon as it may."""
    monkeypatch.setattr(pr_plans, "EVERY_SECONDS", 0.2)
    monkeypatch.setattr(pr_plans, "LEAST_SECONDS", 0.1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One at GitHub, as GitHub's description has it."""
    with serving("github") as fake, capture_logs():
        yield Site(tmp_path, fake, "github")


@pytest.mark.parametrize("kind", KINDS)
def test_opened_pushed_live_and_merged(tmp_path: Path, kind: Kind) -> None:
    """One comment, edited in place: by a push, and by what is live; the next daemon finds it again."""
    with serving(kind) as fake, capture_logs():
        site = Site(tmp_path, fake, kind)
        site.push(1)
        site.change(2, "topic")
        with site.running():
            site.settle("dev")
            number = fake.open("topic", "main")
            body = site.said(number, "<b>dev</b>: 0 to add, 1 to change", "No change: 1 environment")
            assert body.startswith(MARKER)
            assert "**staging**: no change" in body
            pushed = site.change(3, "topic")
            site.said(number, pushed[:7], "1 &#45;&#62; 3")
            # Without anything new nothing is sent.
            edits = fake.pull(number).notes[0].edits
            asked = len(fake.requests)
            eventually(lambda: len(fake.requests) > asked + 5, within=20)
            assert fake.pull(number).notes[0].edits == edits
            site.push(4)
            site.settle("dev")
            site.said(number, "4 &#45;&#62; 3", "was changed in main as well")
        pushed = site.change(5, "topic")
        with site.running():
            site.said(number, pushed[:7])
            fake.merge(number, "ada", "a" * 40)
            asked = len(fake.requests)
            eventually(lambda: len(fake.requests) > asked + 3, within=20)
        assert len(fake.pull(number).notes) == 1


def test_what_is_held_is_flagged_before_the_merge(site: Site) -> None:
    """The same config failed already: merging it again would deploy nothing."""
    site.push(1)
    with site.running():
        site.settle("dev")
        site.push(2, app="constructor_raises:app")
        assert site.type("sync", "dev", "--wait").exit_code == 4
        site.push(1)
        site.settle("dev")
        site.change(2, "topic", app="constructor_raises:app")
        number = site.fake.open("topic", "main")
        site.said(number, "<b>HELD</b>", "**This config is held, and would not be deployed.**")


def test_a_fork_hostile_text_and_what_cannot_be_deployed(site: Site) -> None:
    """A fork's commit is fetched from the project, by the ref that the forge keeps; its text is only text."""
    site.push(1)
    with site.running():
        site.settle("dev")
        hostile = "<!-- deployer plan --> @everyone #1 `x` | <img src=x> ![a](http://b)"
        files = {"serve/serve_config.yaml": "applications: [", "serve/environment.yaml": "soak: 0s\n"}
        site.repo.git("branch", "theirs", "main")
        head = site.repo.commit(files, branch="theirs", message=hostile)
        # Only the forge's ref is left, as for every fork.
        site.repo.git("update-ref", "refs/pull/1/head", head)
        site.repo.git("update-ref", "-d", "refs/heads/theirs")
        number = site.fake.open("theirs", "main", from_fork=True, head_commit=head)
        body = site.said(number, "<b>dev</b>: cannot be deployed", head[:7])
        assert body.count("<!--") == 1
        site.repo.git("branch", "more", "main")
        head = site.push(2, branch="more")
        site.fake.pull(number).head = "more"
        site.said(number, head[:7], "1 to change")
        assert "@everyone" not in site.fake.pull(number).comments[0]


def test_nobody_elses_comment_is_touched_and_a_deleted_one_is_written_again(site: Site) -> None:
    """Whoever writes our mark gets no plan put into their comment."""
    site.push(1)
    site.change(2, "topic")
    number = site.fake.open("topic", "main")
    site.fake.add_note(number, "mallory", f"{MARKER}\n\nall is well")
    with site.running():
        site.settle("dev")
        site.said(number, "1 to change")
        site.fake.pull(number).notes[:] = site.fake.pull(number).notes[:1]
        pushed = site.change(3, "topic")
        site.said(number, pushed[:7])
    assert site.fake.pull(number).comments[0] == f"{MARKER}\n\nall is well"


def test_a_forge_that_is_down_or_refuses_is_in_nobodys_way(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rollouts go on; a locked conversation keeps no other pull request from its plan; then all is told."""
    monkeypatch.setattr(pr_plans, "MOST_SECONDS", 0.5)
    site.push(1)
    site.change(2, "topic")
    site.fake.down = True
    first = site.fake.open("topic", "main")
    with site.running():
        site.settle("dev")
        site.fake.instead = lambda asked: _locked(asked, first)
        site.fake.down = False
        site.change(3, "other-topic")
        second = site.fake.open("other-topic", "main")
        site.said(second, "1 to change")
        assert site.fake.pull(first).notes == []
        site.fake.instead = lambda _: None
        site.change(4, "topic")
        site.said(first, "1 to change")
    assert len(site.fake.pull(first).notes) == 1


def _locked(asked: Asked, number: int) -> Reply | None:
    if asked.method == "POST" and asked.path.endswith(f"/issues/{number}/comments"):
        return Reply(status=422, value={"message": "This conversation is locked"})
    return None


def test_a_lost_answer_is_not_written_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill between the comment and its answer: it is found by its mark and its author."""
    monkeypatch.setattr(pr_plans, "MOST_SECONDS", 0.5)
    site.push(1)
    site.change(2, "topic")
    number = site.fake.open("topic", "main")
    lost: list[Asked] = []

    def lose(asked: Asked) -> Reply | None:
        if asked.method == "POST" and asked.path.endswith("/comments") and not lost:
            lost.append(asked)
            site.fake.add_note(number, site.fake.me, asked.body["body"])
            return Reply(status=502, value={"message": "Bad gateway"})
        return None

    site.fake.instead = lose
    with site.running():
        site.settle("dev")
        pushed = site.change(3, "topic")
        site.said(number, pushed[:7])
    assert lost
    assert len(site.fake.pull(number).notes) == 1
