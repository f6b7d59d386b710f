"""The evidence of a rollout as files for a ticket: the story, the events, the error, the log, what changed.

Owns which files there are and what is in each. Must not read or write any. Invariant: the same dossier makes
the same bytes, whenever and wherever; and no file holds a secret of the configs that the rollout is about, in
no spelling (`core.hiding`).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.core import dossier as dossiers
from deployer.core import event_shown
from deployer.core.bundle_readme import readme
from deployer.core.events import Applied, DaemonStarted, LogKept
from deployer.core.export import json_lines
from deployer.core.hiding import hiding, names_of
from deployer.core.policy_shown import shown
from deployer.core.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deployer.core.dossier import Dossier, Dump
    from deployer.core.event_shown import Written
    from deployer.core.hiding import Hiding

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every file: the first that a ZIP file can hold."""

_FOR_ITS_OWNER = 0o100600 << 16
"""A plain file of mode 0600, as ZIP has it."""

_UNIX = 3

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_REPLICA = 80
"""Characters of a replica's name in that of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known beside the store's events: who packs this, and where the cluster is.

    `daemon` is the last start of the daemon before the rollout, if that was noted. `cluster` is the address
    in the settings by now, `ray_version` what was last seen there; None: not known.
    """

    deployer: str
    python: str
    store_schema: str
    serve_schema: str
    cluster: str | None = None
    ray_version: str | None = None
    daemon: DaemonStarted | None = None


def name(rollout: str) -> str:
    """The name of its folder, and of the file but for its ending: `production-37`."""
    return rollout.replace("#", "-")


def files(dossier: Dossier, around: Surroundings, dump: Dump) -> dict[str, bytes]:
    """The content of each file by its name, in their order."""
    entry, started = dossier.entry, dossier.started
    hide = _hiding(dossier)
    told = _told(dossier, hide, dump)
    versions = _versions(dossier, around, hide)
    before = [*([dossier.seen] if dossier.seen else []), *dossier.wishes]
    texts = {
        "rollout.json": _json(told),
        "timeline.jsonl": _lines(dossier.events, hide),
        "before.jsonl": _lines(sorted(before, key=lambda one: one.id), hide),
        "changes.json": _json({key: told[key] for key in ("against_rollout", "config_digest", "changes")}),
        "config.yaml": told["config"],
        "environment.yaml": dump(hide.tree(shown(started.policy))) if started is not None else "",
        "gates.json": _json(told["gates"]),
        "versions.json": _json(versions),
        "error.txt": _ended(told["detail"] or (told["failure"] or {}).get("message", "")),
        **_logs(dossier, hide),
    }
    made = {title: text for title, text in texts.items() if text}
    made = {"README.md": readme(told, versions, [*made], _damaged(dossier.events)), **made}
    content = {title: text.encode("utf-8", "replace") for title, text in made.items()}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {title}\n" for title, data in content.items())
    content["SHA256SUMS"] = sums.encode()
    return {f"{name(entry.id)}/{title}": data for title, data in content.items()}


def packed(content: Mapping[str, bytes]) -> bytes:
    """The files as one ZIP file.

    Not compressed: how that comes out differs from one zlib to another, and `grep -a` finds what is in it.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for title, data in content.items():
            info = zipfile.ZipInfo(title, _LONG_AGO)
            info.create_system, info.external_attr = _UNIX, _FOR_ITS_OWNER
            archive.writestr(info, data)
    return file.getvalue()


def _hiding(dossier: Dossier) -> Hiding:
    """The secrets of both configs, and of what the checks send and expect."""
    entry, bodies = dossier.entry, dossier.bodies
    checks = dossier.started.policy.checks if dossier.started is not None else ()
    sent = [json.loads(text) for check in checks for text in (check.body, check.json) if text is not None]
    asked = [check.path for check in checks]
    names = [entry.environment, *(found for body in bodies for found in names_of(body))]
    return hiding([*bodies, *sent, *asked], names)


def _told(dossier: Dossier, hide: Hiding, dump: Dump) -> dict[str, Any]:
    """The rollout as every face tells of it, with all that it is about hidden.

    Values are hidden before they are written as YAML, which breaks a long text into lines.
    """
    told = dossiers.to_json(dossier, dump)
    return {**hide.texts(told), "config": hide.text(dump(hide.tree(dossier.config.body())))}


def _lines(events: Iterable[Written], hide: Hiding) -> str:
    return "".join(json_lines(hide.texts(event_shown.to_json(one)) for one in events))


def _logs(dossier: Dossier, hide: Hiding) -> dict[str, str]:
    """What was kept of each replica that failed."""
    kept = [one.event for one in dossier.events if isinstance(one.event, LogKept) and one.event.text]
    return {
        f"log-{number}-{_NOT_IN_A_NAME.sub('-', event.source.replica)[:_REPLICA]}.txt": _ended(
            hide.evidence(event.text)
        )
        for number, event in enumerate(kept, start=1)
    }


def _versions(dossier: Dossier, around: Surroundings, hide: Hiding) -> dict[str, Any]:
    started, daemon = dossier.started, around.daemon
    sessions = [one.event.session for one in dossier.events if isinstance(one.event, Applied)]
    address = daemon.clusters.get(dossier.entry.environment) if daemon is not None else None
    told = {
        "daemon": daemon
        and {
            "version": daemon.version,
            "python": daemon.python,
            "store_schema": daemon.schema,
            "started_at": timestamp(daemon.at),
        },
        "packed_by": {
            "version": around.deployer,
            "python": around.python,
            "store_schema": around.store_schema,
        },
        "ray": {
            "when_it_began": started.ray_version or None if started is not None else None,
            "last_seen": around.ray_version,
            "serve_schema": around.serve_schema,
        },
        "cluster": {
            "address": _address(address or around.cluster),
            "session_when_it_began": started.session if started is not None else None,
            "session": next((session for session in reversed(sessions) if session), None),
        },
    }
    found: dict[str, Any] = hide.texts(told)
    return found


def _address(url: str | None) -> str | None:
    """Where it is, and nothing that would let anybody in."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _damaged(events: Iterable[Written]) -> tuple[int, ...]:
    """The places in the log of those events that are not as they were written."""
    return tuple(one.sequence for one in events if not (one.is_intact and one.is_linked))


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
