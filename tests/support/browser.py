"""Debian's Chromium, driven by Playwright, and what must never happen in it while it shows our pages.

Owns how it is started: headless, with a new profile, without the calls home that a browser makes. Must not
know a page. Invariant: whoever starts it here has ended it and its driver when the block is left.

Playwright's own loop runs in the thread of a test for as long as one is started, so `asyncio.run` cannot be
called there: start it for one module, not for the session.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import expect, sync_playwright

from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, WebError

CHROMIUM = "/usr/bin/chromium"

PATIENCE = 60.0
"""Seconds that a page has to show something: it takes one, and a busy machine many."""

_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Letters are drawn alike on every machine.
    *("--font-render-hinting=none", "--disable-lcd-text"),
)

_TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event => console.error(
    "CSP: " + event.effectiveDirective + " forbids " + event.blockedURI + " " + event.sample));
"""


def require_chromium() -> None:
    """Skip the test, or the module that is being imported, where there is no Chromium."""
    require("Chromium", shutil.which(CHROMIUM) is not None, "apt-get install chromium")


@contextmanager
def launched(*options: str) -> Iterator[Browser]:
    """A running browser, with `options` of the command line beside the usual ones."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_OPTIONS, *options])
        expect.set_options(timeout=PATIENCE * 1000)
        try:
            yield browser
        finally:
            browser.close()


def patient(window: BrowserContext) -> BrowserContext:
    """The same window, which waits as long as a busy machine takes."""
    window.set_default_timeout(PATIENCE * 1000)
    return window


class Watch:
    """What happened in a window that must not: scripts of others, and what our own pages do wrong.

    Errors and warnings in the console (a browser tells there what a Content-Security-Policy forbade), errors
    that no script caught, dialogs, and requests to anybody but the daemon.
    """

    def __init__(self, window: BrowserContext, origin: str) -> None:
        """Watch every page of the window from now on; `origin` is the daemon's (`http://127.0.0.1:1234`)."""
        self._origin = origin
        self.complaints: list[str] = []
        window.add_init_script(_TELL_VIOLATIONS)
        window.on("console", self._console)
        window.on("weberror", self._error)
        window.on("dialog", self._dialog)
        window.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text}")

    def _error(self, error: WebError) -> None:
        self.complaints.append(f"error: {error.error}")

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith(f"{self._origin}/"):
            self.complaints.append(f"request: {request.url}")


def sign_in(page: Page, secret: str) -> None:
    """Paste a token into the sign-in page, and go on."""
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()


def is_live(page: Page) -> None:
    """Wait until the page says that it is."""
    expect(page.locator("#live")).to_have_text("Live")
