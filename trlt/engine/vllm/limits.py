"""How long prompts can be, and how large a clip: vLLM sets memory aside by it. Knows budgets and texts; nothing of vLLM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trlt.engine.families import Family
from trlt.recipe import Video
from trlt.task.prompt import Prompt

TEMPLATE_TOKENS = 64
"""Most tokens that a chat template adds to the words."""
BATCHED_TOKENS = 8192
"""Least tokens that vLLM computes at once; a clip must fit in whole."""
SIDE = 16
"""Tokens of a frame's height and width in the video that vLLM tries its memory with."""


def clip_tokens(video: Video, family: Family) -> int:
    """A bound on a clip's own tokens: a frame's least size goes before the budget, and sides are whole tokens."""
    return math.ceil(1.25 * max(video.max_tokens, _patches(video, family) * video.min_tokens))


def most_tokens(video: Video, words: Sequence[Prompt], family: Family) -> int:
    """A bound on a prompt's tokens, the text of times included: a token of text has at least one byte."""
    text = max((len(f"{one.system}{one.user}".encode("utf-8", "surrogatepass")) for one in words), default=0)
    return clip_tokens(video, family) + _patches(video, family) * family.time_tokens + text + TEMPLATE_TOKENS


def per_prompt(video: Video, family: Family) -> dict[str, Any]:
    """What may be in a prompt, as vLLM's `limit_mm_per_prompt`: one video, of at most so many tokens.

    Otherwise memory is set aside for pictures that never come, and for a video of 16,384 tokens.
    """
    tokens, geometry = clip_tokens(video, family), family.geometry
    # Where times stand in the text, vLLM tries no more than one pair of frames, which then has to have all of the tokens.
    side = math.ceil(math.sqrt(tokens)) if family.time_in == "text" else SIDE
    frames, pixels = math.ceil(tokens / side**2) * geometry.temporal, side * geometry.side
    return {"image": 0, "video": {"count": 1, "num_frames": frames, "width": pixels, "height": pixels}}


def _patches(video: Video, family: Family) -> int:
    """Temporal patches of a clip, at most."""
    return video.max_frames // family.geometry.temporal
