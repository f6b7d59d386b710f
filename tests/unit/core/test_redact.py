"""What a person wrote in a file is shown without its secrets, on one line, and cannot move a cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.redact import is_secret, mask, mentions_secret, one_line, quote
from deployer.core.scrub import REDACTED


@pytest.mark.parametrize(
    "key",
    [
        "env_vars",
        "password",
        "db_password",
        "HF_TOKEN",
        "x-api-key",
        "apikey",
        "api_key",
        "credentials",
        "a\n_secret",
    ],
)
def test_keys_of_secrets(key: str) -> None:
    """What is named like a secret is one, wherever it stands, and so is all below it."""
    assert is_secret((key,))
    assert is_secret(("applications", 0, key, "A", 1))
    assert mentions_secret(f"a: 1\n  {key}: x")


@pytest.mark.parametrize(
    "key", ["max_tokens", "tokenizer", "token_file", "environment", "passwords_allowed", "secretary"]
)
def test_keys_of_other_things(key: str) -> None:
    """A word that only holds the name of a secret is shown: hiding `max_tokens` would make a plan useless."""
    assert not is_secret((key, 0))
    assert not mentions_secret(f"{key}: 5")


@given(text=st.text())
def test_one_line_is_one_visible_line(text: str) -> None:
    """Nothing is left that ends a line or moves a cursor, and what was harmless is as it was."""
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert shown == text or not text.isprintable()


def test_line_breaks_and_direction_marks_are_written_out() -> None:
    """A reader sees that something is there, and what."""
    assert one_line("a\nb\x1b[0m\u202e\u2028c") == "a\\nb\\x1b[0m\\u202e\\u2028c"


@given(name=st.text())
def test_quoted_names_are_short_and_visible(name: str) -> None:
    """A name from a file fits a sentence, whatever it is."""
    assert quote(name).isprintable()
    assert len(quote(name[:60])) >= 2


def test_a_long_name_is_cut() -> None:
    """So that the sentence around it is still read."""
    assert quote("n" * 61) == repr("n" * 60 + "...")
    assert quote("n" * 60) == repr("n" * 60)


def test_a_quoted_url_has_no_password() -> None:
    """Not even the half of one, where the URL is cut."""
    assert quote("https://ada:hunter2@host/x") == f"'https://{REDACTED}@host/x'"
    assert "hunter2" not in quote("https://ada:" + "hunter2" * 20 + "@host/x")


def test_a_tree_is_masked_by_key_and_cleaned_elsewhere() -> None:
    """Secrets go whatever their type; nothing else changes but its texts; the tree that came in stays."""
    tree = {
        "name": "fruit",
        "runtime_env": {"env_vars": {"A": "hunter2", "B": 7, "C": None}, "pip": ["torch", "https://u:p@x/y"]},
        "args": {"db_password": ["x", {"y": True}], "max_tokens": 3, "sizes": (1, 2.5, None, False)},
    }
    before = repr(tree)

    assert mask(tree, str.upper) == {
        "name": "FRUIT",
        "runtime_env": {
            "env_vars": {"A": REDACTED, "B": REDACTED, "C": None},
            "pip": ["TORCH", "HTTPS://U:P@X/Y"],
        },
        "args": {"db_password": [REDACTED, {"y": REDACTED}], "max_tokens": 3, "sizes": [1, 2.5, None, False]},
    }
    assert repr(tree) == before
