"""A folder of numbered frames, read as a video with a given rate (MVBench's Episodic Reasoning). Knows PyAV for the images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from trlt.video.budget import Budget
from trlt.video.container import fault
from trlt.video.picture import Painter
from trlt.video.timeline import Choice, choose, timeline

FOLDER_FPS = 3.0
"""Rate of TVQA's frame folders, the ones that MVBench uses."""

NUMBERED = re.compile(r"\d+\.(?:jpe?g|png|webp|bmp)", re.IGNORECASE)
"""A frame's file name."""


def numbered_frames(folder: Path) -> list[Path]:
    """The folder's frames by number; other files are ignored."""
    return sorted(
        (file for file in folder.iterdir() if NUMBERED.fullmatch(file.name)), key=lambda file: (int(file.stem), file.name)
    )


def sample_folder(
    folder: Path, budget: Budget, start: float | None, end: float | None, *, fit: bool, rate: float
) -> tuple[list[NDArray[np.uint8]], Choice, tuple[str, ...]]:
    """The sampled images, what was chosen, and warnings.

    Frame 1 (frame 0 where the numbers start there) is presented at 0; a missing number is a frame held longer.

    Raises:
        VideoError: no frames, or most of those needed can't be read.
        ValueError: fewer than two frames.
    """
    files = numbered_frames(folder)
    if not files:
        raise fault(folder, "a folder without numbered frames; files such as 00001.jpg are expected")
    origin = min(1, int(files[0].stem))
    unreadable: dict[Path, str] = {}
    decoded: dict[Path, Any] = {}
    while True:
        usable = [file for file in files if file not in unreadable]
        if 2 * len(usable) < len(files):
            raise fault(
                next(iter(unreadable)),
                f"{len(unreadable)} frames of the folder can't be read ({next(iter(unreadable.values()))})",
            )
        times = np.array([(int(file.stem) - origin) / rate for file in usable])
        choice = choose(timeline(times, rate, 1 / rate), budget, start, end)
        chosen = [usable[i] for i in choice.indices]
        for file in chosen:
            if file not in decoded and file not in unreadable:
                try:
                    decoded[file] = _image(file)
                except (av.error.FFmpegError, OSError) as error:
                    unreadable[file] = error.strerror or type(error).__name__
        if not any(file in unreadable for file in chosen):
            break
    painter = Painter(budget if fit else None, len(chosen))
    warnings = tuple(f"{file.name} can't be read ({why})" for file, why in unreadable.items())
    return [painter(decoded[file]) for file in chosen], choice, warnings


def _image(file: Path) -> Any:
    with file.open("rb") as handle, av.open(handle, "r") as container:
        for frame in container.decode(video=0):
            return frame
    raise OSError(0, "holds no picture")
