"""What a person wants planned, and against what: refs, folders, releases, the cluster.

Owns the order in which they are read. Must not put the plan together: that is `engine.planner`. Invariant:
the cluster is looked at before a config is read, because the schema to read it with is that of its Ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.engine import planner
from deployer.engine.planner import LIVE, RELEASE

if TYPE_CHECKING:
    from deployer.cli.desk import Desk
    from deployer.core.planning import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is planned (a ref, or a folder; neither is the branch that is followed), and against what."""

    ref: str | None = None
    folder: str | None = None
    against: str = LIVE


def plan(desk: Desk, environment: str, wish: Comparison) -> Plan:
    """The plan for one environment. Raises Failure if a side cannot be read."""
    if wish.against == LIVE:
        desk.look(environment)
    new = desk.side(wish.folder, environment) if wish.folder else desk.ref(environment, wish.ref)
    if wish.against in {LIVE, RELEASE}:
        return planner.plan(desk, environment, new, LIVE if wish.against == LIVE else RELEASE)
    return planner.plan(desk, environment, new, desk.side(wish.against, environment))
