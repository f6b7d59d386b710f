"""Layer 1: the adapters. Each owns one thing outside (git, Serve, the store) and translates its errors at its edge."""
