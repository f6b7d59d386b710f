"""Which schema this version of deployer reads and writes."""

from __future__ import annotations

NEWEST = "0004"
"""The newest migration. Written here too, so that opening an up-to-date store needs no alembic (0.3 s)."""
