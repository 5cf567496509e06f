"""Tokens of the family that stand for no text. Knows their names only."""

VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
"""Never drawn: a sampled `<|video_pad|>` would be taken for a place of a video's feature."""
END_TOKENS = ("<|im_end|>", "<|endoftext|>")
"""Either ends a completion."""
