"""Tunes weights on samples: GRPO, SFT, and the estimated cost of a run."""
