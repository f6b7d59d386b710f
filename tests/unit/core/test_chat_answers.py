"""What apprise's log lines tell of an answer."""

from __future__ import annotations

import pytest

from deployer.core.chat_answers import Line, cause, status

HTTP: list[Line] = [
    ("DEBUG", "Slack Payload: {'text': 'error=200.'}"),
    ("WARNING", "Failed to send Slack notification: Page not found., error=404."),
    ("DEBUG", "Response Details:\r\nb'no_service'"),
]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], None),
        (HTTP, 404),
        ([("WARNING", "A Connection error occurred sending Slack notification.")], None),
        ([("DEBUG", "Socket Exception: (535, b'5.7.8 no')")], 401),
        ([("DEBUG", "Socket Exception: {'ops@example.com': (550, b'nobody')}")], 400),
        ([("DEBUG", "Socket Exception: (451, b'later')")], 503),
        ([("DEBUG", "Socket Exception: (221, b'bye')")], None),
        ([("WARNING", "Failed: error=99.")], None),
        ([("DEBUG", "Slack Payload: {'text': \"error=410. (535, b'')\"}")], None),
    ],
    ids=["nothing", "http", "broken", "auth", "mailbox", "later", "no-error", "no-status", "a-commit"],
)
def test_a_status_is_read_from_the_lines(lines: list[Line], found: int | None) -> None:
    """The last that tells one: HTTP's, or SMTP's in the same meaning."""
    assert status(lines) == found


BROKE = [
    ("certificate verify failed", "its TLS certificate is not trusted"),
    ("[Errno 111] Connection refused", "nothing answers there"),
    ("Read timed out.", "it does not answer in time"),
    ("connect timeout=5", "it does not answer in time"),
    ("Failed to resolve 'x'", "its host name is not known"),
    ("[Errno -2] Name or service not known", "its host name is not known"),
    ("nonsense", "it was not taken, and no answer is known"),
]


@pytest.mark.parametrize(("said", "why"), BROKE)
def test_what_broke_is_said_in_our_words(said: str, why: str) -> None:
    """A line may hold the address."""
    found = cause(None, [("DEBUG", f"Socket Exception: /hunter2: {said}")], "f")
    assert why in found
    assert "hunter2" not in found


@pytest.mark.parametrize("said", [said for said, _ in BROKE])
def test_what_broke_is_not_taken_from_the_message(said: str) -> None:
    """Which has a stranger's words."""
    assert "no answer is known" in cause(None, [("DEBUG", f"Payload: Socket Exception: {said}")], "f")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (302, "it redirects elsewhere, which is not followed: write the final address into /etc/ops"),
        (400, "it answered 400, and does not take this: see what it says"),
        (401, "it answered 401, and does not let us in, or knows no such address: check /etc/ops"),
        (404, "it answered 404, and does not let us in, or knows no such address: check /etc/ops"),
        (410, "it answered 410, and wants nothing any more: take the route out of the settings"),
        (429, "it was asked too often, and is asked again later"),
        (500, "it answered 500: it is tried again"),
        (200, "it answered 200, and does not take this: see what it says"),
    ],
)
def test_what_an_answer_means(answer: int, why: str) -> None:
    """With the next step."""
    assert cause(answer, [], "/etc/ops") == why
