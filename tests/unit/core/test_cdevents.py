"""Events of the log as CDEvents 0.5: what has a counterpart, and what its context and subject must hold.

The rules are those of spec.md, continuous-deployment.md, continuous-operations.md and cloudevents-binding.md
in https://github.com/cdevents/spec, and of its examples for 0.5.0 (`conformance/service_deployed.json`,
`conformance/incident_detected.json`).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest

from deployer.core.cdevents import Past, cd_events, is_told, pasts
from tests.unit.core.test_cloudevents import ITEM, faults

DEPLOYER = "https://deployer.example.com"
COMMIT, DIGEST = "c0ffee" + "0" * 34, "sha256:" + "d1" * 32
GOOD = ITEM | {"type": "good", "says": "The release is good: it is the way back from the next one."}
FAILED = ITEM | {"type": "failed", "says": "It failed (code): boom."}

CONTENT = {
    "service": {"environment", "artifactId"},
    "incident": {"environment", "artifactId", "description", "service"},
}
"""What a subject may hold. Of a service all is required, of an incident only the environment."""


def past(kind: str = "deploy", *, has_good_before: bool = True, failed: tuple[str, ...] = ()) -> Past:
    """A rollout that is good."""
    return Past(
        kind=kind,
        result="good",
        revision=COMMIT,
        digest=DIGEST,
        has_good_before=has_good_before,
        failed=failed,
    )


def broken(event: dict[str, Any]) -> list[str]:
    """Which rules of CDEvents and of its binding to CloudEvents are broken."""
    data = event["data"]
    context, subject = data["context"], data["subject"]
    named = re.fullmatch(r"dev\.cdevents\.([a-z]+)\.([a-z]+)\.\d+\.\d+\.\d+", context["type"])
    assert named is not None
    rules = {
        "the parts": data.keys() == {"context", "subject", "customData", "customDataContentType"},
        "the context": context.keys() == {"specversion", "id", "source", "type", "timestamp"},
        "the version": context["specversion"] == "0.5.0",
        "the subject": subject.keys() == {"id", "source", "content"},
        "ids are not empty": all((context["id"], context["source"], subject["id"], subject["source"])),
        "the content": {"environment", "artifactId"} <= subject["content"].keys() <= CONTENT[named[1]],
        "references": all(
            subject["content"][name].keys() == {"id"}
            for name in ("environment", "service")
            if name in subject["content"]
        ),
        "the id": event["id"] == context["id"],
        "the source": event["source"] == context["source"],
        "the type": event["type"] == context["type"],
        "the subject's id": event["subject"] == subject["id"],
        "the time": event["time"] == context["timestamp"],
        "the content type": event["datacontenttype"] == "application/cdevents+json",
    }
    return [*faults(event), *(name for name, is_kept in rules.items() if not is_kept)]


@pytest.mark.parametrize(
    ("made", "type_"),
    [
        (past(has_good_before=False), "dev.cdevents.service.deployed.0.3.0"),
        (past(), "dev.cdevents.service.upgraded.0.3.0"),
        (past("rollback"), "dev.cdevents.service.rolledback.0.3.0"),
        (past("restore"), "dev.cdevents.service.deployed.0.3.0"),
    ],
)
def test_a_rollout_that_is_good_is_told_of_the_service(made: Past, type_: str) -> None:
    """By its kind, and by whether something was good before."""
    (event,) = cd_events(GOOD, made, DEPLOYER)
    assert broken(event) == []
    assert event["type"] == type_
    assert event["subject"] == "production"
    assert event["data"]["subject"]["content"] == {
        "environment": {"id": "production"},
        "artifactId": f"pkg:generic/production@{COMMIT}?checksum={DIGEST}",
    }
    assert event["data"]["customData"] == GOOD
    assert (event["hash"], event["sequence"]) == (GOOD["hash"], "0000000000000000042")


def test_a_heal_changes_no_version() -> None:
    """So there is nothing to tell, unless something had failed before it."""
    assert cd_events(GOOD, past("heal"), DEPLOYER) == []
    (event,) = cd_events(GOOD, past("heal", failed=("production#6",)), DEPLOYER)
    assert event["type"] == "dev.cdevents.incident.resolved.0.3.0"


def test_a_rollout_that_failed_is_an_incident_until_the_next_one_is_good() -> None:
    """Detected and resolved under the same id; each that failed is resolved."""
    (detected,) = cd_events(FAILED, past(), DEPLOYER)
    rolled_back, *resolved = cd_events(
        GOOD, past("rollback", failed=("production#7", "production#8")), DEPLOYER
    )

    for event in (detected, rolled_back, *resolved):
        assert broken(event) == []
    assert detected["type"] == "dev.cdevents.incident.detected.0.3.0"
    assert detected["data"]["subject"] == {
        "id": "production#7",
        "source": f"{DEPLOYER}/env/production",
        "content": {
            "environment": {"id": "production"},
            "artifactId": f"pkg:generic/production@{COMMIT}?checksum={DIGEST}",
            "description": "It failed (code): boom.",
            "service": {"id": "production"},
        },
    }
    assert [event["subject"] for event in resolved] == ["production#7", "production#8"]
    assert {event["type"] for event in resolved} == {"dev.cdevents.incident.resolved.0.3.0"}
    assert resolved[0]["data"]["subject"]["content"]["description"] == "production#7 is good (rollback)."
    ids = [event["id"] for event in (rolled_back, *resolved)]
    assert len(set(ids)) == 3
    assert ids == [one["id"] for one in cd_events(GOOD, past("rollback", failed=("p#7", "p#8")), DEPLOYER)]


def test_what_has_no_counterpart_has_none() -> None:
    """Of another type, or of a rollout of which nothing is known."""
    assert cd_events(ITEM, past(), DEPLOYER) == []
    assert cd_events(GOOD, None, DEPLOYER) == []
    assert [is_told(one) for one in (GOOD, FAILED, ITEM)] == [True, True, False]


def test_an_artifact_is_a_package_url() -> None:
    """Its parts can be read back."""
    (event,) = cd_events(GOOD, past(), DEPLOYER)
    purl = event["data"]["subject"]["content"]["artifactId"]
    found = re.fullmatch(r"pkg:generic/([^/@]+)@([^?]+)\?checksum=(sha256:[0-9a-f]{64})", purl)
    assert found is not None
    assert (unquote(found[1]), unquote(found[2]), found[3]) == ("production", COMMIT, DIGEST)


def rollout(number: int, result: str, kind: str = "deploy") -> dict[str, Any]:
    """An entry of the history, as far as it matters."""
    release = {"revision": f"{number:040x}", "digest": f"sha256:{number:064x}"}
    return {"id": f"production#{number}", "kind": kind, "result": result, "release": release}


def test_what_is_known_of_rollouts() -> None:
    """What was good before, and what failed since then."""
    found = pasts(
        [
            rollout(1, "failed"),
            rollout(2, "good"),
            rollout(3, "failed"),
            rollout(4, "failed", "rollback"),
            rollout(5, "superseded"),
            rollout(6, "good", "rollback"),
            rollout(7, "good"),
            rollout(8, "in_progress"),
        ]
    )
    assert [one.has_good_before for one in found.values()] == [False, False, *[True] * 6]
    assert {id_: one.failed for id_, one in found.items() if one.failed} == {
        "production#2": ("production#1",),
        "production#6": ("production#3", "production#4"),
    }
    assert [id_ for id_, one in found.items() if not one.is_over] == ["production#8"]
    assert found["production#4"].kind == "rollback"
    assert found["production#4"].revision == f"{4:040x}"


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event["data"]["context"].pop("timestamp"),
        lambda event: event["data"]["context"].update(version="0.4.1"),
        lambda event: event["data"]["subject"].update(type="service"),
        lambda event: event["data"]["subject"]["content"].pop("artifactId"),
        lambda event: event.update(subject="other"),
    ],
    ids=["no time", "another version", "a type", "no artifact", "another subject"],
)
def test_the_rules_refuse_what_is_none(change: Any) -> None:
    """The check can fail."""
    (event,) = cd_events(GOOD, past(), DEPLOYER)
    change(event)
    try:
        found = broken(event)
    except KeyError:
        found = ["a required attribute is missing"]
    assert found
