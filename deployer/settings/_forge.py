"""The settings of a forge: where its API is, which project is meant, and how the daemon is let in there.

Owns these keys, and what the URL of a repository tells of them. Must not know how git is let in, nor what the
forge is asked. Invariant: what loads has an address, a project and exactly one credential, and that never
travels in the clear beyond this machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from deployer.settings import _addresses as addresses
from deployer.settings import _values as values
from deployer.settings._group import Flag, Group, PublicFile, SecretFile, base, text

if TYPE_CHECKING:
    from typing import NoReturn, Self

_GITHUB = "https://api.github.com"
_EXAMPLES = {
    "github": _GITHUB,
    "gitlab": "https://gitlab.example.com/api/v4",
    "gitea": "https://gitea.example.com/api/v1",
}
_PATHS = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1"}
"""Where the API is on a host of one's own. GitHub's is GitHub Enterprise Server."""

_DATA_RESIDENCY = ".ghe.com"
"""GitHub Enterprise Cloud with data residency: its API is at `api.SUBDOMAIN.ghe.com`."""

_SSH_HOSTS = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}
"""Where the two take ssh at the port of https."""

_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,255}", re.ASCII)
"""What the three allow in the name of a project, and of who owns it."""


class App(Group):
    """A GitHub App that is installed where the repository is."""

    app_id: Annotated[str, text(values.number)] = Field(examples=['"123456"'])
    """The App's id, or its client id, as its settings page shows it."""
    installation_id: Annotated[str, text(values.number)] = Field(examples=['"7654321"'])
    """The id of its installation: the number at the end of that page's address."""
    private_key_file: Annotated[Path, text(values.secret_file)] = Field(
        examples=["/etc/deployer/github-app.pem"]
    )
    """The file with the App's private key (PEM). Nobody but its owner may read it."""


class _NotGiven:
    """Stands for a setting that the file does not give, so that it is worked out of others."""


def _not_given() -> Any:  # noqa: ANN401 - what a field of any type begins with
    return _NotGiven()


def _api_url(value: object, info: ValidationInfo) -> str:
    """The address of the API: what is written, else what kind and the repository's URL tell."""
    if isinstance(value, str):
        return _checked_api(value, base(info))
    if not isinstance(value, _NotGiven):
        raise ValueError(values.wrong_kind(value, "text"))  # noqa: TRY004 - pydantic collects ValueErrors
    kind, url = info.data.get("kind"), base(info).url
    if kind is None or url is None:
        return ""  # What is wrong with them is reported there.
    site = _site(url)
    if site is None:
        _refuse(f"is missing, and url does not tell it: add it, as in `api_url: {_EXAMPLES[kind]}`")
    host = urlsplit(_checked_api(site, base(info))).netloc
    if kind == "github" and host == "github.com":
        return _GITHUB
    if kind == "github" and host.endswith(_DATA_RESIDENCY):
        return f"https://api.{host}"
    return _checked_api(f"{site}{_PATHS[kind]}", base(info))


def _project(value: object, info: ValidationInfo) -> str:
    """The project: what is written, else the path of the repository's URL."""
    kind, url = info.data.get("kind"), base(info).url
    wanted = "group/name" if kind == "gitlab" else "owner/name"
    if isinstance(value, str):
        if value.endswith(".git"):
            _refuse("must be the project's name without .git, as its page has it")
        if not _is_project(value, kind):
            _refuse(f"must be the project at the forge, {wanted}, such as ml/serve-configs")
        return value
    if not isinstance(value, _NotGiven):
        raise ValueError(values.wrong_kind(value, "text"))  # noqa: TRY004 - as above
    if kind is None or url is None:
        return ""  # As above.
    found = _path(url).strip("/").removesuffix(".git")
    if not _is_project(found, kind):
        example = "`project: ml/serve-configs`"
        _refuse(f"is missing, and url does not tell it as {wanted}: add it, as in {example}")
    return found


def _app(value: object, info: ValidationInfo) -> object:
    kind = info.data.get("kind", "github")
    if kind != "github":
        _refuse(f"is only used with kind: github, and kind is {kind}: use token_file")
    if info.data.get("token_file") is not None:
        _refuse("is instead of token_file: remove one of them")
    return value


def _with_https(value: object, info: ValidationInfo) -> object:
    # Not there if it is wrong, which is said elsewhere.
    if info.data.get("api_url", "").startswith("http://"):
        _refuse("is only used with https://, and api_url is not: remove this")
    return value


def _deployments(value: object, info: ValidationInfo) -> object:
    if addresses.flag(value) and info.data.get("kind") == "gitea":
        _refuse("is only used with kind: github or gitlab: Gitea has no deployments. Remove this")
    return value


class Forge(Group):
    """The API of the forge that keeps the repository: for pull requests, statuses and reviews."""

    kind: Literal["github", "gitlab", "gitea"] = Field(examples=["github"])
    """Which API it speaks. Forgejo speaks Gitea's."""
    api_url: Annotated[str, BeforeValidator(_api_url)] = Field(
        default_factory=_not_given, validate_default=True
    )
    """Where the API is. Without it: what the repository's url and kind tell."""
    project: Annotated[str, BeforeValidator(_project)] = Field(
        default_factory=_not_given, validate_default=True
    )
    """The project there: `owner/name`, at GitLab also `group/subgroup/name`. Without it: the path of url."""
    token_file: SecretFile = None
    """The file with the token for the API. Nobody but its owner may read it."""
    github_app: Annotated[App | None, BeforeValidator(_app)] = None
    """A GitHub App to be let in as, instead of a token."""
    ca_file: Annotated[PublicFile, BeforeValidator(_with_https)] = None
    """The certificates (PEM) that https trusts instead of the system's."""

    statuses: Flag = True
    """Whether each commit shows there what becomes of it. The token needs the right to write statuses."""
    deployments: Annotated[bool, BeforeValidator(_deployments)] = False
    """Whether each rollout is shown as a deployment there. Gitea has none."""
    plans: Flag = False
    """Whether each open pull request has a comment with what merging it would do. The token writes it."""

    @model_validator(mode="after")
    def _is_let_in(self) -> Self:
        if self.token_file is None and self.github_app is None:
            more = " (or github_app)" if self.kind == "github" else ""
            _refuse(f"does not say how the daemon is let in: add token_file{more}")
        return self


def _checked_api(address: str, given: values.Base) -> str:
    url = values.http_address(
        address,
        given,
        what="the forge's API, such as https://api.github.com",
        instead_of_login="put the token into a file, and name that as token_file",
    )
    parts = urlsplit(url)
    if parts.scheme == "http" and not values.is_this_machine(str(parts.hostname)):
        _refuse("must begin with https://: over http everybody on the way could read the token")
    return url


def _site(url: str) -> str | None:
    """The scheme and host of the forge's pages, by the URL of a repository there; None if that is unknown."""
    if "://" not in url:
        host = url.partition(":")[0].rpartition("@")[2]
        return None if url.startswith("/") else f"https://{_SSH_HOSTS.get(host.lower(), host)}"
    parts = urlsplit(url)
    host = str(parts.hostname)
    shown = f"[{host}]" if ":" in host else host
    match parts.scheme:
        case "https":
            return f"https://{parts.netloc}"
        case "http" if values.is_this_machine(host):
            return f"http://{parts.netloc}"
        case "http" if parts.port not in {None, 80}:
            return None  # Which port has https is not known.
        case "http" | "ssh" | "git":
            return f"https://{_SSH_HOSTS.get(host, shown)}"
        case _:
            return None


def _path(url: str) -> str:
    """The path at a server; empty for a local one."""
    if "://" not in url:
        return "" if url.startswith("/") else url.partition(":")[2]
    return "" if url.startswith("file://") else urlsplit(url).path


def _is_project(name: str, kind: str | None) -> bool:
    """Whether this has the form of a project's name. Only GitLab has groups in groups."""
    segments = name.split("/")
    is_as_long = len(segments) == 2 or (len(segments) > 2 and kind not in {"github", "gitea"})  # noqa: PLR2004
    return is_as_long and all(_SEGMENT.fullmatch(one) for one in segments)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
