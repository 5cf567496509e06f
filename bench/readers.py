"""The family's helper package, qwen-vl-utils, read through one of its decoders: what the loader is measured against."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PEERS = ("torchcodec", "decord")
AREA = 28 * 28


@dataclass(frozen=True)
class Setting:
    """A budget and bounds, as both sides take them."""

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 768
    max_tokens: int = 2048
    start: float | None = None
    end: float | None = None

    def __str__(self) -> str:
        bounds = f", {self.start:g} to {self.end:g} s" if self.start is not None and self.end is not None else ""
        frames = f", {self.min_frames} to {self.max_frames} frames" if (self.min_frames, self.max_frames) != (4, 768) else ""
        return f"{self.fps:g} fps, {self.max_tokens} tokens{frames}{bounds}"


@dataclass(frozen=True)
class Read:
    """What a reader gave."""

    frames: NDArray[Any]
    """(T, C, H, W), 0 to 255."""
    indices: list[int]
    seconds_per_grid: float

    @property
    def tokens(self) -> int:
        """Video tokens of the frames."""
        count, _, height, width = self.frames.shape
        return count // 2 * (height // 28) * (width // 28)


def available() -> list[str]:
    """The decoders that are installed and can be used."""
    found = []
    for name in PEERS:
        if importlib.util.find_spec(name) is not None:
            try:
                importlib.import_module(name if name == "decord" else "torchcodec.decoders")
            except (ImportError, OSError, RuntimeError):
                continue
            found.append(name)
    return found


def theirs(path: Path, setting: Setting, peer: str) -> Read:
    """The helper package's frames, with one of its decoders."""
    from qwen_vl_utils import vision_process

    vision_process.FORCE_QWENVL_VIDEO_READER = peer
    vision_process.get_video_reader_backend.cache_clear()
    element: dict[str, Any] = {
        "video": str(path),
        "fps": setting.fps,
        "min_frames": setting.min_frames,
        "max_frames": setting.max_frames,
        "min_pixels": 4 * AREA,
        "total_pixels": setting.max_tokens * AREA,
    }
    if setting.start is not None:
        element |= {"video_start": setting.start, "video_end": setting.end}
    (video, metadata), fps = vision_process.fetch_video(element, return_video_sample_fps=True, return_video_metadata=True)
    assert metadata["video_backend"] == peer, f"the package took {metadata['video_backend']} instead"
    indices = [int(index) for index in metadata["frames_indices"]]
    return Read(video.numpy(), indices, 2 / fps)


def ours(path: Path, setting: Setting, threads: int = 0) -> Read:
    """The loader's frames; their indices are those of its choice."""
    from trlt.video import decode
    from trlt.video.budget import Budget
    from trlt.video.clip import Clip

    budget = Budget(setting.fps, setting.min_frames, setting.max_frames, 4, setting.max_tokens)
    sampled = decode.sample(path, budget, setting.start, setting.end, threads=threads)
    choice = sampled.choice
    clip = Clip.of(np.stack(sampled.images), choice.times, sample_fps=choice.sample_fps, duration=choice.duration)
    return Read(clip.frames, choice.indices.tolist(), clip.seconds_per_grid)


def difference(a: NDArray[Any], b: NDArray[Any]) -> tuple[float, float]:
    """99.9th percentile and mean of the absolute difference, of 255; of every frame's worst percentile, the worst."""
    far, total = 0.0, 0.0
    for one, other in zip(a, b, strict=True):
        gap = np.abs(one.astype(np.float32) - np.rint(other.astype(np.float32)))
        far = max(far, float(np.percentile(gap, 99.9)))
        total += float(gap.mean())
    return far, total / len(a)
