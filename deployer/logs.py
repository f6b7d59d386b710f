"""The log: structlog and the libraries' stdlib logging, through one handler, set up once at start.

Owns how a log line looks and what may never be in one. Must not know what is logged, by whom, or why.
Invariant: nothing leaves here with a hidden value, a URL's password or a raw control character in it, and a
line that cannot be written is counted, never raised: a full disk under the log does not stop a rollout.
"""

from __future__ import annotations

import io
import json as json_module
import logging
import math
import os
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

import structlog

from deployer.core.redact import is_secret, one_line
from deployer.core.scrub import MIN_SECRET_CHARACTERS, REDACTED
from deployer.core.scrub import scrub as scrub_urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# Characters of one value; the middle of a longer one is left out. journald splits lines at 48 KiB, which
# would make broken JSON of a long traceback from Ray; 6,000 times \uXXXX are 36 KiB.
_LONGEST_VALUE = 6_000

# Levels of one value that are shown. No line needs more, and a value may contain itself.
_DEEPEST = 8

_EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*")


def configure(stream: TextIO, *, json: bool | None = None, level: str = "info") -> None:
    """Send every log line of the process to `stream`.

    `json`: one JSON object per line, or lines for people; None means people where `stream` is a terminal.
    `level` (debug, info, warning, error) is for this program; its libraries speak from warning on.
    Calling it again replaces what the last call set up.

    Raises ValueError for an unknown level.
    """
    if level not in _LEVELS:
        message = f"Unknown log level {level!r}. Use one of: {', '.join(_LEVELS)}."
        raise ValueError(message)
    if isinstance(stream, io.TextIOWrapper):
        # A terminal that is not UTF-8 shows an escape instead of losing the line.
        stream.reconfigure(errors="backslashreplace")
    as_json = not stream.isatty() if json is None else json
    colors = stream.isatty() and not os.environ.get("NO_COLOR")

    # What must be read where the event happens, in its thread and at its time.
    on_the_spot: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=on_the_spot,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                handler.own_up,
                _name,
                _clean,
                *([structlog.processors.JSONRenderer()] if as_json else _for_people(colors=colors)),
            ],
        ),
    )
    structlog.configure(
        processors=[*on_the_spot, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("deployer").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)


# --- secrets -----------------------------------------------------------------------------------------


class _Hidden:
    """The values to mask, kept as one compiled pattern that readers take without a lock."""

    def __init__(self) -> None:
        """Start with nothing to hide."""
        self._lock = threading.Lock()
        self._spellings: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        with self._lock:
            spellings = self._spellings.union(_spellings(value))
            if spellings == self._spellings:
                return
            self._spellings = spellings
            # Longest first, or the tail of a value would stay where another one is its beginning.
            ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def mask(self, text: str) -> str:
        pattern = self._pattern
        return text if pattern is None else pattern.sub(REDACTED, text)


_hidden = _Hidden()


def hide(value: str) -> None:
    """Mask this value in every line from now on, however it is spelled: raw, URL-encoded, in JSON, in a repr.

    Each line of a longer secret (a key file) is masked by itself too. A value under 6 characters stays: to
    mask "1" would make every line unreadable.
    """
    _hidden.add(value)


def scrub(text: str) -> str:
    """Mask the hidden values, and what stands before the `@` of a URL."""
    return scrub_urls(_hidden.mask(text), frozenset())


def _spellings(value: str) -> Iterator[str]:
    for part in (value.strip(), *(line.strip() for line in value.splitlines())):
        if len(part) >= MIN_SECRET_CHARACTERS:
            yield part
            yield quote(part, safe="")
            yield json_module.dumps(part)[1:-1]
            yield repr(part)[1:-1]


# --- processors, in the order in which they run ------------------------------------------------------


def _name(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Keep free text out of the event's name: a library's sentence becomes a value like any other."""
    event = str(event_dict["event"])
    if not _EVENT_NAME.fullmatch(event):
        event_dict["event"] = "library_message"
        event_dict["text"] = event
    return event_dict


def _clean(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Make plain, scrubbed data of every value, so that no renderer meets an object with ideas of its own.

    When, how bad and what come first, for those who read JSON with their eyes.
    """
    keys = dict.fromkeys(("timestamp", "level", "event", *event_dict))
    return {key: _plain(key, event_dict[key], _DEEPEST) for key in keys if key in event_dict}


def _plain(key: object, value: object, levels: int) -> object:
    if isinstance(key, str) and value is not None and is_secret((key,)):
        return REDACTED
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            return _short(scrub(value))
        case Mapping() if levels:
            return {
                _short(scrub(str(name))): _plain(name, inner, levels - 1) for name, inner in value.items()
            }
        case list() | tuple() | set() | frozenset() if levels:
            return [_plain(None, inner, levels - 1) for inner in value]
        case Mapping() | list() | tuple() | set() | frozenset():
            return "..."
        case _:
            return _short(scrub(str(value)))


def _short(text: str) -> str:
    """Cut after scrubbing: half a secret would not be recognised. The end of a traceback says most."""
    excess = len(text) - _LONGEST_VALUE
    if excess <= 0:
        return text
    half = _LONGEST_VALUE // 2
    return f"{text[:half]} ... ({excess} characters left out) ... {text[-half:]}"


def _for_people(*, colors: bool) -> list[Processor]:
    """The console renderer, made safe.

    It passes ESC, C1 and bidi characters of a value on to the terminal (structlog 26.1) unless it prints the
    repr, which escapes all that Python does not call printable.
    """
    return [
        _indent_traceback,
        structlog.dev.ConsoleRenderer(
            colors=colors,
            repr_native_str=True,
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _indent_traceback(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Tracebacks keep their lines, indented, so that none of them can pass for a log line."""
    for key in ("exception", "stack"):
        if key in event_dict:
            lines = str(event_dict[key]).split("\n")
            event_dict[key] = "\n".join(f"    {one_line(line)}" for line in lines)
    return event_dict


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a stream. A line that fails (disk full, reader gone) is dropped and counted.

    The next line that gets through carries the count as `lost_before`.
    """

    def __init__(self, stream: TextIO) -> None:
        """Start with nothing lost."""
        super().__init__(stream)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, under the handler's lock."""
        lost = self._lost
        super().emit(record)
        if self._lost == lost:
            self._lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name and signature
        """Count instead of printing a traceback to stderr, which may be the very stream that failed."""
        self._lost += 1

    def own_up(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        """Say how many lines were lost just before this one."""
        if self._lost:
            event_dict["lost_before"] = self._lost
        return event_dict
