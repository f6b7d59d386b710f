"""Keys to sign commits with, and commits that real git signs with them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.support.prerequisites import require
from tests.support.repos import ADA

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.repos import BareRepo

_SECONDS = 20.0

_IN_2020 = """\
#!/bin/sh
exec gpg --faked-system-time 20200101T120000 "$@"
"""

_FOR_A_DAY = """\
#!/bin/sh
exec gpg --faked-system-time 20200101T120000 --default-sig-expire 1d "$@"
"""


class Keys:
    """Key pairs of ssh and GPG, each `ada` and `eve`; of GPG also `old`, which has expired, and `lost`.

    All GPG keys are of 2020-01-01. `ids` has the fingerprints: `ssh_ada`, `gpg_ada`, and that of a subkey,
    `gpg_ada_sub`.
    """

    def __init__(self, folder: Path) -> None:
        """Make them: 0.3 s."""
        require("gpg", shutil.which("gpg") is not None, "apt-get install gnupg")
        require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")
        self.folder = folder
        self.ids: dict[str, str] = {}
        (folder / "gnupg").mkdir(mode=0o700)
        for name in ("ada", "eve"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
            self.ids[f"ssh_{name}"] = self._run("ssh-keygen", "-l", "-f", str(folder / name)).split()[1]
        for name, script in (("in-2020", _IN_2020), ("for-a-day", _FOR_A_DAY)):
            (folder / name).write_text(script)
            (folder / name).chmod(0o700)
        for name, expires in (("ada", "0"), ("eve", "0"), ("old", "1d"), ("lost", "0")):
            person = f"{name.title()} <{name}@example.com>"
            self.gpg(
                "--passphrase",
                "",
                "--quick-generate-key",
                person,
                "ed25519",
                "sign",
                expires,
                program="in-2020",
            )
            listed = self.gpg("--with-colons", "--list-keys", f"{name}@example.com")
            self.ids[f"gpg_{name}"] = _fingerprints(listed)[0]
        primary = self.ids["gpg_ada"]
        add = ("--passphrase", "", "--quick-add-key", primary, "ed25519", "sign", "0")
        try:
            self.gpg(*add, program="in-2020")
        except subprocess.CalledProcessError:
            # Seen once in some hundred times on a busy machine: exit code 2, and the second try is well.
            self.gpg(*add, program="in-2020")
        self.ids["gpg_ada_sub"] = _fingerprints(self.gpg("--with-colons", "--list-keys", primary))[1]

    def close(self) -> None:
        """End gpg's agent, which signing has started."""
        self._run("gpgconf", "--kill", "gpg-agent")

    def public(self, name: str) -> str:
        """An ssh key as a line of allowed signers ends with it."""
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def export(self, path: Path, *names: str, armor: bool = False, revoked: bool = False) -> Path:
        """Write GPG public keys into a file; with the certificate that revokes them."""
        addresses = [f"{name}@example.com" for name in names]
        self.gpg("--yes", *["--armor"] * armor, "--output", str(path), "--export", *addresses)
        for name in names if revoked else ():
            lines = (
                self.folder / "gnupg" / "openpgp-revocs.d" / f"{self.ids[f'gpg_{name}']}.rev"
            ).read_text()
            # gpg guards it with a colon, so that nobody imports it by mistake.
            certificate = lines[lines.index(":-----BEGIN") :].replace(":-----", "-----")
            path.write_text(path.read_text() + certificate)
        return path

    def gpg(self, *arguments: str, program: str = "") -> str:
        """Run gpg with these keys."""
        return self._run(str(self.folder / program) if program else "gpg", "--batch", "--quiet", *arguments)

    def sign(
        self,
        repo: BareRepo,
        *,
        ssh: str = "",
        gpg: str = "",
        program: str = "",
        at: str = "2023-11-14T22:00:00Z",
        committer: str = ADA,
        message: str = "change",
    ) -> str:
        """Commit the tree of `main` once more on top of it, signed with an ssh or a GPG key; its id."""
        options = []
        if ssh:
            options = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.folder / ssh}"]
        if gpg:
            options = ["-c", f"user.signingKey={self.ids[f'gpg_{gpg}']}!"]
        if program:
            options += ["-c", f"gpg.program={self.folder / program}"]
        sign = ["-S"] * bool(ssh or gpg)
        commit = self._run(
            "git",
            f"--git-dir={repo.path}",
            *options,
            *("commit-tree", *sign, "-p", "main", "-m", message, "main^{tree}"),
            **_people(ADA, committer, at),
        )
        repo.branch("main", commit)
        return commit

    def sign_tag(self, repo: BareRepo, name: str, commit: str, *, ssh: str) -> None:
        """Make a signed tag of a commit."""
        options = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.folder / ssh}"]
        people = _people(ADA, ADA, "2023-11-14T22:00:00Z")
        self._run("git", f"--git-dir={repo.path}", *options, "tag", "-s", "-m", name, name, commit, **people)

    def _run(self, *command: str, **variables: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        clean |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
        clean |= {"GNUPGHOME": str(self.folder / "gnupg"), **variables}
        return subprocess.run(
            command, env=clean, capture_output=True, check=True, timeout=_SECONDS, text=True
        ).stdout.strip()


def _fingerprints(listed: str) -> list[str]:
    return re.findall(r"^fpr:+([0-9A-F]+):", listed, re.MULTILINE)


def _people(author: str, committer: str, at: str) -> dict[str, str]:
    variables: dict[str, str] = {}
    for role, person in (("AUTHOR", author), ("COMMITTER", committer)):
        name, _, address = person.rstrip(">").partition(" <")
        variables |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": address, f"GIT_{role}_DATE": at}
    return variables
