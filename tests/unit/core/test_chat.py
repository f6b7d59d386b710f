"""A notice as a message to people, and the address that it goes to."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import chat
from deployer.core.chat import Tone
from deployer.core.markup import ZERO_WIDTH, Style
from deployer.core.notices import About, Notice, Severity
from deployer.core.routes import Route, cloud_event, message
from deployer.core.routes import test_payload as payload_of_a_test
from tests.unit.core.test_notices import STORIES, told
from tests.unit.core.test_routes import BY_DAY, FAILURE, recovery

LINK = "https://deployer.example.com/rollouts/staging%232"


def event(notice: Notice = FAILURE, link: str | None = LINK, **changes: object) -> dict[str, Any]:
    """What the engine hands over."""
    return cloud_event(
        {**message(Route(name="ops"), notice).payload, **changes},
        id_="msg_1",
        environment=notice.environment,
        at="2026-11-24T12:00:00.000Z",
        deployer="https://deployer.example.com",
        link=link,
    )


def test_a_post_says_what_happened_why_and_the_next_step() -> None:
    """In one line, with the page of the rollout in another; without a page, in one."""
    assert chat.post(event(), Style.EXACT) == chat.Post(
        title="deployer: staging#2",
        text=f"staging: b failed: bad price. Push a fix.\n{LINK}",
        tone=Tone.WARNING,
    )
    assert chat.post(event(link=None), Style.EXACT).text == "staging: b failed: bad price. Push a fix."


def shown() -> str:
    """What people get of some stories; and hostile words in every style, with `~` for what parts them."""
    lines = list[str]()
    for name in (
        "one that fails, the way back, and the fix",
        "lost, and there again",
        "a promotion that fails",
    ):
        lines.append(f"## {name}")
        for one in told(STORIES[name]):
            post = chat.post(event(one), Style.EXACT)
            lines += [f"{post.tone}: {post.title}", post.text]
        lines.append("")
    (one,) = told(STORIES["hostile words"])
    for style in Style:
        post = chat.post(event(replace(one, sentence=one.sentence[:80])), style)
        lines += [f"## hostile words, {style}", post.text.replace(ZERO_WIDTH, "~"), ""]
    return "\n".join(lines)


def test_every_message_is_as_it_was_agreed() -> None:
    """`UPDATE_SNAPSHOTS=1` writes the file anew; git shows what changed."""
    file = Path(__file__).parent / "snapshots" / "chat.txt"
    if "UPDATE_SNAPSHOTS" in os.environ:
        file.write_text(shown())
    assert file.read_text() == shown()


@pytest.mark.parametrize(
    ("notice", "tone"),
    [
        (FAILURE, Tone.WARNING),
        (replace(FAILURE, severity=Severity.CRITICAL), Tone.FAILURE),
        (replace(FAILURE, severity=Severity.INFO, about=About.WAITING), Tone.INFO),
        (replace(FAILURE, severity=Severity.INFO, about=About.ROLLED_BACK), Tone.INFO),
        (replace(FAILURE, severity=Severity.INFO, about=About.GOOD), Tone.SUCCESS),
        (recovery(replace(FAILURE, severity=Severity.CRITICAL), BY_DAY), Tone.SUCCESS),
    ],
    ids=["warning", "critical", "waiting", "rolled-back", "good", "recovered"],
)
def test_the_tone_is_how_grave_it_is(notice: Notice, tone: Tone) -> None:
    """What went well, and what is well again, is a success."""
    assert chat.post(event(notice), Style.EXACT).tone is tone


def test_what_a_later_version_calls_grave_is_shown_all_the_same() -> None:
    """A row of the outbox may be newer than who delivers it."""
    assert chat.post(event(severity="apocalyptic"), Style.EXACT).tone is Tone.INFO


def test_a_stranger_breaks_no_line_and_moves_no_cursor() -> None:
    """What is in the store was cleaned; it is done again, for it is cheap."""
    post = chat.post(
        event(sentence="a\r\nBcc: x\x1b[2Jb\u202e", next_step="c\n", thread="s#1\r\nBcc: y"), Style.EXACT
    )
    assert post.text == f"a Bcc: xb c\n{LINK}"
    assert post.title == "deployer: s#1 Bcc: y"


@pytest.mark.parametrize(
    ("thread", "title"),
    [
        ("production#42", "deployer: production#42"),
        ("production/cluster", "deployer: production/cluster"),
        ("production/" + "ab" * 20, "deployer: production/abababa"),
        ("test/ops", "deployer: test/ops"),
        ("<b>@all**", "deployer: b all"),
        ("x" * 100, "deployer: " + "x" * 50),
    ],
    ids=["rollout", "cause", "commit", "test", "hostile", "long"],
)
def test_a_title_is_of_its_rollout(thread: str, title: str) -> None:
    """And short enough for a topic."""
    assert chat.title(thread) == title


@pytest.mark.parametrize("style", list(Style))
def test_of_a_long_sentence_the_next_step_is_not_lost(style: Style) -> None:
    """It is cut where it may be; Discord takes 2,000 characters."""
    post = chat.post(event(sentence="*" * 5_000, next_step="Push a fix."), style)
    assert post.text.endswith(f"… Push a fix.\n{LINK}")
    assert len(post.title) + len(post.text) + 2 <= 2_000


def test_a_test_message_can_be_shown() -> None:
    """It has all the fields."""
    post = chat.post(event(**payload_of_a_test("ops")), Style.EXACT)
    assert post.title == "deployer: test/ops"
    assert "This is a test of the route ops" in post.text


def test_what_keeps_a_rollout_together() -> None:
    """The same for all of it, another for another daemon, and nothing where the place has no such thing."""
    failed, well = event(), event(recovery(FAILURE, BY_DAY))
    mail = chat.options({"mailto", "mailtos"}, failed)
    assert mail == chat.options({"mailtos"}, well)
    assert mail["+References"] == mail["+In-Reply-To"]
    assert mail["+References"].endswith("@deployer.invalid>")
    pager = chat.options({"pagerduty"}, failed)
    assert pager == chat.options({"pagerduty"}, well)
    assert pager["action"] == "map"
    assert pager["dedup"] in mail["+References"]
    assert chat.options({"opsgenie"}, failed) == {"action": "new", "alias": pager["dedup"]}
    assert chat.options({"opsgenie"}, well) == {"action": "new"}
    assert chat.options({"gchat"}, failed) == {"thread": pager["dedup"]}
    assert chat.options({"slack"}, failed) == {}
    elsewhere = {**failed, "source": "https://other.example.com/env/staging"}
    assert chat.options({"pagerduty"}, elsewhere)["dedup"] != pager["dedup"]


def test_options_are_added_to_an_address() -> None:
    """After those that are there, for the last one counts."""
    assert chat.with_options("slack://a/b", {}) == "slack://a/b"
    assert chat.with_options("slack://a/b", {"format": "text", "+X": "<a&b>"}) == (
        "slack://a/b?format=text&+X=%3Ca%26b%3E"
    )
    assert chat.with_options("slack://a/b?x=y", {"format": "text"}) == "slack://a/b?x=y&format=text"


def test_a_file_holds_one_address() -> None:
    """With or without a line end."""
    assert chat.address(b"\n  slack://T1/B1/secret \n") == "slack://T1/B1/secret"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no apprise URL"),
        (b"hunter2hunter2", "has no apprise URL"),
        (b"slack://a b", "has no apprise URL"),
        (b"\xff\xfe", "has no apprise URL"),
        (b"slack://a\nslack://b", "has 2 lines"),
        (b"slack://" + b"a" * 5_000, "has more than 4000 bytes"),
    ],
    ids=["empty", "password", "blank", "binary", "two", "long"],
)
def test_what_is_no_address_is_refused_without_a_word_of_it(content: bytes, why: str) -> None:
    """It may be a secret."""
    with pytest.raises(ValueError, match=why) as caught:
        chat.address(content)
    assert "hunter2" not in str(caught.value)


@given(st.lists(st.text("abcXYZ0189-_", min_size=4, max_size=20), min_size=1, max_size=5))
def test_each_part_of_an_address_is_a_secret(parts: list[str]) -> None:
    """Wherever it stands in it, written as it is, or as a URL writes it."""
    address = f"slack://{'/'.join(parts)}?token={parts[0]}%21&x={parts[-1]}"
    found = chat.secrets(address)
    assert {*parts, address, f"{parts[0]}!"} <= found


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("x.example", False)],
)
def test_what_stays_on_this_machine(host: str, is_here: bool) -> None:
    """There nobody is on the way."""
    assert chat.is_this_machine(host) is is_here
