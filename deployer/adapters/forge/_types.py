"""What a forge knows of a project, in words that fit every forge.

Owns the values, the face of a forge and its one error. Must not know HTTP, nor any forge. Invariant: every
text in these values is one that the adapter has checked: lines are lines, commits are commits, links are
http(s), and nothing moves a cursor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from deployer.adapters.forge._comments import Comments
    from deployer.adapters.forge._issues import Issues

PullState = Literal["open", "merged", "closed"]


class State(StrEnum):
    """How a check of a commit stands.

    The last two are only said, never read: not every forge has a word of its own for them.
    """

    SUCCESS = "success"
    PENDING = "pending"
    FAILURE = "failure"
    RUNNING = "running"
    CANCELLED = "cancelled"


class DeploymentState(StrEnum):
    """How a deployment stands. Inactive was live once; cancelled never was, and never will be."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    INACTIVE = "inactive"
    CANCELLED = "cancelled"


class Opinion(StrEnum):
    """What a review says."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"
    DISMISSED = "dismissed"
    COMMENTED = "commented"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request (at GitLab: a merge request), by the number that its project knows it by.

    `head` and `base` are branches. `head_commit` is "" where the forge does not know it any more. `author`
    and `merged_by` are login names; "" and None where that person is not there any more, or nobody merged it.
    `merge_commit` is what the merge made, if it made a commit and the forge says which. `from_fork`: its
    branch is not one of the project's own.
    """

    number: int
    url: str
    title: str
    body: str
    head: str
    head_commit: str
    base: str
    state: PullState
    author: str
    merged_by: str | None
    merge_commit: str | None
    from_fork: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """What was written below a pull request. The id is the forge's."""

    id: int
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """An issue, by the number that its project knows it by."""

    number: int
    url: str
    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What one person says of a pull request. `commit` was its head then; "" if the forge does not say."""

    login: str
    state: Opinion
    commit: str
    at: datetime
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One attempt to have a commit run in an environment, as a forge keeps it.

    `rollout` is by which it is found again. `ref` is the branch that is followed, or the tag (`is_tag`).
    `task` is `deploy` or `rollback`.
    """

    commit: str
    environment: str
    rollout: str
    ref: str
    is_tag: bool
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A commit status or a check run, by the name that people know it by."""

    name: str
    state: State
    url: str | None
    description: str


class ForgeUnavailable(Exception):  # noqa: N818 - named by what follows: keep what is known, ask again later
    """The forge did not do it. `why` is one sentence with the cause and the next step, without secrets.

    `retry_after_seconds` is when the forge wants to be asked again, if it says so: until then it is asked
    nothing, and every question about the project raises this with what is left. `status` is that of its
    answer, if there was one.
    """

    def __init__(
        self, why: str, *, retry_after_seconds: float | None = None, status: int | None = None
    ) -> None:
        """Take the sentence."""
        super().__init__(why)
        self.why = why
        self.retry_after_seconds = retry_after_seconds
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """Whether the forge said no, so that nothing was done; else it may have done it all the same."""
        return self.status is not None and 400 <= self.status < 500  # noqa: PLR2004 - what the client did


class Forge(ABC):
    """One project of a forge. Safe in any thread. Every method asks at once, and raises ForgeUnavailable.

    A commit is 40 hexadecimal digits; ValueError if not.
    """

    _comments: Comments
    _issues: Issues

    @abstractmethod
    def open_pull_request(self, head: str, base: str) -> PullRequest | None:
        """The open one from this branch of the project to that one."""

    @abstractmethod
    def open_pull_requests(self, base: str) -> tuple[PullRequest, ...]:
        """All open ones to this branch, from forks as well, the lowest number first."""

    def own_comments(self, number: int) -> tuple[Comment, ...]:
        """What the owner of our token wrote below a pull request, the oldest first."""
        return self._comments.own(number)

    def write_comment(self, number: int, body: str) -> int:
        """Write below a pull request; the id of the comment. Not safe to repeat."""
        return self._comments.write(number, body)

    def change_comment(self, number: int, id_: int, body: str) -> None:
        """Have a comment say something else; nobody is told of that. 404: it is not there any more."""
        self._comments.change(number, id_, body)

    def open_issue(self, mark: str) -> Issue | None:
        """The open issue that the owner of our token wrote and that begins with this."""
        return self._issues.open(mark)

    def create_issue(self, *, title: str, body: str) -> Issue:
        """Open an issue. Not safe to repeat."""
        return self._issues.create(title, body)

    def update_issue(self, number: int, *, title: str, body: str) -> Issue:
        """Give an issue another title and body."""
        return self._issues.update(number, title, body)

    def close_issue(self, number: int, *, comment: str) -> None:
        """Close an issue if it is open, and say why; nothing is done to one that is closed."""
        self._issues.close(number, comment)

    def create(self, *, head: str, base: str, title: str, body: str) -> PullRequest:
        """Open one. If one is open already, that one gets the title and the body: it is safe to repeat."""
        try:
            return self._create(head=head, base=base, title=title, body=body)
        except ForgeUnavailable as error:
            # GitHub says it with a 422, the others with a 409; and so they say other things.
            if error.status not in {409, 422}:
                raise
            found = self.open_pull_request(head, base)
            if found is None:
                raise
        return self.update(found.number, title=title, body=body)

    @abstractmethod
    def _create(self, *, head: str, base: str, title: str, body: str) -> PullRequest: ...

    @abstractmethod
    def pull_request(self, number: int) -> PullRequest:
        """The one of that number, however it stands."""

    @abstractmethod
    def update(self, number: int, *, title: str, body: str) -> PullRequest:
        """Give it another title and body."""

    @abstractmethod
    def close(self, number: int, *, comment: str) -> None:
        """Close it if it is open, and say why; nothing is done to one that is closed or merged."""

    @abstractmethod
    def pull_request_of(self, commit: str, base: str | None = None) -> PullRequest | None:
        """The merged one that brought this commit: which made it, whose head it was, or which held it.

        Only one that was merged into the branch `base`, unless that is None.
        """

    @abstractmethod
    def reviews(self, number: int) -> tuple[Review, ...]:
        """The last word of each person, the newest last. A comment takes no other word back."""

    @abstractmethod
    def checks(self, commit: str) -> tuple[CheckResult, ...]:
        """The newest of each name. Where several go by one name, all of them have to be green."""

    @abstractmethod
    def set_status(
        self, commit: str, *, context: str, state: State, description: str, url: str | None
    ) -> None:
        """Show this beside the commit, under the name `context`, instead of what was shown before."""

    @abstractmethod
    def show_deployment(
        self,
        of: Deployment,
        state: DeploymentState,
        *,
        description: str,
        log_url: str | None,
        environment_url: str | None,
    ) -> None:
        """Show how it stands; made if it is not there, unless it is over. Safe to repeat.

        Gitea has no deployments: it refuses.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """End what is being asked, and ask nothing any more."""
