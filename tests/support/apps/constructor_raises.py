"""A Serve application that imports well and whose replica cannot start."""

from __future__ import annotations

from ray import serve


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0})
class Broken:
    """Never starts."""

    def __init__(self) -> None:
        """Raise, as a class does that misses its model file."""
        message = "no model file at models/fruit.bin"
        raise FileNotFoundError(message)


app = Broken.bind()
