"""The settings of promotion: where the commits of an environment come from, and on which way.

Owns these keys. Must not know other environments, nor what a copy does with a field. Invariant: every field
that is named is one that a Serve config can have, and is said to be moved or kept, never both.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from deployer.core.copy_fields import check_field
from deployer.core.redact import quote
from deployer.settings import _addresses as addresses
from deployer.settings import _values as values
from deployer.settings._group import Flag, Group, Word, text


def _fields(value: object) -> tuple[str, ...]:
    return tuple(addresses.listed(value, "fields such as args.size"))


def _field(name: str, _base: values.Base) -> str:
    return check_field(name)


def _not_moved(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    for one in value:
        if one in info.data.get("move", ()):
            message = f"names {quote(one)}, and so does move: remove it from one of them"
            raise ValueError(message)
    return value


def _promote(value: object) -> object:
    """A bare name is the environment, and nothing else is said."""
    return {"environment": value} if isinstance(value, str) else value


_Fields = Annotated[tuple[Annotated[str, text(_field)], ...], BeforeValidator(_fields)]


class Promote(Group):
    """Where the commits come from: what is good there is pushed, or copied, to where this one reads."""

    environment: Word = Field(examples=["staging"])
    """The environment whose good commits are promoted."""
    auto: Flag = False
    """Whether they are promoted by themselves; else by `deployer promote`."""
    by: Literal["push", "pull-request"] = "push"
    """push: straight to the branch; pull-request: by one at the forge, which somebody merges."""
    move: _Fields = ()
    """Of a copy: fields that are copied beside those that always are."""
    keep: Annotated[_Fields, AfterValidator(_not_moved)] = ()
    """Of a copy: fields that this environment keeps beside those that it always does."""


Promotion = Annotated[Promote | None, BeforeValidator(_promote)]
"""The name alone is enough."""
