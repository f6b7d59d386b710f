"""Tokens: how they are made and recognised, when they count, and the sessions that browsers get for them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import tokens
from deployer.core.tokens import LOCAL, RIGHTS, Right, Role, Token, Verdict

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
KEY = tokens.session_key("dpl_of-this-machine")


def kept(secret: str) -> Token:
    """What is kept of a token."""
    hash_ = tokens.digest(secret)
    return Token(
        id=tokens.id_of(hash_),
        name="ada",
        hash=hash_,
        role=Role.DEPLOYER,
        environments=None,
        created_at=NOW,
        created_by="bob (local)",
    )


@given(st.binary(min_size=32, max_size=32))
def test_a_token_holds_all_the_randomness(randomness: bytes) -> None:
    """It has the form of one, fits a header, and two are as different as what they were made of."""
    secret = tokens.make(randomness)
    assert tokens.is_token(secret)
    assert secret.isascii()
    assert len(secret) == 47
    other = bytes([randomness[0] ^ 1]) + randomness[1:]
    assert tokens.make(other) != secret


@pytest.mark.parametrize("count", [0, 16, 31, 33])
def test_no_token_is_made_of_less(count: int) -> None:
    """Nor of more, which would not come out whole."""
    with pytest.raises(ValueError, match="32 random bytes"):
        tokens.make(bytes(count))


@pytest.mark.parametrize(
    "text", ["", "dpl_", "dpl_" + "a" * 42, "dpl_" + "a" * 44, "dpl_" + "é" * 43, "dpl_" + "a" * 43 + "\n"]
)
def test_what_is_no_token(text: str) -> None:
    """Another length, or other characters."""
    assert not tokens.is_token(text)


def test_what_is_kept_is_a_hash() -> None:
    """The id is the beginning of that hash, and a repr shows neither."""
    secret = tokens.make(bytes(range(32)))
    token = kept(secret)
    assert token.hash == hashlib.sha256(secret.encode()).hexdigest()
    assert token.id == token.hash[:8]
    assert secret not in repr(token)
    assert token.hash not in repr(token)
    assert LOCAL not in {token.id, "0" * 8}


@pytest.mark.parametrize(
    "name", ["a", "ada", "ada@example.com", "EXAMPLE\\ada", "ci-7_x.y+z", "box$", "é" * 64]
)
def test_names(name: str) -> None:
    """Login names."""
    assert tokens.is_name(name)


@pytest.mark.parametrize(
    "name", ["", "$", "a b", "a\n", "ada (local)", "<b>", "a$b", "a" * 65, "a" * 64 + "$"]
)
def test_what_is_no_name(name: str) -> None:
    """Nothing that could pass for more than a name in the log, or is longer than that of a command."""
    assert not tokens.is_name(name)


def test_when_a_token_counts() -> None:
    """Until the moment at which it expires, and not once it was revoked."""
    token = kept(tokens.make(bytes(32)))
    soon = replace(token, expires_at=NOW + timedelta(seconds=1))
    over = replace(token, expires_at=NOW)
    assert tokens.verdict(None, NOW) is Verdict.UNKNOWN
    assert tokens.verdict(token, NOW) is Verdict.OK
    assert tokens.verdict(soon, NOW) is Verdict.OK
    assert tokens.verdict(over, NOW) is Verdict.EXPIRED
    assert tokens.verdict(replace(over, revoked_at=NOW), NOW) is Verdict.REVOKED


def test_what_each_role_may_do() -> None:
    """Everybody reads; nobody but an admin both deploys and approves."""
    assert set(RIGHTS) == set(Role)
    assert all(Right.READ in rights for rights in RIGHTS.values())
    assert [role for role in Role if {Right.DEPLOY, Right.APPROVE} <= RIGHTS[role]] == [Role.ADMIN]
    assert [role for role in Role if Right.ADMINISTER in RIGHTS[role]] == [Role.ADMIN]
    assert [role for role in Role if Right.OVERRIDE in RIGHTS[role]] == [Role.OVERRIDER, Role.ADMIN]
    assert Right.DEPLOY in RIGHTS[Role.OVERRIDER]


# --- sessions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["0123abcd", LOCAL])
def test_a_session_is_of_one_token_until_then(id_: str) -> None:
    """And says so without the token."""
    end = (NOW + timedelta(hours=1)).replace(microsecond=0)
    text = tokens.session(KEY, id_, NOW + timedelta(hours=1))
    assert tokens.read_session(KEY, text, NOW) == (id_, end)
    assert tokens.read_session(KEY, text, NOW + timedelta(minutes=59)) == (id_, end)
    assert tokens.read_session(KEY, text, NOW + timedelta(hours=1)) is None
    assert tokens.read_session(tokens.session_key("dpl_another"), text, NOW) is None


@given(st.integers(min_value=0, max_value=70), st.characters())
def test_a_changed_session_counts_for_nothing(place: int, character: str) -> None:
    """Whatever is changed: the id, the time, or the signature."""
    text = tokens.session(KEY, "0123abcd", NOW + timedelta(hours=1))
    place %= len(text)
    changed = text[:place] + character + text[place + 1 :]
    assert (tokens.read_session(KEY, changed, NOW) is None) == (changed != text)


@given(st.text())
def test_no_other_text_is_a_session(text: str) -> None:
    """Nor an error."""
    assert tokens.read_session(KEY, text, NOW) is None
