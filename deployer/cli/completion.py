"""`deployer completion`: print what makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from deployer.cli.main import COMPLETE, cli, common_options

_INSTALL = {
    "bash": (
        "Needs bash 4.4. To try it in this shell:",
        "  source <(deployer completion bash)",
        "For every shell of yours, where bash-completion is installed:",
        "  mkdir -p ~/.local/share/bash-completion/completions",
        "  deployer completion bash > ~/.local/share/bash-completion/completions/deployer",
    ),
    "zsh": (
        "To try it in this shell (after compinit):",
        "  source <(deployer completion zsh)",
        "For every shell of yours:",
        "  mkdir -p ~/.zfunc && deployer completion zsh > ~/.zfunc/_deployer",
        "and in ~/.zshrc, before `autoload -Uz compinit && compinit`:",
        "  fpath+=(~/.zfunc)",
    ),
    "fish": (
        "For every shell of yours:",
        "  mkdir -p ~/.config/fish/completions",
        "  deployer completion fish > ~/.config/fish/completions/deployer.fish",
    ),
}


@click.command()
@click.argument("shell", type=click.Choice([*_INSTALL]))
@common_options
def command(
    shell: str,
    config: str | None,  # noqa: ARG001 - not needed: nothing here asks a daemon
    output: str | None,  # noqa: ARG001 - a script is for a shell
) -> None:
    """Print the script for SHELL; how to install it stands in its first lines.

    It completes commands, options, the names of environments (of your settings), good releases after
    `rollback ENV --to`, and applications. It never asks a server.
    """
    click.echo(script(shell), nl=False)


def script(shell: str) -> str:
    """The script for a shell, with how to install it."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - for mypy: click has all three
    made = kind(cli, {}, "deployer", COMPLETE)
    # Not its method `source`, which asks the bash of this machine how old it is: it may be for another.
    text = made.source_template % made.source_vars()
    lines = text.split("\n")
    # zsh takes the file for a completion only if this is its first line.
    first = [lines.pop(0)] if lines[0].startswith("#compdef") else []
    about = [f"# {line}".rstrip() for line in ("Completion for deployer.", *_INSTALL[shell])]
    return "\n".join((*first, *about, *lines))
