"""What strangers wrote does nothing where it is shown, and reads the same."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.markup import ZERO_WIDTH, Style, harmless, sent_as, style

TEXTS = st.text(
    st.one_of(st.sampled_from("@<>&*_~`|[]()#\\!:/ab 1-$^{}"), st.characters(codec="utf-8")), max_size=60
).filter(lambda text: ZERO_WIDTH not in text)


@pytest.mark.parametrize(
    ("schemas", "found"),
    [
        ({"mailto", "mailtos"}, Style.EXACT),
        ({"slack"}, Style.QUIET),
        ({"gchat"}, Style.ESCAPED),
        ({"discord"}, Style.MARKDOWN),
        ({"opsgenie"}, Style.UNKNOWN),
        ({"zulip", "another"}, Style.UNKNOWN),
        (set[str](), Style.UNKNOWN),
    ],
    ids=["mail", "slack", "gchat", "discord", "opsgenie", "zulip", "nothing"],
)
def test_how_a_place_reads(schemas: set[str], found: Style) -> None:
    """By apprise's names; what nobody looked at may read anything."""
    assert style(schemas) is found
    assert sent_as(found) == ("markdown" if found is Style.ESCAPED else "text")


@pytest.mark.parametrize(
    ("of", "text", "shown"),
    [
        (Style.EXACT, "<b> @here **x**", "<b> @here **x**"),
        (Style.QUIET, "<b> @here **x**", f"<b> @{ZERO_WIDTH}here **x**"),
        (Style.ESCAPED, "<@U1> **x**", f"<{ZERO_WIDTH}@{ZERO_WIDTH}U1> **x**"),
        (Style.ESCAPED, r"\*x\*", "＼*x＼*"),  # noqa: RUF001 - what is meant
        (Style.MARKDOWN, "[x](y) `a_b` @here", rf"\[x\]\(y\) \`a\_b\` @{ZERO_WIDTH}here"),
        (Style.UNKNOWN, "<b> @a [x](y)", "＜b＞ ＠a ［x］（y）"),  # noqa: RUF001 - what is meant
    ],
    ids=["exact", "quiet", "escaped", "backslash", "markdown", "unknown"],
)
def test_what_is_shown(of: Style, text: str, shown: str) -> None:
    """Each style by an example."""
    assert harmless(text, of) == shown


@given(TEXTS)
def test_nobody_is_mentioned_and_no_tag_begins(text: str) -> None:
    """Whatever is written."""
    for of in (Style.QUIET, Style.ESCAPED, Style.MARKDOWN, Style.UNKNOWN):
        assert not re.search(f"@(?!{ZERO_WIDTH})", harmless(text, of)), of
    for of in (Style.ESCAPED, Style.MARKDOWN, Style.UNKNOWN):
        assert not re.search(f"[<&](?!{ZERO_WIDTH})", harmless(text, of)), of
    assert not set(harmless(text, Style.UNKNOWN)) & set("\\`*_~|[]()<>&@#")


@given(TEXTS)
def test_in_markdown_each_sign_is_escaped_and_none_twice(text: str) -> None:
    """Read as Markdown is read: a backslash takes what follows as it is, and nothing else is special."""
    rest, read = harmless(text, Style.MARKDOWN), ""
    while rest:
        if rest[0] == "\\":
            read, rest = read + rest[1], rest[2:]
        else:
            assert rest[0] not in "`*_~|[]()#$"
            read, rest = read + rest[0], rest[1:]
    assert read.replace(ZERO_WIDTH, "") == text


@given(TEXTS)
def test_a_person_reads_what_was_written(text: str) -> None:
    """No word is lost, in any style; and its lines stay."""
    for of in (Style.EXACT, Style.QUIET):
        assert harmless(text, of).replace(ZERO_WIDTH, "") == text
    for of in (Style.ESCAPED, Style.UNKNOWN):
        wide = harmless(text, of).replace(ZERO_WIDTH, "")
        assert unicodedata.normalize("NFKC", wide) == unicodedata.normalize("NFKC", text)
        assert len(wide.split("\n")) == len(text.split("\n"))
