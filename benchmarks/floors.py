"""The least that has to be done to have a new commit: git alone, inotify alone, an HTTP answer alone.

Each in the cheapest way: no record, no check, no parsing, no process of ours around git.
"""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks import servers
from benchmarks.push_to_put import config
from benchmarks.site import Repository, git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_FETCH = ("fetch", "--quiet", "--no-tags", "--no-auto-gc", "--no-write-fetch-head")
_IN_MOVED_TO = 0x80
"""`man 7 inotify`."""

_WAIT_SECONDS = 30.0


class Floors:
    """One repository that is watched and read by its path, and one that is asked over HTTP."""

    def __init__(self, root: Path, watched: Repository, asked: Repository, remote: servers.Servers) -> None:
        """Clone both. `root` is the folder that `remote` serves."""
        self._watched, self._asked = watched, asked
        self._local = str(watched.bare)
        self._remote = f"{remote.git}/{asked.bare.relative_to(root)}"
        self._plain = remote.plain
        self._mirrors = {self._local: root / "watched.mirror", self._remote: root / "asked.mirror"}
        for url, mirror in self._mirrors.items():
            git(root, "init", "--quiet", "--bare", str(mirror))
            self._fetch(url)

    def measured(self, number: int) -> Mapping[str, float]:
        """One of each, in seconds."""
        return {**self._by_path(number), **self._over_http(number)}

    def _by_path(self, number: int) -> Mapping[str, float]:
        self._stage(self._watched, number)
        with _watching(self._watched) as wait:
            moved = self._watched.move()
            wait()
            heard = time.monotonic()
            self._fetch(self._local)
            fetched = time.monotonic()
        # Not from `fetched`: to end a watch takes 15 ms.
        began = time.monotonic()
        self._ls_remote(self._local)
        return {
            "watch": heard - moved,
            "watch_fetch": fetched - moved,
            "path_ls_remote": time.monotonic() - began,
        }

    def _over_http(self, number: int) -> Mapping[str, float]:
        self._stage(self._asked, number)
        moved = self._asked.move()
        servers.post(self._plain, servers.body(), {"Content-Type": "application/json"})
        answered = time.monotonic()
        self._ls_remote(self._remote)
        listed = time.monotonic()
        self._fetch(self._remote)
        return {
            "http": answered - moved,
            "http_ls_remote": listed - answered,
            "http_ls_remote_fetch": time.monotonic() - moved,
        }

    def _stage(self, repository: Repository, number: int) -> None:
        repository.commit({"one": config(number)}, f"price {number}")
        repository.stage()

    def _ls_remote(self, url: str) -> None:
        self._run(url, "ls-remote", url, "refs/heads/main")

    def _fetch(self, url: str) -> None:
        self._run(url, *_FETCH, url, "+refs/heads/main:refs/heads/main")

    def _run(self, url: str, *arguments: str) -> None:
        subprocess.run(
            ["git", "--git-dir", str(self._mirrors[url]), *arguments],
            env={"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull},
            capture_output=True,
            check=True,
            timeout=_WAIT_SECONDS,
        )


@contextmanager
def _watching(repository: Repository) -> Iterator[Callable[[], None]]:
    """A bare inotify watch of the branches; gives what waits for a move."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify cannot be had")
    try:
        branches = os.fsencode(repository.bare / "refs" / "heads")
        if libc.inotify_add_watch(descriptor, branches, _IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify cannot watch the branches")

        def wait() -> None:
            if not select.select([descriptor], [], [], _WAIT_SECONDS)[0]:
                message = f"inotify said nothing within {_WAIT_SECONDS} s"
                raise TimeoutError(message)

        yield wait
    finally:
        os.close(descriptor)
