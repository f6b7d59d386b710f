"""A forge (GitHub, GitLab, Gitea, Forgejo) by its API: pull requests, reviews, checks, commit statuses."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal, assert_never
from urllib.parse import urlsplit

from deployer.adapters.forge import _gitea, _github, _gitlab
from deployer.adapters.forge._requests import Api
from deployer.adapters.forge._token import token_from
from deployer.adapters.forge._types import (
    CheckResult,
    Comment,
    Deployment,
    DeploymentState,
    Forge,
    ForgeUnavailable,
    Issue,
    Opinion,
    PullRequest,
    PullState,
    Review,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Kind = Literal["github", "gitlab", "gitea"]

_PART = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]+")

_PARTS = 2
"""Of a project's name: who owns it, and what it is called. GitLab has groups in groups."""


def forge(
    kind: Kind,
    *,
    api_url: str,
    project: str,
    token: Callable[[], str],
    ca_file: Path | None,
    refused: Callable[[], object] = lambda: None,
    app_id: str | None = None,
) -> Forge:
    """The project of that name at a forge. Nothing is asked yet.

    `token` is called for every request, in any thread; it raises ForgeUnavailable if there is none. `refused`
    is called when the forge did not take it. `app_id` is that of the GitHub App that we are. Raises
    ValueError for an `api_url` or a `project` that can be none.
    """
    _check(kind, api_url, project)
    asked = partial(Api, api_url=api_url, project=project, token=token, ca_file=ca_file, refused=refused)
    match kind:
        case "github":
            return _github.GitHub(asked(headers=_github.headers), app_id)
        case "gitlab":
            return _gitlab.GitLab(asked(headers=_gitlab.headers))
        case "gitea":
            return _gitea.Gitea(asked(headers=_gitea.headers))
        case _:
            assert_never(kind)


def _check(kind: Kind, api_url: str, project: str) -> None:
    try:
        parts = urlsplit(api_url)
        is_plain = parts.hostname is not None and not (parts.query or parts.fragment)
    except ValueError:
        is_plain, parts = False, urlsplit("")
    if "@" in parts.netloc:
        message = (
            "api_url holds a user name or a token: put the token into a file and name that as token_file"
        )
        raise ValueError(message)
    if parts.scheme not in {"http", "https"} or not is_plain:
        message = f"{api_url!r} is no address of an API: write it like https://forge.example/api/v1"
        raise ValueError(message)
    names = project.split("/")
    is_short = len(names) == _PARTS or (kind == "gitlab" and len(names) > _PARTS)
    if not is_short or not all(_PART.fullmatch(name) for name in names):
        message = f"{project!r} is no project of a forge: write it like ml/serve-configs"
        raise ValueError(message)


__all__ = [
    "CheckResult",
    "Comment",
    "Deployment",
    "DeploymentState",
    "Forge",
    "ForgeUnavailable",
    "Issue",
    "Kind",
    "Opinion",
    "PullRequest",
    "PullState",
    "Review",
    "State",
    "forge",
    "token_from",
]
