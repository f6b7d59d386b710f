"""The settings as values: what `deployer.yaml` may say, with units and defaults.

Owns the keys, their types and how keys of one group depend on one another. Must not know files, lines or
environment variables. Invariant: a `Settings` is complete, frozen and holds no secret: those stay in the
files that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from deployer.settings import _addresses as where
from deployer.settings import _values as values
from deployer.settings._audit import Audit
from deployer.settings._gates import Gates
from deployer.settings._group import Group, Name, PublicFile, SecretFile, one_or_more, text
from deployer.settings._notify import Route
from deployer.settings._people import Login, People, Person
from deployer.settings._promote import Promotion
from deployer.settings._repositories import Repository

BY_NAME = ("repositories", "environments")
"""The groups whose keys are names that people choose, and whose values are groups."""

_NOTHING_TO_DO = "there would be nothing to do"


def _sync(value: object) -> object:
    if value == "observe":
        message = "cannot be observe in this version yet: use manual, which waits for `deployer sync`"
        raise ValueError(message)
    return value


class Tags(Group):
    """Tags that are versions: the newest that fits is deployed."""

    versions: Annotated[str, text(values.versions)] = Field(examples=['">=1.2 <2"'])
    """Which versions fit (Semantic Versioning): `>=1.2 <2`, `^1.4`, `1.x || 3.x`, `*`."""
    pattern: Annotated[str, text(values.tag_pattern)] = "v*"
    """The tags to look at; the `*` stands for the version."""


class Signatures(Group):
    """Whose signature a commit must carry before it is deployed."""

    verify: Literal["head", "range", "none"] = "head"
    """head: of the commit that is deployed; range: of every commit since the one that was deployed."""
    allowed_signers_file: PublicFile = None
    """The ssh keys that may sign, as `ssh-keygen` has them (ALLOWED SIGNERS in its manual)."""
    gpg_keyring_file: PublicFile = None
    """The GPG public keys that may sign, as `gpg --export` writes them."""


class Cluster(Group):
    """A Ray cluster."""

    address: Annotated[str, text(values.cluster_address)] = Field(examples=['"http://ray-head:8265"'])
    """The URL of its dashboard (port 8265 unless changed), which is also Serve's REST API."""
    serve_address: Annotated[str | None, text(values.serve_address)] = None
    """The URL of Serve's proxy as the daemon reaches it, for checks. None: what Serve says of itself."""
    token_file: SecretFile = None
    """The file with Ray's token, sent as a bearer token. Nobody but its owner may read it."""
    ca_file: PublicFile = None
    """The certificates (PEM) that https trusts instead of the system's."""

    @field_validator("ca_file", mode="before")
    @classmethod
    def _ca_needs_https(cls, value: object, info: ValidationInfo) -> object:
        # Not there if it is wrong, which is said elsewhere.
        serve_address = info.data.get("serve_address", "https://")
        if serve_address is not None and serve_address.startswith("https://"):
            return value
        address = info.data.get("address", "https://")
        if not address.startswith("https://"):
            message = "is only used with https://, and address is not: remove this"
            raise ValueError(message)
        return value

    @property
    def key(self) -> str:
        """What is equal for two environments on one cluster, however each spells its address."""
        return values.cluster_key(self.address)


class Environment(Group):
    """A named place to deploy to: one cluster, fed from one folder of one branch (or tag, or commit)."""

    repository: Annotated[str, text(values.word)] = Field(examples=["serve-configs"])
    """The name of one of the repositories."""
    branch: Annotated[str | None, text(values.branch)] = Field(default=None, examples=["env/staging"])
    """The branch whose commits are deployed. Instead of it: tags, or commit."""
    tags: Tags | None = None
    """Tags that are versions, of which the newest that fits is deployed."""
    commit: Annotated[str | None, text(values.commit)] = None
    """The one commit that is deployed, by its full id."""
    path: Annotated[str, text(values.folder)] = Field(examples=["environments/staging"])
    """The folder in it that holds serve_config.yaml; `.` is the root."""
    cluster: Cluster = Field(examples=['{address: "http://ray-head:8265"}'])
    """The cluster to deploy to. Several environments may share one."""
    promote_from: Promotion = None
    """The environment whose good commits are pushed, or copied, to where this one reads."""
    sync: Annotated[Literal["auto", "manual"], BeforeValidator(_sync)] = "auto"
    """When a new commit is deployed: auto: once the gates are open; manual: after `deployer sync` as well."""
    gates: Gates = Gates()
    """What a deploy waits for."""
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


class Tls(Group):
    """What the daemon shows to those who speak https to it."""

    cert_file: Annotated[Path, text(values.public_file)] = Field(examples=["/etc/deployer/tls.crt"])
    """Its certificate (PEM), followed by those of its authorities that clients do not have."""
    key_file: Annotated[Path, text(values.secret_file)] = Field(examples=["/etc/deployer/tls.key"])
    """The certificate's private key (PEM), without a passphrase. Nobody but its owner may read it."""

    @field_validator("key_file")
    @classmethod
    def _belongs_to_the_certificate(cls, value: Path, info: ValidationInfo) -> Path:
        cert_file = info.data.get("cert_file")
        if cert_file is not None and isinstance(info.context, values.Base) and info.context.check_files:
            values.check_pair(cert_file, value)
        return value


class TrustedProxy(Group):
    """A proxy in front that knows who somebody is (single sign-on), and says it in a header."""

    addresses: Annotated[tuple[str, ...], BeforeValidator(where.networks)] = Field(examples=["[10.0.0.7]"])
    """Where it connects from: addresses, or ranges of them. From anywhere else the header is refused."""
    user_header: Annotated[str, text(where.header)] = "X-Forwarded-User"
    """The header with the login name. The proxy must remove it from what others send."""
    role: Literal["viewer", "deployer", "approver", "overrider", "admin"] = "viewer"
    """What everybody whom the proxy lets in may do; a token lets one do more."""


class Server(Group):
    """Where the API and the pages are, and who gets in."""

    listen: Annotated[str, text(where.listen, wanted="an address such as 127.0.0.1:8700")] = "127.0.0.1:8700"
    """Address and port; port 0 takes a free one. Beyond loopback it needs tls or trusted_proxy."""
    tls: Tls | None = None
    """Speaks https instead of http."""
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(where.host_names)] = ()
    """Names of the daemon, beside those of loopback and of public_url. It answers to no other."""
    trusted_proxy: TrustedProxy | None = None
    """A proxy in front that knows who somebody is."""
    anonymous_read: Annotated[bool, BeforeValidator(where.flag)] = False
    """Whether everybody who reaches the daemon may look, without a token."""
    public_url: Annotated[str | None, text(where.public_url)] = None
    """By which people know the daemon."""

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

    state_dir: Annotated[Path, text(values.directory)]
    """Where the daemon keeps its store and mirrors. `load` fills in the default."""
    repositories: Annotated[Mapping[Name, Repository], one_or_more(_NOTHING_TO_DO)] = Field(
        examples=["{serve-configs: {url: ...}}"]
    )
    """The repositories by name."""
    environments: Annotated[Mapping[Name, Environment], one_or_more(_NOTHING_TO_DO)] = Field(
        examples=["{staging: {repository: serve-configs, ...}}"]
    )
    """The environments by name."""
    people: Mapping[Login, Person] = Field(default={})
    """The people by login name: the e-mail addresses that they commit with, their names at the forge."""
    groups: Mapping[Name, People] = Field(default={})
    """Groups of people, by a name that gates can use: `"@name"`."""
    server: Server = Server()
    """Where the daemon can be reached."""
    audit: Audit | None = None
    """Signed checkpoints of the audit log. None: its events are chained, and nothing is signed."""
    notify: Mapping[Name, Route] = Field(default={})
    """Who is told what happens, by names of your choice."""
    log: Log = Log()
    """What is logged, and how."""
    workers: Annotated[int, BeforeValidator(values.workers)] = 32
    """How many environments are worked on at once, each by a thread that mostly waits for a cluster.

    In a trial where a tenth of the clusters hung, 500 environments were late by 0.04 s (p99) with 32, and
    300 by 14.7 s with 4; more threads only cost memory.
    """
