"""Trees, commits, names and URLs that somebody chose to do harm, or by mistake."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters.git import GitUnavailable, check_ref
from deployer.adapters.git._objects import parse_commit
from deployer.core.errors import InvalidConfig
from deployer.core.types import Person
from tests.contract.git_mirror.world import CONFIG, NewMirror, World, bring, text
from tests.support.repos import Link, Submodule


def test_odd_names_beside_a_file_do_not_matter(local: World) -> None:
    """One file with a name that some file system would not take must not cost an environment."""
    names = ["environments/con", "environments/a\\b", "environments/x:y", "environments/caf\udce9"]
    commit = local.origin.commit({CONFIG: "1"} | dict.fromkeys(names, "odd"))
    mirror = local.mirror()
    bring(mirror)

    assert text(mirror, commit) == "1"
    assert text(mirror, commit, "environments/caf\udce9") == "odd"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        pytest.param({CONFIG: Link("../../secret")}, "this is a symbolic link", id="link"),
        pytest.param({CONFIG: Submodule()}, "this is a submodule", id="submodule"),
        pytest.param({CONFIG + "/x": "1"}, "this is a folder", id="folder"),
        pytest.param(
            {"environments": Link("/etc")},
            "environments is a symbolic link, not a folder",
            id="linked-folder",
        ),
        pytest.param(
            {"environments/staging": "1"}, "environments/staging is a file, not a folder", id="file-above"
        ),
        pytest.param(
            {"environments": Submodule()}, "environments is a submodule, not a folder", id="submodule-above"
        ),
        pytest.param(
            {CONFIG: b"#" * (1024 * 1024 + 1)}, "1,048,577 bytes; at most 1,048,576 are read", id="too-big"
        ),
        pytest.param({CONFIG: "version https://git-lfs.github.com/spec/v1\n"}, "Git LFS pointer", id="lfs"),
    ],
)
def test_what_is_not_a_plain_file_is_refused_by_name(
    local: World, files: dict[str, Any], problem: str
) -> None:
    """A hostile or mistaken tree gives one clear problem with the file's name, and nothing is followed."""
    commit = local.origin.commit(files)
    mirror = local.mirror()
    bring(mirror)

    with pytest.raises(InvalidConfig) as caught:
        mirror.read(commit, CONFIG)

    (found,) = caught.value.problems
    assert found.file == CONFIG
    assert problem in found.message


@pytest.mark.parametrize(
    ("commit", "name", "subject"),
    [
        pytest.param({"message": "Raise price\n\nBecause."}, "Ada", "Raise price", id="plain"),
        pytest.param({"message": "\n\nOne\ntwo\r\n\nthree"}, "Ada", "One two", id="subject-on-two-lines"),
        pytest.param({"message": ""}, "Ada", "", id="no-message"),
        pytest.param({"message": "a\u2028b\x85c"}, "Ada", "a b c", id="odd-line-breaks"),
        pytest.param({"author": "José <ada@example.com>"}, "José", "change", id="utf-8"),
        pytest.param(
            {"author": "José <ada@example.com>".encode("latin-1"), "encoding": "ISO-8859-1"},
            "José",
            "change",
            id="latin-1",
        ),
        pytest.param({"message": b"caf\xe9"}, "Ada", "caf\ufffd", id="not-utf-8"),
        pytest.param({"message": "x", "encoding": "punycode"}, "Ada", "x", id="codec-that-is-no-encoding"),
        pytest.param({"message": "x", "encoding": "iso-8859-99"}, "Ada", "x", id="encoding-that-is-none"),
        pytest.param(
            {"message": "tree 1\nauthor Eve <e@x> 1 +0000"},
            "Ada",
            "tree 1 author Eve <e@x> 1 +0000",
            id="fake-headers",
        ),
        pytest.param({"message": "x" * 600}, "Ada", "x" * 499 + "…", id="long-subject"),
    ],
)
def test_commits_are_read_whatever_they_say(
    local: World, commit: dict[str, Any], name: str, subject: str
) -> None:
    """Names, addresses and messages are chosen by whoever can push: one line each, never an error."""
    made = local.origin.commit({CONFIG: "1"}, **commit)
    mirror = local.mirror()
    bring(mirror)

    revision = mirror.revision(made)

    assert revision.commit == made
    assert revision.author == revision.committer == Person(name=name, email="ada@example.com")
    assert revision.subject == subject
    assert revision.committed_at == datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)


@given(
    head=st.lists(
        st.sampled_from([b"tree", b"author", b"committer", b"encoding", b"gpgsig", b""]), max_size=6
    ),
    values=st.lists(st.binary(max_size=40) | st.just(b"A <a@b> 99999999999999999 +0000"), max_size=6),
    message=st.binary(max_size=80),
)
def test_no_commit_object_stops_its_reader(head: list[bytes], values: list[bytes], message: bytes) -> None:
    """Whatever bytes are a commit: names, addresses and subject are one line each, the time is a time."""
    raw = b"\n".join(key + b" " + value for key, value in zip(head, values, strict=False)) + b"\n\n" + message

    revision = parse_commit("1" * 40, raw).revision

    lines = [revision.subject, revision.author.name, revision.author.email, revision.committer.name]
    assert [line.splitlines() for line in lines] == [[line] if line else [] for line in lines]
    assert revision.committed_at.tzinfo is UTC


def test_a_commit_of_the_far_future_has_no_time_that_we_know() -> None:
    """Git takes any number of seconds; a calendar does not."""
    raw = b"tree x\nauthor A <a@b> 999999999999999 +0000\ncommitter A <a@b> 999999999999999 +0000\n\nx"

    assert parse_commit("1" * 40, raw).revision.committed_at == datetime.fromtimestamp(0, UTC)


def test_a_commit_that_git_finds_malformed_is_refused(local: World) -> None:
    """What fails git's own check does not get into the mirror, and the message says what to do."""
    tree = local.origin.git("write-tree")
    raw = f"tree {tree}\nauthor Eve 1 +0000\ncommitter Eve 1 +0000\n\nx".encode()
    commit = local.origin.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", data=raw)
    local.origin.branch("main", commit)
    mirror = local.mirror()

    with pytest.raises(GitUnavailable, match="damaged or hostile object in it: run `git fsck`"):
        bring(mirror)


@pytest.mark.parametrize(
    "ref",
    [
        "main",
        "refs/tags/v1",
        "refs/heads/",
        "refs/heads/*",
        "refs/heads/a:b",
        "refs/heads/a..b",
        "refs/heads/a b",
        "refs/heads/a.lock",
        "refs/heads/a/",
        "refs/heads//a",
        "refs/heads/.a",
        "refs/heads/a@{1}",
        "refs/heads/\n",
        "refs/heads/-x",
        "refs/heads/--upload-pack=x",
    ],
)
def test_a_ref_that_is_no_branch_name_is_refused(ref: str) -> None:
    """A name from the settings cannot become a wildcard, a second refspec or an option."""
    with pytest.raises(ValueError, match="full branch name"):
        check_ref(ref)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://ada:hunter22@git.example.com/x.git", "holds a password"),
        ("ssh://ada:hunter22@git.example.com/x.git", "holds a password"),
        ("https://hunter22@git.example.com/x.git", "holds a user name or a token"),
        ("ext::sh -c hunter22", "starts with https://"),
        ("git://hunter22@git.example.com/x.git", "holds a user name or a token"),
        ("svn://git.example.com/hunter22", "starts with https://"),
        ("-oProxyCommand=hunter22:x.git", "starts with https://"),
        ("git@-oProxyCommand=hunter22:x.git", "starts with https://"),
        ("hunter22/relative", "starts with https://"),
        ("-uhunter22", "starts with https://"),
    ],
)
def test_a_url_that_leaks_or_runs_something_is_refused(new_mirror: NewMirror, url: str, why: str) -> None:
    """Refused before anything runs, and the message does not repeat it."""
    with pytest.raises(ValueError, match=why) as caught:
        new_mirror(url)

    assert "hunter22" not in str(caught.value)
