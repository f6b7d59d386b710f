"""A policy as it is shown: the keys of `environment.yaml`, with the values that a rollout was judged by.

Owns the way back from a policy to its file. Must not know how a file is read, nor what follows from a value.
Invariant: what is shown reads as the same policy (`policy.parse`), but for what a check sends or expects
under a key that names a secret: that is masked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployer.core.durations import render
from deployer.core.redact import mask
from deployer.core.scrub import scrub

if TYPE_CHECKING:
    from deployer.core.types import Check, Policy


def shown(policy: Policy) -> dict[str, Any]:
    """Every value, also those that the file left out; without the keys whose default is found out later."""
    return _given(
        {
            "ray_version": policy.ray_version,
            "health": _given(
                {
                    "stability_window": _span(policy.stability_window),
                    "max_flaps": policy.max_flaps,
                    "deadlines": {
                        "build": render(policy.deadlines.build),
                        "schedule": render(policy.deadlines.schedule),
                        "start": render(policy.deadlines.start),
                    },
                    "fail_fast_after": policy.fail_fast_after,
                }
            ),
            "checks": [_check(check) for check in policy.checks],
            "soak": render(policy.soak),
            "rollback": {"on": policy.rollback, "deadline": render(policy.rollback_deadline)},
            "drift": policy.drift.value,
            "heals_per_hour": policy.heals_per_hour,
            "owns": list(policy.owns) or None,
            "allow": {"delete": policy.allow_delete},
        }
    )


def _check(check: Check) -> dict[str, Any]:
    expect = {"status": check.status, "json": _json(check.json), "latency": _span(check.latency)}
    return _given(
        {
            "app": check.app,
            "path": _clean(check.path),
            "method": check.method,
            "body": _json(check.body),
            "expect": _given(expect),
            "timeout": render(check.timeout),
            "retries": check.retries,
        }
    )


def _json(text: str | None) -> object:
    return None if text is None else mask(json.loads(text), _clean)


def _clean(text: str) -> str:
    """Without passwords and tokens in URLs."""
    return scrub(text, frozenset())


def _span(seconds: float | None) -> str | None:
    return None if seconds is None else render(seconds)


def _given(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}
