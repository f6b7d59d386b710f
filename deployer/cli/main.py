"""The entry point `deployer`: the command tree, the options every command takes, and the exit codes.

Owns names, options and exit codes. Must not import anything heavy: each command's module is loaded when
it is called, so that `deployer --help` stays fast. Invariant: an expected error ends in one message on
stderr and its own exit code, never in a traceback.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from importlib import import_module
from typing import Any

import click

from deployer import __version__


class Exit(IntEnum):
    """Exit codes that scripts may rely on (`deployer --help` lists them)."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    INVALID_CONFIG = 3
    ROLLED_BACK = 4
    ROLLBACK_FAILED = 5
    TIMED_OUT = 6
    REFUSED = 7
    USAGE = 64
    INTERRUPTED = 130


click.UsageError.exit_code = Exit.USAGE

_COMMANDS = {
    "run": ("deployer.cli.run", "Run the daemon."),
    "init": ("deployer.cli.init", "Write the files of a repository of configs, also from a running cluster."),
    "validate": ("deployer.cli.validate", "Check configs before the merge, offline."),
    "plan": ("deployer.cli.plan", "Show what a deploy would do, before the merge."),
    "diff": ("deployer.cli.diff", "Show what differs between two of: a ref, a release, the cluster, a file."),
    "render": ("deployer.cli.render", "Print the config of an environment as it would be sent."),
    "try": ("deployer.cli.try_", "Try a config on a throwaway local Ray."),
    "schema": ("deployer.cli.schema", "Print the JSON Schemas of the files, for editors."),
    "status": ("deployer.cli.status", "Show what every environment runs, and why."),
    "explain": ("deployer.cli.explain", "Show why an environment is as it is, policy line by policy line."),
    "history": ("deployer.cli.history", "List rollouts, newest first."),
    "sync": ("deployer.cli.sync", "Look at git now, and wait until its newest commit is good."),
    "rollback": ("deployer.cli.rollback", "Go back to a good release, at once."),
    "retry": ("deployer.cli.retry", "Try what git wants once more, although it is held."),
    "pause": ("deployer.cli.pause", "Stop the automation of an environment."),
    "resume": ("deployer.cli.resume", "Let it go on."),
    "live": ("deployer.cli.live", "Show what the cluster last received."),
    "logs": ("deployer.cli.logs", "Show the logs of an environment's replicas."),
    "doctor": ("deployer.cli.doctor", "Check everything that the daemon needs, and say what to do."),
    "demo": (
        "deployer.cli.demo",
        "Try it all on this machine: a local Ray, a local git repository, the daemon.",
    ),
}


class Failure(click.ClickException):
    """An expected error: one message for people (what, where, why, next step)."""

    def __init__(self, message: str, exit_code: int = Exit.FAILED) -> None:
        """Take the message, and the exit code if it is a special one."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


class InvalidSettings(Failure):
    """The settings cannot be used: every problem of the file."""

    def __init__(self, message: str) -> None:
        """Take every problem."""
        super().__init__(message, Exit.INVALID_CONFIG)


class Commands(click.Group):
    """Loads a command's module when it is asked for, and accepts the common options in any place."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Load the command's module and return its `command`."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of commands without loading any (click would import every module)."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a mistyped name."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, _COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            message = f"No such command '{name}'.{hint}"
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)


def common_options(function: Any) -> Any:  # noqa: ANN401 - click decorates any callable
    """Add -c/--config and -o/--output, which every command takes before or after its name."""
    function = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        help="How to print: a table for people, json or yaml for scripts.",
    )(function)
    return click.option(
        "-c",
        "--config",
        type=click.Path(),
        help="The settings file. Default: $DEPLOYER_CONFIG, then $XDG_CONFIG_HOME/deployer/deployer.yaml,"
        " then /etc/deployer/deployer.yaml.",
    )(function)


def option(ctx: click.Context, name: str) -> Any:  # noqa: ANN401 - an option's value has its own type
    """Return the value of a common option: the command's own, or the one given before its name."""
    value = ctx.params.get(name)
    return value if value is not None or ctx.parent is None else ctx.parent.params.get(name)


@click.group(
    cls=Commands,
    epilog="Exit codes: 0 ok, 1 failed, 2 changes (plan --detailed-exitcode), 3 invalid config, 4 the deploy"
    " failed and was rolled back, 5 it failed and the rollback failed too, 6 timed out or superseded, 7"
    " refused (paused, held, not allowed), 64 usage, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common_options
@click.version_option(__version__, prog_name="deployer")
def cli(config: str | None, output: str | None) -> None:
    """Deploy what git says to Ray Serve, wait until it is healthy, and go back when it is not."""


def main() -> None:
    """Run the command line; the installed script calls this."""
    try:
        # What `ctx.exit` was given comes back as the result; commands return nothing else.
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(Exit.INTERRUPTED)
    else:
        sys.exit(code)
