"""The writer: what it says of a branch, what it pushes, and what it makes of races, refusals and damage."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import (
    Access,
    AlreadyThere,
    GitUnavailable,
    NotFastForward,
    Pushed,
    PushRefused,
    Writer,
    push_commands,
)
from tests.contract.git_mirror.conftest import FAKE_SSH, SPY
from tests.contract.git_mirror.test_damage import DAMAGES, objects
from tests.contract.git_mirror.world import children, put_program
from tests.contract.sites import KINDS, ONCE, PRODUCTION, SOURCE, STAGING, TOKEN, Site, local_site, reached
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy, Kind
from tests.support.forge_api import forge_api
from tests.support.git_daemon import git_daemon
from tests.support.git_server import serving
from tests.support.repos import BareRepo, run_git
from tests.support.sshd import SshServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.core.types import Revision

MOVE = 'env -u GIT_QUARANTINE_PATH git update-ref "refs/heads/env/production" {commit}\n'
"""Another push, which is done while this one is being looked at."""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """An ssh server that takes pushes."""
    server = SshServer(tmp_path_factory.mktemp("ssh"), takes_pushes=True)
    with server.running():
        yield server


@pytest.fixture(params=KINDS)
def site(
    request: pytest.FixtureRequest, tmp_path: Path, sshd: SshServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A repository over each kind of remote that takes pushes."""
    with reached(request.param, tmp_path, sshd, monkeypatch) as found:
        yield found


@pytest.fixture
def local(tmp_path: Path) -> Site:
    """A repository on this machine, for what does not depend on the kind of remote."""
    return local_site(tmp_path)


def ids(revisions: tuple[Revision, ...]) -> list[str]:
    """Their commits."""
    return [one.commit for one in revisions]


# --- what it says ----------------------------------------------------------------------------------------


def test_a_lane_names_what_the_promotion_would_bring(site: Site) -> None:
    """Newest first, with who made it; nothing is in the way of a branch that only lags."""
    one, two, three = site.commits("one", "two", "three")
    site.origin.branch(PRODUCTION, one)

    lane = site.writer().lane(three, PRODUCTION, source_ref=SOURCE)

    assert (lane.head, ids(lane.ahead), lane.in_the_way, lane.is_more) == (one, [three, two], (), False)
    assert [revision.subject for revision in lane.ahead] == ["three", "two"]
    assert lane.ahead[0].author.name == "Ada"


def test_a_lane_names_what_is_in_the_way(site: Site) -> None:
    """A hand-made commit on the target, and what both lack of one another."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    (hand,) = site.commits("by hand", branch=PRODUCTION)

    lane = site.writer().lane(two, PRODUCTION, source_ref=SOURCE)

    assert (lane.head, ids(lane.ahead), ids(lane.in_the_way)) == (hand, [two], [hand])


def test_a_lane_to_a_branch_that_is_not_there_has_everything_ahead(site: Site) -> None:
    """The first promotion makes the branch."""
    one, two = site.commits("one", "two")

    lane = site.writer().lane(two, PRODUCTION, source_ref=SOURCE)

    assert (lane.head, ids(lane.ahead), lane.in_the_way) == (None, [two, one], ())


def test_a_branch_that_has_the_commit_has_nothing_ahead(site: Site) -> None:
    """It is there, or further."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, two)

    lane = site.writer().lane(one, PRODUCTION, source_ref=SOURCE)

    assert (lane.head, lane.ahead, ids(lane.in_the_way)) == (two, (), [two])
    assert site.forward(one) == AlreadyThere(head=two)
    assert site.forward(two) == AlreadyThere(head=two)


def test_of_very_many_commits_the_newest_are_named(local: Site) -> None:
    """And it is said that there are more; one more than a lane names is seen."""
    first, *more = local.commits(*map(str, range(52)))
    local.origin.branch(PRODUCTION, first)
    writer = local.writer()

    lane = writer.lane(more[-1], PRODUCTION, source_ref=SOURCE)
    assert (ids(lane.ahead), lane.is_more) == (more[:0:-1], True)

    lane = writer.lane(more[-2], PRODUCTION, source_ref=SOURCE)
    assert (ids(lane.ahead), lane.is_more) == (more[-2::-1], False)


def test_a_lane_follows_first_parents(local: Site) -> None:
    """A merge is one line, not all that it merged."""
    (base,) = local.commits("base")
    local.origin.branch(PRODUCTION, base)
    local.origin.branch("topic", base)
    (topic,) = local.commits("on a topic", branch="topic")
    tree = local.origin.git("rev-parse", f"{topic}^{{tree}}")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    merge = local.origin.git(*who, "commit-tree", tree, "-p", base, "-p", topic, "-m", "merge")
    local.origin.branch(STAGING, merge)

    lane = local.writer().lane(merge, PRODUCTION, source_ref=SOURCE)

    assert (ids(lane.ahead), lane.in_the_way) == ([merge], ())


@pytest.mark.parametrize("filters", [True, False])
def test_only_commits_are_fetched_where_the_server_knows_how(local: Site, filters: bool) -> None:
    """Files of a big repository stay where they are; an old server sends them, and all works as well."""
    local.origin.git("config", "uploadpack.allowFilter", str(filters).lower())
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)

    assert local.forward(two) == Pushed(before=one, after=two)

    kinds = local.written.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    assert kinds.count("commit") == 2
    assert ("blob" in kinds) is not filters


def test_a_second_look_fetches_nothing(local: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks where the branches are; the commits are there."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    writer = local.writer()
    writer.lane(two, PRODUCTION, source_ref=SOURCE)
    log = local.folder / "git.log"
    put_program(local.folder / "bin" / "git", SPY.format(log=log, path=os.environ["PATH"]), monkeypatch)

    writer.lane(two, PRODUCTION, source_ref=SOURCE)

    called = {line.partition(" ")[0] for line in log.read_text().splitlines()}
    assert called == {"ls-remote", "cat-file", "rev-list"}


@pytest.mark.parametrize(
    ("commit", "branch", "source"),
    [
        ("HEAD", "x", ""),
        ("a" * 39, "x", ""),
        ("--upload-pack=x", "x", ""),
        ("a" * 40, "*", ""),
        ("a" * 40, "-x", ""),
        ("a" * 40, "x:refs/heads/y", ""),
        ("a" * 40, "x", "+refs/heads/*"),
        ("a" * 40, "x", "main"),
    ],
)
def test_what_is_no_commit_or_branch_is_refused(local: Site, commit: str, branch: str, source: str) -> None:
    """Nothing that git could take for an option, a pattern or another refspec."""
    with pytest.raises(ValueError, match="is not"):
        local.writer().lane(commit, branch, source_ref=source)
    with pytest.raises(ValueError, match="is not"):
        local.writer().fast_forward(commit, branch, source_ref=source)


# --- what it pushes --------------------------------------------------------------------------------------


def test_a_fast_forward_is_the_very_commit(site: Site) -> None:
    """Also of a commit that the source has left behind, and again from there."""
    one, two, three = site.commits("one", "two", "three")
    site.origin.branch(PRODUCTION, one)
    writer = site.writer()

    assert site.forward(two, writer) == Pushed(before=one, after=two)
    assert site.origin.head(PRODUCTION) == two
    assert site.forward(three, writer) == Pushed(before=two, after=three)
    assert site.origin.head(PRODUCTION) == three


def test_the_first_promotion_makes_the_branch(site: Site) -> None:
    """Also after somebody deleted it."""
    one, two = site.commits("one", "two")
    writer = site.writer()

    assert site.forward(one, writer) == Pushed(before=None, after=one)
    site.origin.delete(PRODUCTION)
    assert site.forward(two, writer) == Pushed(before=None, after=two)
    assert site.origin.head(PRODUCTION) == two


def test_what_is_no_fast_forward_is_not_pushed(site: Site) -> None:
    """It names what is in the way, and the branch stays."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    (hand,) = site.commits("by hand", branch=PRODUCTION)

    answer = site.forward(two)

    assert isinstance(answer, NotFastForward)
    assert (ids(answer.in_the_way), answer.is_more) == ([hand], False)
    assert site.origin.head(PRODUCTION) == hand


def test_a_lane_says_what_its_source_has_dropped(site: Site) -> None:
    """Rewritten, or gone; not what it has behind its newest commit, nor where no source is named."""
    one, two = site.commits("one", "two")
    writer = site.writer()
    assert not writer.lane(one, PRODUCTION, source_ref=SOURCE).is_dropped
    assert not writer.lane(two, PRODUCTION, source_ref=SOURCE).is_dropped

    site.origin.branch(STAGING, one)
    assert writer.lane(two, PRODUCTION, source_ref=SOURCE).is_dropped
    assert not writer.lane(two, PRODUCTION).is_dropped
    site.origin.branch("other", one)
    site.origin.delete(STAGING)
    assert writer.lane(two, PRODUCTION, source_ref=SOURCE).is_dropped


def test_a_turn_is_kept_for_one_thread_and_who_looks_has_little_patience(local: Site) -> None:
    """Between its calls nobody else gets in."""
    (one,) = local.commits("one")
    writer, refused = local.writer(), []

    def look() -> None:
        try:
            writer.lane(one, PRODUCTION, patience_seconds=0.01)
        except GitUnavailable as error:
            refused.append(error.why)

    with writer.alone():
        other = threading.Thread(target=look)
        other.start()
        other.join(30)
        assert isinstance(local.forward(one, writer), Pushed)

    assert len(refused) == 1
    assert refused[0].endswith("has been under way for 0.01 s: try again")
    look()
    assert len(refused) == 1


def test_a_commit_that_no_branch_has_any_more_is_promoted_by_its_id(local: Site) -> None:
    """The source was rewritten after it was good; the server still has it, and is not sent it again."""
    local.origin.git("config", "uploadpack.allowFilter", "true")
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    local.origin.branch(STAGING, one)
    local.commits("instead of two")

    assert local.forward(two) == Pushed(before=one, after=two)


def test_a_commit_that_the_server_has_not_is_said(site: Site) -> None:
    """Rewritten and cleaned up; with what to do."""
    site.commits("one")

    with pytest.raises(GitUnavailable, match=r"does not give commit 1111111.*: push it to a branch"):
        site.writer().lane("1" * 40, PRODUCTION, source_ref=SOURCE)


def test_a_branch_below_a_deleted_one_can_be_promoted_to(local: Site) -> None:
    """`env` stands in the way of `env/production` on disk, as long as one keeps it."""
    one, two = local.commits("one", "two", branch="main")
    writer = local.writer()
    assert isinstance(writer.fast_forward(one, "prod", source_ref="refs/heads/main"), Pushed)
    local.origin.delete("prod")

    assert isinstance(writer.fast_forward(two, "prod/eu", source_ref="refs/heads/main"), Pushed)


def test_two_at_once_take_turns(local: Site) -> None:
    """Two lines of one repository: both get there, in two threads over one writer."""
    (one,) = local.commits("one")
    writer = local.writer()
    answers: dict[str, object] = {}

    def promote(branch: str) -> None:
        answers[branch] = writer.fast_forward(one, branch, source_ref=SOURCE)

    threads = [threading.Thread(target=promote, args=(f"env/{name}",)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert answers == {f"env/{name}": Pushed(before=None, after=one) for name in "abcd"}


def test_a_hundred_promotions_leave_no_descriptor_and_no_child(local: Site) -> None:
    """As many of both after the hundredth as after the first; and the directory is packed now and then."""
    commits = local.commits(*map(str, range(100)))
    writer = local.writer()
    local.forward(commits[0], writer)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for commit in commits[1:]:
        assert isinstance(local.forward(commit, writer), Pushed)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert children() == []
    assert len(list(local.written.path.glob("objects/pack/*.pack"))) <= 51


# --- races -----------------------------------------------------------------------------------------------


def test_a_branch_that_moves_under_the_push_is_looked_at_again(site: Site) -> None:
    """Another one pushed what lies before: the rest is pushed, and `before` tells the truth."""
    one, two, three = site.commits("one", "two", "three")
    site.origin.branch(PRODUCTION, one)
    site.hook("pre-receive", ONCE + MOVE.format(commit=two))

    assert site.forward(three) == Pushed(before=two, after=three)
    assert site.origin.head(PRODUCTION) == three


def test_a_branch_that_another_one_moves_to_the_side_is_not_pushed(site: Site) -> None:
    """What won stays."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    site.origin.branch("hand", one)
    (hand,) = site.commits("by hand", branch="hand")
    site.hook("pre-receive", ONCE + MOVE.format(commit=hand))

    answer = site.forward(two)

    assert isinstance(answer, NotFastForward)
    assert ids(answer.in_the_way) == [hand]
    assert site.origin.head(PRODUCTION) == hand


def test_a_branch_that_is_made_meanwhile_is_no_surprise(site: Site) -> None:
    """Two first promotions at once."""
    one, two = site.commits("one", "two")
    site.hook("pre-receive", ONCE + MOVE.format(commit=one))

    assert site.forward(two) == Pushed(before=one, after=two)


def test_a_branch_that_is_deleted_meanwhile_is_made(site: Site) -> None:
    """The server sees that it is not where it was; then it is not there."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    delete = "env -u GIT_QUARANTINE_PATH git update-ref -d refs/heads/env/production\n"
    site.hook("pre-receive", ONCE + delete)

    assert site.forward(two) == Pushed(before=None, after=two)


def test_a_commit_that_another_one_promotes_meanwhile_is_there(local: Site) -> None:
    """Whose push it was nobody can tell, and nobody needs to."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    local.hook("pre-receive", ONCE + MOVE.format(commit=two))

    assert local.forward(two) == Pushed(before=one, after=two)


def test_a_branch_that_never_stands_still_is_given_up(local: Site) -> None:
    """After a few tries, with a sentence; the next attempt is another one's to decide."""
    commits = local.commits(*map(str, range(9)))
    local.origin.branch(PRODUCTION, commits[0])
    listed = " ".join(commits)
    next_one = f'set -- {listed}; echo x >>"$GIT_DIR/n"; shift $(wc -l <"$GIT_DIR/n")\n'
    local.hook("pre-receive", next_one + MOVE.format(commit="$1"))

    with pytest.raises(GitUnavailable, match="the branch moved while it was pushed, 3 times in a row: try"):
        local.forward(commits[-1])

    assert local.origin.head(PRODUCTION) == commits[3]


def test_a_push_whose_answer_is_lost_is_read_back(site: Site) -> None:
    """The server dies right after the branch was moved: it was pushed, and is pushed once."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    site.hook("reference-transaction", 'test "$1" = committed || exit 0\n' + ONCE + "kill -9 $PPID\n")

    assert site.forward(two) == Pushed(before=one, after=two)
    assert site.origin.head(PRODUCTION) == two


def test_a_push_that_is_lost_on_its_way_is_made_again(site: Site) -> None:
    """The server dies before the branch was moved."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    site.hook("pre-receive", ONCE + "kill -9 $PPID\n")

    assert site.forward(two) == Pushed(before=one, after=two)


def test_a_push_that_hangs_ends_and_is_made_again(local: Site) -> None:
    """It has its time, and leaves no process behind."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    local.hook("pre-receive", ONCE + "exec sleep 60\n")

    assert local.forward(two, local.writer(push_timeout_seconds=2.0)) == Pushed(before=one, after=two)
    assert children() == []


def test_a_push_that_somebody_kills_is_made_again(local: Site) -> None:
    """Whatever ended it: the branch is looked at, and it goes on from there."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    local.hook("pre-receive", ONCE + "exec sleep 60\n")
    writer, answers = local.writer(), []
    thread = threading.Thread(target=lambda: answers.append(local.forward(two, writer)))
    thread.start()

    eventually((local.origin.path / "first").exists, within=20, what="the hook runs")
    running = [child for child in writer.turn.children._running if child.returncode is None]
    (pid,) = [child.pid for child in running if "push" in str(child.args)]
    os.killpg(pid, signal.SIGKILL)
    thread.join(60)

    assert answers == [Pushed(before=one, after=two)]


def test_an_interrupted_push_ends_at_once_and_nothing_starts_any_more(local: Site) -> None:
    """A daemon that stops waits for no server."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    local.hook("pre-receive", "exec sleep 60\n")
    writer, errors = local.writer(), []

    def promote() -> None:
        try:
            local.forward(two, writer)
        except GitUnavailable as error:
            errors.append(error.why)

    thread = threading.Thread(target=promote)
    thread.start()
    eventually(lambda: any("pre-receive" in one or "sleep 60" in one for one in children()), within=20)
    writer.interrupt()
    thread.join(20)

    assert errors == ["git was stopped: the daemon is shutting down"]
    assert eventually(lambda: not children(), within=10)
    with pytest.raises(GitUnavailable, match="shutting down"):
        writer.lane(two, PRODUCTION, source_ref=SOURCE)


def test_a_server_that_is_gone_after_a_lost_answer_leaves_it_open(tmp_path: Path) -> None:
    """Then nobody knows what became of the push, and that is what is said."""
    origin = BareRepo(tmp_path / "origin.git")
    with serving(tmp_path) as server:
        site = Site(origin=origin, folder=tmp_path, url=server.url("origin.git"), access=Access())
        one, two = site.commits("one", "two")
        origin.branch(PRODUCTION, one)
        site.hook("pre-receive", f"touch {tmp_path}/pushing; exec sleep 1\n")
        site.writer().lane(two, PRODUCTION, source_ref=SOURCE)

        def pull_the_plug() -> None:
            eventually((tmp_path / "pushing").exists, within=20, every=0.01)
            server.status = 502

        plug = threading.Thread(target=pull_the_plug)
        plug.start()
        site.hook("post-receive", "kill -9 $PPID\n")
        try:
            with pytest.raises(GitUnavailable) as caught:
                site.forward(two, site.writer(push_timeout_seconds=0.5))
        finally:
            plug.join(30)

    assert "the connection broke off, and whether it got there is not known: cannot read" in caught.value.why


# --- the branch of a pull request ------------------------------------------------------------------------


def test_a_branch_of_our_own_is_made_and_replaced(site: Site) -> None:
    """At whatever it was, also by what does not follow from it; nothing else moves."""
    one, two = site.commits("one", "two")
    writer, ours = site.writer(), "deployer/production"

    assert writer.propose(two, ours, source_ref=SOURCE) == Pushed(before=None, after=two)
    assert writer.propose(two, ours, source_ref=SOURCE) == Pushed(before=two, after=two)
    assert writer.propose(one, ours, source_ref=SOURCE) == Pushed(before=two, after=one)
    (hand,) = site.commits("by hand", branch=ours)
    assert writer.propose(two, ours, source_ref=SOURCE) == Pushed(before=hand, after=two)
    assert (site.origin.head(STAGING), site.origin.head(ours)) == (two, two)


@pytest.mark.parametrize("branch", ["main", PRODUCTION, "deployer", "x/deployer/y", "refs/heads/deployer/x"])
def test_only_a_branch_of_our_own_is_replaced(local: Site, branch: str) -> None:
    """Whatever the server would let us do."""
    one, _ = local.commits("one", "two")

    with pytest.raises(ValueError, match="is not a branch of deployer's own: those begin with deployer/"):
        local.writer().propose(one, branch, source_ref=SOURCE)
    assert local.origin.git("for-each-ref", "--format=%(refname)") == SOURCE


@pytest.mark.parametrize("is_there", [True, False], ids=["replaced", "made"])
def test_a_branch_of_our_own_that_moves_under_the_push_is_looked_at_again(site: Site, is_there: bool) -> None:
    """What is replaced is what was seen; `before` tells what that was."""
    one, two, three = site.commits("one", "two", "three")
    if is_there:
        site.origin.branch("deployer/x", one)
    site.hook("pre-receive", ONCE + MOVE.replace(PRODUCTION, "deployer/x").format(commit=three))

    answer = site.writer().propose(two, "deployer/x", source_ref=SOURCE)

    assert answer == Pushed(before=three, after=two)
    assert site.origin.head("deployer/x") == two


def test_a_proposal_whose_answer_is_lost_is_read_back(site: Site) -> None:
    """It is there; where it was is known."""
    one, two = site.commits("one", "two")
    site.origin.branch("deployer/x", one)
    site.hook("reference-transaction", 'test "$1" = committed || exit 0\n' + ONCE + "kill -9 $PPID\n")

    assert site.writer().propose(two, "deployer/x", source_ref=SOURCE) == Pushed(before=one, after=two)


def test_without_a_credential_for_writing_nothing_is_proposed(local: Site) -> None:
    """As nothing is pushed."""
    (one,) = local.commits("one")

    with pytest.raises(PushRefused, match="has no credential for pushing: set the repository's `write`"):
        local.writer(can_push=False).propose(one, "deployer/x", source_ref=SOURCE)
    assert local.origin.head("deployer/x") is None


# --- refusals --------------------------------------------------------------------------------------------


def test_a_protected_branch_is_said_with_the_servers_words(site: Site) -> None:
    """One try, one sentence: what was asked, what the server says, what to do."""
    one, two = site.commits("one", "two")
    site.origin.branch(PRODUCTION, one)
    words = "GitLab: You are not allowed to push code to protected branches on this project."
    site.hook("pre-receive", f'echo x >>"$GIT_DIR/asked"\necho "{words}" >&2\nexit 1\n')

    with pytest.raises(PushRefused) as caught:
        site.forward(two)

    assert caught.value.why == (
        f"cannot push {two[:7]} to {PRODUCTION} of {site.url}: the server refuses it"
        f" (pre-receive hook declined) and says: {words.rstrip('.')}: let deployer's credential push to that"
        " branch where it is protected, or have it pushed by hand"
    )
    assert (site.origin.path / "asked").read_text() == "x\n"
    assert site.origin.head(PRODUCTION) == one


def test_a_server_that_talks_wildly_gets_one_clean_line(tmp_path: Path) -> None:
    """No terminal codes, no flood, and not the token that it was shown."""
    origin = BareRepo(tmp_path / "origin.git")
    (tmp_path / "token").write_text(TOKEN + "\n")
    with serving(tmp_path, token=TOKEN) as server:
        access = Access(token_file=tmp_path / "token")
        site = Site(origin=origin, folder=tmp_path, url=server.url("origin.git"), access=access)
        one, two = site.commits("one", "two")
        origin.branch(PRODUCTION, one)
        site.hook("pre-receive", f"printf '\\033[2Jno {TOKEN} https://u:{TOKEN}@h/ %09999d' 0 >&2; exit 1\n")

        with pytest.raises(PushRefused) as caught:
            site.forward(two)

    assert caught.value.why.isprintable()
    assert TOKEN not in caught.value.why
    assert " and says: " in caught.value.why
    assert len(caught.value.why) < 600


def test_the_token_is_in_no_argument_environment_or_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git learns the name of its file."""
    origin = BareRepo(tmp_path / "origin.git")
    (tmp_path / "token").write_text(TOKEN + "\n")
    log = tmp_path / "git.log"
    put_program(tmp_path / "bin" / "git", SPY.format(log=log, path=os.environ["PATH"]), monkeypatch)
    with serving(tmp_path, token=TOKEN) as server:
        access = Access(token_file=tmp_path / "token")
        site = Site(origin=origin, folder=tmp_path, url=server.url("origin.git"), access=access)
        (one,) = site.commits("one")
        assert isinstance(site.forward(one), Pushed)

    called = [line for line in log.read_text().splitlines() if line != "http-backend"]
    assert any(" push " in line for line in called)
    assert TOKEN not in log.read_text() + Path(f"{log}.env").read_text()
    kept = [path for path in (tmp_path / "o.write.git").rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


def test_a_credential_for_reading_is_told_from_one_for_writing_over_http(tmp_path: Path) -> None:
    """The server lets it look, and not push."""
    origin = BareRepo(tmp_path / "origin.git")
    origin.git("config", "http.receivepack", "false")
    with serving(tmp_path) as server:
        site = Site(origin=origin, folder=tmp_path, url=server.url("origin.git"), access=Access())
        (one,) = site.commits("one")

        with pytest.raises(
            PushRefused, match="may not push to it: give the repository's `write` one that may"
        ):
            site.forward(one)

        assert len(site.writer().lane(one, PRODUCTION, source_ref=SOURCE).ahead) == 1


@pytest.mark.parametrize(
    "words",
    [
        "ERROR: The key you are authenticating with has been marked as read only.",
        "remote: ERROR: This deploy key does not have write access to this project.",
        "Gitea: Deploy Key: 3 is not authorized to write to ml/serve-configs",
    ],
)
def test_a_deploy_key_for_reading_is_told_from_one_for_writing(
    local: Site, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """As the forges say it over ssh: they answer with words, and end."""
    (one,) = local.commits("one")
    refusing = FAKE_SSH.replace(
        "exec sh", f'case "$command" in git-receive*) echo {shlex.quote(words)} >&2; exit 1 ;; esac\nexec sh'
    )
    put_program(local.folder / "ssh-bin" / "ssh", refusing, monkeypatch)
    writer = Writer(local.folder / "x.write.git", f"ssh://git@git.example.com{local.origin.path}")

    with pytest.raises(PushRefused, match="may not push to it: give the repository's `write` one that may"):
        local.forward(one, writer)


def test_git_daemon_takes_no_push(tmp_path: Path) -> None:
    """It is for reading; a network that lets it write is not imagined."""
    origin = BareRepo(tmp_path / "origin.git")
    with git_daemon(tmp_path) as daemon:
        site = Site(origin=origin, folder=tmp_path, url=daemon.url("origin.git"), access=Access())
        (one,) = site.commits("one")

        with pytest.raises(PushRefused, match="takes no push there: use https or ssh"):
            site.forward(one)


def test_a_wrong_token_is_said(tmp_path: Path) -> None:
    """As for reading: it is found out at the first question."""
    BareRepo(tmp_path / "origin.git").commit({"f": "1"}, branch=STAGING)
    (tmp_path / "token").write_text("wrong\n")
    with serving(tmp_path, token=TOKEN) as server:
        access = Access(token_file=tmp_path / "token")
        writer = Writer(tmp_path / "o.write.git", server.url("origin.git"), access=access)

        with pytest.raises(GitUnavailable, match="the server refused the credentials"):
            writer.fast_forward("1" * 40, PRODUCTION, source_ref=SOURCE)


def test_a_branch_that_is_checked_out_is_said(tmp_path: Path) -> None:
    """Somebody's working folder is no server."""
    run_git("init", "--quiet", "--initial-branch=main", str(tmp_path / "work"))
    origin = BareRepo(tmp_path / "work" / ".git")
    site = Site(origin=origin, folder=tmp_path, url=str(tmp_path / "work"), access=Access())
    one, two = site.commits("one", "two")
    origin.branch("main", one)

    with pytest.raises(PushRefused, match="the branch is checked out there: name a bare repository"):
        site.writer().fast_forward(two, "main", source_ref=SOURCE)


def test_without_a_credential_for_writing_it_tells_and_does_not_push(local: Site) -> None:
    """A dry run works with what reads; the commands that it names do the same by hand."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    writer = local.writer(can_push=False)

    assert ids(writer.lane(two, PRODUCTION, source_ref=SOURCE).ahead) == [two]
    with pytest.raises(PushRefused, match="has no credential for pushing: set the repository's `write`"):
        local.forward(two, writer)
    assert local.origin.head(PRODUCTION) == one

    clone = local.folder / "some clone"
    run_git("clone", "--quiet", "--branch", PRODUCTION, "--single-branch", local.url, str(clone))
    for command in push_commands(local.url, two, PRODUCTION, source_ref=SOURCE):
        subprocess.run(shlex.split(command), cwd=clone, check=True, capture_output=True, timeout=20)
    assert local.origin.head(PRODUCTION) == two


def test_the_commands_are_safe_to_paste(local: Site) -> None:
    """A URL or a branch with signs of the shell stays one word; without a source the commit is fetched."""
    fetched, pushed = push_commands("/srv/my configs.git", "a" * 40, "env/$(x)")

    assert shlex.split(fetched) == ["git", "fetch", "/srv/my configs.git", "a" * 40]
    assert shlex.split(pushed) == ["git", "push", "/srv/my configs.git", f"{'a' * 40}:refs/heads/env/$(x)"]


def test_an_app_asks_for_a_token_that_may_push(tmp_path: Path) -> None:
    """Where one that reads asks for no more than that."""
    origin = BareRepo(tmp_path / "fruit.git")
    with serving(tmp_path, token="nobody has this one") as git, forge_api(tmp_path / "forge", git) as api:
        access = Access(github_app=api.app)
        site = Site(origin=origin, folder=tmp_path, url=git.url("fruit.git"), access=access)
        (one,) = site.commits("one")

        assert isinstance(site.forward(one), Pushed)
        site.writer(can_push=False).lane(one, PRODUCTION, source_ref=SOURCE)

    rights = [body["permissions"] for body in api.asked]
    assert rights == [{"contents": "write"}, {"contents": "read"}]


# --- what the network and the disk do --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.RESET, Kind.GARBAGE])
def test_a_bad_line_is_one_kind_of_error_and_heals(tmp_path: Path, kind: Kind) -> None:
    """Whatever arrives, it is `GitUnavailable`; afterwards it works."""
    origin = BareRepo(tmp_path / "origin.git")
    with serving(tmp_path) as server, FaultProxy(server.port) as wire:
        url = f"http://127.0.0.1:{wire.port}/origin.git"
        site = Site(origin=origin, folder=tmp_path, url=url, access=Access())
        (one,) = site.commits("one")
        writer = site.writer()
        wire.fault = Fault(kind, after=50)
        with pytest.raises(GitUnavailable):
            site.forward(one, writer)
        wire.fault = None
        wire.heal()

        assert site.forward(one, writer) in (Pushed(before=None, after=one), AlreadyThere(head=one))


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_made_anew(
    local: Site, damage: Callable[[Path], None], restarted: bool
) -> None:
    """It is a cache: whatever is wrong on disk, the promotion goes through."""
    one, two, three = local.commits("one", "two", "three")
    local.origin.branch(PRODUCTION, one)
    writer = local.writer()
    assert local.forward(two, writer) == Pushed(before=one, after=two)
    damage(local.written.path)

    assert local.forward(three, local.writer() if restarted else writer) == Pushed(before=two, after=three)
    assert local.origin.head(PRODUCTION) == three


def test_what_the_server_or_the_network_does_costs_no_directory(tmp_path: Path) -> None:
    """Away, refusing, or broken in the middle of a fetch: what was fetched is there afterwards."""
    origin = BareRepo(tmp_path / "origin.git")
    (tmp_path / "token").write_text(TOKEN + "\n")
    with serving(tmp_path, token=TOKEN) as server:
        access = Access(token_file=tmp_path / "token")
        site = Site(origin=origin, folder=tmp_path, url=server.url("origin.git"), access=access)
        one, two = site.commits("one", "two")
        origin.branch(PRODUCTION, one)
        writer = site.writer()
        writer.lane(two, PRODUCTION, source_ref=SOURCE)
        mark = site.written.path / "mark"
        mark.touch()

        (tmp_path / "token").write_text("wrong\n")
        with pytest.raises(GitUnavailable, match="the server refused the credentials"):
            writer.lane(two, PRODUCTION, source_ref=SOURCE)
        (tmp_path / "token").write_text(TOKEN + "\n")
        server.status = 502
        with pytest.raises(GitUnavailable):
            writer.lane(two, PRODUCTION, source_ref=SOURCE)
        server.status = 200
        # The branches are listed, and then the server cannot send what is on them.
        three, four = site.commits("three", "four")
        lost = origin.path / "objects" / three[:2] / three[2:]
        lost.rename(tmp_path / "lost")
        with pytest.raises(GitUnavailable):
            writer.lane(four, PRODUCTION, source_ref=SOURCE)
        (tmp_path / "lost").rename(lost)

        assert ids(writer.lane(four, PRODUCTION, source_ref=SOURCE).ahead) == [four, three, two]
    assert mark.exists()


def test_a_damaged_commit_of_the_range_is_fetched_anew(local: Site) -> None:
    """Half of the commits are gone from the disk, and the names are still there."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    writer = local.writer()
    writer.lane(two, PRODUCTION, source_ref=SOURCE)
    for path in objects(local.written.path):
        path.write_bytes(b"")

    assert ids(writer.lane(two, PRODUCTION, source_ref=SOURCE).ahead) == [two]


def test_a_lock_that_a_killed_git_left_costs_no_directory(local: Site) -> None:
    """A fetch that ran out of time leaves one, on which each later one fails."""
    one, two = local.commits("one", "two")
    local.origin.branch(PRODUCTION, one)
    writer = local.writer()
    for _ in range(2):  # what was left before is removed when it is opened again
        writer.lane(two, PRODUCTION, source_ref=SOURCE)
    mark = local.written.path / "mark"
    mark.touch()
    (local.written.path / "refs" / "deployer" / "source.lock").touch()
    (three,) = local.commits("three")

    assert local.forward(three, writer) == Pushed(before=one, after=three)
    assert mark.exists()
