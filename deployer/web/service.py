"""What the API does: one method for each route, over the same store, sources and clusters as the passes.

Owns how a person's wish becomes events and a pass, and what is shown of a cluster. Must not know HTTP, nor
decide anything: what may be asked is `core.commands`. Invariant: a wish is answered after its events are
durable, it is made on the newest record, and no secret value leaves here.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from deployer.adapters.serve import LogUnavailable
from deployer.adapters.store import Conflict
from deployer.core import body, commands, consent, lineage, sentences
from deployer.core.events import LogSource
from deployer.core.explain import explain
from deployer.core.gates import Rules
from deployer.core.history import to_json
from deployer.core.live import Live
from deployer.core.redact import mask
from deployer.core.rollouts import owned
from deployer.core.scrub import plain, scrub, secrets_of
from deployer.core.times import timestamp
from deployer.core.types import Desired
from deployer.web.models import git_says, masks
from deployer.web.problems import USAGE, Problem, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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

_LOOK_SECONDS = 30.0
"""For a look at git, and a pass that has seen it, before a wish that is for what git wants now. Usually a
second; a git server that hangs is given up by the look itself after 30 s."""

_LOOK_FIRST = 4
"""Who may wait for that at once: half of the places that commands have; the others are left to a rescue."""

_LOOK_AGAIN_SECONDS = 0.1
"""Between two looks at the two numbers that are waited for; they are in memory."""

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


class Journal(Protocol):
    """What keeps refusals: `deployer.engine.journal.Journal`."""

    def refused(self, environment: str, command: str, actor: str, why: str, reason: str = "") -> None:
        """A command of a person was refused. Never raises."""


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
        rules: Callable[[str], Rules] = lambda _environment: Rules(),
        commit: Callable[[Record, Sequence[Event]], Record],
        enqueue: Callable[[str], None],
        now: Callable[[], datetime],
        look_seconds: float = _LOOK_SECONDS,
        journal: Journal | None = None,
    ) -> None:
        """Take the parts. `clusters` and `repositories` (names) have one entry for each environment.

        The clusters are not those of the passes: a look for a person must not keep a pass waiting.
        `rules` are those of an environment's gates. `commit` makes events durable and tells who listens;
        `enqueue` asks for a pass before all others. `look_seconds`: see `sync`. `journal` keeps what
        was refused.
        """
        self._journal = journal
        self._store = store
        self._sources = sources
        self._clusters = clusters
        self._turns = {name: threading.Lock() for name in clusters}
        self._passes = passes
        self._repositories = repositories
        self._rules = rules
        self._commit = commit
        self._enqueue = enqueue
        self._now = now
        self._look_seconds = look_seconds
        self._look_first = threading.BoundedSemaphore(_LOOK_FIRST)
        # What counts looks and passes begins again with each daemon; so who waits must know which one it is.
        self._instance = uuid.uuid4().hex
        # Commands do not get in each other's way; only a pass may come in between.
        self._one_at_a_time = threading.Lock()

    # --- reads ---------------------------------------------------------------------------------------

    def status(self, environment: str, visible: Collection[str] | None = None) -> dict[str, Any]:
        """The published status, with the newest rollouts, and what git says at this moment.

        `visible` are the environments that may be spoken of; None is all.

        `is_current` is False until a pass has seen all that; `pass_number` is the one that saw it.
        """
        looks = self._sources.looks(self._repositories[self._known(environment)])
        wanted = self._sources.wanted(environment)
        # Read before the view: a pass in between makes it look older than it is, never newer.
        number = self._passes.published(environment)
        view = self._view(environment, visible)
        entries = self._store.history(environment, limit=_ROLLOUTS)
        # Read last: what happened in between makes the view look older than it is, never newer.
        record = self._store.load(environment)
        git = git_says(lineage.admitted(wanted, record))
        seen = view["wanted"]["digest"] if view["wanted"] else None
        return {
            **view,
            "instance": self._instance,
            "pass_number": number,
            "is_current": view.get("sequence") == record.sequence and seen == git["digest"],
            "rollouts": [to_json(entry) for entry in entries],
            "git": {
                "looks": looks.ended,
                "trouble": looks.trouble,
                "seen_at": timestamp(looks.seen_at),
                **git,
            },
        }

    def explain(self, environment: str, visible: Collection[str] | None = None) -> dict[str, Any]:
        """Why the environment is as it is: see `core.explain`. `visible` as for `status`."""
        return explain(self._view(environment, visible))

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

    def observe(self, environment: str) -> Observation:
        """Look at its cluster once, with the free resources, in turn."""
        with self._turn(environment):
            return self._clusters[environment].observe(resources=True)

    # --- writes --------------------------------------------------------------------------------------

    def sync(
        self,
        environment: str,
        *,
        skip: Sequence[str] = (),
        may_override: bool = False,
        digest: str | None = None,
        actor: str,
        reason: str,
        dry_run: bool,
    ) -> dict[str, Any]:
        """Look at git now, then at the environment. `actor` is who wants it, as the audit log names people.

        Where sync is manual, what git wants is to be deployed; `skip` are gates that need not be open for it,
        which takes somebody who may override them. Both are for what git wants now, not for what it was last
        known to want: so that is found out first, which may take `look_seconds`. Where it cannot be, Problem
        is raised, but not if the config was named: `digest`, as for `core.consent.go`.

        `look` and `pass_number` are those to wait for in a status of the same `instance`: what git says, and
        what is published, was seen after this.
        """

        def ask(record: Record, actor: str, why: str) -> Answer:
            return consent.go(
                record,
                self._rules(environment),
                skip=skip,
                may_override=may_override,
                digest=digest,
                actor=actor,
                reason=why,
                now=self._now(),
            )

        unknown = None
        if not dry_run and self._is_for_now(environment, skip, digest):
            # Who may not do it is told so at once.
            command = f"deployer sync {environment}"
            refused = consent.refused_skip(command, skip, may_override=may_override, reason=_one_line(reason))
            if refused is not None:
                raise Problem(HTTPStatus.CONFLICT, refused.why, exit_code=refused.exit_code)
            unknown = self._not_found_out(environment)
            if unknown is not None and digest is None:
                detail = (
                    f"What git wants in {environment} now is not known: {unknown} So nothing was recorded."
                    " Try again, or say what you mean with `--digest`: `config_digest` of"
                    f" `deployer plan {environment} -o json`."
                )
                raise Problem(HTTPStatus.CONFLICT, detail, exit_code=commands.REFUSED)
        answer = self.carry_out("sync", environment, ask, actor=actor, reason=reason, dry_run=dry_run)
        if not dry_run and not answer["events"]:
            _log("sync", environment, actor, _one_line(reason), [])
        repository = self._repositories[environment]
        looks = f"Git (repository {repository}) and the cluster of {environment} are looked at now."
        before = f"It was not found out first whether git wants it now: {unknown}" if unknown else ""
        message = " ".join(part for part in (answer["message"], before, looks) if part)
        return {**answer, "message": message, **self.look(environment, dry_run=dry_run)}

    def look(self, environment: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Look at git now, then at the environment; which looks are to be waited for, as `sync` says."""
        look, number = None, None
        if not dry_run:
            look = self._sources.look_now(self._repositories[environment])
            number = self._passes.next(environment)
            self._enqueue(environment)
        return {"instance": self._instance, "look": look, "pass_number": number}

    def stand(self, environment: str) -> dict[str, Any]:
        """What a command gets back that has done nothing yet: where the environment stands before it."""
        record = self._store.load(self._known(environment))
        return _answer(record, commands.Accepted(events=(), message=""), dry_run=True)

    def pause(
        self, environment: str, *, seconds: float | None, actor: str, reason: str, dry_run: bool
    ) -> dict[str, Any]:
        """Stop the automation, for so long or until somebody resumes."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            now = self._now()
            until = now + timedelta(seconds=seconds) if seconds is not None else None
            return commands.pause(record, until=until, actor=actor, reason=why, now=now)

        return self.carry_out("pause", environment, ask, actor=actor, reason=reason, dry_run=dry_run)

    def resume(self, environment: str, *, actor: str, reason: str, dry_run: bool) -> dict[str, Any]:
        """Let the automation go on."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            return commands.resume(record, actor=actor, reason=why, now=self._now())

        return self.carry_out("resume", environment, ask, actor=actor, reason=reason, dry_run=dry_run)

    def retry(self, environment: str, *, actor: str, reason: str, dry_run: bool) -> dict[str, Any]:
        """Try what git wants once more."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            return commands.retry(record, actor=actor, reason=why, now=self._now())

        return self.carry_out("retry", environment, ask, actor=actor, reason=reason, dry_run=dry_run)

    def rollback(
        self, environment: str, *, to: str | None, actor: str, reason: str, dry_run: bool
    ) -> dict[str, Any]:
        """Go back to a good release."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            releases = self._store.good_releases(environment)
            return commands.rollback(
                record, to=to, releases=releases, actor=actor, reason=why, now=self._now()
            )

        return self.carry_out("rollback", environment, ask, actor=actor, reason=reason, dry_run=dry_run)

    def approve(
        self,
        environment: str,
        *,
        plan: str,
        login: str | None,
        actor: str,
        reason: str,
        dry_run: bool,
        rejects: bool = False,
    ) -> dict[str, Any]:
        """Approve what `plan` would do, or reject it. `login` is None for who has no personal token."""

        def ask(record: Record, actor: str, why: str) -> Answer:
            current, of = self._waiting_plan(environment)
            return consent.approve(
                record,
                self._rules(environment),
                plan=plan,
                current=current,
                of=of,
                actor=actor,
                login=login,
                reason=why,
                now=self._now(),
                rejects=rejects,
            )

        command = "reject" if rejects else "approve"
        return self.carry_out(command, environment, ask, actor=actor, reason=reason, dry_run=dry_run)

    def declined(
        self, environment: str, command: str, actor: str, answer: commands.Declined, reason: str
    ) -> None:
        """Keep that a person's wish was refused; one that made no sense as it was typed is no wish."""
        if answer.exit_code != commands.USAGE:
            self.refused(environment, command, actor, answer.why, reason)

    def refused(self, environment: str, command: str, actor: str, why: str, reason: str = "") -> None:
        """Keep that a person was refused something."""
        if self._journal is not None:
            self._journal.refused(environment, command, actor, why, reason)

    def carry_out(
        self,
        command: str,
        environment: str,
        ask: Callable[[Record, str, str], Answer],
        *,
        actor: str,
        reason: str,
        dry_run: bool,
    ) -> dict[str, Any]:
        """Ask the rules, write what they say, and have it acted upon: on the newest record, or not at all."""
        self._known(environment)
        # A question waits for nobody: it changes nothing.
        with nullcontext() if dry_run else self._one_at_a_time:
            return self._decided(command, environment, ask, actor, _one_line(reason), dry_run=dry_run)

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
                if not dry_run:
                    self.declined(environment, command, actor, answer, why)
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

    # --- helpers -------------------------------------------------------------------------------------

    def _is_for_now(self, environment: str, skip: Sequence[str], digest: str | None) -> bool:
        """Whether a sync is a wish for what git wants at this moment, and it is not known that this is it."""
        record = self._store.load(self._known(environment))
        if digest == consent.NOT_SHOWN or not (skip or self._rules(environment).manual):
            return False
        # A gate is skipped for a commit, and another one may have the same config.
        return bool(skip) or digest is None or record.seen is None or record.seen.digest != digest

    def _not_found_out(self, environment: str) -> str | None:
        """Look at git, and wait until the record knows what it wants now. A sentence if that fails."""
        if not self._look_first.acquire(blocking=False):
            detail = "Others are waiting for looks at git, as many as may at once: try again in a moment."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        try:
            repository = self._repositories[environment]
            deadline = time.monotonic() + self._look_seconds
            look = self._sources.look_now(repository)
            if not _comes(lambda: self._sources.looks(repository).ended >= look, deadline):
                return f"git (repository {repository}) was not read within {self._look_seconds:g} s."
            trouble = self._sources.looks(repository).trouble
            if trouble is not None:
                return sentences.sentence(trouble)
            number = self._passes.next(environment)
            self._enqueue(environment)
            if not _comes(lambda: self._is_seen(environment, number), deadline):
                return f"{environment} was not looked at within {self._look_seconds:g} s."
            return None
        finally:
            self._look_first.release()

    def _is_seen(self, environment: str, number: int) -> bool:
        """Whether the record knows what git says: this pass has been, or there was nothing new in it."""
        if self._passes.published(environment) >= number:
            return True
        record = self._store.load(environment)
        says = git_says(lineage.admitted(self._sources.wanted(environment), record))
        seen = record.seen
        is_same = seen is not None and (seen.digest, seen.revision.commit) == (
            says["digest"],
            says["revision"],
        )
        return is_same and record.refused is None

    def _waiting_plan(self, environment: str) -> tuple[str | None, str | None]:
        """What the last pass found waiting for approvals, or with enough of them; and of which config."""
        found = self._store.views(environment).get(environment)
        if found is None:
            return None, None
        view = found[1]
        plans = (gate["plan"] for gate in view.get("gates", ()) if gate["plan"] is not None)
        return next(plans, None), view["wanted"]["digest"] if view["wanted"] else None

    def _known(self, environment: str) -> str:
        if environment not in self._clusters:
            raise Unknown(environment, self._clusters)
        return environment

    def _view(self, environment: str, visible: Collection[str] | None) -> dict[str, Any]:
        self._known(environment)
        views = self._store.views(environment)
        if environment not in views:
            detail = f"The daemon has not looked at {environment} yet: try again in a moment."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        at, view = views[environment]
        return masks.masked(
            {**view, "observed_at": timestamp(at)}, self._rules(environment).requires, visible
        )

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


def _comes(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait for it; whether it came in time."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True


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
