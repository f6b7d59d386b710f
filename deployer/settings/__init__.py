"""The daemon's settings (`deployer.yaml`), validated once at start: all of them, or every error at once."""

from deployer.settings._find import candidates, default_state_dir
from deployer.settings._load import load
from deployer.settings._models import (
    Cluster,
    Environment,
    GithubApp,
    Log,
    Repository,
    Server,
    Settings,
    Signatures,
    Tags,
    Webhook,
)

__all__ = [
    "Cluster",
    "Environment",
    "GithubApp",
    "Log",
    "Repository",
    "Server",
    "Settings",
    "Signatures",
    "Tags",
    "Webhook",
    "candidates",
    "default_state_dir",
    "load",
]
