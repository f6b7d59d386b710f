"""Puts the daemon together from its settings, and runs it in this process.

Owns the wiring and the order of starting and stopping: lock, store, what the API needs (its token and its
sockets), engine, API; then the reverse. Must not contain behaviour of its own. Invariant: nothing is started
before the state directory is locked; what can refuse to start does so before anything looks at a cluster; and
whatever was started is stopped on every way out.
"""

from __future__ import annotations

import hashlib
import platform
import resource
import signal
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from deployer import __version__
from deployer.adapters import statedir
from deployer.adapters.serve import Secrecy, ServeCluster
from deployer.adapters.store import OutboxStore, SqlStore, StoreError, revision
from deployer.adapters.store.search import Search
from deployer.cli import anchors, faces, pr_plans, promotions, targets
from deployer.cli.context import STORE_FILE
from deployer.cli.repositories import access, signers, source
from deployer.core.events import DaemonStarted, DaemonStopped
from deployer.engine import tracing
from deployer.engine.at_forge import ForgeWatch, Place
from deployer.engine.auto_promoting import AutoPromoter
from deployer.engine.controller import Controller
from deployer.engine.gating import Gatings
from deployer.engine.journal import Journal
from deployer.engine.outbox import Outbox
from deployer.engine.promoting import Promoter
from deployer.engine.reconcile import Listener, Reconciler
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources, Verify
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from deployer.settings import gate_rules
from deployer.web import Hooks, HookSpec, Hub, Metrics, Passes, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployer.engine.sources import RepositoryLook
    from deployer.settings import Setting, Settings

_ANCHORS_SECONDS = 2.0
"""For the last checkpoint to be signed and pushed at a stop; the next start pushes it, if this one cannot."""

_PROMOTIONS_SECONDS = 1.0
"""For a push under way to end at a stop; what became of it is read back at the next start."""


@contextmanager
def running(
    settings: Settings,
    *,
    explained: Sequence[Setting] = (),
    doctor: Callable[[], dict[str, Any]] = dict,
    listeners: Sequence[Listener] = (),
    on_look: Callable[[RepositoryLook], None] | None = None,
) -> Iterator[Controller]:
    """Run the daemon inside the `with` block: started when it is entered, stopped when it is left.

    `explained` are the settings with their origins, `doctor` what `deployer doctor -o json` prints: for the
    pages. Raises `deployer.adapters.statedir.StateDirBusy` if another daemon holds the state directory,
    `deployer.adapters.admin_token.AdminTokenUnusable`, and the store's errors if it cannot be opened.
    """
    _raise_descriptors()
    with ExitStack() as stack:
        stack.enter_context(statedir.lock(settings.state_dir))
        path = settings.state_dir / STORE_FILE
        store = stack.enter_context(closing(SqlStore.open(path)))
        first = stack.enter_context(ExitStack())
        ready = stack.enter_context(faces.prepared(settings))
        secrecies = {name: Secrecy() for name in settings.environments}
        clusters = _clusters(settings, secrecies, stack)
        queue = WorkQueue()
        sources = Sources(
            repositories=[
                RepositorySpec(
                    name=name,
                    url=repository.url,
                    poll_seconds=repository.poll_interval,
                    access=access(repository),
                )
                for name, repository in settings.repositories.items()
            ],
            environments=[
                EnvironmentSource(
                    environment=name,
                    repository=environment.repository,
                    source=source(environment),
                    path=environment.path,
                    verify=Verify(environment.signatures.verify),
                    signers=signers(environment),
                    accepts_rewrites=environment.rewrites == "accept",
                )
                for name, environment in settings.environments.items()
            ],
            mirrors_dir=settings.state_dir / "mirrors",
            enqueue=queue.add,
            on_look=on_look,
        )
        hooks = _hooks(settings)
        anchoring = anchors.made(settings, store.database)
        if anchoring is not None:
            # The last of all: it signs what is written before, and nothing is done after it.
            first.callback(anchoring.stop, _ANCHORS_SECONDS)
        forges = promotions.forges(settings)
        outbox = Outbox(OutboxStore(store.database), targets.targets(settings, forges))
        passes, hub = Passes(), Hub()
        measured = stack.enter_context(
            closing(
                Metrics(
                    environments=tuple(settings.environments),
                    repositories=tuple(settings.repositories),
                    schemes={name: hook.scheme for name, hook in hooks.items()},
                    sources=sources,
                    store=store,
                    store_path=path,
                    queue_depth=queue.depth,
                    subscribers=lambda: hub.listeners,
                    anchored=(lambda: anchoring.known) if anchoring is not None else None,
                    targets={one.name: one.audience for one in outbox.targets},
                    deliveries=outbox.deliveries,
                )
            )
        )
        rules = {name: gate_rules(settings, name) for name in settings.environments}
        watch = ForgeWatch(
            forges,
            {
                name: Place(
                    repository=one.repository, branch=one.branch or "", rules=gate_rules(settings, name)
                )
                for name, one in settings.environments.items()
            },
            load=store.load,
            # Made below, of what is made of this.
            commit=lambda record, events: reconciler.commit(record, events),  # noqa: PLW0108 - not there yet
            wake=queue.add,
            now=lambda: datetime.now(UTC),
        )
        pull_plans = pr_plans.made(settings, forges, store.load)
        gatings = Gatings(rules, store, queue.add, lambda: datetime.now(UTC), watch)
        listeners = (outbox, passes, hub, measured, gatings, watch, pull_plans, *listeners)
        search = Search(store.database)
        traces = tracing.start(
            lambda rollout: [one.event for one in search.events_of(rollout)],
            public_url=settings.server.public_url,
        )
        if traces is not None:
            stack.callback(traces.close)
            listeners = (*listeners, traces)
        reconciler = Reconciler(
            store=measured.store(store),
            sources=sources,
            clusters=clusters,
            now=lambda: datetime.now(UTC),
            listeners=listeners,
            neighbours=_neighbours(settings),
            wake=queue.add,
            gating=gatings.of,
            news=targets.news(settings, targets.history(store)),
        )
        journal = Journal(
            store, environments=settings.environments, commit=reconciler.commit, now=lambda: datetime.now(UTC)
        )
        journal.write(_started(settings))
        # The last event of all.
        first.callback(_stopped, journal)
        controller = Controller(
            environments=tuple(settings.environments),
            passes=measured.passes(passes.of(reconciler)),
            queue=queue,
            sources=sources,
            outbox=outbox,
            notifier=Notifier(),
            workers=settings.workers,
        )
        writers = promotions.writers(settings)
        promoter = Promoter(
            edges=tuple(promotions.edges(settings)),
            store=store,
            writers=writers,
            copiers=promotions.copiers(settings, writers),
            forges=forges,
            page=lambda name: _page(settings, name),
            look_now=sources.look_now,
            now=lambda: datetime.now(UTC),
            commit=reconciler.commit,
            seen=partial(promotions.seen, search),
        )
        promoting = AutoPromoter(
            promoter, load=store.load, may=gatings.may_promote, gates=gatings.before_push
        )
        reconciler.listen(promoting)
        stack.callback(controller.stop)
        # The last comes first: promotions know that it is a stop before what they ask is cut off.
        for stop in (watch.stop, pull_plans.stop, promoting.stop):
            stack.callback(stop, _PROMOTIONS_SECONDS)
        stack.callback(outbox.leave)
        service = Service(
            store=store,
            sources=sources,
            # Its own, so that a person's look and a pass do not wait for each other.
            clusters=_clusters(settings, secrecies, stack),
            passes=passes,
            repositories={name: one.repository for name, one in settings.environments.items()},
            rules=gatings.rules,
            commit=reconciler.commit,
            enqueue=lambda name: queue.add(name, front=True),
            now=lambda: datetime.now(UTC),
            journal=journal,
        )
        stack.enter_context(
            faces.serving(
                settings,
                ready=ready,
                explained=explained,
                store=store,
                sources=sources,
                service=service,
                hub=hub,
                measured=measured,
                hooks=Hooks(hooks, sources.hooked),
                doctor=doctor,
                now=lambda: datetime.now(UTC),
                gating=gatings.of,
                promoter=promoter,
                journal=journal,
                by_itself=promoting,
                outbox=outbox,
            )
        )
        # After the routes are made: pydantic silences warnings for the whole process meanwhile, and what the
        # passes build in other threads at that moment would let them out.
        for start in (controller.start, promoting.start, watch.start, pull_plans.start):
            start()
        if anchoring is not None:
            anchoring.start()
        yield controller


def _started(settings: Settings) -> DaemonStarted:
    clusters = {name: one.cluster.address for name, one in settings.environments.items()}
    return DaemonStarted(
        at=datetime.now(UTC),
        version=__version__,
        python=platform.python_version(),
        schema=revision.NEWEST,
        # What they hold of secrets are names of files.
        settings=f"sha256:{hashlib.sha256(settings.model_dump_json().encode()).hexdigest()}",
        clusters=clusters,
    )


def _stopped(journal: Journal) -> None:
    """That it cannot be written is no reason not to stop: the log says then that it did not end in order."""
    with suppress(StoreError):
        journal.write(DaemonStopped(at=datetime.now(UTC)))


def _page(settings: Settings, environment: str) -> str | None:
    """Where people see the environment; None if nobody has said by which address they reach the daemon."""
    url = settings.server.public_url
    return f"{url.rstrip('/')}/env/{environment}" if url is not None else None


def _raise_descriptors() -> None:
    """Have as many files and connections open at once as this process may: 1024 at first, as a rule.

    That is for programs that use `select`. Here it would be the limit of open pages.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _hooks(settings: Settings) -> dict[str, HookSpec]:
    """The webhooks of the repositories that have one."""
    return {
        name: HookSpec(
            scheme=hook.scheme,
            secret_file=hook.secret_file,
            previous_secret_file=hook.previous_secret_file,
        )
        for name, repository in settings.repositories.items()
        if (hook := repository.webhook) is not None
    }


def _clusters(
    settings: Settings, secrecies: Mapping[str, Secrecy], stack: ExitStack
) -> dict[str, ServeCluster]:
    """The cluster of each environment, closed with the stack."""
    clusters = {}
    for name, environment in settings.environments.items():
        cluster = ServeCluster(
            environment.cluster.address,
            token_file=environment.cluster.token_file,
            ca_file=environment.cluster.ca_file,
            serve_address=environment.cluster.serve_address,
            secrecy=secrecies[name],
        )
        stack.callback(cluster.close)
        clusters[name] = cluster
    return clusters


def _neighbours(settings: Settings) -> dict[str, tuple[str, ...]]:
    """For each environment the others on the same cluster."""
    keys = {name: environment.cluster.key for name, environment in settings.environments.items()}
    return {
        name: tuple(other for other in keys if other != name and keys[other] == key)
        for name, key in keys.items()
    }


def stop_on_signals(controller: Controller) -> None:
    """SIGTERM and SIGINT end `controller.run_until_stopped`; a second one ends the process at once."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        controller.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
