"""Adapter for Ray Serve's REST API: look at a cluster, and send it a config."""

from deployer.adapters.serve.client import Limits, ServeCluster
from deployer.adapters.serve.errors import Rejected, Unclear

__all__ = ["Limits", "Rejected", "ServeCluster", "Unclear"]
