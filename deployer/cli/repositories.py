"""From the settings to what the git adapter and the sources take: who is let in where, and what is followed.

Owns that translation, which the daemon and the commands that read git share. Must not read anything.
Invariant: secrets stay in the files that the settings name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.source import Branch, Pinned, Source, Tags

if TYPE_CHECKING:
    from deployer.adapters.git import Access, Signers
    from deployer.settings import Environment, Repository


def access(repository: Repository) -> Access:
    """How to be let into a repository."""
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
