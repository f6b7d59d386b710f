"""What the API does: one method for each route, over the same store, sources and clusters as the passes.

Owns how a person's wish becomes events and a pass, and what is shown of a cluster. Must not know HTTP, nor
decide anything: what may be asked is `core.commands`. Invariant: a wish is answered after its events are
durable, it is made on the newest record, and no secret value leaves here.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from deployer.adapters.serve import LogUnavailable
from deployer.adapters.store import Conflict
from deployer.core import body, commands, lineage, sentences
from deployer.core.events import LogSource
from deployer.core.explain import explain
from deployer.core.history import to_json
from deployer.core.live import Live
from deployer.core.redact import mask
from deployer.core.rollouts import owned
from deployer.core.scrub import plain, scrub, secrets_of
from deployer.core.times import timestamp
from deployer.core.types import Absent, Desired, Invalid, NotRead, Rewritten, Unverified
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from deployer.core.commands import Answer, GoodRelease
    from deployer.core.events import Event
    from deployer.core.history import Entry
    from deployer.core.live import App, Observation
    from deployer.core.record import Record
    from deployer.core.types import Wanted
    from deployer.engine.sources import Looks

_ATTEMPTS = 5
"""To commit a wish. A pass commits a few times a second at most, so a second conflict in a row is rare."""

_ROLLOUTS = 10
"""Newest rollouts in a status: who waits for one sees it end, and what followed."""

_LOGS = 12
"""Replicas whose logs are read in one request."""

_LOGS_SECONDS = 45.0
"""For all of them. One may take 10 s, and a person waits."""

_TURN_SECONDS = 5.0
"""For who wants to see a cluster while somebody else looks at it. Usually that takes milliseconds; where the
cluster hangs, more waiting would cost the threads that a rescue needs (40, AnyIO's), and bring nothing."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """What the service needs of the store."""

    def load(self, environment: str) -> Record:
        """The record of an environment."""

    def views(self, environment: str | None = None) -> Mapping[str, tuple[datetime, dict[str, Any]]]:
        """The status that was published last, and when."""

    def history(self, environment: str | None = None, *, limit: int = 20) -> Sequence[Entry]:
        """The newest rollouts first."""

    def good_releases(self, environment: str) -> Sequence[GoodRelease]:
        """What became good, newest first."""


class Sources(Protocol):
    """What it needs of the threads that follow git."""

    def wanted(self, environment: str) -> Wanted:
        """What git wants."""

    def look_now(self, repository: str) -> int:
        """Look at a repository at once; the number of that look."""

    def looks(self, repository: str) -> Looks:
        """How many looks have ended."""


class Passes(Protocol):
    """What it needs of those who count passes."""

    def next(self, environment: str) -> int:
        """The number of the first pass that begins after this."""

    def published(self, environment: str) -> int:
        """The number of the newest pass whose status is published."""


class Cluster(Protocol):
    """What it needs of a cluster."""

    def observe(self, *, resources: bool = False) -> Observation:
        """Look once."""

    def log_tail(self, source: LogSource) -> str:
        """The end of a replica's log."""


class Service:
    """The daemon for those who ask over HTTP. Thread-safe."""

    def __init__(
        self,
        *,
        store: Store,
        sources: Sources,
        clusters: Mapping[str, Cluster],
        passes: Passes,
        repositories: Mapping[str, str],
        commit: Callable[[Record, Sequence[Event]], Record],
        enqueue: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        """Take the parts. `clusters` and `repositories` (names) have one entry for each environment.

        The clusters are not those of the passes: a look for a person must not keep a pass waiting.
        `commit` makes events durable and tells who listens; `enqueue` asks for a pass before all others.
        """
        self._store = store
        self._sources = sources
        self._clusters = clusters
        self._turns = {name: threading.Lock() for name in clusters}
        self._passes = passes
        self._repositories = repositories
        self._commit = commit
        self._enqueue = enqueue
        self._now = now
        # What counts looks and passes begins again with each daemon; so who waits must know which one it is.
        self._instance = uuid.uuid4().hex
        # Commands do not get in each other's way; only a pass may come in between.
        self._one_at_a_time = threading.Lock()

    # --- reads ---------------------------------------------------------------------------------------

    def status(self, environment: str) -> dict[str, Any]:
        """The published status, with the newest rollouts, and what git says at this moment.

        `is_current` is False until a pass has seen all that; `pass_number` is the one that saw it.
        """
        looks = self._sources.looks(self._repositories[self._known(environment)])
        wanted = self._sources.wanted(environment)
        # Read before the view: a pass in between makes it look older than it is, never newer.
        number = self._passes.published(environment)
        record = self._store.load(environment)
        git = _git(lineage.admitted(wanted, record))
        view = self._view(environment)
        seen = view["wanted"]["digest"] if view["wanted"] else None
        return {
            **view,
            "instance": self._instance,
            "pass_number": number,
            "is_current": view.get("sequence") == record.sequence and seen == git["digest"],
            "rollouts": [to_json(entry) for entry in self._store.history(environment, limit=_ROLLOUTS)],
            "git": {
                "looks": looks.ended,
                "trouble": looks.trouble,
                "seen_at": timestamp(looks.seen_at),
                **git,
            },
        }

    def explain(self, environment: str) -> dict[str, Any]:
        """Why the environment is as it is: see `core.explain`."""
        return explain(self._view(environment))

    def live(self, environment: str) -> dict[str, Any]:
        """What the cluster last received and runs, as it says now."""
        with self._turn(environment):
            live, ours = self._look(environment)
        return {
            "environment": environment,
            "observed_at": timestamp(self._now()),
            "ray_version": live.ray_version,
            "session": live.session,
            "serve_started": live.serve_started,
            "apps": [_received(app) for name, app in sorted(live.apps.items()) if name in ours],
            "foreign": list(body.foreign(live, ours)),
        }

    def logs(self, environment: str, app: str | None) -> dict[str, Any]:
        """The ends of the logs of an application's replicas, or of all; those that do not run come first.

        Of this environment's own applications: what others have on the cluster is not shown.
        """
        with self._turn(environment):
            return self._logs(environment, app)

    def _logs(self, environment: str, app: str | None) -> dict[str, Any]:
        # Not what git only wants: on the cluster that may be somebody else's still.
        ours = owned(self._store.load(environment))
        if app is not None and app not in ours:
            detail = f"{environment} has no application '{app}'. It has: {', '.join(sorted(ours)) or 'none'}."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        live, _ = self._look(environment)
        names = {app} if app is not None else ours
        replicas = [one for name in sorted(names & live.apps.keys()) for one in _replicas(live.apps[name])]
        replicas.sort(key=lambda one: one["state"] == "RUNNING")
        deadline = time.monotonic() + _LOGS_SECONDS
        read: list[dict[str, Any]] = []
        for one in replicas[:_LOGS]:
            if time.monotonic() > deadline:
                break
            read.append(self._with_text(environment, one))
        return {
            "environment": environment,
            "logs": read,
            "left_out": len(replicas) - len(read),
        }

    # --- writes --------------------------------------------------------------------------------------

    def sync(self, environment: str, *, by: str, reason: str, dry_run: bool) -> dict[str, Any]:
        """Look at git now, then at the environment.

        `look` and `pass_number` are those to wait for in a status of the same `instance`: what git says, and
        what is published, was seen after this.
        """
        self._known(environment)
        repository = self._repositories[environment]
        record = self._store.load(environment)
        look, number = None, None
        if not dry_run:
            look = self._sources.look_now(repository)
            number = self._passes.next(environment)
            self._enqueue(environment)
            _log("sync", environment, _actor(by), _one_line(reason), [])
        message = f"Git (repository {repository}) and the cluster of {environment} are looked at now."
        accepted = commands.Accepted(events=(), message=message)
        answer = _answer(record, accepted, dry_run=dry_run)
        return {**answer, "instance": self._instance, "look": look, "pass_number": number}

    def pause(
        self, environment: str, *, seconds: float | None, by: str, reason: str, dry_run: bool
    ) -> dict[str, Any]:
        """Stop the automation, for so long or until somebody resumes."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            now = self._now()
            until = now + timedelta(seconds=seconds) if seconds is not None else None
            return commands.pause(record, until=until, actor=actor, reason=why, now=now)

        return self._carry_out("pause", environment, ask, by=by, reason=reason, dry_run=dry_run)

    def resume(self, environment: str, *, by: str, reason: str, dry_run: bool) -> dict[str, Any]:
        """Let the automation go on."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            return commands.resume(record, actor=actor, reason=why, now=self._now())

        return self._carry_out("resume", environment, ask, by=by, reason=reason, dry_run=dry_run)

    def retry(self, environment: str, *, by: str, reason: str, dry_run: bool) -> dict[str, Any]:
        """Try what git wants once more."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            return commands.retry(record, actor=actor, reason=why, now=self._now())

        return self._carry_out("retry", environment, ask, by=by, reason=reason, dry_run=dry_run)

    def rollback(
        self, environment: str, *, to: str | None, by: str, reason: str, dry_run: bool
    ) -> dict[str, Any]:
        """Go back to a good release."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            releases = self._store.good_releases(environment)
            return commands.rollback(
                record, to=to, releases=releases, actor=actor, reason=why, now=self._now()
            )

        return self._carry_out("rollback", environment, ask, by=by, reason=reason, dry_run=dry_run)

    # --- helpers -------------------------------------------------------------------------------------

    def _carry_out(
        self,
        command: str,
        environment: str,
        ask: Callable[[Record, str, str], Answer],
        *,
        by: str,
        reason: str,
        dry_run: bool,
    ) -> dict[str, Any]:
        """Ask the rules, write what they say, and have it acted upon: on the newest record, or not at all."""
        self._known(environment)
        actor, why = _actor(by), _one_line(reason)
        with self._one_at_a_time:
            return self._decided(command, environment, ask, actor, why, dry_run=dry_run)

    def _decided(
        self,
        command: str,
        environment: str,
        ask: Callable[[Record, str, str], Answer],
        actor: str,
        why: str,
        *,
        dry_run: bool,
    ) -> dict[str, Any]:
        attempts = 0
        while True:
            attempts += 1
            record = self._store.load(environment)
            answer = ask(record, actor, why)
            if isinstance(answer, commands.Declined):
                raise Problem(HTTPStatus.CONFLICT, answer.why, exit_code=answer.exit_code)
            if answer.events and not dry_run:
                try:
                    self._commit(record, answer.events)
                except Conflict:
                    if attempts == _ATTEMPTS:
                        raise
                    continue
                self._enqueue(environment)
                _log(command, environment, actor, why, [event.type for event in answer.events])
            return _answer(record, answer, dry_run=dry_run)

    def _known(self, environment: str) -> str:
        if environment not in self._clusters:
            detail = f"The daemon knows no environment '{environment}'. It has: {', '.join(self._clusters)}."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        return environment

    def _view(self, environment: str) -> dict[str, Any]:
        self._known(environment)
        views = self._store.views(environment)
        if environment not in views:
            detail = f"The daemon has not looked at {environment} yet: try again in a moment."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        at, view = views[environment]
        return {**view, "observed_at": timestamp(at)}

    def _look(self, environment: str) -> tuple[Live, frozenset[str]]:
        """The cluster as it is now, and the names of the environment's applications, also if only wanted."""
        live = self._clusters[environment].observe()
        if not isinstance(live, Live):
            raise Problem(HTTPStatus.BAD_GATEWAY, live.why)
        wanted = self._sources.wanted(environment)
        names = wanted.release.config.applications().keys() if isinstance(wanted, Desired) else ()
        return live, owned(self._store.load(environment)).union(names)

    @contextmanager
    def _turn(self, environment: str) -> Iterator[None]:
        """A turn at the environment's cluster: one request at a time asks it something."""
        turn = self._turns[self._known(environment)]
        if not turn.acquire(timeout=_TURN_SECONDS):
            detail = f"Somebody else is reading from the cluster of {environment}: try again in a moment."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        try:
            yield
        finally:
            turn.release()

    def _with_text(self, environment: str, replica: dict[str, Any]) -> dict[str, Any]:
        source = LogSource(replica=replica["replica"], node_id=replica["node_id"], path=replica["path"])
        try:
            return {**replica, "text": self._clusters[environment].log_tail(source), "error": None}
        except LogUnavailable as error:
            return {**replica, "text": "", "error": error.why}


def _actor(by: str) -> str:
    """Who, and from where: everybody who reaches this API is on this machine."""
    return f"{by} (local)"


def _one_line(reason: str) -> str:
    return " ".join(plain(reason).split())


def _log(command: str, environment: str, actor: str, reason: str, noted: list[str]) -> None:
    log.info(
        "command_taken",
        command=command,
        environment=environment,
        actor=actor,
        reason=reason,
        noted=noted,
    )


def _answer(record: Record, answer: commands.Accepted, *, dry_run: bool) -> dict[str, Any]:
    """What a command gets back. What comes of it has a higher number than `after`."""
    target = answer.target
    # The rollout in flight may be what is asked for; but not if that is an event, or one not acted upon yet.
    is_new = bool(answer.events) or (answer.under_way and record.asked is not None)
    return {
        "environment": record.environment,
        "message": answer.message,
        "dry_run": dry_run,
        "events": [event.type for event in answer.events],
        "target": target and {"revision": target.revision.commit, "digest": target.digest},
        "under_way": answer.under_way,
        "after": record.rollouts - (record.rollout is not None and not is_new),
    }


def _git(wanted: Wanted) -> dict[str, Any]:
    """What git wants, or why it wants nothing that can be deployed."""
    match wanted:
        case Desired(release=release):
            return {"revision": release.revision.commit, "digest": release.digest, "problem": None}
        case Invalid(revision=revision):
            problem = f"{revision.short} cannot be deployed: {sentences.problems(wanted)}"
            return {"revision": revision.commit, "digest": None, "problem": problem}
        case Unverified(revision=revision, why=why) | Rewritten(revision=revision, why=why):
            problem = f"{revision.short} is not deployed: {why}"
            return {"revision": revision.commit, "digest": None, "problem": problem}
        case Absent(why=why) | NotRead(why=why):
            return {"revision": None, "digest": None, "problem": why}


def _received(app: App) -> dict[str, Any]:
    """What Serve last received for an application, and where it stands. Secret values are masked."""
    config = dict(app.config) if app.config is not None else None
    return {
        "name": app.name,
        "status": app.status,
        "message": app.message,
        "route_prefix": app.route_prefix,
        "last_deployed_time_s": app.last_deployed_time_s,
        "source": app.source or None,
        "config": mask(config, lambda text: scrub(text, secrets_of(config))) if config is not None else None,
    }


def _replicas(app: App) -> Iterator[dict[str, Any]]:
    """The replicas that have been placed: the others have no log yet."""
    for deployment in app.deployments:
        for replica in deployment.replicas:
            if replica.node_id is not None and replica.log_path:
                yield {
                    "app": app.name,
                    "deployment": deployment.name,
                    "replica": replica.replica_id,
                    "state": replica.state,
                    "node_id": replica.node_id,
                    "path": replica.log_path,
                }
