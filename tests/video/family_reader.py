"""Our reader inside `qwen_vl_utils`: what that package makes of our frames is compared with what we make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trlt.errors import VideoError
from trlt.video.budget import Budget
from trlt.video.decode import sample

NAME = "trlt"


def register_backend() -> None:
    """Makes `qwen_vl_utils.fetch_video` read with PyAV from now on; frames, sizes and token counts stay its own.

    Clip bounds become half-open and exact: a frame that lies on `video_end` is left out.
    """
    import torchvision.io  # type: ignore[import-untyped]
    from qwen_vl_utils import vision_process

    vision_process.VIDEO_READER_BACKENDS[NAME] = _read
    if not hasattr(torchvision.io, "read_video"):
        # The package falls back to torchvision on any error; where that is broken, our reason would be lost.
        vision_process.VIDEO_READER_BACKENDS["torchvision"] = _read
    vision_process.FORCE_QWENVL_VIDEO_READER = NAME
    vision_process.get_video_reader_backend.cache_clear()


def _read(element: dict[str, Any]) -> tuple[Any, dict[str, Any], float]:
    """(T, C, H, W) uint8 tensor at the file's size, metadata, and frames a second, as that package's readers return them."""
    import torch

    name = str(element["video"]).removeprefix("file://")
    if "://" in name:
        raise VideoError(f"{name}: only files are read; download it first")
    if "nframes" in element:
        budget = Budget(min_frames=(count := round(element["nframes"] / 2) * 2), max_frames=count)
    else:
        known = {key: element[key] for key in ("fps", "min_frames", "max_frames") if key in element}
        budget = Budget(**known)
    sampled = sample(Path(name), budget, element.get("video_start"), element.get("video_end"), fit=False)
    choice = sampled.choice
    metadata = {
        "fps": choice.rate,
        # Over the rate, they are taken for seconds.
        "frames_indices": (np.rint(choice.times * choice.rate).astype(int) if choice.by_time else choice.indices).tolist(),
        "total_num_frames": choice.total,
        "video_backend": NAME,
    }
    return torch.from_numpy(np.stack(sampled.images)), metadata, choice.sample_fps
