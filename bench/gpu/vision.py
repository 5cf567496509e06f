"""The vision tower with windows as one batch, against the library's calls window by window."""

from __future__ import annotations

import contextlib

import torch

from bench.gpu.bench import Bench, Out
from bench.gpu.models import as_published


@torch.no_grad()
def vision(bench: Bench, name: str, clips: int, out: Out) -> None:
    """Seconds and peak memory of both for clips at once, and how far their features lie apart: norm over norm."""
    made = [one.clip for one in bench.asked(name, clips)]
    pixels = torch.cat([clip.pixels for clip in made if clip.pixels is not None])
    grids = torch.cat([clip.grid for clip in made]).to(bench.device)
    bench.enter(name, "bfloat16" if bench.half else "float32")
    model, features = bench.model(name), {}
    out["clips"] = clips
    for side in ("windows", "library"):
        with as_published(model) if side == "library" else contextlib.nullcontext():
            features[side] = torch.cat(list(model.model.get_video_features(pixels, grids).pooler_output)).float()  # warms up
            out[side] = bench.measure(lambda: model.model.get_video_features(pixels, grids), most=3, seconds=10)
    out["difference"] = float((features["windows"] - features["library"]).norm() / features["library"].norm())
