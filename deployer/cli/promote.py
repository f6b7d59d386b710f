"""`deployer promote`: bring the very commit that is good in one environment to the branch of the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployer.cli import client, completing, waiting
from deployer.cli.client import Duration, of_a_start, possible_environment, say, skipping, writing
from deployer.cli.main import Exit, common_options
from deployer.cli.patience import end, wait
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from deployer.cli.waiting import Ending


@click.command()
@click.argument("source", metavar="FROM", shell_complete=completing.environments)
@click.argument("target", metavar="TO", shell_complete=completing.environments)
@click.option(
    "--release",
    metavar="RELEASE",
    shell_complete=completing.releases,
    help="A rollout that ended well in FROM (staging#3 or 3), the beginning of a commit, or a digest."
    " Default: the newest that became good there.",
)
@click.option(
    "--pull-request",
    "by_pull_request",
    is_flag=True,
    help="Open a pull request at the forge, also where it could be pushed: for a branch with commits of its"
    " own.",
)
@click.option(
    "--wait", "is_waiting", is_flag=True, help="Return when it is good in TO, or cannot be, as sync does."
)
@click.option(
    "--timeout", type=Duration(), default="30m", show_default=True, help="How long to wait at most."
)
@skipping
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    target: str,
    release: str | None,
    by_pull_request: bool,  # noqa: FBT001 - click passes a flag as a boolean
    is_waiting: bool,  # noqa: FBT001 - as above
    timeout: float,
    skip: tuple[str, ...],
    reason: str,
    dry_run: bool,  # noqa: FBT001 - as above
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Promote what is good in FROM to TO: the branch that TO follows is pushed to that very commit.

    Where both follow one branch, what FROM's folder says is copied into TO's instead, by a commit. The branch
    is only ever moved forwards; where it has commits of its own, they are named. The gates of TO are waited
    for after that, but for those in --skip; `soak` among them is a hotfix: it promotes what FROM still tries.
    Where the daemon has no credential for pushing, the git commands are printed (exit code 7). A pull request
    is not waited for (exit code 6).
    """
    daemon = client.daemon(ctx, target)
    order: dict[str, Any] = {
        "source": possible_environment(source),
        "release": release,
        "skip": list(skip),
        "reason": reason,
        "dry_run": dry_run,
    }
    if by_pull_request:
        order["pull_request"] = True
    answer = daemon.post(target, "promote", order)
    if dry_run or not is_waiting:
        say(ctx, answer)
        return
    if answer.get("by_pull_request"):
        say(ctx, answer)
        why = "Nothing is deployed before a person merges the pull request, so nothing was waited for."
        click.echo(why, err=True)
        ctx.exit(Exit.TIMED_OUT)
    click.echo(plain(answer["message"]), err=True)
    promoted = waiting.Sync.of(answer)

    def ending(state: dict[str, Any]) -> Ending | None:
        if not promoted.is_answered_by(state):
            promoted.ask_again(of_a_start(state))
            return None
        return promoted.ending(state)

    end(ctx, target, wait(daemon, target, ending, timeout_seconds=timeout))
