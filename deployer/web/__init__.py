"""The HTTP API on loopback: how the commands reach the daemon. `serving` runs it beside the engine.

Imported by the daemon alone: FastAPI and uvicorn take a quarter of a second of CPU.
"""

from deployer.web.hooks import Hooks, HookSpec
from deployer.web.passes import Passes
from deployer.web.server import serving
from deployer.web.service import Service

__all__ = ["HookSpec", "Hooks", "Passes", "Service", "serving"]
