"""A tiny model of each family, and clips cut as its tower takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trlt.engine.families import FAMILIES, Family
from trlt.video.clip import Clip


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family that trlt knows."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def loaded(family: Family, family_path: Callable[[Any], Path]) -> Any:
    """Its tiny model, loaded afresh in float32 on the CPU."""
    from trlt.engine.model import load
    from trlt.recipe import Model

    return load(Model(path=str(family_path(family)), dtype="float32", device="cpu"))


@pytest.fixture
def shown(family: Family) -> Callable[..., Clip]:
    """Makes a clip of noise: `shown(frames=6, rows=2, columns=3)`, in tokens a side."""

    def make(frames: int = 6, rows: int = 2, columns: int = 3, *, seed: int = 0, fps: float = 2.0) -> Clip:
        side = family.geometry.side
        pixels = np.random.default_rng(seed).integers(0, 256, (frames, 3, rows * side, columns * side), dtype=np.uint8)
        times = np.arange(frames) / fps
        return Clip.of(pixels, times, sample_fps=fps, duration=frames / fps, geometry=family.geometry)

    return make
