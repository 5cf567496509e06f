"""Positions of simulated clips by vLLM's own function: the sound ones pass, and each shift is refused by its place."""

from __future__ import annotations

import json
import os
import random
import subprocess

import numpy as np
import pytest
import torch
from paths import TESTS
from real_server import PYTHON, needs_vllm

from trlt.engine.inputs import ClipInputs, InputBuilder, PromptInputs
from trlt.engine.model import load
from trlt.engine.vllm import positions
from trlt.recipe import Model

pytestmark = [needs_vllm, pytest.mark.slow]

CLIPS = 2000
TOKENS_PER_SECOND = 2


@pytest.fixture(scope="module")
def placed():
    """(Prompt, clip, vLLM's positions) of clips of many lengths, rates and sizes."""
    loaded = load(Model(path="miniature", dtype="float32", device="cpu"))
    builder, drawn = InputBuilder(loaded.model, loaded.processor), random.Random(5)
    asked = []
    for _ in range(CLIPS):
        frames = 2 * drawn.randint(1, 384)
        file_rate = drawn.choice([24, 25, 30, 30000 / 1001])
        rate = drawn.choice(
            [frames / drawn.randint(frames, 30 * frames) * file_rate, 2 * drawn.uniform(0.98, 1.02), drawn.uniform(0.03, 12)]
        )
        rows, columns = drawn.randint(1, 2), drawn.randint(1, 2)
        grid = torch.tensor([[frames // 2, 2 * rows, 2 * columns]])
        clip = ClipInputs(None, grid, 2 / rate, frames // 2 * rows * columns)
        asked.append((builder.prompt("You see a video.", "What moves?", clip), clip))
    lines = [
        {
            "ids": [*prompt.prefix.tolist(), *prompt.suffix.tolist()],
            "offset": len(prompt.prefix) - 1 - clip.tokens,
            "grid": clip.grid[0].tolist(),
            "seconds": clip.seconds_per_grid,
        }
        for prompt, clip in asked
    ]
    command = [PYTHON, str(TESTS / "real_vllm" / "real_positions.py")]
    env = {**os.environ, "PYTHONPATH": ""}
    told = subprocess.run(command, input="\n".join(map(json.dumps, lines)), capture_output=True, text=True, check=True, env=env)
    found = [np.array(json.loads(line)) for line in told.stdout.splitlines()]
    assert len(found) == CLIPS
    return [(*one, positions_) for one, positions_ in zip(asked, found, strict=True)]


def compare(found: np.ndarray, prompt: PromptInputs, clip: ClipInputs) -> positions.Rounded | str:
    return positions.compare(found.tolist(), prompt, clip, TOKENS_PER_SECOND)


def test_every_sound_clip_passes(placed):
    rounded = 0
    for prompt, clip, found in placed:
        known = compare(found, prompt, clip)
        assert isinstance(known, positions.Rounded), known
        lower = (prompt.positions.numpy() - found)[0]
        assert set(lower.tolist()) <= {0, 1}
        rounded += known.grids > 0
    assert CLIPS / 500 < rounded < CLIPS / 20


def test_every_shift_is_refused_by_its_place(placed):
    drawn = random.Random(6)
    for prompt, clip, found in placed:
        grids, height, width = clip.grid[0].tolist()
        start, each = len(prompt.prefix) - 1 - clip.tokens, clip.tokens // grids
        end = start + clip.tokens
        grid, token = start + drawn.randrange(grids) * each, drawn.randrange(found.shape[1])
        axis, by = drawn.randrange(3), drawn.choice([1, -1])
        # A grid's time, the text after the video, one token on one axis, and the library's rule for the text.
        library = max(height, width) // 2 + start - found[0, end]
        for place, on, tokens, shift in (
            (grid, 0, np.s_[0, grid : grid + each], by),
            (end, 0, np.s_[:, end:], by),
            (token, axis, np.s_[axis, token], by),
            (end, 0, np.s_[:, end:], library),
        ):
            wrong = found.copy()
            wrong[tokens] += shift
            if shift == 0 or np.array_equal(wrong, prompt.positions.numpy()):
                continue
            told = compare(wrong, prompt, clip)
            assert isinstance(told, str) and f"on the {positions.AXES[on]} axis, for token {place} (" in told, told
            assert f"vLLM has {wrong[on, place]}, " in told
