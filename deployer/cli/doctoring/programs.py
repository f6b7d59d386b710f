"""The programs that the settings need: git and its version, and for ssh and signatures those beside it.

Owns which version is enough for what. Must not know repositories. Invariant: it runs nothing but
`git version`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from deployer.cli.doctoring.finding import Check, fail, ok, warn
from deployer.cli.doctoring.site import LOCAL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.cli.doctoring.finding import Finding
    from deployer.cli.doctoring.site import Site
    from deployer.settings import Settings

_GIT_SECONDS = 10.0

_LEAST = (2, 31)
"""The first git that takes its configuration from the environment (GIT_CONFIG_COUNT): an older one would run
without every protection that the daemon gives it."""

_SSH_SIGNATURES = (2, 34)
"""The first that verifies signatures by ssh keys (gpg.ssh.allowedSignersFile)."""

_VERSION = re.compile(r"git version (\d+)\.(\d+)\S*")

_INSTALL = {
    "ssh": "Install it (Debian: apt-get install openssh-client).",
    "ssh-keygen": "Install it (Debian: apt-get install openssh-client).",
    "gpg": "Install it (Debian: apt-get install gnupg).",
}


def checks(site: Site) -> Iterator[Check]:
    """git, and each other program that is needed."""
    signs_by_ssh = "ssh-keygen" in needed(site.settings)
    yield Check(group="git", subject="git", limit=LOCAL_SECONDS, ask=partial(_git, signs_by_ssh=signs_by_ssh))
    for program, why in needed(site.settings).items():
        yield Check(group="git", subject=program, limit=LOCAL_SECONDS, ask=partial(_program, program, why))


def needed(settings: Settings) -> dict[str, str]:
    """The programs besides git, each with what it is needed for."""
    found: dict[str, str] = {}
    for name, repository in settings.repositories.items():
        if is_ssh(repository.url):
            found.setdefault("ssh", f"repository {name}")
    if settings.audit is not None:
        if settings.audit.push is not None and is_ssh(settings.audit.push.url):
            found.setdefault("ssh", "audit.push")
        found.setdefault("ssh-keygen", "the checkpoints of the audit log")
    for name, environment in settings.environments.items():
        wanted = environment.signatures
        if wanted.verify != "none" and wanted.allowed_signers_file is not None:
            found.setdefault("ssh-keygen", f"the signatures of {name}")
        if wanted.verify != "none" and wanted.gpg_keyring_file is not None:
            found.setdefault("gpg", f"the signatures of {name}")
    return found


def is_ssh(url: str) -> bool:
    """Whether this is an address for ssh: `ssh://`, or `git@host:path`."""
    return url.startswith("ssh://") or ("://" not in url and not url.startswith("/"))


def judge_git(printed: str, *, signs_by_ssh: bool) -> Finding:
    """What this answer of `git version` means."""
    found = _VERSION.match(printed)
    if found is None:
        return fail(
            "it does not say its version", "Install git 2.34 or newer, and see that it is first in PATH."
        )
    shown = printed.split()[2]
    version = int(found[1]), int(found[2])
    if version < _LEAST:
        return fail(
            f"{shown} is too old: it ignores what the daemon sets for its safety",
            "Install git 2.34 or newer (2.31 at least).",
        )
    if version < _SSH_SIGNATURES:
        says = f"{shown} cannot verify signatures by ssh keys"
        if signs_by_ssh:
            return fail(says, "Install git 2.34 or newer: the settings name an allowed_signers_file.")
        return warn(says, "Install git 2.34 or newer before you ask for signatures.")
    return ok(shown)


def _git(*, signs_by_ssh: bool) -> Iterator[Finding]:
    program = shutil.which("git")
    if program is None:
        yield fail("not found in PATH", "Install it (Debian: apt-get install git).")
        return
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [program, "version"], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield fail("it does not even say its version", f"Look at what {program} is.")
        return
    yield judge_git(done.stdout, signs_by_ssh=signs_by_ssh)


def _program(program: str, why: str) -> Iterator[Finding]:
    path = shutil.which(program)
    if path is None:
        yield fail(f"not found in PATH, and {why} needs it", _INSTALL[program])
    else:
        yield ok(f"{path}, for {why}")
