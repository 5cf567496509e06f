"""trlt: reinforcement learning tuning for video language models."""

__version__ = "0.1.0"
