"""Measurements of speed: both sides in one run, in turn, on a random model. See README.md."""
