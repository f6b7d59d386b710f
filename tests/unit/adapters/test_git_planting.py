"""One entry put into a raw folder: the bytes are those that git itself writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.adapters.git._errors import MirrorBroken
from deployer.adapters.git._planting import planted
from tests.support.repos import BareRepo, run_git

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = st.text("ab-.0/é\n \udcff".replace("/", ""), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
_MODES = st.sampled_from(["100644", "100755", "40000", "120000", "160000"])
_IDS = st.integers(0, 2**160 - 1).map(lambda number: f"{number:040x}")

_KINDS = {"40000": "tree", "160000": "commit"}


def written(repository: BareRepo, entries: dict[str, tuple[str, str]]) -> bytes:
    """The folder as git writes it."""
    lines = [f"{mode} {_KINDS.get(mode, 'blob')} {id_}\t{name}\0" for name, (mode, id_) in entries.items()]
    data = "".join(lines).encode("utf-8", "surrogateescape")
    tree = repository.git("mktree", "-z", "--missing", data=data)
    return run_git(f"--git-dir={repository.path}", "cat-file", "tree", tree)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> BareRepo:
    """Where git writes."""
    path: Path = tmp_path_factory.mktemp("planting")
    return BareRepo(path / "o.git")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_NAMES, st.tuples(_MODES, _IDS), max_size=8), _NAMES, st.booleans(), _IDS)
def test_the_bytes_are_those_that_git_writes(
    repository: BareRepo, entries: dict[str, tuple[str, str]], name: str, is_folder: bool, id_: str
) -> None:
    """Every other entry stays, in git's order; one that was there keeps its mode."""
    mode = "40000" if is_folder else "100644"
    wanted = entries | {name: (entries[name][0] if name in entries else mode, id_)}

    found = planted(written(repository, entries), name.encode("utf-8", "surrogateescape"), mode.encode(), id_)

    assert found == written(repository, wanted)


def test_what_cannot_be_read_is_not_written_anew() -> None:
    """Rather than lose an entry, it stops."""
    entry = b"100644 a\0" + b"\1" * 20
    for damaged in (entry[:-1], entry + b"x", b"100644 \0" + b"\1" * 20, b"9 a\0" + b"\1" * 20):
        with pytest.raises(MirrorBroken, match="malformed"):
            planted(damaged, b"b", b"100644", "2" * 40)


def test_an_old_way_of_writing_modes_stays() -> None:
    """Some tools wrote `040000`; git reads that, and another spelling would be another folder."""
    folder = b"040000 a\0" + b"\1" * 20
    assert planted(folder, b"a", b"40000", "02" * 20) == b"040000 a\0" + b"\2" * 20
    assert planted(folder, b"a.b", b"100644", "02" * 20) == b"100644 a.b\0" + b"\2" * 20 + folder
