"""A forge for tests: `with serving("github", project="ml/serve-configs", token="...") as fake: ...`.

GitHub is a mock made from its published description; GitLab and Gitea are written after their documentation.
What a test does with one of them it can do with the others.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, assert_never

from tests.contract.forge.fake_gitea import FakeGitea
from tests.contract.forge.fake_gitlab import FakeGitLab
from tests.contract.forge.mock_github import MockGitHub
from tests.contract.forge.server import FakeForge
from tests.support.canaries import plain_canary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.forge import Kind

__all__ = ["PROJECT", "TOKEN", "FakeForge", "serving"]

PROJECT = "ml/serve-configs"
TOKEN = plain_canary("forge")


@contextmanager
def serving(kind: Kind, *, project: str = PROJECT, token: str = TOKEN) -> Iterator[FakeForge]:
    """Serve until the block ends. Fails there if anything was asked that such a forge would refuse."""
    fake: FakeForge
    match kind:
        case "github":
            fake = MockGitHub(project=project, token=token)
        case "gitlab":
            fake = FakeGitLab(project=project, token=token)
        case "gitea":
            fake = FakeGitea(project=project, token=token)
        case _:
            assert_never(kind)
    fake.start()
    try:
        yield fake
    finally:
        fake.stop()
    assert not fake.problems, "\n".join(fake.problems)
