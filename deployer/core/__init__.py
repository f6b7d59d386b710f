"""Layer 0: the pure core. No I/O, no clock, no threads, no randomness: all four are arguments."""
