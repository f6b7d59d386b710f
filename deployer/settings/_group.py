"""What every group of settings has in common, and how a value is read from text.

Owns the base of the models. Must not know any setting. Invariant: a group takes no key that it does not have,
never changes, and repeats no value in an error of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from deployer.settings import _addresses as addresses
from deployer.settings import _values as values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic.fields import FieldInfo


class Group(BaseModel):
    """A mapping in the file."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """The settings by the key that stands in the file: `from` is no name for Python."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


def base(info: ValidationInfo) -> values.Base:
    """What the values are relative to."""
    if not isinstance(info.context, values.Base):
        message = "settings are made by deployer.settings.load, which knows what paths are relative to"
        raise TypeError(message)
    return info.context


def text(parse: Callable[[str, values.Base], object], *, wanted: str = "text") -> BeforeValidator:
    """A value that is written as text and stands for something; the context is a `Base`."""

    def read(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            raise ValueError(values.wrong_kind(value, wanted))  # noqa: TRY004 - pydantic collects ValueErrors
        return parse(value, base(info))

    return BeforeValidator(read)


def several(wanted: str, most: int) -> BeforeValidator:
    """A list of what `wanted` says, of up to so many."""

    def read(value: object) -> object:
        if not isinstance(value, list):
            raise ValueError(values.wrong_kind(value, f"a list of {wanted}"))  # noqa: TRY004 - as above
        if len(value) > most:
            message = f"has {len(value)} entries, and more than {most} are not taken"
            raise ValueError(message)
        return tuple(value)

    return BeforeValidator(read)


def one_or_more(what: str) -> AfterValidator:
    """Refuse what has no entry, with `what` follows from that."""

    def check(value: Iterable[Any]) -> Iterable[Any]:
        if not value:
            message = f"has no entry, so {what}: add one"
            raise ValueError(message)
        return value

    return AfterValidator(check)


Name = Annotated[str, AfterValidator(values.name)]
SecretFile = Annotated[Path | None, text(values.secret_file)]
PublicFile = Annotated[Path | None, text(values.public_file)]
Flag = Annotated[bool, BeforeValidator(addresses.flag)]
Word = Annotated[str, text(values.word)]
