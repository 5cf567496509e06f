"""A synthetic world, and experiments in it."""
