"""Layer 2: the engine. The queue, one pass, the triggers, and the controller that owns the threads."""
