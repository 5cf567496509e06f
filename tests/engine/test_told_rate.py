"""The rate that another program is told: its positions are the engine's, whether it multiplies in float32 or exactly."""

from __future__ import annotations

import random
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import torch
from transformers import Qwen2_5_VLModel

from trlt.engine.told_rate import told_rate
from trlt.video.geometry import Geometry


def clip(frames: int, fps: float):
    return SimpleNamespace(frames=range(frames), sample_fps=fps, geometry=Geometry())


def library(frames: int, fps: float) -> list[int]:
    """Temporal positions of transformers' own function, as the model calls it."""
    seconds = torch.tensor([2 / fps])
    grid = torch.tensor([frames // 2, 2, 2])
    return Qwen2_5_VLModel.get_vision_position_ids(None, 0, grid, 1, 2, 2 * seconds[0])[0].tolist()


def exact(frames: int, fps: float) -> list[int]:
    """The whole part of the exact product of the same float32 seconds, as vLLM 0.32 has it."""
    seconds = Fraction(float(np.float32(2 / fps)))
    return [int(index * seconds * 2) for index in range(frames // 2)]


def test_a_rate_that_rounds_differently_is_told_a_little_off():
    fps = 42 / 651 * 30  # 21.7 s at 30 frames a second
    assert library(42, fps) != exact(42, fps), "else this shows nothing"
    told = told_rate(clip(42, fps))
    assert told != fps and abs(told / fps - 1) < 2e-7
    assert exact(42, told) == library(42, told) == library(42, fps)


def test_a_rate_that_rounds_alike_is_told_as_it_is():
    for fps in (2.0, 1.0, 0.5, 1.37, 5.0):
        assert told_rate(clip(40, fps)) == fps


def test_positions_agree_for_nearly_every_clip():
    random.seed(3)
    before = after = 0
    for _ in range(1500):
        count = random.randrange(4, 769, 2)
        fps = count / (round(count / 2 * random.uniform(0.8, 1.3) * 30) / 30)
        told = told_rate(clip(count, fps))
        due = library(count, fps)
        assert abs(told / fps - 1) < 3e-7
        before += exact(count, fps) != due
        after += exact(count, told) != due or library(count, told) != due
    assert before > 15, "without it, some in a hundred are one position off"
    assert after < before / 5, "products that round both ways within one clip remain"
