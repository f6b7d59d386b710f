"""Promotions by copies and by pull requests, over real git, a real store and a forge that checks requests."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.forge import ForgeUnavailable, forge
from deployer.adapters.git import Copier, GitUnavailable, Writer
from deployer.adapters.store import SqlStore
from deployer.core import copying
from deployer.core.commands import INVALID, Declined, GoodRelease
from deployer.core.events import Promoted, PromotionAsked, PromotionFailed, Proposed, RollbackAsked, Seen
from deployer.core.gates import GateState, Verdict
from deployer.core.record import Pushing
from deployer.core.types import Person
from deployer.core.yaml import load
from deployer.engine.auto_promoting import AutoPromoter
from deployer.engine.promoting import Outcome, Promoter
from deployer.engine.settling import FAILED
from deployer.engine.ways import Edge
from tests.contract.forge.fakes import serving
from tests.integration.test_promoting import Site, declined, done
from tests.support.build import release
from tests.support.eventually import eventually
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from deployer.core.types import Release
    from tests.contract.forge.fakes import FakeForge

STAGING, PRODUCTION = "environments/staging/serve_config.yaml", "environments/production/serve_config.yaml"
BRANCH, HEAD = "main", "deployer/staging-to-production"
PROJECT, TOKEN = "ml/configs", "forge-token-1"

PROMOTED = (PromotionAsked, Promoted)
PROPOSED = (PromotionAsked, Proposed)


def text(price: int, *, replicas: int = 1, comment: str = "") -> str:
    """A config as a person writes it."""
    return f"""\
# prices of fruit{comment}
applications:
  - name: fruit
    import_path: good:app   # built by CI
    route_prefix: /fruit
    args: {{price: {price}}}
    deployments:
      - name: MangoStand
        num_replicas: {replicas}   # measured
"""


@dataclass(kw_only=True)
class Folders(Site):
    """Both environments follow `main`, each a folder of its own."""

    by_pull_request: bool = False
    forge: Any = None

    def promoter(self, *, auto: bool = False, **options: Any) -> Promoter:
        """A promoter; each one is another process's."""
        writer = Writer(self.folder / "configs.write.git", self.origin.url, **options.pop("writer", {}))
        edge = Edge(
            source="staging",
            target="production",
            repository="configs",
            url=self.origin.url,
            branch=BRANCH,
            source_ref=f"refs/heads/{BRANCH}",
            auto=auto,
            copied_to=PRODUCTION,
            by_pull_request=self.by_pull_request,
        )
        return Promoter(
            edges=[edge],
            store=self.store,
            writers={"configs": writer},
            copiers={"configs": options.pop("copier", None) or Copier(self.folder / "c.copy.git", writer)},
            forges={"configs": self.forge} if self.forge is not None else {},
            look_now=self.looked.append,
            now=lambda: datetime.now(UTC),
            commit=self.commit,
            settled_seconds=options.pop("settled_seconds", 0.0),
            **options,
        )

    def write(self, staging: str, production: str | None = None, message: str = "prices") -> Release:
        """A commit on the branch; what it says for staging."""
        files = {STAGING: staging} | ({PRODUCTION: production} if production is not None else {})
        commit = self.origin.commit(files, branch=BRANCH, message=message)
        made = release(commit, *load(staging.encode(), STAGING).value["applications"])
        return replace(made, revision=replace(made.revision, commit=commit, subject=message))

    def show(self, path: str = PRODUCTION, ref: str = BRANCH) -> str:
        """A file as a branch has it."""
        return self.origin.git("show", f"{ref}:{path}") + "\n"

    def log(self, ref: str = BRANCH) -> str:
        """The message of the newest commit."""
        return self.origin.git("log", "-1", "--format=%B", ref)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Folders]:
    """Both say 3; staging runs it."""
    store = SqlStore.open(tmp_path / "store.db")
    made = Folders(
        folder=tmp_path, origin=BareRepo(tmp_path / "origin.git"), store=store, environments=("staging",)
    )
    made.make_good("staging", made.write(text(3), text(3, replicas=7, comment=" in production")))
    yield made
    store.close()


@pytest.fixture(params=["github", "gitlab", "gitea"])
def forged(site: Folders, request: pytest.FixtureRequest) -> Iterator[tuple[Folders, FakeForge]]:
    """The same with pull requests at a forge of each kind."""
    with serving(request.param, project=PROJECT, token=TOKEN) as fake:
        site.forge = forge(
            request.param, api_url=fake.api_url, project=PROJECT, token=lambda: TOKEN, ca_file=None
        )
        site.by_pull_request = True
        fake.follows = site.origin.head
        yield site, fake


# --- copies ----------------------------------------------------------------------------------------------


def test_what_is_good_is_copied_and_what_differs_on_purpose_stays(site: Folders) -> None:
    """One line changes; the commit says whence it is, who asked, and why; git is looked at."""
    five = site.write(text(5, replicas=2), message="raise the price")
    site.make_good("staging", five)

    answer = site.promoter().promote("production", actor="ada (token 1)", reason="season")

    assert site.show() == text(5, replicas=7, comment=" in production")
    said = done(answer, Outcome.PROMOTED).message
    assert "is promoted: 1 change for production on branch main, by " in said
    message = site.log()
    assert message.startswith("Promote staging#2 to production\n")
    assert "season" in message
    assert copying.promoted_from(message) == ("staging#2", five.revision.commit)
    assert "Promoted-By: ada" in message
    asked, promoted = site.facts("production")
    assert (asked.commit, promoted.commit) == (five.revision.commit, five.revision.commit)
    assert promoted.copied == site.origin.head(BRANCH)
    assert site.looked == ["configs"]
    record = site.store.load("production").promotion
    assert record is not None
    assert record.commits == (five.revision.commit, promoted.copied)


def test_a_dry_run_of_a_copy_shows_each_change(site: Folders) -> None:
    """And what would stay; nothing is pushed."""
    before = site.origin.head(BRANCH)
    site.make_good("staging", site.write(text(5, replicas=2)))
    head = site.origin.head(BRANCH)

    found = done(site.promoter().promote("production", actor="ada", dry_run=True), Outcome.PLANNED)

    assert head != before
    assert f"it would change {PRODUCTION} on branch main, for production:\n  fruit" in found.message
    assert "args.price: 3 -> 5" in found.message
    made = found.plan.prepared.copy
    assert made is not None
    assert len(made.changes) == 1
    assert any("num_replicas" in one for one in made.kept)
    assert (site.origin.head(BRANCH), site.types("production")) == (head, ())


def test_what_was_copied_once_is_there(site: Folders) -> None:
    """Also after a commit that changes nothing for staging, which is no release of its own."""
    site.make_good("staging", site.write(text(5)))
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROMOTED)

    again = done(promoter.promote("production", actor="ada"), Outcome.NOTHING)

    assert again.message.startswith(f"{PRODUCTION} of production, on branch main, says what ")
    assert site.types("production") == PROMOTED


def test_what_cannot_be_copied_is_said_with_its_place(site: Folders) -> None:
    """A file that is broken, one that is not there, one whose value is shared: nothing is begun."""
    site.make_good("staging", site.write(text(5), "applications: ["))
    broken = site.promoter().promote("production", actor="ada")
    assert isinstance(broken, Declined)
    assert broken.exit_code == INVALID
    assert f"cannot be copied to production: {PRODUCTION}:" in broken.why
    site.origin.commit({PRODUCTION: None}, branch=BRANCH, message="gone")
    gone = site.promoter().promote("production", actor="ada")
    assert f"{PRODUCTION} is not on branch main" in declined(gone)
    shared = (
        text(3).replace("{price: 3}", "&shared {price: 3}")
        + "  - {name: b, import_path: b:b, args: *shared}\n"
    )
    site.origin.commit({PRODUCTION: shared}, branch=BRANCH, message="shared")
    answer = declined(site.promoter().promote("production", actor="ada"))
    assert "cannot be copied to production" in answer
    assert site.types("production") == ()


class Racing(Copier):
    """Somebody pushes to the branch between its look and its push, so many times."""

    site: Folders
    times: int = 1

    def push(self, *args: Any, **more: Any) -> Any:
        """The other one first."""
        if self.times:
            self.times -= 1
            self.site.origin.commit({f"n{self.times}": "x"}, branch=BRANCH, message="another")
        return super().push(*args, **more)


def test_a_race_is_won_by_doing_it_again(site: Folders) -> None:
    """On top of what came between; what loses every time fails, and says why."""
    site.make_good("staging", site.write(text(5)))

    def racing(times: int) -> Racing:
        writer = Writer(site.folder / "configs.write.git", site.origin.url)
        made = Racing(site.folder / "c.copy.git", writer)
        made.site, made.times = site, times
        return made

    lost = site.promoter(copier=racing(9)).promote("production", actor="ada")
    assert "the branch moved while it was pushed, 3 times in a row" in declined(lost)
    # Each copy is known before it is pushed: whichever gets there, it is known whose it is.
    assert site.types("production") == (*[PromotionAsked] * 3, PromotionFailed)
    asked = site.facts("production", PromotionAsked)
    assert len({one.copied for one in asked}) == 3
    done(site.promoter(copier=racing(1)).promote("production", actor="ada"), Outcome.PROMOTED)
    assert site.show() == text(5, replicas=7, comment=" in production")
    assert site.origin.git("log", "-1", "--format=%s", f"{BRANCH}~1") == "another"


def test_without_a_credential_the_patch_is_printed_and_does_it(site: Folders, tmp_path: Path) -> None:
    """What is printed is typed into a shell, word for word."""
    site.make_good("staging", site.write(text(5)))

    why = declined(site.promoter(writer={"can_push": False}).promote("production", actor="ada"))

    head, _, typed = why.partition("\n")
    assert head.startswith("deployer has no credential for pushing to configs: set its `write`, or type")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", site.origin.url, str(clone)], check=True)
    person = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@example.com"}
    committer = {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@example.com"}
    subprocess.run(
        ["sh", "-e", "-c", typed],
        cwd=clone,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **person, **committer},
        check=True,
        capture_output=True,
    )
    assert site.show() == text(5, replicas=7, comment=" in production")
    assert copying.promoted_from(site.log()) is not None


def test_a_patch_that_would_show_a_secret_is_not_printed(site: Folders) -> None:
    """The fields are named instead."""
    secret = "hunter2-hunter2"
    staging = text(5).replace("    args:", f"    runtime_env: {{env_vars: {{KEY: {secret}}}}}\n    args:")
    site.make_good("staging", site.write(staging))

    why = declined(site.promoter(writer={"can_push": False}).promote("production", actor="ada"))

    assert f"or edit {PRODUCTION} by hand (a patch would show what is secret)" in why
    assert secret not in why
    assert "runtime_env" in why


def test_a_patch_that_shows_a_secret_beside_the_change_is_not_printed(site: Folders) -> None:
    """Its name may stand more lines above than a patch shows."""

    def file(price: int, replicas: int) -> str:
        values = "".join(f"        KEY_{number}: s3cret-{number}\n" for number in range(9))
        return f"""\
applications:
  - name: fruit
    import_path: good:app
    runtime_env:
      env_vars:
{values}    args: {{price: {price}}}
    deployments:
      - name: MangoStand
        num_replicas: {replicas}
"""

    site.make_good("staging", site.write(file(3, 1), file(3, 7)))
    site.make_good("staging", site.write(file(5, 1)))
    why = declined(site.promoter(writer={"can_push": False}).promote("production", actor="ada"))
    assert "s3cret" not in why
    assert "args.price: 3 -> 5" in why.replace(" to ", " -> ")


def test_who_changed_the_source_since_does_not_approve_the_copy(site: Folders) -> None:
    """Ada's change was overtaken by Lin's before it was promoted: the copy brings both."""
    promoter = site.promoter()
    five, six = (site.write(text(price)) for price in (5, 6))
    by = {"ada": five, "lin": six}
    made = [
        replace(one, revision=replace(one.revision, author=Person(name=name, email=f"{name}@x")))
        for name, one in by.items()
    ]
    for one in made:
        site.make_good("staging", one)
    promoter = site.promoter(seen=lambda name: site.facts(name, Seen)[::-1])
    done(promoter.promote("production", actor="eve (token 7)"), Outcome.PROMOTED)
    (asked,) = site.facts("production", PromotionAsked)
    assert {"ada", "lin"} <= {one.name for one in asked.people}


def test_a_copy_that_was_cut_off_is_read_back(site: Folders) -> None:
    """The branch says it: there, or not there."""
    five = site.write(text(5))
    rollout = site.make_good("staging", five)
    asked = PromotionAsked(
        at=datetime.now(UTC),
        actor="ada",
        source="staging",
        rollout=rollout,
        commit=five.revision.commit,
    )
    site.commit(site.store.load("production"), [asked])
    assert site.promoter().settle("production") is None
    assert site.types("production") == (PromotionAsked, PromotionFailed)
    site.commit(site.store.load("production"), [asked])
    site.write(text(5), text(5, replicas=7))
    assert site.promoter().settle("production") is None
    assert site.types("production")[-2:] == PROMOTED


def test_a_copy_goes_by_itself_once(site: Folders) -> None:
    """And not again when somebody takes it back on the branch."""
    promoter = site.promoter(auto=True)
    by_itself = AutoPromoter(promoter, load=site.store.load, may=lambda *_: None, every_seconds=0.1)
    site.listeners.append(by_itself)
    by_itself.start()
    try:
        site.make_good("staging", site.write(text(5)))
        eventually(lambda: site.types("production") == PROMOTED, within=30)
        site.write(text(5), text(3, replicas=7))
        head = site.origin.head(BRANCH)
        site.make_good("staging", site.write(text(6)))
        eventually(lambda: site.types("production") == (*PROMOTED, *PROMOTED), within=30)
    finally:
        by_itself.stop(5.0)
    assert head is not None
    assert head in site.origin.git("rev-list", BRANCH)
    assert "price: 6" in site.show()


def test_it_goes_by_itself_though_the_next_one_has_seen_the_commit(site: Folders) -> None:
    """Both follow one branch: that the target has read a commit says nothing of its own folder."""
    promoter = site.promoter(auto=True)
    by_itself = AutoPromoter(promoter, load=site.store.load, may=lambda *_: None, every_seconds=0.1)
    site.listeners.append(by_itself)
    by_itself.start()
    try:
        five = site.write(text(5))
        own = release("own", *load(text(3, replicas=7).encode(), PRODUCTION).value["applications"])
        seen = replace(own, revision=five.revision)
        site.commit(site.store.load("production"), [Seen(at=datetime.now(UTC), release=seen)])
        site.make_good("staging", five)
        eventually(lambda: site.types("production") == PROMOTED, within=30)
    finally:
        by_itself.stop(5.0)
    assert "price: 5" in site.show()


# --- pull requests ------------------------------------------------------------------------------------------


def test_a_pull_request_is_opened_and_kept_up_to_date(forged: tuple[Folders, FakeForge]) -> None:
    """One for the edge: the next release takes the place of the one before."""
    site, fake = forged
    site.make_good("staging", site.write(text(5), message="raise `the` price, fixes #1 @all"))
    main = site.origin.head(BRANCH)

    first = done(site.promoter().promote("production", actor="ada", reason="season"), Outcome.PROPOSED)

    asked, proposed = site.facts("production", PromotionAsked, Promoted, Proposed, PromotionFailed)
    assert asked.by_pull_request
    (pull,) = fake.pulls
    assert proposed.url in first.message
    assert site.origin.head(BRANCH) == main
    assert site.show(ref=proposed.head) == text(5, replicas=7, comment=" in production")
    assert site.origin.head(HEAD) == proposed.head
    record = site.store.load("production").promotion
    assert record is not None
    assert (record.result, record.url) == (Pushing.PROPOSED, proposed.url)

    again = done(site.promoter().promote("production", actor="ada", reason="season"), Outcome.NOTHING)
    assert "already: pull request #" in again.message

    site.make_good("staging", site.write(text(6), message="more"))
    second = done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    assert "was open, and has it now" in second.message
    assert fake.pulls == [pull]
    assert site.show(ref=HEAD).count("price: 6") == 1


OLD = "  - {name: old, import_path: old:app, route_prefix: /old}\n"


def test_what_was_proposed_and_not_merged_is_no_base(forged: tuple[Folders, FakeForge]) -> None:
    """An application that the source dropped stays dropped in each pull request, until one is merged."""
    site, fake = forged
    site.by_pull_request = False
    site.make_good("staging", site.write(text(3) + OLD))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROMOTED)
    assert "old:app" in site.show()
    site.by_pull_request = True
    site.make_good("staging", site.write(text(5)))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    assert "old:app" not in site.show(ref=HEAD)
    done(site.promoter().promote("production", actor="ada"), Outcome.NOTHING)
    site.make_good("staging", site.write(text(6)))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    assert "old:app" not in site.show(ref=HEAD)
    assert len(fake.pulls) == 1


def test_a_merge_is_the_outcome_of_what_was_proposed(forged: tuple[Folders, FakeForge]) -> None:
    """With the commit that it made, which is proved by the release; from then on it is the base."""
    site, fake = forged
    five = site.write(text(5))
    site.make_good("staging", five)
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    promoter.tend("production", lambda _: ())
    assert site.facts("production", Promoted) == []
    merge = site.write(text(5), text(5, replicas=7), message="Merge it").revision.commit
    fake.merge(1, "lin-gh", merge)
    promoter.tend("production", lambda _: ())
    (promoted,) = site.facts("production", Promoted)
    assert (promoted.commit, promoted.copied) == (five.revision.commit, merge)
    record = site.store.load("production")
    assert record.promotion is not None
    assert record.promotion.result is Pushing.PROMOTED
    assert record.promoted == (record.promotion,)
    assert record.promotion.commits == (five.revision.commit, merge, record.promotion.head)
    promoter.tend("production", lambda _: ())
    assert len(site.facts("production", Promoted)) == 1


def test_who_closes_it_has_a_reason(forged: tuple[Folders, FakeForge]) -> None:
    """That is its outcome; it is asked about no more, and another try gets another one."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    fake.pull(1).state = "closed"
    promoter.tend("production", lambda _: ())
    asked = len(fake.requests)
    promoter.tend("production", lambda _: ())
    assert len(fake.requests) == asked
    (closed,) = site.facts("production", Promoted, PromotionFailed)
    assert closed.why == "Pull request #1 was closed, and not merged."
    assert promoter.is_there("production", chosen(promoter))
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    assert [one.number for one in site.facts("production", Proposed)] == [1, 2]
    promoter.tend("production", lambda _: (gate("windows", Verdict.OPEN),))
    told = fake.statuses(site.facts("production", Proposed)[1].head)
    assert list(told) == ["deployer/production/soak", "deployer/production/windows"]


def test_nothing_in_a_pull_request_is_markup_of_somebody_else(forged: tuple[Folders, FakeForge]) -> None:
    """Subjects and reasons stand in code."""
    site, fake = forged
    site.make_good("staging", site.write(text(5), message="x` @all ![p](http://evil) closes #1"))
    done(
        site.promoter().promote("production", actor="ada", reason="`) <img src=x> @everyone"),
        Outcome.PROPOSED,
    )
    (body,) = [one.body for one in fake.pulls]
    outside = "".join(part for number, part in enumerate(body.split("`")) if number % 2 == 0)
    for evil in ("@all", "evil", "closes", "<img", "@everyone"):
        assert evil in body
        assert evil not in outside


def chosen(promoter: Promoter) -> GoodRelease:
    """What would be promoted to production."""
    found = promoter.candidate("production")
    assert isinstance(found, GoodRelease)
    return found


def gate(name: str, verdict: Verdict) -> GateState:
    """A gate that says something."""
    return GateState(name=name, verdict=verdict, evidence=f"{name} says so.")


def test_gates_are_statuses_of_the_pull_request(forged: tuple[Folders, FakeForge]) -> None:
    """As they change; and one that has nothing to bring any more is closed with a word."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    promoter = site.promoter(page=lambda name: f"https://deployer.example/env/{name}")
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    (proposed,) = site.facts("production", Proposed)

    def tend(*gates: GateState) -> dict[str, Any]:
        def told(_: GoodRelease) -> Sequence[GateState]:
            return gates

        promoter.tend("production", told)
        return {name: (one[0], one[2]) for name, one in fake.statuses(proposed.head).items()}

    page = "https://deployer.example/env/production"
    closed = tend(gate("windows", Verdict.CLOSED), gate("requires", Verdict.OPEN))
    assert closed == {
        "deployer/production/soak": ("success", page),
        "deployer/production/windows": ("pending", page),
        "deployer/production/requires": ("success", page),
    }
    sent = len([one for one in fake.requests if "statuses" in str(one)])
    tend(gate("windows", Verdict.CLOSED), gate("requires", Verdict.OPEN))
    assert len([one for one in fake.requests if "statuses" in str(one)]) == sent
    assert tend(gate("windows", Verdict.SKIPPED))["deployer/production/windows"] == ("success", page)

    there = site.write(text(5), text(5, replicas=7))
    site.commit(site.store.load("production"), [Seen(at=datetime.now(UTC), release=there)])
    tend()
    standing = site.forge.open_pull_request(HEAD, BRANCH)
    assert standing is None


def test_a_pull_request_of_what_is_held_by_now_is_red(forged: tuple[Folders, FakeForge]) -> None:
    """Staging rolled it back: who merges it all the same has been told."""
    site, fake = forged
    six = site.write(text(6))
    three = site.store.good_releases("staging")[0]
    site.make_good("staging", six)
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    (proposed,) = site.facts("production", Proposed)

    def soak() -> tuple[str, str]:
        promoter.tend("production", lambda _: ())
        state, description, _ = fake.statuses(proposed.head)["deployer/production/soak"]
        return state, description

    state, description = soak()
    assert (state, description.startswith("staging#2 made it good in staging at ")) == ("success", True)
    back = RollbackAsked(
        at=datetime.now(UTC),
        actor="ada",
        reason="it leaks",
        release=three.release,
        policy=three.policy,
        made_good=three.rollout,
        nonce=three.nonce,
    )
    site.commit(site.store.load("staging"), [back])
    name = f'{six.revision.short} "prices"'
    assert soak() == ("failure", f"{name} is held in staging (rolled back by ada: it leaks).")


def test_what_somebody_pushed_to_our_branch_is_red(forged: tuple[Folders, FakeForge]) -> None:
    """What was green is not green for it; and no status is told of a gate."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    evil = site.origin.commit({PRODUCTION: text(666)}, branch=HEAD, message="evil")
    promoter.tend("production", lambda _: (gate("windows", Verdict.OPEN),))
    told = fake.statuses(evil)
    assert list(told) == ["deployer/production/soak"]
    state, description, _ = told["deployer/production/soak"]
    assert state == "failure"
    assert description.startswith(
        f"{evil[:7]}, which somebody pushed to {HEAD}, is not what staging#2 proved"
    )


def test_a_push_takes_the_place_of_a_pull_request(forged: tuple[Folders, FakeForge]) -> None:
    """What is open would bring old values, and stay green."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    site.make_good("staging", site.write(text(6)))
    site.by_pull_request = False
    done(site.promoter().promote("production", actor="ada"), Outcome.PROMOTED)
    assert fake.pull(1).state == "closed"
    assert site.types("production") == (PromotionAsked, PromotionFailed, *PROMOTED)
    (ended,) = site.facts("production", PromotionFailed)
    assert "is promoted to production instead, so deployer closes pull request #1." in ended.why


def test_a_merge_is_learned_before_something_newer_is_promoted(forged: tuple[Folders, FakeForge]) -> None:
    """Within the seconds between two looks at the pull request."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    merge = site.write(text(5), text(5, replicas=7), message="Merge it").revision.commit
    fake.merge(1, "lin-gh", merge)
    site.make_good("staging", site.write(text(6)))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    assert site.types("production") == (*PROMOTED, PromotionAsked)
    assert site.facts("production", Promoted)[0].copied == merge
    assert [one.number for one in site.facts("production", Proposed)] == [1, 2]


def test_a_gate_is_not_skipped_by_promoting_what_is_there(site: Folders) -> None:
    """Who types it is told what does that, instead of nothing."""
    site.make_good("staging", site.write(text(5)))
    done(site.promoter().promote("production", actor="ada"), Outcome.PROMOTED)
    again: dict[str, Any] = {"actor": "ada", "release": "staging#2", "reason": "fire"}
    why = declined(site.promoter().promote("production", skip=["windows"], **again))
    assert '`deployer sync production --skip windows --reason "..."` does that.' in why
    done(site.promoter().promote("production", skip=["soak"], **again), Outcome.NOTHING)


def test_a_forge_that_is_down_fails_the_promotion_with_a_sentence(forged: tuple[Folders, FakeForge]) -> None:
    """Nobody knows whether it is open, so the intent stands until it was asked; the next try gets through."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    fake.down = True
    answer = site.promoter().promote("production", actor="ada")
    assert isinstance(answer, Declined)
    assert answer.exit_code == FAILED
    assert "503" in answer.why
    fake.down = False
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    fake.down = True
    with pytest.raises(ForgeUnavailable):
        site.promoter().tend("production", lambda _: ())


def test_a_proposal_that_was_cut_off_is_read_back(forged: tuple[Folders, FakeForge]) -> None:
    """From the forge: open with that very commit, or not."""
    site, fake = forged
    five = site.write(text(5))
    rollout = site.make_good("staging", five)
    asked = PromotionAsked(
        at=datetime.now(UTC),
        actor="ada",
        source="staging",
        rollout=rollout,
        commit=five.revision.commit,
        by_pull_request=True,
    )
    site.commit(site.store.load("production"), [asked])
    assert site.promoter().settle("production") is None
    assert site.types("production") == (PromotionAsked, PromotionFailed)
    done(site.promoter().promote("production", actor="ada"), Outcome.PROPOSED)
    (first,) = site.facts("production", Proposed)
    # Another commit came to the branch meanwhile: the pull request is known by what it was opened with.
    site.origin.commit({"readme": "x"}, branch=BRANCH, message="more")
    site.commit(site.store.load("production"), [replace(asked, copied=first.head)])
    fake.down = True
    with pytest.raises(GitUnavailable):
        site.promoter().settle("production")
    fake.down = False
    assert site.promoter().settle("production") is None
    assert len(site.facts("production", Proposed)) == 2


@pytest.mark.parametrize("how", ["as it was", "with more"])
def test_a_merge_proves_only_what_was_proposed(forged: tuple[Folders, FakeForge], how: str) -> None:
    """Who pushes to its branch, and merges that, has proved nothing."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    promoter = site.promoter()
    done(promoter.promote("production", actor="ada"), Outcome.PROPOSED)
    if how != "as it was":
        site.origin.commit({PRODUCTION: text(9)}, branch=HEAD, message="by hand")
        site.forge.pull_request(1)
    merge = site.write(text(5), text(9), message="Merge it").revision.commit
    fake.merge(1, "lin-gh", merge)
    promoter.tend("production", lambda _: ())
    (promoted,) = site.facts("production", Promoted)
    assert (promoted.copied, promoted.is_more) == (merge, how != "as it was")


def test_what_somebody_took_back_is_not_copied_again_by_itself(site: Folders) -> None:
    """A person goes back to what was promoted before: that is a rescue, and the newer one stays out."""
    promoter = site.promoter(auto=True)
    for price in (5, 6):
        site.make_good("staging", site.write(text(price)))
        done(promoter.promote("production", actor="deployer"), Outcome.PROMOTED)
    done(promoter.promote("production", actor="ada", release="staging#2"), Outcome.PROMOTED)
    assert "price: 5" in site.show()
    assert promoter.is_there("production", chosen(promoter))


def test_a_lost_answer_of_the_forge_is_asked_for_again(forged: tuple[Folders, FakeForge]) -> None:
    """It was opened, and nobody heard: the next look finds it, and says so in the log."""
    site, fake = forged
    site.make_good("staging", site.write(text(5)))
    promoter = site.promoter(settled_seconds=600.0)
    real = site.forge.create

    def lost(**more: Any) -> Any:
        real(**more)
        message = "the connection broke off"
        raise ForgeUnavailable(message)

    site.forge.create = lost
    answer = promoter.promote("production", actor="ada")
    assert declined(answer) == "the connection broke off"
    assert site.types("production") == (PromotionAsked,)
    assert promoter.settle("production") is None
    (proposed,) = site.facts("production", Proposed)
    assert proposed.number == fake.pulls[0].number


def test_a_release_that_was_proposed_is_not_proposed_again_by_itself(
    forged: tuple[Folders, FakeForge],
) -> None:
    """Who closed the pull request had a reason; the next release gets another one."""
    site, fake = forged
    promoter = site.promoter(auto=True)
    by_itself = AutoPromoter(
        promoter, load=site.store.load, may=lambda *_: "a gate is closed", every_seconds=0.1
    )
    site.listeners.append(by_itself)
    by_itself.start()
    try:
        site.make_good("staging", site.write(text(5)))
        eventually(lambda: len(site.facts("production", Proposed)) == 1, within=30)
        (proposed,) = site.facts("production", Proposed)
        site.forge.close(proposed.number, comment="not now")
        seen = len(fake.requests)
        site.make_good("staging", site.write(text(6)))
        eventually(lambda: len(site.facts("production", Proposed)) == 2, within=30)
    finally:
        by_itself.stop(5.0)
    assert len(fake.requests) > seen
    assert site.facts("production", Proposed)[1].number != proposed.number


# --- pull requests where each environment has a branch ------------------------------------------------------


def test_what_is_no_fast_forward_goes_by_a_pull_request(tmp_path: Path) -> None:
    """It is offered, and opened with the very commit; what is in the way is told there."""
    store = SqlStore.open(tmp_path / "store.db")
    site = Site(folder=tmp_path, origin=BareRepo(tmp_path / "origin.git"), store=store)
    with serving("github", project=PROJECT, token=TOKEN) as fake:
        fake.follows = site.origin.head
        known = forge("github", api_url=fake.api_url, project=PROJECT, token=lambda: TOKEN, ca_file=None)
        base = site.good("staging", "a")
        site.origin.branch("env/production", base.revision.commit)
        other = site.origin.commit({"x": "y"}, branch="env/production", message="by hand")
        b = site.good("staging", "b")

        promoter = site.promoter(forges={"configs": known})
        refused = declined(promoter.promote("production", actor="ada"))
        assert "`deployer promote staging production --pull-request` opens a pull request" in refused
        skipping = promoter.promote(
            "production", actor="ada", skip=["windows"], reason="x", by_pull_request=True
        )
        assert "--skip windows is for one commit" in declined(skipping)
        found = done(promoter.promote("production", actor="ada", by_pull_request=True), Outcome.PROPOSED)
        assert "pull request #1 is open" in found.message
        assert site.origin.head(HEAD) == b.revision.commit
        assert site.head("production") == other
        (pull,) = fake.pulls
        assert pull.base == "env/production"
        assert "`by hand`" in pull.body
        again = done(promoter.promote("production", actor="ada", by_pull_request=True), Outcome.NOTHING)
        assert "pull request #1 has it" in again.message
    store.close()


def test_without_a_forge_there_is_no_pull_request(site: Folders) -> None:
    """It says which setting it needs, and nothing is begun."""
    site.make_good("staging", site.write(text(5)))
    answer = site.promoter().promote("production", actor="ada", by_pull_request=True)
    assert "write `forge` at the repository in the settings" in declined(answer)
    assert site.types("production") == ()
