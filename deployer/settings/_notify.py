"""The settings of routes: who is told what, and when it is quiet.

Owns these keys, and their translation to the routes of `deployer.core.routes`. Must not know how anything is
delivered. Invariant: a route that loads has a target; what signs and lets in stands in files, and neither
that nor a message travels in the clear beyond this machine.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from deployer.core import chat, webhooks
from deployer.core.notices import About, Severity
from deployer.core.redact import quote
from deployer.core.routes import Route as Rule
from deployer.settings import _addresses as addresses
from deployer.settings import _values as values
from deployer.settings._gates import MAX_SPANS, Window
from deployer.settings._group import Group, PublicFile, SecretFile, base, several, text
from deployer.settings._written import hint

if TYPE_CHECKING:
    from typing import NoReturn

    from deployer.settings._models import Settings

_ABOUT = tuple(one.value for one in About)

_KEY_BYTES = 16 * 1024
"""More is not read of a secret."""


def _url(url: str, given: values.Base) -> str:
    found = values.http_address(
        url,
        given,
        what="the receiver, such as https://hooks.example.com/deployer",
        instead_of_login="put a token into a file, and name that as token_file",
    )
    parts = urlsplit(found)
    if parts.scheme == "http" and not values.is_this_machine(str(parts.hostname)):
        _refuse("must begin with https://: over http everybody on the way could read the messages")
    return found


def _with_https(value: object, info: ValidationInfo) -> object:
    # Not there if it is wrong, which is said elsewhere.
    if info.data.get("url", "").startswith("http://"):
        _refuse("is only used with https://, and url is not: remove this")
    return value


def _signs(path: Path, info: ValidationInfo) -> Path:
    """Refuse what is no key: now, and not when something is to be told."""
    if not base(info).check_files:
        return path
    try:
        with path.open("rb") as file:
            webhooks.key("generic", file.read(_KEY_BYTES).strip())
    except OSError as error:
        _refuse(f"cannot be read: {error.strerror or error}")
    except ValueError as error:
        _refuse(f"names a file that cannot sign: {error}")
    return path


def _addresses(path: Path, info: ValidationInfo) -> Path:
    """Refuse what is no address, and one that nothing here can send to; whether it is right is apprise's."""
    if not base(info).check_files:
        return path
    if find_spec("apprise") is None:
        _refuse(
            "needs apprise, which is not installed: pip install 'ray-serve-deployer[notify]', or use"
            " webhook instead"
        )
    try:
        with path.open("rb") as file:
            chat.address(file.read(_KEY_BYTES))
    except OSError as error:
        _refuse(f"cannot be read: {error.strerror or error}")
    except ValueError as error:
        _refuse(f"names a file that {error}")
    return path


def _about(value: object) -> tuple[str, ...]:
    listed = addresses.listed(value, f"kinds of messages such as {_ABOUT[0]}")
    for one in listed:
        if one not in _ABOUT:
            _refuse(f"must be kinds of messages, and {quote(one)} is none ({hint(one, _ABOUT)})")
    return _some(listed)


def _environments(value: object) -> tuple[str, ...]:
    listed = addresses.listed(value, "names of environments")
    return _some([values.name(one) for one in listed])


def _some(listed: list[str]) -> tuple[str, ...]:
    if not listed:
        _refuse("has no entry, so nothing would be told: add one, or remove it, which means all")
    return tuple(listed)


class Receiver(Group):
    """A program that is sent a JSON message for each notice."""

    url: Annotated[str, text(_url)] = Field(examples=["https://hooks.example.com/deployer"])
    """Where it is. Only https, but on this machine."""
    secret_file: Annotated[Path, AfterValidator(_signs), text(values.secret_file)] = Field(
        examples=["/etc/deployer/notify.secret"]
    )
    """The file with the secret that signs (Standard Webhooks), 16 bytes or more. Nobody else may read it."""
    token_file: SecretFile = None
    """The file with a token that is sent as `Authorization: Bearer`. Nobody but its owner may read it."""
    ca_file: Annotated[PublicFile, BeforeValidator(_with_https)] = None
    """The certificates (PEM) that https trusts instead of the system's."""


class Place(Group):
    """A chat, a mailbox or a pager that is sent a message for each notice, by apprise."""

    url_file: Annotated[Path, AfterValidator(_addresses), text(values.secret_file)] = Field(
        examples=["/etc/deployer/ops.apprise"]
    )
    """The file with its apprise URL, which is a secret. Nobody else may read it."""


class Route(Group):
    """Somebody who is told something."""

    webhook: Receiver | None = Field(default=None, examples=["{url: https://..., secret_file: ...}"])
    """The program that it is sent to."""
    apprise: Place | None = Field(default=None, examples=["{url_file: ...}"])
    """The chat, mailbox or pager that it is sent to, instead of a program."""
    environments: Annotated[tuple[str, ...], BeforeValidator(_environments)] = ()
    """Of which environments. None: of all."""
    kinds: Annotated[tuple[str, ...], BeforeValidator(_about)] = ()
    """What is told. None: all."""
    severity: Literal["info", "warning", "critical"] = "info"
    """The least grave that is told."""
    quiet_hours: Annotated[tuple[Window, ...], several("windows", MAX_SPANS)] = ()
    """When nothing is told but what is critical, and failures of the environments in `always`."""
    always: Annotated[tuple[str, ...], BeforeValidator(_environments)] = ()
    """Environments whose failures are told in the quiet hours, too."""

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.webhook is None and self.apprise is None:
            _refuse("does not say where it is sent: add webhook or apprise")
        if self.webhook is not None and self.apprise is not None:
            _refuse("has a webhook, and apprise: remove one of them, or make a route of each")
        return self


def routes(settings: Settings) -> tuple[Rule, ...]:
    """Who is told what, as the core has it."""
    return tuple(
        Rule(
            name=name,
            environments=frozenset(one.environments) or None,
            about=frozenset(map(About, one.kinds)) or None,
            severity=Severity[one.severity.upper()],
            quiet=tuple(window.recurring for window in one.quiet_hours),
            always=frozenset(one.always),
        )
        for name, one in settings.notify.items()
    )


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
