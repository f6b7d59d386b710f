"""A mirror whose files are damaged repairs itself: it is a cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import GitUnavailable, Mirror
from tests.contract.git_mirror.world import CONFIG, MAIN, World, bring, text
from tests.support.repos import run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def objects(mirror: Path) -> list[Path]:
    """Everything that holds content, loose and packed, made writable."""
    found = [*mirror.glob("objects/??/*"), *mirror.glob("objects/pack/*.pack")]
    assert found
    for path in found:
        path.chmod(0o600)
    return found


def flip_objects(mirror: Path) -> None:
    """Change one byte in the middle of each."""
    for path in objects(mirror):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def empty_objects(mirror: Path) -> None:
    """What a power cut leaves where nothing was flushed."""
    for path in objects(mirror):
        path.write_bytes(b"")


def cut_objects(mirror: Path) -> None:
    """A torn write."""
    for path in objects(mirror):
        path.write_bytes(path.read_bytes()[:-30])


def swap_objects(mirror: Path) -> None:
    """Every object becomes another one, each of them intact: git itself does not notice."""
    for pack in mirror.glob("objects/pack/*.pack"):
        outside = pack.rename(mirror / pack.name)
        pack.with_suffix(".idx").unlink()
        run_git(f"--git-dir={mirror}", "unpack-objects", "-q", data=outside.read_bytes())
    paths = sorted(objects(mirror))
    contents = [path.read_bytes() for path in paths]
    for path, data in zip(paths, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(data)


def remove_objects(mirror: Path) -> None:
    """Nothing but the names is left."""
    for path in objects(mirror):
        path.unlink()


def remove_mirror(mirror: Path) -> None:
    """Somebody cleaned up."""
    mirror.rename(mirror.with_name("elsewhere"))


def replace_by_file(mirror: Path) -> None:
    """There is something else in its place."""
    remove_mirror(mirror)
    mirror.write_text("x")


def scribble(name: str, data: bytes) -> Callable[[Path], None]:
    """Write this into one file of the mirror."""

    def damage(mirror: Path) -> None:
        path = mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return damage


DAMAGES = [
    flip_objects,
    empty_objects,
    cut_objects,
    swap_objects,
    remove_objects,
    remove_mirror,
    replace_by_file,
    pytest.param(scribble("HEAD", b"\xff\0"), id="HEAD"),
    pytest.param(scribble("config", b"\0\xff[core"), id="config"),
    pytest.param(
        scribble("config", b"[core]\nbare = maybe\n[extensions]\nobjectFormat = x\n"), id="config-meaning"
    ),
    pytest.param(scribble("packed-refs", b"\0 x\n"), id="packed-refs"),
    pytest.param(scribble("shallow", b"x\n"), id="shallow"),
    pytest.param(scribble("refs/deployer/heads/main", b""), id="ref-empty"),
    pytest.param(scribble("refs/deployer/heads/main", b"1" * 40 + b"\n"), id="ref-to-nowhere"),
    pytest.param(scribble("deployer-url", b"\xff"), id="mark"),
    pytest.param(scribble("objects/pack/pack-1.idx", b"x"), id="pack-index"),
    pytest.param(scribble("refs/deployer/heads/main.lock", b""), id="lock-branch"),
    pytest.param(scribble("packed-refs.lock", b""), id="lock-packed-refs"),
    pytest.param(scribble("shallow.lock", b""), id="lock-shallow"),
    pytest.param(scribble("config.lock", b""), id="lock-config"),
    pytest.param(scribble("HEAD.lock", b""), id="lock-HEAD"),
]


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_mirror_repairs_itself(
    local: World, damage: Callable[[Path], None], restarted: bool
) -> None:
    """Whatever is wrong on disk, the next look gives the right content: the mirror is a cache."""
    local.origin.commit({CONFIG: "old", "other": "1"})
    mirror = local.mirror()
    bring(mirror)
    mirror.release()
    damage(local.folder / "mirror.git")
    new = local.origin.commit({CONFIG: "new"})
    if restarted:
        mirror = local.mirror()

    assert bring(mirror) == {MAIN: new}
    assert text(mirror, new) == "new"

    mirror.release()
    again = local.mirror()
    assert again.known_heads() == {MAIN: new}
    assert text(again, new) == "new"
    assert not list(local.folder.glob("mirror.git.*"))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(scribble("config", b"[core"), id="config"),
        pytest.param(scribble("HEAD", b"x"), id="HEAD"),
        pytest.param(remove_mirror, id="removed"),
    ],
)
def test_a_damaged_mirror_does_not_stop_the_question_to_a_server(
    world: World, mirror: Mirror, damage: Callable[[Path], None]
) -> None:
    """Git refuses every command in a broken repository, also the one that only asks a server."""
    world.origin.commit({CONFIG: "old"})
    bring(mirror)
    mirror.release()
    damage(world.folder / "mirror.git")
    new = world.origin.commit({CONFIG: "new"})

    assert bring(mirror) == {MAIN: new}
    assert text(mirror, new) == "new"


@pytest.mark.parametrize("damage", [flip_objects, empty_objects, cut_objects, swap_objects, remove_objects])
def test_damage_found_while_reading_is_repaired(local: World, damage: Callable[[Path], None]) -> None:
    """Nothing moved, so nothing is fetched; the damage shows when the file is read."""
    commit = local.origin.commit({CONFIG: "1"})
    mirror = local.mirror()
    bring(mirror)
    mirror.release()
    damage(local.folder / "mirror.git")

    assert text(mirror, commit) == "1"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_mirror_of_a_remote_that_is_down_is_only_unavailable(
    local: World, damage: Callable[[Path], None]
) -> None:
    """With neither mirror nor remote there is nothing to read; that is one error of one kind."""
    commit = local.origin.commit({CONFIG: "1"})
    first = local.mirror()
    bring(first)
    first.release()
    damage(local.folder / "mirror.git")
    local.origin.path.rename(local.folder / "moved-away.git")
    mirror = local.mirror()

    with pytest.raises(GitUnavailable):
        mirror.heads([MAIN])
    if mirror.known_heads():
        try:
            assert text(mirror, commit) == "1"
        except GitUnavailable as error:
            assert "there is no git repository" in error.why  # noqa: PT017 - both outcomes are right


def test_a_damaged_commit_that_the_remote_no_longer_has_is_given_up(local: World) -> None:
    """The mirror is whole again, but what was asked for is history; the next look asks for what is there."""
    old = local.origin.commit({CONFIG: "old"})
    mirror = local.mirror()
    bring(mirror)
    mirror.release()
    remove_objects(local.folder / "mirror.git")
    new = local.origin.commit({CONFIG: "new"}, orphan=True)

    with pytest.raises(GitUnavailable, match="also after a new fetch"):
        mirror.read(old, CONFIG)

    assert bring(mirror) == {MAIN: new}
    assert text(mirror, new) == "new"


def test_a_lock_that_a_killed_git_left_costs_no_new_fetch_of_everything(local: World) -> None:
    """The lock is removed and the mirror goes on, with the commits that it had."""
    old = local.origin.commit({CONFIG: "old"})
    mirror = local.mirror()
    bring(mirror)
    scribble("refs/deployer/heads/main.lock", b"")(local.mirrored.path)
    new = local.origin.commit({CONFIG: "new"})

    assert bring(mirror) == {MAIN: new}
    assert local.mirrored.git("rev-list", "--all").split() == [new, old]


def test_a_crowded_mirror_is_packed_and_still_read(local: World) -> None:
    """Thousands of small fetches leave one pack, not thousands."""
    commit = local.origin.commit({CONFIG: "1"})
    mirror = local.mirror()
    bring(mirror)
    blobs = b"".join(b"blob\ndata 2\n%d\ncheckpoint\n" % number for number in range(10, 70))
    local.mirrored.git("-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", data=blobs)
    packs = local.mirrored.path / "objects" / "pack"
    assert len(list(packs.glob("*.pack"))) > 50

    mirror.tidy()

    assert len(list(packs.glob("*.pack"))) == 1
    assert text(mirror, commit) == "1"


def test_every_fetch_leaves_a_pack_so_packs_are_what_to_count(local: World) -> None:
    """If git ever unpacks what it fetched, loose objects must be counted too."""
    mirror = local.mirror()
    for number in range(3):
        local.origin.commit({CONFIG: str(number)})
        bring(mirror)

    assert len(list(local.mirrored.path.glob("objects/pack/*.pack"))) == 3
    assert not list(local.mirrored.path.glob("objects/??/*"))


def test_a_mirror_that_is_not_crowded_is_left_alone(local: World, git_calls: Callable[[], list[str]]) -> None:
    """Tidying costs seconds, so it does not happen without need."""
    local.origin.commit({CONFIG: "1"})
    mirror = local.mirror()
    bring(mirror)
    git_calls()

    mirror.tidy()

    assert git_calls() == []
