"""Attention of the vision tower: windows of equal size as one batch.

Knows query, key and value tensors and where windows begin; never frames. The library calls SDPA once per window and block:
12,288 times for a clip of 768 frames and a tower of 32 blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface

NAME = "trlt_windows_flash"
"""The library hands all windows over at once to implementations that have `flash` in their name."""


class Windows(NamedTuple):
    """Windows by size."""

    sizes: tuple[tuple[int, int], ...]
    """(windows, patches of each) of every size."""
    order: Tensor | None
    """(N,) the patches, sorted by the size of their window; None where all windows have one size."""
    back: Tensor | None
    """(N,) the inverse of `order`."""


_known = WeakTensorKeyDictionary()
"""Bounds to their windows: all blocks of a pass get the same two tensors, and reading one waits for the GPU."""


def windows(bounds: Tensor) -> Windows:
    """Sorts windows by their size.

    Args:
        bounds: (windows + 1,) where each begins, and where the last ends.
    """
    if bounds not in _known:
        lengths = bounds.diff()
        sizes, counts = torch.unique(lengths, return_counts=True)
        # Windows at the edges are smaller where the sides of a frame aren't whole windows.
        order = back = None
        if len(sizes) > 1:
            # Stable: the patches of a window stay together, and in their order.
            order = lengths.repeat_interleave(lengths).sort(stable=True).indices
            back = order.argsort()
        _known[bounds] = Windows(tuple(zip(counts.tolist(), sizes.tolist(), strict=True)), order, back)
    found: Windows = _known[bounds]
    return found


def window_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attention within windows, as the library calls it.

    Args:
        module: The tower's.
        query: (1, H, N, D) of all patches.
        key: Like `query`.
        value: Like `query`.
        attention_mask: None.
        scaling: Factor on the scores.
        cu_seq_lens_q: (windows + 1,) where each window begins, and where the last ends.
        **unused: What other implementations take.

    Returns:
        (1, N, H, D), and no weights.
    """
    found = windows(cu_seq_lens_q)
    lengths = [count * size for count, size in found.sizes]
    states = [t[0] if found.order is None else t[0].index_select(1, found.order) for t in (query, key, value)]
    parts = []
    for (count, size), *some in zip(found.sizes, *(torch.split(t, lengths, dim=1) for t in states), strict=True):
        q, k, v = (t.reshape(len(t), count, size, -1).transpose(0, 1) for t in some)
        parts.append(scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2).flatten(0, 1))
    out = torch.cat(parts)
    return (out if found.back is None else out.index_select(0, found.back))[None], None


# Here and not in `use_windows`: a model that was pickled with its configuration needs it too.
AttentionInterface.register(NAME, window_attention)


def use_windows(model: Any) -> None:
    """Makes a vision tower attend to windows of equal size as one batch.

    In a configuration of the tower's own: the library can't make another model from one that names this implementation.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    shared = base.model.visual.config
    # The library can't make a second model from a configuration that names an implementation of ours.
    own = copy.copy(shared)
    own._attn_implementation = NAME
    for module in base.model.visual.modules():
        if getattr(module, "config", None) is shared:
            module.config = own


@contextmanager
def plain_windows(model: Any) -> Iterator[None]:
    """Lets the library attend window by window for a while, as it does by itself."""
    config = model.model.visual.config
    before = config._attn_implementation
    config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = before
