"""What can be wrong with a remote, the way to it and the mirror: on real servers, through the real sources.

Of each: the look ends in time in the right sentence, what was published stays, and all is well again by
itself when the fault has ended.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import Access
from deployer.core.source import Branch
from deployer.core.types import Desired
from deployer.engine.sources import EnvironmentSource, RepositoryLook, RepositorySpec, Sources
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy, Kind
from tests.support.git_daemon import git_daemon
from tests.support.git_server import serving
from tests.support.repos import BareRepo
from tests.support.sshd import SshServer, new_key
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LIMIT = 1.5
"""Seconds that a look, and a fetch, may take here."""

OFTEN = 0.2
"""The poll. After a failure the pause is 2 s, then twice that, and so on."""

NEVER = 3600.0

CONFIG = "environments/staging/serve_config.yaml"

DOWN = "nothing answers there: check that the server runs"
SILENT = r"no answer within 1\.5 s: check the server and the network"
BROKE_OFF = "the connection broke off: the next look tries again"
NO_GIT = "what answers there is not a git server: check the URL"


def config(price: int) -> str:
    """A Serve config whose digest depends on the price."""
    return f"applications:\n- name: fruit\n  import_path: fruit:app\n  args: {{price: {price}}}\n"


@dataclass
class Followed:
    """One repository, followed by real sources, and what they told of it."""

    folder: Path
    origin: BareRepo
    looks: list[RepositoryLook] = field(default_factory=list)
    started: list[Sources] = field(default_factory=list)
    pushed: int = 0

    @property
    def mirror(self) -> Path:
        """The mirror's directory."""
        return self.folder / "mirrors" / "configs.git"

    def follow(
        self,
        url: str,
        access: Access | None = None,
        *,
        others: Mapping[str, str] | None = None,
        poll: float = OFTEN,
        seconds: float = LIMIT,
    ) -> Sources:
        """Start, and wait until the first commit is published."""
        urls = {"configs": url, **(others or {})}
        sources = Sources(
            repositories=[
                RepositorySpec(name=name, url=url, poll_seconds=poll, access=access or Access())
                for name, url in urls.items()
            ],
            environments=[
                EnvironmentSource(
                    environment=name if name != "configs" else "staging",
                    repository=name,
                    source=Branch(name="main"),
                    path="environments/staging",
                )
                for name in urls
            ],
            mirrors_dir=self.folder / "mirrors",
            enqueue=lambda _: None,
            on_look=self.looks.append,
        )
        for owner in sources._owners.values():
            # The sources have no way to say it: nobody but a test needs another limit.
            owner._mirror._look_seconds = owner._mirror._fetch_seconds = seconds
        sources.start()
        self.started.append(sources)
        return sources

    def push(self, **files: str | bytes) -> str:
        """Another commit."""
        self.pushed += 1
        return self.origin.commit({CONFIG: config(self.pushed), **files})

    def sees(self, commit: str, name: str = "staging", *, within: float = 10.0) -> None:
        """Wait until this commit is published."""
        sources = self.started[-1]

        def look() -> bool:
            wanted = sources.wanted(name)
            return isinstance(wanted, Desired) and wanted.release.revision.commit == commit

        eventually(look, within=within, every=0.005, what=f"{name} is published at {commit}")

    def trouble(self, *, within: float) -> str:
        """Wait for a look that told of trouble; the sentence."""

        def look() -> str | None:
            return next((look.unavailable for look in self.looks if look.unavailable), None)

        return eventually(look, within=within)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    """A repository with one commit; what follows it is stopped when the test ends."""
    followed = Followed(tmp_path, BareRepo(tmp_path / "origin.git"))
    followed.push()
    yield followed
    for sources in followed.started:
        sources.stop(5.0)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority whose certificates the servers have."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def ssh_server(tmp_path: Path) -> Iterator[SshServer]:
    """An ssh server of this test's own."""
    server = SshServer(tmp_path / "ssh")
    with server.running():
        yield server


def goes_through(
    followed: Followed,
    fault: Callable[[], object],
    heal: Callable[[], object],
    why: str,
    *,
    hurry: bool = False,
) -> None:
    """A fault while a repository is followed: told in time, nothing taken back, and over by itself."""
    first = followed.origin.head()
    assert first
    followed.sees(first)
    sources = followed.started[-1]
    published = sources.wanted("staging")
    followed.looks.clear()

    fault()
    second = followed.push(big=os.urandom(100_000))
    # The look may have begun before the fault, and each look has two limits: for the question, for the fetch.
    said = followed.trouble(within=2 * LIMIT + 3.0)

    assert re.search(why, said), said
    assert said.isprintable()
    assert sources.wanted("staging") is published
    heal()
    if hurry:
        # Or it would wait for the end of its pause, of 2 s or 4.
        sources.look_now("configs")
    followed.sees(second, within=30.0)
    eventually(lambda: [look for look in followed.looks if look.recovered], within=5.0)


# --- the way to the server -------------------------------------------------------------------------------

PACK = 6_000
"""Bytes after which a connection is in the middle of a pack: all else is shorter than this."""

HTTP = [
    (Fault(Kind.HANG), SILENT),
    (Fault(Kind.HANG, PACK), SILENT),
    (Fault(Kind.DRIP), SILENT),
    (Fault(Kind.DRIP, PACK), SILENT),
    (Fault(Kind.CUT), BROKE_OFF),
    (Fault(Kind.CUT, 1), BROKE_OFF),
    # In the headers: git takes it for the empty answer of an empty repository.
    (Fault(Kind.CUT, 100), f"{NO_GIT}; the answer is empty"),
    (Fault(Kind.CUT, 350), BROKE_OFF),
    (Fault(Kind.CUT, PACK), BROKE_OFF),
    (Fault(Kind.RESET), BROKE_OFF),
    (Fault(Kind.RESET, PACK), BROKE_OFF),
    (Fault(Kind.GARBAGE), NO_GIT),
    (Fault(Kind.GARBAGE, PACK), f"{BROKE_OFF}|{NO_GIT}|damaged|git says"),
    (Fault(Kind.DELAY), SILENT),
]
NO_TLS = "does not speak TLS as git does"
HTTPS = [
    (Fault(Kind.HANG), SILENT),
    (Fault(Kind.CUT), BROKE_OFF),
    (Fault(Kind.CUT, 1_000), f"{BROKE_OFF}|{NO_TLS}"),
    (Fault(Kind.CUT, PACK), BROKE_OFF),
    (Fault(Kind.GARBAGE), NO_TLS),
]
SSH = [
    (Fault(Kind.HANG), SILENT),
    (Fault(Kind.DRIP), SILENT),
    (Fault(Kind.CUT), BROKE_OFF),
    (Fault(Kind.CUT, 1_000), BROKE_OFF),
    (Fault(Kind.CUT, PACK), BROKE_OFF),
    (Fault(Kind.RESET), BROKE_OFF),
    (Fault(Kind.GARBAGE), "what answers there is not an ssh server: check the URL"),
]
GIT = [
    (Fault(Kind.HANG, PACK), SILENT),
    (Fault(Kind.DRIP), SILENT),
    (Fault(Kind.CUT), "git says: fatal: Could not read from remote repository"),
    (Fault(Kind.CUT, 100), BROKE_OFF),
    (Fault(Kind.CUT, PACK), BROKE_OFF),
    (Fault(Kind.GARBAGE), NO_GIT),
]
FAULTS = [
    pytest.param(kind, fault, why, id=f"{kind}-{fault.kind.name.lower()}-{fault.after}")
    for kind, faults in {"http": HTTP, "https": HTTPS, "ssh": SSH, "git": GIT}.items()
    for fault, why in faults
]


@contextmanager
def remote(
    kind: str, followed: Followed, request: pytest.FixtureRequest
) -> Iterator[tuple[FaultProxy, str, Access]]:
    """A real server of the repository behind a wire that can be damaged; its URL, and how to be let in."""
    folder = followed.folder
    match kind:
        case "http":
            with serving(folder) as server, FaultProxy(server.port) as proxy:
                yield proxy, f"http://127.0.0.1:{proxy.port}/origin.git", Access()
        case "https":
            authority: Authority = request.getfixturevalue("authority")
            with serving(folder, tls=authority.server()) as server, FaultProxy(server.port) as proxy:
                yield proxy, f"https://127.0.0.1:{proxy.port}/origin.git", Access(ca_file=authority.file)
        case "ssh":
            ssh: SshServer = request.getfixturevalue("ssh_server")
            with FaultProxy(ssh.port) as proxy:
                ssh.write_known_hosts(port=proxy.port)
                url = ssh.url(followed.origin.path).replace(f":{ssh.port}/", f":{proxy.port}/")
                yield proxy, url, Access(ssh_key_file=ssh.key_file, known_hosts_file=ssh.known_hosts_file)
        case _:
            with git_daemon(folder) as daemon, FaultProxy(daemon.port) as proxy:
                yield proxy, f"git://127.0.0.1:{proxy.port}/origin.git", Access()


@pytest.mark.parametrize(("kind", "fault", "why"), FAULTS)
def test_a_wire_that_fails_costs_a_sentence_and_heals(
    kind: str, fault: Fault, why: str, followed: Followed, request: pytest.FixtureRequest
) -> None:
    """Hanging, dripping, cut anywhere, torn down, garbage: over each protocol."""
    with remote(kind, followed, request) as (proxy, url, access):
        followed.follow(url, access)

        goes_through(followed, lambda: setattr(proxy, "fault", fault), proxy.heal, why, hurry=True)

        followed.started[-1].stop(5.0)


def test_a_server_that_is_down_and_comes_back(followed: Followed) -> None:
    """Nothing listens there for a while."""
    with serving(followed.folder) as server:
        port, url = server.port, server.url("origin.git")
        followed.follow(url)
        first = followed.origin.head()
        assert first
        followed.sees(first)
    followed.looks.clear()
    second = followed.push()

    assert DOWN in followed.trouble(within=5.0)
    with serving(followed.folder, port=port):
        followed.sees(second)


def test_one_sick_repository_delays_no_other(followed: Followed, tmp_path: Path) -> None:
    """A push is seen as fast beside one that hangs in each of its looks as without it."""

    def pushes() -> float:
        times = []
        for _ in range(7):
            commit = followed.push()
            began = time.monotonic()
            followed.sees(commit)
            times.append(time.monotonic() - began)
        return statistics.median(times)

    first = followed.origin.head()
    assert first
    followed.follow(followed.origin.url)
    followed.sees(first)
    alone = pushes()
    followed.started[-1].stop(5.0)
    BareRepo(tmp_path / "sick.git")
    with serving(tmp_path) as server, FaultProxy(server.port) as proxy:
        proxy.fault = Fault(Kind.HANG)
        others = {f"sick-{number}": f"http://127.0.0.1:{proxy.port}/sick.git" for number in range(3)}
        followed.follow(followed.origin.url, others=others, seconds=30.0)
        followed.sees(followed.origin.head() or "")
        eventually(lambda: proxy.connections == 3, within=5.0)

        beside = pushes()

        followed.started[-1].stop(5.0)
    assert beside < 2 * alone + 0.05


# --- who is let in, and by whom --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expired", "why"),
    [
        ("IP:127.0.0.1", True, "its TLS certificate is not trusted: check the URL and ca_file"),
        (
            "DNS:other.example.com",
            False,
            "its TLS certificate is for another host: check the host in the URL",
        ),
    ],
    ids=["expired", "other-host"],
)
def test_a_certificate_that_went_wrong_and_was_renewed(
    followed: Followed, authority: Authority, name: str, expired: bool, why: str
) -> None:
    """It ended, or somebody installed that of another host."""
    tls = authority.server()
    with serving(followed.folder, tls=tls) as server:
        followed.follow(server.url("origin.git"), Access(ca_file=authority.file))

        goes_through(
            followed,
            lambda: authority.certify(tls, name, expired=expired),
            lambda: authority.certify(tls),
            why,
        )

        followed.started[-1].stop(5.0)


def test_a_certificate_of_nobody_is_not_trusted(followed: Followed, authority: Authority) -> None:
    """Self-signed, or of an authority that ca_file does not name: until it does."""
    stranger = Authority(followed.folder / "stranger")
    ca_file = followed.folder / "ca.pem"
    shutil.copy(stranger.file, ca_file)
    with serving(followed.folder, tls=authority.server()) as server:
        followed.follow(server.url("origin.git"), Access(ca_file=ca_file))
        said = followed.trouble(within=5.0)
        shutil.copy(authority.file, ca_file)

        assert "its TLS certificate is not trusted: check the URL and ca_file" in said
        followed.sees(followed.origin.head() or "")
        followed.started[-1].stop(5.0)


def test_a_token_that_was_replaced_at_the_forge_and_then_here(followed: Followed) -> None:
    """The file is read again by each look, so nobody has to restart anything."""
    token_file = followed.folder / "token"
    token_file.write_text("first-token")
    with serving(followed.folder, token="first-token") as server:
        followed.follow(server.url("origin.git"), Access(token_file=token_file))

        goes_through(
            followed,
            lambda: setattr(server, "token", "second-token"),
            lambda: token_file.write_text("second-token"),
            "the server refused the credentials: check token_file and username",
        )

        followed.started[-1].stop(5.0)


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (
            "nobody",
            "the ssh server's host key is not known: check it with its owner, then add it to known_hosts",
        ),
        ("another", "the ssh server shows another host key than the known one: ask its owner"),
    ],
)
def test_a_host_key_that_is_not_the_known_one(
    followed: Followed, ssh_server: SshServer, known: str, why: str
) -> None:
    """Never taken by itself; once the operator has put it into the file, it is."""
    url = ssh_server.url(followed.origin.path)
    followed.follow(
        url, Access(ssh_key_file=ssh_server.key_file, known_hosts_file=ssh_server.known_hosts_file)
    )
    new_key(followed.folder / "another")

    def forget() -> None:
        if known == "another":
            ssh_server.write_known_hosts(followed.folder / "another.pub")
        else:
            ssh_server.known_hosts_file.write_text("")

    goes_through(followed, forget, ssh_server.write_known_hosts, why)


# --- the mirror and its disk -----------------------------------------------------------------------------


def test_a_disk_that_is_full_while_fetching(followed: Followed) -> None:
    """What was fetched stays readable; with room again the fetch goes on."""
    mirrors = followed.folder / "mirrors"
    mirrors.mkdir()
    filler = mirrors / "filler"

    def fill() -> None:
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mirrors)]
    is_mounted = os.getuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))

    def unbound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        with serving(followed.folder) as server:
            followed.follow(server.url("origin.git"))
            if is_mounted:
                goes_through(
                    followed, fill, filler.unlink, "No space left on device|no space is left on the disk"
                )
            else:
                # Without the right to mount: a limit on files that the push, a child of ours, stays below.
                first = followed.origin.head() or ""
                followed.sees(first)
                second = followed.push(big=os.urandom(100_000))
                bound()
                assert "git may not write a file as big as that" in followed.trouble(within=8.0)
                unbound()
                followed.sees(second)
            followed.started[-1].stop(5.0)
    finally:
        unbound()
        if is_mounted:
            subprocess.run(["umount", str(mirrors)], check=True)


def flip(mirror: Path) -> None:
    """Change a byte in the middle of each pack."""
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 0xFF
        pack.write_bytes(data)


def lock(mirror: Path) -> None:
    """What a git that was killed leaves, and a mirror that was half built."""
    for name in (
        "refs/deployer/heads/main.lock",
        "packed-refs.lock",
        "shallow.lock",
        "config.lock",
        "HEAD.lock",
    ):
        (mirror / name).write_text("")
    (mirror / "objects" / "pack" / "tmp_pack_x").write_text("x")
    shutil.copytree(mirror, mirror.with_name("configs.git.fresh"))


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("damage", [flip, lock, shutil.rmtree])
def test_damage_of_the_mirror_is_repaired_without_a_word(
    followed: Followed, damage: Callable[[Path], None], restarted: bool
) -> None:
    """Flipped bytes, stale locks, a mirror deleted underneath: the next push is published all the same."""
    with serving(followed.folder) as server:
        followed.follow(server.url("origin.git"), poll=NEVER)
        followed.sees(followed.origin.head() or "")
        eventually(lambda: followed.started[-1].looks("configs").ended, within=5.0)
        if restarted:
            followed.started[-1].stop(5.0)
        damage(followed.mirror)
        commit = followed.push()
        if restarted:
            followed.follow(server.url("origin.git"), poll=NEVER)
        followed.started[-1].look_now("configs")

        followed.sees(commit)

        followed.started[-1].stop(5.0)
    assert [look.unavailable for look in followed.looks if look.unavailable] == []
    assert sorted(path.name for path in followed.mirror.parent.iterdir()) == ["configs.git"]
    assert not list(followed.mirror.rglob("*.lock"))


def test_a_git_that_is_killed_in_the_middle_of_a_fetch(followed: Followed) -> None:
    """By the kernel, say, for its memory: what it left is removed, and the same look fetches again."""
    with serving(followed.folder) as server, FaultProxy(server.port) as proxy:
        followed.follow(f"http://127.0.0.1:{proxy.port}/origin.git", seconds=30.0)
        followed.sees(followed.origin.head() or "")
        # git hands a pack on in pieces of 64 KiB.
        proxy.fault = Fault(Kind.HANG, 150_000)
        commit = followed.push(big=os.urandom(300_000))
        eventually(lambda: list(followed.mirror.glob("objects/pack/tmp_*")), within=10.0)
        groups = fetches(followed.mirror)
        proxy.fault = None
        for group in groups:
            os.killpg(group, signal.SIGKILL)

        followed.sees(commit)

        followed.started[-1].stop(5.0)
    assert len(groups) == 1
    assert [look.unavailable for look in followed.looks if look.unavailable] == []
    assert not list(followed.mirror.glob("objects/pack/tmp_*"))


def fetches(mirror: Path) -> set[int]:
    """The process groups of the fetches into a mirror that run now."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_ours = f"GIT_DIR={mirror}\0".encode() in (process / "environ").read_bytes()
            if is_ours and b"fetch" in (process / "cmdline").read_bytes():
                found.add(os.getpgid(int(process.name)))
    return found
