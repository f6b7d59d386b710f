"""Fixtures of the stories: a site on the session's real Ray head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.ray_head import ServeHead


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Make a site on the cluster at an address; whatever daemons the story starts are stopped."""
    made: list[Site] = []

    def make(address: str) -> Site:
        made.append(Site(root=tmp_path, address=address))
        return made[-1]

    yield make
    for site in made:
        site.stop()


@pytest.fixture
def site(sites: Callable[[str], Site], fresh_serve: ServeHead) -> Site:
    """A repository, settings and an empty cluster."""
    return sites(fresh_serve.address)
