"""TLS of the daemon's own: real sockets and certificates of a test's own authority."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.web import server, tls
from deployer.web.tls import Certificate, Tls
from tests.support.bare_faces import nothing
from tests.support.eventually import eventually
from tests.support.free_port import free_port
from tests.support.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """The certificate and the key that the daemon is told of."""

    def __init__(self, folder: Path) -> None:
        """One for 127.0.0.1."""
        self.authority = Authority(folder / "ca")
        self._folder = folder
        self.tls = Tls(cert_file=folder / "c.pem", key_file=folder / "k.pem")
        self.put("IP:127.0.0.1")

    def put(self, name: str, *ends: str) -> None:
        """Replace both by those for another name; with `ends` (c, k) only these."""
        cert_file, key_file = (
            to if not ends or to.stem in ends else self._folder / "unused"
            for to in (self.tls.cert_file, self.tls.key_file)
        )
        self.authority.copy(cert_file, key_file, name)

    def names(self, port: int) -> list[str]:
        """What the certificate says that is shown now."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain) as made,
        ):
            made.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert made.recv(12) == b"HTTP/1.1 404"
            found: Any = made.getpeercert()
        return [value for _, value in found["subjectAltName"]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Sound ones."""
    return Files(tmp_path)


def answers(url: str) -> bool:
    """Whether the socket of this machine answers (with 404, for there are no routes)."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as made:
        made.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return made.recv(12) == b"HTTP/1.1 404"


def is_closed(one: socket.socket) -> bool:
    """Whether the other side has gone."""
    one.setblocking(False)  # noqa: FBT003 - as the socket has it
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_who_says_no_hello_makes_room_and_goes(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first, then all of them: each is a descriptor. Who speaks TLS is answered meanwhile."""
    port = free_port()
    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 6)
    with (
        server.serving(nothing, tmp_path, host="127.0.0.1", port=port, token="x", tls=files.tls) as url,
        ExitStack() as stack,
    ):
        silent = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port)))) for _ in range(120)
        ]
        eventually(lambda: sum(map(is_closed, silent)) >= 20, within=4)
        assert all(map(is_closed, silent[:20]))
        assert files.names(port) == ["127.0.0.1"]
        assert answers(url)
        eventually(lambda: all(map(is_closed, silent)), within=10)


def test_a_certificate_of_no_use_takes_only_itself_away(tmp_path: Path, files: Files) -> None:
    """The rescue has the socket of this machine."""
    files.tls.cert_file.write_text("garbage")
    with (
        capture_logs() as logs,
        server.serving(nothing, tmp_path, host="127.0.0.1", port=0, token="x", tls=files.tls) as url,
    ):
        assert answers(url)
    assert [entry["log_level"] for entry in logs if entry["event"] == "tls_unusable"] == ["error"]


def test_an_address_that_is_not_there_takes_only_itself_away(tmp_path: Path) -> None:
    """No traceback: the environments go on, and this machine has its socket."""
    with (
        capture_logs() as logs,
        server.serving(nothing, tmp_path, host="192.0.2.1", port=0, token="x") as url,
    ):
        assert answers(url)
    assert [entry["wanted"] for entry in logs if entry["event"] == "api_address_unusable"] == ["192.0.2.1"]


def test_a_renewed_certificate_is_shown_to_the_next(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart. While only one of the two files is new, the old one is shown."""
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0.0)
    port = free_port()
    with server.serving(nothing, tmp_path, host="127.0.0.1", port=port, token="x", tls=files.tls):
        assert files.names(port) == ["127.0.0.1"]
        files.put("DNS:renewed.example", "c")
        assert files.names(port) == ["127.0.0.1"]
        files.put("DNS:renewed.example", "k")
        assert files.names(port) == ["renewed.example"]
        files.tls.cert_file.unlink()
        assert files.names(port) == ["renewed.example"]


def test_the_files_are_looked_at_once_a_second(files: Files) -> None:
    """However many connect."""
    now = [0.0]
    certificate = Certificate(files.tls, lambda: now[0])
    first = certificate.context
    files.put("DNS:renewed.example")
    assert certificate.context is first
    now[0] = 1.0
    assert certificate.context is not first
