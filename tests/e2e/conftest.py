"""Fixtures of the stories: a site on the session's real Ray head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.ray_head import ServeHead


@pytest.fixture
def site(tmp_path: Path, fresh_serve: ServeHead) -> Iterator[Site]:
    """A repository, settings and an empty cluster; whatever daemons the story starts are stopped."""
    site = Site(root=tmp_path, address=fresh_serve.address)
    yield site
    site.stop()
