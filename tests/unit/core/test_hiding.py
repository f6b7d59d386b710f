"""What leaves the machine holds no secret of a config, however it is spelled, nor half of one."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from deployer.core.hiding import Hiding, hiding, names_of
from deployer.core.scrub import MIN_SECRET_CHARACTERS, REDACTED

SECRET = 'p@ss/w0rd "quoted"\u00e9'


def config(value: object = SECRET, **more: Any) -> dict[str, Any]:
    """A config with an environment variable of this value, and what else the application has."""
    one = {"name": "fruit", "import_path": "a:b", "runtime_env": {"env_vars": {"KEY": value}}, **more}
    return {"applications": [one]}


def spellings(secret: str) -> dict[str, str]:
    """How it can stand in a text."""
    raw = secret.encode()
    return {
        "as it is": secret,
        "JSON": json.dumps(secret)[1:-1],
        "JSON in JSON": json.dumps(json.dumps({"a": secret}))[1:-1],
        "Python": repr(secret),
        "URL": quote(secret, safe=""),
        "form": quote_plus(secret),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode(),
        "Basic": base64.b64encode(b"ada:" + raw).decode(),
        "in base64, one byte further": base64.b64encode(b"a" + raw + b"more").decode(),
        "in base64, two bytes further": base64.b64encode(b"ab" + raw + b"more").decode(),
        "hex": raw.hex(),
    }


@pytest.mark.parametrize("name", spellings(SECRET))
def test_no_spelling_of_a_secret_is_left(name: str) -> None:
    """Whichever it is, what stands around it stays."""
    spelled = spellings(SECRET)[name]
    told = hiding([config()]).text(f"before {spelled} after")
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert REDACTED in told
    # Of base64 the characters at its ends are of the neighbours as well.
    assert spelled[4:-8] not in told


SECRETS = st.text(min_size=MIN_SECRET_CHARACTERS, max_size=40).filter(str.isprintable)


@given(secret=SECRETS, before=st.binary(max_size=4), after=st.binary(max_size=4))
@example(secret="redacted", before=b"", after=b"")
def test_base64_of_anything_that_holds_it_is_found(secret: str, before: bytes, after: bytes) -> None:
    """Wherever in a group of three bytes it begins."""
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert REDACTED in hiding([config(secret)]).text(encoded)


@pytest.mark.parametrize(
    ("more", "secret"),
    [
        ({"args": {"db_password": "hunter2-hunter2"}}, "hunter2-hunter2"),
        ({"args": {"api_token": 1234567890}}, "1234567890"),
        ({"args": {"credentials": [{"x": "in-a-list"}]}}, "in-a-list"),
        ({"args": {"dsn": "postgres://ada:pa55w0rd@db/x"}}, "pa55w0rd"),
        ({"args": {"dsn": "postgres://ada:p%4055w0rd@db/x"}}, "p@55w0rd"),
        ({"args": {"url": "https://x/y?v=abcdefgh&access_key=q%2Bwertyuiop"}}, "q+wertyuiop"),
        ({"args": {"url": "https://x/y?access_key=q%2Bwertyuiop"}}, "q%2Bwertyuiop"),
    ],
    ids=["a name", "a number", "below a name", "a URL", "a quoted URL", "a parameter", "as it was sent"],
)
def test_where_secrets_stand_in_a_config(more: dict[str, Any], secret: str) -> None:
    """What a key calls so, a password in a URL, a parameter of one: and then wherever it is met again."""
    hide = hiding([config(**more)])
    assert hide.text(f"it says {secret}!") == f"it says {REDACTED}!"
    assert secret not in json.dumps(hide.tree(config(**more)))


def test_what_is_no_secret_stays() -> None:
    """Short values, numbers of no such name, nothing at all; and the parameters of a URL that are none."""
    hide = hiding(
        [config("short", args={"n": 123456789, "x": None, "y": True, "u": "https://x/?v=abcdefgh"})]
    )
    text = "short 123456789 None True https://x/?v=abcdefgh&page=2"
    assert hide.text(text) == text
    assert hide.evidence(text) == text


def test_a_url_shows_no_password_that_nobody_knew() -> None:
    """Nor a parameter that is called so."""
    told = Hiding().text("GET https://ada:secret@x/y?api_key=abc#top and http://x/?token=abc&page=2")
    assert told == f"GET https://{REDACTED}@x/y?api_key={REDACTED}#top and http://x/?token={REDACTED}&page=2"


def test_names_that_are_shown_anyway_are_not_hidden() -> None:
    """`ENVIRONMENT: production` would take the environment's name out of every sentence."""
    hide = hiding([config("production")], ["production"])
    assert hide.text("production#3") == "production#3"
    assert [*names_of(config(deployments=[{"name": "Mango"}, {"num_replicas": 1}]))] == ["fruit", "Mango"]
    assert [*names_of({"applications": None})] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("w0rd-abcdefgh left", f"{REDACTED} left"),
        ("the log ends with pass-w0r", f"the log ends with {REDACTED}"),
        ('x: "pass-w0rd... -> "3"', f'x: "{REDACTED}... -> "3"'),
        ("pass-w0rd\u2026 and pass-w\u2026", f"{REDACTED}\u2026 and {REDACTED}\u2026"),
        ("pass-w pass-word", "pass-w pass-word"),
        ("pass-word pass-w0", f"pass-word {REDACTED}"),
        ("it is -abcdefgh", "it is -abcdefgh"),
        ("a cdefgh", "a cdefgh"),
    ],
)
def test_half_of_a_secret_is_hidden_where_a_text_is_cut(text: str, told: str) -> None:
    """At its start, at its end, and where `...` stands for the rest; what only looks like it stays."""
    assert hiding([config("pass-w0rd-abcdefgh")]).evidence(text) == told


def test_the_longest_half_is_hidden() -> None:
    """Where its end has the same characters twice."""
    hide = hiding([config("secret-abcabc-abcabc")])
    assert hide.evidence("abcabc-abcabc and more") == f"{REDACTED} and more"
    assert hide.evidence("and abcabc-abcabc...") == "and abcabc-abcabc..."
    assert hide.evidence("of secret-secret-abc") == f"of secret-{REDACTED}"


@given(secret=SECRETS, cut=st.integers(min_value=MIN_SECRET_CHARACTERS, max_value=39))
def test_no_cut_shows_a_half(secret: str, cut: int) -> None:
    """However much of it is left at either end."""
    hide = hiding([config(secret)])
    head, tail = secret[:cut], secret[-cut:]
    assume(head not in REDACTED and tail not in REDACTED)
    assert not hide.evidence(f"~~~ {head}").endswith(head)
    assert not hide.evidence(f"{tail} ~~~").startswith(tail)


def test_a_tree_of_ours_keeps_its_own_words() -> None:
    """What is a name or a word of ours is told as it is: a variable may have the same value."""
    hide = hiding([config("failed")])
    told = hide.texts({"result": "failed", "says": "It failed.", "list": [{"n": 1}, ("failed",)], "x": None})
    assert told == {
        "result": "failed",
        "says": f"It {REDACTED}.",
        "list": [{"n": 1}, [REDACTED]],
        "x": None,
    }


def test_a_tree_of_a_file_is_masked_by_its_keys_too() -> None:
    """And what holds the value elsewhere."""
    file = config(args={"banner": f"it is {SECRET}", "token": "x"})
    shown = hiding([file]).tree(file)
    assert isinstance(shown, dict)
    (application,) = shown["applications"]
    assert application["args"] == {"banner": f"it is {REDACTED}", "token": REDACTED}
    assert application["runtime_env"] == {"env_vars": {"KEY": REDACTED}}


def test_what_is_hidden_does_not_show_what_it_is() -> None:
    """In no repr."""
    assert SECRET not in repr(hiding([config()]))
