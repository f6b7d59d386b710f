"""What a daemon needs of a mirror over months: no leaks, a quick stop, no secret in sight."""

from __future__ import annotations

import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import Access, GitUnavailable
from tests.contract.git_mirror.world import CONFIG, MAIN, TOKEN, NewMirror, World, bring, children, proc, text
from tests.support.eventually import eventually
from tests.support.git_server import serving
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.timeout(180)
def test_many_fetches_leak_no_descriptor_and_no_process(local: World) -> None:
    """GitPython leaks where a Repo stays open; here the count after 60 fetches is that after the first."""
    commits = [local.origin.commit({CONFIG: str(number)}) for number in range(2)]
    branch = local.origin.path / "refs" / "heads" / "main"
    mirror = local.mirror()
    counts = []
    for number in range(60):
        branch.write_text(commits[number % 2] + "\n")
        assert bring(mirror) == {MAIN: commits[number % 2]}
        assert text(mirror, commits[number % 2]) == str(number % 2)
        assert mirror.revision(commits[number % 2]).subject == "change"
        mirror.release()
        counts.append(len(list(Path("/proc/self/fd").iterdir())))

    assert counts[-1] == counts[0]
    assert children() == []


def test_another_thread_ends_a_hanging_fetch_at_once(tmp_path: Path, new_mirror: NewMirror) -> None:
    """SIGTERM does not wait for a server: the owner gets its error in a moment, the child is gone."""
    origin = BareRepo(tmp_path / "origin.git")
    origin.commit({CONFIG: "1"})
    with serving(tmp_path) as server:
        mirror = new_mirror(server.url("origin.git"))
        heads = mirror.heads([MAIN])
        server.hold.set()
        errors: list[str] = []

        def fetch() -> None:
            with pytest.raises(GitUnavailable) as caught:
                mirror.fetch(heads)
            errors.append(caught.value.why)

        owner = threading.Thread(target=fetch)
        owner.start()
        eventually(lambda: [line for line in children() if "git-remote-http" in line], within=5.0)
        before = time.monotonic()
        mirror.interrupt()
        owner.join(30.0)

        assert time.monotonic() - before < 10.0  # the server would have held it for ever
        assert errors == ["git was stopped: the daemon is shutting down"]
        assert [line for line in children() if "http-backend" not in line] == []
        with pytest.raises(GitUnavailable, match="shutting down"):
            mirror.heads([MAIN])


def test_git_does_not_inherit_what_this_process_was_told_about_git(
    local: World, git_calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stray GIT_DIR, a config with a credential helper or a switched-off certificate check stay outside."""
    home = local.folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[url "file:///nowhere/"]\n\tinsteadOf = file:///\n')
    strays = {
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_NAMESPACE": "nowhere",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_CONFIG_PARAMETERS": "'http.sslVerify=false'",
        "GIT_CONFIG_COUNT": "99",
        "HOME": str(home),
    }
    for name, value in strays.items():
        monkeypatch.setenv(name, value)
    commit = local.origin.commit({CONFIG: "1"})
    environments = local.folder / "git.log.env"
    environments.unlink()
    mirror = local.mirror()

    assert bring(mirror) == {MAIN: commit}
    assert text(mirror, commit) == "1"

    assert len(git_calls()) > 3
    seen = environments.read_text().splitlines()
    assert not set(seen) & {f"{name}={value}" for name, value in strays.items()}
    assert "GIT_TERMINAL_PROMPT=0" in seen


@pytest.mark.parametrize("name", ["GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"])
def test_a_variable_that_leads_gitpython_elsewhere_is_named(
    local: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """GitPython itself reads two variables of git; whoever set one is told."""
    local.origin.commit({CONFIG: "1"})
    monkeypatch.setenv(name, "/nowhere")

    with pytest.raises(GitUnavailable, match=f"unset .*{name}"):
        bring(local.mirror())


def test_the_token_is_in_no_argument_and_no_environment(tmp_path: Path, new_mirror: NewMirror) -> None:
    """While git talks to a server with the token, `ps` shows it nowhere."""
    BareRepo(tmp_path / "origin.git").commit({CONFIG: "1"})
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    with serving(tmp_path, token=TOKEN) as server:
        mirror = new_mirror(server.url("origin.git"), access=Access(token_file=token_file))
        mirror.known_heads()
        server.hold.set()

        def look() -> None:
            with pytest.raises(GitUnavailable):
                mirror.heads([MAIN])

        owner = threading.Thread(target=look)
        owner.start()
        # Two requests: without the token, then with it. The second one hangs.
        eventually(lambda: server.requests == 2, within=5.0)

        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        seen = [
            proc(pid, "cmdline") + proc(pid, "environ")
            for pid in pids
            if str(tmp_path) in proc(pid, "environ")
        ]
        mirror.interrupt()
        owner.join(5.0)

    assert any("git-remote-http" in text for text in seen)
    assert not [text for text in seen if TOKEN in text]
    assert not owner.is_alive()


def test_the_token_is_given_to_its_own_server_only(tmp_path: Path, new_mirror: NewMirror) -> None:
    """A proxy or another host that asks for a password gets nothing."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\nsecond line\n")
    mirror = new_mirror(
        "https://git.example.com:8443/x.git", access=Access(token_file=token_file, username="ada")
    )
    mirror.known_heads()
    environment = mirror._remote.environment(tmp_path / "mirror.git")

    def ask(prompt: str) -> tuple[int, str]:
        askpass = environment["GIT_ASKPASS"]
        done = subprocess.run(
            [askpass, prompt], env=environment, capture_output=True, text=True, check=False, timeout=5
        )
        return done.returncode, done.stdout

    assert ask("Username for 'https://git.example.com:8443': ") == (0, "ada\n")
    assert ask("Password for 'https://ada@git.example.com:8443': ") == (0, TOKEN + "\n")
    for other in (
        "http://git.example.com:8443",
        "https://proxy.example.com",
        "https://git.example.com:84430",
    ):
        scheme, host = other.split("://")
        assert ask(f"Username for '{other}': ") == (1, "")
        assert ask(f"Password for '{scheme}://ada@{host}': ") == (1, "")
    assert stat.S_IMODE((tmp_path / "mirror.git" / "askpass").stat().st_mode) == 0o700
