"""What every check of the doctor needs to know, and what is to be cleaned up after all of them.

Owns the scratch folder and the git mirrors in it. Must not check anything. Invariant: once the block is left,
no git process that was started here runs, and nothing of it is on disk.
"""

from __future__ import annotations

import os
import pwd
import re
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.core.sentences import sentence
from deployer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_SECONDS = 30.0
"""For what only looks at this machine: milliseconds, unless a network disk hangs."""

_FIRST_SENTENCE = re.compile(r"(.+?)\.\s+(?=[A-Z`])(.+)", re.DOTALL)


@dataclass(kw_only=True)
class Site:
    """The settings, from which file, how long a server may take, and where the checks may write.

    `ends` are called when all is over, for what a check that was given up has left running.
    """

    settings: Settings
    file: Path
    named_by: str
    seconds: float
    scratch: Path
    ends: list[Callable[[], None]] = field(default_factory=list)

    @property
    def patience(self) -> float:
        """The deadline of a check that asks a server: for two questions, on a machine that is loaded."""
        return 2 * self.seconds + 5

    @property
    def daemon_uid(self) -> int:
        """Whose the daemon is: the owner of the state directory; ours, while there is none."""
        try:
            return self.settings.state_dir.stat().st_uid
        except OSError:
            return os.geteuid()

    @property
    def is_closed(self) -> bool:
        """Whether the state directory is another user's, and closed to us, as it should be."""
        return self.is_others and not os.access(
            self.settings.state_dir, os.R_OK | os.X_OK, effective_ids=True
        )

    @property
    def is_others(self) -> bool:
        """Whether the daemon is another user's, so that what we may not read says nothing of what it may."""
        return os.geteuid() not in {0, self.daemon_uid}


@contextmanager
def standing(settings: Settings, file: Path, named_by: str, seconds: float) -> Iterator[Site]:
    """A site for the length of the block."""
    # A mirror may still be written to by a git that is about to be killed.
    with tempfile.TemporaryDirectory(prefix="deployer-doctor-", ignore_cleanup_errors=True) as scratch:
        site = Site(settings=settings, file=file, named_by=named_by, seconds=seconds, scratch=Path(scratch))
        try:
            yield site
        finally:
            for end in site.ends:
                end()


def split(message: str, otherwise: str) -> tuple[str, str]:
    """A message of several sentences as what is the case, and what to do; `otherwise` if it says no more."""
    found = _FIRST_SENTENCE.fullmatch(message.strip())
    if found is None:
        return message.strip().rstrip("."), otherwise
    return found[1], sentence(found[2])


def closed(site: Site) -> str:
    """What is said of everything in a state directory that we may not enter."""
    owner = user(site.daemon_uid)
    return f"only {owner}, who runs the daemon, can see it: type `sudo -u {owner} deployer doctor`"


def user(uid: int) -> str:
    """A user's name, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def is_loopback(host: str | None) -> bool:
    """Whether what is sent there stays on this machine."""
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
