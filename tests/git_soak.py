"""Thousands of fetches into one mirror, and what is left of each: `python -m tests.git_soak`.

Each fetch brings a commit of its own, over a real server. Descriptors, threads and child processes are to be
as many after the last one as after the first few; memory may grow by what is cached, which has a bound.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployer import logs
from deployer.adapters.git import Access, Mirror
from tests.support.eventually import eventually
from tests.support.git_daemon import git_daemon
from tests.support.git_server import serving
from tests.support.repos import BareRepo
from tests.support.sshd import SshServer
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("file", "http", "https", "ssh", "git")

WARM_UP = 10
"""Fetches before the first count: caches fill, threads start."""

CONFIG = "environments/staging/serve_config.yaml"

MAIN = "refs/heads/main"

TOKEN = "token-of-the-soak"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What this process has: descriptors, threads, child processes (also unreaped ones), MiB of memory."""

    descriptors: int
    threads: int
    children: int
    memory_mib: float

    @staticmethod
    def now() -> Count:
        """Count."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        tasks = Path("/proc/self/task").iterdir()
        return Count(
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
            threads=threading.active_count(),
            children=sum(len((task / "children").read_text().split()) for task in tasks),
            memory_mib=pages * resource.getpagesize() / 1024**2,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What was counted before and after, and what a fetch took."""

    before: Count
    after: Count
    fetches: int
    seconds: float

    def __str__(self) -> str:
        """One line for a person."""
        pairs = [
            f"{name} {getattr(self.before, name)} -> {getattr(self.after, name)}"
            for name in ("descriptors", "threads", "children")
        ]
        memory = f"memory {self.before.memory_mib:.1f} -> {self.after.memory_mib:.1f} MiB"
        each = f"{1000 * self.seconds / self.fetches:.0f} ms each"
        return f"{self.fetches} fetches, {each}: {', '.join([*pairs, memory])}"


def soak(kind: str, fetches: int, folder: Path) -> Soak:
    """Fetch so many commits, one by one, over this kind of remote."""
    origin = BareRepo(folder / "origin.git")
    commits = list(make_commits(origin, WARM_UP + fetches))
    branch = origin.path / "refs" / "heads" / "main"
    with ExitStack() as servers:
        url, access = _remote(kind, folder, origin, servers)
        mirror = Mirror(folder / "mirror.git", url, access=access)
        before, began = None, 0.0
        for number, commit in enumerate(commits):
            if number == WARM_UP:
                before, began = _quiet(), time.monotonic()
            branch.write_text(commit + "\n")
            # A look, as the thread that owns a mirror makes it.
            assert mirror.fetch(mirror.heads([MAIN])) == {MAIN: commit}
            assert mirror.read(commit, CONFIG)
            assert mirror.revision(commit).subject == "change"
            mirror.tidy()
            mirror.release()
        assert before is not None
        seconds = time.monotonic() - began
        return Soak(before=before, after=_quiet(), fetches=fetches, seconds=seconds)


def make_commits(origin: BareRepo, number: int) -> Iterator[str]:
    """So many commits in one process; each changes the config."""
    stream = []
    for price in range(number):
        config = f"applications:\n- name: fruit\n  import_path: fruit:app\n  args: {{price: {price}}}\n"
        stream += [
            "commit refs/heads/main",
            f"committer Ada <ada@example.com> {1_700_000_000 + price} +0000",
            "data 6",
            "change",
            f"M 100644 inline {CONFIG}",
            f"data {len(config)}",
            config,
        ]
    origin.git("fast-import", "--quiet", data="\n".join([*stream, ""]).encode())
    yield from origin.git("rev-list", "--reverse", "main").split()


def _remote(kind: str, folder: Path, origin: BareRepo, servers: ExitStack) -> tuple[str, Access]:
    match kind:
        case "file":
            return origin.url, Access()
        case "git":
            return servers.enter_context(git_daemon(folder)).url(origin.path.name), Access()
        case "ssh":
            ssh = SshServer(folder / "ssh")
            servers.enter_context(ssh.running())
            access = Access(ssh_key_file=ssh.key_file, known_hosts_file=ssh.known_hosts_file)
            return ssh.url(origin.path), access
        case _:
            token_file = folder / "token"
            token_file.write_text(TOKEN)
            access, tls = Access(token_file=token_file), None
            if kind == "https":
                authority = Authority(folder / "authority")
                access, tls = replace(access, ca_file=authority.file), authority.server()
            server = servers.enter_context(serving(folder, token=TOKEN, tls=tls))
            return server.url(origin.path.name), access


def _quiet() -> Count:
    """Count once the servers, which are in this process too, have ended the threads of their last answers."""
    counts: list[Count] = []

    def settled() -> Count | None:
        counts.append(Count.now())
        same = counts[-3:]
        flat = {(count.descriptors, count.threads, count.children) for count in same}
        return counts[-1] if len(same) == 3 and len(flat) == 1 else None

    return eventually(settled, within=10.0, every=0.1)


def main() -> int:
    """Soak each kind of remote, and say what is left. Exit code 1 if anything grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.git_soak")
    parser.add_argument("--fetches", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    chosen = parser.parse_args()
    logs.configure(sys.stderr, level="warning")
    grew = False
    for kind in chosen.kinds:
        with tempfile.TemporaryDirectory() as folder:
            done = soak(kind, chosen.fetches, Path(folder))
        flat = ("descriptors", "threads", "children")
        grew |= any(getattr(done.before, name) != getattr(done.after, name) for name in flat)
        sys.stdout.write(f"{kind:6}{done}{os.linesep}")
        sys.stdout.flush()
    return int(grew)


if __name__ == "__main__":
    raise SystemExit(main())
