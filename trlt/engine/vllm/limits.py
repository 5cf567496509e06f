"""How long prompts can be, and how large a clip: vLLM sets memory aside by it. Knows budgets and texts; nothing of vLLM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trlt.recipe import Video
from trlt.task.prompt import Prompt
from trlt.video.geometry import Geometry

GEOMETRY = Geometry()

TEMPLATE_TOKENS = 64
"""Most tokens that a chat template adds to the words."""
BATCHED_TOKENS = 8192
"""Least tokens that vLLM computes at once; a clip must fit in whole."""
SIDE = 16
"""Tokens of a frame's height and width in the video that vLLM tries its memory with."""


def clip_tokens(video: Video) -> int:
    """A bound on a clip's tokens: a frame's least size goes before the budget, and sides are whole tokens."""
    return math.ceil(1.25 * max(video.max_tokens, video.max_frames // GEOMETRY.temporal * video.min_tokens))


def most_tokens(video: Video, words: Sequence[Prompt]) -> int:
    """A bound on a prompt's tokens: a token of text has at least one byte."""
    text = max((len(f"{one.system}{one.user}".encode("utf-8", "surrogatepass")) for one in words), default=0)
    return clip_tokens(video) + text + TEMPLATE_TOKENS


def per_prompt(video: Video) -> dict[str, Any]:
    """What may be in a prompt, as vLLM's `limit_mm_per_prompt`: one video, of at most so many tokens.

    Otherwise memory is set aside for pictures that never come, and for a video of 16,384 tokens.
    """
    grids = math.ceil(clip_tokens(video) / SIDE**2)
    pixels = SIDE * GEOMETRY.side
    return {"image": 0, "video": {"count": 1, "num_frames": grids * GEOMETRY.temporal, "width": pixels, "height": pixels}}
