"""What several commands need: the settings, the store for reading, printing for people and for scripts.

Owns the translation of expected errors into messages and exit codes. Must not decide anything.
Invariant: nothing here writes to the state directory; and to import this costs nothing, for a shell that
completes a name waits for it.
"""

from __future__ import annotations

import json
import os
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli.main import Failure, InvalidSettings, option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.adapters.store import SqlReader
    from deployer.settings import Settings

STORE_FILE = "deployer.db"
"""The store's file inside the state directory."""


def settings(ctx: click.Context, *, check_files: bool = False) -> Settings:
    """Load the settings, or end with every problem and exit code 3.

    Only the daemon needs the files that hold credentials; a person who asks for the status may not read them.
    """
    from deployer.core.errors import InvalidConfig
    from deployer.settings import load

    config = option(ctx, "config")
    try:
        return load(Path(config) if config else None, os.environ, check_files=check_files)
    except InvalidConfig as error:
        raise InvalidSettings(str(error)) from error


def settings_if_any(ctx: click.Context) -> Settings | None:
    """As `settings`; None where nobody named a file and none of the usual ones is there."""
    from deployer.settings import candidates

    named = option(ctx, "config") is not None or os.environ.get("DEPLOYER_CONFIG")
    if not named and not any(file.exists() for file in candidates(None, os.environ)):
        return None
    return settings(ctx)


@contextmanager
def reading(settings: Settings) -> Iterator[SqlReader]:
    """Open the store for reading inside the `with` block.

    Whatever is wrong with the state directory, on opening or later, ends the command with the sentence
    that says what, and what to do.
    """
    # The store's libraries take a third of a second to import, and not every command needs it.
    from deployer.adapters.statedir import StateDirUnusable
    from deployer.adapters.store import SqlStore, StoreError

    try:
        with closing(SqlStore.open_readonly(settings.state_dir / STORE_FILE)) as store:
            yield store
    except (StoreError, StateDirUnusable) as error:
        raise Failure(str(error)) from error


def known_environment(settings: Settings, name: str) -> str:
    """Return the name if the settings have it, or end with the ones they have."""
    if name not in settings.environments:
        known = ", ".join(settings.environments)
        message = f"No environment '{name}' in the settings. There are: {known}."
        raise click.UsageError(message)
    return name


def emit(data: Sequence[dict[str, Any]] | dict[str, Any], output: str) -> None:
    """Print for scripts."""
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif output == "jsonl":
        for item in [data] if isinstance(data, dict) else data:
            emit_line(item, "json")
    else:
        click.echo(as_yaml(data), nl=False)


def as_yaml(data: Any) -> str:  # noqa: ANN401 - as JSON
    """The data as YAML, in its own order."""
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def emit_line(data: dict[str, Any], output: str) -> None:
    """Print one of many, as it comes: JSON in one line, or a document of YAML."""
    if output == "json":
        click.echo(json.dumps(data, ensure_ascii=False))
    else:
        click.echo(f"---\n{as_yaml(data)}", nl=False)
