"""M-RoPE positions as the published weights were trained with; transformers 5.23 places the text after a video elsewhere.

Published rule: text after a picture or video continues one past the largest position that it takes on any axis. From 5.3 on,
the library continues after the larger of its height and width instead, so that the text after a long video is placed in the
middle of it. See docs/decisions/text-after-video.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
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
        model: Of Qwen2-VL or Qwen2.5-VL, whose rule it is; a second call changes nothing. It is saved as before.
    """
    inner = model.model
    if not isinstance(inner.get_rope_index, _PublishedRope) and not follows_library(model.config):
        # On this model alone: the class keeps the library's function, which the comparison with the library calls.
        inner.get_rope_index = _PublishedRope(inner.get_rope_index)


def follows_library(config: Any) -> bool:
    """Whether a model's configuration says that its weights were trained by the library's rule."""
    return getattr(config, RULE, None) == LIBRARY


class _PublishedRope:
    """A model's `get_rope_index` by the published rule.

    An object and no function, so that it is copied and pickled with its model.
    """

    def __init__(self, library: Callable[..., tuple[Tensor, Tensor]]) -> None:
        self._library = library
        self.__signature__ = inspect.signature(library)

    def __call__(
        self, input_ids: Tensor, mm_token_type_ids: Tensor, *args: Any, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Positions (3, B, T), and (B, 1) what `generate` adds to a token's place."""
        positions, _ = self._library(input_ids, mm_token_type_ids, *args, attention_mask=attention_mask, **kwargs)
        deltas = []
        for row, kinds in enumerate(mm_token_type_ids):
            every = torch.arange(len(kinds), device=kinds.device)
            # Padding keeps the positions that the library gave it.
            places = every if attention_mask is None else attention_mask[row].bool().nonzero()[:, 0]
            moved = _moved(positions[:, row, places], kinds[places])
            positions[:, row, places] = moved
            # `generate` adds this to a token's index in its own sequence: padding doesn't count.
            deltas.append(moved.max() + 1 - len(places))
        return positions, torch.tensor(deltas, device=input_ids.device)[:, None]


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
