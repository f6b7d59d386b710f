"""One rollout, or one event, in full: from the store of this machine's daemon.

Owns the opening of what they are read from. Must not print. Invariant: nothing is written.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployer.cli import context

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from deployer.engine.dossiers import Dossiers


@contextmanager
def opened(ctx: click.Context) -> Iterator[Dossiers]:
    """Open it inside the `with` block. Raises Failure where the store cannot be read."""
    settings = context.settings(ctx)
    with context.reading(settings) as store:
        from deployer.engine.dossiers import Dossiers

        clusters = {name: one.cluster.address for name, one in settings.environments.items()}
        yield Dossiers(store, clusters)
