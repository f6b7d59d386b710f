"""What a person reads holds no secret and cannot move their cursor."""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from deployer.core.scrub import MIN_SECRET_CHARACTERS, REDACTED, first, last, plain, scrub, secrets_of

SECRET = "hunter2-hunter2"


def body(**env_vars: object) -> dict[str, Any]:
    """A config with these environment variables at application level."""
    return {"applications": [{"name": "fruit", "runtime_env": {"env_vars": env_vars}}]}


def test_secrets_are_found_at_application_and_deployment_level() -> None:
    """Both places where Serve takes environment variables count, in every application."""
    config = {
        "applications": [
            {"name": "a", "runtime_env": {"env_vars": {"A": "value-of-a"}}},
            {
                "name": "b",
                "deployments": [
                    {"name": "D", "ray_actor_options": {"runtime_env": {"env_vars": {"B": "value-of-b"}}}}
                ],
            },
        ]
    }
    assert secrets_of(config) == {"value-of-a", "value-of-b"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("12345", set(), id="five characters are no secret"),
        pytest.param("123456", {"123456"}, id="six are"),
        pytest.param(123456789, {"123456789"}, id="a number counts as Ray would print it"),
        pytest.param(None, set(), id="null"),
        pytest.param(["in-a-list"], {"in-a-list"}, id="a list, which Ray refuses with a quotation"),
        pytest.param({"nested": "in-a-mapping"}, {"in-a-mapping"}, id="a mapping"),
    ],
)
def test_what_counts_as_a_secret(value: object, expected: set[str]) -> None:
    """Length decides, not type; other keys of the config never count."""
    assert secrets_of(body(A=value)) == expected


def test_a_line_of_a_key_file_is_a_secret_of_its_own() -> None:
    """A message that quotes one line of a value with several lines does not show that line."""
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    secrets = secrets_of(body(KEY=f"-----BEGIN-----\n{line}\nend\n"))
    assert scrub(f"ValueError: bad line {line}", secrets) == f"ValueError: bad line {REDACTED}"


def test_env_vars_need_not_be_a_mapping() -> None:
    """A config that is wrong is still cleaned: it is the one that ends in an error message."""
    assert secrets_of({"env_vars": "not a mapping"}) == {"not a mapping"}


@pytest.mark.parametrize(
    "secret",
    [
        'quote"and\\backslash',
        "line\nbreak\tand more",
        "umlaut-äöü-€",
        "a b&c=d/e?f",
        "it's 'quoted'",
        "\x1b[31mcoloured\x07!",
    ],
)
def test_every_spelling_of_a_secret_is_found(secret: str) -> None:
    """As it is, escaped as JSON or Python, encoded for a URL, and stripped of control characters."""
    spellings = {
        "as it is": secret,
        "json": json.dumps({"A": secret}),
        "json with characters": json.dumps({"A": secret}, ensure_ascii=False),
        "python": repr([secret]),
        "url path": quote(secret),
        "url part": quote(secret, safe=""),
        "form": quote_plus(secret),
        "stripped": plain(f"said {secret}"),
    }
    found = {how: scrub(text, {secret}) for how, text in spellings.items()}
    assert all(REDACTED in text for text in found.values()), found


@given(secret=st.text(min_size=MIN_SECRET_CHARACTERS), before=st.text(), after=st.text())
@example(secret=REDACTED, before="", after="")
@example(secret="<redac", before="", after="")
def test_no_secret_survives(secret: str, before: str, after: str) -> None:
    """Whatever stands around it, the value is gone from the text."""
    assume(secret not in REDACTED)
    assume(all(secret not in text for text in (before + REDACTED + after, f"{REDACTED}{REDACTED}")))
    assert secret not in scrub(before + secret + after, {secret})


def test_a_secret_inside_another_does_not_break_it_up() -> None:
    """The longest value goes first, so nothing of it is left beside the shorter one's mask."""
    assert scrub("token abcdef-0123", {"abcdef", "abcdef-0123"}) == f"token {REDACTED}"


def test_a_value_that_is_only_control_characters_masks_nothing() -> None:
    """What is left of such a value is the empty text, which would be found everywhere."""
    assert scrub("all is well", {"\x1b[31m\x1b[0m"}) == "all is well"


def test_pydantic_does_not_quote_half_a_secret() -> None:
    """Pydantic cuts what it quotes in the middle, so the quotation goes as a whole."""
    message = (
        "1 validation error for ServeDeploySchema\napplications.0.import_path\n"
        f"  Field required [type=missing, input_value={{'TOKEN': '{SECRET[:9]}...': 1}}, input_type=dict]"
    )
    assert scrub(message, {SECRET}).splitlines()[-1] == "  Field required [type=missing, input_type=dict]"


class Shouting:
    """An object that prints itself on several lines."""

    def __repr__(self) -> str:
        """Print what half of a secret looks like."""
        return f"Config(\n  {SECRET[:9]}\n)"


@pytest.mark.parametrize(
    "value",
    [
        {"TOKEN": SECRET * 9},
        f"{SECRET}\n{SECRET}",
        [f", input_value={SECRET[:9]}"],
        Shouting(),
    ],
    ids=["long", "two lines", "says input_value", "prints itself on lines"],
)
@pytest.mark.parametrize("quoted", [str, json.dumps, lambda text: repr(repr(text))])
def test_pydantic_s_own_words_quote_nothing(value: object, quoted: Any) -> None:
    """What the installed pydantic says, also inside of other messages; the error itself stays."""

    class Model(BaseModel):
        count: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"count": value})
    text = scrub(quoted(f"before\n{caught.value}\nafter"), frozenset())

    assert SECRET[:9] not in text
    assert "[type=int_" in text
    assert "before" in text
    assert "after" in text


def test_a_log_that_says_input_value_stays() -> None:
    """An error of pydantic at its end takes nothing away but its own quotation."""
    log = "".join(f"INFO predicted, input_value={number}.5, in 3 ms\n" for number in range(1000))
    error = "ValidationError: 1 validation error\n  Bad [type=x, input_value='u', input_type=str]\n"

    assert scrub(log + error, frozenset()) == log + error.replace("input_value='u', ", "")


@given(
    st.lists(
        st.text("ab []=,:/'{}", max_size=20)
        | st.sampled_from(["input_value=1, ", "[type=x, ", "input_type=str]", "[type=x,\u00a0input_value="])
    ).map("".join)
)
def test_lines_without_secrets_survive(text: str) -> None:
    """Nothing is lost but the quotations of pydantic."""
    assume(re.search(r"\[type=.*, input_value=.*, input_type=", text) is None)
    assert scrub(text, frozenset({SECRET})) == text


@pytest.mark.parametrize(
    "piece",
    [
        *("input_value=", "[type=", "[type=a, input_value=", "[type=a, input_value=b, ", ", input_type="),
        *("[type=a, input_value=b, input_type=", "://", "://a@", "://a", "@", "://" + "a" * 5000),
        *("\x1b[", "\x1b[0", "\x1b]", "\x1b ", "\x9b", "\x90", "\x9b0 ", SECRET, SECRET[:-1]),
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    """1 MiB of what the patterns look for costs a few times as much as 1 MiB of an ordinary log."""

    def seconds(of: str) -> float:
        text = (of * (1024 * 1024 // len(of) + 1))[: 1024 * 1024]
        started = time.perf_counter()
        scrub(plain(text), {SECRET})
        return time.perf_counter() - started

    ordinary = seconds("INFO 2026-11-22 10:42:00,000 r2 -- it predicted 3.7\n")
    assert seconds(piece) < 30 * ordinary


class TestEnds:
    """Of a long text only an end is searched, and no half of a secret is left at the cut."""

    @given(
        # One that overlaps itself is found at other places after a cut, as it would be without one.
        secret=st.text("abc \n\x1b[1/é", min_size=MIN_SECRET_CHARACTERS, max_size=40).map("S".__add__),
        filler=st.sampled_from(["x", "\n", "\x1b[0m", "{secret}", "://u@", "{secret}x"]),
        before=st.integers(4000, 6000),
        after=st.integers(4000, 6000),
        limit=st.integers(1, 60),
    )
    def test_they_are_the_ends_of_the_whole(
        self, secret: str, filler: str, before: int, after: int, limit: int
    ) -> None:
        """Wherever the cut falls: what is shown is what stands at that end of the scrubbed text, or less."""
        assume(secret not in REDACTED)
        filler = filler.format(secret=secret)
        text = filler * (before // len(filler)) + secret + filler * (after // len(filler))
        whole = scrub(plain(text), {secret})

        assert whole.startswith(first(text, {secret}, limit))
        assert len(first(text, {secret}, limit)) <= limit
        assert whole.endswith(last(text, {secret}, limit))
        assert len(last(text, {secret}, limit)) <= limit

    def test_a_cut_inside_a_secret_shows_no_half_of_it(self) -> None:
        """Even one that fills the whole of what is searched."""
        secret = "s3cr3t-" * 2000

        assert first(secret * 3, {secret}, 100) == REDACTED * 3
        for cut in range(0, len(secret), 999):
            assert "s3cr3t" not in first("x" * cut + secret * 5, {secret}, 100)
            assert "s3cr3t" not in last(secret * 5 + "x" * cut, {secret}, 100)

    def test_a_short_text_is_shown_whole(self) -> None:
        """Nothing is thrown away where nothing was cut."""
        assert first(f"a {SECRET}", {SECRET}, 100) == last(f"a {SECRET}", {SECRET}, 100) == f"a {REDACTED}"
        assert (first("abcdef", frozenset(), 3), last("abcdef", frozenset(), 3)) == ("abc", "def")

    def test_a_huge_text_costs_no_more_than_what_is_shown(self) -> None:
        """64 MiB in less time than the search of one takes."""
        started = time.perf_counter()
        scrub(plain("x" * 1024 * 1024), {SECRET})
        one = time.perf_counter() - started
        huge = "x" * 64 * 1024 * 1024
        started = time.perf_counter()
        assert first(huge, {SECRET}, 60) == last(huge, {SECRET}, 60) == "x" * 60
        assert time.perf_counter() - started < one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cloning https://ada:s3cr3t@git.example.com/x", f"cloning https://{REDACTED}@git.example.com/x"),
        ("cloning https://t0ken@git.example.com/x", f"cloning https://{REDACTED}@git.example.com/x"),
        ("GET http://a:p@ss@host/x", f"GET http://{REDACTED}@host/x"),
        (
            "see https://example.com/x and mail ada@example.com",
            "see https://example.com/x and mail ada@example.com",
        ),
    ],
)
def test_passwords_in_urls_go_too(text: str, expected: str) -> None:
    """User and password of a URL are masked without being named; other text with an at sign stays."""
    assert scrub(text, frozenset()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("\x1b[36mray::f()\x1b[39m (pid=1)", "ray::f() (pid=1)", id="the colours of Ray"),
        pytest.param("\x1b[38;2;1;2;3mx\x1b[K", "x", id="24 bit colour, erase line"),
        pytest.param("\x9b31mx", "x", id="one-byte introducer"),
        pytest.param("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\link", "xlink", id="window title, hyperlink"),
        pytest.param("\x1b]0;never ended\nnext line", "\nnext line", id="an unfinished title"),
        pytest.param("\x1bPq#0\x1b\\x", "x", id="device control string"),
        pytest.param("\x1b(Bx\x1bcy", "xy", id="character set, reset"),
        pytest.param("a\r\nb\rc\x08\x00\x7f", "a\nbc", id="return, backspace, nul, delete"),
        pytest.param("tab\tand\nnewline", "tab\tand\nnewline", id="tab and newline stay"),
        pytest.param("user\u202etxt.exe\u2066x\u200f", "usertxt.exex", id="bidi controls"),
        pytest.param("a\u2028b\x85c", "abc", id="odd line ends"),
        pytest.param("half \ud83d of a character", "half  of a character", id="a lone surrogate"),
        pytest.param("naïve 日本語 🙂", "naïve 日本語 🙂", id="all scripts stay"),
    ],
)
def test_plain(text: str, expected: str) -> None:
    """Only what a reader can see stays, and line structure."""
    assert plain(text) == expected


@given(st.text())
def test_plain_is_printable_and_settled(text: str) -> None:
    """No escape, no control character is left, and doing it twice changes nothing more."""
    once = plain(text)
    assert not any(c in once for c in "\x1b\x9b\x9d\r\x00\u202e\u2028")
    assert once.encode().decode() == once
    assert plain(once) == once


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"args": {"db_password": "hunter2!"}}, {"hunter2!"}),
        ({"args": [{"api-key": {"of": ["hunter2!", 1]}}]}, {"hunter2!"}),
        ({"args": {"max_tokens": 123456}}, set()),
        ({"args": {"at": "postgres://ada:hunter%202@db/x"}}, {"ada:hunter%202", "hunter%202", "hunter 2"}),
        ({"args": {"at": "postgres://postgres@db/x"}}, set()),
        ({"args": {"at": "https://ghp_0123456789abcdef@git/x"}}, {"ghp_0123456789abcdef"}),
        ({"args": {"at": "https://x/?v=1&access_token=hunter%202&w=2"}}, {"hunter%202", "hunter 2"}),
        ({"args": {"at": "https://x/?version=hunter2"}}, set()),
    ],
)
def test_what_a_key_or_a_url_says_to_be_a_secret(body: dict[str, Any], expected: set[str]) -> None:
    """Wherever it stands in a config, or in what Serve answers."""
    assert secrets_of(body) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /x?api_key=abc&v=1", f"GET /x?api_key={REDACTED}&v=1"),
        ("https://x/?v=1&session_token=a%20b#top", f"https://x/?v=1&session_token={REDACTED}#top"),
        ("/x?max_tokens=5&version=2", "/x?max_tokens=5&version=2"),
    ],
)
def test_tokens_in_urls_go_too(text: str, expected: str) -> None:
    """By the name of the parameter, whatever its value is."""
    assert scrub(text, frozenset()) == expected


def test_of_many_secrets_each_is_found() -> None:
    """Also where it is looked first which can be there at all; the longest first."""
    secrets = frozenset({f"secret-{number:03}" for number in range(200)} | {"secret-007-and-more"})
    text = "secret-007-and-more, secret-199; secret-200"
    assert scrub(text, secrets) == f"{REDACTED}, {REDACTED}; secret-200"
    assert scrub("", secrets) == ""
