"""How talking to a cluster can go wrong, named by what the caller does next.

Owns the errors of this package. Must not know HTTP. Invariant: what leaves the package (`Rejected`,
`Unclear`, `LogUnavailable`) is one line for people, without secret values; the others never leave it.
"""

from __future__ import annotations


class Rejected(Exception):  # noqa: N818 - says what Serve did; the caller decides whether that is an error
    """Serve refused the config (a 400).

    `half_applied` False: it was refused as a whole, and nothing changed. True: Serve's controller failed
    while it applied the config, so some applications have it and some hang. A good config must then be
    sent before that controller restarts, or it never starts again (measured, 2.60).
    """

    def __init__(self, message: str, *, half_applied: bool) -> None:
        """Take the sentence for people."""
        super().__init__(message)
        self.message = message
        self.half_applied = half_applied


class Unclear(Exception):  # noqa: N818 - as above
    """Nobody knows whether the config was applied: read back, then decide. `why` is a sentence."""

    def __init__(self, why: str) -> None:
        """Take the sentence for people."""
        super().__init__(why)
        self.why = why


class LogUnavailable(Exception):  # noqa: N818 - as above
    """A replica's log cannot be had. `why` is a sentence. Nothing follows from it: a log is evidence only."""

    def __init__(self, why: str) -> None:
        """Take the sentence for people."""
        super().__init__(why)
        self.why = why


class NoAnswer(Exception):  # noqa: N818 - a fact about the network or the server
    """Nothing usable came. `cause` is half a sentence, `step` what a person can do, as a sentence."""

    def __init__(self, *, cause: str, step: str) -> None:
        """Take both halves of what a person reads."""
        super().__init__(cause)
        self.cause = cause
        self.step = step


class NotConnected(NoAnswer):
    """There was nobody to ask."""


class BadAnswer(Exception):  # noqa: N818 - a fact about the server
    """Something came, but it is not what Serve answers. `cause` is half a sentence."""

    def __init__(self, *, cause: str) -> None:
        """Take half a sentence."""
        super().__init__(cause)
        self.cause = cause
