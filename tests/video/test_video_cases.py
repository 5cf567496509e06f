"""Small files that earlier versions got wrong, where they stand beside the checkout; each picture carries its own number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from paths import SHARED

from trlt.video.clip import Clip
from trlt.video.decode import load_clip

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="no small files beside the checkout")


def load(name: str, **changes: Any) -> Clip:
    return load_clip(
        CASES / name, **{"fps": 20.0, "min_frames": 4, "max_frames": 768, "min_tokens": 16, "max_tokens": 1 << 20, **changes}
    )


def numbers(clip: Clip) -> list[int]:
    """Ten bits, least significant first, in two rows of five blocks in the upper half."""
    height, width = clip.frames.shape[2:]
    found = []
    for frame in clip.frames:
        blocks = [divmod(bit, 5) for bit in range(10)]
        centers = [(int((row + 0.5) * height / 4), int((column + 0.5) * width / 5)) for row, column in blocks]
        light = [frame[:, y - 2 : y + 3, x - 2 : x + 3].mean() > 128 for y, x in centers]
        found.append(int(np.dot(light, 1 << np.arange(10))))
    return found


def test_pictures_with_exif() -> None:
    assert numbers(load("exif_frames")) == [0, 1, 2, 3]


def test_a_clock_that_begins_anew() -> None:
    clip = load("ts_jump_back.ts")
    assert numbers(clip) == [*range(82), *range(80, 200)] and clip.duration == pytest.approx(10.1, abs=0.05)
    assert "the clock begins anew" in clip.warnings[0]


def test_seconds_are_a_players() -> None:
    name = "video_starts_1.5s_after_sound.mp4"
    assert numbers(load(name, start=4.0, end=5.0)) == list(range(50, 70))
    whole = load(name)
    assert whole.duration == pytest.approx(11.5) and numbers(whole)[80:100] == list(range(50, 70))


def test_held_pictures() -> None:
    shown = numbers(load("held_frame.mp4", start=4.0, end=6.0, fps=2.0))
    assert len(shown) == 4 and len(set(shown)) == 1
    late = load("vfr_held.mp4", start=4.0, end=6.0, fps=5.0)
    shown = numbers(late)
    assert shown[:6] == [shown[0]] * 6 and late.times == pytest.approx([4 + 0.2 * number for number in range(10)])
    assert shown[6] >= 102 and shown[6:] == sorted(set(shown[6:])), "the pattern moves again from 5.1 s on"


@pytest.mark.parametrize(
    ("name", "said"), [("lost_packets.ts", "no picture comes from 5.02 to 5.87 s"), ("hole.mkv", "damaged")]
)
def test_damage_is_told(name: str, said: str) -> None:
    assert said in load(name).warnings[0]
