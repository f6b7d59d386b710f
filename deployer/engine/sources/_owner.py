"""The one thread that owns a repository's mirror: when to look, what to publish, what to say.

Owns the timing and the trouble of one repository. Must not know other repositories. Invariant: nothing
that git, the network or a file does ends the thread, and nothing that was published is taken back because
a repository cannot be read.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from deployer.adapters.git import GitUnavailable, Mirror, local_git_dir
from deployer.core.types import NotRead
from deployer.engine.sources._reading import EnvironmentReader
from deployer.engine.sources._values import RefMoved, RepositoryLook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deployer.core.types import Wanted
    from deployer.engine.sources._values import EnvironmentSource, RepositorySpec
    from deployer.engine.sources._watch import Watcher

_SOON_SECONDS = 3.0
"""Between looks after activity: who pushed once pushes again, and waits for it."""

_ACTIVE_SECONDS = 120.0
"""How long a branch that moved counts as activity."""

_FIRST_RETRY_SECONDS = 2.0
"""After the first failure. Most are a network that blinks, or a machine that is still booting."""

_LAST_RETRY_SECONDS = 300.0
"""The longest pause. Forges count failing requests too: 50 repositories in error ate a token's quota."""

_JITTER = 0.1
"""Part of every pause that is left to chance, or 100 repositories ask one server in the same instant."""

_SETTLE_SECONDS = 0.02
"""After a look, before the next. A push of many branches is one look and one more, not one for each."""

log = structlog.get_logger(__name__)


class Owner:
    """Follows one repository in its own thread, from `start` to `stop`."""

    def __init__(
        self,
        spec: RepositorySpec,
        sources: Sequence[EnvironmentSource],
        *,
        mirror_path: Path,
        publish: Callable[[str, Wanted], None],
        on_look: Callable[[RepositoryLook], None],
    ) -> None:
        """Take the repository and its environments. Raises ValueError for a URL that cannot be used."""
        self._spec = spec
        self._mirror = Mirror(
            mirror_path, spec.url, token_file=spec.token_file, username=spec.username, ca_file=spec.ca_file
        )
        self._unread = {source.environment: EnvironmentReader(source) for source in sources}
        self._refs = sorted({source.ref for source in sources})
        self._publish = publish
        self._on_look = on_look
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
