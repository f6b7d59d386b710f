"""What a shell may complete: environments, good releases, applications.

Owns where the names come from, and the answer to the shell. Must not import anything that takes long: a
person holds the Tab key down meanwhile. So it reads the settings as plain YAML, and the store as plain
SQLite, and checks neither. Invariant: whatever is wrong, nothing is printed and it is over in a moment;
nothing is offered that a shell would take for more than a word; and nothing is asked over a network.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.cli.main import COMPLETE, option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    import click
    from click.shell_completion import CompletionItem

_SECONDS = 1.0
"""For all of it, which takes 0.1 s on a quiet machine. A disk that hangs offers nothing."""

_SQLITE_SECONDS = 0.05

_GOOD = """
SELECT id, data FROM rollouts WHERE environment = ? AND result = 'good' ORDER BY started_event DESC LIMIT 20
"""

_ROLLOUTS = "SELECT id, data FROM rollouts ORDER BY started_event DESC LIMIT 20"

_WORD = re.compile(r"[\w.#@-]+", re.ASCII)

_SKIPPABLE = ("requires", "checks", "freezes", "windows", "drift", "capacity")
"""As `core.gates` has them, whose import takes long; a test compares them."""

_STORE_FILE = "deployer.db"


def answer(cli: click.Command, instruction: str) -> None:
    """Answer a shell: print what it may complete, or nothing."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    text = ""
    # A person is in the middle of a line: there is no place for an error, and no use in one.
    with suppress(Exception, SystemExit), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stderr = nowhere
        from click.shell_completion import get_completion_class

        kind = get_completion_class(instruction.partition("_")[0])
        if kind is not None:
            text = kind(cli, {}, "deployer", COMPLETE).complete()
    sys.stderr = sys.__stderr__
    signal.setitimer(signal.ITIMER_REAL, 0)
    with suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


def environments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The environments of the settings, or of the store where those cannot be read."""
    given = ctx.params.get(param.name or "")
    already = given if isinstance(given, tuple) else ()
    return _items(((name, "") for name in _environments(ctx) if name not in already), incomplete)


def releases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001 - click's signature
    """The good releases of the environment that is named, the newest first."""
    return _items(_releases(ctx), incomplete)


def rollouts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001 - as above
    """The newest rollouts of all environments."""
    return _items(_rollouts(ctx), incomplete)


def applications(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001 - as above
    """The applications of the environment that is named, as they were seen last."""
    return _items(_applications(ctx), incomplete)


def gates(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001 - as above
    """The gates that can be skipped, a promotion's soak among them; a comma goes before the next one."""
    from click.shell_completion import CompletionItem

    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    known = ("soak", *_SKIPPABLE) if ctx.info_name == "promote" else _SKIPPABLE
    left = [name for name in known if name.startswith(last) and name not in given]
    return [CompletionItem(f"{before}{comma}{name}") for name in left]


def plans(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG001 - as above
    """The plan that waits to be approved in the environment that is named."""
    return _items(_plans(ctx), incomplete)


def _items(found: Iterator[tuple[str, str]], incomplete: str) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    from deployer.core.scrub import plain

    return [
        CompletionItem(value, help=" ".join(plain(told).split()) or None)
        for value, told in found
        if value.startswith(incomplete) and _WORD.fullmatch(value)
    ]


def _environments(ctx: click.Context) -> list[str]:
    found = _settings(ctx).get("environments")
    if isinstance(found, dict) and found:
        return [str(name) for name in found]
    return [str(name) for (name,) in _rows(ctx, "SELECT environment FROM records ORDER BY environment")]


def _releases(ctx: click.Context) -> Iterator[tuple[str, str]]:
    import json

    for id_, data in _rows(ctx, _GOOD, _environment(ctx)):
        release = json.loads(data)["release"]
        yield str(id_), f"{release['revision'][:7]} {release['subject']}"


def _rollouts(ctx: click.Context) -> Iterator[tuple[str, str]]:
    import json

    for id_, data in _rows(ctx, _ROLLOUTS):
        entry = json.loads(data)
        yield str(id_), f"{entry['result']}: {entry['release']['revision'][:7]} {entry['release']['subject']}"


def _applications(ctx: click.Context) -> Iterator[tuple[str, str]]:
    import json

    for (data,) in _rows(ctx, "SELECT data FROM views WHERE environment = ?", _environment(ctx)):
        for app in json.loads(data)["apps"]:
            yield app["name"], app["status"]


def _plans(ctx: click.Context) -> Iterator[tuple[str, str]]:
    import json

    for (data,) in _rows(ctx, "SELECT data FROM views WHERE environment = ?", _environment(ctx)):
        for gate in json.loads(data)["gates"]:
            if gate["plan"] is not None:
                # Without `sha256:`, for bash ends a word at a colon.
                yield gate["plan"].partition(":")[2], gate["evidence"]


def _environment(ctx: click.Context) -> str:
    """The environment that stands before the cursor; of two the first, where releases come from."""
    # Where the word at the cursor belongs to an option, click (8.5) leaves the arguments before it unread.
    given = ctx.params.get("environment") or ctx.params.get("source")
    return str(given or next(iter(ctx.args), ""))


def _rows(ctx: click.Context, query: str, *values: str) -> Sequence[tuple[Any, ...]]:
    """From the store. `deployer.adapters.store` would take longer to import than a person waits."""
    import sqlite3

    path = _state_dir(ctx) / _STORE_FILE
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_SQLITE_SECONDS)
        with closing(connection):
            return connection.execute(query, values).fetchall()
    return ()


def _settings(ctx: click.Context) -> dict[str, Any]:
    """The settings file as it is, unchecked; empty if there is none that can be read."""
    import yaml

    with suppress(OSError, yaml.YAMLError):
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        loaded = yaml.load(_file(ctx).read_bytes(), loader)  # noqa: S506 - either is safe; the first is fast
        return loaded if isinstance(loaded, dict) else {}
    return {}


def _file(ctx: click.Context) -> Path:
    """The settings file: the places of `deployer.settings.candidates`, which is costly to import."""
    if given := option(ctx, "config") or os.environ.get("DEPLOYER_CONFIG"):
        return Path(given)
    own = _own("XDG_CONFIG_HOME", ".config") / "deployer/deployer.yaml"
    return own if own.exists() else Path("/etc/deployer/deployer.yaml")


def _state_dir(ctx: click.Context) -> Path:
    """Where the store is: as `deployer.settings.load` finds it."""
    file = _file(ctx).absolute()
    given = os.environ.get("DEPLOYER_STATE_DIR") or _settings(ctx).get("state_dir")
    if isinstance(given, str):
        return file.parent / Path(given).expanduser()
    if systemds := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(systemds)
    if file.is_relative_to("/etc"):
        return Path("/var/lib/deployer")
    return _own("XDG_STATE_HOME", ".local/state") / "deployer"


def _own(variable: str, below_home: str) -> Path:
    given = os.environ.get(variable, "")
    return (
        Path(given) if given.startswith("/") else Path(os.environ.get("HOME") or "/nonexistent") / below_home
    )
