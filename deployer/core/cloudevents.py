"""Events of the audit log as CloudEvents 1.0, for programs that take events of many tools.

Owns which attribute says what. Must not know where events come from, nor what a vocabulary on top says.
Invariant: the same event has the same id and the same source whenever it is exported; and `data` is the
event as every other export has it.

See https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md, and for `sequence`
https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/sequence.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "dev.deployer"
"""What the types begin with: the rule is a reverse DNS name. Who reads these relies on it."""

_SEQUENCE_DIGITS = 19
"""Sequences are compared as text, and those of the store have 63 bits."""

_OF_THE_DAEMON = "@"
"""With what the name of a log begins that is of no environment."""


def cloud_event(item: Mapping[str, Any], deployer: str) -> dict[str, Any]:
    """The CloudEvent of an event as `deployer audit export --format jsonl` has it.

    `deployer` is the URI reference of the daemon, without a `/` at its end.
    """
    return envelope(
        item,
        deployer,
        id_=item["hash"],
        type_=f"{PREFIX}.{_about(item)}.{item['type']}",
        subject=item["rollout"] or item["environment"],
        content_type="application/json",
        data=dict(item),
    )


def envelope(
    item: Mapping[str, Any],
    deployer: str,
    *,
    id_: str,
    type_: str,
    subject: str,
    content_type: str,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """A CloudEvent that tells of an event of the log: when it was, and where it stands there."""
    return {
        "specversion": "1.0",
        "id": id_,
        "source": source(item, deployer),
        "type": type_,
        "subject": subject,
        "time": item["at"],
        "datacontenttype": content_type,
        # Extension attributes: their names have small letters and digits alone.
        "sequence": f"{item['sequence']:0{_SEQUENCE_DIGITS}}",
        "hash": item["hash"],
        "data": data,
    }


def source(item: Mapping[str, Any], deployer: str) -> str:
    """The log that the event stands in: the address of the environment's page, where `deployer` is a URL."""
    return f"{deployer}/env/{quote(item['environment'], safe='')}"


def _about(item: Mapping[str, Any]) -> str:
    if item["rollout"]:
        return "rollout"
    return "daemon" if item["environment"].startswith(_OF_THE_DAEMON) else "environment"
