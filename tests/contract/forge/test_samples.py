"""The adapters read what the documentation shows; the fakes, which are laid over it, add nothing to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.forge import CheckResult, Forge, Issue, Opinion, PullRequest, State, forge
from tests.contract.forge.fakes import TOKEN, serving
from tests.contract.forge.samples import laid, sample
from tests.contract.forge.server import Asked, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.forge import Kind
    from tests.contract.forge.server import FakeForge

DOCUMENTED: tuple[Kind, ...] = ("gitlab", "gitea")
HEAD = "e82eb4a098e32c796079ca3915e07487fc4db24c"
MERGE = "8d1f0c5b6a7e4d3c2b1a09f8e7d6c5b4a3928170"


@pytest.fixture(params=DOCUMENTED)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Those of which there is no description that a program reads."""
    found: Kind = request.param
    return found


@pytest.fixture
def shown(kind: Kind) -> Iterator[tuple[FakeForge, Forge]]:
    """A forge that answers with samples, and the adapter."""
    with serving(kind) as fake:
        yield fake, forge(kind, api_url=fake.api_url, project=fake.project, token=lambda: TOKEN, ca_file=None)


def answer(fake: FakeForge, **by_end: Any) -> None:
    """Answer requests whose path ends so with these; a list is one page."""

    def instead(asked: Asked) -> Reply | None:
        end = asked.path.rpartition("/")[2]
        if end not in by_end:
            return None
        value = by_end[end]
        if asked.query.get("page", "1") != "1":
            value = [] if isinstance(value, list) else {**value, "statuses": []}
        return Reply(value=value)

    fake.instead = instead


def test_a_merged_pull_request(kind: Kind, shown: tuple[FakeForge, Forge]) -> None:
    """Who made it, who merged it, and what became of it."""
    fake, asking = shown
    name, number = {"gitlab": ("gitlab-merge-request", 133), "gitea": ("gitea-pull-request", 3)}[kind]
    answer(fake, **{str(number): sample(name)})
    found = asking.pull_request(number)
    assert found == PullRequest(
        number=number,
        url=found.url,
        title="Raise the price",
        body="A mango costs four.",
        head="raise",
        head_commit=HEAD,
        base="main",
        state="merged",
        author="ada",
        merged_by="lin",
        merge_commit=MERGE,
    )
    assert found.url.startswith("https://git")


def test_an_approval(kind: Kind, shown: tuple[FakeForge, Forge]) -> None:
    """Whose, and when."""
    fake, asking = shown
    approvals, reviewers = sample("gitlab-approvals"), [sample("gitlab-reviewer")]
    answer(fake, approvals=approvals, reviewers=reviewers, reviews=[sample("gitea-review")])
    (found,) = asking.reviews(3)
    assert (found.login, found.state) == ("lin", Opinion.APPROVED)
    assert found.at.isoformat()[:19] == "2026-05-13T09:16:00"
    assert found.commit == ("" if kind == "gitlab" else HEAD)


def test_a_status(kind: Kind, shown: tuple[FakeForge, Forge]) -> None:
    """Its name, and how it stands."""
    fake, asking = shown
    answer(fake, statuses=[sample("gitlab-status")], status=sample("gitea-combined-status"))
    (found,) = asking.checks(HEAD)
    name, said, url = {
        "gitlab": ("unit tests", "success", "https://gitlab.example.com/ml/serve-configs/builds/91"),
        "gitea": ("ci/unit", "all is well", "https://gitea.example.com/ci/41"),
    }[kind]
    assert found == CheckResult(name=name, state=State.SUCCESS, url=url, description=said)


def test_a_comment_and_an_issue_of_our_own(kind: Kind, shown: tuple[FakeForge, Forge]) -> None:
    """By the sample's own author, who is asked for."""
    fake, asking = shown
    answer(
        fake,
        user=sample(f"{kind}-user"),
        notes=[sample("gitlab-note")],
        comments=[sample("gitea-comment")],
        issues=[sample(f"{kind}-issue")],
    )
    (own,) = asking.own_comments(3)
    assert (own.id, own.body) == {"gitlab": (301, "Comment for MR"), "gitea": (31, "text")}[kind]
    issue = asking.open_issue("It does")
    number = {"gitlab": 1, "gitea": 4}[kind]
    assert issue is not None
    assert issue == Issue(number=number, url=issue.url, title="Revert it", body="It does not start.")
    assert asking.open_issue("Another") is None


def test_a_field_that_no_forge_has_is_refused() -> None:
    """So the fakes cannot say what nobody else says."""
    with pytest.raises(KeyError, match="gitlab-note has no text"):
        laid("gitlab-note", {"text": ""})
    with pytest.raises(KeyError, match=r"gitea-user has no username_"):
        laid("gitea-user", {"username_": ""})
