"""`deployer rollouts show|bundle`: one rollout in full, and its evidence as one file for a ticket.

Owns how the story is shown, and where the file goes. Must not decide what is in either. Invariant: a file
that is there is never touched; one that is written is whole and its owner's alone from the first byte on.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from deployer.cli import completing, context, dossiers, server
from deployer.cli.client import Daemon
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDOUT = "-"

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What a file system says that has no hard links (FAT, some network shares)."""


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """Show one rollout in full, and pack its evidence for a ticket. `deployer history` lists them."""


_ROLLOUT = click.argument("rollout", metavar="ID", shell_complete=completing.rollouts)


@command.command("show")
@_ROLLOUT
@common_options
@click.pass_context
def show(
    ctx: click.Context,
    rollout: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show rollout ID (as production#42): what, who, why, how it went, how it ended, what it changed."""
    named = server.named(ctx)
    told = _there(Daemon.at(named), rollout) if named is not None else _here(ctx, rollout)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(told, form)
        return
    for line in _page(told):
        click.echo(plain(line))


@command.command("bundle")
@_ROLLOUT
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    help="Where to write it; - is stdout. Default: production-42.zip, for production#42, in this folder.",
)
@common_options
@click.pass_context
def bundle(
    ctx: click.Context,
    rollout: str,
    file: Path | None,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Pack the evidence of rollout ID (as production#42) into one ZIP file, for a ticket.

    In it: the story, the events with their hashes, the first error, the kept log of the replica that failed,
    what changed, the config, the policy, gates, approvals, versions. Secrets of the config are masked.
    """
    from deployer.core.bundle import name

    if file == Path(_STDOUT) and _is_terminal():
        message = "A ZIP file is nothing for a terminal: write `> FILE` behind it, or name a --file."
        raise click.UsageError(message)
    target = file if file is not None else Path(f"{name(rollout)}.zip")
    if target != Path(_STDOUT) and os.path.lexists(target):
        raise _is_there(target)
    named = server.named(ctx)
    content = _packed_there(Daemon.at(named), rollout) if named is not None else _packed_here(ctx, rollout)
    # First: what is no ZIP file is written nowhere.
    found = _members(content)
    if target == Path(_STDOUT):
        click.echo(content, nl=False)
    else:
        _write(target, content)
    _tell(ctx, target, content, found)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _tell(ctx: click.Context, target: Path, content: bytes, members: list[tuple[str, int, str]]) -> None:
    """Say where it is and what is in it; beside the file itself, on stderr."""
    is_aside = target == Path(_STDOUT)
    form = option(ctx, "output") or "table"
    if form != "table" and not is_aside:
        found = [{"name": title, "bytes": size} for title, size, _ in members]
        context.emit({"file": str(target.absolute()), "bytes": len(content), "members": found}, form)
        return
    where = "stdout" if is_aside else str(target)
    click.echo(f"{plain(where)}: {len(content):,} bytes, for a ticket. In it:", err=is_aside)
    width = max(len(title) for title, _, _ in members)
    for title, size, about in members:
        click.echo(f"  {plain(title):<{width}}  {size:>9,}  {about}", err=is_aside)


def _members(content: bytes) -> list[tuple[str, int, str]]:
    import io
    import zipfile

    from deployer.core.bundle_readme import ABOUT, LOG

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.infolist()
    except zipfile.BadZipFile as error:
        message = "What the daemon sent is no ZIP file: try again, then see its log."
        raise Failure(message) from error
    return [(one.filename, one.file_size, ABOUT.get(one.filename.rpartition("/")[2], LOG)) for one in found]


def _write(target: Path, content: bytes) -> None:
    """All of it, or nothing; and never over what is there, also if that came a moment ago."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _name(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()
    except FileExistsError as error:
        raise _is_there(target) from error
    except OSError as error:
        message = f"{target} cannot be written: {error.strerror}. Name another place with --file."
        raise Failure(message) from error


def _name(temporary: Path, target: Path) -> None:
    """Give the finished file its name. To rename it would replace what has that name."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The name is taken first. Whoever looks meanwhile sees an empty file of ours.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        temporary.replace(target)


def _is_there(target: Path) -> Failure:
    message = f"{target} is there already, and is not written over: name another --file, or move it away."
    return Failure(message, Exit.USAGE)


def _here(ctx: click.Context, rollout: str) -> dict[str, Any]:
    with dossiers.opened(ctx) as source:
        from deployer.core.dossier import to_json
        from deployer.engine.dossiers import as_yaml

        found = source.rollout(rollout)
        if found is None:
            raise _no_rollout(rollout)
        return to_json(found, as_yaml)


def _there(daemon: Daemon, rollout: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.read(_path(rollout))
    return found


def _packed_here(ctx: click.Context, rollout: str) -> bytes:
    with dossiers.opened(ctx) as source:
        from deployer.core import bundle as bundles
        from deployer.engine.dossiers import as_yaml

        found = source.rollout(rollout)
        if found is None:
            raise _no_rollout(rollout)
        return bundles.packed(bundles.files(found, source.around(found), as_yaml))


def _packed_there(daemon: Daemon, rollout: str) -> bytes:
    return daemon.download(f"{_path(rollout)}/bundle")


def _path(rollout: str) -> str:
    return f"/rollouts/{quote(rollout, safe='')}"


def _no_rollout(rollout: str) -> Failure:
    message = (
        f"There is no rollout '{plain(rollout)}'. One is called like production#42: `deployer history` lists"
        " them."
    )
    return Failure(message, Exit.USAGE)


def _page(told: dict[str, Any]) -> Iterator[str]:
    """For a terminal."""
    from deployer.core import rollout_text

    yield f"{told['id']}  {told['kind']}  {told['result']}"
    yield from rollout_text.story(told)
    yield from ("", "Timeline (UTC):", *rollout_text.timeline(told))
    if told["checks"]:
        yield from ("", "Checks:", *rollout_text.checks(told))
    if told["detail"]:
        yield from ("", "The first error in full:", *told["detail"].splitlines())
    yield from ("", "Changes, and what they restart:", *rollout_text.changes(told))
    yield ""
    if told["log"]:
        yield f"The log of the replica that failed: `deployer logs {told['environment']}`."
    yield f"All of it in one file, for a ticket: `deployer rollouts bundle '{told['id']}'`."
