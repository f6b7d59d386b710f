"""One forge of each kind, and the adapter that asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.adapters.forge import Forge, Kind, forge
from tests.contract.forge.fakes import TOKEN, serving
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.forge.server import FakeForge

KINDS: tuple[Kind, ...] = ("github", "gitlab", "gitea")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority whose certificates the https servers have."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of forge in turn."""
    found: Kind = request.param
    return found


@pytest.fixture
def fake(kind: Kind) -> Iterator[FakeForge]:
    """A forge of that kind, on loopback."""
    with serving(kind) as server:
        yield server


@pytest.fixture
def asking(kind: Kind, fake: FakeForge) -> Forge:
    """The adapter for it."""
    return forge(kind, api_url=fake.api_url, project=fake.project, token=lambda: TOKEN, ca_file=None)
