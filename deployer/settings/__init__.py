"""The daemon's settings (`deployer.yaml`), validated once at start: all of them, or every error at once."""

from deployer.settings._audit import Audit, AuditPush
from deployer.settings._find import candidates, default_state_dir
from deployer.settings._forge import App, Forge
from deployer.settings._gates import Approvals, Freeze, Gates, Window, gate_rules
from deployer.settings._load import load
from deployer.settings._models import (
    Cluster,
    Environment,
    Log,
    Server,
    Settings,
    Signatures,
    Tags,
    Tls,
    TrustedProxy,
)
from deployer.settings._notify import Route, routes
from deployer.settings._origins import Setting, explained
from deployer.settings._people import Person
from deployer.settings._promote import Promote
from deployer.settings._repositories import GithubApp, Repository, Webhook, Write

__all__ = [
    "App",
    "Approvals",
    "Audit",
    "AuditPush",
    "Cluster",
    "Environment",
    "Forge",
    "Freeze",
    "Gates",
    "GithubApp",
    "Log",
    "Person",
    "Promote",
    "Repository",
    "Route",
    "Server",
    "Setting",
    "Settings",
    "Signatures",
    "Tags",
    "Tls",
    "TrustedProxy",
    "Webhook",
    "Window",
    "Write",
    "candidates",
    "default_state_dir",
    "explained",
    "gate_rules",
    "load",
    "routes",
]
