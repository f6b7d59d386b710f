"""What else lies in a repository on this machine: config, hooks, alternates, links, other formats."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from deployer.core.types import Absent, Desired, NotRead
from tests.hostile.case import Case
from tests.hostile.forge import CONFIG, GOOD, Forge
from tests.support.repos import run_git

if TYPE_CHECKING:
    from collections.abc import Callable

HOOKS = (
    "applypatch-msg",
    "post-checkout",
    "post-index-change",
    "post-receive",
    "post-update",
    "pre-auto-gc",
    "pre-push",
    "pre-receive",
    "proc-receive",
    "push-to-checkout",
    "reference-transaction",
    "update",
    "fsmonitor-watchman",
)

COMMANDS = """\
	fsmonitor = {canary}
	sshCommand = {canary}
	gitProxy = {canary}
	pager = {canary}
	editor = {canary}
	askPass = {canary}
	hooksPath = {folder}/hooks
	alternateRefsCommand = {canary}
[uploadpack]
	packObjectsHook = {canary}
[uploadpackfilter]
	allow = true
[alias]
	upload-pack = !{canary}
	fetch = !{canary}
	ls-remote = !{canary}
[filter "evil"]
	clean = {canary}
	smudge = {canary}
	process = {canary}
	required = true
[diff]
	external = {canary}
[gpg]
	program = {canary}
[credential]
	helper = !{canary}
[pager]
	upload-pack = {canary}
[protocol "ext"]
	allow = always
[trace2]
	normalTarget = {folder}/CANARY-RAN
	eventTarget = {folder}/CANARY-RAN
[core]
	worktree = {folder}/outside
"""


def configured(text: str) -> Callable[[Forge], object]:
    """A good repository with this in its config."""

    def write(forge: Forge) -> None:
        forge.good()
        forge.config(
            text.format(canary=forge.canary, folder=forge.folder, secret=forge.secret, trap=forge.trap_url)
        )

    return write


def formatted(text: str, *, version: int = 1) -> Callable[[Forge], object]:
    """A good repository that says it has another format."""

    def write(forge: Forge) -> None:
        forge.good()
        forge.config(text, version=version)

    return write


def _hooks(forge: Forge) -> None:
    forge.good()
    for name in HOOKS:
        forge.file(f"hooks/{name}", forge.canary.read_bytes()).chmod(0o755)
    forge.config(COMMANDS.format(canary=forge.canary, folder=forge.path, secret=forge.secret))


def _alternates(forge: Forge) -> None:
    """Another repository outside has the objects; this one has the name only."""
    other = Forge(forge.folder / "other")
    forge.ref("refs/heads/main", other.good())
    forge.file("objects/info/alternates", f"{other.path}/objects\n")


def _alternates_odd(text: str) -> Callable[[Forge], object]:
    def write(forge: Forge) -> None:
        forge.good()
        forge.file(
            "objects/info/alternates", text.format(objects=forge.path / "objects", secret=forge.secret.parent)
        )

    return write


def _promisor(url: str) -> Callable[[Forge], object]:
    """A partial clone whose config is missing, and a remote that would run or call something for it."""

    def write(forge: Forge) -> None:
        forge.good()
        blob = forge.blob(GOOD)
        (forge.path / "objects" / blob[:2] / blob[2:]).unlink()
        address = url.format(canary=forge.canary, trap=forge.trap_url, path=forge.path)
        forge.config(
            "[extensions]\n\tpartialClone = origin\n"
            f'[remote "origin"]\n\turl = {address}\n'
            f"\tpromisor = true\n\tuploadpack = {forge.canary}\n\tvcs = ext\n",
            version=1,
        )

    return write


def _git_file(forge: Forge) -> None:
    """`.git` is a file that names another repository."""
    other = Forge(forge.folder / "other")
    other.good()
    shutil.rmtree(forge.path)
    forge.path.mkdir()
    forge.file(".git", f"gitdir: {other.path}\n")


def _common_dir(forge: Forge) -> None:
    """As the folder of a linked worktree has it: all but HEAD is elsewhere."""
    other = Forge(forge.folder / "other")
    other.good()
    for name in ("objects", "refs"):
        shutil.rmtree(forge.path / name)
    forge.file("commondir", f"{other.path}\n")


def _work_tree(forge: Forge) -> None:
    """A clone with a work tree, whose hooks and filters wait for a checkout or a status."""
    _hooks(forge)
    forge.file("index", b"DIRC\0\0\0\2garbage")
    inside = forge.path.with_name("moved")
    forge.path.rename(inside)
    forge.path.mkdir()
    inside.rename(forge.path / ".git")
    forge.file(".gitattributes", "* filter=evil\n")


def _objects_outside(forge: Forge) -> None:
    forge.good()
    (forge.path / "objects").rename(forge.folder / "elsewhere")
    (forge.path / "objects").symlink_to(forge.folder / "elsewhere")


def _object_fifo(forge: Forge) -> None:
    forge.good()
    blob = forge.blob(GOOD)
    path = forge.path / "objects" / blob[:2] / blob[2:]
    path.unlink()
    os.mkfifo(path)


def _sha256(forge: Forge) -> None:
    shutil.rmtree(forge.path)
    run_git("init", "--quiet", "--bare", "--object-format=sha256", str(forge.path))
    commit = b"commit refs/heads/main\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\n"
    data = commit + b"M 100644 inline %s\ndata %d\n%s\n" % (CONFIG.encode(), len(GOOD), GOOD)
    run_git(f"--git-dir={forge.path}", "fast-import", "--quiet", data=data)


def _bundle(forge: Forge) -> None:
    """A file in place of a repository: git could fetch from one by its plain path."""
    forge.good()
    bundle = forge.folder / "bundle"
    run_git(f"--git-dir={forge.path}", "bundle", "create", "--quiet", str(bundle), "main")
    shutil.rmtree(forge.path)
    bundle.rename(forge.path)


def _nothing(forge: Forge) -> None:
    shutil.rmtree(forge.path)


def _folder(forge: Forge) -> None:
    shutil.rmtree(forge.path)
    forge.path.mkdir()
    forge.file("README", "hello\n")


CASES = [
    Case(
        name="hooks-and-commands",
        what="every hook, and every setting that names a program",
        ends=Desired,
        write=_hooks,
    ),
    Case(
        name="work-tree",
        what="a clone with a work tree, index, hooks and filters",
        ends=Desired,
        write=_work_tree,
    ),
    Case(
        name="config-include",
        what="a config that includes a file outside",
        ends=NotRead,
        shares=True,
        write=configured("[include]\n\tpath = {secret}\n"),
    ),
    Case(
        name="config-attributes",
        what="a config that takes attributes from a file outside",
        ends=Desired,
        shares=True,
        write=configured("\tattributesFile = {secret}\n"),
    ),
    Case(
        name="config-garbage",
        what="a config that is none",
        ends=NotRead,
        write=lambda forge: (forge.good(), forge.file("config", b"\xff\0[[[")),
    ),
    Case(
        name="config-50MB",
        what="a config of 50 MB",
        ends=Desired,
        write=configured("[x]\n" + "\ty = zzzzzzzzzz\n" * 3_500_000),
    ),
    Case(
        name="config-bare-maybe",
        what="a config that is bare, maybe",
        ends=NotRead,
        write=configured("\tbare = maybe\n"),
    ),
    Case(
        name="hide-refs",
        what="a config that hides main",
        ends=NotRead,
        write=configured("[transfer]\n\thideRefs = refs/heads\n"),
    ),
    Case(name="format-99", what="a repository of format 99", ends=NotRead, write=formatted("", version=99)),
    Case(
        name="format-unknown",
        what="an extension that nobody knows",
        ends=NotRead,
        write=formatted("[extensions]\n\tevil = true\n"),
    ),
    Case(
        name="reftable",
        what="refs in a reftable",
        ends=NotRead,
        write=lambda forge: (
            formatted("[extensions]\n\trefStorage = reftable\n")(forge),
            forge.file("reftable/tables.list", "x\n"),
        ),
    ),
    Case(
        name="sha256",
        what="a repository with SHA-256 names",
        ends=NotRead,
        says="cannot read SHA-256",
        write=_sha256,
    ),
    Case(
        name="partial-ext",
        what="a partial clone whose remote is a command (ext::)",
        ends=NotRead,
        write=_promisor("ext::{canary} %S"),
    ),
    Case(
        name="partial-http",
        what="a partial clone whose remote is a server elsewhere",
        ends=NotRead,
        write=_promisor("{trap}x.git"),
    ),
    Case(
        name="partial-local",
        what="a partial clone of itself, by an upload-pack of its own",
        ends=NotRead,
        write=_promisor("file://{path}"),
    ),
    Case(
        name="alternates",
        what="objects that are in another repository (clone --shared)",
        ends=Desired,
        shares=True,
        write=_alternates,
    ),
    Case(
        name="alternates-loop",
        what="alternates that name themselves",
        ends=Desired,
        write=_alternates_odd("{objects}\n../objects\n.\n"),
    ),
    Case(
        name="alternates-garbage",
        what="alternates that name folders with no objects in them",
        ends=Desired,
        write=_alternates_odd("/proc/self\n\x1b[2J\n/dev/zero\n"),
    ),
    Case(
        name="git-file",
        what="a .git file that names another repository",
        ends=Desired,
        shares=True,
        write=_git_file,
    ),
    Case(
        name="common-dir",
        what="a commondir file that names another repository",
        ends=Desired,
        shares=True,
        write=_common_dir,
    ),
    Case(
        name="objects-outside",
        what="objects is a link to a folder elsewhere",
        ends=Desired,
        shares=True,
        write=_objects_outside,
    ),
    Case(
        name="object-fifo",
        what="a pipe that nobody writes to in place of an object: git hangs",
        ends=NotRead,
        says="the first look at repository hostile is under way",
        write=_object_fifo,
    ),
    Case(name="bundle", what="a bundle in place of a repository", ends=NotRead, write=_bundle),
    Case(
        name="empty",
        what="a repository without a commit",
        ends=Absent,
        says="there is no branch main",
        write=lambda forge: forge.path,
    ),
    Case(name="nothing", what="nothing at all", ends=NotRead, write=_nothing),
    Case(name="no-repository", what="a folder that is no repository", ends=NotRead, write=_folder),
]
