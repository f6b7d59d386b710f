"""Sends a message to people by apprise: chat, mail, pagers. The one module that knows it.

Owns the call, how long it may take, and what its outcome means to a person. Must not know what a message
says, nor when it is tried again. Invariant: the address, which is a secret as a whole, is read from its file
at each message and stands in no sentence; apprise's own log goes nowhere; no redirect is followed; and nobody
waits for a call longer than `total_seconds`, nor after `interrupt`.

apprise (2.2) says yes or no. What it was answered stands in its log lines alone (`error=404`), and what broke
in those for debugging: from these a status is read, and never a text that is shown unless it is scrubbed.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

from deployer.core import chat, chat_answers, markup
from deployer.core.redact import one_line
from deployer.core.scrub import first

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

TOTAL_SECONDS = 30.0
"""For one message. Some places are asked several times for one."""

_STEPS = {"cto": "5", "rto": "10"}
"""Seconds for a connection, and between two bytes of an answer."""

_OURS = {
    **_STEPS,
    "retry": "0",
    "redirect": "no",
    "overflow": "split",
    "emojis": "no",
    # With `yes` apprise calls a failure a success.
    "optional": "no",
}
"""Once, and nowhere else, whatever stands in the address."""

_SHOWN = 200
_FILE_BYTES = 16 * 1024

_STOPPED = "it was not sent to the end: the daemon is shutting down"

_MISSING = (
    "apprise is not installed, which sends to chat, mail and pagers: pip install 'ray-serve-deployer[notify]'"
)


class ChatUnavailable(Exception):  # noqa: N818 - says what it is
    """It was not taken. `why` is a sentence; `status` is None if no answer is known."""

    def __init__(self, why: str, *, status: int | None = None) -> None:
        """Take the sentence."""
        super().__init__(why)
        self.why = why
        self.status = status


class _Line(Protocol):
    level: str
    message: str


class _Result(Protocol):
    def __bool__(self) -> bool: ...
    def logs(self) -> Iterable[_Line]: ...


class _Plugin(Protocol):
    """What is used of apprise's `NotifyBase`."""

    schema: str
    host: str | None
    protocol: str | Sequence[str] | None
    secure_protocol: str | Sequence[str] | None


class Apprise:
    """One place. Thread-safe; sends one message at a time."""

    def __init__(self, url_file: Path, *, total_seconds: float = TOTAL_SECONDS) -> None:
        """Take the file with its address."""
        self._file = url_file
        self._total_seconds = total_seconds
        self._call: _Call | None = None
        self._lock = threading.Lock()
        self._is_stopped = False

    def check(self) -> str:
        """Whether something can be sent there, as far as is known without sending: apprise's name of it.

        Raises ChatUnavailable.
        """
        return self._place(self._address()).schema

    def send(self, id_: str, body: Mapping[str, Any]) -> None:  # noqa: ARG002 - nobody there knows ids
        """Send this CloudEvent of a notice. Raises ChatUnavailable."""
        address = self._address()
        plugin = self._place(address)
        names = _names(plugin)
        style = markup.style(names)
        post = chat.post(body, style)
        ours = {**_OURS, "format": markup.sent_as(style), **chat.options(names, body)}
        whole = chat.with_options(address, ours)
        call = self._begin(_Call(whole, post), plugin.schema)
        is_over = call.over.wait(self._total_seconds)
        if self._is_stopped and not call.is_taken:
            raise ChatUnavailable(_STOPPED)
        if not is_over:
            why = f"there was no complete answer within {self._total_seconds:g} s: check the network"
            raise ChatUnavailable(_sentence(plugin.schema, why))
        if not call.is_taken:
            raise self._refusal(plugin.schema, address, call.lines)

    def interrupt(self) -> None:
        """Nobody waits any more. What runs can only be left: its thread ends with the process."""
        with self._lock:
            self._is_stopped = True
            if self._call is not None:
                self._call.over.set()

    def _begin(self, call: _Call, name: str) -> _Call:
        with self._lock:
            if self._is_stopped:
                raise ChatUnavailable(_STOPPED)
            if self._call is not None and not self._call.is_done:
                # Else each try would leave one more behind.
                why = "the last message to it still hangs: it is tried again once that ends"
                raise ChatUnavailable(_sentence(name, why))
            self._call = call
        call.start()
        return call

    def _address(self) -> str:
        try:
            with self._file.open("rb") as file:
                return chat.address(file.read(_FILE_BYTES))
        except OSError as error:
            why = f"cannot read its url_file {self._file}: {error.strerror}"
            raise ChatUnavailable(why) from error
        except ValueError as error:
            message = f"its url_file {self._file} {error}"
            raise ChatUnavailable(message) from error

    def _place(self, address: str) -> _Plugin:
        plugin = _made(_library(), chat.with_options(address, _OURS))
        if plugin is None:
            # Which part is wrong only its log says, with the address.
            message = (
                f"apprise cannot use what stands in its url_file {self._file}: compare it with the page of"
                " that service on appriseit.com, which also says what packages it needs"
            )
            raise ChatUnavailable(message)
        safe = _listed(plugin.secure_protocol)
        is_open = bool(safe) and plugin.schema not in safe and plugin.schema in _listed(plugin.protocol)
        if is_open and not chat.is_this_machine(str(plugin.host or "")):
            message = (
                f"its url_file {self._file} begins with {plugin.schema}://, and everybody on the way could"
                f" read the messages: write {safe[0]}://"
            )
            raise ChatUnavailable(message)
        return plugin

    def _refusal(self, name: str, address: str, lines: Sequence[chat_answers.Line]) -> ChatUnavailable:
        status = chat_answers.status(lines)
        said = next((text for level, text in reversed(lines) if level in {"WARNING", "ERROR"}), "")
        said = one_line(first(said, chat.secrets(address), _SHOWN)).strip()
        why = chat_answers.cause(status, lines, str(self._file)) + (
            f" (apprise says: {said})" if said else ""
        )
        return ChatUnavailable(_sentence(name, why), status=status)


class _Call(threading.Thread):
    """One call, in a thread that nobody has to wait for."""

    def __init__(self, address: str, post: chat.Post) -> None:
        super().__init__(name="apprise", daemon=True)
        self.over = threading.Event()
        self.is_done = False
        self.is_taken = False
        self.lines: list[chat_answers.Line] = []
        self._address = address
        self._post = post

    def run(self) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - of 180 plugins; its text may hold the address
            self.lines.append(("DEBUG", f"apprise failed on it ({type(error).__name__})"))
        finally:
            self.is_done = True
            self.over.set()

    def _send(self) -> None:
        library = _library()
        plugin = _made(library, self._address)
        place = library.Apprise(asset=_asset(library))
        place.add(plugin)
        result = cast(
            "_Result",
            place.notify(
                title=self._post.title,
                body=self._post.text,
                notify_type=self._post.tone.value,
                body_format="text",
                log_level=logging.DEBUG,
            ),
        )
        self.lines = [(line.level, line.message) for line in result.logs()]
        self.is_taken = bool(result)


def _library() -> ModuleType:
    """Apprise, imported at its first use: 0.1 s, and 25 MB. Raises ChatUnavailable."""
    try:
        import apprise  # noqa: PLC0415 - see above
    except ImportError as error:
        raise ChatUnavailable(_MISSING) from error
    # Its lines name the hosts of addresses, which are tokens at some places: they are read here alone. It
    # has a handler that does nothing, so that Python does not print them either.
    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.DEBUG)
    return cast("ModuleType", apprise)


def _asset(library: ModuleType) -> object:
    """How apprise behaves: as us, in one thread, without files, and without its pictures from elsewhere."""
    return library.AppriseAsset(
        app_id="deployer",
        app_desc="deployer",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        storage_mode="memory",
        async_mode=False,
        # Else it would wait in threads that hold up the end of the process.
        service_timeout=0,
    )


def _made(library: ModuleType, address: str) -> _Plugin | None:
    return cast("_Plugin | None", library.Apprise.instantiate(address, asset=_asset(library)))


def _names(plugin: _Plugin) -> frozenset[str]:
    return frozenset((*_listed(plugin.protocol), *_listed(plugin.secure_protocol)))


def _listed(names: str | Sequence[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def _sentence(name: str, why: str) -> str:
    return f"cannot send by {name}: {why}"
