"""Layer 1: the adapters. Each owns one thing outside and translates its errors at its edge."""
