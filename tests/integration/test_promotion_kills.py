"""Promotions in a process that is killed, at each of their steps: the next process tells what became of them.

The promoter, git and the store are the real ones; the forge checks requests, and is in this process, as it
would live on elsewhere. What is killed is killed with SIGKILL, and nothing else is: a push that it has begun
goes on without it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.store import SqlStore
from deployer.core.commands import Declined
from deployer.core.events import Promoted, PromotionAsked, PromotionFailed, Proposed
from deployer.core.types import Release
from deployer.engine.promoting import Done, Outcome
from tests.contract.forge.fakes import FakeForge, serving
from tests.contract.forge.server import Reply
from tests.integration.killed_promoter import (
    COPY,
    FAST_FORWARD,
    PROPOSAL,
    PROPOSED_COPY,
    Job,
    forge_of,
    options,
    site_of,
)
from tests.integration.test_copies import BRANCH, HEAD, PROJECT, TOKEN, Folders, text
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.forge.server import Asked
    from tests.integration.test_promoting import Site

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
"""For a process to begin and to come to its point, on a machine that does other things."""

FACTS = (PromotionAsked, Promoted, Proposed, PromotionFailed)
PUSHED, OPENED = (FAST_FORWARD, COPY), (PROPOSAL, PROPOSED_COPY)
OPENED_IN_PART = [PROPOSED_COPY, pytest.param(PROPOSAL, marks=pytest.mark.long)]
"""Where both go the same way through what is tested, one of them is enough for every day."""


@dataclass(kw_only=True)
class Story:
    """One promotion to production: A is there already, B is good in staging and is promoted, and cut off."""

    job: Job
    fake: FakeForge | None
    b: Release | None = None

    released: threading.Event = field(default_factory=threading.Event)

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return Path(self.job.folder)

    @property
    def branch(self) -> str:
        """That of production."""
        return "env/production" if self.job.way in {FAST_FORWARD, PROPOSAL} else BRANCH

    @contextmanager
    def opened(self) -> Iterator[Site]:
        """What is there, for this process. The store is closed again before another one begins."""
        with closing(SqlStore.open(self.folder / "store.db")) as store:
            yield site_of(self.job, store)

    def promote(self, site: Site, **more: Any) -> Done | Declined:
        """Promote what is good, in this process."""
        job = replace(self.job, settled_seconds=0.0)
        promoter = site.promoter(**options(job, forge_of(job)))
        more |= {"by_pull_request": True} if job.way == PROPOSAL else {}
        return promoter.promote("production", actor="ada", reason="season", **more)

    def good(self, site: Site, price: int) -> Release:
        """The next release of staging."""
        if isinstance(site, Folders):
            production = text(3, replicas=7) if price == 3 else None
            made = site.write(text(price), production, message=f"price {price}")
            site.make_good("staging", made)
            return made
        made = site.good("staging", f"price {price}")
        if price == 3:
            site.origin.branch(self.branch, made.revision.commit)
        return made

    # --- the process that is killed ----------------------------------------------------------------------

    def kill(self, *, does: str = "promote", stops: str = "") -> None:
        """Let it promote, and kill it where it stops, or is held by somebody else."""
        reached = self.folder / "reached"
        job = replace(self.job, does=does, stops=stops)
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with subprocess.Popen(_command(job), cwd=ROOT, **quiet) as child:
            try:
                eventually(lambda: child.poll() is not None or reached.exists(), within=SECONDS)
                said = child.stderr.read().decode() if child.poll() is not None and child.stderr else ""
                assert child.poll() is None, f"it ended before: {said}"
            finally:
                os.kill(child.pid, signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        reached.unlink(missing_ok=True)

    def settle(self) -> None:
        """Another process finds out, once nobody can be at it any more."""
        job = replace(self.job, does="settle", settled_seconds=0.0)
        subprocess.run(_command(job), cwd=ROOT, check=True, capture_output=True, timeout=SECONDS)

    def asks_too_soon(self) -> str:
        """Why there is no outcome while the server may be at it, as this process is told."""
        job = replace(self.job, settled_seconds=600.0)
        with self.opened() as site:
            before = site.facts("production", *FACTS)
            told = site.promoter(**options(job, forge_of(job))).settle("production")
            assert site.facts("production", *FACTS) == before
        assert isinstance(told, Declined)
        return told.why

    def hold(self, hook: str) -> Callable[[str], None]:
        """Let the repository hold the next push in this hook; the answer is what it does then.

        `go` lets it through, `no` refuses it.
        """
        fifo, held = self.folder / "fifo", self.folder / "held"
        os.mkfifo(fifo)
        held.touch()
        script = self.folder / "origin.git" / "hooks" / hook
        script.parent.mkdir(exist_ok=True)
        lines = (
            "#!/bin/sh",
            f"test -e {held} || exit 0",
            f"rm {held}",
            f"touch {self.folder}/reached",
            f"read answer <{fifo}",
            f"echo x >{self.folder}/answered",
            'test "$answer" = go',
        )
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)

        def answer(word: str) -> None:
            with fifo.open("w") as file:
                file.write(f"{word}\n")
            eventually((self.folder / "answered").exists, within=SECONDS)

        return answer

    def hold_request(self, *methods: str, is_lost: bool) -> None:
        """Let the forge hold the next request of these that is for pull requests, until it is released."""
        assert self.fake is not None
        held: list[Asked] = []

        def instead(asked: Asked) -> Reply | None:
            is_it = asked.method in methods and {"pulls", "merge_requests"} & {*asked.path.split("/")[-2:]}
            if not is_it or held:
                return None
            held.append(asked)
            (self.folder / "reached").touch()
            assert self.released.wait(SECONDS)
            return Reply(status=503, value={"message": "lost"}) if is_lost else None

        self.fake.instead = instead

    # --- what must be so -------------------------------------------------------------------------------

    def compare(self, site: Site) -> list[type]:
        """The log, the branch and the forge agree; the kinds of what is in the log."""
        site.store.check()
        for name in ("staging", "production"):
            assert site.store.verify(name) is None
        facts = site.facts("production", *FACTS)
        for before, after in zip(facts[::2], facts[1::2], strict=True):
            assert isinstance(before, PromotionAsked)
            assert not isinstance(after, PromotionAsked)
            assert before.commit == after.commit
        self._check_branch(site, facts)
        if self.fake is not None:
            self._check_forge(site, facts)
        return [type(one) for one in facts]

    def has_b(self, site: Site) -> bool:
        """Whether the branch of production has it."""
        if isinstance(site, Folders):
            return "price: 5" in site.show()
        assert self.b is not None
        return self.b.revision.commit in site.origin.git("rev-list", self.branch).split()

    def _check_branch(self, site: Site, facts: list[Any]) -> None:
        """It only ever went forward, and has what the log says that it has, once."""
        assert self.b is not None
        log = self.folder / "origin.git" / "logs" / "refs" / "heads" / self.branch
        moves = [line.split()[:2] for line in log.read_text().splitlines()]
        assert moves
        for old, new in moves:
            assert set(old) == {"0"} or not site.origin.git("rev-list", old, f"^{new}"), (old, new)
        of_b = [one for one in facts if one.commit == self.b.revision.commit]
        promoted = [one for one in of_b if isinstance(one, Promoted)]
        assert len(promoted) <= 1
        assert bool(promoted) is self.has_b(site)
        subjects = site.origin.git("log", "--format=%s", self.branch).splitlines()
        copies = [one for one in subjects if one.startswith("Promote staging#2 ")]
        assert len(copies) == (isinstance(site, Folders) and self.has_b(site))

    def _check_forge(self, site: Site, facts: list[Any]) -> None:
        """At most one pull request is open, and it is the one that the log tells of, at the same commit."""
        assert self.fake is not None
        assert len(self.fake.pulls) <= 1
        proposed = [one for one in facts if isinstance(one, Proposed)]
        assert len(self.fake.pulls) == bool(proposed)
        if proposed:
            last, (pull,) = proposed[-1], self.fake.pulls
            assert (last.number, last.head) == (pull.number, site.origin.head(HEAD))
            assert (pull.head, pull.base) == (HEAD, self.branch)
            rollouts = [one.rollout for one in facts if isinstance(one, PromotionAsked)]
            told = rollouts[facts.index(last) // 2]
            assert told in pull.title
            assert last.commit in pull.body


def _command(job: Job) -> list[str]:
    return [sys.executable, "-m", "tests.integration.killed_promoter", str(job)]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Story]]:
    """Make a story of one way; whatever is still held at its end is let go."""
    with ExitStack() as stack:

        def make(way: str, kind: Any = "github") -> Story:
            fake = None
            if way in OPENED:
                fake = stack.enter_context(serving(kind, project=PROJECT, token=TOKEN))
            url = fake.api_url if fake is not None else ""
            job = Job(folder=str(tmp_path), way=way, does="promote", forge_kind=kind, forge_url=url)
            story = Story(job=job, fake=fake)
            stack.callback(story.released.set)
            with story.opened() as site:
                site.origin.git("config", "core.logAllRefUpdates", "always")
                if fake is not None:
                    fake.follows = site.origin.head
                story.good(site, 3)
                story.b = story.good(site, 5)
            return story

        yield make


def ends(story: Story, *kinds: type) -> None:
    """A new process settles: that is in the log, and it agrees. Then the person tries again, and is done."""
    story.settle()
    is_opened = story.job.way in OPENED
    with story.opened() as site:
        assert story.compare(site) == [*kinds]
        is_there = bool(kinds) and kinds[-1] in {Promoted, Proposed}
        answer = story.promote(site)
        assert isinstance(answer, Done), answer
        done = Outcome.NOTHING if is_there else Outcome.PROPOSED if is_opened else Outcome.PROMOTED
        assert answer.outcome is done
        more = () if is_there else (PromotionAsked, Proposed if is_opened else Promoted)
        assert story.compare(site) == [*kinds, *more]
        assert site.promoter(**options(story.job, forge_of(story.job))).settle("production") is None
        assert story.compare(site) == [*kinds, *more]


# --- before and after what is written --------------------------------------------------------------------


@pytest.mark.parametrize("way", [*PUSHED, *OPENED_IN_PART])
def test_killed_before_the_intent_nothing_has_begun(begin: Callable[..., Story], way: str) -> None:
    """Nobody knows of it, and nothing is there."""
    story = begin(way)
    story.kill(stops="before promotion_asked")
    ends(story)


@pytest.mark.parametrize("way", [*PUSHED, *OPENED_IN_PART])
def test_killed_after_the_intent_it_failed(begin: Callable[..., Story], way: str) -> None:
    """Not at once, as nobody knows yet that no server is at it."""
    story = begin(way)
    story.kill(stops="after promotion_asked")
    assert "was cut off, and the server may still be at it" in story.asks_too_soon()
    ends(story, PromotionAsked, PromotionFailed)


@pytest.mark.parametrize("way", PUSHED)
def test_killed_after_the_push_it_is_promoted(begin: Callable[..., Story], way: str) -> None:
    """The branch has it."""
    story = begin(way)
    story.kill(stops="before promoted")
    ends(story, PromotionAsked, Promoted)


@pytest.mark.parametrize("way", PUSHED)
def test_killed_while_it_finds_out_the_next_one_does(begin: Callable[..., Story], way: str) -> None:
    """An outcome is read back as often as it takes."""
    story = begin(way)
    story.kill(stops="before promoted")
    story.kill(does="settle", stops="before promoted")
    story.kill(does="settle", stops="after promoted")
    ends(story, PromotionAsked, Promoted)


# --- during a push ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", PUSHED)
@pytest.mark.parametrize("word", ["go", "no"])
def test_killed_while_the_server_is_at_it(begin: Callable[..., Story], way: str, word: str) -> None:
    """Its hook goes on without us: until that is over there is no outcome, and then it is the server's."""
    story = begin(way)
    answer = story.hold("pre-receive")
    story.kill()
    assert "the server may still be at it" in story.asks_too_soon()
    answer(word)
    if word == "go":
        with story.opened() as site:
            eventually(lambda: story.has_b(site), within=SECONDS)
    ends(story, PromotionAsked, Promoted if word == "go" else PromotionFailed)


@pytest.mark.parametrize("way", PUSHED)
def test_killed_before_the_answer_of_a_push_that_got_there(begin: Callable[..., Story], way: str) -> None:
    """The branch has moved, and the server is not done: that it is there is an outcome already."""
    story = begin(way)
    answer = story.hold("post-receive")
    story.kill()
    try:
        story.settle()
        with story.opened() as site:
            assert story.compare(site) == [PromotionAsked, Promoted]
    finally:
        answer("go")
    ends(story, PromotionAsked, Promoted)


@pytest.mark.parametrize("way", OPENED_IN_PART)
@pytest.mark.parametrize("word", ["go", "no"])
def test_killed_while_its_branch_is_pushed_there_is_no_pull_request(
    begin: Callable[..., Story], way: str, word: str
) -> None:
    """A branch of deployer's alone is nothing that anybody could merge; the next try takes its place."""
    story = begin(way)
    answer = story.hold("pre-receive")
    story.kill()
    answer(word)
    if word == "go":
        with story.opened() as site:
            eventually(lambda: site.origin.head(HEAD), within=SECONDS)
    ends(story, PromotionAsked, PromotionFailed)


# --- between git and the forge ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", OPENED_IN_PART)
def test_killed_between_its_branch_and_the_pull_request(begin: Callable[..., Story], way: str) -> None:
    """The branch is there, and nothing was asked of the forge."""
    story = begin(way)
    story.kill(stops="before create")
    with story.opened() as site:
        assert site.origin.head(HEAD) is not None
    ends(story, PromotionAsked, PromotionFailed)


@pytest.mark.parametrize("way", OPENED_IN_PART)
@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "opened all the same"])
def test_killed_while_the_forge_is_asked(begin: Callable[..., Story], way: str, is_lost: bool) -> None:
    """The request is lost, or handled though nobody waits for the answer: the forge knows."""
    story = begin(way)
    story.hold_request("POST", is_lost=is_lost)
    story.kill()
    story.released.set()
    if not is_lost:
        fake = story.fake
        assert fake is not None
        eventually(lambda: fake.pulls, within=SECONDS)
    ends(story, PromotionAsked, PromotionFailed if is_lost else Proposed)


@pytest.mark.parametrize(
    ("way", "kind"),
    [(PROPOSAL, "github"), (PROPOSED_COPY, "github"), (PROPOSED_COPY, "gitlab"), (PROPOSED_COPY, "gitea")],
)
def test_killed_after_it_was_opened_it_is_proposed(begin: Callable[..., Story], way: str, kind: str) -> None:
    """At each kind of forge."""
    story = begin(way, kind)
    story.kill(stops="before proposed")
    ends(story, PromotionAsked, Proposed)


# --- a pull request that is open already ----------------------------------------------------------------


@pytest.mark.parametrize("way", OPENED_IN_PART)
@pytest.mark.parametrize("stops", ["after promotion_asked", "before update", "before proposed"])
def test_killed_while_the_next_release_takes_its_place(
    begin: Callable[..., Story], way: str, stops: str
) -> None:
    """One pull request all the while, at the commit that the log tells."""
    story = begin(way)
    with story.opened() as site:
        assert isinstance(story.promote(site), Done)
        story.b = story.good(site, 6)
    story.kill(stops=stops)
    is_there = stops != "after promotion_asked"
    ends(story, PromotionAsked, Proposed, PromotionAsked, Proposed if is_there else PromotionFailed)


@pytest.mark.parametrize("way", OPENED_IN_PART)
def test_a_pull_request_outlasts_the_next_promotion_that_was_cut_off(
    begin: Callable[..., Story], way: str
) -> None:
    """That one failed; what is open is merged all the same, and known to be."""
    story = begin(way)
    with story.opened() as site:
        assert isinstance(story.promote(site), Done)
        first = story.b
        story.b = story.good(site, 6)
    story.kill(stops="after promotion_asked")
    story.settle()
    with story.opened() as site:
        top = site.origin.head(HEAD)
        assert top is not None
        assert story.fake is not None
        story.fake.merge(1, "lin-gh", top)
        site.origin.branch(story.branch, top)
        promoter = site.promoter(**options(story.job, forge_of(story.job)))
        assert promoter.settle("production") is None
        promoter.tend("production", lambda _: ())
        promoter.tend("production", lambda _: ())
        (promoted,) = site.facts("production", Promoted)
        assert first is not None
        assert promoted.commit == first.revision.commit
        assert site.store.verify("production") is None


@pytest.mark.parametrize("way", OPENED_IN_PART)
def test_what_was_opened_by_who_was_killed_is_tended_to_its_end(
    begin: Callable[..., Story], way: str
) -> None:
    """It was found by the next process, and its merge is the promotion."""
    story = begin(way)
    story.kill(stops="before proposed")
    story.settle()
    with story.opened() as site:
        top = site.origin.head(HEAD)
        assert top is not None
        assert story.fake is not None
        assert story.b is not None
        story.fake.merge(1, "lin-gh", top)
        site.origin.branch(story.branch, top)
        site.promoter(**options(story.job, forge_of(story.job))).tend("production", lambda _: ())
        (promoted,) = site.facts("production", Promoted)
        assert promoted.commit == story.b.revision.commit
        assert story.has_b(site)
        assert site.store.verify("production") is None
