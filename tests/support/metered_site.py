"""A daemon with its metrics, in this process: real git, real store, real guard, real HTTP, a fake cluster."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import requests
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from deployer.adapters.store import OutboxStore, SqlStore
from deployer.core.source import Branch
from deployer.core.tokens import Role
from deployer.engine.controller import Controller
from deployer.engine.outbox import Outbox
from deployer.engine.reconcile import Reconciler
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from deployer.web import server
from deployer.web.access import opener
from deployer.web.guard import Guard
from deployer.web.hooks import PREFIX, Hooks, HookSpec
from deployer.web.metrics import Metrics, router
from tests.support.daemon_site import FASTER, FOLDER, QUICK, OneAtATime
from tests.support.door import Keys
from tests.support.fake_cluster import FakeCluster
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

NAMES = ("staging", "production")
SECRET = "0123456789abcdef0123456789abcdef"

Samples = dict[tuple[tuple[str, str], ...], float]


@dataclass(kw_only=True)
class Scrape:
    """What `/metrics` answered: `values` by metric, then by its labels."""

    text: str
    values: dict[str, Samples] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read it as Prometheus does."""
        for family in text_string_to_metric_families(self.text):
            for one in family.samples:
                labels = tuple(sorted(one.labels.items()))
                assert labels not in self.values.setdefault(one.name, {}), "a series is there twice"
                self.values[one.name][labels] = one.value

    def value(self, name: str, **labels: str) -> float | None:
        """One series; None if it is not there."""
        return self.values.get(name, {}).get(tuple(sorted(labels.items())))

    def present(self, name: str) -> set[tuple[str, str]]:
        """Of a one-hot family with an environment: the series that are 1."""
        return {
            (dict(labels)["environment"], next(value for key, value in labels if key != "environment"))
            for labels, value in self.values[name].items()
            if value
        }

    def label_values(self) -> dict[tuple[str, str], set[str]]:
        """The values of each label of each metric."""
        found: dict[tuple[str, str], set[str]] = {}
        for name, samples in self.values.items():
            for labels in samples:
                for key, value in labels:
                    found.setdefault((name, key), set()).add(value)
        return found


class MeteredSite:
    """`staging` follows a repository, `production` a branch that is not there."""

    def __init__(self, root: Path) -> None:
        """Make the repository and the tokens. Nothing runs until `running`."""
        self.repo = BareRepo(root / "configs.git")
        self.state_dir = root / "state"
        self.state_dir.mkdir()
        self.cluster = FakeCluster(now=lambda: time.monotonic() * FASTER)
        self.keys = Keys(root)
        self.secret_file = root / "webhook.secret"
        self.secret_file.write_text(SECRET)
        self.secret_file.chmod(0o600)
        self.metrics: Metrics
        self.url: str

    def push(self, app: str = "good:app", **more: Any) -> str:
        """Push a config of one application `fruit`; the commit."""
        listed = {"name": "fruit", "import_path": app, "route_prefix": "/fruit", **more}
        files = {
            f"{FOLDER}/serve_config.yaml": json.dumps({"applications": [listed]}),
            f"{FOLDER}/environment.yaml": QUICK,
        }
        return self.repo.commit(files, message="a subject")

    @contextmanager
    def running(self, *, poll_seconds: float = 0.2) -> Iterator[None]:
        """Run the daemon in the block."""
        path = self.state_dir / "deployer.db"
        with ExitStack() as stack:
            store = stack.enter_context(closing(SqlStore.open(path)))
            queue = WorkQueue()
            sources = Sources(
                repositories=[RepositorySpec(name="configs", url=self.repo.url, poll_seconds=poll_seconds)],
                environments=[
                    EnvironmentSource(
                        environment=name, repository="configs", source=Branch(branch), path=FOLDER
                    )
                    for name, branch in zip(NAMES, ("main", "nowhere"), strict=True)
                ],
                mirrors_dir=self.state_dir / "mirrors",
                enqueue=queue.add,
                watch=False,
            )
            metrics = self.metrics = stack.enter_context(
                closing(
                    Metrics(
                        environments=NAMES,
                        repositories=["configs"],
                        schemes={"configs": "github"},
                        sources=sources,
                        store=store,
                        store_path=path,
                        queue_depth=queue.depth,
                        subscribers=lambda: 3,
                    )
                )
            )
            outbox = Outbox(OutboxStore(store.database))
            reconciler = Reconciler(
                store=metrics.store(store),
                sources=sources,
                clusters=dict.fromkeys(NAMES, OneAtATime(self.cluster)),
                now=lambda: datetime.now(UTC),
                listeners=(outbox, metrics),
            )
            controller = Controller(
                environments=NAMES,
                passes=metrics.passes(reconciler),
                queue=queue,
                sources=sources,
                outbox=outbox,
                notifier=Notifier(),
                workers=2,
            )
            spec = HookSpec(scheme="github", secret_file=self.secret_file)
            faces = self._faces(metrics, Hooks({"configs": spec}, sources.hooked))
            # Not before the routes are made: see `daemon_site`.
            stack.callback(controller.stop)
            controller.start()
            self.url = stack.enter_context(
                server.serving(faces, self.state_dir, host="127.0.0.1", port=0, token=self.keys.local)
            )
            yield

    def _faces(self, metrics: Metrics, hooks: Hooks) -> ASGIApp:
        app = FastAPI(openapi_url=None, redirect_slashes=False)
        app.include_router(router(metrics))
        guarded = metrics.requests(Guard(app, self.keys.door(), opener(app)), app.routes)
        counted = metrics.hooks(hooks)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            await (counted if scope["path"].startswith(PREFIX) else guarded)(scope, receive, send)

        return front

    def get(
        self, path: str = "/metrics", *, role: Role | None = Role.VIEWER, environments: Any = None
    ) -> requests.Response:
        """One request with a token of its own; without a role, without one."""
        headers = {}
        if role is not None:
            headers["Authorization"] = f"Bearer {self.keys.give(role, environments=environments)}"
        return self._request("GET", path, headers=headers)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        """One webhook."""
        return self._request("POST", path, headers=headers, data=body)

    def scrape(self, **more: Any) -> Scrape:
        """Read the metrics."""
        answer = self.get(**more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(text=answer.text)

    def _request(self, method: str, path: str, **more: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{self.url}{path}", timeout=10, **more)
