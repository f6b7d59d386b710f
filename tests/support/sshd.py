"""A real ssh server: Debian's sshd as a process of the test's own, with its own keys, on a loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.eventually import eventually
from tests.support.free_port import free_port
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 10.0

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
AcceptEnv GIT_PROTOCOL
PrintMotd no
PrintLastLog no
PermitUserRC no
AllowAgentForwarding yes
UseDNS no
# The quickest: a new connection for each call of git is most of the time that the tests take.
KexAlgorithms curve25519-sha256
ForceCommand {folder}/serve
"""

_SERVE = """\
#!/bin/sh
# What a forge does: git, and nothing else.
case "$SSH_ORIGINAL_COMMAND" in
git-upload-pack*{more}) eval "exec $SSH_ORIGINAL_COMMAND" ;;
*) exit 1 ;;
esac
"""


class SshServer:
    """An ssh server that serves `git-upload-pack` on this machine's repositories to one key.

    With `takes_pushes` also `git-receive-pack`.

    `key_file` and `known_hosts_file` are what a client needs; `log` is what the server says. The names of the
    client's files have spaces and signs: ssh, and the shell before it, read names in ways of their own.
    """

    def __init__(self, folder: Path, *, takes_pushes: bool = False) -> None:
        """Make the keys of the server and of its one client."""
        self._folder = folder
        folder.mkdir(exist_ok=True)
        client = folder / "client's keys, 100%h"
        client.mkdir()
        self.key_file = client / "id"
        self.known_hosts_file = client / "known hosts"
        self.log = folder / "sshd.log"
        self.port = free_port()
        for path in (folder / "host", self.key_file):
            new_key(path)
        (folder / "authorized").write_bytes((client / "id.pub").read_bytes())
        serve = folder / "serve"
        serve.write_text(_SERVE.format(more=" | git-receive-pack*" if takes_pushes else ""))
        serve.chmod(0o700)
        self.write_known_hosts()

    def url(self, path: Path) -> str:
        """The URL of a repository on this machine."""
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}{path}"

    def write_known_hosts(self, public_key: Path | None = None, port: int | None = None) -> None:
        """Let the client know the server by its key, or another's; at its port, or that of a proxy."""
        key = (public_key or self._folder / "host.pub").read_text()
        self.known_hosts_file.write_text(f"[127.0.0.1]:{port or self.port} {key}")

    def change_host_key(self) -> None:
        """Another key for the server; takes effect when it is started again."""
        (self._folder / "host").unlink()
        new_key(self._folder / "host")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the block ends."""
        config = self._folder / "sshd_config"
        config.write_text(_CONFIG.format(port=self.port, folder=self._folder))
        if os.getuid() == 0:
            # Where it puts a process that has no rights yet. Debian makes it when the service starts.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # By its whole path, which it demands; the logins are in its session, to be ended with it.
        command = [_program(), "-D", "-f", str(config), "-E", str(self.log)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as server:
            try:
                eventually(self._answers, within=_SECONDS, every=0.01, what="sshd answers")
                yield
            finally:
                server.terminate()

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


def new_key(path: Path, *, passphrase: str = "") -> None:
    """A new key pair, at `path` and `path.pub`."""
    require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(made, check=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)


def _program() -> str:
    # Not in the PATH of a plain user.
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    require("sshd", found is not None, "apt-get install openssh-server")
    return str(found)
