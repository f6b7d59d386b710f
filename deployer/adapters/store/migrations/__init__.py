"""Alembic's side of the store: how a database of an older version becomes one of this version.

A step is a module in `versions/`, named and numbered one higher than the last (`r0002_...`, revision
`0002`). Add it together with: the same change in `tables.py`, `REVISION` there, and what an old store
holds in `tests/migration/` (its README says how). A step that has been released is never changed.
"""
