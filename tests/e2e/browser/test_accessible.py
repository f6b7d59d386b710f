"""What axe-core says of every page, in both schemes, on a desk and in a hand."""

from __future__ import annotations

from contextlib import closing
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.browser import made_up
from tests.support import browser, pages_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.e2e.browser.made_up import Served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()

LIVE = (
    "/",
    "/env/dev",
    "/env/staging",
    "/env/production",
    "/env/ranker",
    "/env/fraud",
    "/env/sandbox",
    "/env/europe",
    "/rollouts/production%2320",
    "/rollouts/production%2313",
)
"""The pages with a stream."""

OTHERS = (
    "/env/production/plan",
    f"/env/production/plan?to={pages_data.digest(19)}",
    "/env/production/rollback",
    "/env/production/retry",
    "/env/production/pause",
    "/env/ranker/resume",
    "/env/europe/promote?source=staging&release=staging%2319",
    "/promotions",
    "/approvals",
    "/history",
    "/history?result=failed&environment=production",
    "/audit",
    "/stats",
    "/doctor",
    "/settings",
    "/sign-in?next=/env/production",
    "/env/nowhere",
)
NOTHING_YET = (
    "/",
    "/env/dev",
    "/promotions",
    "/approvals",
    "/history",
    "/audit",
    "/stats",
    "/doctor",
    "/settings",
)

DESK_AND_HAND = ((1280, "light"), (390, "dark"))
"""Each width and each scheme once: contrast is of the one, what does not fit of the other."""

OTHER_WAY_ROUND = ((1280, "dark"), (390, "light"))

LOOKS = [
    pytest.param(DESK_AND_HAND, id="light desk, dark hand"),
    pytest.param(OTHER_WAY_ROUND, id="dark desk, light hand", marks=pytest.mark.long),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A site with an environment in each state."""
    told = pages_data.Told(made_up.every_state())
    with made_up.served(tmp_path_factory.mktemp("site"), told) as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, served: Served) -> Iterator[BrowserContext]:
    """A window of one who may do everything."""
    with closing(chromium.new_context()) as window:
        browser.patient(window)
        page = window.new_page()
        page.goto(f"{served.url}/sign-in")
        browser.sign_in(page, served.token)
        page.close()
        yield window


def complaints(page: Page, looks: Sequence[tuple[int, str]] = DESK_AND_HAND) -> list[str]:
    """What axe finds, and what reaches over the edge of the screen; everything that can be opened is open."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate(AXE)
    found = []
    for width, scheme in looks:
        page.set_viewport_size({"width": width, "height": 800})
        # Colours that still move into the other scheme are those of neither.
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        violations: list[dict[str, Any]] = page.evaluate(
            "axe.run({resultTypes: ['violations']}).then(found => found.violations)"
        )
        found += [
            f"{width} {scheme}: {one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
            for one in violations
            for node in one["nodes"]
        ]
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            found.append(f"{width} {scheme}: {over} pixels do not fit")
    return found


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("path", LIVE + OTHERS)
def test_no_page_keeps_anybody_out(
    signed_in: BrowserContext, served: Served, path: str, looks: Sequence[tuple[int, str]]
) -> None:
    """No violation of any rule that axe knows, contrast among them, and nothing to be scrolled sideways."""
    with closing(signed_in.new_page()) as page:
        page.goto(served.url + path)
        if path in LIVE:
            browser.is_live(page)
        assert complaints(page, looks) == []


def test_nor_does_what_a_form_answers(signed_in: BrowserContext, served: Served) -> None:
    """The notice of what was done, and why one is not signed in."""
    with closing(signed_in.new_page()) as page:
        page.goto(f"{served.url}/env/dev")
        page.get_by_role("button", name="Sync now").click()
        assert "sync of dev is under way" in page.inner_text(".notice")
        assert complaints(page) == []
        page.goto(f"{served.url}/sign-in")
        browser.sign_in(page, "dpl_" + "a" * 43)
        assert "does not know this token" in page.inner_text("[role=alert]")
        assert complaints(page) == []


def test_nor_one_of_a_daemon_without_a_history(chromium: Browser, tmp_path_factory: Any) -> None:
    """Empty states are pages too."""
    told = pages_data.Told([pages_data.unseen("dev")], is_empty=True)
    with (
        made_up.served(tmp_path_factory.mktemp("empty"), told) as served,
        closing(chromium.new_context()) as window,
    ):
        page = browser.patient(window).new_page()
        page.goto(f"{served.url}/sign-in")
        browser.sign_in(page, served.token)
        for path in NOTHING_YET:
            page.goto(served.url + path)
            assert complaints(page) == [], path


def test_a_page_that_does_keep_somebody_out_is_found(window: BrowserContext) -> None:
    """The test itself: a picture without words, grey on grey, and too wide."""
    page = window.new_page()
    page.set_content(
        "<html lang=en><title>t</title><main><h1>h</h1><img src='data:,'>"
        "<p style='color:#777;background:#888;width:2000px'>who can read this?</p></main>"
    )
    told = " ".join(complaints(page))
    assert "image-alt" in told
    assert "color-contrast" in told
    assert "pixels do not fit" in told
