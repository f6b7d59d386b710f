"""Repositories that were made to hurt: `python -m tests.hostile DIR` writes them."""
