"""From the settings to the plans below pull requests: whose forge wants them, and how one is made.

Owns that wiring, and the words of a comment's first line. Must not ask a forge. Invariant: a plan is made at
the desk of `deployer plan`, which changes nothing; a pull request names no address that is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from deployer.cli.main import Failure
from deployer.cli.repositories import access

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployer.adapters.forge import Forge, PullRequest
    from deployer.cli.desk import Desk
    from deployer.cli.plan_markdown import Part
    from deployer.core.record import Record
    from deployer.engine.after_merge import Proposed
    from deployer.engine.pr_plans import PullPlans
    from deployer.settings import Settings


def made(settings: Settings, forges: Mapping[str, Forge], load: Callable[[str], Record]) -> PullPlans:
    """Who plans what is open; nobody, where no forge wants plans. `load` is the store's."""
    wanted = {
        name: forge
        for name, forge in forges.items()
        if (asked := settings.repositories[name].forge) is not None and asked.plans
    }
    from deployer.adapters.git import Mirror
    from deployer.cli.plan_markdown import MARKER
    from deployer.engine.after_merge import Place
    from deployer.engine.pr_plans import PullPlans

    mirrors = {
        name: Mirror(
            settings.state_dir / "mirrors" / f"{quote(name, safe='')}.pulls.git",
            settings.repositories[name].url,
            access=access(settings.repositories[name]),
        )
        for name in wanted
    }
    # Who follows tags, or one commit, is moved by no merge.
    places = {
        name: Place(repository=one.repository, branch=one.branch, path=one.path)
        for name, one in settings.environments.items()
        if one.repository in wanted and one.branch is not None
    }

    def page(pull: PullRequest, base: str, touched: Sequence[Proposed], untouched: Sequence[str]) -> str:
        return comment(settings, pull, base, touched, untouched)

    return PullPlans(wanted, mirrors, places, load=load, page=page, marker=MARKER)


def comment(
    settings: Settings,
    pull: PullRequest,
    base: str,
    touched: Sequence[Proposed],
    untouched: Sequence[str],
) -> str:
    """The comment: what the merge into `base`, which is at that commit, would do to each environment."""
    from deployer.cli.desk import Desk
    from deployer.cli.plan_markdown import Part, markdown

    parts = []
    for one in touched:
        # A desk for each: one whose store or cluster fails takes no other with it.
        try:
            with Desk(settings) as desk:
                parts.append(_part(desk, one))
        except Failure as error:
            parts.append(Part(environment=one.environment, why=str(error.message)))
    parts += [Part(environment=name) for name in untouched]
    of = f"{pull.head_commit[:7]}, merged into {pull.base} as it is at {base[:7]}."
    if not touched:
        of = f"{of} It changes nothing that is deployed."
    return markdown(parts, of)


def _part(desk: Desk, one: Proposed) -> Part:
    from deployer.cli.plan_markdown import Part
    from deployer.engine import planner

    if one.why:
        return Part(environment=one.environment, why=one.why)
    # First: the schema to read the config with is that of the cluster's Ray.
    desk.look(one.environment)
    side = desk.given(one.environment, one.revision, one.config, one.rules, one.notes)
    return Part(environment=one.environment, plan=planner.plan(desk, one.environment, side))
