"""Figures, each beside its floor or its peer in the same run. `python -m benchmarks` runs them all."""
