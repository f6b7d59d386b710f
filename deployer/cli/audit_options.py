"""The options by which `deployer audit` is told which events.

Owns their names and words. Must not read anything. Invariant: `list` and `export` take the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployer.cli import completing
from deployer.cli.when import When

if TYPE_CHECKING:
    from collections.abc import Callable

_RESULTS = ("in_progress", "good", "failed", "superseded", "cancelled")
"""`deployer.core.record.Result`, whose import a shell that completes a name would wait for."""

_FILTERS = (
    click.option(
        "-e", "--environment", metavar="ENV", shell_complete=completing.environments, help="Only of this one."
    ),
    click.option("--actor", metavar="NAME", help="Only what this person, or `deployer` by itself, did."),
    click.option("--type", metavar="TYPE", help="Only of this type, such as paused or rollback_asked."),
    click.option("--result", type=click.Choice(_RESULTS), help="Only events of rollouts that ended so."),
    click.option("--rollout", metavar="ID", help="Only events of this rollout, such as production#42."),
    click.option(
        "--revision",
        metavar="COMMIT",
        help="Only events of rollouts of this commit (its beginning will do), and others that are about it.",
    ),
    click.option(
        "--digest",
        metavar="DIGEST",
        help="Likewise for a digest, with or without `sha256:`.",
    ),
    click.option("--since", type=When(), help="Only since: 2h (ago), 2026-11-23, or a full time."),
    click.option("--until", type=When(), help="Only before then."),
)


def filtered(command_of: Callable[..., None]) -> Callable[..., None]:
    """The options that say which events, by the names of `audit_log.Wish`."""
    for one in reversed(_FILTERS):
        command_of = one(command_of)
    return command_of
