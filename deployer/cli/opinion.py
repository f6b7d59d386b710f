"""What `approve` and `reject` share: the plan is shown, and what is said of it is said of that plan alone.

Owns the question at a terminal, and the choice of the plan. Must not decide whose word counts. Invariant:
nobody approves what they could not have seen: it is either shown here and confirmed, or named by its digest.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import client, completing
from deployer.cli.client import NotNow, say
from deployer.cli.main import Exit, Failure, option
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.cli.client import Daemon

_PLAN = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")
"""As a plan's last line shows its digest, or longer."""

_PUBLISHED_SECONDS = 10.0
"""For the look after it: so long it is asked what is still missing. A pass takes milliseconds."""

_POLL_SECONDS = 0.2


def of_a_plan(function: Callable[..., None]) -> Callable[..., None]:
    """The environment, and --plan: what both commands take."""
    plan = click.option(
        "--plan",
        metavar="DIGEST",
        shell_complete=completing.plans,
        help="The plan that you have seen, by the digest in its last line. Default: it is shown, and"
        " confirmed.",
    )
    environment = click.argument("environment", shell_complete=completing.environments)
    return environment(plan(function))


def give(ctx: click.Context, command: str, environment: str, order: dict[str, Any], plan: str | None) -> None:
    """Say it to the daemon. `command` is approve or reject, `plan` what was typed as --plan."""
    if plan is not None and not _PLAN.fullmatch(plan):
        message = "--plan takes the digest at the end of `deployer plan`: sha256: and 12 digits or more."
        raise click.UsageError(message)
    daemon = client.daemon(ctx, environment, is_personal=True)
    shown = daemon.get(environment, "plan")
    digest: str = shown["digest"]
    is_table = (option(ctx, "output") or "table") == "table"
    if plan is None:
        if not order["dry_run"]:
            # Whose word would not count is told so before anything is read.
            daemon.post(environment, command, {**order, "plan": digest, "dry_run": True})
        _ask(command, environment, shown, is_dry=order["dry_run"])
    elif not digest.removeprefix("sha256:").startswith(plan.removeprefix("sha256:")):
        message = (
            f"What a deploy to {environment} would do is another plan now: {digest[:19]}. Nothing was done:"
            f" look at it with `deployer plan {environment}`."
        )
        raise Failure(message, Exit.REFUSED)
    answer = daemon.post(environment, command, {**order, "plan": digest})
    say(ctx, answer)
    if is_table and not order["dry_run"]:
        _what_is_missing(daemon, environment)


def _ask(command: str, environment: str, shown: dict[str, Any], *, is_dry: bool) -> None:
    """Show the plan, and have a person confirm it. Raises Failure where there is nobody who could."""
    from deployer.cli.plan_there import text

    click.echo(text(shown), err=True)
    if is_dry:
        return
    if not sys.stdin.isatty():
        message = (
            f"There is no terminal to ask at: look at this plan, then"
            f" `deployer {command} {environment} --plan {shown['digest'][:19]}`."
        )
        raise Failure(message, Exit.USAGE)
    if not click.confirm(f"{command.capitalize()} this for {environment}?", err=True):
        message = "Nothing was done."
        raise Failure(message, Exit.REFUSED)


def _what_is_missing(daemon: Daemon, environment: str) -> None:
    """Print where the environment stands after it, as soon as a pass has seen it."""
    deadline = time.monotonic() + _PUBLISHED_SECONDS
    while time.monotonic() < deadline:
        try:
            state = daemon.poll(environment)
        except NotNow:
            return
        if state["is_current"]:
            click.echo(f"{environment}: {plain(state['message'])}")
            return
        time.sleep(_POLL_SECONDS)
