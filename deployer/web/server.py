"""Runs the faces: sockets, uvicorn in a thread of its own, and the file that tells commands where.

Owns the life of the server, and `api.json`. Must not know the routes, nor who may stay how long (`tls`,
`connections`, `front`, `lanes`: in this order a request meets them). Invariant: `api.json` is readable by the
daemon's user alone, and is there only while the API answers (but for a daemon that was killed); a stop does
not wait for those who only listen; an address, a port or a certificate that is of no use takes only itself
away; who sends a whole request at once is answered, whatever others do; and the faces give way to the passes.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from deployer import logs
from deployer.adapters.statedir import StateDirUnusable
from deployer.web.connections import server_for
from deployer.web.front import Front
from deployer.web.tls import Certificate, Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from deployer.web.connections import Server

FILE = "api.json"
"""In the state directory: `{"url": ..., "token": ...}`."""

_JOIN_SECONDS = 2.0
"""The grace, and uvicorn's own two looks at the clock. A request that hangs is left behind, as a pass is."""

_SWITCH_SECONDS = 0.0005
"""For how long the faces may go on while a pass waits for the interpreter. Python's own 5 ms would be waited
for anew each time that a pass comes back from the disk or the network, which is many times in each."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Sockets that listen, each with what it speaks TLS with, and the URL for this machine."""

    served: tuple[tuple[socket.socket, Certificate | None], ...]
    url: str


@contextmanager
def bound(host: str, port: int, tls: Tls | None = None) -> Iterator[Bound]:
    """Listen inside the `with` block; who connects waits in the kernel until `serving`.

    Where `host` is no loopback address, or TLS is spoken there, this machine has a socket of its own on
    127.0.0.1. What cannot be had is no reason not to deploy: of a port, another one is used; without the
    address, or with a certificate that is of no use, the socket of this machine is all there is.
    """
    with ExitStack() as stack:
        served: list[tuple[socket.socket, Certificate | None]] = []
        try:
            certificate = Certificate(tls) if tls is not None else None
        except OSError as error:
            # Without a traceback: the reason says it all.
            log.error("tls_unusable", why=str(error), then="only 127.0.0.1 is served")  # noqa: TRY400 - the reason is the whole of it
            listener = None
        else:
            listener = _listen(host, port)
            if listener is not None:
                served.append((stack.enter_context(listener), certificate))
        if listener is None or tls is not None or not _is_loopback(host):
            host = "127.0.0.1"
            listener = stack.enter_context(socket.create_server((host, 0)))
            served.append((listener, None))
        name = f"[{host}]" if ":" in host else host
        yield Bound(served=tuple(served), url=f"http://{name}:{listener.getsockname()[1]}")


@contextmanager
def serving(
    faces: ASGIApp,
    state_dir: Path,
    *,
    host: str,
    port: int,
    token: str,
    tls: Tls | None = None,
    hooks: ASGIApp | None = None,
    before_stop: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """`bound` and `serving_at` in one."""
    with (
        bound(host, port, tls) as at,
        serving_at(at, faces, state_dir, token=token, hooks=hooks, before_stop=before_stop) as url,
    ):
        yield url


@contextmanager
def serving_at(
    at: Bound,
    faces: ASGIApp,
    state_dir: Path,
    *,
    token: str,
    hooks: ASGIApp | None = None,
    before_stop: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Serve inside the `with` block; gives the URL for this machine. `state_dir` is locked by this process.

    `token` is the one that opens everything; it is written to `api.json` with that URL. `hooks` answers what
    comes to `/hooks/`; without it that is a path like any other. `before_stop` ends the streams.

    Raises StateDirUnusable if that file cannot be written.
    """
    logs.hide(token)
    front = Front(faces, hooks)
    served = [(server_for(front, certificate), listener) for listener, certificate in at.served]
    # At once: whoever reads what a killed daemon left behind would come to this port with its token.
    # Connections wait in the socket until uvicorn takes them, so the file is true.
    try:
        _write(state_dir / FILE, {"url": at.url, "token": token})
    except OSError as error:
        why = f"cannot write {state_dir / FILE}: {error.strerror or error}"
        message = f"{why}. Without it commands do not find the daemon."
        raise StateDirUnusable(message) from error
    thread = threading.Thread(target=_run, args=(served,), name="api", daemon=True)
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        thread.start()
        yield at.url
    finally:
        with suppress(OSError):
            (state_dir / FILE).unlink()
        before_stop()
        for server, _ in served:
            server.should_exit = True
        thread.join(_JOIN_SECONDS)
        sys.setswitchinterval(before)


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name is none: nobody knows whose it will be."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket | None:
    """A socket there, or on another port there; None if the address itself cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = error.strerror or str(error)
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        log.warning("api_address_unusable", wanted=host, why=why, then="only 127.0.0.1 is served")
        return None
    log.warning("api_port_unusable", wanted=port, why=why, used=listener.getsockname()[1])
    return listener


def _run(served: list[tuple[Server, socket.socket]]) -> None:
    async def alone(server: Server, listener: socket.socket) -> None:
        try:
            await server.serve(sockets=[listener])
        except Exception:
            # The environments go on without it, and so does the other one.
            log.exception("api_failed")

    async def serve() -> None:
        await asyncio.gather(*(alone(server, listener) for server, listener in served))

    asyncio.run(serve())


def _write(path: Path, values: dict[str, str]) -> None:
    """Write all of it or nothing, for no other eyes."""
    temporary = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        json.dump(values, file)
    temporary.replace(path)
