"""The branches of pull requests, in the settings: nobody follows one, and each is of one way alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.engine.ways import Edge
from deployer.settings._promotions import proposals
from tests.support.settings_files import errors, read

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = """\
  {name}:
    repository: {repository}
    branch: {branch}
    path: "."
    cluster: {{address: "http://ray-{name}:8265"}}
"""

FORGE = "    forge: {kind: gitlab, token_file: secret}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are written, with a token beside them."""
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    return tmp_path / "deployer.yaml"


def settings(
    promoted: dict[str, str],
    branches: dict[str, str] | None = None,
    *,
    forge: str = FORGE,
    elsewhere: str = "",
    by: str = "",
) -> str:
    """Environments a, b, c, a-to-b and b-to-c; some are promoted from others; the first is at line 7 or 8.

    `elsewhere` is one in another repository, which has no forge and is at the same URL.
    """
    url = "https://git.example.com/ml/configs.git"
    text = f"repositories:\n  configs:\n    url: {url}\n{forge}  same:\n    url: {url}\nenvironments:\n"
    for name in ("a", "b", "c", "a-to-b", "b-to-c"):
        branch = (branches or {}).get(name, f"env/{name}")
        text += ENVIRONMENT.format(
            name=name, repository="same" if name == elsewhere else "configs", branch=branch
        )
        if name in promoted:
            text += f"    promote_from: {{environment: {promoted[name]}{by}}}\n"
    return text


def test_the_branch_of_a_way_is_the_one_that_is_pushed() -> None:
    """The settings name it as `engine.ways` does, which they cannot ask."""
    edge = Edge(source="a", target="b", repository="configs", url="", branch="env/b")
    assert proposals("a", "b") == edge.proposals


@pytest.mark.parametrize("branch", ["deployer/a-to-b", "refs/heads/deployer/x", "deployer/a/b"])
def test_a_branch_that_is_replaced_is_not_followed(file: Path, branch: str) -> None:
    """Nothing of it is kept when the next pull request is opened."""
    short = branch.removeprefix("refs/heads/")
    assert errors(file, settings({"b": "a"}, {"c": branch})) == [
        f"21:13: environments.c.branch: '{short}' is below deployer/, where deployer keeps the branches of"
        " its pull requests, and replaces them: follow a branch of another name"
    ]


def test_it_may_be_followed_where_no_pull_request_is_opened(file: Path) -> None:
    """Nothing is promoted there, or no forge is known, or it only begins alike."""
    for text in (
        settings({}, {"c": "deployer/x"}),
        settings({"b": "a"}, {"c": "deployer/x"}, forge=""),
        settings({"b": "a"}, {"c": "deployers/x"}),
        settings({"b": "a"}, {"c": "env/deployer/x"}),
    ):
        assert read(file, text).environments["c"].branch


def test_two_names_of_one_repository_are_one(file: Path) -> None:
    """As for environments that own the same."""
    (error,) = errors(file, settings({"b": "a"}, {"c": "deployer/x"}, elsewhere="c"))
    assert "environments.c.branch: 'deployer/x' is below deployer/" in error


def test_two_ways_with_one_branch_are_refused(file: Path) -> None:
    """The pull request of the one would take the place of the other's."""
    error = (
        "34:33: environments.b-to-c.promote_from.environment: its pull requests would be from the branch"
        " 'deployer/a-to-b-to-c', and so would those from a-to-b to c: rename one of these environments"
    )
    text = settings({"c": "a-to-b", "b-to-c": "a"})
    assert errors(file, text) == [error]
    assert errors(file, text.replace("{environment: a}", "a")) == [
        error.replace("34:33", "34:19").replace("promote_from.environment", "promote_from")
    ]
    without = settings({"c": "a-to-b", "b-to-c": "a"}, forge="", by=", by: pull-request")
    assert error.replace("34:", "33:") in errors(file, without)


def test_two_ways_with_one_branch_are_none_without_pull_requests(file: Path) -> None:
    """Or with branches of their own."""
    assert read(file, settings({"c": "a-to-b", "b-to-c": "a"}, forge="")).environments
    assert read(file, settings({"c": "b", "b": "a", "b-to-c": "c"})).environments
