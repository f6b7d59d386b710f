"""Adapter for Ray Serve's REST API: look at a cluster, and send it a config."""

from deployer.adapters.serve.client import ServeCluster
from deployer.adapters.serve.errors import Rejected, Unclear

__all__ = ["Rejected", "ServeCluster", "Unclear"]
