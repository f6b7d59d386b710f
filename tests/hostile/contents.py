"""What stands in the config and in the policy: sizes, encodings, and YAML that grows.

A million more are in `tests/fuzz`, which reads files alone; here they come through a repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.types import Desired, Invalid
from tests.hostile.case import Case, State
from tests.hostile.forge import CONFIG, GOOD, POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.forge import Forge

LIMIT = 1024 * 1024
READ = 256 * 1024
ALIASES = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (97 + n, 97 + n, b",".join([b"*%c" % (96 + n)] * 9)) for n in range(1, 12)
)


def config(data: bytes) -> Callable[[Forge], object]:
    """This as the config."""
    return lambda forge: forge.push({CONFIG: data})


def policy(data: bytes) -> Callable[[Forge], object]:
    """This as the policy beside a good config."""
    return lambda forge: forge.push({CONFIG: GOOD, POLICY: data})


CONFIGS: list[tuple[str, str, State, str, bytes]] = [
    ("limit", "a config of 256 KiB, mostly comment", Desired, "", GOOD + b"#" * (READ - len(GOOD))),
    (
        "over-read",
        "a config of 256 KiB and a byte",
        Invalid,
        "more than 262,144 are not read",
        GOOD + b"#" * (READ + 1 - len(GOOD)),
    ),
    (
        "over-limit",
        "a config of 1 MiB and a byte",
        Invalid,
        "1,048,577 bytes; at most",
        GOOD + b"#" * (LIMIT + 1 - len(GOOD)),
    ),
    ("100MB", "a config of 100 MB of zeros", Invalid, "100,000,000 bytes; at most", bytes(100_000_000)),
    ("empty", "an empty config", Invalid, "", b""),
    ("zeros", "a config of 1,000 NULs", Invalid, "", bytes(1_000)),
    ("random", "a config of bytes that are no text", Invalid, "", bytes(range(256)) * 20),
    ("bom", "a config with a byte order mark", Desired, "", b"\xef\xbb\xbf" + GOOD),
    ("utf-16", "a config in UTF-16", Invalid, "", GOOD.decode().encode("utf-16")),
    ("latin-1", "a config in Latin-1", Invalid, "", GOOD + b"# caf\xe9\n"),
    ("crlf", "a config with CR LF", Desired, "", GOOD.replace(b"\n", b"\r\n")),
    (
        "lfs",
        "a Git LFS pointer",
        Invalid,
        "Git LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 1\n",
    ),
    ("aliases", "aliases that stand for 9^12 values", Invalid, "", ALIASES),
    ("nested", "100,000 brackets", Invalid, "", b"[" * 100_000),
    (
        "python",
        "a tag that would make a Python object",
        Invalid,
        "",
        b"applications: !!python/object/apply:os.system [id]\n",
    ),
    ("twice", "a key twice", Invalid, "", GOOD + GOOD),
    ("itself", "a list that holds itself", Invalid, "", b"applications: &a [*a]\n"),
    ("number", "a number of a million digits", Invalid, "", GOOD.replace(b"7", b"7" * 1_000_000)),
    ("escapes", "keys that move the cursor", Invalid, "", b'"\\e[2J\\r\\u202e": 1\n' + GOOD),
]

POLICIES: list[tuple[str, str, State, str, bytes]] = [
    (
        "policy-over-limit",
        "a policy of 1 MiB and a byte",
        Invalid,
        "1,048,577 bytes; at most",
        b"#" * (LIMIT + 1),
    ),
    ("policy-aliases", "a policy of aliases that stand for 9^12 values", Invalid, "", ALIASES),
    ("policy-nested", "a policy of 100,000 braces", Invalid, "", b"{" * 100_000),
    ("policy-python", "a policy with a Python tag", Invalid, "", b"!!python/object/apply:os.system [id]\n"),
    ("policy-random", "a policy of bytes that are no text", Invalid, "", bytes(range(256))),
]

CASES = [
    *(
        Case(name=f"yaml-{name}", what=what, ends=ends, says=says, write=config(data))
        for name, what, ends, says, data in CONFIGS
    ),
    *(
        Case(name=f"yaml-{name}", what=what, ends=ends, says=says, write=policy(data))
        for name, what, ends, says, data in POLICIES
    ),
]
