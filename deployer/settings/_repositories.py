"""The settings of repositories: where each is, and how the daemon is let in to read it, and to push.

Owns the rules of which credential goes with which URL, for both. Must not know environments. Invariant: what
is let in to push is named apart from what is let in to read, so that reading never needs a right to push.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from deployer.settings import _values as values
from deployer.settings._forge import App, Forge
from deployer.settings._group import Group, PublicFile, SecretFile, base, text


class GithubApp(App):
    """A GitHub App that lets git in, and the API that gives it a token."""

    api_url: Annotated[str, text(values.api_url)] = "https://api.github.com"
    """The forge's API; GitHub Enterprise has its own, `https://HOST/api/v3`."""


class Webhook(Group):
    """What a forge sends when somebody pushed. It only says: look now."""

    scheme: Literal["github", "gitlab", "gitlab-token", "gitea", "bitbucket", "generic"] = Field(
        examples=["github"]
    )
    """How the forge signs. No other way is taken."""
    secret_file: Annotated[Path, text(values.secret_file)] = Field(examples=["/etc/deployer/webhook.secret"])
    """The file with the secret that the forge signs with. Nobody but its owner may read it."""
    previous_secret_file: SecretFile = None
    """The file with the secret before that, while it is replaced: both are taken."""


# --- which credential goes with which URL -------------------------------------------------------------------


def _url(info: ValidationInfo) -> str | None:
    """The URL of the repository, if it is sound: beside the credential, or around the group that holds it."""
    url: str | None = info.data["url"] if "url" in info.data else base(info).url
    return url


def _with_ssh(value: object, info: ValidationInfo) -> object:
    """The value, if the URL is one for ssh: `ssh://`, or `git@host:path`."""
    url = _url(info)
    if url is not None and not (url.startswith("ssh://") or ("://" not in url and not url.startswith("/"))):
        message = "is only used with ssh, and url is not one for it: remove this"
        raise ValueError(message)
    return value


def _with(value: object, info: ValidationInfo, *schemes: str) -> object:
    url = _url(info)
    if url is not None and not url.startswith(schemes):
        message = f"is only used with {' or '.join(schemes)}, and url is not: remove this"
        raise ValueError(message)
    return value


def _with_http(value: object, info: ValidationInfo) -> object:
    return _with(value, info, "https://", "http://")


def _with_https(value: object, info: ValidationInfo) -> object:
    return _with(value, info, "https://")


def _with_known_hosts(value: object, info: ValidationInfo) -> object:
    if "known_hosts_file" in info.data and info.data["known_hosts_file"] is None:
        message = "needs known_hosts_file beside it: write the server's host keys into one"
        raise ValueError(message)
    return value


def _with_token(value: object, info: ValidationInfo) -> object:
    if "token_file" in info.data and info.data["token_file"] is None:
        message = "is only sent together with a token: add token_file, or remove this"
        raise ValueError(message)
    return value


def _without_token(value: object, info: ValidationInfo) -> object:
    if info.data.get("token_file") is not None:
        message = "is instead of token_file: remove one of them"
        raise ValueError(message)
    return value


# pydantic calls the last one first.
TokenFile = Annotated[SecretFile, BeforeValidator(_with_http)]
Username = Annotated[str, text(values.word), BeforeValidator(_with_token)]
CaFile = Annotated[PublicFile, BeforeValidator(_with_https)]
KnownHostsFile = Annotated[Path | None, text(values.known_hosts_file), BeforeValidator(_with_ssh)]
SshKeyFile = Annotated[
    Path | None, text(values.ssh_key_file), BeforeValidator(_with_known_hosts), BeforeValidator(_with_ssh)
]
GithubAppOrNone = Annotated[GithubApp | None, BeforeValidator(_with_http), BeforeValidator(_without_token)]


class Write(Group):
    """How the daemon is let in to push, which promotions need. Nothing of what lets it in to read is used."""

    token_file: TokenFile = None
    """The file with the token or password for http(s) that may push. Nobody but its owner may read it."""
    username: Username = "git"
    """The user name that goes with the token. Most forges take any."""
    ca_file: CaFile = None
    """The certificates (PEM) that https trusts instead of the system's."""
    known_hosts_file: KnownHostsFile = None
    """The host keys that ssh takes, as `ssh-keyscan` writes them: check them with the server's owner."""
    ssh_key_file: SshKeyFile = None
    """The private key for ssh that may push, without a passphrase. Nobody but its owner may read it."""
    github_app: GithubAppOrNone = None
    """A GitHub App to be let in as, instead of a token. It needs the right to write contents."""


def _write(value: object, info: ValidationInfo) -> object:
    """Read it by the rules of the URL that stands around it."""
    if not isinstance(value, dict):
        return value
    return Write.model_validate(value, context=replace(base(info), url=info.data.get("url")))


def _forge(value: object, info: ValidationInfo) -> object:
    """Read it with the URL that stands around it, which tells what is not said."""
    if not isinstance(value, dict):
        return value
    return Forge.model_validate(value, context=replace(base(info), url=info.data.get("url")))


class Repository(Group):
    """A git repository that holds configs."""

    url: Annotated[str, text(values.repository_url)] = Field(
        examples=["https://git.example.com/ml/serve-configs.git"]
    )
    """Where it is: https, http, ssh, `git@host:path`, file, or a local path. Never with a password."""
    poll_interval: Annotated[float, text(values.seconds, wanted="a duration such as 30s or 10m")] = 15.0
    """Seconds between two looks at it; written as a duration. A local one is watched as well."""
    token_file: TokenFile = None
    """The file with the token or password for http(s). Nobody but its owner may read it."""
    username: Username = "git"
    """The user name that goes with the token. Most forges take any."""
    ca_file: CaFile = None
    """The certificates (PEM) that https trusts instead of the system's."""
    known_hosts_file: KnownHostsFile = None
    """The host keys that ssh takes, as `ssh-keyscan` writes them: check them with the server's owner."""
    ssh_key_file: SshKeyFile = None
    """The private key for ssh, without a passphrase. Nobody but its owner may read it."""
    github_app: GithubAppOrNone = None
    """A GitHub App to be let in as, instead of a token."""
    webhook: Webhook | None = None
    """What the forge sends to `/hooks/<repository>` after a push."""
    write: Annotated[Write | None, BeforeValidator(_write)] = None
    """How the daemon is let in to push, for promotions. None: it never pushes."""
    forge: Annotated[Forge | None, BeforeValidator(_forge)] = None
    """The API of the forge, for pull requests, checks and reviews. None: it is never asked."""
