"""What a message to a forge becomes, and what its refusals mean for the outbox."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.adapters.forge import Deployment, DeploymentState, ForgeUnavailable, State
from deployer.adapters.store import OutboxRow
from deployer.core import deployment_news
from deployer.core.gates import Gating, Rules
from deployer.core.messages import COMMIT_STATUS, DEPLOYMENT, Message
from deployer.core.record import Record
from deployer.core.status import status
from deployer.engine.forge_delivery import DeploymentTarget, ForgeTarget
from deployer.engine.news import News
from deployer.engine.outbox import Away, LockedOut, LogTarget, Refused
from tests.support.build import at, desired, live, record_of, release, seen, started

A = release("a")


class Forge:
    """Remembers what it is asked, or fails."""

    def __init__(self) -> None:
        """Take everything."""
        self.asked: list[tuple[Any, ...]] = []
        self.trouble: Exception | None = None
        self.is_interrupted = False

    def set_status(
        self, commit: str, *, context: str, state: State, description: str, url: str | None
    ) -> None:
        """Remember."""
        self._ask(commit, context, state, description, url)

    def show_deployment(
        self,
        of: Deployment,
        state: DeploymentState,
        *,
        description: str,
        log_url: str | None,
        environment_url: str | None,
    ) -> None:
        """Remember."""
        self._ask(of, state, description, log_url, environment_url)

    def interrupt(self) -> None:
        """Remember."""
        self.is_interrupted = True

    def _ask(self, *what: object) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.asked.append(what)


def row(message: Message) -> OutboxRow:
    """As the store gives it."""
    return OutboxRow(
        id=1,
        event_id=1,
        created_at=at(0),
        environment="staging",
        kind=message.kind,
        audience=message.audience,
        key=message.key,
        message=message.text,
        payload=message.payload,
    )


def messages(news: News) -> list[Message]:
    """Of the beginning of a deploy."""
    return [
        *news.of(Record(environment="staging"), seen(A)),
        *news.of(record_of(seen(A)), started(A)),
    ]


BOTH = {"staging": "configs"}


@pytest.mark.parametrize(("public", "base"), [("https://d.example/", "https://d.example"), (None, None)])
def test_a_status_has_the_page_of_its_rollout_or_environment(public: str | None, base: str | None) -> None:
    """As far as people can reach the daemon."""
    forge = Forge()
    target = ForgeTarget("configs", forge, ["staging"], public)
    for message in messages(News(BOTH)):
        target.deliver(row(message))

    commit = A.revision.commit
    pages = [f"{base}/env/staging", f"{base}/rollouts/staging%231"] if base is not None else [None, None]
    assert forge.asked == [
        (commit, "deployer/staging", State.PENDING, "Waits to be deployed.", pages[0]),
        (commit, "deployer/staging", State.RUNNING, "Being deployed.", pages[1]),
    ]


def test_a_deployment_is_of_the_branch_or_of_the_tag() -> None:
    """Of neither where the environment follows a commit."""
    forge = Forge()
    (message,) = messages(News(None, BOTH))
    for branches in ({"staging": "main"}, {"staging": ""}):
        DeploymentTarget("configs", forge, ["staging"], None, branches=branches).deliver(row(message))
    tagged = {**message.payload, "tag": "v1"}
    told = Message(kind=DEPLOYMENT, audience="x", text="x", payload=tagged)
    DeploymentTarget("configs", forge, ["staging"], None, branches={"staging": "main"}).deliver(row(told))

    assert [(one[0].ref, one[0].is_tag, one[1]) for one in forge.asked] == [
        ("main", False, DeploymentState.QUEUED),
        (A.revision.commit, False, DeploymentState.QUEUED),
        ("v1", True, DeploymentState.QUEUED),
    ]


@pytest.mark.parametrize(
    ("trouble", "means", "seconds"),
    [
        (ForgeUnavailable("no answer"), Away, None),
        (ForgeUnavailable("502", status=502), Away, None),
        (ForgeUnavailable("limit", status=403, retry_after_seconds=30), Away, 30),
        (ForgeUnavailable("limit", status=429, retry_after_seconds=7), Away, 7),
        (ForgeUnavailable("token", status=401), LockedOut, None),
        (ForgeUnavailable("right", status=403), LockedOut, None),
        (ForgeUnavailable("moved", status=301), LockedOut, None),
        (ForgeUnavailable("unknown", status=404), Refused, None),
        (ForgeUnavailable("invalid", status=422), Refused, None),
        (ValueError("'x' is no commit"), Refused, None),
    ],
    ids=str,
)
def test_what_a_forge_says_means(trouble: Exception, means: type[Exception], seconds: float | None) -> None:
    """Whether all of it waits, somebody has to act, or only this one is not taken."""
    forge = Forge()
    forge.trouble = trouble
    with pytest.raises(means) as raised:
        ForgeTarget("configs", forge, ["staging"], None).deliver(row(messages(News(BOTH))[0]))

    assert type(raised.value) is means
    assert str(raised.value) == str(trouble)
    assert getattr(raised.value, "retry_after", None) == seconds


def test_what_a_newer_version_wrote_is_not_guessed() -> None:
    """It can be delivered by that one, or dropped."""
    target = ForgeTarget("configs", Forge(), ["staging"], None)
    with pytest.raises(Refused, match="does not know what a comment is"):
        target.deliver(row(Message(kind="comment", audience="forge/configs", text="x")))


def test_who_hears_of_a_status() -> None:
    """Only who tells of commits that wait, of its own environments."""
    gating = Gating(rules=Rules(manual=True))
    waiting = status(desired(A), live(), record_of(seen(A)), at(1), {}, gating)
    going_on = status(desired(A), live(), record_of(seen(A)), at(1))
    forge = Forge()
    target = ForgeTarget("configs", forge, ["staging"], None)
    others = (
        ForgeTarget("configs", forge, ["production"], None),
        DeploymentTarget("configs", forge, ["staging"], None, branches={}),
        LogTarget(),
    )

    assert (target.hears_of(waiting), target.hears_of(going_on)) == (True, False)
    assert [one.hears_of(waiting) for one in others] == [False] * 3
    target.interrupt()
    assert forge.is_interrupted


def test_news_are_for_those_who_want_them() -> None:
    """People always; a forge its statuses, its deployments, or both; nobody else's."""
    told = messages(News(BOTH, BOTH))
    assert [(one.kind, one.audience) for one in told] == [
        (COMMIT_STATUS, "forge/configs"),
        (COMMIT_STATUS, "forge/configs"),
        (DEPLOYMENT, "forge/configs/deployments"),
    ]
    assert messages(News()) == []
    assert deployment_news.changes(Record(environment="staging"), seen(A)) == ()
