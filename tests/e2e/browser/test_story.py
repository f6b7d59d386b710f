"""The story that the pages are for, in a real browser: the installed command, real git, a real Ray.

A commit breaks what runs; who has the page open sees it go wrong and be undone, reads why, goes back further,
and finds all of it in the history.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.browser.stage import MISSING, SUBJECT, address, greeter, with_a_port
from tests.e2e.site import Daemon
from tests.support import browser
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

    from tests.e2e.site import Site

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(300)]

TABS = 80
"""To no button or link of these pages is it further with the Tab key."""


def signed_in(window: BrowserContext, site: Site) -> tuple[Page, browser.Watch]:
    """The first page, as who has the token of the daemon's machine sees it; and a watch over the window."""
    url, token = address(site)
    watch = browser.Watch(browser.patient(window), url)
    page = window.new_page()
    page.goto(url)
    browser.sign_in(page, token)
    expect(page).to_have_url(f"{url}/")
    return page, watch


WATCH = """
window.stayed = true;
window.shown = [];
const main = document.querySelector("main");
new MutationObserver(() => window.shown.push(main.innerText))
    .observe(main, {subtree: true, childList: true, characterData: true, attributes: true});
"""


def stay(page: Page) -> None:
    """Notice from now on if the page is loaded again, and all that it shows, for however short a time."""
    page.evaluate(WATCH)


def showed(page: Page, text: str) -> None:
    """Wait until the page has shown this at any moment since `forget`, also if it is gone again."""
    found = "text => window.shown.some(one => one.includes(text))"
    eventually(lambda: page.evaluate(found, text), within=browser.PATIENCE, what=f"the page showed {text}")


def forget(page: Page) -> None:
    """From here on only counts what is shown later."""
    page.evaluate("window.shown = []")


def stayed(page: Page) -> bool:
    """Whether it is the page that it was."""
    return bool(page.evaluate("window.stayed === true"))


def tab_to(page: Page, wanted: Locator) -> None:
    """Go there with the Tab key alone. What has the focus shows it."""
    handle = wanted.element_handle()
    for _ in range(TABS):
        page.keyboard.press("Tab")
        if page.evaluate("one => one === document.activeElement", handle):
            outline = page.evaluate("one => getComputedStyle(one).outlineStyle", handle)
            assert outline != "none", f"nobody sees that {wanted} has the focus"
            return
    pytest.fail(f"{wanted} was not reached with {TABS} tabs")


def test_a_bad_push_is_seen_to_fail_undone_by_hand_and_found_again(
    window: BrowserContext, site: Site
) -> None:
    """Sign in; progress and health without a reload; rolled back, with the sentence; a way back; history."""
    site.start()
    page, watch = signed_in(window, site)
    browser.is_live(page)
    stay(page)
    row = page.locator("#env-staging")
    expect(row).to_contain_text("There is no branch")

    first = site.push(greeter("one"), "open the market")
    showed(page, "Progressing")
    expect(row.get_by_text("Healthy", exact=True)).to_be_visible()
    expect(row).to_contain_text(f"{first[:7]} open the market")
    forget(page)
    second = site.push(greeter("two"), "raise Mango price")
    showed(page, "Progressing")
    expect(row.locator(".release")).to_contain_text("staging#2")
    expect(row.get_by_text("Healthy", exact=True)).to_be_visible()

    detail = window.new_page()
    detail.goto(f"{page.url}env/staging")
    browser.is_live(detail)
    stay(detail)
    forget(page)
    bad = site.push(greeter("three", import_path="constructor_raises:app"), SUBJECT)
    showed(page, "Progressing")
    showed(detail, "In flight: staging#3")
    expect(row).to_contain_text(f"held: rolled back from {bad[:7]}")
    expect(row).to_contain_text(MISSING)
    expect(row).to_contain_text(f"{second[:7]} raise Mango price")
    expect(detail.locator(".lead").first).to_contain_text(MISSING)
    expect(detail.locator("#held + *")).to_contain_text(bad[:7])
    # Every letter of the subject, and nothing but letters.
    expect(detail.locator("bdi").filter(has_text=SUBJECT).first).to_be_visible()
    assert stayed(page)
    assert stayed(detail)

    # The way back, without a mouse.
    tab_to(detail, detail.get_by_role("link", name=f"Roll back to {first[:7]}"))
    detail.keyboard.press("Enter")
    expect(detail.get_by_role("heading", level=1)).to_have_text(f"Roll back staging to {first[:7]}?")
    plan = detail.get_by_role("region", name="Changes").first
    expect(plan).to_contain_text("user_config.answer")
    expect(plan).to_contain_text('"two" -> "one"')
    tab_to(detail, detail.get_by_label("Reason"))
    detail.keyboard.type("the fair is over")
    tab_to(detail, detail.get_by_role("button", name=f"Roll back staging to {first[:7]}"))
    detail.keyboard.press("Enter")
    expect(detail.locator(".notice")).to_contain_text(first[:7])
    expect(detail.get_by_role("link", name="staging#5").first).to_be_visible()
    browser.is_live(detail)
    live = detail.get_by_role("region", name="Release", exact=True)
    expect(live).to_contain_text(f"{first[:7]} open the market")
    expect(row.locator(".release")).to_contain_text("staging#5")
    expect(row.get_by_text("Healthy", exact=True)).to_be_visible()
    assert stayed(page)

    detail.get_by_role("link", name="History").first.click()
    rows = detail.locator("tbody tr")
    expect(rows).to_have_count(5)
    told = [
        ("staging#5", "rollback", "good", first),
        ("staging#4", "rollback", "good", second),
        ("staging#3", "deploy", "failed", bad),
        ("staging#2", "deploy", "good", second),
        ("staging#1", "deploy", "good", first),
    ]
    for place, parts in enumerate(told):
        for part in (*parts[:3], parts[3][:7]):
            expect(rows.nth(place)).to_contain_text(part)

    detail.get_by_role("link", name="staging#3").click()
    expect(detail.get_by_role("heading", level=1)).to_have_text("staging#3")
    timeline = detail.get_by_role("region", name="Timeline").locator(".events")
    # The last one is of the rollback that followed.
    for event in ("seen", "started", "applied", "failed", "held"):
        expect(timeline.get_by_text(event, exact=True).first).to_be_visible()
    expect(detail.get_by_role("region", name="The first error in full")).to_contain_text(MISSING)
    expect(detail.get_by_role("region", name="Changes").first).to_contain_text("import_path")
    expect(detail.get_by_role("region", name="Log", exact=True)).to_contain_text("loading models/fruit.bin")

    assert page.evaluate("window.xss") is None
    assert detail.evaluate("window.xss") is None
    assert watch.complaints == []


def test_the_same_without_javascript(chromium: Browser, site: Site) -> None:
    """Read and done with plain pages and forms; a page loads again by itself."""
    first = site.push(greeter("one"), "open the market")
    site.start()
    site.until_live(first)
    with closing(chromium.new_context(java_script_enabled=False)) as window:
        page, watch = signed_in(window, site)
        url = page.url
        row = page.locator("#env-staging")
        expect(row.get_by_text("Healthy", exact=True)).to_be_visible()
        # (`to_have_text` does not look into a <noscript>.)
        assert page.locator("#live").inner_text() == "Loads again every 15 s"
        second = site.push(greeter("two"), "raise Mango price")
        expect(row).to_contain_text(f"{second[:7]} raise Mango price")
        site.until_live(second)

        row.get_by_role("link", name="staging", exact=True).click()
        done(page, "Sync now", "staging")
        page.get_by_role("link", name="Pause …").click()
        page.get_by_label("Reason").fill("fair day")
        page.get_by_label("For how long").select_option("1 hour")
        done(page, "Pause staging", "paused")
        expect(page.locator(".states")).to_contain_text("paused")
        page.get_by_role("link", name="Resume …").click()
        done(page, "Resume staging", "staging")

        bad = site.push(greeter("three", import_path="constructor_raises:app"), SUBJECT)
        site.until_history("rollback good", "deploy failed", "deploy good", "deploy good")
        page.goto(url)
        expect(row).to_contain_text(f"held: rolled back from {bad[:7]}")
        expect(row).to_contain_text(MISSING)
        row.get_by_role("link", name="Why?").click()
        expect(page.get_by_role("heading", name="Why is it not deploying?")).to_be_visible()
        page.get_by_role("link", name="Retry …").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Retry staging?")
        expect(page.get_by_label("Reason")).to_have_attribute("required", "")
        page.get_by_role("link", name="Cancel").click()
        page.get_by_role("link", name=f"Roll back to {first[:7]}").click()
        expect(page.get_by_role("region", name="Changes").first).to_contain_text('"two" -> "one"')
        done(page, f"Roll back staging to {first[:7]}", first[:7])
        site.until_history("rollback good", "rollback good", "deploy failed")
        page.goto(f"{url}history?result=good&kind=rollback")
        expect(page.locator("tbody tr")).to_have_count(2)
        page.get_by_role("link", name="staging#5").click()
        expect(page.get_by_role("region", name="Timeline")).to_contain_text("good")

        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(f"{url}sign-in")
        assert watch.complaints == []


def done(page: Page, button: str, says: str) -> None:
    """Press it, and read what came of it."""
    page.get_by_role("button", name=button).click()
    expect(page.locator(".notice")).to_contain_text(says)


def test_a_page_is_right_again_after_the_daemon_was_away(window: BrowserContext, site: Site) -> None:
    """Stopped, or killed: it says that it reconnects; then it is live, and shows what happened meanwhile."""
    first = site.push(greeter("one"), "open the market")
    with_a_port(site)
    daemon = site.start()
    site.until_live(first)
    page, _ = signed_in(window, site)
    detail = window.new_page()
    detail.goto(f"{page.url}env/staging")
    for one in (page, detail):
        browser.is_live(one)
        stay(one)

    for end, answer in ((Daemon.terminate, "two"), (Daemon.kill, "three")):
        end(daemon)
        for one in (page, detail):
            expect(one.locator("#live")).to_have_text("Reconnecting …")
        commit = site.push(greeter(answer), f"sell {answer}")
        daemon = site.start()

        for one in (page, detail):
            browser.is_live(one)
        expect(page.locator("#env-staging .release")).to_contain_text(f"{commit[:7]} sell {answer}")
        expect(page.locator("#env-staging").get_by_text("Healthy", exact=True)).to_be_visible()
        expect(detail.get_by_role("region", name="Release", exact=True)).to_contain_text(f"sell {answer}")
        assert stayed(page)
        assert stayed(detail)
