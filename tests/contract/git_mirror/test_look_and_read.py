"""What every kind of remote gives: branches, their commits, their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import GitUnavailable, Mirror, check_ref, local_git_dir
from tests.contract.git_mirror.world import CONFIG, MAIN, NewMirror, World, bring, text
from tests.support.repos import BareRepo, Script, run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_heads_answers_for_the_branches_that_were_asked_for(world: World, mirror: Mirror) -> None:
    """Full names in, commits by full name out; a branch that is not there is not in the answer."""
    main = world.origin.commit({CONFIG: "1"})
    staging = world.origin.commit({CONFIG: "2"}, branch="env/staging")
    world.origin.branch("other", main)

    found = mirror.heads([MAIN, "refs/heads/env/staging", "refs/heads/gone"])

    assert found == {MAIN: main, "refs/heads/env/staging": staging}


def test_a_branch_whose_name_only_ends_alike_is_not_taken_for_it(world: World, mirror: Mirror) -> None:
    """`x/refs/heads/main` matches git's pattern `refs/heads/main`, and is another branch."""
    world.origin.commit({CONFIG: "1"}, branch="x/refs/heads/main")

    assert mirror.heads([MAIN]) == {}


def test_an_empty_repository_has_no_heads(mirror: Mirror) -> None:
    """A repository before its first push is not an error."""
    assert mirror.heads([MAIN]) == {}
    assert mirror.fetch({}) == {}


@pytest.mark.parametrize("ref", [MAIN, "refs/heads/env/staging", "refs/heads/fix-1.2_x", "refs/heads/a/-x"])
def test_ordinary_branch_names_are_taken(ref: str) -> None:
    """Slashes, dots and dashes are in real branch names; git agrees."""
    assert check_ref(ref) == ref
    run_git("check-ref-format", ref)


def test_nothing_is_fetched_when_nothing_moved(
    world: World, git_calls: Callable[[], list[str]], mirror: Mirror
) -> None:
    """A look at a branch that stands still is one ls-remote, and not even that for a local repository."""
    world.origin.commit({CONFIG: "1"})
    first = bring(mirror)
    git_calls()
    fetches = world.server.fetches if world.server else 0

    assert bring(mirror) == first

    assert [call.split()[0] for call in git_calls()] == ([] if world.is_local else ["ls-remote"])
    if world.server:
        assert (world.server.fetches, fetches) == (1, 1)


def test_only_the_branch_that_moved_is_fetched(
    world: World, git_calls: Callable[[], list[str]], mirror: Mirror
) -> None:
    """Other followed branches are not named to the server again."""
    world.origin.commit({CONFIG: "1"})
    world.origin.commit({CONFIG: "1"}, branch="env/staging")
    bring(mirror, MAIN, "refs/heads/env/staging")
    git_calls()

    moved = world.origin.commit({CONFIG: "2"}, branch="env/staging")
    after = bring(mirror, MAIN, "refs/heads/env/staging")

    assert after["refs/heads/env/staging"] == moved
    (fetch,) = [call for call in git_calls() if call.startswith("fetch")]
    assert "refs/heads/env/staging" in fetch
    assert MAIN not in fetch


def test_what_was_fetched_is_read_by_the_next_process_without_the_remote(world: World) -> None:
    """The mirror on disk knows its heads and has their files when the remote is gone."""
    commit = world.origin.commit({CONFIG: "1"})
    first = world.mirror()
    bring(first)
    first.release()
    world.origin.path.rename(world.folder / "moved-away.git")

    second = world.mirror()

    assert second.known_heads() == {MAIN: commit}
    assert text(second, commit) == "1"
    with pytest.raises(GitUnavailable):
        second.heads([MAIN])


def test_the_first_fetch_is_shallow_and_later_ones_bring_the_commits_between(
    world: World, git_calls: Callable[[], list[str]], mirror: Mirror
) -> None:
    """History before the first look is not needed; after it every commit is there."""
    for number in range(5):
        world.origin.commit({CONFIG: str(number)})
    bring(mirror)
    first = git_calls()
    middle = world.origin.commit({CONFIG: "middle"})
    world.origin.commit({CONFIG: "last"})
    bring(mirror)

    assert sum("--depth=1" in call for call in first) == 1
    assert not any("--depth" in call for call in git_calls())
    assert text(mirror, middle) == "middle"
    assert int(world.mirrored.git("rev-list", "--count", "--all")) == 3


def test_a_branch_followed_later_is_fetched_without_its_history(world: World, mirror: Mirror) -> None:
    """A new environment on an old branch costs one commit, and disturbs no other branch."""
    for number in range(5):
        world.origin.commit({CONFIG: str(number)}, branch="old")
    old = world.origin.head("old")
    main = world.origin.commit({CONFIG: "main"})
    bring(mirror)

    heads = bring(mirror, MAIN, "refs/heads/old")

    assert heads == {MAIN: main, "refs/heads/old": old}
    assert text(mirror, main) == "main"
    assert text(mirror, old or "") == "4"
    assert int(world.mirrored.git("rev-list", "--count", "--all")) == 2


def test_a_forced_push_is_followed(world: World, mirror: Mirror) -> None:
    """The remote's word counts, also when its history was rewritten."""
    world.origin.commit({CONFIG: "old"})
    bring(mirror)

    new = world.origin.commit({CONFIG: "new"}, orphan=True)

    assert bring(mirror) == {MAIN: new}
    assert text(mirror, new) == "new"


def test_a_deleted_branch_is_forgotten(world: World, mirror: Mirror) -> None:
    """A branch that is gone is not remembered by the next process either."""
    world.origin.commit({CONFIG: "1"})
    staging = world.origin.commit({CONFIG: "1"}, branch="env/staging")
    bring(mirror, MAIN, "refs/heads/env/staging")
    world.origin.delete("main")

    assert bring(mirror, MAIN, "refs/heads/env/staging") == {"refs/heads/env/staging": staging}

    mirror.release()
    assert world.mirror().known_heads() == {"refs/heads/env/staging": staging}


def test_a_branch_may_become_a_folder_of_branches(world: World, mirror: Mirror) -> None:
    """`env` gives way to `env/staging`, although the two cannot exist together."""
    world.origin.commit({CONFIG: "1"}, branch="env")
    refs = ("refs/heads/env", "refs/heads/env/staging")
    bring(mirror, *refs)
    world.origin.delete("env")
    staging = world.origin.commit({CONFIG: "2"}, branch="env/staging")

    assert bring(mirror, *refs) == {"refs/heads/env/staging": staging}


def test_packed_branches_are_seen(world: World, mirror: Mirror) -> None:
    """`git gc` at the remote, which moves all branches into one file, changes nothing."""
    first = world.origin.commit({CONFIG: "1"})
    world.origin.pack_refs()
    assert bring(mirror) == {MAIN: first}

    second = world.origin.commit({CONFIG: "2"})
    world.origin.pack_refs()

    assert bring(mirror) == {MAIN: second}


def test_what_only_git_can_read_is_left_to_git(local: World, git_calls: Callable[[], list[str]]) -> None:
    """A branch that points at another one, and a repository that borrows its branches, are read right."""
    commit = local.origin.commit({CONFIG: "1"}, branch="real")
    local.origin.git("symbolic-ref", "refs/heads/main", "refs/heads/real")
    mirror = local.mirror()
    git_calls()

    assert mirror.heads([MAIN]) == {MAIN: commit}

    assert [call.split()[0] for call in git_calls() if "for-each-ref" not in call] == ["init", "ls-remote"]


def test_a_linked_work_tree_is_followed(local: World, new_mirror: NewMirror) -> None:
    """Its .git is a file that names another folder, where the branches are."""
    commit = local.origin.commit({CONFIG: "1"})
    tree = local.folder / "tree"
    local.origin.git("worktree", "add", "--quiet", "--no-checkout", "-b", "own", str(tree), commit)

    assert new_mirror(str(tree)).heads([MAIN, "refs/heads/own"]) == {MAIN: commit, "refs/heads/own": commit}


def test_only_followed_branches_are_in_the_mirror(world: World, mirror: Mirror) -> None:
    """No tags, no other branches, nothing outside our own namespace."""
    commit = world.origin.commit({CONFIG: "1"})
    world.origin.branch("other", commit)
    world.origin.git("tag", "v1", commit)
    bring(mirror)

    assert world.mirrored.git("for-each-ref", "--format=%(refname)") == "refs/deployer/heads/main"
    assert not (world.folder / "mirror.git" / "FETCH_HEAD").exists()


def test_ssh_in_its_short_form_is_followed(local: World, new_mirror: NewMirror, fake_ssh: None) -> None:
    """`git@host:path` is how forges write it."""
    commit = local.origin.commit({CONFIG: "1"})

    assert bring(new_mirror(f"git@git.example.com:{local.origin.path}")) == {MAIN: commit}


def test_no_branch_asked_for_is_no_question(local: World, git_calls: Callable[[], list[str]]) -> None:
    """`git ls-remote` without a name would list every branch there is."""
    assert local.mirror().heads([]) == {}
    assert git_calls() == []


def test_a_mirror_of_another_url_is_not_believed(tmp_path: Path, new_mirror: NewMirror) -> None:
    """When the settings point the same name at another repository, the old one's branches are forgotten."""
    old, new = BareRepo(tmp_path / "old.git"), BareRepo(tmp_path / "new.git")
    old.commit({CONFIG: "old"})
    commit = new.commit({CONFIG: "new"})
    first = new_mirror(old.url)
    bring(first)
    first.release()

    second = new_mirror(new.url)

    assert second.known_heads() == {}
    assert bring(second) == {MAIN: commit}


def test_files_are_read_at_their_commit(world: World, mirror: Mirror) -> None:
    """Old and new commits give old and new content; equal content has an equal id."""
    old = world.origin.commit({CONFIG: "old", "serve_config.yaml": "old", "run.yaml": Script("old")})
    bring(mirror)
    new = world.origin.commit({CONFIG: "new"})
    bring(mirror)

    assert (text(mirror, old), text(mirror, new)) == ("old", "new")
    blobs = [mirror.read(new, path) for path in ("serve_config.yaml", "./serve_config.yaml", "run.yaml")]
    assert all(blob == mirror.read(old, CONFIG) for blob in blobs)


@pytest.mark.parametrize(
    "path", ["gone.yaml", "gone/serve_config.yaml", "environments/gone.yaml", "/etc/passwd", "../x"]
)
def test_a_path_that_is_not_there_reads_as_nothing(local: World, path: str) -> None:
    """A missing file is a fact, not an error; a path cannot leave the repository."""
    commit = local.origin.commit({CONFIG: "1"})
    mirror = local.mirror()
    bring(mirror)

    assert mirror.read(commit, path) is None


def test_the_biggest_file_that_is_allowed_is_read_whole(local: World) -> None:
    """The limit itself is inside; an empty file is a file."""
    commit = local.origin.commit({CONFIG: b"#" * (1024 * 1024), "empty.yaml": ""})
    mirror = local.mirror()
    bring(mirror)

    blobs = mirror.read(commit, CONFIG), mirror.read(commit, "empty.yaml")

    assert [len(blob.data) for blob in blobs if blob] == [1024 * 1024, 0]


def test_local_repositories_are_known_by_their_url(tmp_path: Path) -> None:
    """What can be watched: a bare repository, one with a work tree, and nothing that is elsewhere."""
    (tmp_path / "work tree" / ".git").mkdir(parents=True)

    assert local_git_dir(f"{tmp_path}/bare.git") == tmp_path / "bare.git"
    assert local_git_dir((tmp_path / "work tree").as_uri()) == tmp_path / "work tree" / ".git"
    assert local_git_dir("https://git.example.com/x.git") is None
    assert local_git_dir("git@git.example.com:x.git") is None
