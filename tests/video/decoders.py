"""Decoders that misbehave on demand, for the decoding processes to call: the file's name says how."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from trlt.errors import VideoError
from trlt.video.clip import Clip


def load(path: str, **_: Any) -> Clip:
    name = Path(path).stem
    if name.startswith("hang"):
        time.sleep(600)
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("exit"):
        os._exit(7)
    if name.startswith("bad"):
        raise VideoError(f"{path}: at 1.00 s: bäd")
    if name.startswith("bug"):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise RuntimeError("a bug in a decoder")
    if name.startswith("greedy"):
        np.ones(3 << 28)  # 6 GB
    if name.startswith("slow"):
        time.sleep(0.3)
    print("noise of a library")  # noqa: T201
    frames = np.full((2, 3, 28, 28), len(name), np.uint8)
    return Clip.of(frames, np.array([0.0, 0.5]), sample_fps=2, duration=1, warnings=(f"{os.getpid()}",))
