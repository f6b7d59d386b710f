"""What a git child is given: its whole environment, its configuration, and how it calls ssh.

Owns every variable and setting, with the reason beside it. Must not read a file or run anything. Invariant:
a child gets what is named here and nothing else of what this process was started with, and no credential is
in it, only the names of the files that hold one.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ALWAYS = ("PATH", "TMPDIR")

_USERS_SSH = ("HOME", "USER", "LOGNAME", "SHELL", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR")
"""What the user's own ssh configuration and agent are found by. Not passed on where a key file is given."""

PROXY = ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY")
"""What leads https through a proxy, which then sees a host name and nothing else (CONNECT). Only for https:
over http a proxy would see the token."""

_CONFIG = {
    # Check what a server sends before it is believed; nothing in the mirror is ever run.
    "transfer.fsckObjects": "true",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "safe.bareRepository": "explicit",
    # Version 2 names the refs it wants, so a repository with 20,000 of them sends a few lines.
    "protocol.version": "2",
    "credential.helper": "",
    # A redirect would carry headers to another host (measured: a token header follows even when scoped).
    "http.followRedirects": "false",
    # A server may name other hosts to fetch from (git 2.40).
    "transfer.bundleURI": "false",
    # Under 1 kB/s for 30 s is not slow, it is dead. The total has its own limit.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    # Housekeeping is done by `Mirror.tidy`, never in the middle of a look.
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.writeCommitGraph": "false",
    # One repository must not take every core, nor more memory with each; and a blob over this size, of which
    # nothing is ever read, passes through git in pieces instead of being held whole.
    "pack.threads": "2",
    "core.bigFileThreshold": "16m",
    # Many fetches, packed by `tidy`, may be more than one file may hold (`_limits`).
    "pack.packSizeLimit": "1g",
}

_SSH = {
    # Never ask a person.
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    "PermitLocalCommand": "no",
    # Nothing of this machine is for the server to use, whatever the user's own configuration says.
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    # A server that may add keys to known_hosts chooses what is trusted tomorrow.
    "UpdateHostKeys": "no",
}

_OUR_KEY_ONLY = {
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "ProxyCommand": "none",
    "ControlMaster": "no",
    "ControlPath": "none",
}


def ssh_command(key_file: Path | None, known_hosts_file: Path | None) -> str:
    """The line for GIT_SSH_COMMAND, which a shell reads.

    Without a key file the user's own configuration and agent are used; what is set here wins over it. The
    names of the files are to hold no character that ssh would not take as it stands (`is_plain`).
    """
    words = ["ssh"]
    options = dict(_SSH)
    if key_file is not None:
        words += ["-F", "none"]
        options |= _OUR_KEY_ONLY | {"IdentityFile": _quoted(key_file)}
    if known_hosts_file is not None:
        options |= {"UserKnownHostsFile": _quoted(known_hosts_file), "GlobalKnownHostsFile": os.devnull}
    return shlex.join([*words, *(f"-o{name}={value}" for name, value in options.items())])


def is_plain(path: Path) -> bool:
    """Whether ssh can be given this file name: it cannot be told `${`, and its releases quote differently."""
    return str(path).isprintable() and not set('"\\$') & set(str(path))


def environment(git_dir: Path, protocol: str, *, ssh: str, is_users_ssh: bool) -> dict[str, str]:
    """The variables of a child that works in `git_dir` and speaks `protocol`, without its configuration.

    `ssh` is the line for GIT_SSH_COMMAND; `is_users_ssh` is whether that needs the user's own configuration.
    """
    inherited: tuple[str, ...] = _ALWAYS
    if protocol == "ssh" and is_users_ssh:
        inherited += _USERS_SSH
    elif protocol == "https":
        inherited += PROXY
    return {
        # curl reads ~/.netrc, and a line there replaces the token; git reads ~/.config/git.
        "HOME": str(git_dir / "nothing"),
        **{name: os.environ[name] for name in inherited if name in os.environ},
        "GIT_DIR": str(git_dir),
        # Only the configuration here counts: the machine's own may hold helpers and rewritten URLs.
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_TERMINAL_PROMPT": "0",
        # Empty, not unset: unset falls back to SSH_ASKPASS, which opens a window on a desktop.
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_SSH_COMMAND": ssh,
        "GIT_SSH_VARIANT": "ssh",
        # What git and ssh print is read (`_errors`).
        "LC_ALL": "C",
        "LANGUAGE": "C",
    }


def configured(more: dict[str, str]) -> dict[str, str]:
    """The variables that hold git's configuration: ours, and `more`."""
    config = _CONFIG | more
    variables = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config.items()):
        variables[f"GIT_CONFIG_KEY_{number}"] = key
        variables[f"GIT_CONFIG_VALUE_{number}"] = value
    return variables


def _quoted(path: Path) -> str:
    """As ssh reads a file name: words are split at spaces, and `%h` would be the host."""
    return '"' + str(path).replace("%", "%%") + '"'
