"""The settings as values: what `deployer.yaml` may say, with units and defaults.

Owns the keys, their types and how keys of one group depend on one another. Must not know files, lines or
environment variables. Invariant: a `Settings` is complete, frozen and holds no secret: those stay in the
files that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from deployer.settings import _values as values

BY_NAME = ("repositories", "environments")
"""The groups whose keys are names that people choose."""


def _text(parse: Callable[[str, values.Base], object], *, wanted: str = "text") -> BeforeValidator:
    """A value that is written as text and stands for something; the context is a `Base`."""

    def read(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            raise ValueError(values.wrong_kind(value, wanted))  # noqa: TRY004 - pydantic collects ValueErrors
        if not isinstance(info.context, values.Base):
            message = "settings are made by deployer.settings.load, which knows what paths are relative to"
            raise TypeError(message)
        return parse(value, info.context)

    return BeforeValidator(read)


def _sync(value: object) -> object:
    if value in ("manual", "observe"):
        message = f"cannot be {value} in this version yet: remove the line, which means auto"
        raise ValueError(message)
    return value


def _one_or_more(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not value:
        message = "has no entry, so there would be nothing to do: add one"
        raise ValueError(message)
    return value


_Name = Annotated[str, AfterValidator(values.name)]
_SecretFile = Annotated[Path | None, _text(values.secret_file)]
_PublicFile = Annotated[Path | None, _text(values.public_file)]
_SshKeyFile = Annotated[Path | None, _text(values.ssh_key_file)]
_KnownHostsFile = Annotated[Path | None, _text(values.known_hosts_file)]
_Word = Annotated[str, _text(values.word)]


class Group(BaseModel):
    """A mapping in the file. `later`: keys that a later version obeys, and that this one refuses."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )
    later: ClassVar[tuple[str, ...]] = ()


class GithubApp(Group):
    """A GitHub App that is installed where the repository is."""

    app_id: Annotated[str, _text(values.number)] = Field(examples=['"123456"'])
    """The App's id, or its client id, as its settings page shows it."""
    installation_id: Annotated[str, _text(values.number)] = Field(examples=['"7654321"'])
    """The id of its installation: the number at the end of that page's address."""
    private_key_file: Annotated[Path, _text(values.secret_file)] = Field(
        examples=["/etc/deployer/github-app.pem"]
    )
    """The file with the App's private key (PEM). Nobody but its owner may read it."""
    api_url: Annotated[str, _text(values.api_url)] = "https://api.github.com"
    """The forge's API; GitHub Enterprise has its own, `https://HOST/api/v3`."""


class Webhook(Group):
    """What a forge sends when somebody pushed. It only says: look now."""

    scheme: Literal["github", "gitlab", "gitlab-token", "gitea", "bitbucket", "generic"] = Field(
        examples=["github"]
    )
    """How the forge signs. No other way is taken."""
    secret_file: Annotated[Path, _text(values.secret_file)] = Field(examples=["/etc/deployer/webhook.secret"])
    """The file with the secret that the forge signs with. Nobody but its owner may read it."""
    previous_secret_file: _SecretFile = None
    """The file with the secret before that, while it is replaced: both are taken."""


class Tags(Group):
    """Tags that are versions: the newest that fits is deployed."""

    versions: Annotated[str, _text(values.versions)] = Field(examples=['">=1.2 <2"'])
    """Which versions fit (Semantic Versioning): `>=1.2 <2`, `^1.4`, `1.x || 3.x`, `*`."""
    pattern: Annotated[str, _text(values.tag_pattern)] = "v*"
    """The tags to look at; the `*` stands for the version."""


class Signatures(Group):
    """Whose signature a commit must carry before it is deployed."""

    verify: Literal["head", "range", "none"] = "head"
    """head: of the commit that is deployed; range: of every commit since the one that was deployed."""
    allowed_signers_file: _PublicFile = None
    """The ssh keys that may sign, as `ssh-keygen` has them (ALLOWED SIGNERS in its manual)."""
    gpg_keyring_file: _PublicFile = None
    """The GPG public keys that may sign, as `gpg --export` writes them."""


class Repository(Group):
    """A git repository that holds configs."""

    url: Annotated[str, _text(values.repository_url)] = Field(
        examples=["https://git.example.com/ml/serve-configs.git"]
    )
    """Where it is: https, http, ssh, `git@host:path`, file, or a local path. Never with a password."""
    poll_interval: Annotated[float, _text(values.seconds, wanted="a duration such as 30s or 10m")] = 15.0
    """Seconds between two looks at it; written as a duration. A local one is watched as well."""
    token_file: _SecretFile = None
    """The file with the token or password for http(s). Nobody but its owner may read it."""
    username: Annotated[str, _text(values.word)] = "git"
    """The user name that goes with the token. Most forges take any."""
    ca_file: _PublicFile = None
    """The certificates (PEM) that https trusts instead of the system's."""
    known_hosts_file: _KnownHostsFile = None
    """The host keys that ssh takes, as `ssh-keyscan` writes them: check them with the server's owner."""
    ssh_key_file: _SshKeyFile = None
    """The private key for ssh, without a passphrase. Nobody but its owner may read it."""
    github_app: GithubApp | None = None
    """A GitHub App to be let in as, instead of a token."""
    webhook: Webhook | None = None
    """What the forge sends to `/hooks/<repository>` after a push."""

    @field_validator("known_hosts_file", mode="before")
    @classmethod
    def _known_hosts_need_ssh(cls, value: object, info: ValidationInfo) -> object:
        return _only_with_ssh(value, info)

    @field_validator("ssh_key_file", mode="before")
    @classmethod
    def _ssh_key_needs_ssh(cls, value: object, info: ValidationInfo) -> object:
        value = _only_with_ssh(value, info)
        if "known_hosts_file" in info.data and info.data["known_hosts_file"] is None:
            message = "needs known_hosts_file beside it: write the server's host keys into one"
            raise ValueError(message)
        return value

    @field_validator("github_app", mode="before")
    @classmethod
    def _app_is_instead_of_token(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("token_file") is not None:
            message = "is instead of token_file: remove one of them"
            raise ValueError(message)
        return _only_with(("https://", "http://"), "url", value, info)

    @field_validator("token_file", mode="before")
    @classmethod
    def _token_needs_http(cls, value: object, info: ValidationInfo) -> object:
        return _only_with(("https://", "http://"), "url", value, info)

    @field_validator("username", mode="before")
    @classmethod
    def _username_needs_token(cls, value: object, info: ValidationInfo) -> object:
        if "token_file" in info.data and info.data["token_file"] is None:
            message = "is only sent together with a token: add token_file, or remove this"
            raise ValueError(message)
        return value

    @field_validator("ca_file", mode="before")
    @classmethod
    def _ca_needs_https(cls, value: object, info: ValidationInfo) -> object:
        return _only_with(("https://",), "url", value, info)


class Cluster(Group):
    """A Ray cluster."""

    address: Annotated[str, _text(values.cluster_address)] = Field(examples=['"http://ray-head:8265"'])
    """The URL of its dashboard (port 8265 unless changed), which is also Serve's REST API."""
    serve_address: Annotated[str | None, _text(values.serve_address)] = None
    """The URL of Serve's proxy as the daemon reaches it, for checks. None: what Serve says of itself."""
    token_file: _SecretFile = None
    """The file with Ray's token, sent as a bearer token. Nobody but its owner may read it."""
    ca_file: _PublicFile = None
    """The certificates (PEM) that https trusts instead of the system's."""

    @field_validator("ca_file", mode="before")
    @classmethod
    def _ca_needs_https(cls, value: object, info: ValidationInfo) -> object:
        # Not there if it is wrong, which is said elsewhere.
        serve_address = info.data.get("serve_address", "https://")
        if serve_address is not None and serve_address.startswith("https://"):
            return value
        return _only_with(("https://",), "address", value, info)

    @property
    def key(self) -> str:
        """What is equal for two environments on one cluster, however each spells its address."""
        return values.cluster_key(self.address)


class Environment(Group):
    """A named place to deploy to: one cluster, fed from one folder of one branch (or tag, or commit)."""

    later = ("gates", "promote_from")

    repository: Annotated[str, _text(values.word)] = Field(examples=["serve-configs"])
    """The name of one of the repositories."""
    branch: Annotated[str | None, _text(values.branch)] = Field(default=None, examples=["env/staging"])
    """The branch whose commits are deployed. Instead of it: tags, or commit."""
    tags: Tags | None = None
    """Tags that are versions, of which the newest that fits is deployed."""
    commit: Annotated[str | None, _text(values.commit)] = None
    """The one commit that is deployed, by its full id."""
    path: Annotated[str, _text(values.folder)] = Field(examples=["environments/staging"])
    """The folder in it that holds serve_config.yaml; `.` is the root."""
    cluster: Cluster = Field(examples=['{address: "http://ray-head:8265"}'])
    """The cluster to deploy to. Several environments may share one."""
    sync: Annotated[Literal["auto"], BeforeValidator(_sync)] = "auto"
    """When a new commit is deployed: auto is at once."""
    signatures: Signatures = Signatures(verify="none")
    """Whose signature a commit must carry."""
    rewrites: Literal["hold", "accept"] = "hold"
    """What follows when a branch was rewritten, or a tag was moved, after it was deployed."""


class Log(Group):
    """What the daemon writes to stderr."""

    format: Literal["auto", "json", "console"] = "auto"
    """json: one object per line; console: for people; auto: console on a terminal, else json."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important events that are written."""

    @property
    def json_or_none(self) -> bool | None:
        """Whether to write JSON; None means to look whether anybody is watching."""
        return {"auto": None, "json": True, "console": False}[self.format]


class Server(Group):
    """The HTTP API through which commands reach the daemon."""

    listen: Annotated[str, _text(values.listen, wanted="an address such as 127.0.0.1:8700")] = (
        "127.0.0.1:8700"
    )
    """Host and port. This version listens on loopback only; port 0 takes a free one."""

    @property
    def host(self) -> str:
        """The address to bind, without the brackets of IPv6."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind; 0 is any that is free."""
        return int(self.listen.rpartition(":")[2])


class Settings(Group):
    """All settings of the daemon."""

    state_dir: Annotated[Path, _text(values.directory)]
    """Where the daemon keeps its store and mirrors. `load` fills in the default."""
    repositories: Annotated[Mapping[_Name, Repository], AfterValidator(_one_or_more)] = Field(
        examples=["{serve-configs: {url: ...}}"]
    )
    """The repositories by name."""
    environments: Annotated[Mapping[_Name, Environment], AfterValidator(_one_or_more)] = Field(
        examples=["{staging: {repository: serve-configs, ...}}"]
    )
    """The environments by name."""
    server: Server = Server()
    """Where the daemon can be reached."""
    log: Log = Log()
    """What is logged, and how."""
    workers: Annotated[int, BeforeValidator(values.workers)] = 32
    """How many environments are worked on at once, each by a thread that mostly waits for a cluster.

    In a trial where a tenth of the clusters hung, 500 environments were late by 0.04 s (p99) with 32, and
    300 by 14.7 s with 4; more threads only cost memory.
    """


def _only_with_ssh(value: object, info: ValidationInfo) -> object:
    """The value, if the URL before it (when that is sound) is one for ssh: `ssh://`, or `git@host:path`."""
    url = info.data.get("url")
    if url is not None and not (url.startswith("ssh://") or ("://" not in url and not url.startswith("/"))):
        message = "is only used with ssh, and url is not one for it: remove this"
        raise ValueError(message)
    return value


def _only_with(schemes: tuple[str, ...], key: str, value: object, info: ValidationInfo) -> object:
    """The value, if the URL before it (when that is sound) has a scheme that uses it."""
    url = info.data.get(key)
    if url is not None and not url.startswith(schemes):
        message = f"is only used with {' or '.join(schemes)}, and {key} is not: remove this"
        raise ValueError(message)
    return value
