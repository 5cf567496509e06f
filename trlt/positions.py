"""M-RoPE positions as the published weights were trained with; transformers 5.23 places the text after a video elsewhere.

Published rule: text after a picture or video goes on one past the largest position that it takes on any axis. From 5.3 on, the
library goes on after the larger of its height and width instead, so that the text behind a long video is placed in the middle
of it. See docs/decisions/text-after-video.md.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor

RULE = "text_after_video"
"""Key of a model's config.json, for weights that were trained by another rule than the published: `library`."""
LIBRARY = "library"


def follow_published_positions(model: Any) -> None:
    """Makes a loaded model place text after a video as it was trained; `generate` and every forward pass follow.

    Weights that were trained with transformers 5.3 to 5.23 as it is say `"text_after_video": "library"` in their
    config.json, and are left to the library.

    Args:
        model: `Qwen2_5_VLForConditionalGeneration`; a second call changes nothing. It is saved as before.
    """
    inner = model.model
    library = inner.get_rope_index
    if getattr(library, "published", False) or getattr(model.config, RULE, None) == LIBRARY:
        return

    def get_rope_index(input_ids: Tensor, mm_token_type_ids: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        positions, _ = library(input_ids, mm_token_type_ids, *args, **kwargs)
        mask = kwargs.get("attention_mask")
        deltas = []
        for row, kinds in enumerate(mm_token_type_ids):
            places = mask[row].bool().nonzero()[:, 0] if mask is not None else torch.arange(len(kinds), device=kinds.device)
            moved = _moved(positions[:, row, places], kinds[places])
            positions[:, row, places] = moved
            deltas.append(moved.max() + 1 - len(places))
        return positions, torch.tensor(deltas, device=input_ids.device)[:, None]

    get_rope_index.published = True  # type: ignore[attr-defined]
    inner.get_rope_index = get_rope_index


def _moved(positions: Tensor, kinds: Tensor) -> Tensor:
    """Positions (3, T) of one sequence, each stretch moved to where the one before really ends.

    Args:
        positions: As the library has them.
        kinds: (T,) 0 for text, else picture or video.
    """
    moved = positions.clone()
    end, start = 0, 0
    for _, stretch in groupby(kinds.tolist()):
        stop = start + len(list(stretch))
        # A stretch begins with its smallest position on every axis.
        moved[:, start:stop] += end - int(positions[:, start].min())
        end = int(moved[:, start:stop].max()) + 1
        start = stop
    return moved
