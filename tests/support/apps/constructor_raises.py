"""A Serve application that imports well and whose replica cannot start."""

import logging

from ray import serve


class Broken:
    """Never starts."""

    def __init__(self) -> None:
        """Raise, as a class does that misses its model file, and say before what was tried.

        This logger is the way into the replica's own log; what is printed goes to that of the process (2.60).
        """
        logging.getLogger("ray.serve").info("loading models/fruit.bin")
        message = "no model file at models/fruit.bin"
        raise FileNotFoundError(message)


app = serve.deployment(name="D", ray_actor_options={"num_cpus": 0})(Broken).bind()
