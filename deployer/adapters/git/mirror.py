"""A bare mirror of the branches and tags we follow, of one repository.

Owns the mirror's directory and what may be asked of it. Must not know environments or when to look.
Invariant: the mirror is a cache. Whatever is wrong with it (a killed git, a full disk, flipped bits) is
answered by fetching anew beside it and swapping, never by an error that a person has to clean up.

GitPython does the work: `repo.git.<command>` for what needs a process, `get_object_header` and
`get_object_data` (one `git cat-file --batch` that stays) for reading. It is not thread-safe and keeps
descriptors in unclosed objects: one thread uses a mirror, and calls `release` when a look is over. Only
`interrupt` may come from another thread.
"""

from __future__ import annotations

import configparser
import re
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

import git
import structlog

from deployer.adapters.git._commands import Children
from deployer.adapters.git._directory import Directory
from deployer.adapters.git._errors import Failed, GitUnavailable, MirrorBroken, harmless, translated
from deployer.adapters.git._listing import list_refs
from deployer.adapters.git._local import local_git_dir, local_heads
from deployer.adapters.git._reader import Reader, header
from deployer.adapters.git._remote import Access, Remote, check_ref

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from deployer.adapters.git._commands import Repository
    from deployer.adapters.git._objects import Blob
    from deployer.adapters.git._signatures import Verifier
    from deployer.core.types import Person, Revision, Signature

_LOOK_SECONDS = 30.0
"""For an ls-remote: 0.3 s over ssh; a forge under load, or 20,000 refs over a slow line, takes seconds."""

_FETCH_SECONDS = 300.0
"""For a fetch: the first one moves a whole tree (1 GB at 4 MB/s), later ones take milliseconds."""

_OURS = "refs/deployer/"
"""Where the branches are kept: `refs/heads/x` as `refs/deployer/heads/x`."""

_PINNED = "refs/commits/"
"""How a commit is called that is asked for by its id: no ref of git's."""

_DEEPER = (200, 2_000, 20_000)
"""Commits by which the history is deepened until it shows how two commits stand to each other; then all."""

RANGE_LIMIT = 1_000
"""Commits between two heads that are looked at: to verify as many takes half a minute."""

_PEOPLE = 200
"""Commits between two heads whose makers are told: to read each takes 0.1 ms."""

_LINE = 50
"""Commits between two heads that are told by name."""

_QUIETLY = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--no-write-fetch-head")

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Mirror:
    """One repository's mirror. Every method but `interrupt` is for one owner thread.

    Every method that looks may raise `GitUnavailable`; nothing else comes out of git, network or disk.
    """

    def __init__(
        self,
        path: Path,
        url: str,
        *,
        access: Access | None = None,
        look_timeout_seconds: float = _LOOK_SECONDS,
        fetch_timeout_seconds: float = _FETCH_SECONDS,
    ) -> None:
        """Take the mirror's directory, which is ours alone, and the repository; touch neither yet.

        Raises ValueError if the URL holds a credential or is of a kind we do not use.
        """
        self._remote = Remote(url=url, access=access or Access())
        self._look_seconds = look_timeout_seconds
        self._fetch_seconds = fetch_timeout_seconds
        self._children = Children()
        self._directory = Directory(path, self._remote, self._children)
        self._repository: Repository | None = None
        self._heads: dict[str, str] | None = None
        self._reader = Reader()

    def heads(self, refs: Collection[str], tags: Collection[str] = ()) -> Mapping[str, str]:
        """Ask where the branches are: object id by full ref. One that is not there is not in the answer.

        `tags` are patterns (`refs/tags/v*`); every tag that fits one is in the answer. One request at most,
        and nothing is fetched.
        """
        wanted = {check_ref(ref) for ref in refs}
        if not wanted and not tags:
            return {}
        local = local_git_dir(self._remote.url) if not tags else None
        if local is not None and (found := local_heads(local, wanted)) is not None:
            return found
        with self._edge():
            self._remote.prepare(self._directory.path, self._children)
            lines = (line.partition("\t") for line in self._ls_remote(wanted, tags).splitlines())
            # A pattern of ls-remote matches the end of a name too.
            found = {ref: id_ for id_, _, ref in lines if ref in wanted or _is_tag(ref, tags)}
        if any(len(commit) != 40 for commit in found.values()):  # noqa: PLR2004 - hex digits of SHA-1
            message = f"cannot read {self._remote.url}: deployer cannot read SHA-256 object names"
            raise GitUnavailable(message)
        return found

    def known_heads(self) -> Mapping[str, str]:
        """Where the branches were when they were last fetched: what the mirror on disk has, no network."""
        with self._edge():
            return dict(self._known())

    def fetch(self, heads: Mapping[str, str]) -> Mapping[str, str]:
        """Make the mirror have exactly these refs, as `heads` answered; fetch only those that moved.

        `refs/commits/<id>` stands for a commit that is asked for by its id. Returns what it has now: a branch
        may have moved on since, and a commit may not be there.
        """
        with self._edge():
            if self._known() != heads:
                try:
                    self._update(heads)
                except (Failed, MirrorBroken) as error:
                    self._recover(heads, str(error))
            return dict(self._known())

    def revision(self, commit: str) -> Revision:
        """Who made a fetched commit, when, and what it says of itself."""
        with self._edge():
            revision = self._reading(lambda git: self._reader.commit(git, commit)).revision
            if revision.merged is None:
                return revision
            # Where the mirror begins with a merge, it has not what was merged.
            with suppress(MirrorBroken):
                merged = self._reader.commit(self._open().git, revision.merged.commit).revision
                return replace(revision, merged=replace(revision.merged, subject=merged.subject))
            return revision

    def commit_of(self, id_: str) -> str | None:
        """The commit that a fetched ref stands for, also through a tag's object; None if it is none."""
        with self._edge():
            return self._reading(lambda git: self._reader.peel(git, id_))

    def overtaken(self, head: str, since: str, ref: str) -> tuple[str, ...] | None:
        """The commits between `since` and `head`, which `ref` was fetched at; None if it does not follow.

        The newest first, on the line of first parents; of very many only the newest. The mirror begins where
        it was first fetched; where that is too late to tell, more is fetched.
        """
        with self._edge():
            return self._reading(lambda _: self._overtaken(head, since, ref))

    def people(self, head: str, since: str) -> tuple[Person, ...]:
        """Who made the commits that `head` has and `since` has not, each once; of very many the newest.

        Where the mirror begins, what is before that is not known.
        """
        with self._edge():
            return self._reading(lambda _: self._people(head, since))

    def between(self, since: str, head: str, ref: str) -> tuple[str, ...]:
        """All commits that `head`, which `ref` was fetched at, has and `since` has not, without `head`.

        Of more than `RANGE_LIMIT` it gives that many and one more; if `since` is gone, all that `head` has.
        The whole history is fetched for it: where it is cut, commits of the range hide behind the cut, and
        those before `since` look like a part of it.
        """
        with self._edge():
            found = self._reading(lambda _: self._between(since, head, ref))
            if self._cuts().intersection({head, *found}):
                what = f"cannot read {self._remote.url}: the history of {head[:7]} is not whole"
                message = f"{what}: its branch has moved; the next look tries again"
                raise GitUnavailable(message)
            return tuple(commit for commit in found if commit != head)

    def fork_point(self, head: str, base: str, refs: Collection[str]) -> str | None:
        """The newest commit that both have; None if there is none. `refs` were fetched at these two.

        The mirror begins where it was first fetched; where that is too late to tell, more is fetched.
        """
        with self._edge():
            return self._reading(lambda _: self._fork_point(head, base, refs))

    def verify(self, verifier: Verifier, commit: str) -> Signature:
        """Whose signature a fetched commit carries. Raises Unsigned if none counts."""
        with self._edge():
            return self._reading(lambda _: verifier.verify(self._open(), commit))

    def find(self, commit: str, path: str) -> str | None:
        """The id of the file at `path` of a fetched commit; None if nothing is there. Equal ids, equal files.

        For a folder that was looked into before this reads nothing: 5 us. Raises as `read` does.
        """
        with self._edge():
            return self._reading(lambda git: self._reader.find(git, commit, path))

    def read(self, commit: str, path: str) -> Blob | None:
        """Read the file at `path` of a fetched commit; None if nothing is there.

        Raises InvalidConfig for anything but a regular file of at most 1 MiB.
        """
        with self._edge():
            return self._reading(lambda git: self._reader.file(git, commit, path))

    def tidy(self) -> None:
        """Pack the mirror if many fetches crowded it: up to seconds, so call it when nothing waits."""
        with self._edge():
            if self._directory.is_crowded():
                self._open().git.gc("--quiet", "--prune=now", kill_after_timeout=self._fetch_seconds)

    def release(self) -> None:
        """Close what a look opened: the cat-file processes and their pipes. The next call opens it again."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None

    close = release

    def interrupt(self) -> None:
        """End whatever runs and refuse what comes, from another thread: the owner gets `GitUnavailable`."""
        self._children.interrupt()

    # --- the mirror --------------------------------------------------------------------------------------

    def _open(self) -> Repository:
        if self._repository is None:
            if self._directory.ensure():
                self._heads = {}
            try:
                self._repository = self._directory.open()
            except (git.GitError, configparser.Error, ValueError) as error:
                # GitPython reads the mirror's config itself, and raises what its parser does.
                self._heads = self._empty(str(error))
                self._repository = self._directory.open()
        return self._repository

    def _known(self) -> dict[str, str]:
        if self._heads is None:
            repository = self._open()
            try:
                self._heads = _listed(repository)
            except Failed as error:
                self._heads = self._empty(str(error))
        return self._heads

    def _empty(self, why: str) -> dict[str, str]:
        """Start the mirror anew, since git cannot even list it."""
        log.warning("mirror_emptied", repository=self._remote.url, why=why)
        self.release()
        self._directory.create()
        return {}

    def _ls_remote(self, refs: Collection[str], tags: Collection[str]) -> str:
        try:
            return self._ask(refs, tags)
        except Failed:
            # A damaged mirror stops every command of git, also this one that does not need a mirror.
            repository, self._heads = self._open(), None
            self._known()
            if repository is self._repository:
                raise
            return self._ask(refs, tags)

    def _ask(self, refs: Collection[str], tags: Collection[str]) -> str:
        # These keep the refs of pull requests out of the answer, which can be thousands.
        kinds = [kind for kind, asked in (("--heads", refs), ("--tags", tags)) if asked]
        arguments = (*kinds, "--refs", "--", self._remote.url, *sorted(refs), *sorted(tags))
        return list_refs(self._open().git, arguments, seconds=self._look_seconds)

    def _update(self, heads: Mapping[str, str]) -> None:
        """Delete the branches that are gone, fetch those that moved."""
        repository, known = self._open(), self._known()
        for ref in sorted(known.keys() - heads.keys()):
            # First, because `env` that is gone stands in the way of `env/staging`.
            repository.git.update_ref("-d", _ours(ref))
            del known[ref]
        moved = [_checked(ref) for ref, commit in heads.items() if known.get(ref) != commit]
        pinned = [ref for ref in moved if ref.startswith(_PINNED)]
        moved = [ref for ref in moved if ref not in pinned]
        # Shallow only what is new: the first fetch is 20 times cheaper so, a later one is not.
        self._run_fetch(repository, [ref for ref in moved if ref not in known], "--depth=1")
        self._run_fetch(repository, [ref for ref in moved if ref in known])
        moved += [ref for ref in pinned if self._fetch_pinned(repository, ref)]
        for ref in moved:
            known[ref] = header(repository.git, _ours(ref))[0]

    def _fetch_pinned(self, repository: Repository, ref: str) -> bool:
        """Fetch one commit, by its id; whether the repository has it. One that is missing stops no branch."""
        try:
            self._run_fetch(repository, [ref], "--depth=1")
        except Failed as error:
            # The second: a server that speaks no protocol 2, as sshd where it drops GIT_PROTOCOL.
            if not any(sign in error.printed for sign in ("not our ref", "unadvertised object")):
                raise
            return False
        return True

    def _line(self, head: str) -> list[str]:
        """The first parents of a commit, itself first, as far as they are at hand: 20 us each."""
        line = [head]
        with suppress(MirrorBroken):  # the mirror begins here
            while len(line) < _LINE and (parents := self._reader.commit(self._open().git, line[-1]).parents):
                line.append(parents[0])
        return line

    def _rev_list(self, *arguments: str) -> tuple[str, ...]:
        try:
            return tuple(str(self._open().git.rev_list(*arguments, "--")).split())
        except Failed as error:
            raise MirrorBroken(harmless(error.printed)) from error

    def _overtaken(self, head: str, since: str, ref: str) -> tuple[str, ...] | None:
        line = self._line(head)
        if since in line:
            return tuple(line[1 : line.index(since)])
        for deeper in (*_DEEPER, None):
            if self._is_ancestor(since, head):
                break
            if not self._cuts():
                return None
            self._deepen(ref, deeper)
        if not self._is_ancestor(since, head):
            return None
        return self._rev_list("--first-parent", f"--max-count={_LINE + 1}", head, f"^{since}")[1:]

    def _people(self, head: str, since: str) -> tuple[Person, ...]:
        less = (f"^{since}",) if self._reader.has(self._open().git, since) else ()
        commits = self._rev_list(f"--max-count={_PEOPLE}", head, *less)
        made = (self._reader.commit(self._open().git, one).revision for one in commits)
        return tuple(dict.fromkeys(who for one in made for who in one.people))

    def _between(self, since: str, head: str, ref: str) -> tuple[str, ...]:
        if self._cuts():
            self._deepen(ref, None)
        less = (f"^{since}",) if self._reader.has(self._open().git, since) else ()
        return self._rev_list(f"--max-count={RANGE_LIMIT + 2}", head, *less)

    def _is_ancestor(self, since: str, head: str) -> bool:
        try:
            self._open().git.merge_base("--is-ancestor", since, head)
        except Failed as error:
            # "No" is said without a word. Else `since` is not here, or what lies between is damaged.
            if error.printed.strip() and self._reader.has(self._open().git, since):
                raise MirrorBroken(harmless(error.printed)) from error
            return False
        return True

    def _fork_point(self, head: str, base: str, refs: Collection[str]) -> str | None:
        for deeper in (*_DEEPER, None):
            if (found := self._merge_base(head, base)) is not None or not self._cuts():
                return found
            how = "--unshallow" if deeper is None else f"--deepen={deeper}"
            self._run_fetch(self._open(), [_checked(ref) for ref in refs], how)
        return self._merge_base(head, base)

    def _merge_base(self, head: str, base: str) -> str | None:
        try:
            return str(self._open().git.merge_base(head, base)).split()[0]
        except Failed as error:
            # That there is none is said without a word.
            if error.printed.strip():
                raise MirrorBroken(harmless(error.printed)) from error
            return None

    def _cuts(self) -> set[str]:
        """The commits whose parents the mirror has not, because it was fetched so."""
        shallow = self._directory.path / "shallow"
        return set(shallow.read_text("ascii").split()) if shallow.is_file() else set()

    def _deepen(self, ref: str, commits: int | None) -> None:
        """Fetch so many more commits of a branch's history; None: all."""
        how = "--unshallow" if commits is None else f"--deepen={commits}"
        self._run_fetch(self._open(), [_checked(ref)], how)

    def _recover(self, heads: Mapping[str, str], why: str) -> None:
        """Try again without what may be in the way; then, in case the mirror is to blame, into a new one."""
        if self._directory.sweep():
            with suppress(Failed, MirrorBroken):
                self._update(heads)
                return
        self._rebuild(heads, why)

    def _run_fetch(self, repository: Repository, refs: Collection[str], *options: str) -> None:
        if refs:
            refspecs = [f"+{ref.removeprefix(_PINNED)}:{_ours(ref)}" for ref in sorted(refs)]
            repository.git.fetch(
                *_QUIETLY, *options, "--", self._remote.url, *refspecs, kill_after_timeout=self._fetch_seconds
            )

    def _rebuild(self, heads: Mapping[str, str], why: str) -> None:
        """Fetch everything anew beside the mirror and swap.

        If that fails too, the mirror is not to blame, and stays.
        """
        fresh = self._directory.beside()
        try:
            fresh.create()
            repository = fresh.open()
            try:
                self._run_fetch(
                    repository, [_checked(ref) for ref in heads if not ref.startswith(_PINNED)], "--depth=1"
                )
                for ref in heads:
                    if ref.startswith(_PINNED):
                        self._fetch_pinned(repository, _checked(ref))
                fetched = _listed(repository)
            finally:
                repository.close()
            self.release()
            self._directory.become(fresh)
        finally:
            fresh.remove()
        self._heads = fetched
        log.warning("mirror_rebuilt", repository=self._remote.url, why=why)

    # --- reading -----------------------------------------------------------------------------------------

    def _reading(self, read: Callable[[git.Git], T]) -> T:
        """Read; if the mirror turns out to be damaged, fetch it anew and read again."""
        try:
            return read(self._open().git)
        except MirrorBroken as error:
            self._rebuild(self._known(), str(error))
        try:
            return read(self._open().git)
        except MirrorBroken as error:
            message = (
                f"cannot read {self._remote.url}: {error}, also after a new fetch: the next look tries again"
            )
            raise GitUnavailable(message) from error

    def _edge(self) -> AbstractContextManager[None]:
        return translated(self._remote.url, self._directory.path)


def _listed(repository: Repository) -> dict[str, str]:
    """The branches on disk, by the names they have at the remote."""
    printed = str(repository.git.for_each_ref("--format=%(refname) %(objectname)", _OURS))
    pairs = (line.split(" ") for line in printed.splitlines())
    return {"refs/" + ref.removeprefix(_OURS): commit for ref, commit in pairs}


def _checked(ref: str) -> str:
    """The ref, if it is the full name of a branch or a tag, or stands for a commit; ValueError if not."""
    check_ref(re.sub("^refs/(tags|commits)/", "refs/heads/", ref))
    return ref


def _is_tag(ref: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(ref, pattern) for pattern in patterns)


def _ours(ref: str) -> str:
    return _OURS + ref.removeprefix("refs/")
