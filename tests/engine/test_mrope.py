"""The published rule of positions, by hand and against the library's where both agree."""

from __future__ import annotations

import torch

from trlt.engine.mrope import follow_published_positions

VIDEO = 2


def rope(model, kinds, seconds, grid=(3, 4, 4), mask=None):
    """Positions (3, B, T) and deltas (B, 1) of sequences of these kinds (0 text, 2 video), one video each."""
    kinds = torch.tensor(kinds)
    return model.model.get_rope_index(
        torch.zeros_like(kinds),
        mm_token_type_ids=kinds,
        video_grid_thw=torch.tensor([grid] * len(kinds)),
        second_per_grid_ts=torch.tensor([seconds] * len(kinds)),
        attention_mask=mask,
    )


def test_text_goes_on_after_the_videos_end(tiny):
    """Three words, a video of 3 x 2 x 2 tokens 25 s apart (2 positions a second), two words."""
    positions, deltas = rope(tiny.model, [[0] * 3 + [VIDEO] * 12 + [0] * 2], 25.0)
    assert positions[0, 0].tolist() == [0, 1, 2] + [3] * 4 + [53] * 4 + [103] * 4 + [104, 105]
    assert positions[1, 0].tolist() == [0, 1, 2] + [3, 3, 4, 4] * 3 + [104, 105]
    assert positions[2, 0].tolist() == [0, 1, 2] + [3, 4] * 6 + [104, 105]
    assert deltas.tolist() == [[106 - 17]], "what `generate` adds to a token's place"


def test_a_wide_video_is_placed_as_the_library_does(tiny):
    from transformers import Qwen2_5_VLForConditionalGeneration

    kinds = [[0] * 3 + [VIDEO] * 12 + [0] * 2]
    grid = (1, 6, 8)
    plain = Qwen2_5_VLForConditionalGeneration(tiny.model.config)
    ours, theirs = rope(tiny.model, kinds, 1.0, grid), rope(plain, kinds, 1.0, grid)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    long = rope(plain, kinds, 25.0)[0]
    assert long[0, 0, -2:].tolist() == [5, 6], "else the library has come back to the rule, and trlt/engine/mrope.py can go"


def test_padding_is_left_where_it_is(tiny):
    whole = [0] * 3 + [VIDEO] * 12 + [0] * 4
    kinds = [whole, [0, 0, *whole[:-2]]]
    mask = torch.ones(2, len(whole), dtype=torch.long)
    mask[1, :2] = 0
    positions, deltas = rope(tiny.model, kinds, 25.0, mask=mask)
    alone, delta = rope(tiny.model, [whole[:-2]], 25.0)
    assert torch.equal(positions[:, 1, 2:], alone[:, 0]) and positions[:, 1, :2].eq(0).all()
    assert deltas[1].item() == delta.item() and deltas[0].item() == 108 - 19


def test_it_is_done_once(tiny):
    first = tiny.model.model.get_rope_index
    follow_published_positions(tiny.model)
    assert tiny.model.model.get_rope_index is first


def test_weights_may_say_that_they_follow_the_library(tiny, tmp_path):
    """Such weights stay so when they are saved and loaded again."""
    from trlt.engine.model import load, save
    from trlt.recipe import Model

    tiny.model.config.text_after_video = "library"
    save(tiny.model, tiny.processor, tmp_path)
    again = load(Model(path=str(tmp_path), dtype="float32", device="cpu")).model
    assert "get_rope_index" not in vars(again.model)
    assert rope(again, [[0] * 3 + [VIDEO] * 12 + [0] * 2], 25.0)[0][0, 0, -2:].tolist() == [5, 6]
