"""Branches, tags and pinned commits, followed through real git: what is published, compared and verified."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from deployer.adapters.git import Signers
from deployer.core.source import Branch, Pinned, Source, Tags
from deployer.core.types import Absent, Desired, NotRead, Person, Unverified
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources, Verify
from tests.support.eventually import eventually
from tests.support.git_server import serving
from tests.support.repos import BareRepo
from tests.support.signing import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.types import Lineage, Revision

POLL = 0.2
W = TypeVar("W", Absent, NotRead, Unverified)
CONFIG = "environments/staging/serve_config.yaml"
TAGS = Tags("v*", ">=1.2 <2")


def config(price: int) -> str:
    """A Serve config whose digest depends on the price."""
    return f"applications:\n- name: fruit\n  import_path: fruit:app\n  args: {{price: {price}}}\n"


@dataclass
class Site:
    """A repository, and sources that follow it."""

    folder: Path
    origin: BareRepo
    started: list[Sources] = field(default_factory=list)
    enqueued: list[str] = field(default_factory=list)
    prices: int = 0

    def push(self, **options: Any) -> str:
        """One more config on a branch; its commit."""
        self.prices += 1
        return self.origin.commit({CONFIG: config(self.prices)}, **options)

    def tag(self, name: str, commit: str, *, annotated: bool = True) -> None:
        """Put a tag there, by force."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        kind = ("--annotate", "--message", name) if annotated else ()
        self.origin.git(*who, "tag", "--force", *kind, name, commit)

    def follow(self, source: Source, *, url: str = "", mirrors: str = "mirrors", **options: Any) -> Sources:
        """Follow it, as `staging`."""
        sources = Sources(
            repositories=[RepositorySpec(name="configs", url=url or self.origin.url, poll_seconds=POLL)],
            environments=[
                EnvironmentSource(
                    environment="staging",
                    repository="configs",
                    source=source,
                    path="environments/staging",
                    **options,
                )
            ],
            mirrors_dir=self.folder / mirrors,
            enqueue=self.enqueued.append,
        )
        sources.start()
        self.started.append(sources)
        return sources

    def stop(self) -> None:
        """End what was started last."""
        self.started.pop().stop(5.0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A repository with nothing in it."""
    site = Site(tmp_path, BareRepo(tmp_path / "origin.git"))
    yield site
    for sources in site.started:
        sources.stop(5.0)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("git-")] == []


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Keys to sign with."""
    made = Keys(tmp_path_factory.mktemp("keys"))
    yield made
    made.close()


def until(sources: Sources, kind: type[W], says: str = "") -> W:
    """The published state, once it is of this kind and says this."""

    def look() -> W:
        wanted = sources.wanted("staging")
        assert isinstance(wanted, kind), wanted
        assert says in str(wanted), wanted
        return wanted

    return eventually(look, within=15)


def until_commit(sources: Sources, commit: str) -> Desired:
    """What is published, once it is this commit."""

    def look() -> Desired:
        wanted = sources.wanted("staging")
        assert isinstance(wanted, Desired), wanted
        assert wanted.release.revision.commit == commit
        return wanted

    return eventually(look, within=15)


def compared(sources: Sources, since: Revision) -> Lineage:
    """The comparison with a commit, once it was made: as a pass asks for it."""
    eventually(lambda: sources.compared("staging", since), within=15, what="it was compared")
    wanted = sources.wanted("staging")
    assert isinstance(wanted, Desired)
    assert wanted.lineage is not None
    return wanted.lineage


# --- tags and commits -----------------------------------------------------------------------------------


def test_the_newest_tag_of_the_range_is_followed(site: Site) -> None:
    """By version, annotated or not; a newer one is seen, and one out of the range is not."""
    old, new = site.push(), site.push()
    site.tag("v1.2.0", old)
    site.tag("v2.0.0", new)
    site.tag("nightly", new)
    sources = site.follow(TAGS)
    first = until_commit(sources, old).release.revision
    assert first.tag == "v1.2.0"

    site.tag("v1.10.0", new, annotated=False)
    assert until_commit(sources, new).release.revision.tag == "v1.10.0"
    assert compared(sources, first).rewritten == ""
    refs = BareRepo(site.folder / "mirrors" / "configs.git").git("for-each-ref", "--format=%(refname)")
    assert refs == "refs/deployer/tags/v1.10.0", "only what is followed is fetched"


def test_a_tag_that_was_moved_or_deleted_does_not_follow(site: Site) -> None:
    """What was deployed by its name is not what the name says now."""
    old, new = site.push(), site.push()
    site.tag("v1.2.0", old)
    sources = site.follow(TAGS)
    first = until_commit(sources, old).release.revision
    site.tag("v1.2.0", new)
    until_commit(sources, new)
    assert compared(sources, first).rewritten == f"tag v1.2.0 was moved from {old[:7]} to {new[:7]}"

    site.tag("v1.3.0", old)
    third = until_commit(sources, old).release.revision
    site.origin.git("tag", "--delete", "v1.3.0")
    until_commit(sources, new)
    assert compared(sources, third).rewritten == f"tag v1.3.0 ({old[:7]}) is gone"


def test_a_tag_is_read_from_disk_while_git_is_away(site: Site) -> None:
    """After a restart in an outage nobody knows whether the tag deployed before is still there: it waits."""
    old, new = site.push(), site.push()
    site.tag("v1.2.0", old)
    first = until_commit(site.follow(TAGS), old).release.revision
    site.tag("v1.3.0", new)
    until_commit(site.started[0], new)
    site.stop()
    away = site.folder / "away.git"
    site.origin.git("tag", "--delete", "v1.2.0")
    site.origin.path.rename(away)
    sources = site.follow(TAGS)
    until_commit(sources, new)
    assert not sources.compared("staging", first)
    looks = sources.looks("configs").ended
    eventually(
        lambda: sources.looks("configs").ended > looks + 1, within=15, what="two looks at what is away"
    )
    assert not sources.compared("staging", first), "nobody can say that it follows"
    away.rename(site.origin.path)

    def told() -> bool:
        wanted = sources.wanted("staging")
        assert isinstance(wanted, Desired)
        return wanted.lineage is not None and "is gone" in wanted.lineage.rewritten

    eventually(told, within=15)


def test_no_tag_that_fits_is_absent(site: Site) -> None:
    """With what was looked for."""
    site.tag("v3.0.0", site.push())
    wanted = until(site.follow(TAGS), Absent)
    assert wanted == Absent(why="there is no tag v* of version >=1.2 <2 in repository configs")


def test_a_tag_of_something_else_than_a_commit(site: Site) -> None:
    """It stands for nothing that can be deployed, and harms no other environment."""
    commit = site.push()
    site.origin.git("tag", "v1.2.0", f"{commit}^{{tree}}")
    wanted = until(site.follow(TAGS), Absent)
    assert wanted == Absent(why="tag v* of version >=1.2 <2 of repository configs stands for no commit")


def test_a_pinned_commit_stays(site: Site) -> None:
    """Whatever the branches do; and one that is not there yet is deployed when it comes."""
    pinned, _ = site.push(), site.push()
    sources = site.follow(Pinned(pinned))
    until_commit(sources, pinned)
    site.push(orphan=True)
    looks = sources.looks("configs").ended
    eventually(lambda: sources.looks("configs").ended > looks + 2, within=10, what="more looks")
    until_commit(sources, pinned)


def test_a_pinned_commit_that_is_not_there(site: Site) -> None:
    """A sentence, and no trouble for the repository: its branches are read all the same."""
    site.push()
    missing = "ab" * 20
    wanted = until(site.follow(Pinned(missing)), Absent)
    assert wanted == Absent(why="there is no commit abababa in repository configs")
    assert site.started[0].looks("configs").trouble is None


def test_a_pinned_commit_over_http(site: Site) -> None:
    """A server hands out a commit that no branch points at, as protocol 2 has it."""
    pinned, _ = site.push(), site.push()
    with serving(site.folder) as server:
        until_commit(site.follow(Pinned(pinned), url=server.url("origin.git")), pinned)
        site.stop()


# --- history --------------------------------------------------------------------------------------------


def test_a_branch_that_goes_on_tells_what_was_overtaken(site: Site) -> None:
    """The commits in between, the newest first, on the line of first parents."""
    sources = site.follow(Branch("main"))
    commits = [site.push() for _ in range(4)]
    first = replace(until_commit(sources, commits[-1]).release.revision, commit=commits[0])
    lineage = compared(sources, first)
    assert lineage.rewritten == ""
    assert lineage.between == (commits[2], commits[1])
    assert len(lineage.people) == 1


def test_a_branch_that_was_rewritten(site: Site) -> None:
    """Its head does not hold what was deployed; with that said, and found again after a restart."""
    old = site.push()
    sources = site.follow(Branch("main"))
    first = until_commit(sources, old).release.revision
    new = site.push(orphan=True)
    until_commit(sources, new)
    assert compared(sources, first).rewritten == (
        f"branch main was rewritten, or is another one: it does not hold {old[:7]}, which was deployed before"
    )
    site.stop()
    again = site.follow(Branch("main"), mirrors="others")
    until_commit(again, new)
    assert "rewritten" in compared(again, first).rewritten


def test_a_new_mirror_looks_as_far_back_as_it_must(site: Site) -> None:
    """The mirror was lost, begins with the head, and still tells that the branch went on."""
    old = site.push()
    first = until_commit(site.follow(Branch("main")), old).release.revision
    site.stop()
    new = [site.push() for _ in range(250)][-1]
    shutil.rmtree(site.folder / "mirrors")
    sources = site.follow(Branch("main"))
    until_commit(sources, new)
    lineage = compared(sources, first)
    assert lineage.rewritten == ""
    assert len(lineage.between) == 50


def test_what_is_not_compared_yet_is_compared_and_enqueued(site: Site) -> None:
    """A pass that comes first waits for it, and is called when it is there."""
    old, new = site.push(), site.push()
    sources = site.follow(Branch("main"))
    revision = until_commit(sources, new).release.revision
    assert sources.compared("staging", None)
    assert sources.compared("staging", revision), "it is the same"
    before = len(site.enqueued)
    assert not sources.compared("staging", replace(revision, commit=old))
    eventually(lambda: len(site.enqueued) > before, within=10, what="it is enqueued")
    assert sources.compared("staging", replace(revision, commit=old))


def test_it_is_compared_from_disk_while_git_is_away(site: Site) -> None:
    """After a restart in an outage, of what was fetched and not deployed before: the pass need not wait."""
    old = site.push()
    sources = site.follow(Branch("main"))
    first = until_commit(sources, old).release.revision
    new = site.push()
    until_commit(sources, new)
    site.stop()
    site.origin.path.rename(site.folder / "away.git")
    again = site.follow(Branch("main"))
    until_commit(again, new)
    assert compared(again, first).rewritten == ""


def test_a_merge_tells_whose_it_is(site: Site) -> None:
    """The pull request of a merge, what it brought in, and those who wrote it with the author."""
    base = site.push()
    site.origin.branch("fix", base)
    fix = site.push(branch="fix", message="Raise the price\n\nCo-authored-by: Lin <lin@example.com>\n")
    tree = site.origin.git("rev-parse", f"{fix}^{{tree}}")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    message = "Merge pull request #42 from lin/fix\n\nRaise the price"
    merge = site.origin.git(*who, "commit-tree", tree, "-p", base, "-p", fix, "-m", message)
    sources = site.follow(Branch("main"))
    first = until_commit(sources, base).release.revision
    site.origin.branch("main", merge)
    revision = until_commit(sources, merge).release.revision
    assert revision.pull_request == 42
    assert revision.merged is not None
    assert (revision.merged.commit, revision.merged.subject) == (fix, "Raise the price")
    # Nobody approves their own: who is behind the merge made it as well.
    fixed = site.origin.git("log", "-1", "--format=%ae", fix)
    made = [who.email for who in compared(sources, first).people]
    assert {fixed, "lin@example.com", "ada@example.com"} == {*made}
    alone = site.push()
    until_commit(sources, alone)
    assert compared(sources, revision).people == (), "one commit tells by itself who made it"

    site.origin.branch("main", fix)
    assert until_commit(sources, fix).release.revision.co_authors == (
        Person(name="Lin", email="lin@example.com"),
    )


def test_freshness_tells_when_git_was_last_seen(site: Site) -> None:
    """It moves on with every look that succeeds, and stands while there is trouble."""
    commit = site.push()
    sources = site.follow(Branch("main"))
    until_commit(sources, commit)
    first = eventually(lambda: sources.freshness("staging").seen_at, within=10)
    assert first is not None
    eventually(lambda: (sources.freshness("staging").seen_at or first) > first, within=10)
    site.origin.path.rename(site.folder / "away.git")
    trouble = eventually(lambda: sources.freshness("staging").trouble, within=10)
    assert "cannot read" in trouble
    stood = sources.freshness("staging").seen_at
    looks = sources.looks("configs").ended
    eventually(lambda: sources.looks("configs").ended > looks, within=15, what="another look")
    assert sources.freshness("staging").seen_at == stood


# --- signatures -----------------------------------------------------------------------------------------


def signers(site: Site, keys: Keys) -> Signers:
    """Ada's ssh key may sign."""
    path = site.folder / "allowed_signers"
    path.write_text(f"ada@example.com {keys.public('ada')}\n")
    return Signers(allowed_signers_file=path)


def signed(site: Site, keys: Keys, name: str = "ada") -> str:
    """One more commit on main, with the same config, signed by this key."""
    if site.origin.head() is None:
        site.push()
    return keys.sign(site.origin, ssh=name)


def test_only_what_is_signed_is_published(site: Site, keys: Keys) -> None:
    """An unsigned head waits with a sentence; a signed one tells by whom."""
    sources = site.follow(Branch("main"), verify=Verify.HEAD, signers=signers(site, keys))
    until(sources, Absent)
    commit = signed(site, keys)
    (signature,) = until_commit(sources, commit).signatures
    assert (signature.commit, signature.signer, signature.key) == (
        commit,
        "ada@example.com",
        keys.ids["ssh_ada"],
    )
    unsigned = site.push()
    wanted = until(sources, Unverified, unsigned)
    assert "Ada <ada@example.com>" in wanted.why
    assert wanted.commit == unsigned


def test_a_range_holds_every_commit_to_it(site: Site, keys: Keys) -> None:
    """One unsigned commit below a signed head is found; `head` does not look there."""
    sources = site.follow(Branch("main"), verify=Verify.RANGE, signers=signers(site, keys))
    first = until_commit(sources, signed(site, keys)).release.revision
    sources.compared("staging", first)
    hidden = site.push()
    head = signed(site, keys)
    wanted = until(sources, Unverified, head)
    assert wanted.commit == hidden
    site.stop()
    other = site.follow(Branch("main"), verify=Verify.HEAD, signers=signers(site, keys), mirrors="others")
    until_commit(other, head)


def test_keys_that_are_added_later_count_at_once(site: Site, keys: Keys) -> None:
    """The operator's file is looked at again: no push is needed."""
    allowed = signers(site, keys)
    commit = signed(site, keys, "eve")
    sources = site.follow(Branch("main"), verify=Verify.HEAD, signers=allowed)
    until(sources, Unverified, commit)
    assert allowed.allowed_signers_file is not None
    with allowed.allowed_signers_file.open("a") as file:
        file.write(f"eve@example.com {keys.public('eve')}\n")
    assert until_commit(sources, commit).signatures[0].signer == "eve@example.com"


def test_a_signers_file_that_is_gone_is_said(site: Site, keys: Keys) -> None:
    """Nothing is published as verified while nobody can tell."""
    allowed = signers(site, keys)
    assert allowed.allowed_signers_file is not None
    allowed.allowed_signers_file.unlink()
    signed(site, keys)
    sources = site.follow(Branch("main"), verify=Verify.HEAD, signers=allowed)
    assert "allowed_signers" in until(sources, NotRead, "allowed_signers").why


def test_a_range_of_tags_is_held_to_it_too(site: Site, keys: Keys) -> None:
    """Every tag is fetched as a new ref, which begins with its commit: what lies between is fetched then."""
    site.tag("v1.2.0", signed(site, keys))
    sources = site.follow(TAGS, verify=Verify.RANGE, signers=signers(site, keys))
    head = site.origin.head()
    assert head is not None
    sources.compared("staging", until_commit(sources, head).release.revision)
    hidden = site.push()
    site.tag("v1.3.0", signed(site, keys))
    assert until(sources, Unverified).commit == hidden


def test_a_merge_of_what_began_before_the_mirror_is_no_long_range(site: Site, keys: Keys) -> None:
    """The first fetch cuts the history; what lies before the last release is not asked for signatures."""
    base, _, _ = site.push(), site.push(), site.push()
    sources = site.follow(Branch("main"), verify=Verify.RANGE, signers=signers(site, keys))
    first = until_commit(sources, signed(site, keys)).release.revision
    sources.compared("staging", first)
    site.origin.branch("side", base)
    main = site.origin.head()
    assert main is not None
    # A side branch of one signed commit that was forked off three commits before the first fetch.
    site.origin.branch("main", base)
    side = keys.sign(site.origin, ssh="ada")
    site.origin.branch("main", main)
    tree = site.origin.git("rev-parse", "main^{tree}")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    merge = site.origin.git(*who, "commit-tree", tree, "-p", main, "-p", side, "-m", "merge")
    site.origin.branch("main", merge)
    head = keys.sign(site.origin, ssh="ada")
    wanted = until(sources, Unverified, head)
    assert wanted.commit == merge, "it is not signed itself; what came before the last release is not asked"


def test_one_that_cannot_be_verified_delays_no_other(site: Site, keys: Keys) -> None:
    """A missing file of signers is that environment's trouble: the pauses do not grow for the others."""
    allowed = signers(site, keys)
    assert allowed.allowed_signers_file is not None
    allowed.allowed_signers_file.unlink()
    site.push()
    sources = site.follow(Branch("main"), verify=Verify.HEAD, signers=allowed)
    until(sources, NotRead, "allowed_signers")
    looks = sources.looks("configs").ended
    eventually(lambda: sources.looks("configs").ended > looks + 5, within=5, what="looks at the usual pace")
