"""The settings of people: by which names they approve, commit and review, and their groups.

Owns these keys, and what a login name may be. Must not know what anybody may do. Invariant: whoever is named
in the settings is named by the login that their token has, or their proxy says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, model_validator

from deployer.core import tokens
from deployer.core.redact import quote
from deployer.settings import _addresses as addresses
from deployer.settings import _values as values
from deployer.settings._group import Group, one_or_more

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORGE_LOGIN = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)
"""What GitHub, GitLab and Gitea allow in names of people."""

_GROUP = "@"
"""What the name of a group begins with where it stands among people."""


def is_group(name: str) -> bool:
    """Whether this stands for all the people of a group."""
    return name.startswith(_GROUP)


def login(name: str) -> str:
    """A login name. Raises ValueError."""
    if not tokens.is_name(name) or is_group(name):
        message = f"{quote(name)} is no login name: write it as `deployer token create` has it"
        raise ValueError(message)
    return name


def members(group: str, groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The people whom an entry of `approvals.from` stands for: `@group`, or one login."""
    return groups[group.removeprefix(_GROUP)] if is_group(group) else (group,)


def _logins(value: object) -> tuple[str, ...]:
    return tuple(map(login, addresses.listed(value, "login names")))


def _emails(value: object) -> tuple[str, ...]:
    listed = addresses.listed(value, "e-mail addresses")
    if not listed:
        message = "has no entry, so no commit is known to be theirs: add one"
        raise ValueError(message)
    for one in listed:
        if "@" not in one.strip("@") or not one.isprintable() or " " in one:
            message = f"must be e-mail addresses such as ada@example.com: {quote(one)} is none"
            raise ValueError(message)
    return tuple(listed)


def _forge_logins(value: object) -> tuple[str, ...]:
    listed = addresses.listed(value, "login names at the forge")
    for one in listed:
        if not _FORGE_LOGIN.fullmatch(one):
            message = f"must be login names at the forge such as ada-gh: {quote(one)} is none"
            raise ValueError(message)
    return tuple(listed)


People = Annotated[tuple[str, ...], one_or_more("nobody is named"), BeforeValidator(_logins)]
"""Login names, one or more."""
Login = Annotated[str, AfterValidator(login)]


class Person(Group):
    """How somebody is known in git and at the forge. A list alone is the e-mail addresses."""

    emails: Annotated[tuple[str, ...], BeforeValidator(_emails)] = ()
    """The e-mail addresses that they commit with."""
    forge: Annotated[
        tuple[str, ...], one_or_more("no review would be theirs"), BeforeValidator(_forge_logins)
    ] = ()
    """Their login names at the forge."""

    @model_validator(mode="before")
    @classmethod
    def _from_emails_alone(cls, value: object) -> object:
        if isinstance(value, dict):
            if not value:
                message = "says neither emails nor forge: add one of them"
                raise ValueError(message)
            return value
        if not isinstance(value, list | str):
            wanted = "a list of e-mail addresses, or a mapping of emails and forge"
            raise ValueError(values.wrong_kind(value, wanted))  # noqa: TRY004 - pydantic collects ValueErrors
        # At the place that was written.
        return {"emails": list(_emails(value))}
