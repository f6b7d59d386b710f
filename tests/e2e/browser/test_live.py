"""That a page is live whatever the way to it is like, and keeps what one does on it meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import made_up
from tests.support import browser, pages_data
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Route

    from tests.e2e.browser.made_up import Served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A site with an environment in each state."""
    told = pages_data.Told(made_up.every_state())
    with made_up.served(tmp_path_factory.mktemp("site"), told) as found:
        yield found


@pytest.mark.parametrize("late", ["htmx.min.js", "hx-sse.min.js", "live.js"])
def test_a_page_is_live_whichever_script_is_late(window: BrowserContext, served: Served, late: str) -> None:
    """On a slow line, one of them comes long after the others have run and all their timers are over."""
    page = window.new_page()
    page.goto(f"{served.url}/sign-in")
    browser.sign_in(page, served.token)
    browser.is_live(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/{late}*", hold)
    with page.expect_request(f"**/{late}*"):
        page.goto(f"{served.url}/env/staging", wait_until="commit")
    if late != "htmx.min.js":
        eventually(lambda: page.evaluate("window.htmx !== undefined"), within=browser.PATIENCE)
    # Timers end in the order in which they were set, so any that htmx set at once is over.
    page.evaluate("new Promise(done => setTimeout(done))")
    (route,) = held
    route.continue_()

    browser.is_live(page)


def test_what_is_open_focused_and_typed_stays_when_news_come(window: BrowserContext, served: Served) -> None:
    """The parts are morphed in: nothing closes, nothing is lost, and the page is not loaded again."""
    page = window.new_page()
    page.goto(f"{served.url}/sign-in?next=/env/staging")
    browser.sign_in(page, served.token)
    browser.is_live(page)
    page.get_by_text("The whole policy").click()
    page.get_by_role("link", name="Pause …").focus()
    page.evaluate("window.stayed = true")

    served.told.views["staging"]["message"] = "deploying abc: 3 of 3 replicas"
    served.hub.changed("staging")

    expect(page.locator(".lead").first).to_contain_text("3 of 3 replicas")
    expect(page.locator("#policy")).to_have_attribute("open", "")
    expect(page.get_by_role("link", name="Pause …")).to_be_focused()
    assert page.evaluate("window.stayed")

    page.goto(f"{served.url}/")
    browser.is_live(page)
    page.get_by_label("Filter").fill("hel")
    served.told.views["staging"]["message"] = "deploying abc: it is healthy"
    served.hub.changed("staging")
    expect(page.locator("#env-staging")).to_contain_text("it is healthy")
    expect(page.get_by_label("Filter")).to_have_value("hel")
    expect(page.get_by_label("Filter")).to_be_focused()
