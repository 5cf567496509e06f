"""The product's decoder, with a line for each call in the file that BENCH_DECODES names. Imports no torch, as it doesn't."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from trlt.video.clip import Clip
from trlt.video.decode import load_clip

DECODER = "bench.decodes:load"


def load(path: Path, **how: Any) -> Clip:
    """`trlt.video.decode.load_clip`, counted: the line holds the time (`time.monotonic`) at the end and the file's name."""
    clip = load_clip(path, **how)
    with Path(os.environ["BENCH_DECODES"]).open("a", encoding="utf-8") as out:
        out.write(f"{time.monotonic()} {Path(path).name}\n")
    return clip
