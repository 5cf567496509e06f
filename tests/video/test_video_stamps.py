"""The times that prompts state: those of Qwen3-VL's processor at a constant rate, and a player's clock elsewhere."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from coded import add_sound, draw, make, numbers, spoil
from paths import SHARED
from PIL import Image
from qwen_vl_utils import vision_process
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.video_utils import VideoMetadata

from trlt.recipe import Video
from trlt.video.clip import Clip
from trlt.video.decode import load_clip
from trlt.video.workers import ClipLoader

SETTINGS = {"fps": 2.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 64}
RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60]
SECONDS = 12
BOUNDS = [(None, None), (2.0, 9.0), (1.0, None), (None, 7.3), (3.1415, 10.01)]
"""The last one begins and ends between frames at every rate."""


def load(path: Path, **changes: Any) -> Clip:
    return load_clip(path, **{**SETTINGS, **changes})


def theirs(indices: Sequence[int], rate: float) -> list[str]:
    """What the library's processor writes."""
    meta = VideoMetadata(total_num_frames=max(indices) + 1, fps=rate, frames_indices=list(indices))
    return [f"{time:.1f}" for time in Qwen3VLProcessor._calculate_timestamps(None, meta.frames_indices, meta.fps, 2)]


def ours(clip: Clip) -> list[str]:
    """The mean of a temporal patch's two frames, with one decimal."""
    return [f"{(first + last) / 2:.1f}" for first, last in clip.stamps.reshape(-1, 2).tolist()]


@pytest.fixture(scope="module", params=RATES, ids=lambda rate: f"{float(rate):.3f}")
def at_rate(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fraction, list[Path]]:
    """A rate, and files of it: one in fractions of a second, one whose times are rounded to milliseconds."""
    folder = tmp_path_factory.mktemp("rates")
    count = round(SECONDS * request.param)
    return Fraction(request.param), [make(folder / name, count, request.param) for name in ("a.mp4", "a.mkv")]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_at_a_constant_rate_they_are_the_processors(at_rate: Any, bounds: tuple[float | None, float | None]) -> None:
    rate, files = at_rate
    start, end = bounds
    for path in files:
        with av.open(str(path)) as container:
            # As the library's readers have it, too: what a file of milliseconds says of 59.94 a second is a little off.
            told = float(container.streams.video[0].average_rate)
        assert told == pytest.approx(float(rate), rel=1e-6)
        for fps in (2.0, 1.0, 3.7):
            clip = load(path, start=start, end=end, fps=fps)
            # What the pictures themselves carry, counted from the first one that begins in the stretch.
            first = math.ceil((start or 0) * rate)
            indices = [number - first for number in numbers(clip.frames)]
            assert indices[0] == 0
            assert clip.stamps.tolist() == [index / told for index in indices]
            assert ours(clip) == theirs(indices, told), path.name
            late = clip.times - (start or 0) - clip.stamps
            assert -0.002 < late.min() and late.max() < 1 / rate, "off by less than a frame, where the bound lies between two"


def test_halves_fall_as_in_the_processor(tmp_path: Path) -> None:
    """Every 15th of 30 a second, and every 25th of 50: 0.25 is written 0.2."""
    clip = load(make(tmp_path / "a.mkv", 106, 30), fps=30, max_frames=8)
    assert numbers(clip.frames) == [0, 15, 30, 45, 60, 75, 90, 105]
    assert clip.stamps.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5] and ours(clip) == ["0.2", "1.2", "2.2", "3.2"]
    narrow = load(make(tmp_path / "b.mkv", 76, 50), fps=50, max_frames=4)
    assert numbers(narrow.frames) == [0, 25, 50, 75] and ours(narrow) == ["0.2", "1.2"] == theirs([0, 25, 50, 75], 50.0)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("av1.mkv", 25.0),
        ("bt709_full_range.mp4", 30.0),
        ("h265.mp4", 10.0),
        ("llava_demo.mp4", 30.0),
        ("nasa_13013.mp4", 30000 / 1001),
        ("playing_guitar.mp4", 30.0),
        ("tempcompass_1021488277.gif", 8.0),
        ("vtimellm_demo.mp4", 30.0),
        ("yoga.mp4", 30.0),
    ],
)
def test_of_real_files(name: str, rate: float) -> None:
    path = SHARED / "data" / "videos" / name
    if not path.is_file():
        pytest.skip("no such video here")
    with av.open(str(path)) as container:
        shown = container.streams.best("video")  # one file has two
        total = sum(packet.pts is not None for packet in container.demux(shown))
    count = vision_process.smart_nframes({"fps": 2.0, "min_frames": 4, "max_frames": 24}, total, rate)
    indices = torch.linspace(0, total - 1, count).round().long().tolist()
    clip = load(path, max_frames=24)
    assert clip.stamps.tolist() == [index / rate for index in indices]
    assert ours(clip) == theirs(indices, rate)
    assert clip.stamps == pytest.approx(clip.times, abs=0.5 / rate)


def test_where_the_rate_varies_a_players_clock_tells(tmp_path: Path) -> None:
    # 10 a second for 3 s, one frame held until 8 s, then 20 a second until beyond 10 s
    path = make(tmp_path / "a.mkv", stamps=[*range(0, 3000, 100), *range(8000, 10050, 50)])
    whole = load(path)
    assert whole.stamps == pytest.approx(np.arange(20) * 10.033 / 20) and (whole.times == whole.stamps).all()
    part = load(path, start=2.5, end=8.5, fps=1)
    assert part.times.tolist() == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5] and numbers(part.frames) == [25, *[29] * 5]
    assert part.stamps.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] and ours(part) == ["0.5", "2.5", "4.5"]


def test_of_a_picture_that_comes_after_the_sound(tmp_path: Path) -> None:
    silent = make(tmp_path / "silent.mp4", stamps=range(1500, 6500, 50), rate=20, options={"g": "40"})
    path = add_sound(silent, tmp_path / "late.mp4", 6)
    clip = load(path, fps=2)
    # From second 0 on, when a player shows nothing yet; the first picture stands for that time.
    assert clip.stamps == pytest.approx(np.arange(12) * 6.5 / 12)
    assert numbers(clip.frames)[:4] == [0, 0, 0, round((3 * 6.5 / 12 - 1.5) * 20 - 0.5)]
    assert load(path, start=2.0, end=4.0).stamps.tolist() == [0.0, 0.65, 1.3, 1.95], "by number, from picture 10 on"


def test_of_a_stretch_with_one_picture(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 20, 1)
    clip = load(path, start=4.2, end=5.8)
    assert numbers(clip.frames) == [4, 5], "the one on screen at 4.2 s, and the one of 5 s"
    assert clip.stamps.tolist() == pytest.approx([0.0, 0.8]) and clip.times == pytest.approx([4.2, 5.0])


def test_where_frames_are_lost_the_others_keep_their_times(tmp_path: Path) -> None:
    path = spoil(make(tmp_path / "a.mp4", 60, 10, options={"g": "1", "bf": "0"}), range(10, 20))
    clip = load(path, fps=1)
    assert "damaged" in clip.warnings[0]
    assert clip.stamps.tolist() == pytest.approx([0, 1, 2, 3, 4, 5])
    # Picture 9 is held while the ten after it are missing.
    assert numbers(clip.frames) == [0, 9, 20, 30, 40, 50]


def test_of_a_folder_and_of_one_with_a_missing_number(tmp_path: Path) -> None:
    for name, left_out in (("whole", ()), ("gap", (5, 6))):
        (tmp_path / name).mkdir()
        for number in range(1, 13):
            if number not in left_out:
                Image.fromarray(draw(number)).save(tmp_path / name / f"{number:05d}.png")
    whole = load(tmp_path / "whole", max_frames=4)
    assert numbers(whole.frames) == [1, 5, 8, 12] and whole.stamps.tolist() == [0.0, 4 / 3.0, 7 / 3.0, 11 / 3.0]
    part = load(tmp_path / "whole", start=1.0, end=3.0)
    assert numbers(part.frames) == [4, 6, 7, 9] and part.stamps.tolist() == [0.0, 2 / 3.0, 3 / 3.0, 5 / 3.0]
    gap = load(tmp_path / "gap", max_frames=4)
    assert gap.stamps.tolist() == [0.0, 1.0, 2.0, 3.0] and numbers(gap.frames) == [1, 4, 7, 10]


@pytest.mark.parametrize("name", ["a.webp", "a.gif"])
def test_of_moving_pictures(tmp_path: Path, name: str) -> None:
    pictures = [Image.fromarray(draw(number)) for number in range(20)]
    kept = {"lossless": True} if name == "a.webp" else {}
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=[100] * 20, **kept)
    clip = load(tmp_path / name)
    assert numbers(clip.frames) == [0, 6, 13, 19]
    assert clip.stamps.tolist() == pytest.approx([0.0, 0.6, 1.3, 1.9], abs=1e-12) and ours(clip) == theirs([0, 6, 13, 19], 10.0)


@pytest.mark.parametrize("workers", [0, 1])
def test_they_come_through_processes_and_the_store(tmp_path: Path, workers: int) -> None:
    path = make(tmp_path / "a.mp4", 120, Fraction(30000, 1001))
    settings = Video(max_tokens=64, workers=workers, store=str(tmp_path / "store"))
    due = load(path, start=1.0).stamps
    with ClipLoader(settings) as loader:
        assert (loader.load(path, start=1.0).stamps == due).all()
    with ClipLoader(settings.model_copy(update={"workers": 1}), decoder="decoders:none") as loader:
        assert (loader.load(path, start=1.0).stamps == due).all(), "as stored"
