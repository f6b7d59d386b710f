"""Events of the audit log as CDEvents 0.5, for tools that follow deliveries from the commit to production.

Owns which event has a counterpart there, and what that says. Must not know where events come from. Invariant:
only what is true is told: an event without a counterpart has none, and what is told of a rollout follows from
that rollout and those before it, so that it is the same whenever it is exported.

What is told of a rollout that ended:

- a deploy that is good: `service.deployed` if it is the first release that became good in its environment,
  else `service.upgraded`; a rollback: `service.rolledback`; a restore, for which the cluster had lost all:
  `service.deployed`. A heal puts back what is there: nothing.
- one that failed, whatever its kind: `incident.detected`, with the rollout as the incident; and the next one
  in its environment that is good: `incident.resolved`, once for each that failed since the last good one.
  From the one to the other is what `core.dora` calls the time to restore.

See continuous-deployment.md, continuous-operations.md and cloudevents-binding.md in
https://github.com/cdevents/spec, and the examples in its folder `conformance` for 0.5.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deployer.core.cloudevents import envelope, source
from deployer.core.events import Kind
from deployer.core.record import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = "0.5.0"
"""The specification that these follow. Each type has a version of its own."""

_TYPES = {
    "service.deployed": "dev.cdevents.service.deployed.0.3.0",
    "service.upgraded": "dev.cdevents.service.upgraded.0.3.0",
    "service.rolledback": "dev.cdevents.service.rolledback.0.3.0",
    "incident.detected": "dev.cdevents.incident.detected.0.3.0",
    "incident.resolved": "dev.cdevents.incident.resolved.0.3.0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of a rollout, and of those before it in its environment.

    `has_good_before`: something had become good. `failed` are the rollouts that failed since the last good
    one, if this one is good.
    """

    kind: str
    result: str
    revision: str
    digest: str
    has_good_before: bool
    failed: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it ended: then nothing of this changes any more."""
        return self.result != Result.IN_PROGRESS


def pasts(history: Iterable[Mapping[str, Any]]) -> dict[str, Past]:
    """Of each rollout, by its id. `history` is of one environment, oldest first, as `core.history` has it."""
    found: dict[str, Past] = {}
    failed: list[str] = []
    has_good = False
    for rollout in history:
        is_good = rollout["result"] == Result.GOOD
        found[rollout["id"]] = Past(
            kind=rollout["kind"],
            result=rollout["result"],
            revision=rollout["release"]["revision"],
            digest=rollout["release"]["digest"],
            has_good_before=has_good,
            failed=tuple(failed) if is_good else (),
        )
        if is_good:
            has_good, failed = True, []
        elif rollout["result"] == Result.FAILED:
            failed.append(rollout["id"])
    return found


def cd_events(item: Mapping[str, Any], past: Past | None, deployer: str) -> list[dict[str, Any]]:
    """The CDEvents of an event, each in a CloudEvent; none if it has no counterpart.

    `past` is of the event's rollout. `deployer` as for a CloudEvent.
    """
    if past is None:
        return []
    match item["type"]:
        case "good":
            what = _ended_well(past)
            made = [_event(item, past, deployer, what, subject=item["environment"])] if what else []
            says = f"{item['rollout']} is good ({past.kind})."
            return made + [
                _event(item, past, deployer, "incident.resolved", subject=failed, says=says)
                for failed in past.failed
            ]
        case "failed":
            subject, says = item["rollout"], item["says"]
            return [_event(item, past, deployer, "incident.detected", subject=subject, says=says)]
        case _:
            return []


def is_told(item: Mapping[str, Any]) -> bool:
    """Whether events of this type have a counterpart, so that the past of its rollout is worth reading."""
    return item["type"] in {"good", "failed"}


def _ended_well(past: Past) -> str | None:
    match past.kind:
        case Kind.DEPLOY:
            return "service.upgraded" if past.has_good_before else "service.deployed"
        case Kind.ROLLBACK:
            return "service.rolledback"
        case Kind.RESTORE:
            return "service.deployed"
        case _:
            return None


def _event(
    item: Mapping[str, Any], past: Past, deployer: str, what: str, *, subject: str, says: str | None = None
) -> dict[str, Any]:
    """`says` is told of an incident; a service has none."""
    environment = item["environment"]
    # One event can resolve several incidents, and tell of the service as well.
    id_ = f"{item['hash']}/{what}" if says is None else f"{item['hash']}/{what}/{subject.rpartition('#')[2]}"
    content: dict[str, Any] = {"environment": {"id": environment}, "artifactId": _artifact(environment, past)}
    if says is not None:
        content |= {"description": says, "service": {"id": environment}}
    context = {
        "specversion": VERSION,
        "id": id_,
        "source": source(item, deployer),
        "type": _TYPES[what],
        "timestamp": item["at"],
    }
    return envelope(
        item,
        deployer,
        id_=id_,
        type_=_TYPES[what],
        subject=subject,
        content_type="application/cdevents+json",
        data={
            "context": context,
            "subject": {"id": subject, "source": context["source"], "content": content},
            "customData": dict(item),
            "customDataContentType": "application/json",
        },
    )


def _artifact(environment: str, past: Past) -> str:
    """The config as a package URL: the commit is its version, the digest its checksum."""
    return f"pkg:generic/{quote(environment, safe='')}@{quote(past.revision, safe='')}?checksum={past.digest}"
