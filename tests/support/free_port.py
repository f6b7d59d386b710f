"""A port that nobody listens on, for servers that cannot be told to take any."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
