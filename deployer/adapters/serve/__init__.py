"""Adapter for Ray Serve's REST API: look at a cluster, send it a config, ask its applications."""

from deployer.adapters.serve.client import Limits, ServeCluster
from deployer.adapters.serve.errors import LogUnavailable, Rejected, Unclear
from deployer.adapters.serve.secrecy import Secrecy

__all__ = ["Limits", "LogUnavailable", "Rejected", "Secrecy", "ServeCluster", "Unclear"]
