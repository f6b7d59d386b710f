"""Fixtures of the tests with a browser: Chromium, and a window of it with nothing in it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    browser.require_chromium()
    with browser.launched() as made:
        yield made


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    """A person's browser, with nothing in it."""
    with closing(chromium.new_context()) as made:
        yield browser.patient(made)
