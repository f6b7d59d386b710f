"""Deployments at GitHub and at GitLab: found again by what they are of, made once, told how they stand.

Owns their paths, shapes and words. Must not know HTTP, nor when something is told. Invariant: what a lost
answer or a crash left half done is found and not made a second time: at GitHub by a mark in its payload, at
GitLab, which keeps no such thing, by its environment and commit while it is under way.

https://docs.github.com/rest/deployments, https://docs.gitlab.com/api/deployments/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.adapters.forge import _values as read
from deployer.adapters.forge._requests import Doing
from deployer.adapters.forge._types import DeploymentState

if TYPE_CHECKING:
    from deployer.adapters.forge._requests import Api
    from deployer.adapters.forge._types import Deployment

_MARK = "deployer"
"""The key in the payload at GitHub."""

_KNOWN = 1_000
"""Ids that are remembered. Any other is asked for."""

_AT_GITLAB = {
    DeploymentState.QUEUED: "running",
    DeploymentState.IN_PROGRESS: "running",
    DeploymentState.SUCCESS: "success",
    DeploymentState.FAILURE: "failed",
    DeploymentState.CANCELLED: "canceled",
}

_OVER = frozenset({DeploymentState.INACTIVE, DeploymentState.CANCELLED})
"""What is not made only to say so: it was begun before anybody was told of deployments."""

_UNDER_WAY = frozenset({"created", "running", "blocked"})


class AtGitHub:
    """The deployments of one repository at GitHub. One thread at a time."""

    def __init__(self, api: Api, repo: str) -> None:
        """Take the API, and the path of the repository."""
        self._api = api
        self._path = f"{repo}/deployments"
        self._known: dict[str, int] = {}

    def show(self, of: Deployment, state: DeploymentState, **said: str | None) -> None:
        """Show how it stands. `said` are the description and the two links, where there are some."""
        doing = Doing(what=f"show the deployment {of.rollout}", needs="write access to Deployments")
        id_ = self._known.get(of.rollout) or self._found(of, doing)
        if id_ is None:
            if state in _OVER:
                return
            id_ = self._made(of, doing)
        self._remember(of.rollout, id_)
        # The ones before are told by name: GitHub itself would leave those of production as they are.
        word = DeploymentState.INACTIVE if state in _OVER else state
        status = {"state": word.value, "auto_inactive": False, **_given(said)}
        self._api.send("POST", f"{self._path}/{id_}/statuses", doing, status)

    def _found(self, of: Deployment, doing: Doing) -> int | None:
        query = {"sha": read.check_commit(of.commit), "environment": of.environment, "per_page": "30"}
        for value in self._api.pages(self._path, doing, query):
            with self._api.reading(doing):
                one = read.mapping(value)
                payload = one.get("payload")
                if isinstance(payload, dict) and payload.get(_MARK) == of.rollout:
                    return read.number(one, "id")
        return None

    def _made(self, of: Deployment, doing: Doing) -> int:
        body: dict[str, object] = {
            "ref": read.check_commit(of.commit),
            "environment": of.environment,
            "task": of.task,
            "payload": {_MARK: of.rollout},
            "description": f"{of.rollout} by deployer",
            # What has to be green first is asked by the gates; nothing is merged because of this.
            "auto_merge": False,
            "required_contexts": [],
        }
        answer = self._api.send("POST", self._path, doing, body)
        with self._api.reading(doing):
            return read.number(read.mapping(answer), "id")

    def _remember(self, rollout: str, id_: int) -> None:
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[rollout] = id_


class AtGitLab:
    """The deployments of one project at GitLab."""

    def __init__(self, api: Api, project: str, needs: str) -> None:
        """Take the API, the path of the project, and what a token needs there, in words."""
        self._api = api
        self._path = f"{project}/deployments"
        self._needs = needs

    def show(self, of: Deployment, state: DeploymentState) -> None:
        """Show how it stands. It has room for no words, nor for a link.

        Which of those that were live is live now, GitLab finds out by itself.
        """
        if state is DeploymentState.INACTIVE:
            return
        doing = Doing(what=f"show the deployment {of.rollout}", needs=self._needs)
        word = _AT_GITLAB[state]
        newest = self._newest(of, doing)
        held = read.raw(newest, "status") if newest is not None else None
        if held == word:
            return
        if newest is not None and held in _UNDER_WAY:
            self._api.send("PUT", f"{self._path}/{read.number(newest, 'id')}", doing, {"status": word})
        elif state not in _OVER:
            body: dict[str, object] = {
                "environment": of.environment,
                "sha": of.commit,
                "ref": of.ref,
                "tag": of.is_tag,
                "status": word,
            }
            self._api.send("POST", self._path, doing, body)

    def _newest(self, of: Deployment, doing: Doing) -> dict[str, Any] | None:
        """The newest of this environment, if it is of this commit: one is under way there at a time."""
        read.check_commit(of.commit)
        query = {"environment": of.environment, "order_by": "id", "sort": "desc", "per_page": "1"}
        answer = self._api.get(self._path, doing, query)
        with self._api.reading(doing):
            found = [dict(read.mapping(one)) for one in read.items(answer)]
            if found:
                read.number(found[0], "id")
        return found[0] if found and read.commit(found[0], "sha") == of.commit else None


def _given(said: dict[str, str | None]) -> dict[str, object]:
    return {name: value for name, value in said.items() if value is not None}
