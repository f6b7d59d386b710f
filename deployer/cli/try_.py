"""`deployer try`: a config on a throwaway local Ray, judged as the daemon judges it."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import checking, reports
from deployer.cli.client import Duration
from deployer.cli.main import Exit, Failure, common_options, option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.cli.trial import Order, Verdict

_SHOWN_LINES = 40
"""Of an error and of a log: a traceback of Serve's has 10 to 30."""


class Resources(click.ParamType[dict[str, float]]):
    """Resources by Ray's names, as JSON: `{"CPU": 8, "GPU": 1}`."""

    name = "json"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> dict[str, float]:
        """The amounts by name."""
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(map(_is_amount, found.values())):
            self.fail('write amounts by name, as JSON: \'{"CPU": 8, "GPU": 1}\'.', param, ctx)
        return found


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value >= 0


@click.command()
@click.argument("target")
@click.option(
    "--timeout", type=Duration(), default="10m", show_default=True, help="How long all of it may take."
)
@click.option("--keep", is_flag=True, help="Leave it running after the verdict, until Ctrl-C.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Where the applications answer. Default: a free one."
)
@click.option(
    "--resources",
    type=Resources(),
    default="{}",
    metavar="JSON",
    help='What Ray is to believe that it has, such as \'{"CPU": 8, "GPU": 1}\'. Default: the processors of'
    " this machine, and no GPU.",
)
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="Where the code of `import_path` is, besides what is installed.",
)
@click.option("--soak", type=Duration(), help="Instead of what environment.yaml says, such as 0s.")
@click.option("--stability-window", type=Duration(), help="Likewise.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    target: str,
    timeout: float,
    keep: bool,  # noqa: FBT001 - click passes a flag as a boolean
    port: int | None,
    resources: dict[str, float],
    app_dir: Path,
    soak: float | None,
    stability_window: float | None,
    config: str | None,  # noqa: ARG001 - not needed: the daemon that judges has its own
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Try TARGET, the folder of an environment or a Serve config, on a Ray of its own on this machine.

    It is judged as the daemon judges a rollout, with the checks, the windows and the deadlines of the
    environment.yaml beside it. All of it is stopped at the end, also on Ctrl-C. Needs git and Ray Serve (the
    `local` extra). The code must be importable here: from --app-dir, from $PYTHONPATH, or installed.

    Progress on stderr, the verdict on stdout, and in the exit code: 0 good, 1 failed, 3 not valid, 6 timed
    out.
    """
    deadline = time.monotonic() + timeout
    found = _target(target)
    _check(ctx, found)
    rules = _rules(found, soak, stability_window)
    order = _order(found, rules, resources, port, app_dir.resolve())

    from deployer.cli import trial
    from deployer.cli.local_ray import LocalRayError

    form = option(ctx, "output") or "table"
    verdict = trial.misfit(order)
    if verdict is None:
        try:
            with _ended_by_signals(), trial.trial(order, _tell) as running:
                verdict = running.verdict(max(0.0, deadline - time.monotonic()))
                if keep:
                    _show(found.shown, verdict, form)
                    _tell(f"It runs on at {running.http} (dashboard: {running.dashboard}) until Ctrl-C.")
                    with suppress(KeyboardInterrupt):
                        threading.Event().wait()
        except LocalRayError as error:
            raise Failure(str(error)) from error
        if keep:
            ctx.exit(_code(verdict))
    _show(found.shown, verdict, form)
    ctx.exit(_code(verdict))


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _target(name: str) -> checking.Target:
    """The one config that is meant: by its folder, its file, or the name of its environment."""
    path = Path(name)
    if not path.exists() and (Path("environments") / name).is_dir():
        path = Path("environments") / name
    targets = checking.find([str(path)])
    if len(targets) > 1:
        message = f"There are {len(targets)} environments below {name}: name one, such as {targets[0].shown}."
        raise Failure(message)
    return targets[0]


def _check(ctx: click.Context, target: checking.Target) -> None:
    """End with every error if it is not valid. Before Ray is started, which takes its time."""
    found = checking.check(target, checking.Options(ask_ray=False))
    report = reports.Report(environments=(found,))
    if report.errors:
        click.echo(reports.render(report, "json" if option(ctx, "output") == "json" else "text"))
        ctx.exit(Exit.INVALID_CONFIG)


def _rules(target: checking.Target, soak: float | None, stability_window: float | None) -> dict[str, Any]:
    """What `environment.yaml` says, with what the options say instead."""
    from deployer.core import yaml
    from deployer.core.durations import render

    said: Any = None
    if target.policy is not None:
        said = yaml.load(target.policy.read_bytes(), str(target.policy), keys_as_written=True).value
    rules: dict[str, Any] = {**(said or {})}
    if soak is not None:
        rules["soak"] = render(soak)
    if stability_window is not None:
        rules["health"] = {**(rules.get("health") or {}), "stability_window": render(stability_window)}
    return rules


def _order(
    target: checking.Target,
    rules: Mapping[str, Any],
    resources: Mapping[str, float],
    port: int | None,
    app_dir: Path,
) -> Order:
    from deployer.adapters import ray_schema
    from deployer.cli.trial import Order
    from deployer.core import serve_config
    from deployer.core.serve_schema import ray_release

    installed = ray_schema.installed()
    if installed is None:
        message = (
            "`deployer try` starts a Ray of its own, and Ray Serve is not installed here: install deployer"
            " with its `local` extra, or type `pip install 'ray[serve]'`."
        )
        raise Failure(message)
    pinned = rules.get("ray_version")
    if pinned is not None and ray_release(pinned) != ray_release(installed):
        _tell(f"The environment runs Ray {pinned}, and what is tried here is Ray {installed}.")
    name = re.sub("[^a-z0-9]+", "-", target.config.resolve().parent.name.lower()).strip("-")
    return Order(
        name=name or "trial",
        body=serve_config.read(target.config.read_bytes(), str(target.config)).config.body(),
        rules=rules,
        resources={"CPU": os.cpu_count() or 1, **resources},
        ray_version=installed,
        port=port,
        paths=[app_dir],
    )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block. A second one does not cut the stopping short: it ends by itself."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Also where SIGINT is ignored, as in what a script starts in the background.
    before = {each: signal.signal(each, stop) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _code(verdict: Verdict) -> Exit:
    from deployer.cli.trial import Outcome

    codes = {
        Outcome.GOOD: Exit.OK,
        Outcome.FAILED: Exit.FAILED,
        Outcome.INVALID: Exit.INVALID_CONFIG,
        Outcome.TIMED_OUT: Exit.TIMED_OUT,
    }
    return codes[verdict.outcome]


def _show(shown: str, verdict: Verdict, form: str) -> None:
    from deployer.core.scrub import plain

    failed = verdict.failure_class
    if form != "table":
        from deployer.cli import context

        told = {
            "target": shown,
            "outcome": verdict.outcome.value,
            "message": verdict.message,
            "failure": None if failed is None else {"class": failed.value, "detail": verdict.detail},
            "log": verdict.log,
            "exit_code": int(_code(verdict)),
        }
        context.emit(told, form)
        return
    how = f"failed ({failed.value})" if failed else verdict.outcome.value.replace("_", " ")
    click.echo(f"{shown}: {how}. {plain(verdict.message)}")
    for title, text in (("The first error", verdict.detail), ("The end of the replica's log", verdict.log)):
        if text.strip() and text.strip() != verdict.message:
            lines = plain(text).strip().splitlines()[-_SHOWN_LINES:]
            click.echo("\n".join((f"{title}:", *(f"  {line}" for line in lines))))
