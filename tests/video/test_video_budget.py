"""The budget against the family's own functions."""

import random

import numpy as np
import pytest
import torch
from qwen_vl_utils import vision_process
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from trlt.video.budget import Budget, fit_size, frame_count, spread
from trlt.video.geometry import Geometry
from trlt.video.resize import resize

RATES = (7.3, 10, 23.976023976023978, 24, 25, 29.97002997002997, 30, 50, 59.94005994005994, 60)
LENGTHS = (2, 3, 4, 5, 7, 16, 95, 96, 97, 300, 1799, 5000, 18001, 108000)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("budget", [Budget(), Budget(fps=1, min_frames=5, max_frames=33), Budget(fps=60, max_frames=16)])
def test_frame_counts_are_the_familys(rate: float, budget: Budget) -> None:
    element = {"fps": budget.fps, "min_frames": budget.min_frames, "max_frames": budget.max_frames}
    for total in LENGTHS:
        assert frame_count(total, rate, budget) == vision_process.smart_nframes(element, total, rate)


@pytest.mark.parametrize("total", [0, 1])
def test_fewer_than_two_frames_have_no_answer(total: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        frame_count(total, 30.0, Budget())
    with pytest.raises(ValueError):
        vision_process.smart_nframes({"fps": 2.0, "min_frames": 4, "max_frames": 768}, total, 30.0)


def test_frame_numbers_are_torchs() -> None:
    dice = random.Random(1)
    for _ in range(2000):
        total = dice.choice([dice.randint(2, 500), dice.randint(500, 20_000), dice.randint(20_000, 200_000)])
        count = 2 * dice.randint(1, min(384, total // 2))
        first = dice.choice([0, dice.randint(0, 50_000)])
        expected = torch.linspace(first, first + total - 1, count).round().long().tolist()
        assert spread(first, first + total - 1, count).tolist() == expected, (first, total, count)


@pytest.mark.parametrize("geometry", [Geometry(), Geometry(16)], ids=["14", "16"])
def test_sizes_are_those_of_fetch_video(geometry: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
    area = geometry.side**2
    video = torch.zeros(1, dtype=torch.uint8)
    sizes: list[tuple[int, ...]] = []
    monkeypatch.setitem(vision_process.VIDEO_READER_BACKENDS, "made", lambda element: (video, {}, 2.0))
    monkeypatch.setattr(vision_process, "get_video_reader_backend", lambda: "made")
    monkeypatch.setattr(transforms, "resize", lambda video, size, **_: sizes.append(tuple(size)) or video[:1, :, :1, :1])
    for height, width in [(240, 320), (1080, 1920), (720, 406), (96, 128), (250, 1000), (28, 28), (500, 501), (336, 400)]:
        for count in (2, 4, 16, 128, 768):
            for tokens in (128, 2048, 4096):
                video = torch.zeros(1, dtype=torch.uint8).expand(count, 3, height, width)
                element = {"video": "x", "total_pixels": tokens * area, "min_pixels": 4 * area}
                vision_process.fetch_video(element, image_patch_size=geometry.patch)
                made = fit_size(height, width, count, Budget(max_tokens=tokens), geometry)
                assert made == sizes[-1], (height, width, count, tokens)
    assert len(sizes) == 120


def test_very_many_frames_pass_a_small_budget_as_in_the_family() -> None:
    height, width = fit_size(1080, 1920, 768, Budget(max_tokens=128))
    assert height * width // 784 * 384 > 128


def test_elongated_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="200:1"):
        fit_size(2, 402, 4, Budget())


@pytest.mark.parametrize(
    "sizes", [((72, 128), (28, 56)), ((112, 112), (196, 196)), ((37, 51), (140, 28)), ((90, 28), (28, 308))]
)
def test_resize_is_torchvisions(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    (height, width), target = sizes
    dice = np.random.default_rng(2)
    frame = dice.integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame[: height // 2] = (frame[: height // 2] > 127) * 255  # hard edges overshoot and are clipped
    expected = transforms.resize(
        torch.from_numpy(frame).permute(2, 0, 1), list(target), InterpolationMode.BICUBIC, antialias=True
    )
    difference = np.abs(resize(frame, *target).astype(int) - expected.numpy())
    assert difference.max() <= 1 and (difference > 0).mean() < 0.005


def test_a_frame_of_the_right_size_is_left_alone() -> None:
    frame = np.arange(28 * 56 * 3, dtype=np.uint32).astype(np.uint8).reshape(28, 56, 3)
    assert (resize(frame, 28, 56) == frame.transpose(2, 0, 1)).all()
