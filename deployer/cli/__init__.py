"""Layer 3: the command line. Thin: read models in, commands out."""
