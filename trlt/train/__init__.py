"""Samples become tuned weights: GRPO, SFT, and what a run would take."""
