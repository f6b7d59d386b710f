"""`deployer doctor`: is everything that the daemon needs there, right, and safe?

Owns the order of the lines, how they look, and the exit code. Must not know how anything is checked.
Invariant: it changes nothing (SQLite lays its empty log beside a store that is read, as for `status`); each
failure has its next step; text from outside is made harmless first.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context
from deployer.cli.client import Duration
from deployer.cli.doctoring import finding
from deployer.cli.doctoring.finding import GROUPS, Check, Finding, State
from deployer.cli.main import Exit, common_options, option
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from deployer.cli.doctoring.site import Site
    from deployer.settings import Settings

_TIMEOUT = "10s"
"""A forge under load takes seconds; who has said nothing by then is as good as down."""

_SHOWN_IN_SECONDS = 0.1

_WIDEST = 40
"""A longer subject pushes its own line to the right, and no other."""

_LABELS = {State.OK: "ok  ", State.WARN: "warn", State.FAIL: "FAIL", State.SKIP: "skip"}
_COLOURS = {State.OK: "green", State.WARN: "yellow", State.FAIL: "red", State.SKIP: "cyan"}

_GROUPS = ", ".join(GROUPS)


class _Groups(click.ParamType[tuple[str, ...]]):
    """Names of groups, with commas between."""

    name = "groups"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        """Those that were named, in the order of the lines."""
        if isinstance(value, tuple):
            return value
        named = {word.strip() for word in str(value).split(",")}
        if unknown := sorted(named.difference(GROUPS)):
            self.fail(f"'{unknown[0]}' is none of {_GROUPS}.", param, ctx)
        return tuple(group for group in GROUPS if group in named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One finding, with what it is about."""

    check: Check
    finding: Finding


@click.command()
@click.option("--only", type=_Groups(), default=GROUPS, help=f"Some of {_GROUPS}; with commas between.")
@click.option(
    "--timeout",
    type=Duration(),
    default=_TIMEOUT,
    help=f"How long a server may take for one answer. Default: {_TIMEOUT}.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    only: tuple[str, ...],
    timeout: float,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Check everything that the daemon needs, and say what to do about what is wrong. Changes nothing.

    Exit code 1 if anything failed; warnings do not count.
    """
    from deployer.cli.doctoring.site import standing

    if timeout <= 0:
        message = "--timeout must be longer than 0s."
        raise click.UsageError(message)
    settings = context.settings(ctx)
    form = option(ctx, "output") or "table"
    with standing(settings, *_place(option(ctx, "config")), timeout) as site:
        checks = list(_checks(site, only))
        width = min(_WIDEST, max((len(check.subject) for check in checks), default=0))
        lines = []
        for check, findings in finding.run(checks):
            new = [Line(check=check, finding=one) for one in findings]
            lines += new
            if form == "table":
                for line in new:
                    click.echo(text(line, width, is_coloured=not os.environ.get("NO_COLOR")))
    if form == "table":
        click.echo(summary(lines))
    else:
        context.emit(to_json(lines), form)
    ctx.exit(Exit.FAILED if any(line.finding.state is State.FAIL for line in lines) else Exit.OK)


def report(settings: Settings, config: str | None) -> dict[str, Any]:
    """What `deployer doctor -o json` prints of these settings, for the daemon's page. Takes seconds."""
    from deployer.cli.doctoring.site import standing
    from deployer.core import durations

    with standing(settings, *_place(config), durations.parse(_TIMEOUT)) as site:
        found = finding.run(list(_checks(site, GROUPS)))
        return to_json(Line(check=check, finding=one) for check, findings in found for one in findings)


def text(line: Line, width: int, *, is_coloured: bool) -> str:
    """The line for people, and a second one for the next step. click takes the colours out for a pipe."""
    found = line.finding
    label = _LABELS[found.state]
    if is_coloured:
        label = click.style(label, fg=_COLOURS[found.state], bold=found.state is State.FAIL)
    took = "" if found.seconds is None else f" ({_took(found.seconds)})"
    first = f"{label}  {_clean(line.check.subject):<{width}}  {_clean(found.says)}{took}"
    return f"{first}\n      -> {_clean(found.next_step)}" if found.next_step else first


def summary(lines: Sequence[Line]) -> str:
    """How many of each, as in: 14 ok, 2 warnings, 1 failed, 1 not checked."""
    count = Counter(line.finding.state for line in lines)
    parts = [f"{count[State.OK]} ok"]
    if count[State.WARN]:
        parts.append(f"{count[State.WARN]} warning{'' if count[State.WARN] == 1 else 's'}")
    parts.append(f"{count[State.FAIL]} failed")
    if count[State.SKIP]:
        parts.append(f"{count[State.SKIP]} not checked")
    return f"{', '.join(parts)}."


def to_json(lines: Iterable[Line]) -> dict[str, Any]:
    """As docs/json.md has it."""
    lines = list(lines)
    count = Counter(line.finding.state for line in lines)
    return {
        "findings": [
            {
                "group": line.check.group,
                "subject": _clean(line.check.subject),
                "state": line.finding.state.value,
                "says": _clean(line.finding.says),
                "next_step": _clean(line.finding.next_step) or None,
                "seconds": None if line.finding.seconds is None else round(line.finding.seconds, 3),
            }
            for line in lines
        ],
        "passed": count[State.OK],
        "warnings": count[State.WARN],
        "failed": count[State.FAIL],
        "skipped": count[State.SKIP],
    }


def _checks(site: Site, only: Sequence[str]) -> Iterator[Check]:
    from deployer.cli.doctoring import (
        anchors,
        clocks,
        clusters,
        outbox,
        programs,
        repositories,
        secret_files,
        state,
    )

    parts = {
        "settings": (state.settings_checks,),
        "git": (programs.checks, repositories.checks, anchors.git_checks),
        "files": (secret_files.checks,),
        "clusters": (clusters.checks,),
        "clock": (clocks.checks,),
        "disk": (state.disk_checks,),
        "store": (state.store_checks, outbox.store_checks, anchors.store_checks),
        "daemon": (state.daemon_checks,),
    }
    for group in only:
        for checks in parts[group]:
            yield from checks(site)


def _place(config: str | None) -> tuple[Path, str]:
    """The settings' file, which was just read, and who named it."""
    from pathlib import Path

    from deployer.settings import candidates

    files = candidates(Path(config) if config else None, os.environ)
    file = next((each for each in files if each.is_file()), files[0])
    if config:
        return file, "named by --config"
    if os.environ.get("DEPLOYER_CONFIG"):
        return file, "named by $DEPLOYER_CONFIG"
    return file, "the machine's" if file == files[-1] else "yours"


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= _SHOWN_IN_SECONDS else f"{seconds * 1000:.0f} ms"


def _clean(value: str) -> str:
    """One harmless line."""
    return " ".join(plain(value).split())
