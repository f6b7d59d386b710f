"""Names of the daemon, and whose page makes a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.web.origins import Origins, Source, is_loopback
from tests.support.asgi import scope_of

PLAIN = Origins((), None)
NAMED = Origins(("deployer.internal", "[fd00::7]"), "https://deployer.example.com")
ODD_PORT = Origins((), "https://deployer.example.com:8443")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8700", "127.9.9.9:1", "localhost", "LOCALHOST:8700", "[::1]", "[::1]:8700"],
)
def test_loopback_has_its_names_everywhere(host: str) -> None:
    """Whatever the settings say."""
    for origins in (PLAIN, NAMED):
        assert origins.host(scope_of("GET", "/", host=host)) == host.lower()
    assert is_loopback(host.lower())


@pytest.mark.parametrize(
    "host",
    [
        *["", "deployer.example.org", "127.0.0.1.example.org", "127.0.0.1.:8700", "localhost.example.org"],
        *[
            "localhost:8700:1",
            "localhost:123456",
            "a@localhost",
            "localhost/",
            "localhost\\x",
            "[::1",
            "[10.0.0.1]x",
            "10.0.0.256",
            "[fd00::7::1]",
        ],
        *[
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "localhost ",
            " localhost",
            "localhost,evil",
            "evil#localhost",
        ],
    ],
)
def test_other_names_are_nobodys(host: str) -> None:
    """An address that somebody's name server gave out, or something that is no name."""
    for origins in (PLAIN, NAMED):
        assert origins.host(scope_of("GET", "/", host=host)) is None


def test_names_of_the_settings() -> None:
    """With any port, as a proxy may pass on its own."""
    for host in ("deployer.internal", "Deployer.Example.com", "deployer.example.com:443"):
        assert NAMED.host(scope_of("GET", "/", host=host)) == host.lower()
        assert PLAIN.host(scope_of("GET", "/", host=host)) is None


@pytest.mark.parametrize("host", ["10.1.2.3", "10.1.2.3:8700", "[2001:DB8::5]:8700", "[fd00::7]", "0.0.0.0"])
def test_addresses_are_everybodys(host: str) -> None:
    """A page cannot have one resolved to another machine; and whoever probes by it knows no name."""
    for origins in (PLAIN, NAMED):
        assert origins.host(scope_of("GET", "/", host=host)) == host.lower()
        ours = scope_of("POST", "/", [("Origin", f"http://{host}")], host=host.lower())
        assert origins.source(ours, host.lower()) is Source.OURS
        others = scope_of("POST", "/", [("Origin", "http://10.9.9.9")], host=host.lower())
        assert origins.source(others, host.lower()) is Source.ELSEWHERE


def test_there_is_exactly_one_name() -> None:
    """Two that disagree could be read differently by a proxy."""
    twice = [("host", "localhost"), ("host", "localhost")]
    assert PLAIN.host(scope_of("GET", "/", twice, host=None)) is None
    assert PLAIN.host(scope_of("GET", "/", host=None)) is None


OURS = [
    (PLAIN, "http", "127.0.0.1:8700", "http://127.0.0.1:8700"),
    (PLAIN, "http", "localhost:8700", "http://LOCALHOST:8700"),
    (PLAIN, "http", "[::1]:8700", "http://[::1]:8700"),
    (PLAIN, "http", "localhost", "http://localhost:80"),
    (PLAIN, "http", "localhost:443", "https://localhost"),
    (NAMED, "https", "deployer.internal", "https://deployer.internal"),
    (NAMED, "http", "deployer.internal", "https://deployer.internal"),
    (NAMED, "http", "deployer.example.com", "https://deployer.example.com"),
    (NAMED, "http", "127.0.0.1:8700", "https://deployer.example.com"),
    (NAMED, "http", "127.0.0.1:8700", "https://deployer.example.com:443"),
    (ODD_PORT, "http", "127.0.0.1:8700", "https://deployer.example.com:8443"),
]


@pytest.mark.parametrize(("origins", "scheme", "host", "origin"), OURS)
def test_our_own_pages(origins: Origins, scheme: str, host: str, origin: str) -> None:
    """Also behind a proxy that ends TLS, or passes on a Host of its own."""
    for method in ("GET", "POST"):
        scope = scope_of(method, "/", [("Origin", origin)], scheme=scheme, host=host)
        assert origins.source(scope, host) is Source.OURS


ELSEWHERE = [
    (PLAIN, "http", "127.0.0.1:8700", "null"),
    (PLAIN, "http", "127.0.0.1:8700", ""),
    (PLAIN, "http", "127.0.0.1:8700", "http://127.0.0.1:8265"),
    (PLAIN, "http", "127.0.0.1:8700", "http://localhost:8700"),
    (PLAIN, "http", "127.0.0.1:8700", "http://127.0.0.1:8700.evil.example"),
    (PLAIN, "http", "127.0.0.1:8700", "http://evil.example/127.0.0.1:8700"),
    (PLAIN, "http", "127.0.0.1:8700", "http://evil@127.0.0.1:8700"),
    (PLAIN, "http", "127.0.0.1:8700", "file://127.0.0.1:8700"),
    (PLAIN, "https", "localhost", "http://localhost"),
    (NAMED, "http", "deployer.example.com", "http://deployer.example.com"),
    (NAMED, "https", "deployer.internal", "http://deployer.internal"),
    (ODD_PORT, "http", "deployer.example.com", "https://deployer.example.com"),
]


@pytest.mark.parametrize(("origins", "scheme", "host", "origin"), ELSEWHERE)
def test_pages_of_others(origins: Origins, scheme: str, host: str, origin: str) -> None:
    """Another name, port or scheme; a frame without an origin."""
    for method in ("GET", "POST"):
        scope = scope_of(method, "/", [("Origin", origin)], scheme=scheme, host=host)
        assert origins.source(scope, host) is Source.ELSEWHERE


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=40))
def test_no_other_text_is_our_origin(origin: str) -> None:
    """Whatever is sent."""
    scope = scope_of("POST", "/", [("Origin", origin)])
    is_ours = origin.lower() in {"http://127.0.0.1:8700", "https://127.0.0.1:8700"}
    assert (PLAIN.source(scope, "127.0.0.1:8700") is Source.OURS) == is_ours


def from_site(site: str, method: str = "GET", **more: str) -> Source:
    """Where a request with these Sec-Fetch headers comes from."""
    fetch = {"site": site, **more}
    headers = [(f"Sec-Fetch-{name.capitalize()}", value) for name, value in fetch.items()]
    return PLAIN.source(scope_of(method, "/", headers), "127.0.0.1:8700")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something new"])
def test_a_link_is_followed_and_nothing_else(site: str) -> None:
    """In a window, to look: no form, no frame, no image, no script. Another port is another site to us."""
    assert from_site(site, mode="navigate", dest="document") is Source.LINK
    assert from_site(site, mode="navigate", dest="iframe") is Source.ELSEWHERE
    assert from_site(site, mode="navigate") is Source.ELSEWHERE
    assert from_site(site, mode="no-cors", dest="image") is Source.ELSEWHERE
    assert from_site(site, mode="cors", dest="empty") is Source.ELSEWHERE
    assert from_site(site, "POST", mode="navigate", dest="document") is Source.ELSEWHERE
    assert from_site(site, "HEAD", mode="navigate", dest="document") is Source.ELSEWHERE


def test_who_says_it_and_who_does_not() -> None:
    """The address bar and our pages; a program that is no browser."""
    assert from_site("none", mode="navigate", dest="document") is Source.OURS
    assert from_site("same-origin", "POST", mode="navigate", dest="document") is Source.OURS
    assert PLAIN.source(scope_of("POST", "/"), "127.0.0.1:8700") is Source.UNSAID


def test_what_is_said_twice_or_two_ways_is_not_believed() -> None:
    """An Origin of others counts more than a site that is called our own."""
    host = "127.0.0.1:8700"
    ours, others = ("Origin", f"http://{host}"), ("Origin", "http://evil.example")
    same = ("Sec-Fetch-Site", "same-origin")
    for headers in ([ours, ours], [ours, others], [same, same], [same, others]):
        assert PLAIN.source(scope_of("POST", "/", headers), host) is Source.ELSEWHERE
    assert PLAIN.source(scope_of("POST", "/", [same, ours]), host) is Source.OURS
