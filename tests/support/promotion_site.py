"""Three environments in a line over a real git server, the whole daemon in this process, and fake clusters.

dev follows `main`, staging `env/staging`, production `env/production`: the same folder in each. What is wired
is what `deployer run` wires (`deployer.cli.daemon.running`); only Ray is not real, and answers over HTTP.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import requests
import yaml
from click.testing import CliRunner
from structlog.testing import capture_logs

from deployer.cli.daemon import running
from deployer.cli.main import cli
from deployer.settings import load
from tests.support import git_server
from tests.support.daemon_site import HOLDING
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import FakeRay
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

NAMES = ("dev", "staging", "production")
BRANCHES = {"dev": "main", "staging": "env/staging", "production": "env/production"}

QUICK = "health: {stability_window: 0s}\nsoak: 0s\n"
FASTER = 20
"""The clusters' clocks run so many times as fast as ours."""

POLL_SECONDS = 3600.0
"""The daemon learns of a push from a command."""


class PromotionSite:
    """A repository behind a git server, three clusters, a daemon, and people who type commands."""

    def __init__(
        self,
        root: Path,
        *,
        can_push: bool = True,
        repository: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        **environments: dict[str, Any],
    ) -> None:
        """Make the repository. Nothing runs until `running`.

        `environments` are more settings of each, `repository` those of the repository, `more` all others.
        """
        self.root = root
        self.repo = BareRepo(root / "git" / "configs.git")
        self.settings = root / "deployer.yaml"
        self.state_dir = root / "state"
        self.clusters = {name: FakeCluster(now=lambda: time.monotonic() * FASTER) for name in NAMES}
        self._can_push = can_push
        self._repository = repository or {}
        self._more = more or {}
        self._environments = environments

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve git, answer for the clusters, and run the daemon."""
        with ExitStack() as stack:
            git = stack.enter_context(git_server.serving(self.root / "git"))
            rays = {
                name: stack.enter_context(FakeRay(fake, lambda *_: True))
                for name, fake in self.clusters.items()
            }
            repository: dict[str, Any] = {
                "url": git.url("configs.git"), "poll_interval": f"{POLL_SECONDS:g}s",
            }  # fmt: skip
            if self._can_push:
                repository["write"] = {}
            repository |= self._repository
            settings = {
                "state_dir": str(self.state_dir),
                "server": {"listen": "127.0.0.1:0"},
                "repositories": {"configs": repository},
                "environments": {
                    name: {
                        "repository": "configs",
                        "branch": BRANCHES[name],
                        "path": "serve",
                        "cluster": {"address": rays[name].address, "serve_address": rays[name].address},
                        **self._environments.get(name, {}),
                    }
                    for name in NAMES
                },
                **self._more,
            }
            self.settings.write_text(yaml.safe_dump(settings, sort_keys=False))
            loaded = load(self.settings, {})
            with running(loaded):
                yield

    def push(self, price: int, *, branch: str = "main", app: str = "good:app", **more: Any) -> str:
        """Push another config of one application; the commit."""
        listed = {
            "name": "fruit", "import_path": app, "route_prefix": "/fruit", "args": {"price": price},
            **HOLDING,
        }  # fmt: skip
        files = {
            "serve/serve_config.yaml": json.dumps({"applications": [listed]}),
            "serve/environment.yaml": QUICK,
        }
        return self.repo.commit(files, branch=branch, message=f"price {price}", **more)

    def head(self, name: str) -> str:
        """Where the branch of an environment is."""
        return self.repo.git("rev-parse", f"refs/heads/{BRANCHES[name]}")

    def type(self, *args: str, token: str | None = None) -> Result:
        """Type `deployer ARGS`; with the token of a person, if one is given."""
        more = []
        if token is not None:
            more = ["--token-file", str(self.keep(token))]
        # The daemon logs to the same stdout, in its threads.
        with capture_logs():
            return CliRunner().invoke(cli, [*args, "-c", str(self.settings), *more])

    def keep(self, token: str) -> Path:
        """A file with this token, that nobody else reads."""
        file = self.root / "token"
        file.touch(mode=0o600)
        file.write_text(token)
        return file

    def json(self, *args: str, token: str | None = None) -> Any:
        """The same with `-o json`, for a command that ends well."""
        result = self.type(*args, "-o", "json", token=token)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def give(self, name: str, role: str, *environments: str) -> str:
        """Make a token; its secret."""
        only = [part for one in environments for part in ("-e", one)]
        secret: str = self.json("token", "create", name, "--role", role, *only)["secret"]
        return secret

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
        """A request to the API, or to a page."""
        found = json.loads((self.state_dir / "api.json").read_text())
        headers = {"Authorization": f"Bearer {token or found['token']}", **more.pop("headers", {})}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, f"{found['url']}{path}", headers=headers, timeout=60, allow_redirects=False, **more
            )

    def settle(self, name: str) -> None:
        """What git wants there is good."""
        result = self.type("sync", name, "--wait")
        assert result.exit_code == 0, result.output
