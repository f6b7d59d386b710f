"""What can go wrong with the store, named by what the caller does next.

Owns the three errors. Must not know the database below. Invariant: whichever is raised, the call that
raised it made nothing durable that a later read would show as half done.
"""

from __future__ import annotations


class StoreError(Exception):
    """Any of the errors below."""


class Conflict(StoreError):  # noqa: N818 - named by what happened: load again, decide again
    """Somebody else appended to this history since the record was loaded. Nothing was written."""


class StoreUnavailable(StoreError):  # noqa: N818 - named by what the caller does next: try again later
    """The store cannot be used now: disk full, I/O error, locked, closed, not there, or of a newer version.

    Nothing was written; once the cause is gone, the same call works.
    """


class StoreCorrupt(StoreError):  # noqa: N818 - named by what the caller does next: stop, a person must look
    """What is stored is not what was written. It is never repaired or made anew without a person."""
