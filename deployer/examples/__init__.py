"""Applications that ship with the project, for the demo and the tour."""
