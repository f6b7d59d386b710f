"""Each forge's signature is taken as the forge makes it, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.webhooks import (
    MIN_KEY_BYTES,
    SIGNATURE_HEADERS,
    TOLERANCE_SECONDS,
    Accepted,
    Refused,
    Scheme,
    key,
    sign,
    verify,
)
from tests.support.webhooks import PLAIN, SCHEMES, SECRETS, SENT_AT, Delivery, deliveries, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = deliveries()
OTHER = b"another stall, and another key"
EVERY = pytest.mark.parametrize("sent", ALL, ids=lambda sent: f"{sent.scheme}-{sent.name}")


def keys(scheme: Scheme) -> list[bytes]:
    """The key of the fixtures."""
    return [key(scheme, SECRETS[scheme].encode())]


def why(verdict: Accepted | Refused) -> str:
    """Why it was refused, which it must have been."""
    assert isinstance(verdict, Refused), verdict
    return verdict.why


def without(sent: Delivery, *names: str) -> list[tuple[bytes, bytes]]:
    """Its headers but these."""
    return [one for one in sent.wire if one[0].decode().lower() not in {name.lower() for name in names}]


def of(scheme: Scheme) -> Delivery:
    """A push of this forge."""
    return next(one for one in ALL if one.scheme == scheme and one.name.startswith("push"))


# --- what the forges published ------------------------------------------------------------------------------


def test_the_vector_that_github_published() -> None:
    """docs.github.com, Validating webhook deliveries, Testing the webhook payload validation."""
    found = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    one = key("github", b"It's a Secret to Everybody")
    headers = [(b"X-Hub-Signature-256", found)]
    assert verify("github", [one], headers, b"Hello, World!", 0) == Accepted(delivery=None)
    assert "not made with this secret" in why(verify("github", [one], headers, b"Hello, World?", 0))


def test_the_vector_that_standard_webhooks_published() -> None:
    """The one in the tests of its reference libraries."""
    headers = [
        (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (b"webhook-timestamp", b"1614265330"),
        (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    schemes: tuple[Scheme, ...] = ("gitlab", "generic")
    for scheme in schemes:
        one = key(scheme, b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        verdict = verify(scheme, [one], headers, b'{"test": 2432232314}', 1_614_265_330)
        assert verdict == Accepted(delivery="msg_p5jXN8AQM9LWM0D4loKWxJek")


@EVERY
def test_what_openssl_signed_is_accepted(sent: Delivery) -> None:
    """The fixtures were not signed by this code. The id is the forge's, whatever else was sent."""
    verdict = verify(sent.scheme, keys(sent.scheme), sent.wire, sent.body, SENT_AT)
    assert isinstance(verdict, Accepted), verdict
    assert verdict.is_ping == sent.is_ping
    assert verdict.delivery is not None
    assert verdict.delivery.startswith("5d0a2f5e-0000-4000-8000-00000000000")


# --- keys ---------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("position", [0, 1])
def test_while_a_secret_is_replaced_both_are_taken(sent: Delivery, position: int) -> None:
    """Whichever of the two it was signed with."""
    both = [OTHER]
    both[position:position] = keys(sent.scheme)
    assert isinstance(verify(sent.scheme, both, sent.wire, sent.body, SENT_AT), Accepted)


@EVERY
@pytest.mark.parametrize("wrong", [[OTHER], [OTHER, OTHER], []], ids=["one", "two", "none"])
def test_another_secret_is_refused(sent: Delivery, wrong: Sequence[bytes]) -> None:
    """With whatever headers it comes, and where there is no key at all."""
    said = why(verify(sent.scheme, wrong, sent.wire, sent.body, SENT_AT))
    assert said == f"its {SIGNATURE_HEADERS[sent.scheme]} was not made with this secret"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_secret_is_long_enough(scheme: Scheme) -> None:
    """Neither an empty file nor a short word is a key."""
    for secret in (b"", b"x" * (MIN_KEY_BYTES - 1)):
        content = b"whsec_" + base64.b64encode(secret) if scheme == "gitlab" else secret
        with pytest.raises(ValueError, match="openssl rand -hex 32"):
            key(scheme, content)


def test_the_key_of_a_signing_token_is_what_it_decodes_to() -> None:
    """For GitLab always, for others where it says so itself; a plain secret is the key as it stands."""
    token = b"whsec_" + base64.b64encode(OTHER)
    assert key("gitlab", token) == key("generic", token) == OTHER
    assert key("generic", OTHER) == OTHER
    assert key("github", token) == token


@pytest.mark.parametrize(
    ("scheme", "secret", "said"),
    [
        ("gitlab", b"glpat-secret-canary-0123", "for a secret token the scheme is gitlab-token"),
        ("gitlab", b"whsec_secret-canary!", "no base64"),
        ("generic", b"whsec_secret-canary!", "no base64"),
    ],
)
def test_a_secret_of_another_kind_says_so(scheme: Scheme, secret: bytes, said: str) -> None:
    """And does not show itself."""
    with pytest.raises(ValueError, match=said) as caught:
        key(scheme, secret)
    assert "canary" not in str(caught.value)


# --- headers ------------------------------------------------------------------------------------------------


@EVERY
def test_names_of_headers_have_any_case(sent: Delivery) -> None:
    """Proxies write them as they like."""
    loud = [(name.upper(), value) for name, value in sent.wire]
    assert isinstance(verify(sent.scheme, keys(sent.scheme), loud, sent.body, SENT_AT), Accepted)


@EVERY
def test_a_second_signature_header_is_refused(sent: Delivery) -> None:
    """Also if both are right: who sends two wants one of them to be read by somebody else."""
    name = SIGNATURE_HEADERS[sent.scheme]
    twice = [*sent.wire, (name.lower().encode(), sent.headers[name].encode())]
    assert why(verify(sent.scheme, keys(sent.scheme), twice, sent.body, SENT_AT)) == (
        f"it has more than one {name} header"
    )


@EVERY
def test_without_a_signature_it_is_refused(sent: Delivery) -> None:
    """However well the rest looks."""
    rest = without(sent, *SIGNATURE_HEADERS.values())
    said = why(verify(sent.scheme, keys(sent.scheme), rest, sent.body, SENT_AT))
    assert said == f"it has no {SIGNATURE_HEADERS[sent.scheme]} header"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_is_the_one_of_the_settings(scheme: Scheme) -> None:
    """Another forge's signature with the same secret proves nothing, and the log says what was sent."""
    for sent in ALL:
        if SIGNATURE_HEADERS[sent.scheme] == SIGNATURE_HEADERS[scheme] or sent.scheme == "gitea":
            continue
        other = SIGNATURE_HEADERS[sent.scheme]
        headers = [(other.encode(), sent.headers[other].encode())]
        said = why(verify(scheme, keys(scheme), headers, sent.body, SENT_AT))
        assert said == f"it has no {SIGNATURE_HEADERS[scheme]} header, but {other}, which is another scheme"


def test_sha1_is_never_taken() -> None:
    """GitHub still sends it, in the header that Bitbucket has SHA-256 in."""
    sent = of("github")
    assert sent.headers["X-Hub-Signature"].startswith("sha1=")
    one = keys("github")
    assert why(verify("bitbucket", one, without(sent, "X-Hub-Signature-256"), sent.body, SENT_AT))
    old = hmac.new(one[0], sent.body, "sha1").hexdigest()
    for name, value in ((b"x-hub-signature-256", f"sha1={old}"), (b"x-hub-signature-256", old)):
        assert why(verify("github", one, [(name, value.encode())], sent.body, SENT_AT))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [b"", b" ", b"v1,", b"sha256=", b"\xff", b"v1", b"v1, v1,", b"x" * 10_000])
def test_a_signature_that_is_none_is_refused(scheme: Scheme, value: bytes) -> None:
    """Also an empty one."""
    headers = [*without(of(scheme), SIGNATURE_HEADERS[scheme]), (SIGNATURE_HEADERS[scheme].encode(), value)]
    assert why(verify(scheme, keys(scheme), headers, of(scheme).body, SENT_AT))


# --- ids and pings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("github", "X-GitHub-Delivery"),
        ("gitea", "X-Gitea-Delivery"),
        ("bitbucket", "X-Request-Id"),
        ("gitlab-token", "Idempotency-Key"),
    ],
)
@pytest.mark.parametrize("values", [[], [b""], [b"a b"], [b"x" * 201], [b"\xff"], [b"one", b"two"]])
def test_an_id_that_is_none_does_not_hinder(scheme: Scheme, name: str, values: list[bytes]) -> None:
    """It is no part of what is signed, so it decides nothing but whether a repetition is recognised."""
    sent = of(scheme)
    headers = without(sent, name, "X-Request-UUID") + [(name.encode(), value) for value in values]
    assert verify(scheme, keys(scheme), headers, sent.body, SENT_AT) == Accepted(delivery=None)


def test_a_push_that_a_hook_made_is_no_repetition() -> None:
    """GitLab gives it the same X-Gitlab-Event-UUID as the push before."""
    sent = of("gitlab-token")
    verdict = verify("gitlab-token", keys("gitlab-token"), without(sent, "Idempotency-Key"), sent.body, 0)
    assert verdict == Accepted(delivery=None)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_forges_that_ping_have_pings(scheme: Scheme) -> None:
    """And theirs has to come once."""
    sent = of(scheme)
    ping = {"github": (b"X-GitHub-Event", b"ping"), "bitbucket": (b"X-Event-Key", b"diagnostics:ping")}
    for number in (1, 2):
        rest = without(sent, "X-GitHub-Event", "X-Event-Key")
        verdict = verify(scheme, keys(scheme), [*rest, *list(ping.values()) * number], sent.body, SENT_AT)
        assert isinstance(verdict, Accepted), verdict
        assert verdict.is_ping == (scheme in ping and number == 1)


# --- Standard Webhooks --------------------------------------------------------------------------------------


def standard(
    body: bytes = b"{}", *, delivery: str = "one", at: str = str(SENT_AT)
) -> list[tuple[bytes, bytes]]:
    """Headers with a right signature over whatever these are."""
    text = f"{delivery}.{at}.".encode() + body
    signature = base64.b64encode(hmac.new(PLAIN.encode(), text, hashlib.sha256).digest())
    return [
        (b"webhook-id", delivery.encode()),
        (b"webhook-timestamp", at.encode()),
        (b"webhook-signature", b"v1," + signature),
    ]


@pytest.mark.parametrize("off", [-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS])
def test_clocks_may_differ(off: int) -> None:
    """By five minutes, both ways."""
    headers = standard(at=str(SENT_AT + off))
    assert verify("generic", keys("generic"), headers, b"{}", SENT_AT) == Accepted(delivery="one")


@pytest.mark.parametrize(("off", "side"), [(-1, "before"), (1, "after")])
def test_an_old_one_is_refused(off: int, side: str) -> None:
    """Who has seen it may send it again for five minutes only; and the log says which clock to look at."""
    at = SENT_AT + off * (TOLERANCE_SECONDS + 1)
    said = why(verify("generic", keys("generic"), standard(at=str(at)), b"{}", SENT_AT))
    assert said.startswith(f"it was sent 301 s {side} now, by the two clocks")


@pytest.mark.parametrize(
    "at", ["", "soon", "-1", "1e9", "\uff11\uff17", "9" * 13, f" {SENT_AT}", f"{SENT_AT}.5"]
)
def test_a_time_that_is_none_is_refused(at: str) -> None:
    """Although it was signed."""
    said = why(verify("generic", keys("generic"), standard(at=at), b"{}", SENT_AT))
    assert said == "its webhook-timestamp is no number of seconds"


@pytest.mark.parametrize("delivery", ["", "a.b", "a b", "ä", "x" * 201])
def test_an_id_that_is_signed_must_be_one(delivery: str) -> None:
    """With a dot in it, what was signed could be cut at another place."""
    said = why(verify("generic", keys("generic"), standard(delivery=delivery), b"{}", SENT_AT))
    assert said.startswith("its webhook-id is none")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_what_is_signed_must_be_there_once(name: str) -> None:
    """Neither missing nor twice."""
    sent = of("gitlab")
    twice = [*sent.wire, (name.encode(), sent.headers[name].encode())]
    for headers in (without(sent, name), twice):
        assert why(verify("gitlab", keys("gitlab"), headers, sent.body, SENT_AT))


def test_a_sender_that_replaces_its_key_signs_with_both() -> None:
    """One that fits is enough, among a handful; another kind of signature is none."""
    *rest, (name, right) = standard()
    wrong = b"v1," + base64.b64encode(b"x" * 32)
    for value in (right, wrong + b" " + right, right + b" v1a,AAAA", b" ".join([wrong] * 9 + [right])):
        assert isinstance(
            verify("generic", keys("generic"), [*rest, (name, value)], b"{}", SENT_AT), Accepted
        )
    for value in (b" ".join([wrong] * 10 + [right]), right.replace(b"v1,", b"v1a,"), right[3:]):
        assert why(verify("generic", keys("generic"), [*rest, (name, value)], b"{}", SENT_AT))


# --- whatever is sent ---------------------------------------------------------------------------------------


@given(st.data())
def test_one_bit_more_or_less_is_refused(data: st.DataObject) -> None:
    """Of the body or of the signature: nothing but the very bytes is accepted."""
    scheme = data.draw(st.sampled_from(SCHEMES))
    body = data.draw(st.binary(min_size=1, max_size=200))
    made = signed(scheme, body, secret=SECRETS[scheme], delivery="one", at=SENT_AT)
    name = SIGNATURE_HEADERS[scheme]
    right = made.pop(name).encode()
    rest = [(one.encode(), value.encode()) for one, value in made.items()]
    assert isinstance(verify(scheme, keys(scheme), [*rest, (name.encode(), right)], body, SENT_AT), Accepted)
    is_body = scheme != "gitlab-token" and data.draw(st.booleans())
    before = body if is_body else right
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    after = bytearray(before)
    after[bit // 8] ^= 1 << bit % 8
    changed, signature = (bytes(after), right) if is_body else (body, bytes(after))
    assert why(verify(scheme, keys(scheme), [*rest, (name.encode(), signature)], changed, SENT_AT))


NAMES = sorted(
    {*SIGNATURE_HEADERS.values(), "webhook-id", "webhook-timestamp", "X-GitHub-Event", "X-Event-Key"}
)
SOUP = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([name.encode() for name in NAMES]), st.binary(max_size=20)),
        st.one_of(st.binary(max_size=80), st.sampled_from([b"ping", b"v1,", b"1795428000", b"sha256="])),
    ),
    max_size=12,
)


@given(scheme=st.sampled_from(SCHEMES), headers=SOUP, body=st.binary(max_size=100), now=st.floats(0, 1e10))
def test_no_soup_of_headers_is_accepted_or_raises(
    scheme: Scheme, headers: list[tuple[bytes, bytes]], body: bytes, now: float
) -> None:
    """A refusal says why, in one printable line that repeats nothing of it."""
    verdict = verify(scheme, [OTHER, OTHER], headers, body, now)
    assert why(verdict).isprintable()


def test_what_we_sign_ourselves_is_taken() -> None:
    """By the other side of the same scheme, and by the example of the specification's libraries."""
    secret = key("generic", b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = [
        (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (b"webhook-timestamp", b"1614265330"),
        (b"webhook-signature", signature.encode()),
    ]
    assert isinstance(verify("generic", [secret], headers, body, 1614265330.0), Accepted)
