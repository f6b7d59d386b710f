"""How a rollout is judged: `environment.yaml`, read at the commit being deployed.

Owns the file's keys, what they mean, and what in them must fit the Serve config beside it. Must not know the
daemon's settings: nothing in this file says where a commit goes, who approves it, or with which credentials.
Invariant: a key that is not obeyed is an error. One that was skipped silently would promise a check which
nobody makes.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from deployer.core import durations, yaml
from deployer.core.document import Document, kind
from deployer.core.fields import EACH, Fields, Keys, dotted
from deployer.core.redact import Path, quote
from deployer.core.scrub import scrub, secrets_of
from deployer.core.serve_schema import ray_release
from deployer.core.textfile import invalid
from deployer.core.types import Check, Deadlines, OnDrift, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.errors import Problem
    from deployer.core.types import ServeConfig

FILE = "environment.yaml"
"""Its name in the folder of an environment."""
MAX_CHECKS = 50
"""They are made one after the other, at every rollout; a test suite belongs before the merge."""
MAX_TIMEOUT_SECONDS = 60.0
"""A worker of the daemon waits so long for one answer. Who cannot answer within it serves nobody."""
MAX_RETRIES = 20
"""With pauses of up to 10 s between them that is three minutes: what fails then does not mend itself."""

_MAX_NEAR = 200
"""Of more applications none is looked for that was meant: for 50 checks of 2,800 that takes 4 s."""

_DEFAULT = Check(app="", path="/")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

KEYS: Mapping[Path, Keys] = {
    (): Keys(
        obeyed=(
            "ray_version",
            "health",
            "checks",
            "soak",
            "rollback",
            "drift",
            "heals_per_hour",
            "owns",
            "allow",
        )
    ),
    ("health",): Keys(obeyed=("stability_window", "max_flaps", "deadlines", "fail_fast_after")),
    ("health", "deadlines"): Keys(obeyed=("build", "schedule", "start")),
    ("checks", EACH): Keys(obeyed=("app", "path", "method", "body", "expect", "timeout", "retries")),
    ("checks", EACH, "expect"): Keys(obeyed=("status", "json", "latency")),
    ("rollback",): Keys(obeyed=("on", "deadline")),
    ("allow",): Keys(obeyed=("delete",)),
}
"""Every mapping of the file with its keys."""

# What may stand in the request line of HTTP as it is, less `#`, which a client does not send.
_PATH = re.compile(r'/[!"$-~]*')


def parse(data: bytes, file: str) -> tuple[Policy, Document]:
    """Read a policy. `file` is its name in messages. What is not given has the default; so has an empty file.

    The second value is what `agree` needs to say where something stands. Raises InvalidConfig with every
    problem found.
    """
    # YAML 1.1 reads a plain `on` as true, also as a key; here it is the key `on`.
    document = yaml.load(data, file, keys_as_written=True)
    fields = Fields(document, KEYS)
    policy = _policy(fields)
    if fields.problems:
        raise invalid(fields.problems)
    return policy, document


def agree(config: ServeConfig, policy: Policy, document: Document) -> None:
    """Raise InvalidConfig with every problem if the policy does not fit the config of the same commit."""
    problems: list[Problem] = []
    applications = config.applications()
    if policy.owns:
        for name in sorted(applications.keys() - set(policy.owns)):
            why = f"owns does not list application {quote(name)} of serve_config.yaml: add it here"
            problems.append(document.problem(("owns",), why))
    for index, check in enumerate(policy.checks):
        path: Path = ("checks", index, "app")
        if check.app not in applications:
            close = get_close_matches(check.app, applications, n=1) if len(applications) <= _MAX_NEAR else []
            hint = f" (did you mean {quote(close[0])}?)" if close else ""
            why = f"{dotted(path)}: serve_config.yaml has no application {quote(check.app)}{hint}"
            problems.append(document.problem(path, why))
        elif (found := _reached(check.path, applications)) != check.app:
            path = ("checks", index, "path")
            prefix = applications[check.app].get("route_prefix", "/")
            why = (
                f"{dotted(path)} leads to {f'application {quote(found)}' if found else 'no application'}:"
                f" the route_prefix of {quote(check.app)} is"
                f" {quote(prefix) if isinstance(prefix, str) else kind(prefix)}"
            )
            problems.append(document.problem(path, why))
    if problems:
        raise invalid(problems)


def _reached(path: str, applications: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The application that a request goes to: Serve's proxy takes the longest prefix that fits (2.60)."""
    target = path.partition("?")[0]
    prefixes = {name: application.get("route_prefix", "/") for name, application in applications.items()}
    fitting = [
        (len(prefix), name)
        for name, prefix in prefixes.items()
        if isinstance(prefix, str) and f"{target}/".startswith(f"{prefix.rstrip('/')}/")
    ]
    return max(fitting)[1] if fitting else None


def _policy(fields: Fields) -> Policy:
    default = Policy()
    deadlines, window = ("health", "deadlines"), ("health", "stability_window")
    fail_fast = ("health", "fail_fast_after")
    return Policy(
        deadlines=Deadlines(
            build=fields.seconds((*deadlines, "build"), default.deadlines.build),
            schedule=fields.seconds((*deadlines, "schedule"), default.deadlines.schedule),
            start=fields.seconds((*deadlines, "start"), default.deadlines.start),
        ),
        stability_window=fields.seconds(window, 0.0, zero=True) if window in fields else None,
        max_flaps=fields.count(("health", "max_flaps"), default.max_flaps),
        fail_fast_after=fields.count(fail_fast, 0) if fail_fast in fields else None,
        checks=_checks(fields),
        soak=fields.seconds(("soak",), default.soak, zero=True),
        rollback=fields.switch(("rollback", "on"), default=default.rollback),
        rollback_deadline=fields.seconds(("rollback", "deadline"), default.rollback_deadline),
        drift=OnDrift(fields.choice(("drift",), default.drift, tuple(OnDrift))),
        heals_per_hour=fields.count(("heals_per_hour",), default.heals_per_hour),
        owns=fields.names(("owns",)),
        allow_delete=fields.switch(("allow", "delete"), default=default.allow_delete),
        ray_version=_ray_version(fields),
    )


def _ray_version(fields: Fields) -> str | None:
    path: Path = ("ray_version",)
    if path not in fields:
        return None
    if isinstance(fields.value(path), float):
        # 2.40 would be 2.4.
        fields.wrong(
            path, "ray_version is text, and YAML reads this as a number, without the last zero: quote it"
        )
        return None
    version = fields.text(path)
    if version and ray_release(version) is None:
        fields.wrong(path, f'ray_version is a version of Ray such as "2.60", not {quote(version)}')
        return None
    return version or None


def _checks(fields: Fields) -> tuple[Check, ...]:
    items = fields.items(("checks",))
    if len(items) > MAX_CHECKS:
        fields.wrong(("checks",), f"checks has {len(items)} entries, and at most {MAX_CHECKS} are made")
        return ()
    return tuple(_check(fields, path) for path in items)


def _check(fields: Fields, path: Path) -> Check:
    body = _sent(fields, (*path, "body"))
    timeout = fields.seconds((*path, "timeout"), _DEFAULT.timeout, most=MAX_TIMEOUT_SECONDS)
    return Check(
        app=fields.text((*path, "app")),
        path=_request_path(fields, (*path, "path")),
        method=fields.choice((*path, "method"), "GET" if body is None else "POST", METHODS),
        body=body,
        status=fields.count((*path, "expect", "status"), _DEFAULT.status, least=200, most=599),
        json=_expected_json(fields, (*path, "expect", "json")),
        latency=_latency(fields, (*path, "expect", "latency"), timeout),
        timeout=timeout,
        retries=fields.count((*path, "retries"), _DEFAULT.retries, most=MAX_RETRIES),
    )


def _request_path(fields: Fields, path: Path) -> str:
    text = fields.text(path)
    if text and not text.startswith("/"):
        fields.wrong(path, f"{dotted(path)} must begin with /, as in /fruit?name=mango")
    elif text and not _PATH.fullmatch(text):
        fields.wrong(path, f"{dotted(path)} holds what no request line may: write it percent-encoded (%20)")
    elif text.startswith("//") or not {".", ".."}.isdisjoint(text.partition("?")[0].split("/")):
        # The client would ask for another path, or another host.
        fields.wrong(
            path, f"{dotted(path)} must be the plain path: it begins with one /, and has no /./ or /../"
        )
    elif scrub(text, frozenset()) != text:
        _secret(fields, path)
    return text


def _secret(fields: Fields, path: Path) -> None:
    """What every rollout was judged by is in the log, of which nothing can be taken out again."""
    fields.wrong(
        path,
        f"{dotted(path)} holds what its name calls a secret, and the log of each rollout would keep it for"
        " ever: let the application be checked without one",
    )


def _sent(fields: Fields, path: Path) -> str | None:
    if path not in fields:
        return None
    value = fields.value(path)
    if secrets_of({"": value}):
        _secret(fields, path)
    return _json(value)


def _expected_json(fields: Fields, path: Path) -> str | None:
    if path not in fields:
        return None
    value = fields.value(path)
    if not isinstance(value, dict):
        fields.wrong(path, f"{dotted(path)} is a mapping of keys to the expected values, not {kind(value)}")
    elif secrets_of(value):
        _secret(fields, path)
    return _json(value)


def _latency(fields: Fields, path: Path, timeout: float) -> float | None:
    if path not in fields:
        return None
    latency = fields.seconds(path, timeout)
    if latency > timeout:
        limit = durations.render(timeout)
        fields.wrong(
            path, f"{dotted(path)} is longer than an attempt may take ({limit}): raise `timeout` too"
        )
    return latency


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
