"""What `deployer demo` and `deployer try` need of the things that they start and throw away.

Owns the start of Serve on a port of our choice, and git in a folder of our own. Must not know what is
deployed. Invariant: nothing outside the given folder and the given Ray is touched.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import requests

from deployer.cli.local_ray import free_port
from deployer.cli.main import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GIT_SECONDS = 30
"""Git works on a handful of small files here."""

_SERVE_START_SECONDS = 120
"""The PUT that starts Serve took 1.5-3.7 s, once 15.5 s on a loaded machine (measured, 2.60)."""

_EMPTY: Mapping[str, Any] = {}


def start_serve(address: str, *, port: int | None = None, options: Mapping[str, Any] = _EMPTY) -> int:
    """Start Serve with its proxy on a loopback port, a free one if none is given, and return the port.

    A running Serve keeps the options that it started with whatever a later PUT says (measured, 2.60), so an
    empty PUT decides them here. `options` are further ones of the top of a config; where it listens is ours.
    """
    port = port or free_port()
    body = {
        "proxy_location": "HeadOnly",
        **options,
        "applications": [],
        "http_options": {**options.get("http_options", {}), "host": "127.0.0.1", "port": port},
        "grpc_options": {**options.get("grpc_options", {}), "port": free_port()},
    }
    with requests.Session() as session:
        session.trust_env = False
        answer = session.put(f"{address}/api/serve/applications/", json=body, timeout=_SERVE_START_SECONDS)
    if answer.status_code != requests.codes.ok:
        message = f"The local Ray head refused to start Serve: {answer.status_code} {answer.text[:500]}"
        raise Failure(message)
    return port


def git(cwd: Path, *args: str) -> None:
    """Run git. Raises Failure with what it says."""
    command = ["git", *args]
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=_GIT_SECONDS)  # noqa: S603 - our own arguments
    except FileNotFoundError as error:
        message = "git is not installed, and this needs it: install the package `git`."
        raise Failure(message) from error
    except subprocess.CalledProcessError as error:
        message = f"`{shlex.join(command)}` failed: {error.stderr.strip()}"
        raise Failure(message) from error
