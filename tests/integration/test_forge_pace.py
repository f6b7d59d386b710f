"""How often a forge is asked: open pull requests with pauses, and nobody while it wants nobody."""

from __future__ import annotations

import re
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.forge import forge
from deployer.adapters.git import Writer
from deployer.adapters.store import SqlStore
from deployer.core.approvals import ApprovalRule
from deployer.core.commands import Declined
from deployer.core.events import Good, Promoted, PromotionAsked, Proposed, Seen
from deployer.core.gates import Rules
from deployer.core.types import Release
from deployer.engine.at_forge import ForgeWatch, Place
from deployer.engine.auto_promoting import AutoPromoter
from deployer.engine.promoting import Promoter
from deployer.engine.ways import Edge
from tests.contract.forge.fakes import PROJECT, TOKEN, FakeForge, serving
from tests.contract.forge.server import Reply
from tests.integration.test_promoting import Site
from tests.support.eventually import eventually
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.core.record import Record

HOUR = timedelta(hours=1)


@dataclass(kw_only=True)
class Many(Site):
    """One environment from which pull requests are open to many others."""

    fake: FakeForge
    kind: Any
    good_one: Release | None = None
    loads: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """One client for whoever asks."""
        self.forge = forge(
            self.kind, api_url=self.fake.api_url, project=PROJECT, token=lambda: TOKEN, ca_file=None
        )

    def many(self, targets: list[str]) -> Promoter:
        """Who promotes to all of these."""
        edges = [
            Edge(
                source="staging",
                target=target,
                repository="configs",
                url=self.origin.url,
                branch=f"env/{target}",
                source_ref="refs/heads/env/staging",
                by_pull_request=True,
            )
            for target in targets
        ]
        return Promoter(
            edges=edges,
            store=self.store,
            writers={"configs": Writer(self.folder / "configs.write.git", self.origin.url)},
            look_now=self.looked.append,
            now=lambda: datetime.now(UTC),
            commit=self.commit,
            forges={"configs": self.forge},
        )

    def opened(self, target: str, ago: timedelta) -> int:
        """A pull request for what is good in staging, opened so long ago; its number."""
        self.good_one = self.good_one or self.good("staging", "a")
        commit, branch = self.good_one.revision.commit, f"env/{target}"
        number = self.fake.open(f"deployer/staging-to-{target}", branch, head_commit=commit)
        at = datetime.now(UTC) - ago
        asked = PromotionAsked(
            at=at, actor="ada", source="staging", rollout="staging#1", commit=commit, by_pull_request=True
        )
        url = f"https://forge.example/{number}"
        proposed = Proposed(
            at=at, actor="ada", commit=commit, branch=branch, head=commit, number=number, url=url
        )
        self.commit(self.store.load(target), [asked, proposed])
        return number

    def load(self, environment: str) -> Record:
        """As the store, counting."""
        self.loads[environment] += 1
        return self.store.load(environment)

    def looks(self) -> Counter[int]:
        """How often each pull request was looked at."""
        paths = [one.path for one in list(self.fake.requests) if one.method == "GET"]
        found = [re.search(r"/(?:pulls|merge_requests)/(\d+)$", path) for path in paths]
        return Counter(int(one[1]) for one in found if one is not None)

    @contextmanager
    def running(self, promoter: Promoter, **options: Any) -> Iterator[AutoPromoter]:
        """The threads, until the block ends."""
        auto = AutoPromoter(promoter, load=self.load, may=lambda *_: None, **options)
        self.listeners.append(auto)
        auto.start()
        try:
            yield auto
        finally:
            self.listeners.remove(auto)
            auto.stop(10.0)

    def woken(self, auto: AutoPromoter, target: str, times: int) -> None:
        """Wake it all the while, until it has looked around so often."""
        event, record = Good(at=datetime.now(UTC), rollout="staging#1"), self.store.load("staging")
        before = self.loads[target]

        def woken() -> bool:
            auto.recorded(record, event)
            return self.loads[target] >= before + times

        eventually(woken, within=45)


@pytest.fixture(params=["github", "gitlab", "gitea"])
def many(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Many]:
    """Nothing is open yet."""
    store = SqlStore.open(tmp_path / "store.db")
    origin = BareRepo(tmp_path / "origin.git")
    with serving(request.param) as fake:
        yield Many(folder=tmp_path, origin=origin, store=store, fake=fake, kind=request.param)
    store.close()


def test_thirty_open_pull_requests_are_looked_at_with_pauses(many: Many) -> None:
    """Whatever wakes who looks: each at most once in 15 s; its statuses are sent as far as they are news."""
    targets = [f"p{number:02}" for number in range(30)]
    for target in targets:
        many.opened(target, timedelta())
    began = time.monotonic()
    with many.running(many.many(targets)) as auto:
        eventually(lambda: len(many.looks()) == len(targets), within=40)
        many.woken(auto, targets[-1], 12)
        times = 1 + (time.monotonic() - began) // 15.0
        looks = many.looks()
    assert max(looks.values()) <= times
    sent = [one for one in many.fake.requests if one.method == "POST"]
    assert len(sent) == len(targets)


def test_what_is_open_for_long_is_looked_at_once_a_minute(many: Many) -> None:
    """And what was opened a moment ago, as often as the timer."""
    young, old = many.opened("young", timedelta()), many.opened("old", HOUR)
    began = time.monotonic()
    with many.running(many.many(["young", "old"]), every_seconds=0.1):
        eventually(lambda: many.looks()[young] >= 8, within=30)
        times = 1 + (time.monotonic() - began) // 60.0
        assert 1 <= many.looks()[old] <= times


def test_a_merge_that_the_target_sees_is_looked_at_soon(many: Many) -> None:
    """However long it was open: a gate may wait for what the merge proves."""
    number = many.opened("old", HOUR)
    with many.running(many.many(["old"]), every_seconds=0.1):
        eventually(lambda: many.looks()[number] == 1, within=30)
        merge = many.push("old", "Merge it")
        seen = replace(merge, revision=replace(merge.revision, pull_request=number))
        many.fake.merge(number, "lin-gh", merge.revision.commit)
        many.commit(many.store.load("old"), [Seen(at=datetime.now(UTC), release=seen)])
        eventually(lambda: many.facts("old", Promoted), within=20)
    (promoted,) = many.facts("old", Promoted)
    assert promoted.copied == merge.revision.commit


def test_nobody_asks_while_the_forge_wants_nobody(many: Many) -> None:
    """Neither who sees to pull requests, nor who opens one, nor who hears of checks: one limit for all."""
    targets = [f"p{number:02}" for number in range(10)]
    for target in targets:
        many.opened(target, timedelta())
    promoter = many.many([*targets, "new"])
    rules = Rules(checks=("ci/test",), approvals=ApprovalRule(required=1, people=frozenset({"lin"})))
    watch = ForgeWatch(
        {"configs": many.forge},
        {"new": Place(repository="configs", branch="env/new", rules=rules)},
        load=many.store.load,
        commit=many.commit,
        wake=lambda _: None,
        now=lambda: datetime.now(UTC),
        every_seconds=0.1,
    )
    watch.start()
    many.fake.canned = Reply(status=429, value={"message": "rate limit"}, headers={"Retry-After": "3600"})
    try:
        with many.running(promoter, every_seconds=0.1) as auto:
            eventually(lambda: "asked too often" in (auto.trouble("p00") or ""), within=30)
            eventually(lambda: "asked too often" in (auto.trouble("p09") or ""), within=30)
            many.fake.canned = None
            asked = len(many.fake.requests)
            for commit in ("7" * 40, "8" * 40):
                watch.want("new", commit)
            eventually(lambda: _trouble(watch, "7" * 40) and _trouble(watch, "8" * 40), within=30)
            answer = promoter.promote("new", actor="ada")
            assert isinstance(answer, Declined)
            assert "asked nothing before" in answer.why
            many.woken(auto, targets[-1], 12)
            assert len(many.fake.requests) == asked
            assert asked <= 2
    finally:
        watch.stop(10.0)
    assert many.origin.head("deployer/staging-to-new") is None


def _trouble(watch: ForgeWatch, commit: str) -> bool:
    """Whether it is told why nothing is known of the commit."""
    found = watch.of("new", commit)
    return found is not None and "asked nothing before" in (found.trouble or "")


def test_what_was_cut_off_is_not_asked_about_all_the_while(many: Many) -> None:
    """A server may still be at it for three minutes; each look asks git, and the forge."""
    many.good_one = many.good("staging", "a")
    asked = PromotionAsked(
        at=datetime.now(UTC),
        actor="ada",
        source="staging",
        rollout="staging#1",
        commit=many.good_one.revision.commit,
        by_pull_request=True,
    )
    many.commit(many.store.load("new"), [asked])
    began = time.monotonic()
    with many.running(many.many(["new"])) as auto:
        eventually(lambda: many.fake.requests, within=30)
        many.woken(auto, "new", 12)
        times = 1 + (time.monotonic() - began) // 15.0
        assert len(many.fake.requests) <= times
