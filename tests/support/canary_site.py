"""A daemon in a process of its own with a canary in every secret place, and a Ray that says them all back.

Owns where the canaries are. What the daemon writes, and all that a person can be shown, is for
`tests/integration/test_canaries.py` to search.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
import yaml
from click.testing import CliRunner

from deployer.cli.main import cli
from tests.contract.forge.fakes import PROJECT, serving
from tests.support import git_server
from tests.support.canaries import canary, plain_canary
from tests.support.eventually import eventually
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import APPLICATIONS, FakeRay
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.server import BaseHTTPRequestHandler

    from click.testing import Result

    from tests.support.arrivals import Arrival

FASTER = 20
"""The cluster's clock runs so many times as fast as ours."""

NAMES = ("staging", "production")
FOLDERS = {name: f"environments/{name}" for name in NAMES}

GIT, FORGE, RAY, HOOK, CHAT = (plain_canary(name) for name in ("git", "forge", "ray", "hook", "chat"))
"""What stands in the files that the settings name: tokens, and the secret of a webhook."""

VARIABLE, KEYED, IN_URL = canary("env"), canary("keyed"), plain_canary("url")

ENVIRON = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://ada:{plain_canary('otel')}@127.0.0.1:9",
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{plain_canary('header')}",
    "AWS_SECRET_ACCESS_KEY": plain_canary("aws"),
    "RAY_AUTH_TOKEN": plain_canary("variable"),
}
"""What else there is in the daemon's environment."""


def config(price: int, app: str = "good:app", **more: Any) -> dict[str, Any]:
    """A Serve config with canaries wherever people put secrets."""
    return {
        "applications": [
            {
                "name": "fruit",
                "import_path": app,
                "route_prefix": "/fruit",
                "args": {
                    "price": price,
                    "db_password": f"{KEYED} {price}",
                    "database": f"postgres://ada:{quote(IN_URL)}{price}@db.example.com/fruit",
                    "model": f"https://models.example.com/fruit.bin?access_token={IN_URL}{price}&v={price}",
                },
                "runtime_env": {
                    "working_dir": f"https://ada:{IN_URL}@example.com/{price}.zip",
                    "env_vars": {
                        "TOKEN": f"{VARIABLE} {price}",
                        "PEM": f"-----\n{canary('pem')}\n{price}-----",
                    },
                },
                "deployments": [
                    {
                        "name": "D",
                        "user_config": {"api_key": KEYED, "price": price},
                        "ray_actor_options": {"runtime_env": {"env_vars": {"INNER": canary("inner")}}},
                    }
                ],
                **more,
            }
        ]
    }


def policy(**more: Any) -> str:
    """An `environment.yaml` with one check."""
    check = {"app": "fruit", "path": "/fruit/healthz", "expect": {"json": {"is": "well"}}, "retries": 0}
    quick = {"health": {"stability_window": "0s"}, "soak": "0s", "checks": [check]}
    return yaml.safe_dump({**quick, **more})


def echoes(told: Any) -> str:
    """What it was told, in the spellings in which programs print it."""
    text = json.dumps(told)
    lines = [
        text,
        json.dumps(told, ensure_ascii=False),
        json.dumps(text),
        repr(told),
        *(repr(value) for value in _texts(told)),
        *(quote(value) for value in _texts(told)),
        *(quote(value, safe="") for value in _texts(told)),
        *(value for value in _texts(told)),
        *(base64.b64encode(value.encode()).decode() for value in _texts(told)),
    ]
    return "\n".join(lines)


def _texts(told: Any) -> list[str]:
    match told:
        case dict():
            return [text for inner in told.values() for text in _texts(inner)]
        case list():
            return [text for inner in told for text in _texts(inner)]
        case str():
            return [told]
        case _:
            return []


class EchoingRay(FakeRay):
    """A Ray that says back what it was sent, wherever it can say anything.

    While `status` is not 200 each answer is that, with an echo. While `denies` PUTs are refused with one.
    """

    def __init__(self, fake: FakeCluster) -> None:
        """Listen."""
        super().__init__(fake, lambda *_: True)
        self.status = 200
        self.denies = False
        self.is_well = True
        self.heard: dict[str, str] = {}
        self.asked: list[str] = []
        self._sent: Any = {}

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Remember the headers."""
        self.heard = dict(handler.headers)
        self.asked.append(f"{handler.command} {handler.path}")
        super().serve(handler)

    def echo(self) -> str:
        """All that it knows."""
        return f"heard {self.heard}\n{echoes(self._sent)}"

    def _answer(self, arrival: Arrival) -> tuple[int, str]:
        if arrival.method == "PUT":
            self._sent = json.loads(arrival.body)
        if self.status != 200:
            return self.status, self.echo()
        if arrival.is_probe:
            says = {"is": "well" if self.is_well else self.echo(), "token": KEYED}
            return 200, json.dumps(says)
        if arrival.method == "PUT" and self.denies:
            return 400, f"1 validation error for ServeDeploySchema\n{self.echo()}"
        status, text = super()._answer(arrival)
        path = arrival.path.partition("?")[0]
        if status == 200 and arrival.method == "GET" and path == APPLICATIONS:
            text = json.dumps(self._told(json.loads(text)))
        if path == "/api/v0/logs/file":
            text = f"INFO {self.echo()}\nERROR {self.echo()}\n"
        return status, text

    def _told(self, details: dict[str, Any]) -> dict[str, Any]:
        for app in details["applications"].values():
            app["message"] = f"{app['message']}\n{self.echo()}"
            for deployment in app["deployments"].values():
                deployment["message"] = f"{deployment['message']}\n{self.echo()}"
        return details


class CanarySite:
    """Two environments, a git server, a forge, two Rays, and the real command as the daemon."""

    def __init__(self, root: Path) -> None:
        """Make the repository."""
        self.root = root
        self.repo = BareRepo(root / "git" / "configs.git")
        self.settings = root / "deployer.yaml"
        self.state_dir = root / "state"
        self.printed = root / "printed"
        self.commands: set[tuple[str, ...]] = set()
        self.rays: dict[str, EchoingRay] = {}
        self.git: git_server.GitServer
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Everything but the daemon, inside the block."""
        with ExitStack() as stack:
            self.git = stack.enter_context(git_server.serving(self.root / "git", token=GIT))
            fake = stack.enter_context(serving("github", token=FORGE))
            for name in NAMES:
                cluster = FakeCluster(now=lambda: time.monotonic() * FASTER)
                self.rays[name] = stack.enter_context(EchoingRay(cluster))
            self.settings.write_text(yaml.safe_dump(self._settings(fake.api_url), sort_keys=False))
            watching = threading.Event()
            watch = threading.Thread(target=self._watch_commands, args=[watching])
            watch.start()
            try:
                yield
            finally:
                self.stop()
                watching.set()
                watch.join()

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("DEPLOYER_")}
        with self.printed.open("ab") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "run", "-c", str(self.settings)],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env={**environ, **ENVIRON},
            )
        eventually(self._answers, within=40, what="the daemon answers")

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def push(
        self, name: str, config_of: object, policy_of: str | None = None, *, message: str = "change"
    ) -> str:
        """Push what an environment is to run; the commit."""
        text = config_of if isinstance(config_of, str) else yaml.safe_dump(config_of, allow_unicode=True)
        files: dict[str, Any] = {
            f"{FOLDERS[name]}/serve_config.yaml": text,
            f"{FOLDERS[name]}/environment.yaml": policy() if policy_of is None else policy_of,
        }
        return self.repo.commit(files, message=message)

    def type(self, *args: str, env: Mapping[str, str] | None = None) -> Result:
        """Type `deployer ARGS`."""
        return CliRunner().invoke(cli, [*args, "-c", str(self.settings)], env=env)

    def json(self, *args: str) -> Any:
        """The same with `-o json`."""
        result = self.type(*args, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def api(self) -> dict[str, str]:
        """Where the API is, and its token."""
        found: dict[str, str] = json.loads((self.state_dir / "api.json").read_text())
        return found

    def ask(
        self, method: str, path: str, *, token: str | None = None, wait: float = 60.0, **more: Any
    ) -> requests.Response:
        """A request, with the daemon's own token unless another is given."""
        api = self.api()
        headers = {
            "Authorization": f"Bearer {api['token'] if token is None else token}",
            **more.pop("headers", {}),
        }
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, f"{api['url']}{path}", headers=headers, timeout=wait, allow_redirects=False, **more
            )

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.printed.read_text()
        with suppress(OSError, ValueError, KeyError, requests.RequestException):
            return self.ask("GET", "/readyz").status_code == 200
        return False

    def _settings(self, forge: str) -> dict[str, Any]:
        files = {name: self._secret(name, text) for name, text in _FILES.items()}
        return {
            "state_dir": str(self.state_dir),
            "server": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "debug"},
            "notify": {"people": {"apprise": {"url_file": files["chat"]}}},
            "repositories": {
                "configs": {
                    "url": self.git.url("configs.git"),
                    "poll_interval": "3600s",
                    "token_file": files["git"],
                    "webhook": {"scheme": "gitlab-token", "secret_file": files["hook"]},
                    "write": {"token_file": files["git"]},
                    "forge": {
                        "kind": "github", "api_url": forge, "project": PROJECT, "token_file": files["forge"],
                    },
                }
            },
            "environments": {
                name: {
                    "repository": "configs",
                    "branch": "main",
                    "path": FOLDERS[name],
                    "cluster": {
                        "address": self.rays[name].address,
                        "serve_address": self.rays[name].address,
                        "token_file": files["ray"],
                    },
                    **_GATED.get(name, {}),
                }
                for name in NAMES
            },
        }  # fmt: skip

    def _secret(self, name: str, text: str) -> str:
        path = self.root / f"{name}.secret"
        path.touch(mode=0o600)
        path.write_text(f"{text}\n")
        return str(path)

    def _watch_commands(self, over: threading.Event) -> None:
        """What others can read of the programs that the daemon starts: their command lines."""
        while not over.wait(0.005):
            if self._process is None:
                continue
            with suppress(OSError):
                for task in Path(f"/proc/{self._process.pid}/task").iterdir():
                    for child in (task / "children").read_text().split():
                        line = Path(f"/proc/{child}/cmdline").read_bytes()
                        self.commands.add(tuple(line.decode(errors="replace").split("\0")))


_FILES = {
    "git": GIT,
    "forge": FORGE,
    "ray": RAY,
    "hook": HOOK,
    # Nothing answers there, so that all which can be said of a failure is said.
    "chat": f"ntfy://{CHAT}@127.0.0.1:9/{CHAT}?x={CHAT}",
}

_GATED: Mapping[str, dict[str, Any]] = {
    "production": {
        "promote_from": "staging",
        "gates": {"approvals": {"required": 1, "from": ["lin"]}, "checks": ["ci/test"]},
    }
}
