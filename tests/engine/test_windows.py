"""The vision tower's windows as a batch: what the library computes window by window, in a few calls."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from trlt.engine import window_attention as windows
from trlt.engine.window_attention import use_windows

SDPA = "transformers.integrations.sdpa_attention.torch.nn.functional.scaled_dot_product_attention"


def tower(path, dtype="float32"):
    from transformers import Qwen2_5_VLForConditionalGeneration

    return Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=dtype, attn_implementation="sdpa").eval()


def patches(grids):
    count = int(sum(t * h * w for t, h, w in grids))
    return torch.randn(count, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(count)), torch.tensor(grids)


@pytest.mark.parametrize("grids", [[(3, 8, 16)], [(4, 12, 18)], [(2, 4, 6)], [(2, 10, 12), (3, 8, 8), (1, 22, 2)]])
def test_batched_windows_give_the_librarys_features_and_gradients(published, grids):
    model = tower(published("3b", "float32"))
    pixels, grid = patches(grids)
    with mock.patch(SDPA, wraps=torch.nn.functional.scaled_dot_product_attention) as single:
        expected = model.model.visual(pixels, grid).pooler_output
    expected.square().mean().backward()
    gradient = model.model.visual.blocks[0].attn.qkv.weight.grad.clone()
    model.zero_grad()
    use_windows(model)
    with mock.patch.object(windows, "scaled_dot_product_attention", wraps=windows.scaled_dot_product_attention) as batched:
        found = model.model.visual(pixels, grid).pooler_output
    found.square().mean().backward()
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    ours = model.model.visual.blocks[0].attn.qkv.weight.grad
    assert float((ours - gradient).norm() / gradient.norm()) < 1e-5
    # Windows are 8 x 8 patches, those at the right and lower edges smaller; the other two blocks attend to whole frames.
    sizes = {min(8, h - y) * min(8, w - x) for _, h, w in grids for y in range(0, h, 8) for x in range(0, w, 8)}
    frames = {h * w for _, h, w in grids}
    assert batched.call_count == 2 * len(sizes) + 2 * len(frames)
    every = sum(t * -(-h // 8) * -(-w // 8) for t, h, w in grids), sum(t for t, _, _ in grids)
    assert single.call_count == 2 * sum(every)


def test_a_long_clip_takes_one_call_a_block(published):
    """768 frames under a budget of 2,048 tokens: 384 windows of 16 patches a block."""
    model = tower(published("3b", "bfloat16"), "bfloat16")
    use_windows(model)
    pixels, grid = patches([(384, 4, 4)])
    with (
        torch.no_grad(),
        mock.patch.object(windows, "scaled_dot_product_attention", wraps=windows.scaled_dot_product_attention) as one,
    ):
        model.model.visual(pixels.bfloat16(), grid)
    assert one.call_count == 4
