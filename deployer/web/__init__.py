"""The faces of the daemon that are not the command line: the HTTP API, the pages, webhooks, metrics.

Imported by the daemon alone: FastAPI and uvicorn take a quarter of a second of CPU. `deployer.cli.faces` puts
the parts together.
"""

from deployer.web.hooks import Hooks, HookSpec
from deployer.web.hub import Hub
from deployer.web.metrics import Metrics
from deployer.web.passes import Passes
from deployer.web.server import serving
from deployer.web.service import Service

__all__ = ["HookSpec", "Hooks", "Hub", "Metrics", "Passes", "Service", "serving"]
