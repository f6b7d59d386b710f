"""The log: one handler for all, and what may never be in a line."""

from __future__ import annotations

import base64
import errno
import io
import json
import logging
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from deployer import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = structlog.get_logger("deployer.engine.example")

ANSI_COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging is global: leave it as it was found, with nothing hidden."""
    monkeypatch.setattr(logs, "_hidden", logs._Hidden())
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    root.handlers[:], level = before
    root.setLevel(level)
    logging.getLogger("deployer").setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def as_json(level: str = "info") -> io.StringIO:
    """Log JSON into the stream that is returned."""
    stream = io.StringIO()
    logs.configure(stream, json=True, level=level)
    return stream


def for_people() -> io.StringIO:
    """Log for people, without colours, into the stream that is returned."""
    stream = io.StringIO()
    logs.configure(stream, json=False)
    return stream


def only(stream: io.StringIO) -> dict[str, Any]:
    """The one line that was logged, which must be JSON."""
    [line] = stream.getvalue().splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def log_an_exception(text: str) -> None:
    """Log an error whose message is `text`, with its traceback."""

    def fail() -> None:
        raise RuntimeError(text)

    try:
        fail()
    except RuntimeError:
        log.exception("raised")


# --- where lines go, and which -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "flag", "is_json"),
    [
        pytest.param(io.StringIO, None, True, id="file"),
        pytest.param(Terminal, None, False, id="terminal"),
        pytest.param(Terminal, True, True, id="terminal-json"),
        pytest.param(io.StringIO, False, False, id="file-for-people"),
    ],
)
def test_terminals_get_text_and_all_else_json(
    stream: type[io.StringIO], flag: bool | None, is_json: bool
) -> None:
    """JSON unless a person is looking; the flag has the last word."""
    out = stream()
    logs.configure(out, json=flag)

    log.info("reconciled", environment="staging")

    assert out.getvalue().startswith("{") == is_json
    assert "reconciled" in out.getvalue()
    assert "staging" in out.getvalue()


def test_no_color_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colours, and none when NO_COLOR is set."""
    colored, plain = Terminal(), Terminal()
    logs.configure(colored)
    log.info("reconciled")
    monkeypatch.setenv("NO_COLOR", "1")
    logs.configure(plain)
    log.info("reconciled")

    assert ANSI_COLOR.search(colored.getvalue())
    assert not ANSI_COLOR.search(plain.getvalue())


def test_a_line_says_when_how_bad_who_and_what() -> None:
    """Time in UTC, level, logger and event are in each line, beside the values as they were given."""
    out = as_json()

    log.warning("reconciled", environment="staging", ms=12, good=True, ratio=0.5, nothing=None)

    line = only(out)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert line == {
        "level": "warning",
        "event": "reconciled",
        "logger": "deployer.engine.example",
        "environment": "staging",
        "ms": 12,
        "good": True,
        "ratio": 0.5,
        "nothing": None,
    }


def test_libraries_speak_through_the_same_handler() -> None:
    """A library's sentence arrives as a value, with its logger's name, and never as the event's name."""
    out = as_json()

    logging.getLogger("urllib3.connectionpool").warning("Retrying %s\n", "GET")

    line = only(out)
    assert line["event"] == "library_message"
    assert line["text"] == "Retrying GET\n"
    assert line["logger"] == "urllib3.connectionpool"


def test_python_warnings_are_logged() -> None:
    """A warning goes to the log instead of raw to stderr."""
    out = as_json()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will change", DeprecationWarning, stacklevel=1)

    assert "this will change" in only(out)["text"]
    assert only(out)["logger"] == "py.warnings"


def test_what_is_bound_is_in_every_line_of_the_pass() -> None:
    """Context variables reach our own lines and those of libraries, and end with their block."""
    out = as_json()

    with structlog.contextvars.bound_contextvars(environment="staging", pass_id="1a2b"):
        log.info("reconciled")
        logging.getLogger("git.cmd").error("failed")
    log.info("stopped")

    ours, library, after = map(json.loads, out.getvalue().splitlines())
    assert (ours["environment"], ours["pass_id"]) == ("staging", "1a2b")
    assert (library["environment"], library["pass_id"]) == ("staging", "1a2b")
    assert "environment" not in after


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["ours_debug", "ours_info", "ours_warning", "ours_error", "their_warning"]),
        ("info", ["ours_info", "ours_warning", "ours_error", "their_warning"]),
        ("warning", ["ours_warning", "ours_error", "their_warning"]),
        ("error", ["ours_error", "their_warning"]),
    ],
)
def test_the_level_is_ours_and_libraries_speak_from_warning_on(level: str, expected: list[str]) -> None:
    """The level chooses among our lines; a library's debug lines (URLs, commands) are never shown."""
    out = as_json(level)

    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(f"ours_{name}")
    for name in ("debug", "info", "warning"):
        getattr(logging.getLogger("git.cmd"), name)(f"their_{name}")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == expected


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    """The error names what can be used."""
    with pytest.raises(ValueError, match=r"'loud'.*debug, info, warning, error"):
        logs.configure(io.StringIO(), level="loud")


def test_configuring_again_replaces_the_first() -> None:
    """One line is written once, to the newest stream only."""
    first = as_json()
    second = as_json()

    log.info("reconciled")
    logging.getLogger("git.cmd").error("failed")

    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 2


# --- secrets -----------------------------------------------------------------------------------------


secrets = st.text(min_size=6, max_size=40).filter(lambda text: len(text.strip()) >= 6)


@given(secret=secrets, before=st.text(max_size=5), after=st.text(max_size=5), people=st.booleans())
def test_a_hidden_value_is_in_no_line(secret: str, before: str, after: str, people: bool) -> None:
    """Wherever a hidden value appears in what is logged, it does not appear in the line."""
    logs._hidden = logs._Hidden()
    logs.hide(secret)
    out = for_people() if people else as_json()
    text = f"{before}{secret}{after}"

    log.info("seen", text=text, nested={"a": [{"b": (text,)}]}, url_encoded=quote(text, safe=""))
    log.info("seen", in_json=json.dumps({"k": text}), representation=repr([text]), path=Path("/x") / "y")
    logging.getLogger("git.cmd").error("failed: %s", text)
    log_an_exception(text)

    lines = out.getvalue()
    core = secret.strip()
    spellings = {core, quote(core, safe=""), json.dumps(core)[1:-1], repr(core)[1:-1]}
    # What is our own, and would be there without the secret too, cannot give it away.
    if not any(spelling in baseline(people=people) for spelling in spellings):
        assert not [spelling for spelling in spellings if spelling in lines]


def baseline(*, people: bool) -> str:
    """The lines of the test above, without a secret in them."""
    out = for_people() if people else as_json()
    log.info("seen", text="", nested={"a": [{"b": ("",)}]}, url_encoded="")
    log.info("seen", in_json='{"k": ""}', representation="['']", path="/x/y")
    logging.getLogger("git.cmd").error("failed: %s", "")
    log_an_exception("")
    return out.getvalue()


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(str, id="raw"),
        pytest.param(lambda secret: quote(secret, safe=""), id="url"),
        pytest.param(json.dumps, id="json"),
        pytest.param(repr, id="repr"),
        pytest.param(lambda secret: secret + "\n", id="file"),
    ],
)
def test_a_hidden_value_is_known_in_every_spelling(spell: Callable[[str], str]) -> None:
    """An answer in JSON, a repr in an error, an encoded URL: the secret looks different and still goes."""
    secret = "pass\"wörd'\\ 1/2\t3"
    logs.hide(secret)

    assert logs.scrub(f"<{spell(secret)}>").strip("<>\"'\n") == "redacted"


def test_a_key_file_is_hidden_line_by_line() -> None:
    """A part of a longer secret is a secret too; so is the value without the file's last line break."""
    logs.hide("-----BEGIN KEY-----\nc2VjcmV0IG9uZQ\nc2VjcmV0IHR3bw\n-----END KEY-----\n")
    out = as_json()

    log.info("seen", text="got c2VjcmV0IHR3bw from the agent")

    assert only(out)["text"] == "got <redacted> from the agent"


def test_the_longer_of_two_secrets_leaves_no_tail() -> None:
    """Where one hidden value begins with another, all of it goes."""
    logs.hide("hunter22")
    logs.hide("hunter22-and-more")

    assert logs.scrub("hunter22-and-more, hunter22") == "<redacted>, <redacted>"


def test_short_values_are_left_alone() -> None:
    """Hiding "1" would blacken every line and say nothing."""
    logs.hide("1")
    logs.hide("")

    assert logs.scrub("replicas 1 of 11") == "replicas 1 of 11"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ada:pa55word@git.example.com/x", "https://<redacted>@git.example.com/x"),
        (
            "fatal: 'https://ghp_abcdef@host/x.git/' not found",
            "fatal: 'https://<redacted>@host/x.git/' not found",
        ),
        ("postgresql+psycopg://u:p%40ss@db/deployer", "postgresql+psycopg://<redacted>@db/deployer"),
        ("http://127.0.0.1:8265/api/serve", "http://127.0.0.1:8265/api/serve"),
        ("Ada <ada@example.com>", "Ada <ada@example.com>"),
    ],
)
def test_urls_lose_their_userinfo(text: str, expected: str) -> None:
    """A password or token in a URL never reaches a line, ours or a library's."""
    out = as_json()

    log.info("seen", url=text)
    logging.getLogger("git.cmd").error("%s", text)

    ours, library = map(json.loads, out.getvalue().splitlines())
    assert (ours["url"], library["text"]) == (expected, expected)


def test_fields_that_are_named_like_secrets_are_masked() -> None:
    """By name, at any depth, whatever the value is; a path to a secret is not one."""
    out = as_json()

    log.info(
        "seen",
        token="abc",
        git_token=None,
        token_file="/etc/deployer/git.token",
        config={"runtime_env": {"env_vars": {"A": "b"}, "pip": ["x"]}},
    )

    line = only(out)
    assert line["token"] == "<redacted>"
    assert line["git_token"] is None
    assert line["token_file"] == "/etc/deployer/git.token"
    assert line["config"] == {"runtime_env": {"env_vars": "<redacted>", "pip": ["x"]}}


# --- hostile text ------------------------------------------------------------------------------------


@given(text=st.text(st.characters(), max_size=30))
def test_one_event_is_one_printable_line(text: str) -> None:
    """Whatever a commit, Ray or a library says: no line break, escape sequence or bidi trick gets through."""
    for configured in (for_people, as_json):
        out = configured()
        log.info("seen", text=text, nested={text: [text]})
        log.info(text)
        logging.getLogger("git.cmd").error("%s", text)

        lines = out.getvalue().split("\n")
        assert len(lines) == 4
        assert lines.pop() == ""
        assert all(line.isprintable() for line in lines)


def test_a_traceback_cannot_pass_for_log_lines() -> None:
    """For people a traceback keeps its lines, indented; what is in them cannot steer the terminal."""
    out = for_people()

    log_an_exception("first\n2026-01-01T00:00:00Z [info] all_is_well\r\x1b[2J\u202e")

    first, *rest = out.getvalue().splitlines()
    assert "raised" in first
    assert "    2026-01-01T00:00:00Z [info] all_is_well\\r\\x1b[2J\\u202e" in rest
    assert all(line.startswith("    ") for line in rest)
    assert not re.search(r"[\x1b\r\u202e]", out.getvalue())


# --- odd values, and a stream that fails -------------------------------------------------------------


class Colour(StrEnum):
    """A value of ours that is text."""

    RED = "red"


@dataclass(frozen=True)
class Odd:
    """A value that no renderer knows."""

    at: datetime


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Colour.RED, "red", id="enum"),
        pytest.param(Path("/etc/deployer"), "/etc/deployer", id="path"),
        pytest.param(float("nan"), "nan", id="nan"),
        pytest.param({1: {"a"}}, {"1": ["a"]}, id="mapping-and-set"),
        pytest.param(ValueError("why"), "why", id="exception"),
        pytest.param(Odd(at=datetime(2026, 1, 2, tzinfo=UTC)), None, id="dataclass"),
    ],
)
def test_every_value_becomes_plain_data(value: object, expected: object) -> None:
    """No object makes a line that is not JSON."""
    out = as_json()

    log.info("seen", value=value)

    assert only(out)["value"] == (str(value) if expected is None else expected)


def test_people_see_the_text_of_an_enum() -> None:
    """For people a value of ours reads as text, not as Python."""
    out = for_people()

    log.info("seen", value=Colour.RED)

    assert "value='red'" in out.getvalue()


def test_a_value_that_contains_itself_is_shown_as_far_as_it_goes() -> None:
    """A cycle costs one line's detail, not the line."""
    out = as_json()
    of_lists: list[Any] = ["here"]
    of_lists.append(of_lists)
    of_mappings: dict[str, Any] = {"here": True}
    of_mappings["again"] = of_mappings

    log.info("seen", lists=of_lists, mappings=of_mappings)

    line = only(out)
    assert line["lists"][0] == "here"
    assert line["mappings"]["again"]["here"] is True
    assert out.getvalue().count('"..."') == 2


def test_a_long_value_keeps_its_two_ends_and_no_half_secret() -> None:
    """The middle is left out, and a hidden value that the cut goes through is masked first."""
    logs.hide("s3cret" * 4)
    out = as_json()

    log.info("seen", value="begin" + "x" * 2_990 + "s3cret" * 4 + "y" * 10_000 + "end")

    value = only(out)["value"]
    assert value.startswith("beginxxx")
    assert value.endswith("yyyend")
    assert "characters left out" in value
    assert "s3c" not in value
    assert len(value) < 6_100


class Leaky(io.StringIO):
    """A stream on a disk that can be full."""

    full = False

    def write(self, text: str) -> int:
        """Write, or fail as the kernel does."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_lines_that_cannot_be_written_are_counted_not_raised(capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk costs log lines and nothing else; the first line after it says how many."""
    out = Leaky()
    logs.configure(out, json=True)

    out.full = True
    log.info("lost")
    logging.getLogger("git.cmd").error("lost")
    out.full = False
    log.info("found")
    log.info("found")

    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["lost_before"] == 2
    assert "lost_before" not in second
    assert capsys.readouterr().err == ""


def test_a_closed_stream_does_not_stop_the_daemon(tmp_path: Path) -> None:
    """Nobody reads the log any more: the program goes on."""
    with (tmp_path / "log").open("w") as stream:
        logs.configure(stream)
    log.info("lost")

    as_json()
    log.info("found")


def test_a_stream_that_is_not_utf8_gets_escapes() -> None:
    """A terminal in an old locale shows an escape instead of losing the line."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict", write_through=True)
    logs.configure(stream, json=False)

    log.info("seen", subject="水果")

    assert b"\\u6c34\\u679c" in raw.getvalue()
    stream.detach()


def test_bytes_are_shown_as_python_writes_them() -> None:
    """Bytes are data from outside: they go the same way as text."""
    logs.hide("hunter22")
    out = as_json()

    log.info("seen", value=b"hunter22 \xff", encoded=base64.b64encode(b"x"))

    assert only(out)["value"] == "b'<redacted> \\xff'"
