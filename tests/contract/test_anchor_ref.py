"""The ref to which checkpoints are pushed, over HTTP and on a disk: what is there is never replaced."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from deployer.adapters.git import Access, AnchorRef, GitUnavailable, PushRefused, PushUnclear, Tip
from tests.support.git_server import serving
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.git_server import GitServer

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
REF = "refs/deployer/audit/a"
NOTE = "a\n3\nroot\n\n\u2014 a signature\n"


@pytest.fixture
def repo(tmp_path: Path) -> BareRepo:
    """An empty one."""
    return BareRepo(tmp_path / "git" / "anchors.git")


@pytest.fixture
def server(repo: BareRepo) -> Iterator[GitServer]:
    """It, over HTTP."""
    with serving(repo.path.parent) as server:
        yield server


@pytest.fixture
def ref(server: GitServer, tmp_path: Path) -> AnchorRef:
    """Ours."""
    return AnchorRef(tmp_path / "work.git", server.url("anchors.git"), "deployer/audit/a")


def put(ref: AnchorRef, *messages: str) -> list[Tip | None]:
    """Push each; what was there before."""
    seen: list[Tip | None] = []

    def make(tip: Tip | None, message: str) -> str:
        seen.append(tip)
        return message

    for message in messages:
        ref.put(partial(make, message=message), AT)
    return seen


def messages(repo: BareRepo) -> list[str]:
    """What is there, oldest first."""
    commits = repo.git("rev-list", "--reverse", REF).split()
    return [repo.git("cat-file", "commit", one).partition("\n\n")[2] for one in commits]


def test_each_follows_the_one_before_and_is_read_as_it_was_written(repo: BareRepo, ref: AnchorRef) -> None:
    """With no file in it, by nobody but the daemon, at the time that was said."""
    assert ref.tip() is None
    seen = put(ref, NOTE, "second\n", "third\n")
    assert [one.message if one else None for one in seen] == [None, NOTE, "second\n"]
    tip = ref.tip()
    assert tip is not None
    assert (tip.message, tip.at) == ("third\n", AT)
    assert [f"{one}\n" for one in messages(repo)] == [NOTE, "second\n", "third\n"]
    who = repo.git("log", "-1", "--format=%an <%ae> %cn %ct", REF)
    assert who == f"deployer <deployer@localhost> deployer {int(AT.timestamp())}"
    assert repo.git("log", "--format=%T", REF).split() == ["4b825dc642cb6eb9a060e54bf8d69288fbee4904"] * 3
    assert repo.git("for-each-ref", "--format=%(refname)") == REF


def test_nothing_is_pushed_where_there_is_nothing_to_say(repo: BareRepo, ref: AnchorRef) -> None:
    """No message, no commit."""
    put(ref, NOTE)
    assert ref.put(lambda _: None, AT) is None
    assert len(messages(repo)) == 1


def test_on_a_local_path_it_is_the_same(repo: BareRepo, tmp_path: Path) -> None:
    """As on a disk that is mounted from elsewhere."""
    put(AnchorRef(tmp_path / "work.git", str(repo.path), "deployer/audit/a"), NOTE, "second\n")
    assert len(messages(repo)) == 2


def test_a_directory_that_was_lost_or_damaged_is_made_anew(
    repo: BareRepo, ref: AnchorRef, tmp_path: Path
) -> None:
    """It is a cache: what counts is at the server."""
    put(ref, NOTE)
    work = tmp_path / "work.git"
    for number, damage in enumerate(("HEAD", "config", "objects"), start=2):
        if damage == "objects":
            for path in work.glob("objects/??/*"):
                path.chmod(0o600)
                path.write_bytes(b"rubbish")
        else:
            (work / damage).write_bytes(b"rubbish")
        put(ref, f"{number}\n")
        assert len(messages(repo)) == number


def test_a_server_with_the_hook_of_the_page_takes_what_goes_forward_and_nothing_else(
    repo: BareRepo, ref: AnchorRef, server: GitServer, tmp_path: Path
) -> None:
    """As it stands in docs/audit.md: who has the credential can add, and neither replace nor delete."""
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    (script,) = re.findall(r"^```sh\n(#!/bin/sh\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    hook = repo.path / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(script)
    hook.chmod(0o755)
    repo.git("config", "receive.fsckObjects", "true")
    put(ref, NOTE, "second\n")
    assert len(messages(repo)) == 2

    there = repo.git("rev-parse", REF)
    eve = BareRepo(tmp_path / "eve.git")
    other = eve.commit({"a": "b"}, message="another history\n")
    for pushed in (f"+{other}:{REF}", f":{REF}"):
        with pytest.raises(CalledProcessError) as caught:
            eve.git("push", server.url("anchors.git"), pushed)
        assert f"{REF} only goes forward" in caught.value.stderr.decode()
    assert repo.git("rev-parse", REF) == there
    eve.git("push", "--quiet", server.url("anchors.git"), f"{other}:refs/heads/side")
    eve.git("push", "--quiet", server.url("anchors.git"), ":refs/heads/side")

    # Without the hook they could; but whoever has fetched it as a branch does not follow.
    eve.git("fetch", "--quiet", server.url("anchors.git"), "refs/deployer/audit/*:refs/heads/*")
    hook.unlink()
    eve.git("push", "--quiet", server.url("anchors.git"), f"+{other}:{REF}")
    with pytest.raises(CalledProcessError):
        eve.git("fetch", "--quiet", server.url("anchors.git"), "refs/deployer/audit/*:refs/heads/*")
    assert eve.git("rev-parse", "refs/heads/a") == there


def test_a_hook_that_refuses_is_told_and_also_in_a_rehearsal_nothing_is_pushed(
    repo: BareRepo, ref: AnchorRef
) -> None:
    """A rehearsal asks for the right to push; what a hook thinks of it shows only at the push."""
    assert ref.rehearse(AT) is None
    assert repo.git("for-each-ref") == ""
    hook = repo.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not on my watch' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PushRefused, match="not on my watch"):
        put(ref, NOTE)
    repo.git("config", "http.receivepack", "false")
    for ask in (lambda: ref.rehearse(AT), lambda: put(ref, NOTE)):
        with pytest.raises(PushRefused, match=r"give `audit\.push` one that may"):
            ask()


def test_a_push_whose_answer_was_lost_is_read_back(
    repo: BareRepo, ref: AnchorRef, server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server took it, and the connection broke: it is there once, and counts as pushed."""
    hook = repo.path / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    marker = repo.path / "took-it"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    send = server.RequestHandlerClass._send  # type: ignore[attr-defined]

    def cut(self: object, status: int, headers: dict[str, str], content: bytes) -> None:
        if marker.exists():
            marker.unlink()
            raise ConnectionResetError
        send(self, status, headers, content)

    monkeypatch.setattr(server.RequestHandlerClass, "_send", cut)
    with capture_logs() as logs:
        done = ref.put(lambda tip: None if tip is not None and tip.message == NOTE else NOTE, AT)
    assert not marker.exists()
    # The second where curl asks again by itself.
    known = ("the connection broke off", "the branch moved while it was pushed")
    assert [one["why"] in known for one in logs] == [True]
    assert done is not None
    assert done.after == repo.git("rev-parse", REF)
    assert len(messages(repo)) == 1


def test_a_ref_that_is_no_commit_is_not_touched(repo: BareRepo, ref: AnchorRef) -> None:
    """Of a message that is longer than any of ours only the beginning is read."""
    blob = repo.git("hash-object", "-w", "--stdin", data=b"hello")
    repo.git("update-ref", REF, blob)
    with pytest.raises(GitUnavailable):
        put(ref, NOTE)
    assert repo.git("rev-parse", REF) == blob
    repo.commit({}, branch="long", message="x" * 100_000)
    repo.git("update-ref", REF, "refs/heads/long")
    tip = ref.tip()
    assert tip is not None
    assert len(tip.message) == 64 * 1024


def test_once_it_is_interrupted_nothing_begins(ref: AnchorRef, repo: BareRepo) -> None:
    """Whoever asks is told that the daemon stops."""
    ref.interrupt()
    for ask in (ref.tip, lambda: put(ref, NOTE), lambda: ref.rehearse(AT)):
        with pytest.raises(GitUnavailable, match="shutting down"):
            ask()
    assert repo.git("for-each-ref") == ""


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A ref that git could take for another, a password in the URL, a file that is not there."""
    for url, below in (
        ("https://git.example.com/a", "deployer/../x"),
        ("https://a:b@git.example.com/a", "x"),
    ):
        with pytest.raises(ValueError, match=r"is not a full branch name|holds a password"):
            AnchorRef(tmp_path / "w", url, below)
    away = AnchorRef(
        tmp_path / "w", "https://git.example.com/a", "x", access=Access(token_file=Path("/nowhere"))
    )
    with pytest.raises(GitUnavailable, match="cannot read its token_file /nowhere"):
        away.tip()
    assert not issubclass(GitUnavailable, PushUnclear)
