"""The whole daemon in this process over a fake cluster: real git, real store, real HTTP, real commands."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import requests
from click.testing import CliRunner

from deployer.adapters import statedir
from deployer.adapters.store import OutboxStore, SqlStore
from deployer.cli import faces
from deployer.cli.context import STORE_FILE
from deployer.cli.main import cli
from deployer.core import gates
from deployer.core.source import Branch
from deployer.engine.controller import Controller
from deployer.engine.journal import Journal
from deployer.engine.outbox import Outbox
from deployer.engine.reconcile import Reconciler
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from deployer.settings import explained, load
from deployer.web import Hub, Metrics, Passes, Service
from tests.support.canaries import plain_canary
from tests.support.fake_cluster import FakeCluster
from tests.support.no_promotions import no_promotions
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from click.testing import Result

    from deployer.core.checks import Answer
    from deployer.core.events import LogSource
    from deployer.core.live import Live, Observation
    from deployer.core.record import Rollout
    from deployer.core.types import Check

NAME = "staging"
FOLDER = f"environments/{NAME}"

QUICK = "health: {stability_window: 0s}\nsoak: 0s\n"
"""An `environment.yaml` for tests that are not about being healthy for long."""

HOLDING = {"runtime_env": {"env_vars": {"TOKEN": plain_canary("site")}}}
"""What every application has, unless a test says otherwise: it is looked for after each test."""

FASTER = 20
"""The fake cluster's clock runs so many times as fast as ours: its applications take seconds to start."""

SETTINGS = """\
state_dir: {root}/state
server: {{listen: "127.0.0.1:0"}}
repositories: {{configs: {{url: "{url}"}}}}
environments:
  staging:
    repository: configs
    branch: main
    path: environments/staging
    cluster: {{address: "http://127.0.0.1:9"}}
"""


class OneAtATime:
    """The fake cluster for threads: a pass and the API may look at the same moment."""

    def __init__(self, cluster: FakeCluster) -> None:
        """Wrap the cluster."""
        self._cluster = cluster
        self._lock = threading.Lock()

    def observe(self, *, resources: bool = False) -> Observation:
        """Look once."""
        with self._lock:
            return self._cluster.observe(resources=resources)

    def apply(self, rollout: Rollout, body: Mapping[str, Any]) -> None:
        """PUT."""
        with self._lock:
            self._cluster.apply(rollout, body)

    def remember(self, config: Mapping[str, Any]) -> None:
        """Keep its secrets."""
        self._cluster.remember(config)

    def probe(self, check: Check, live: Live) -> Answer:
        """One attempt of a check."""
        with self._lock:
            return self._cluster.probe(check, live)

    def log_tail(self, source: LogSource) -> str:
        """The end of a log."""
        with self._lock:
            return self._cluster.log_tail(source)


class DaemonSite:
    """A repository, a cluster, a daemon between them, and a person who types commands."""

    def __init__(self, root: Path) -> None:
        """Make the repository and the settings. Nothing runs until `running`."""
        self.root = root
        self.repo = BareRepo(root / "configs.git")
        self.state_dir = root / "state"
        self.settings = root / "deployer.yaml"
        self.settings.write_text(SETTINGS.format(root=root, url=self.repo.url))
        self.cluster_ahead = 0.0
        """So many seconds is the cluster's clock ahead: what never seems to start has started then."""
        self.cluster = FakeCluster(now=lambda: time.monotonic() * FASTER + self.cluster_ahead)
        self.store: SqlStore
        self.hub: Hub
        self.ahead = timedelta()
        """So far is the daemon's clock ahead of ours: what waits for minutes need not be waited for."""

    def now(self) -> datetime:
        """The time that the daemon goes by."""
        return datetime.now(UTC) + self.ahead

    def push(
        self, app: str = "good:app", *, message: str = "change", policy: str = QUICK, **more: Any
    ) -> str:
        """Push a config of one application `fruit`; the commit."""
        listed = {"name": "fruit", "import_path": app, "route_prefix": "/fruit", **HOLDING, **more}
        files = {
            f"{FOLDER}/serve_config.yaml": json.dumps({"applications": [listed]}),
            f"{FOLDER}/environment.yaml": policy,
        }
        return self.repo.commit(files, message=message)

    @contextmanager
    def running(self, *, poll_seconds: float = 3600.0) -> Iterator[None]:
        """Run the daemon in the block. It learns of a push from a command, unless the poll is short."""
        with statedir.lock(self.state_dir):
            self.store = SqlStore.open(self.state_dir / STORE_FILE)
            queue = WorkQueue()
            sources = Sources(
                repositories=[RepositorySpec(name="configs", url=self.repo.url, poll_seconds=poll_seconds)],
                environments=[
                    EnvironmentSource(
                        environment=NAME, repository="configs", source=Branch("main"), path=FOLDER
                    )
                ],
                mirrors_dir=self.state_dir / "mirrors",
                enqueue=queue.add,
                watch=False,
            )
            clusters = {NAME: OneAtATime(self.cluster)}
            settings = load(self.settings, {})
            outbox, passes, self.hub = Outbox(OutboxStore(self.store.database)), Passes(), Hub()
            measured = Metrics(
                environments=(NAME,),
                repositories=("configs",),
                schemes={},
                sources=sources,
                store=self.store,
                store_path=self.state_dir / STORE_FILE,
                queue_depth=queue.depth,
                subscribers=lambda: self.hub.listeners,
            )
            reconciler = Reconciler(
                store=measured.store(self.store),
                sources=sources,
                clusters=clusters,
                now=self.now,
                listeners=(outbox, passes, self.hub, measured),
            )
            controller = Controller(
                environments=(NAME,),
                passes=passes.of(reconciler),
                queue=queue,
                sources=sources,
                outbox=outbox,
                notifier=Notifier(),
                workers=2,
            )
            journal = Journal(self.store, environments=(NAME,), commit=reconciler.commit, now=self.now)
            service = Service(
                store=self.store,
                sources=sources,
                clusters=clusters,
                passes=passes,
                repositories={NAME: "configs"},
                commit=reconciler.commit,
                enqueue=lambda name: queue.add(name, front=True),
                now=self.now,
                journal=journal,
            )
            is_started = False
            try:
                with (
                    faces.prepared(settings) as ready,
                    faces.serving(
                        settings,
                        ready=ready,
                        explained=explained(settings, self.settings, {}),
                        store=self.store,
                        sources=sources,
                        service=service,
                        hub=self.hub,
                        measured=measured,
                        hooks=None,
                        doctor=dict,
                        now=self.now,
                        gating=lambda _environment, _commit: gates.NONE,
                        promoter=no_promotions(self.store),
                        journal=journal,
                        outbox=outbox,
                    ),
                ):
                    # Not before: pydantic and FastAPI both switch a warning off while they make their
                    # schemas, for the whole process, and here each warning of a second thread is an error.
                    controller.start()
                    is_started = True
                    yield
            finally:
                if is_started:
                    controller.stop()
                measured.close()
                self.store.close()

    def type(self, *args: str) -> Result:
        """Type `deployer ARGS`; what it printed and its exit code."""
        return CliRunner().invoke(cli, [*args, "-c", str(self.settings)])

    def json(self, *args: str) -> Any:
        """The same with `-o json`, for a command that ends well."""
        result = self.type(*args, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def api(self) -> tuple[str, str]:
        """Where the API is, and its token."""
        found = json.loads((self.state_dir / "api.json").read_text())
        return found["url"], found["token"]

    def http(self, method: str, path: str, **more: Any) -> requests.Response:
        """One raw request, with nothing added."""
        url, _ = self.api()
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{url}{path}", timeout=10, **more)
