"""Events, records and history entries as JSON text, and back.

Owns the form in which they are stored. Must not know the database. Invariant: what is encoded decodes to
an equal value, floats and microseconds exact, and the content of a config never gets into the text: a
config is written as its digest, and comes back through a lookup of the contents kept by digest.

Pydantic works out how every dataclass is read and written from its annotations; only four kinds of leaves
are replaced by our own: configs, times, floats and sets.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import CoreConfig, SchemaSerializer, SchemaValidator, core_schema

from deployer.core.events import Event
from deployer.core.history import Entry
from deployer.core.record import Record
from deployer.core.types import ServeConfig

T = TypeVar("T")

Lookup = Callable[[str], ServeConfig]
"""The config with this digest."""

_CONFIG = CoreConfig(
    # What this version does not know must not be lost without a word.
    extra_fields_behavior="forbid",
    strict=True,
    # An error that quoted what it could not read would take it to the log.
    hide_input_in_errors=True,
    # JSON has no word for infinity, and pydantic's default, null, would not come back as a number.
    ser_json_inf_nan="strings",
)


class Unreadable(Exception):  # noqa: N818 - says what was wrong with the text, not that it is an error
    """The text is not what this version writes. The message names the place and the reason, not the value."""


class Codec(Generic[T]):
    """Writes values of one type as JSON text and reads them back."""

    def __init__(self, annotation: Any) -> None:  # noqa: ANN401 - a type, a union or an Annotated
        """Take the type as pydantic understands it."""
        self._annotation = annotation

    def encode(self, value: T) -> str:
        """The JSON text.

        Raises ValueError for what would not decode to an equal value: a time without a zone, text that is
        not Unicode, a value of another type than annotated.
        """
        return self._serializer.to_json(value, warnings="error").decode()

    def decode(self, text: str, lookup: Lookup) -> T:
        """The value. Raises Unreadable: an unknown field or type means that a newer version wrote it."""
        try:
            value: T = self._validator.validate_json(text, context=lookup)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            # The cause is left out: its traceback would show the text.
            raise Unreadable(f"{place}: {first['msg']}" if place else first["msg"]) from None
        return value

    # Made at the first use: this takes some 20 ms for the events, and `deployer status` needs none of it.
    @cached_property
    def _schema(self) -> core_schema.CoreSchema:
        schema: core_schema.CoreSchema = _with_our_leaves(TypeAdapter(self._annotation).core_schema)
        return schema

    @cached_property
    def _serializer(self) -> SchemaSerializer:
        return SchemaSerializer(self._schema, _CONFIG)

    @cached_property
    def _validator(self) -> SchemaValidator:
        return SchemaValidator(self._schema, _CONFIG)


EVENT: Codec[Event] = Codec(Annotated[Event, Field(discriminator="type")])
RECORD: Codec[Record] = Codec(Record)
ENTRY: Codec[Entry] = Codec(Entry)


_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def stamp(at: datetime) -> str:
    """A time as every table keeps it: `2026-11-22T10:42:00.000000Z`, which sorts as text.

    A time whose year in UTC is 0 or 10000 is the first or the last that there is. Raises ValueError for a
    time without a zone.
    """
    if at.tzinfo is None:
        message = f"the time {at.isoformat()} has no time zone: the store keeps aware times only"
        raise ValueError(message)
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        utc = _FIRST if at.year == 1 else _LAST
    return utc.isoformat(timespec="microseconds").replace("+00:00", "Z")


def unstamp(text: str) -> datetime:
    """The time that `stamp` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _with_our_leaves(node: Any) -> Any:  # noqa: ANN401 - walks pydantic's schema, a tree of dicts and lists
    match node:
        case {"type": "dataclass", "cls": cls} if cls is ServeConfig:
            return core_schema.with_info_after_validator_function(
                lambda digest, info: info.context(digest),
                core_schema.str_schema(),
                serialization=core_schema.plain_serializer_function_ser_schema(lambda config: config.digest),
            )
        case {"type": "datetime"}:
            return core_schema.no_info_after_validator_function(
                unstamp,
                core_schema.str_schema(),
                serialization=core_schema.plain_serializer_function_ser_schema(stamp),
            )
        case {"type": "float"}:
            # Strict reading of floats would refuse the string that stands for infinity.
            return {**node, "strict": False}
        case {"type": "frozenset"}:
            # Sorted, so that equal values are equal texts.
            return {**node, "serialization": core_schema.plain_serializer_function_ser_schema(sorted)}
        case {"type": "dataclass"}:
            return {key: _with_our_leaves(value) for key, value in node.items()} | {"config": _CONFIG}
        case dict():
            return {key: _with_our_leaves(value) for key, value in node.items()}
        case list():
            return [_with_our_leaves(value) for value in node]
        case tuple():
            return tuple(_with_our_leaves(value) for value in node)
        case _:
            return node
