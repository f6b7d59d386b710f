"""deployer: a GitOps deploy controller for Ray Serve."""

__version__ = "0.1.0"
