"""The copier: what it reads and makes, what it pushes, and what it makes of races, refusals and damage."""

from __future__ import annotations

import dataclasses
import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import (
    Access,
    Copier,
    GitUnavailable,
    Mirror,
    Moved,
    Pushed,
    PushRefused,
    Snapshot,
    Writer,
)
from deployer.core.types import Person
from deployer.core.yaml import MAX_BYTES
from tests.contract.git_mirror.conftest import SPY
from tests.contract.git_mirror.test_damage import (
    DAMAGES,
    empty_objects,
    remove_mirror,
    replace_by_file,
    scribble,
)
from tests.contract.git_mirror.world import children, put_program
from tests.contract.sites import KINDS, ONCE, TOKEN, Site, local_site, reached
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy, Kind
from tests.support.git_server import serving
from tests.support.repos import BareRepo, Content, Link, Script, Submodule, run_git
from tests.support.sshd import SshServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = "envs/production/serve_config.yaml"
FILES: dict[str, Content] = {
    FILE: "replicas: 3\n",
    "envs/staging/serve_config.yaml": "replicas: 1\n",
    "envs/production.md": "sorts between folder and file",
    "bin/run": Script("#!/bin/sh\n"),
    "link": Link("README"),
    "other": Submodule(),
    "README": "hello",
}
ADA = Person(name="Ada", email="ada@example.com")
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MESSAGE = "Promote staging#37 to production\n\nPromoted-From: staging#37@3f2c1aa\n"
OURS = "deployer/production"

MOVE = 'env -u GIT_QUARANTINE_PATH git update-ref "refs/heads/{branch}" {commit}\n'
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


def made(copier: Copier, data: str, *, branch: str = "main", file: str = FILE) -> tuple[str, str]:
    """A commit that brings this text to the branch: where the branch was, and the commit."""
    seen = copier.read(branch, file)
    return seen.head, copier.commit(seen, file, data.encode(), MESSAGE, author=ADA, at=AT)


def listed(origin: BareRepo, commit: str) -> dict[str, str]:
    """Mode, kind and id of everything in a commit, by its path."""
    lines = origin.git("ls-tree", "-r", "-t", "-z", commit).split("\0")
    return {path: entry for entry, _, path in (line.partition("\t") for line in lines) if path}


def text(origin: BareRepo, path: str = FILE, commit: str = "refs/heads/main") -> str:
    """The content of a file."""
    return origin.git("cat-file", "blob", f"{commit}:{path}")


# --- what it makes ---------------------------------------------------------------------------------------


def test_a_copy_is_a_commit_that_changes_one_file(site: Site) -> None:
    """On top of what was read, with everything else as it was; and the next one is made on top of it."""
    site.origin.commit({"README": "older"})
    head = site.origin.commit(FILES)
    copier = site.copier()

    seen = copier.read("main", FILE)
    assert seen == Snapshot(head=head, data=b"replicas: 3\n")
    commit = copier.commit(seen, FILE, b"replicas: 3 # kept\n", MESSAGE, author=ADA, at=AT)
    assert site.origin.head() == head
    assert copier.push(commit, "main", before=head) == Pushed(before=head, after=commit)

    assert site.origin.head() == commit
    was, is_ = listed(site.origin, head), listed(site.origin, commit)
    assert {path for path in was | is_ if was.get(path) != is_.get(path)} == {FILE, "envs", "envs/production"}
    assert text(site.origin) == "replicas: 3 # kept"
    told = site.origin.git("log", "-1", "--format=%P%n%an <%ae> %at%n%cn <%ce> %ct%n%B", commit)
    who = f"Ada <ada@example.com> {int(AT.timestamp())}"
    assert told.splitlines() == [head, who, who, *MESSAGE.splitlines()]
    site.origin.git("fsck", "--strict")

    second = copier.read("main", FILE)
    assert second == Snapshot(head=commit, data=b"replicas: 3 # kept\n")
    again = copier.commit(second, FILE, b"", MESSAGE, author=ADA, at=AT)
    assert copier.push(again, "main", before=commit) == Pushed(before=commit, after=again)
    assert site.origin.git("rev-list", "--first-parent", "main").split()[:3] == [again, commit, head]


def test_a_file_keeps_its_mode_and_a_new_one_is_plain(local: Site) -> None:
    """An executable stays one; nobody asked for another."""
    local.origin.commit({"run.yaml": Script("a"), "plain.yaml": "a"})
    copier = local.copier()
    for name in ("run.yaml", "plain.yaml", "new.yaml"):
        before, commit = made(copier, "b", file=name)
        assert isinstance(copier.push(commit, "main", before=before), Pushed)

    modes = {path: entry.split()[0] for path, entry in listed(local.origin, "refs/heads/main").items()}
    assert modes == {"run.yaml": "100755", "plain.yaml": "100644", "new.yaml": "100644"}


@pytest.mark.parametrize(
    "name", ["a", "b/c/d/e.yaml", "envs/new/x.yaml", "envs/production/-", "envs/productio", "envs0", "z", "é"]
)
def test_a_new_file_stands_where_git_looks_for_it(local: Site, name: str) -> None:
    """Folders sort as if they ended with a slash: git finds no file that stands elsewhere."""
    head = local.origin.commit({**FILES, "b.c": "", "b0": "", "b": None})
    copier = local.copier()
    seen = copier.read("main", name)
    assert seen == Snapshot(head=head, data=None)

    commit = copier.commit(seen, name, b"new", MESSAGE, author=ADA, at=AT)
    assert isinstance(copier.push(commit, "main", before=head), Pushed)

    assert text(local.origin, name) == "new"
    local.origin.git("fsck", "--strict")
    local.origin.git("read-tree", f"--index-output={local.folder / 'index'}", "main")
    run_git("--git-dir", str(local.origin.path), "read-tree", "main")
    written = run_git("--git-dir", str(local.origin.path), "write-tree").decode().strip()
    assert written == local.origin.git("rev-parse", f"{commit}^{{tree}}")


def test_the_same_input_makes_the_same_commit(local: Site, tmp_path: Path) -> None:
    """Also in another directory, in another zone and with another's git settings; another time is another."""
    local.origin.commit(FILES)
    copier, other = local.copier(), Copier(tmp_path / "other.copy.git", local.writer())
    seen = copier.read("main", FILE)
    assert other.read("main", FILE) == seen

    def commit(one: Copier, at: datetime = AT) -> str:
        return one.commit(seen, FILE, b"x", MESSAGE, author=ADA, at=at)

    zone = timezone(timedelta(hours=5))
    assert commit(copier) == commit(copier) == commit(other) == commit(other, AT.astimezone(zone))
    assert commit(copier) != commit(copier, AT + timedelta(seconds=1))
    with pytest.raises(ValueError, match="needs a time zone"):
        commit(copier, AT.replace(tzinfo=None))


def test_nothing_of_the_users_own_git_counts(local: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hook, no signing, no name or date of theirs."""
    home = local.folder / "home"
    (home / "hooks").mkdir(parents=True)
    for name in ("pre-push", "pre-commit", "commit-msg"):
        (home / "hooks" / name).write_text("#!/bin/sh\nexit 1\n")
        (home / "hooks" / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\nhooksPath = {home}/hooks\n[commit]\ngpgSign = true\n[push]\ngpgSign = true\n"
        "[user]\nname = Mallory\n[gpg]\nprogram = false\n[i18n]\ncommitEncoding = latin-1\n"
    )
    for name, value in {
        "HOME": str(home),
        "GIT_AUTHOR_NAME": "Mallory",
        "GIT_COMMITTER_DATE": "@1 +0000",
        "GIT_INDEX_FILE": str(home / "index"),
    }.items():
        monkeypatch.setenv(name, value)
    local.origin.commit(FILES)
    copier = local.copier()

    before, commit = made(copier, "é")
    assert isinstance(copier.push(commit, "main", before=before), Pushed)
    told = local.origin.git("log", "-1", "--format=%an %cn %ct %e %G?", "main")
    assert told == f"Ada Ada {int(AT.timestamp())}  N"


@pytest.mark.parametrize(
    ("person", "told"),
    [
        (Person(name="Ada\nparent " + "1" * 40, email="a@b"), f"Ada parent {'1' * 40} <a@b>"),
        (Person(name="Ada <root@x> 1 +0000", email="a>b<c\n"), "Ada root@x 1 +0000 <a b c>"),
        (Person(name="\x1b[31mAda\u202e\0", email="\0"), "[31mAda <>"),
        (Person(name=" .,;'\"", email="lin@example.com"), "lin@example.com <lin@example.com>"),
        (Person(name="", email=""), "unknown <>"),
        (Person(name="Łukasz Müller 李", email="ł@example.com"), "Łukasz Müller 李 <ł@example.com>"),
        (Person(name="x" * 9_999, email="y" * 9_999), f"{'x' * 200} <{'y' * 200}>"),
        (Person(name="a\udcffb\ud800c", email=""), "a b c <>"),
    ],
)
def test_who_it_is_by_is_made_harmless(local: Site, person: Person, told: str) -> None:
    """A name is chosen by whoever has it: it stays one field of the commit."""
    head = local.origin.commit(FILES)
    copier = local.copier()
    commit = copier.commit(copier.read("main", FILE), FILE, b"x", MESSAGE, author=person, at=AT)
    assert isinstance(copier.push(commit, "main", before=head), Pushed)

    raw = local.origin.git("cat-file", "commit", commit).splitlines()
    who = f"{told} {int(AT.timestamp())} +0000"
    assert raw[1:5] == [f"parent {head}", f"author {who}", f"committer {who}", ""]
    local.origin.git("fsck", "--strict")


def test_a_message_of_anything_is_one(local: Site) -> None:
    """Bytes that git would not take are left out."""
    head = local.origin.commit(FILES)
    copier = local.copier()
    message = "one\0two \ud800\n\n-m --amend\n"
    commit = copier.commit(copier.read("main", FILE), FILE, b"x", message, author=ADA, at=AT)
    assert isinstance(copier.push(commit, "main", before=head), Pushed)

    assert local.origin.git("log", "-1", "--format=%B", commit) == "onetwo ?\n\n-m --amend"


# --- what it refuses to read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({FILE: Link("../staging/serve_config.yaml")}, "this is a symbolic link, not a plain file"),
        ({FILE: Submodule()}, "this is a submodule, not a plain file"),
        ({f"{FILE}/x": ""}, "this is a folder, not a plain file"),
        ({"envs/production": Link("staging")}, "envs/production is a symbolic link, not a folder"),
        ({"envs": Submodule()}, "envs is a submodule, not a folder"),
        ({"envs": "a file"}, "envs is a file, not a folder"),
    ],
)
def test_what_is_no_plain_file_is_neither_read_nor_replaced(
    local: Site, files: dict[str, Content], why: str
) -> None:
    """A link leads elsewhere, and what it leads to was not asked for."""
    head = local.origin.commit(files)
    copier = local.copier()

    with pytest.raises(GitUnavailable) as caught:
        copier.read("main", FILE)
    assert caught.value.why == (
        f"cannot copy to {FILE}, as it is in commit {head[:7]} of {local.url}: {why};"
        " it must be a plain file of at most 256 KiB"
    )
    with pytest.raises(GitUnavailable, match="it must be a plain file"):
        copier.commit(Snapshot(head=head, data=None), FILE, b"x", MESSAGE, author=ADA, at=AT)


def test_a_file_that_is_too_big_is_said(local: Site) -> None:
    """As big as a config may be, and one byte more; and a pointer is no config."""
    copier = local.copier()
    local.origin.commit({FILE: "x" * MAX_BYTES})
    assert len(copier.read("main", FILE).data or b"") == MAX_BYTES
    local.origin.commit({FILE: "x" * (MAX_BYTES + 1)})
    with pytest.raises(
        GitUnavailable, match="it has 262,145 bytes; it must be a plain file of at most 256 K"
    ):
        copier.read("main", FILE)
    local.origin.commit({FILE: "x" * 1024 * 1024 + "y"})
    with pytest.raises(GitUnavailable, match="this file has 1,048,577 bytes"):
        copier.read("main", FILE)
    local.origin.commit({FILE: "version https://git-lfs.github.com/spec/v1\n"})
    with pytest.raises(GitUnavailable, match="this is a Git LFS pointer"):
        copier.read("main", FILE)


def test_a_branch_that_is_not_there_is_said(site: Site) -> None:
    """Also where only another one ends like it."""
    site.origin.commit(FILES, branch="x/main")

    with pytest.raises(GitUnavailable) as caught:
        site.copier().read("main", FILE)
    assert caught.value.why == (
        f"cannot read {site.url}: it has no branch main: make it, or correct the environment's `branch`"
    )


def test_a_repository_with_sha256_names_is_refused(tmp_path: Path) -> None:
    """With the reason; it is not read wrong."""
    run_git("init", "--quiet", "--bare", "--object-format=sha256", str(tmp_path / "origin.git"))
    site = local_site(tmp_path)
    site.origin.commit({FILE: "x"})

    with pytest.raises(GitUnavailable, match="deployer cannot read SHA-256 object names"):
        site.copier().read("main", FILE)


@pytest.mark.parametrize(
    "file",
    [
        "",
        "/",
        "/x",
        "..",
        "a/../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        ".git/config",
        "a/.GIT/x",
        "a\0b",
        "a/\ud800",
    ],
)
def test_what_is_no_path_is_refused(local: Site, file: str) -> None:
    """Before anything is asked."""
    copier = local.copier()
    with pytest.raises(ValueError, match=r"is not a path|surrogates not allowed"):
        copier.read("main", file)
    with pytest.raises(ValueError, match=r"is not a path|surrogates not allowed"):
        copier.commit(Snapshot(head="1" * 40, data=None), file, b"", MESSAGE, author=ADA, at=AT)


@pytest.mark.parametrize(
    "file",
    ["--help", "a b/\n\t\"'$(x)`;\\/*?[x]:{}.yaml", "ü/é\u202e\u2028", "-/:!x", "a\udcff/x", "...", ".gi"],
)
def test_a_strange_path_is_a_path(local: Site, file: str) -> None:
    """Git takes every other byte, and no shell or option reads it here."""
    local.origin.commit({"x": "y"})
    copier = local.copier()
    for data in (b"1", b"2"):
        seen = copier.read("main", file)
        commit = copier.commit(seen, file, data, MESSAGE, author=ADA, at=AT)
        assert isinstance(copier.push(commit, "main", before=seen.head), Pushed)
        assert copier.read("main", file) == Snapshot(head=commit, data=data)
    assert text(local.origin, "x") == "y"


@pytest.mark.parametrize("branch", ["*", "-x", "x:refs/heads/y", "a..b", "", "a b", "x\n", "@{-1}", "+x"])
def test_what_is_no_branch_is_refused(local: Site, branch: str) -> None:
    """Nothing that git could take for an option, a pattern or another refspec."""
    copier, one = local.copier(), "1" * 40
    if branch != "+x":  # which is a name; with "refs/heads/" before it, git takes it for nothing else
        with pytest.raises(ValueError, match="is not a full branch name"):
            copier.read(branch, FILE)
        with pytest.raises(ValueError, match="is not a full branch name"):
            copier.push(one, branch, before=one)
    with pytest.raises(ValueError, match="is not a"):
        copier.propose(one, branch)
    for wrong in ("HEAD", "1" * 39, "--force"):
        with pytest.raises(ValueError, match="is not the full id"):
            copier.push(wrong, "main", before=one)
        with pytest.raises(ValueError, match="is not the full id"):
            copier.push(one, "main", before=wrong)
        with pytest.raises(ValueError, match="is not the full id"):
            copier.propose(wrong, OURS)


def test_a_snapshot_does_not_show_what_is_in_the_file(local: Site) -> None:
    """A config may hold tokens."""
    local.origin.commit({FILE: TOKEN})
    assert TOKEN not in repr(local.copier().read("main", FILE))


# --- what it costs ---------------------------------------------------------------------------------------


def test_of_a_long_history_one_commit_is_fetched(local: Site) -> None:
    """20,000 commits with a file each: the last one is enough to read, to commit and to push."""
    lines = []
    for number in range(20_000):
        lines += ["commit refs/heads/main", f"committer Ada <a@b> {number} +0000", "data 1", "x"]
        lines += [f"M 100644 inline f/{number % 50}", f"data {len(str(number))}", str(number)]
    local.origin.git("fast-import", "--quiet", data="\n".join([*lines, "", ""]).encode())
    copier = local.copier()

    before, commit = made(copier, "x", file="f/7")
    kinds = local.copied.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    # The snapshot: a commit, two folders, 50 files. What was made: a commit, two folders, a file.
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"commit": 2, "tree": 4, "blob": 51}
    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)
    assert local.origin.git("rev-list", "--count", "main") == "20001"

    local.origin.commit({"f/8": "y"})
    made(copier, "z", file="f/7")
    kinds = local.copied.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    assert kinds.count("commit") == 4


@pytest.mark.parametrize("where", ["main", OURS])
def test_only_what_is_new_is_sent(local: Site, where: str) -> None:
    """Also to a branch that is not there yet, when the one that was read has moved on."""
    local.origin.commit({f"files/{number}": str(number) for number in range(300)} | FILES)
    sent = local.folder / "sent"
    local.hook("pre-receive", f'find "$GIT_QUARANTINE_PATH" -type f | wc -l >{sent}\n')
    copier = local.copier()
    before, commit = made(copier, "x")
    if where == OURS:
        local.origin.commit({"README": "moved on"})
        assert copier.propose(commit, OURS) == Pushed(before=None, after=commit)
    else:
        assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)

    # A commit, three folders, a file.
    assert int(sent.read_text()) == 5


def test_a_second_read_fetches_nothing(local: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks where the branch is; the commit is there."""
    local.origin.commit(FILES)
    copier = local.copier()
    copier.read("main", FILE)
    log = local.folder / "git.log"
    put_program(local.folder / "bin" / "git", SPY.format(log=log, path=os.environ["PATH"]), monkeypatch)

    copier.read("main", FILE)

    assert {line.partition(" ")[0] for line in log.read_text().splitlines()} == {"ls-remote", "cat-file"}


def test_sixty_copies_leave_no_descriptor_no_child_and_few_packs(local: Site) -> None:
    """As many after the last as after the first; and the directory is packed now and then."""
    local.origin.commit(FILES)
    copier = local.copier()

    def copy(number: int) -> None:
        local.origin.commit({"README": str(number)})
        before, commit = made(copier, str(number))
        assert isinstance(copier.push(commit, "main", before=before), Pushed)

    copy(0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(1, 60):
        copy(number)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert children() == []
    assert len(list(local.copied.path.glob("objects/pack/*.pack"))) <= 51
    assert not (local.copied.path / "deployer-object.lock").exists()


# --- races -----------------------------------------------------------------------------------------------


def test_a_branch_that_moves_after_it_was_read_is_left_alone(site: Site) -> None:
    """What came meanwhile stays, and the copy is made again on top of it."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "mine")
    other = site.origin.commit({"README": "by hand"})

    assert copier.push(commit, "main", before=before) == Moved(head=other)
    assert site.origin.head() == other
    before, commit = made(copier, "mine")
    assert before == other
    assert copier.push(commit, "main", before=before) == Pushed(before=other, after=commit)
    assert (text(site.origin), text(site.origin, "README")) == ("mine", "by hand")


def test_a_branch_that_moves_under_the_push_is_left_alone(site: Site) -> None:
    """The server compares in the moment in which it takes it."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "mine")
    other = site.origin.commit({"README": "by hand"}, branch="hand")
    site.hook("pre-receive", ONCE + MOVE.format(branch="main", commit=other))

    assert copier.push(commit, "main", before=before) == Moved(head=other)
    assert site.origin.head() == other


def test_a_branch_that_was_put_back_is_left_alone(local: Site) -> None:
    """The commit would follow from there, too; but somebody had a reason."""
    local.origin.commit(FILES)
    copier = local.copier()
    first, commit = made(copier, "one")
    assert isinstance(copier.push(commit, "main", before=first), Pushed)
    before, commit = made(copier, "two")
    local.origin.branch("main", first)

    assert copier.push(commit, "main", before=before) == Moved(head=first)
    assert local.origin.head() == first
    local.hook("pre-receive", ONCE + MOVE.format(branch="main", commit=first))
    local.origin.branch("main", before)
    assert copier.push(commit, "main", before=before) == Moved(head=first)
    assert local.origin.head() == first


def test_a_branch_that_is_deleted_is_not_made_again(site: Site) -> None:
    """Whoever deleted it meant it."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "mine")
    site.origin.branch("keep", before)
    delete = "env -u GIT_QUARANTINE_PATH git update-ref -d refs/heads/main\n"
    site.hook("pre-receive", ONCE + delete)

    assert copier.push(commit, "main", before=before) == Moved(head=None)
    assert copier.push(commit, "main", before=before) == Moved(head=None)
    assert site.origin.head() is None


def test_two_daemons_on_one_branch_lose_nothing(local: Site) -> None:
    """Each copies to its own file of it, six times, as fast as it can: in the end all twelve are there."""
    local.origin.commit(FILES)

    def copy(who: str) -> None:
        writer = Writer(local.folder / f"{who}.write.git", local.url)
        copier = Copier(local.folder / f"{who}.copy.git", writer)
        for number in range(6):
            answer: object = None
            while not isinstance(answer, Pushed):
                before, commit = made(copier, f"{who}{number}", file=f"envs/{who}.yaml")
                answer = copier.push(commit, "main", before=before)

    threads = [threading.Thread(target=copy, args=[who]) for who in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    log = local.origin.git("log", "--reverse", "--format=", "-p", "--unified=0", "main")
    brought = [line for line in log.splitlines() if line.startswith(("+a", "+b"))]
    assert sorted(brought) == [f"+{who}{number}" for who in "ab" for number in range(6)]
    assert local.origin.git("rev-list", "--count", "main") == "13"


def test_it_takes_the_writers_turn(local: Site) -> None:
    """Of all who write to one repository one works at a time, and who keeps the turn may do all of it."""
    local.origin.commit(FILES)
    writer = local.writer()
    copier, refused = local.copier(writer), []

    def look() -> None:
        try:
            copier.read("main", FILE, patience_seconds=0.01)
        except GitUnavailable as error:
            refused.append(error.why)

    with writer.alone():
        other = threading.Thread(target=look)
        other.start()
        other.join(30)
        before, commit = made(copier, "x")
        assert isinstance(copier.push(commit, "main", before=before), Pushed)

    assert len(refused) == 1
    assert refused[0].endswith("has been under way for 0.01 s: try again")


# --- answers that are lost -------------------------------------------------------------------------------


def test_a_push_whose_answer_is_lost_is_read_back(site: Site) -> None:
    """The server dies right after the branch was moved: it was pushed, and is pushed once."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "x")
    site.hook("reference-transaction", 'test "$1" = committed || exit 0\n' + ONCE + "kill -9 $PPID\n")

    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)
    assert site.origin.head() == commit


def test_a_push_that_is_lost_on_its_way_is_made_again(site: Site) -> None:
    """The server dies before the branch was moved."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "x")
    site.hook("pre-receive", ONCE + "kill -9 $PPID\n")

    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)


def test_a_commit_that_somebody_builds_on_before_the_answer_is_lost_got_there(site: Site) -> None:
    """The branch is elsewhere, but by way of ours."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "x")
    who = "-c user.name=Ada -c user.email=a@b"
    child = f"$(git {who} commit-tree {commit}^{{tree}} -p {commit} -m more)"
    move = f"env -u GIT_QUARANTINE_PATH git update-ref refs/heads/main {child}\n"
    site.hook("reference-transaction", 'test "$1" = committed || exit 0\n' + ONCE + move + "kill -9 $PPID\n")

    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)
    assert site.origin.git("rev-parse", "main^") == commit


def test_a_line_that_is_cut_during_the_push_is_read_back(tmp_path: Path) -> None:
    """The server goes on without us, whichever of two tries it is that gets there."""
    origin = BareRepo(tmp_path / "origin.git")
    with serving(tmp_path) as server, FaultProxy(server.port) as wire:
        url = f"http://127.0.0.1:{wire.port}/origin.git"
        site = Site(origin=origin, folder=tmp_path, url=url, access=Access())
        origin.commit(FILES)
        copier = site.copier()
        before, commit = made(copier, "x")
        waits = f"touch {tmp_path}/pushing\nuntil test -e {tmp_path}/go; do sleep 0.05; done\n"
        site.hook("pre-receive", ONCE + waits)

        def pull_the_plug() -> None:
            eventually((tmp_path / "pushing").exists, within=20, every=0.01)
            wire.cut()
            wire.mend()
            (tmp_path / "go").touch()

        plug = threading.Thread(target=pull_the_plug)
        plug.start()
        try:
            assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)
        finally:
            plug.join(30)

    assert origin.head() == commit


def test_a_push_that_hangs_ends_and_is_made_again(local: Site) -> None:
    """It has its time, and leaves no process behind."""
    local.origin.commit(FILES)
    copier = local.copier(push_timeout_seconds=2.0)
    before, commit = made(copier, "x")
    local.hook("pre-receive", ONCE + "exec sleep 60\n")

    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)
    assert children() == []


def test_an_interrupted_push_ends_at_once_and_nothing_starts_any_more(local: Site) -> None:
    """A daemon that stops waits for no server, whichever of the two it tells."""
    head = local.origin.commit(FILES)
    writer = local.writer()
    copier, errors = local.copier(writer), []
    before, commit = made(copier, "x")
    local.hook("pre-receive", "exec sleep 60\n")

    def push() -> None:
        try:
            copier.push(commit, "main", before=before)
        except GitUnavailable as error:
            errors.append(error.why)

    thread = threading.Thread(target=push)
    thread.start()
    eventually(lambda: any("pre-receive" in one or "sleep 60" in one for one in children()), within=20)
    copier.interrupt()
    thread.join(20)

    assert errors == ["git was stopped: the daemon is shutting down"]
    assert eventually(lambda: not children(), within=10)
    for act in (
        lambda: copier.read("main", FILE),
        lambda: writer.lane(head, "main"),
        lambda: made(local.copier(writer), "x"),
    ):
        with pytest.raises(GitUnavailable, match="shutting down"):
            act()


# --- refusals --------------------------------------------------------------------------------------------


def test_a_protected_branch_is_said_with_the_servers_words(site: Site) -> None:
    """One try, one sentence: what was asked, what the server says, what to do."""
    site.origin.commit(FILES)
    copier = site.copier()
    before, commit = made(copier, "x")
    words = "GitLab: You are not allowed to push code to protected branches on this project."
    site.hook("pre-receive", f'echo x >>"$GIT_DIR/asked"\necho "{words}" >&2\nexit 1\n')

    with pytest.raises(PushRefused) as caught:
        copier.push(commit, "main", before=before)

    assert caught.value.why == (
        f"cannot push {commit[:7]} to main of {site.url}: the server refuses it"
        f" (pre-receive hook declined) and says: {words.rstrip('.')}: let deployer's credential push to that"
        " branch where it is protected, or have it pushed by hand"
    )
    assert (site.origin.path / "asked").read_text() == "x\n"
    assert site.origin.head() == before


def test_a_credential_for_reading_is_told_from_one_for_writing(tmp_path: Path) -> None:
    """The server lets it look, and not push; without any it is not tried."""
    origin = BareRepo(tmp_path / "origin.git")
    origin.git("config", "http.receivepack", "false")
    with serving(tmp_path) as server:
        site = Site(origin=origin, folder=tmp_path, url=server.url("origin.git"), access=Access())
        origin.commit(FILES)
        for copier, why in (
            (site.copier(), "may not push to it: give the repository's `write` one that may"),
            (
                site.copier(site.writer(can_push=False)),
                "has no credential for pushing: set the repository's `w",
            ),
        ):
            before, commit = made(copier, "x")
            with pytest.raises(PushRefused, match=why):
                copier.push(commit, "main", before=before)
            with pytest.raises(PushRefused, match=why):
                copier.propose(commit, OURS)

    assert origin.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_commit_that_was_made_on_another_is_not_pushed(local: Site) -> None:
    """A lease on what it does not follow from would be a forced push."""
    older = local.origin.commit(FILES)
    copier = local.copier()
    head, commit = made(copier, "x")
    other = local.origin.commit({"README": "by hand"})

    with pytest.raises(ValueError, match="was not made on"):
        copier.push(commit, "main", before=other)
    assert (local.origin.head(), head) == (other, older)


# --- the branch of a pull request ------------------------------------------------------------------------


def test_a_branch_of_our_own_is_made_and_replaced(site: Site) -> None:
    """At whatever it was; the branch that was read stays where it is."""
    head = site.origin.commit(FILES)
    copier = site.copier()
    _, one = made(copier, "one")
    _, two = made(copier, "two")

    assert copier.propose(one, OURS) == Pushed(before=None, after=one)
    assert copier.propose(two, OURS) == Pushed(before=one, after=two)
    assert copier.propose(two, OURS) == Pushed(before=two, after=two)
    hand = site.origin.commit({"README": "by hand"}, branch=OURS)
    assert copier.propose(one, OURS) == Pushed(before=hand, after=one)
    assert (site.origin.head(), site.origin.head(OURS)) == (head, one)


@pytest.mark.parametrize(
    "branch", ["main", "deployer", "Deployer/x", "x/deployer/y", "refs/heads/deployer/x", "deployer-x"]
)
def test_only_a_branch_of_our_own_is_replaced(local: Site, branch: str) -> None:
    """Whatever the server would let us do."""
    head = local.origin.commit(FILES)
    copier = local.copier()
    _, commit = made(copier, "x")

    with pytest.raises(ValueError, match="is not a branch of deployer's own: those begin with deployer/"):
        copier.propose(commit, branch)
    with pytest.raises(ValueError, match="is not a branch of deployer's own"):
        local.writer().propose(head, branch)


def test_a_branch_of_our_own_that_moves_under_the_push_is_looked_at_again(site: Site) -> None:
    """What is replaced is what was seen, and `before` tells the truth."""
    head = site.origin.commit(FILES)
    copier = site.copier()
    _, one = made(copier, "one")
    hand = site.origin.commit({"README": "by hand"}, branch="hand")
    site.origin.branch(OURS, head)
    site.hook("pre-receive", ONCE + MOVE.format(branch=OURS, commit=hand))

    assert copier.propose(one, OURS) == Pushed(before=hand, after=one)


def test_a_proposal_on_what_was_rewritten_meanwhile_is_made_or_refused(site: Site) -> None:
    """Servers differ; it is one kind of error at most, and the branch that was rewritten stays."""
    site.origin.commit(FILES)
    copier = site.copier()
    _, one = made(copier, "one")
    head = site.origin.commit({"README": "anew"}, orphan=True)

    try:
        assert copier.propose(one, OURS) == Pushed(before=None, after=one)
    except GitUnavailable as error:
        assert "shallow" in error.why  # noqa: PT017 - both outcomes are right
    assert site.origin.head() == head
    before, one = made(copier, "one")
    assert copier.propose(one, OURS).after == one
    assert before == head


def test_a_proposal_whose_answer_is_lost_is_read_back(site: Site) -> None:
    """It is there; where it was is known."""
    head = site.origin.commit(FILES)
    copier = site.copier()
    _, one = made(copier, "one")
    site.origin.branch(OURS, head)
    site.hook("reference-transaction", 'test "$1" = committed || exit 0\n' + ONCE + "kill -9 $PPID\n")

    assert copier.propose(one, OURS) == Pushed(before=head, after=one)


# --- what the disk does ----------------------------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_made_anew(
    local: Site, damage: Callable[[Path], None], restarted: bool
) -> None:
    """It is a cache: whatever is wrong on disk, before reading or committing, the copy goes through."""
    local.origin.commit(FILES)
    copier = local.copier()
    before, commit = made(copier, "one")
    assert isinstance(copier.push(commit, "main", before=before), Pushed)
    local.origin.commit({"README": "more"})
    damage(local.copied.path)

    copier = local.copier() if restarted else copier
    seen = copier.read("main", FILE)
    assert seen == Snapshot(head=local.origin.head() or "", data=b"one")
    if damage not in {remove_mirror, replace_by_file}:  # which move it away, and that once
        damage(local.copied.path)
    copier = local.copier() if restarted else copier
    commit = copier.commit(seen, FILE, b"two", MESSAGE, author=ADA, at=AT)
    assert copier.push(commit, "main", before=seen.head) == Pushed(before=seen.head, after=commit)
    assert text(local.origin) == "two"


@pytest.mark.parametrize("name", ["refs/deployer/snapshot.lock", "shallow.lock", "objects/pack/tmp_pack_x"])
def test_what_a_killed_git_left_costs_no_directory(local: Site, name: str) -> None:
    """A fetch that ran out of time leaves a lock, on which each later one fails."""
    local.origin.commit(FILES)
    copier = local.copier()
    for _ in range(2):  # what was left before is removed when it is opened again
        copier.read("main", FILE)
    mark = local.copied.path / "mark"
    mark.touch()
    scribble(name, b"")(local.copied.path)
    head = local.origin.commit({FILE: "new"})

    assert copier.read("main", FILE) == Snapshot(head=head, data=b"new")
    assert mark.exists()


def test_a_line_that_breaks_in_a_fetch_costs_no_directory(tmp_path: Path) -> None:
    """Half a pack is no damage: what was fetched before is there afterwards."""
    origin = BareRepo(tmp_path / "origin.git")
    with serving(tmp_path) as server, FaultProxy(server.port) as wire:
        url = f"http://127.0.0.1:{wire.port}/origin.git"
        site = Site(origin=origin, folder=tmp_path, url=url, access=Access())
        origin.commit(FILES)
        copier = site.copier()
        copier.read("main", FILE)
        mark = site.copied.path / "mark"
        mark.touch()
        head = origin.commit({"big": os.urandom(400_000), FILE: "new"})
        wire.fault = Fault(Kind.CUT, after=200_000)
        with pytest.raises(GitUnavailable):
            copier.read("main", FILE)
        wire.fault = None

        assert copier.read("main", FILE) == Snapshot(head=head, data=b"new")
    assert mark.exists()


def test_a_damaged_file_that_a_fetch_builds_on_is_fetched_anew(local: Site) -> None:
    """Git sends a difference to what we have; only a look at every file shows that we have it no more."""
    big = [f"{number}: {number * number}" for number in range(20_000)]
    local.origin.commit({**FILES, "big": "\n".join(big)})
    copier = local.copier()
    copier.read("main", FILE)
    (pack,) = local.copied.path.glob("objects/pack/*.pack")
    outside = pack.rename(local.folder / pack.name)
    run_git(f"--git-dir={local.copied.path}", "unpack-objects", "-q", data=outside.read_bytes())
    blob = local.origin.git("rev-parse", "main:big")
    path = local.copied.path / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-100])
    head = local.origin.commit({"big": "\n".join([*big, "one more"])})

    assert copier.read("main", FILE) == Snapshot(head=head, data=b"replicas: 3\n")


@pytest.mark.parametrize(
    "damage", [empty_objects, remove_mirror, pytest.param(scribble("shallow", b"x\n"), id="shallow")]
)
def test_a_commit_that_was_lost_before_its_push_is_made_again(
    local: Site, damage: Callable[[Path], None]
) -> None:
    """It is said, and the second time it is the same commit."""
    local.origin.commit(FILES)
    copier = local.copier()
    before, commit = made(copier, "x")
    damage(local.copied.path)

    lost = r"cannot push .*: it is not in .*o.copy.git any more: try again"
    with pytest.raises(GitUnavailable, match=lost):
        copier.push(commit, "main", before=before)
    with pytest.raises(GitUnavailable, match=lost):
        copier.propose(commit, OURS)
    assert made(copier, "x") == (before, commit)
    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)


def test_a_snapshot_that_the_server_has_no_more_is_said(local: Site) -> None:
    """The branch was rewritten and cleaned up, and our directory is gone."""
    local.origin.commit(FILES)
    copier = local.copier()
    seen = copier.read("main", FILE)
    remove_mirror(local.copied.path)
    local.origin.commit({"README": "anew"}, orphan=True)
    local.origin.git("gc", "--quiet", "--prune=now")

    with pytest.raises(GitUnavailable, match=f"does not have {seen.head[:7]} any more: try again"):
        copier.commit(seen, FILE, b"x", MESSAGE, author=ADA, at=AT)


@pytest.mark.parametrize("what", ["{}", "{}^{{tree}}", "{}:envs", "{}:" + FILE])
def test_what_was_written_on_a_disk_that_lost_it_is_written_again(local: Site, what: str) -> None:
    """Git does not write what it has already, also where what it has is nothing: a copy is made twice."""
    local.origin.commit(FILES)
    copier = local.copier()
    before, commit = made(copier, "x")
    lost = local.copied.git("rev-parse", what.format(commit))
    path = local.copied.path / "objects" / lost[:2] / lost[2:]
    path.chmod(0o600)
    path.write_bytes(b"")

    assert made(copier, "x") == (before, commit)
    assert copier.push(commit, "main", before=before) == Pushed(before=before, after=commit)
    assert text(local.origin) == "x"


def test_a_mirror_reads_what_was_copied(local: Site) -> None:
    """The daemon sees its own commit as anybody's."""
    local.origin.commit(FILES)
    copier = local.copier()
    before, commit = made(copier, "x")
    copier.push(commit, "main", before=before)
    mirror = Mirror(local.folder / "mirror.git", local.url)
    mirror.fetch(mirror.heads(["refs/heads/main"]))

    revision = mirror.revision(commit)
    mirror.release()
    assert (revision.author, revision.committer, revision.committed_at) == (ADA, ADA, AT)
    assert revision.subject == "Promote staging#37 to production"


def test_values_are_frozen() -> None:
    """What was seen cannot be changed afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Moved(head=None).head = "x"  # type: ignore[misc] # that is what is tried
