"""What git says of an environment: its `revision`, its `digest`, or the `problem` with it, as a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from deployer.core import sentences
from deployer.core.types import Absent, Desired, Invalid, NotRead, Rewritten, Unverified

if TYPE_CHECKING:
    from deployer.core.types import Wanted


def git_says(wanted: Wanted) -> dict[str, Any]:
    """What git wants, or why it wants nothing that can be deployed."""
    match wanted:
        case Desired(release=release):
            return {"revision": release.revision.commit, "digest": release.digest, "problem": None}
        case Invalid(revision=revision):
            problem = f"{revision.short} cannot be deployed: {sentences.problems(wanted)}"
            return {"revision": revision.commit, "digest": None, "problem": problem}
        case Unverified(revision=revision, why=why) | Rewritten(revision=revision, why=why):
            problem = f"{revision.short} is not deployed: {why}"
            return {"revision": revision.commit, "digest": None, "problem": problem}
        case Absent(why=why) | NotRead(why=why):
            return {"revision": None, "digest": None, "problem": why}
        case _:
            assert_never(wanted)
