"""The entry point `deployer`: the command tree, the options every command takes, and the exit codes.

Owns names, options and exit codes. Must not import anything heavy: each command's module is loaded when
it is called, so that `deployer --help` stays fast. Invariant: an expected error ends in one message on
stderr and its own exit code, never in a traceback; and who names a server never gets what is here instead.
"""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from deployer import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem


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
    "rollouts": ("deployer.cli.rollouts", "Show one rollout in full, and pack its evidence for a ticket."),
    "stats": ("deployer.cli.stats", "Show how often, how fast and how well it deploys (DORA)."),
    "sync": ("deployer.cli.sync", "Look at git now, and wait until its newest commit is good."),
    "promote": ("deployer.cli.promote", "Promote a commit that is good in one environment to the next."),
    "approve": ("deployer.cli.approve", "Approve what a deploy would do: its plan is shown first."),
    "reject": ("deployer.cli.reject", "Say that what git wants must not be deployed as it is."),
    "rollback": ("deployer.cli.rollback", "Go back to a good release, at once."),
    "retry": ("deployer.cli.retry", "Try what git wants once more, although it is held."),
    "pause": ("deployer.cli.pause", "Stop the automation of an environment."),
    "resume": ("deployer.cli.resume", "Let it go on."),
    "live": ("deployer.cli.live", "Show what the cluster last received."),
    "logs": ("deployer.cli.logs", "Show the logs of an environment's replicas."),
    "audit": ("deployer.cli.audit", "List what happened, and verify that nobody changed the log."),
    "backup": ("deployer.cli.backup", "Copy the store, also while the daemon runs."),
    "restore": ("deployer.cli.restore", "Put such a copy in the place of the store."),
    "outbox": ("deployer.cli.outbox", "Show what was not delivered, and have it tried again."),
    "notify": ("deployer.cli.notify", "Show who is told what, and try it."),
    "token": ("deployer.cli.token", "Give others the right to look, deploy or administer; take it back."),
    "doctor": ("deployer.cli.doctor", "Check everything that the daemon needs, and say what to do."),
    "healthcheck": (
        "deployer.cli.healthcheck",
        "Ask the daemon whether it is well: one line, exit code 0 or 1.",
    ),
    "config": ("deployer.cli.config", "Show and check the settings."),
    "completion": ("deployer.cli.completion", "Print what makes your shell complete commands and names."),
    "demo": (
        "deployer.cli.demo",
        "Try it all on this machine: a local Ray, a local git repository, the daemon.",
    ),
}

_IS_OF_THIS_MACHINE = {
    "run": "it is the daemon",
    "init": "it writes files here",
    "validate": "it checks files here",
    "diff": "it reads git and the clusters from here",
    "render": "it reads git and the store from here",
    "try": "it starts a Ray here",
    "schema": "it asks nobody",
    "backup": "it copies the store here",
    "restore": "it replaces the store here",
    "notify": "it reads the settings file here, and sends from here",
    "doctor": "it looks at the machine that it runs on",
    "config": "it reads the settings file here",
    "completion": "it asks nobody",
    "demo": "it runs a daemon of its own",
}
"""What needs no daemon, or that of this machine, with the reason. All others go where --server says."""

COMPLETE = "_DEPLOYER_COMPLETE"
"""The variable through which a shell asks for completions; click's name for it."""


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
        _add_server_options(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of commands without loading any (click would import every module)."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Names from the table and options, without loading any command (click would import every module)."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, (_, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

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


def common_options(function: Any, *, more: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - click decorates any callable
    """Add -c/--config and -o/--output, which every command takes before or after its name.

    `more` are forms that this command alone can print.
    """
    *forms, last = "json", "yaml", *more
    function = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", *forms, last]),
        help=f"How to print: a table for people, {', '.join(forms)} or {last} for scripts.",
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
    given = (one.params.get(name) for one in _upwards(ctx))
    return next((value for value in given if value is not None), None)


def server_option(ctx: click.Context, name: str) -> str | None:
    """Return what was given as `server`, `token_file` or `ca_file`, in any place, or else by its variable."""
    value: str | None = ctx.meta.get(f"{__name__}.{name}", os.environ.get(f"DEPLOYER_{name.upper()}"))
    return value or None


def _upwards(ctx: click.Context) -> Iterator[click.Context]:
    one: click.Context | None = ctx
    while one is not None:
        yield one
        one = one.parent


def _keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Keep it for the whole command line; what stands last counts. Refuse a server that would not be asked.

    A server that only the environment variable names is for those commands that ask one.
    """
    key = f"{__name__}.{param.name}"
    if value is not None:
        ctx.meta[key] = value
    names = [one.info_name or "" for one in _upwards(ctx)]
    if param.name == "server" and len(names) > 1 and ctx.meta.get(key) and not ctx.resilient_parsing:
        reason = _IS_OF_THIS_MACHINE.get(names[-2])
        if reason is not None:
            message = f"`deployer {names[-2]}` takes no --server: {reason}. Leave it out."
            raise click.UsageError(message, ctx)


def _server_options() -> tuple[click.Option, ...]:
    """--server and what belongs to it. They are kept beside the parameters: few commands need to know."""
    return (
        click.Option(
            ["--server"],
            metavar="URL",
            expose_value=False,
            callback=_keep,
            help="Ask the daemon there (https://deployer.example.com) instead of the one on this machine,"
            " whose settings are then not read. Default: $DEPLOYER_SERVER.",
        ),
        click.Option(
            ["--token-file"],
            type=click.Path(),
            expose_value=False,
            callback=_keep,
            help="The file with your token for --server. Default: $DEPLOYER_TOKEN_FILE.",
        ),
        click.Option(
            ["--ca-file"],
            type=click.Path(),
            expose_value=False,
            callback=_keep,
            help="The certificates (PEM) that --server is checked with, instead of this system's. Default:"
            " $DEPLOYER_CA_FILE.",
        ),
    )


def _add_server_options(command: click.Command) -> None:
    """Add them to a command and those below it, but for names that mean something else there (`init`)."""
    taken = {name for param in command.params for name in param.opts}
    command.params += [one for one in _server_options() if taken.isdisjoint(one.opts)]
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _add_server_options(one)


@click.group(
    cls=Commands,
    epilog="Exit codes: 0 ok, 1 failed, 2 changes (plan --detailed-exitcode), 3 invalid config, 4 the deploy"
    " failed and was rolled back, 5 it failed and the rollback failed too, 6 timed out or superseded, 7"
    " refused (paused, held, a gate, not allowed), 64 usage, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common_options
@click.version_option(__version__, prog_name="deployer")
def cli(config: str | None, output: str | None) -> None:
    """Deploy what git says to Ray Serve, wait until it is healthy, and go back when it is not."""


_add_server_options(cli)


def main() -> None:
    """Run the command line; the installed script calls this."""
    if COMPLETE in os.environ:
        from deployer.cli.completing import answer

        answer(cli, os.environ[COMPLETE])
        return
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
