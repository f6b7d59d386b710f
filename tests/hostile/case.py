"""What a hostile repository is: its name, its maker, and the state in which it must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployer.core.types import Absent, Desired, Invalid, NotRead
from tests.hostile.forge import Forge

State = type[Desired] | type[Invalid] | type[Absent] | type[NotRead]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One repository.

    `ends` is the kind of what is published of it; `says` is in the sentence that goes with that. `branch` is
    the one that the environment follows. `served`: over HTTP, by a server that sends the files `served` and
    `pack` as they are. `shares`: git itself follows it outside, as it does for anybody who may write the
    repository's own files; no push can bring it about.
    """

    name: str
    what: str
    write: Callable[[Forge], object]
    ends: State
    says: str = ""
    branch: str = "main"
    served: bool = False
    shares: bool = False
