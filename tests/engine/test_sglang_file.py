"""The file that SGLang is sent: its rate gives the engine's positions."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from trlt.engine.servers.sglang import mp4
from trlt.video.clip import Clip


def positions(frames: int, fps: float) -> list[int]:
    """Whole parts of the products in float32, as transformers and SGLang have them."""
    return (np.arange(frames // 2, dtype=np.float32) * np.float32(2 / fps) * np.float32(2)).astype(int).tolist()


@pytest.mark.parametrize(("frames", "thirtieths"), [(8, 20879), (56, 34669), (8, 240), (40, 604)])
def test_a_files_rate_is_the_clips(frames, thirtieths):
    """Of long videos, too: with a rate that is a little off, a place that is whole falls one lower."""
    fps = frames / (thirtieths / 30)
    clip = Clip.of(np.zeros((frames, 3, 28, 28), np.uint8), np.arange(frames) / fps, sample_fps=fps, duration=frames / fps)
    with av.open(io.BytesIO(mp4(clip))) as container:
        told = float(container.streams.video[0].average_rate)
    assert positions(frames, told) == positions(frames, fps)
