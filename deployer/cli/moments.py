"""`deployer history ENV --at TIME`: what was live then, how it stood, and who brought it there.

Owns how the moment is typed, and how the answer is printed. Must not find the answer. Invariant: one moment
of one environment is asked for, and what else is typed beside it is refused with what to type instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deployer.cli import context, reads
from deployer.cli.main import option
from deployer.cli.when import When
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOW = "now"

_BESIDE = frozenset({"environment", "at", "config", "output"})
"""What may be typed beside --at. Options of the server are not among a command's parameters."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time. None is now, by the clock of whoever answers; `typed` is what was typed."""

    time: datetime | None
    typed: str


class AMoment(click.ParamType[Moment]):
    """`now`, and whatever `When` takes."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:  # noqa: ANN401 - click's
        """The moment."""
        if isinstance(value, Moment):
            return value
        typed = str(value)
        if typed == _NOW:
            return Moment(None, typed)
        return Moment(When().convert(typed, param, ctx), typed)


def show(ctx: click.Context, environment: str | None, moment: Moment) -> None:
    """Print what was live in the environment at this moment."""
    _require_alone(ctx, environment, moment)
    with reads.opened(ctx, environment) as source:
        told = source.at(str(environment), moment.time)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(told, form)
        return
    for line in told["says"]:
        click.echo(plain(line))


def _require_alone(ctx: click.Context, environment: str | None, moment: Moment) -> None:
    """Raise UsageError unless one environment is asked for, and nothing that chooses among rollouts."""
    typed = f"'{plain(moment.typed)}'" if " " in moment.typed else plain(moment.typed)
    command = f"`deployer history {environment or 'ENV'} --at {typed}`"
    if environment is None:
        message = f"--at is for one environment: {command}."
        raise click.UsageError(message)
    others = list(_others(ctx))
    if others:
        message = f"--at takes no {' and no '.join(others)}: {command} tells what was live at that moment."
        raise click.UsageError(message)


def _others(ctx: click.Context) -> Iterable[str]:
    """The options beside it that were typed."""
    for param in ctx.command.params:
        is_typed = ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if is_typed and param.expose_value and param.name not in _BESIDE:
            yield param.opts[-1]
