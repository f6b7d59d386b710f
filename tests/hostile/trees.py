"""Trees: what stands where the config should be, names and modes beside it, size and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.types import Absent, Desired, Invalid, NotRead
from tests.hostile.case import Case
from tests.hostile.forge import CONFIG, FILE, GOOD, LINK, SCRIPT, SUBMODULE, TREE, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.forge import Forge

NOWHERE = "1" * 40
DAMAGED = "damaged or hostile object in it"


def instead(mode: bytes, data: bytes) -> Callable[[Forge], object]:
    """An entry of that mode where the config should be."""
    return lambda forge: forge.push({CONFIG: (mode, b"serve_config.yaml", forge.blob(data))})


def above(mode: bytes, data: bytes) -> Callable[[Forge], object]:
    """An entry of that mode where the folder of all environments should be."""
    return lambda forge: forge.push({"environments": (mode, b"environments", forge.blob(data))})


def beside(name: bytes, mode: bytes = FILE, data: bytes = b"x") -> Callable[[Forge], object]:
    """A name in the root, beside a config that is good."""
    return lambda forge: forge.good((mode, name, forge.blob(data)))


def folder_beside(name: bytes) -> Callable[[Forge], object]:
    """The same, as a folder with a file in it."""
    return lambda forge: forge.good((TREE, name, forge.files({"config": b"[core]\n"})))


def raw_root(*entries: Entry) -> Callable[[Forge], object]:
    """A root tree of these entries and of the good folder, in this order, whatever git thinks of it."""

    def write(forge: Forge) -> object:
        filled = [(mode, name, id_ or forge.blob(b"x")) for mode, name, id_ in entries]
        return forge.main(forge.commit(forge.tree(*filled, _environments(forge))))

    return write


def _environments(forge: Forge) -> Entry:
    return TREE, b"environments", forge.files({CONFIG.partition("/")[2]: GOOD})


def _folder_as(mode: bytes) -> Callable[[Forge], object]:
    """The folder of all environments, under that mode."""

    def write(forge: Forge) -> object:
        return forge.main(forge.commit(forge.tree((mode, b"environments", _environments(forge)[2]))))

    return write


def _config_twice(forge: Forge) -> object:
    evil = GOOD.replace(b"7", b"666")
    name = b"serve_config.yaml"
    folder = forge.tree((FILE, name, forge.blob(GOOD)), (FILE, name, forge.blob(evil)))
    staging = forge.tree((TREE, b"staging", folder))
    return forge.main(forge.commit(forge.tree((TREE, b"environments", staging))))


def _hidden_entry(forge: Forge) -> object:
    """A reader that looks for entries anywhere in the bytes finds `serve_config.yaml` in this name."""
    evil = forge.blob(GOOD.replace(b"7", b"666"))
    folder = forge.tree((b"644", b"x100644 serve_config.yaml", evil))
    staging = forge.tree((TREE, b"staging", folder))
    return forge.main(forge.commit(forge.tree((TREE, b"environments", staging))))


def _cut(forge: Forge) -> object:
    tree = b"40000 environments\0" + bytes.fromhex(_environments(forge)[2])[:12]
    return forge.main(forge.commit(forge.object("tree", tree)))


def _trailing(forge: Forge) -> object:
    tree = b"40000 environments\0" + bytes.fromhex(_environments(forge)[2]) + b"100644 x"
    return forge.main(forge.commit(forge.object("tree", tree)))


def _wide(count: int, *, above: bool) -> Callable[[Forge], object]:
    """A folder of so many files that share one content: in the root, or above the config."""

    def write(forge: Forge) -> object:
        blob = forge.blob(b"x")
        names = [(FILE, b"f%07d" % number, blob) for number in range(count)]
        if not above:
            return forge.main(forge.commit(forge.tree(_environments(forge), *names)))
        staging = (TREE, b"staging", forge.files({"serve_config.yaml": GOOD}))
        return forge.main(forge.commit(forge.tree((TREE, b"environments", forge.tree(*names, staging)))))

    return write


def _deep(count: int) -> Callable[[Forge], object]:
    def write(forge: Forge) -> object:
        tree = forge.tree((FILE, b"x", forge.blob(b"x")))
        for _ in range(count):
            tree = forge.tree((TREE, b"d", tree))
        return forge.good((TREE, b"d", tree))

    return write


def _bomb(forge: Forge) -> str:
    """10^10 paths in ten trees."""
    tree = forge.tree(*((FILE, b"%d" % number, forge.blob(b"x")) for number in range(10)))
    for _ in range(9):
        tree = forge.tree(*((TREE, b"%d" % number, tree) for number in range(10)))
    return tree


def _bomb_above(forge: Forge) -> object:
    entries = [(TREE, b"%d" % number, _bomb(forge)) for number in range(10)]
    staging = (TREE, b"staging", forge.files({"serve_config.yaml": GOOD}))
    return forge.main(forge.commit(forge.tree((TREE, b"environments", forge.tree(*entries, staging)))))


def _submodules(forge: Forge) -> object:
    text = (
        f'[submodule "a"]\n\tpath = a\n\turl = ext::{forge.canary} %S\n'
        f'[submodule "b"]\n\tpath = b\n\turl = {forge.trap_url}b.git\n\tbranch = .\n'
        f'[submodule "c"]\n\tpath = c\n\turl = file://{forge.outside}\n'
    )
    modules = (FILE, b".gitmodules", forge.blob(text.encode()))
    return forge.good(modules, *((SUBMODULE, name, NOWHERE) for name in (b"a", b"b", b"c")))


def _modules(text: str, mode: bytes = FILE) -> Callable[[Forge], object]:
    return lambda forge: forge.good(
        (mode, b".gitmodules", forge.blob(text.format(canary=forge.canary).encode()))
    )


def _attributes(forge: Forge) -> object:
    text = "* filter=evil diff=evil merge=evil ident export-subst working-tree-encoding=UTF-16 eol=crlf\n"
    return forge.good(
        (FILE, b".gitattributes", forge.blob(text.encode())),
        (FILE, b".lfsconfig", forge.blob(f"[lfs]\n\turl = {forge.trap_url}\n".encode())),
        (FILE, b".gitconfig", forge.blob(f"[core]\n\tpager = {forge.canary}\n".encode())),
        (TREE, b"hooks", forge.tree((SCRIPT, b"post-checkout", forge.blob(forge.canary.read_bytes())))),
    )


LINKS = [
    Case(
        name=f"config-links-{name}",
        what=f"serve_config.yaml is a symbolic link to {target[:60]}",
        ends=Invalid,
        says="this is a symbolic link",
        write=instead(LINK, target.encode()),
    )
    for name, target in {
        "beside": "environment.yaml",
        "outside": "../../../outside/secret.yaml",
        "absolute": "/etc/passwd",
        "to-itself": "serve_config.yaml",
        "device": "/dev/zero",
        "long": "a/" * 500_000,
    }.items()
]

NAMES = [
    Case(name=f"name-{name}", what=f"a name beside the config: {raw[:30]!r}", ends=Desired, write=beside(raw))
    for name, raw in {
        "cr": b"a\rb",
        "lf": b"a\nb",
        "escape": b"\x1b[2J\x1b]0;x\x07",
        "bidi": "a\u202egnp.exe".encode(),
        "not-utf-8": b"caf\xe9\xff\xfe",
        "option": b"--upload-pack=touch CANARY-RAN",
        "long": b"n" * 4096,
        "dos": b"con",
        "backslash": b"..\\..\\x",
        "quote": b"\"';$(canary.sh)`canary.sh`",
    }.items()
]

REFUSED = [
    Case(
        name=f"name-{name}",
        what=f"an entry named {raw!r}",
        ends=NotRead,
        says=DAMAGED * bool(raw),
        write=write(raw),
    )
    for name, raw, write in [
        ("dot", b".", folder_beside),
        ("dotdot", b"..", folder_beside),
        ("dotgit", b".git", folder_beside),
        ("dotgit-upper", b".GIT", folder_beside),
        ("dotgit-short", b"git~1", folder_beside),
        ("dotgit-space", b".git ", folder_beside),
        ("dotgit-stream", b".git::$INDEX_ALLOCATION", folder_beside),
        ("dotgit-ignorable", ".g\u200cit".encode(), folder_beside),
        ("dotgit-file", b".git", beside),
        ("slash", b"environments/staging/serve_config.yaml", beside),
        ("empty", b"", beside),
    ]
]

ODD = [
    Case(
        name="config-is-folder",
        what="serve_config.yaml is a folder",
        ends=Invalid,
        says="this is a folder",
        write=lambda forge: forge.push({CONFIG + "/x": GOOD}),
    ),
    Case(
        name="config-is-submodule",
        what="serve_config.yaml is a submodule",
        ends=Invalid,
        says="this is a submodule",
        write=lambda forge: forge.push({CONFIG: (SUBMODULE, b"serve_config.yaml", NOWHERE)}),
    ),
    Case(
        name="folder-links-outside",
        what="environments is a symbolic link out of the repository",
        ends=Invalid,
        says="environments is a symbolic link, not a folder",
        write=above(LINK, b"../outside"),
    ),
    Case(
        name="folder-links-root",
        what="environments is a symbolic link to /",
        ends=Invalid,
        says="environments is a symbolic link, not a folder",
        write=above(LINK, b"/"),
    ),
    Case(
        name="folder-is-file",
        what="environments is a file",
        ends=Invalid,
        says="environments is a file, not a folder",
        write=above(FILE, b"x"),
    ),
    Case(
        name="folder-is-submodule",
        what="environments is a submodule",
        ends=Invalid,
        says="environments is a submodule, not a folder",
        write=lambda forge: forge.push({"environments": (SUBMODULE, b"environments", NOWHERE)}),
    ),
    Case(
        name="other-case",
        what="the folder and the file are there in capitals only",
        ends=Absent,
        says=f"there is no {CONFIG} on branch main",
        write=lambda forge: forge.push({CONFIG.upper(): GOOD}),
    ),
    Case(
        name="config-executable",
        what="serve_config.yaml is executable",
        ends=Desired,
        write=instead(SCRIPT, GOOD),
    ),
    Case(
        name="config-group-writable",
        what="mode 100664, as git before 1.0 wrote it",
        ends=Desired,
        write=instead(b"100664", GOOD),
    ),
    Case(name="config-setuid", what="mode 104777", ends=Desired, write=instead(b"104777", GOOD)),
    Case(
        name="config-mode-0",
        what="mode 0: no kind of file at all",
        ends=NotRead,
        says=DAMAGED,
        write=instead(b"0", GOOD),
    ),
    Case(
        name="config-mode-777",
        what="mode 777: no kind of file, for git a submodule",
        ends=Invalid,
        says="this is a submodule",
        write=instead(b"777", GOOD),
    ),
    Case(
        name="config-device",
        what="mode 20644: a character device, for git a submodule",
        ends=Invalid,
        says="this is a submodule",
        write=instead(b"20644", GOOD),
    ),
    Case(name="folder-mode-40755", what="a folder of mode 40755", ends=Desired, write=_folder_as(b"40755")),
    Case(
        name="folder-mode-zero",
        what="a folder of mode 040000",
        ends=NotRead,
        says=DAMAGED,
        write=_folder_as(b"040000"),
    ),
    Case(
        name="folder-as-link",
        what="a folder under the mode of a symbolic link",
        ends=NotRead,
        write=_folder_as(LINK),
    ),
    Case(
        name="folder-as-file", what="a folder under the mode of a file", ends=NotRead, write=_folder_as(FILE)
    ),
    Case(
        name="file-as-folder", what="a file under the mode of a folder", ends=NotRead, write=above(TREE, GOOD)
    ),
    Case(name="mode-of-letters", what="a mode that is no number", ends=NotRead, write=_folder_as(b"4ever")),
    Case(
        name="mode-too-long", what="a mode of 40 digits", ends=NotRead, write=_folder_as(b"0" * 35 + b"40000")
    ),
    Case(
        name="twice",
        what="serve_config.yaml twice in one folder",
        ends=NotRead,
        says=DAMAGED,
        write=_config_twice,
    ),
    Case(
        name="hidden-entry",
        what="a name that holds the bytes of another entry",
        ends=Absent,
        says=f"there is no {CONFIG} on branch main",
        write=_hidden_entry,
    ),
    Case(
        name="file-and-folder",
        what="environments as a file and as a folder",
        ends=NotRead,
        says=DAMAGED,
        write=raw_root((FILE, b"environments", "")),
    ),
    Case(
        name="unsorted",
        what="a tree that is not sorted",
        ends=NotRead,
        says=DAMAGED,
        write=raw_root((FILE, b"z", ""), (FILE, b"a", "")),
    ),
    Case(
        name="null-id",
        what="an entry whose id is all zeros",
        ends=NotRead,
        write=raw_root((FILE, b"a", "0" * 40)),
    ),
    Case(name="tree-cut", what="a tree that ends in the middle of an id", ends=NotRead, write=_cut),
    Case(name="tree-trailing", what="a tree with bytes after its last entry", ends=NotRead, write=_trailing),
]

SIZES = [
    Case(
        name="wide", what="300,000 files beside the folder", ends=Desired, write=_wide(300_000, above=False)
    ),
    Case(
        name="wide-above",
        what="300,000 files in the folder above",
        ends=Desired,
        write=_wide(300_000, above=True),
    ),
    Case(
        name="too-wide",
        what="600,000 files in the folder above: a tree of 22 MB",
        ends=Invalid,
        says="a folder above it has 21,600,034 bytes; at most 16,777,216 are read",
        write=_wide(600_000, above=True),
    ),
    Case(name="deep", what="a folder 10,000 deep", ends=Desired, write=_deep(10_000)),
    Case(
        name="bomb",
        what="10,000,000,000 paths in ten trees",
        ends=Desired,
        write=lambda forge: forge.good((TREE, b"bomb", _bomb(forge))),
    ),
    Case(name="bomb-above", what="the same in the folder above the config", ends=Desired, write=_bomb_above),
]

BROUGHT = [
    Case(
        name="submodules", what="submodules with ext::, http and file URLs", ends=Desired, write=_submodules
    ),
    Case(
        name="modules-command",
        what=".gitmodules with `update = !command`",
        ends=NotRead,
        says=DAMAGED,
        write=_modules('[submodule "a"]\n\tpath = a\n\turl = /x\n\tupdate = !{canary}\n'),
    ),
    Case(
        name="modules-option-url",
        what=".gitmodules with `--upload-pack` for a URL",
        ends=NotRead,
        says=DAMAGED,
        write=_modules('[submodule "a"]\n\tpath = a\n\turl = --upload-pack={canary}\n'),
    ),
    Case(
        name="modules-option-path",
        what=".gitmodules with an option for a path",
        ends=NotRead,
        says=DAMAGED,
        write=_modules('[submodule "a"]\n\tpath = --exec={canary}\n\turl = /x\n'),
    ),
    Case(
        name="modules-name",
        what=".gitmodules whose submodule is named ../../hooks",
        ends=NotRead,
        says=DAMAGED,
        write=_modules('[submodule "../../hooks"]\n\tpath = a\n\turl = /x\n'),
    ),
    Case(
        name="modules-link",
        what=".gitmodules is a symbolic link",
        ends=NotRead,
        says=DAMAGED,
        write=_modules("../outside/secret.yaml", LINK),
    ),
    Case(name="modules-garbage", what=".gitmodules that is none", ends=Desired, write=_modules("]]] \0")),
    Case(
        name="attributes",
        what="filters, LFS, drivers, hooks and a .gitconfig in the tree",
        ends=Desired,
        write=_attributes,
    ),
    Case(
        name="attributes-line",
        what=".gitattributes with a line of 4 MB",
        ends=NotRead,
        says=DAMAGED,
        write=lambda forge: forge.good((FILE, b".gitattributes", forge.blob(b"* " + b"a" * 4_000_000))),
    ),
]

CASES = [*LINKS, *NAMES, *REFUSED, *ODD, *SIZES, *BROUGHT]
