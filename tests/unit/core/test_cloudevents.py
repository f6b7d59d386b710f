"""Events of the log as CloudEvents 1.0: by the rules of their schema, and those that it does not hold."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from deployer.core.cloudevents import cloud_event
from deployer.core.events import DAEMON
from tests.schemas import vendor

RULES = "cloudevents-1.0.2-rules"

ITEM: dict[str, Any] = {
    "id": 812,
    "environment": "production",
    "sequence": 42,
    "type": "started",
    "at": "2026-11-22T10:42:00.123Z",
    "actor": "Ada <ada@example.com>",
    "reason": "",
    "rollout": "production#7",
    "hash": "ab" * 32,
    "says": 'Deploy ad782ec "raise the price" began as production#7 (push).',
}

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~-]|%[0-9A-F]{2})+")
"""The characters of RFC 3986."""

_OPTIONAL = {"datacontenttype", "dataschema", "subject", "time", "data", "data_base64"}
_REQUIRED = {"id", "source", "specversion", "type"}


def faults(event: dict[str, Any]) -> list[str]:
    """What is wrong with a CloudEvent: by its schema, and by those rules that a schema does not hold."""
    found = vendor.faults(RULES, event)
    found += [] if event["specversion"] == "1.0" else ["specversion"]
    found += [] if _URI_REFERENCE.fullmatch(event["source"]) else ["source is no URI reference"]
    found += [] if _RFC3339.fullmatch(event["time"]) else ["time is not as in RFC 3339"]
    for name in event.keys() - _REQUIRED - _OPTIONAL:
        # An extension attribute: its name, and a value that is no object.
        found += [] if re.fullmatch(r"[a-z0-9]{1,20}", name) else [f"{name} is no name"]
        found += [] if isinstance(event[name], str | int | bool) else [f"{name} is no plain value"]
    return found


def test_an_event_of_a_rollout() -> None:
    """Each attribute, in full."""
    made = cloud_event(ITEM, "https://deployer.example.com")
    assert made == {
        "specversion": "1.0",
        "id": "ab" * 32,
        "source": "https://deployer.example.com/env/production",
        "type": "dev.deployer.rollout.started",
        "subject": "production#7",
        "time": "2026-11-22T10:42:00.123Z",
        "datacontenttype": "application/json",
        "sequence": "0000000000000000042",
        "hash": "ab" * 32,
        "data": ITEM,
    }
    assert faults(made) == []
    assert datetime.fromisoformat(made["time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("change", "type_", "subject"),
    [
        ({"type": "paused", "rollout": None}, "dev.deployer.environment.paused", "production"),
        (
            {"type": "token_created", "rollout": None, "environment": f"@{DAEMON}"},
            "dev.deployer.daemon.token_created",
            f"@{DAEMON}",
        ),
    ],
)
def test_what_is_of_no_rollout_is_of_its_environment_or_of_the_daemon(
    change: dict[str, Any], type_: str, subject: str
) -> None:
    """In the type, and as the subject."""
    made = cloud_event(ITEM | change, "/deployer")
    assert (made["type"], made["subject"]) == (type_, subject)
    assert faults(made) == []


def test_a_source_is_a_uri_reference_whatever_the_log_is_called() -> None:
    """Also where the deployer has no URL of its own."""
    assert cloud_event(ITEM, "/deployer")["source"] == "/deployer/env/production"
    odd = cloud_event(ITEM | {"environment": "@deployer", "rollout": None}, "/deployer")
    assert odd["source"] == "/deployer/env/%40deployer"


def test_sequences_are_in_the_same_order_as_text() -> None:
    """As the extension wants them: to be compared as they are."""
    numbers = [1, 2, 9, 10, 99, 100, 2**63 - 1]
    texts = [cloud_event(ITEM | {"sequence": number}, "/deployer")["sequence"] for number in numbers]
    assert texts == sorted(texts)
    assert [int(text) for text in texts] == numbers


def test_it_fits_into_a_line() -> None:
    """As JSON."""
    assert "\n" not in json.dumps(cloud_event(ITEM | {"reason": "one\ntwo"}, "/deployer"))


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"source": "a b"},
        {"specversion": "0.3"},
        {"time": "yesterday"},
        {"subject": 3},
        {"previousHash": "x"},
        {"hash": {}},
        {"anextensionattributewithalongname": "x"},
    ],
)
def test_the_rules_refuse_what_is_none(change: dict[str, Any]) -> None:
    """The check can fail."""
    assert faults(cloud_event(ITEM, "/deployer") | change)
