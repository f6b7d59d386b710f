"""A Serve application that imports well and whose replica cannot start."""

from ray import serve


class Broken:
    """Never starts."""

    def __init__(self) -> None:
        """Raise, as a class does that misses its model file."""
        message = "no model file at models/fruit.bin"
        raise FileNotFoundError(message)


app = serve.deployment(name="D", ray_actor_options={"num_cpus": 0})(Broken).bind()
