"""Prompts and clips -> completions. Knows tensors and tokens; never answers or rewards."""
