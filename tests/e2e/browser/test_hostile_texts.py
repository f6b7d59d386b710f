"""Five hundred commit subjects that try to be more than text, in a real browser, on the pages that show them.

What comes of a text that gets through is what `browser.Watch` sees: a script that runs, one that the
Content-Security-Policy stops, a request to elsewhere. None may come, neither when the page is loaded nor when
the stream changes it.
"""

from __future__ import annotations

from contextlib import closing
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from deployer.web.guard import HEADERS
from tests.e2e.browser import made_up
from tests.support import browser, pages_data
from tests.support.eventually import eventually
from tests.support.hostile_texts import MARK, TEXTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page, Route

    from tests.e2e.browser.made_up import Served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ATTACKS = tuple(text.replace("alert(", "window.xss=alert(") for text in TEXTS)
"""Those that would open a window leave a canary too."""

ENVIRONMENT = "env-0"

ALIEN = """() => {
    const ours = [location.origin];
    const found = [];
    for (const one of document.querySelectorAll("*")) {
        const name = one.localName;
        if (["script", "link", "img", "iframe", "style", "template", "object", "base"].includes(name)
            && !(one.src || one.href || "").startsWith(location.origin + "/static/")) found.push(name);
        if (name.includes("zq7") || name === "hx-partial") found.push(name);
        for (const {name: attribute, value} of one.attributes)
            if (/^on|^style$|^hx-(?!sse:connect$|trigger$|swap$)/.test(attribute)
                || /^(href|src|action)$/.test(attribute) && /^\\s*(javascript|data):/i.test(value))
                found.push(`${name} ${attribute}`);
    }
    return found;
}"""
"""Elements and attributes that no page of ours has."""


class Hostile(pages_data.Told):
    """Read models that say an attack wherever a text comes from outside, and all of them on each page."""

    def __init__(self) -> None:
        """An environment for each attack, which is the subject of what is live there."""
        texts = cycle(ATTACKS)
        super().__init__([], lambda _: next(texts))
        self.views = {f"env-{number}": {} for number in range(len(ATTACKS))}
        self.turn(20)
        entries = pages_data.history(ENVIRONMENT, 21, self.text)
        self.entries = [
            {**entries[number % len(entries)], "release": {**entries[0]["release"], "subject": attack}}
            for number, attack in enumerate(ATTACKS)
        ]

    def turn(self, number: int) -> None:
        """Rollout `number` is the live one everywhere; and each environment gets other texts than it had."""
        for place, name in enumerate(self.views):
            release = {**pages_data.release(number, self.text), "subject": ATTACKS[place - number]}
            live = {**release, "release": f"{name}#{number}"}
            kind = (pages_data.view, pages_data.held, pages_data.busy, pages_data.degraded)[place % 4]
            self.views[name] = {**kind(name, self.text), "live": live, "bars": []}

    def environment(self, name: str, visible: Collection[str] | None = None) -> dict[str, Any]:
        """Of an environment's page: all of them are recent rollouts, good releases and gates."""
        good = {key: self.entries[0]["release"][key] for key in ("revision", "author", "digest")}
        known = {"rollout": f"{name}#1", "at": pages_data.ago(hours=1), "is_live": False}
        return {
            **super().environment(name, visible),
            "rollouts": self.entries,
            "releases": [{**good, **known, "subject": attack} for attack in ATTACKS],
            "gates": [
                {"name": "held", "verdict": "closed", "evidence": attack, "next_check": None, "plan": None}
                for attack in ATTACKS
            ],
        }

    def rollouts(self, **asked: Any) -> dict[str, Any]:
        """The history."""
        return pages_data._page(self.entries, asked)

    def rollout(self, rollout: str, _visible: Collection[str] | None = None) -> dict[str, Any] | None:
        """One that failed: all of them in its timeline, its changes and its checks."""
        found = super().rollout(rollout)
        assert found is not None
        event, change, check = found["timeline"][1], found["changes"][0], found["checks"][0]
        return {
            **found,
            "timeline": [{**event, "says": attack, "actor": attack} for attack in ATTACKS],
            "changes": [{**change, "option": attack, "note": attack} for attack in ATTACKS],
            "checks": [{**check, "path": attack, "message": attack} for attack in ATTACKS],
        }

    def audit(self, **asked: Any) -> dict[str, Any]:
        """The audit log."""
        asked_all = {**asked, "before": None, "limit": 1}
        (event,) = super().audit(**{**asked_all, "environments": [ENVIRONMENT]})["items"]
        found = [{**event, "says": attack, "actor": attack, "reason": attack} for attack in ATTACKS]
        return pages_data._page(found, asked)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The site."""
    with made_up.served(tmp_path_factory.mktemp("site"), Hostile()) as found:
        yield found


@pytest.fixture
def watched(chromium: Browser, served: Served) -> Iterator[tuple[Page, browser.Watch]]:
    """A page of one who has signed in, and what happens on it."""
    with closing(chromium.new_context()) as window:
        watch = browser.Watch(browser.patient(window), served.url)
        page = window.new_page()
        page.goto(f"{served.url}/sign-in")
        browser.sign_in(page, served.token)
        expect(page).to_have_url(f"{served.url}/")
        yield page, watch


def assert_harmless(page: Page, watch: browser.Watch) -> None:
    """Nothing of a text is more than text."""
    assert page.evaluate(ALIEN) == []
    assert page.evaluate("window.xss") is None
    assert watch.complaints == []


def marks(page: Page) -> int:
    """How many of the texts can be read on the page. One that is long has many marks."""
    return len([text for text in page.locator("bdi, code").all_inner_texts() if MARK in text])


def test_on_the_first_page(watched: tuple[Page, browser.Watch], served: Served) -> None:
    """Each is the subject of a row; and then the stream brings all of them anew."""
    page, watch = watched
    browser.is_live(page)
    expect(page.locator(".env")).to_have_count(500)
    assert marks(page) >= 490
    assert_harmless(page, watch)

    assert isinstance(served.told, Hostile)
    served.told.turn(21)
    for name in served.told.views:
        served.hub.changed(name)

    expect(page.locator(".env a[href$='%2321']")).to_have_count(500)
    assert marks(page) >= 490
    assert page.title() == "Environments · deployer"
    assert_harmless(page, watch)


@pytest.mark.parametrize("path", [f"/env/{ENVIRONMENT}", f"/rollouts/{ENVIRONMENT}%2320"])
def test_on_a_page_with_all_of_them(watched: tuple[Page, browser.Watch], served: Served, path: str) -> None:
    """In every list of the page, when it is loaded and when the stream changes it."""
    page, watch = watched
    page.goto(served.url + path)
    browser.is_live(page)
    shown = marks(page)
    assert shown >= 1000
    assert_harmless(page, watch)

    page.evaluate("document.querySelectorAll('bdi').forEach(one => one.remove())")
    served.hub.changed(ENVIRONMENT)

    eventually(lambda: marks(page) >= 1000, within=browser.PATIENCE)
    assert_harmless(page, watch)


@pytest.mark.parametrize("path", ["/history", "/audit"])
def test_on_the_lists(watched: tuple[Page, browser.Watch], served: Served, path: str) -> None:
    """From the newest page to the oldest."""
    page, watch = watched
    page.goto(served.url + path)
    shown = 0
    while True:
        shown += page.locator("tbody tr").count()
        assert marks(page) > 0
        assert_harmless(page, watch)
        older = page.get_by_role("link", name="Older")
        if not older.count():
            break
        older.click()
    assert shown == 500


@pytest.mark.parametrize("is_guarded", [True, False], ids=["with the policy", "without"])
def test_what_gets_through_is_found(window: BrowserContext, is_guarded: bool) -> None:
    """The test itself, on a page that does not escape: the browser tells of what it stops and what runs."""
    watch = browser.Watch(window, "http://127.0.0.1:9")
    headers = HEADERS if is_guarded else {}

    def answer(route: Route) -> None:
        route.fulfill(body="".join(ATTACKS[:4]), content_type="text/html", headers=headers)

    window.route("http://127.0.0.1:9/", answer)
    page = window.new_page()
    page.goto("http://127.0.0.1:9/")
    told = " ".join(watch.complaints)
    assert set(page.evaluate(ALIEN)) >= {"script", "img", "svg onload"}
    if is_guarded:
        assert "CSP: script-src-elem forbids inline" in told
        assert "CSP: script-src-attr forbids inline" in told
    else:
        assert "dialog: zq7" in told
        assert "request: http://zq7.example/" in told
        assert "zq7 is not defined" in told
