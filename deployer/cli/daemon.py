"""Puts the daemon together from its settings, and runs it in this process.

Owns the wiring and the order of starting and stopping: lock, store, engine, API; then the reverse. Must not
contain behaviour of its own. Invariant: nothing is started before the state directory is locked, and
whatever was started is stopped on every way out.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployer.adapters import statedir
from deployer.adapters.serve import Secrecy, ServeCluster
from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.repositories import access, signers, source
from deployer.engine.controller import Controller
from deployer.engine.outbox import Outbox
from deployer.engine.reconcile import Listener, Reconciler
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources, Verify
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from deployer.web import Hooks, HookSpec, Passes, Service, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployer.engine.sources import RepositoryLook
    from deployer.settings import Settings


@contextmanager
def running(
    settings: Settings,
    *,
    listeners: Sequence[Listener] = (),
    on_look: Callable[[RepositoryLook], None] | None = None,
) -> Iterator[Controller]:
    """Run the daemon inside the `with` block: started when it is entered, stopped when it is left.

    Raises `deployer.adapters.statedir.StateDirBusy` if another daemon holds the state directory, and the
    store's errors if it cannot be opened.
    """
    with ExitStack() as stack:
        stack.enter_context(statedir.lock(settings.state_dir))
        store = SqlStore.open(settings.state_dir / STORE_FILE)
        stack.callback(store.close)
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
        outbox, passes = Outbox(store), Passes()
        reconciler = Reconciler(
            store=store,
            sources=sources,
            clusters=clusters,
            now=lambda: datetime.now(UTC),
            listeners=(outbox, passes, *listeners),
            neighbours=_neighbours(settings),
            wake=queue.add,
        )
        controller = Controller(
            environments=tuple(settings.environments),
            passes=passes.of(reconciler),
            queue=queue,
            sources=sources,
            outbox=outbox,
            notifier=Notifier(),
            workers=settings.workers,
        )
        stack.callback(controller.stop)
        controller.start()
        service = Service(
            store=store,
            sources=sources,
            # Its own, so that a person's look and a pass do not wait for each other.
            clusters=_clusters(settings, secrecies, stack),
            passes=passes,
            repositories={name: one.repository for name, one in settings.environments.items()},
            commit=reconciler.commit,
            enqueue=lambda name: queue.add(name, front=True),
            now=lambda: datetime.now(UTC),
        )
        server = settings.server
        hooks = Hooks(_hooks(settings), sources.hooked)
        stack.enter_context(
            serving(service, settings.state_dir, host=server.host, port=server.port, hooks=hooks)
        )
        yield controller


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
