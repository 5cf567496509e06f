"""vLLM's positions of a prompt: which are taken for right, and how a wrong one is named."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from trlt.engine.inputs import ClipInputs, InputBuilder, PromptInputs
from trlt.engine.vllm import positions

TOKENS_PER_SECOND = 2


@pytest.fixture
def place(tiny):
    """The trainer's prompt about a clip of so many grids, each of so many tokens."""
    builder = InputBuilder(tiny.model, tiny.processor)

    def made(grids: int, seconds: float, rows: int = 2, columns: int = 2) -> tuple[PromptInputs, ClipInputs]:
        clip = ClipInputs(None, torch.tensor([[grids, 2 * rows, 2 * columns]]), seconds, grids * rows * columns)
        return builder.prompt("You see a video.", "What moves?", clip), clip

    return made


def by_vllm(prompt: PromptInputs, clip: ClipInputs, factor: float) -> np.ndarray:
    """As vLLM 0.32 computes them: a product of Python floats for each grid, cut to a whole number."""
    [[grids, height, width]] = clip.grid.tolist()
    start = len(prompt.prefix) - 1 - clip.tokens
    rows = [[i, i, i] for i in range(start)]
    for t in range(grids):
        rows += [[start + int(t * factor), start + h, start + w] for h in range(height // 2) for w in range(width // 2)]
    after = max(max(row) for row in rows) + 1
    return np.array(rows + [[after + i] * 3 for i in range(1 + len(prompt.suffix))]).T


def factor_of(seconds: float) -> float:
    return float(np.float32(seconds)) * TOKENS_PER_SECOND


def compare(found: np.ndarray, prompt: PromptInputs, clip: ClipInputs) -> positions.Rounded | str:
    return positions.compare(found.tolist(), prompt, clip, TOKENS_PER_SECOND)


def test_a_whole_product_may_be_rounded_down(place):
    """A clip of 42 frames in 21.7 s, whose grid 15 stands at 31 in float32; as vLLM 0.32's own function placed it."""
    prompt, clip = place(21, 2 / (42 / 651 * 30), 1, 1)
    start = len(prompt.prefix) - 1 - clip.tokens
    times = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 33, 35, 37, 39, 41]
    found = prompt.positions.numpy().copy()
    assert found[0, start + 15] == start + 31
    found[0, start : start + 21] = [start + time for time in times]
    assert np.array_equal(found, by_vllm(prompt, clip, factor_of(clip.seconds_per_grid)))
    assert compare(found, prompt, clip) == positions.Rounded(1, 21)
    assert compare(prompt.positions.numpy(), prompt, clip) == positions.Rounded(0, 21)
    found[0, start + 15] -= 1
    told = compare(found, prompt, clip)
    assert told == (
        f"on the temporal axis, for token {start + 15} (of the video), vLLM has {start + 29}, the trainer {start + 31} or "
        f"{start + 30} (times in float64); 1 of {found.size} differ"
    )


def test_the_text_after_a_last_grid_that_is_rounded_is_lower_too(place):
    prompt, clip = place(16, 2 / (42 / 651 * 30), 1, 1)
    found = by_vllm(prompt, clip, factor_of(clip.seconds_per_grid))
    assert found[0, -1] == int(prompt.positions[0, -1]) - 1
    assert compare(found, prompt, clip) == positions.Rounded(1, 16)
    half = found.copy()
    half[:, len(prompt.prefix) - 1 :] += 1
    assert f"for token {len(prompt.prefix) - 2} (of the video)" in compare(half, prompt, clip)


@pytest.mark.parametrize("seed", range(4))
def test_sound_clips_pass_and_every_shift_is_named(place, seed):
    drawn = random.Random(seed)
    rounded = 0
    for _ in range(40):
        frames = 2 * drawn.randint(1, 120)
        # Half of them as a budget of frames over a file's length gives rates: there the products are often whole.
        length = drawn.randint(frames, 40 * frames)
        fps = frames / length * drawn.choice([24, 25, 30, 30000 / 1001]) if drawn.random() < 0.5 else drawn.uniform(0.05, 8)
        prompt, clip = place(frames // 2, 2 / fps, drawn.randint(1, 2), drawn.randint(1, 2))
        found = by_vllm(prompt, clip, factor_of(clip.seconds_per_grid))
        known = compare(found, prompt, clip)
        assert isinstance(known, positions.Rounded), known
        rounded += known.grids > 0
        each = clip.tokens // known.of
        start = len(prompt.prefix) - 1 - clip.tokens
        grid = drawn.randrange(known.of)
        wrong = found.copy()
        wrong[0, start + grid * each : start + (grid + 1) * each] += 1
        ours = prompt.positions.numpy()
        if not np.array_equal(wrong, ours):
            told = compare(wrong, prompt, clip)
            token = start + grid * each
            assert isinstance(told, str) and f"on the temporal axis, for token {token} (of the video)" in told, told
            assert f"vLLM has {wrong[0, token]}, the trainer {ours[0, token]}" in told
        axis, token = drawn.randrange(3), drawn.randrange(found.shape[1])
        wrong = found.copy()
        wrong[axis, token] -= 1
        if not np.array_equal(wrong, ours):
            told = compare(wrong, prompt, clip)
            assert isinstance(told, str) and f"on the {positions.AXES[axis]} axis, for token {token} (" in told, told
        wrong = found.copy()
        wrong[:, start + clip.tokens :] -= 1
        told = compare(wrong, prompt, clip)
        assert isinstance(told, str) and f"for token {start + clip.tokens} (after the video)" in told, told
    assert rounded or seed


def test_another_rule_or_length_is_named(place):
    prompt, clip = place(12, 1.0)
    found = by_vllm(prompt, clip, 2.0)
    start, end = len(prompt.prefix) - 1 - clip.tokens, len(prompt.prefix) - 1
    by_library = found.copy()
    by_library[:, end:] += start + 2 - found[0, end]
    assert f"for token {end} (after the video), vLLM has {start + 2}, the trainer {start + 23}" in compare(
        by_library, prompt, clip
    )
    dropped = by_vllm(*place(12, 3.0), 2.0)
    told = compare(dropped, *place(12, 3.0))
    assert f"for token {start + 4} (of the video), vLLM has {start + 2}, the trainer {start + 6}" in told
    assert (
        compare(found[:, :-1], prompt, clip) == f"vLLM has [3, {found.shape[1] - 1}] of them, the trainer [3, {found.shape[1]}]"
    )
