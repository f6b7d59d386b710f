"""From the settings to what the adapters and the sources take: who is let in where, and what is followed.

Owns that translation, which the daemon and the commands that read git share. Must not read anything.
Invariant: secrets stay in the files that the settings name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deployer.core.source import Branch, Pinned, Source, Tags

if TYPE_CHECKING:
    # Nobody evaluates the annotations of ForgeAccess, for which git would be imported before it is needed.
    from deployer.adapters.git import Access, GithubApp, Signers  # noqa: TC004 - see above
    from deployer.settings import AuditPush, Environment, Repository, Write


def access(repository: Repository | Write | AuditPush) -> Access:
    """How to be let into a repository, to read or to push."""
    # git is imported late: most commands need none of it.
    from deployer.adapters.git import Access, GithubApp

    app = repository.github_app
    github_app = None
    if app is not None:
        github_app = GithubApp(
            app_id=app.app_id,
            installation_id=app.installation_id,
            private_key_file=app.private_key_file,
            api_url=app.api_url,
        )
    return Access(
        username=repository.username,
        token_file=repository.token_file,
        ca_file=repository.ca_file,
        ssh_key_file=repository.ssh_key_file,
        known_hosts_file=repository.known_hosts_file,
        github_app=github_app,
    )


def write_access(repository: Repository) -> Access | None:
    """How to be let in to push; None if the daemon must not."""
    return None if repository.write is None else access(repository.write)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeAccess:
    """One project of a forge, and how to be let in: by the token in a file, or as a GitHub App."""

    kind: Literal["github", "gitlab", "gitea"]
    api_url: str
    project: str
    credential: Path | GithubApp
    ca_file: Path | None


def forge_access(repository: Repository) -> ForgeAccess | None:
    """How the repository's forge is asked; None if it must not be."""
    from deployer.adapters.git import GithubApp

    forge = repository.forge
    if forge is None:
        return None
    credential: Path | GithubApp | None = forge.token_file
    if forge.github_app is not None:
        credential = GithubApp(
            app_id=forge.github_app.app_id,
            installation_id=forge.github_app.installation_id,
            private_key_file=forge.github_app.private_key_file,
            api_url=forge.api_url,
        )
    if credential is None:
        message = "a forge without a credential: the settings refuse that"
        raise ValueError(message)
    return ForgeAccess(
        kind=forge.kind,
        api_url=forge.api_url,
        project=forge.project,
        credential=credential,
        ca_file=forge.ca_file,
    )


def source(environment: Environment) -> Source:
    """What an environment follows."""
    if environment.tags is not None:
        return Tags(pattern=environment.tags.pattern, versions=environment.tags.versions)
    if environment.commit is not None:
        return Pinned(environment.commit)
    return Branch(environment.branch or "")


def signers(environment: Environment) -> Signers:
    """Who may sign what is deployed there."""
    from deployer.adapters.git import Signers

    wanted = environment.signatures
    return Signers(allowed_signers_file=wanted.allowed_signers_file, gpg_keyring_file=wanted.gpg_keyring_file)
