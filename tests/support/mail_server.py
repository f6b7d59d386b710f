"""A mail server on loopback (SMTP, RFC 5321) that keeps what it is given, or answers what a test wants."""

from __future__ import annotations

import email
import socketserver
import threading
from email import policy
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import EmailMessage

GIVE_UP_SECONDS = 10.0
"""No client is listened to for longer."""


class MailServer:
    """Takes every mail. `answers` has other answers by the command, such as `{"MAIL": "451 later"}`."""

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        """Begin with no mail."""
        self.answers = dict(answers or {})
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[str] = []
        self.commands: list[str] = []

    def __enter__(self) -> Self:
        """Listen."""
        mine = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = GIVE_UP_SECONDS

            def handle(self) -> None:
                mine._talk(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, after the conversations that go on."""
        self._server.shutdown()
        self._thread.join(GIVE_UP_SECONDS)
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        port = self._server.server_address[1]
        assert isinstance(port, int)
        return port

    def _talk(self, client: socketserver.StreamRequestHandler) -> None:
        def say(line: str) -> None:
            client.wfile.write(f"{line}\r\n".encode())

        say("220 here")
        while line := client.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            self.commands.append(verb)
            if verb == "RCPT":
                self.recipients.append(line.partition("<")[2].partition(">")[0])
            if verb in self.answers:
                say(self.answers[verb])
            elif verb == "EHLO":
                say("250-here")
                say("250 AUTH PLAIN")
            elif verb == "DATA":
                say("354 go on")
                self._read(client)
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say({"AUTH": "235 welcome"}.get(verb, "250 ok"))

    def _read(self, client: socketserver.StreamRequestHandler) -> None:
        content = b""
        while (line := client.rfile.readline()) not in {b".\r\n", b""}:
            content += line
        self.raw.append(content)
        self.mails.append(email.message_from_bytes(content, policy=policy.default))
