"""Where the settings file is, and where state goes when the file does not say.

Owns the order in which places are tried. Must not know what the file says. Invariant: everybody on a
machine who takes the settings from the system's file gets the same state directory, so `deployer status`,
typed by a person, reads what the service wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployer.core.errors import InvalidConfig, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_FILE = Path("/etc/deployer/deployer.yaml")
SYSTEM_STATE = Path("/var/lib/deployer")
_SYSTEM_SETTINGS = "/etc"


def candidates(path: Path | None, env: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that may be the settings, as absolute paths; the first that exists is.

    `path` is `--config`. If it or `$DEPLOYER_CONFIG` is given, that is the only one: whoever names a file
    does not want another.
    """
    if path is not None:
        return (path.absolute(),)
    if named := env.get("DEPLOYER_CONFIG"):
        return (Path(named).absolute(),)
    own = _own(env, "XDG_CONFIG_HOME", ".config")
    return (own / "deployer/deployer.yaml", SYSTEM_FILE) if own else (SYSTEM_FILE,)


def read(path: Path | None, env: Mapping[str, str]) -> tuple[Path, bytes]:
    """The first of the candidates that exists, and what it holds.

    Raises InvalidConfig if there is none or it cannot be read.
    """
    files = candidates(path, env)
    for file in files:
        try:
            return file, file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _unreadable(file, f"cannot be read: {error.strerror}") from error
    if path is not None or env.get("DEPLOYER_CONFIG"):
        named_by = "--config" if path is not None else "$DEPLOYER_CONFIG"
        raise _unreadable(files[0], f"there is no such file, and {named_by} names it: correct that")
    raise _unreadable(
        files[0],
        f"there is no settings file. Looked for {' and '.join(map(str, files))}. Name one with"
        " `deployer run --config FILE`; `deployer demo` shows everything at work and needs none",
    )


def default_state_dir(file: Path, env: Mapping[str, str]) -> Path:
    """Where state goes if the settings, read from `file`, do not say.

    `$STATE_DIRECTORY` (systemd sets it), else /var/lib/deployer for settings below /etc, else
    `$XDG_STATE_HOME/deployer`, else ~/.local/state/deployer, else (no home) /var/lib/deployer.
    """
    # systemd lists several directories with colons between them.
    if given := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    own = None if file.is_relative_to(_SYSTEM_SETTINGS) else _own(env, "XDG_STATE_HOME", ".local/state")
    return own / "deployer" if own else SYSTEM_STATE


def home(env: Mapping[str, str]) -> Path | None:
    """The person's home; None for a service that has none."""
    given = env.get("HOME", "")
    return Path(given) if given.startswith("/") else None


def _own(env: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    given = env.get(variable, "")
    # The XDG specification says to ignore a path that is not absolute.
    if given.startswith("/"):
        return Path(given)
    own = home(env)
    return own / below_home if own else None


def _unreadable(file: Path, message: str) -> InvalidConfig:
    return InvalidConfig((Problem(file=str(file), line=0, column=0, message=message),))
