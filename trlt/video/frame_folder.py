"""A folder of numbered frames, read as a video with a given rate (MVBench's Episodic Reasoning). Knows PyAV for the images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from trlt.video.budget import Budget
from trlt.video.container import PLAYLISTS, fault
from trlt.video.geometry import Geometry
from trlt.video.numbering import number_frames
from trlt.video.picture import Painter
from trlt.video.timeline import Choice, choose, timeline

OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(sorted(av.formats_available - PLAYLISTS | {"image2"})),
}
"""One picture and no file that it names; `image2` reads most JPEG files, and from an open file only that one."""
FOLDER_FPS = 3.0
"""Rate of TVQA's frame folders, the ones that MVBench uses."""


def sample_folder(
    folder: Path, budget: Budget, start: float | None, end: float | None, *, fit: bool, geometry: Geometry
) -> tuple[list[NDArray[np.uint8]], Choice, tuple[str, ...]]:
    """The sampled images, what was chosen, and warnings.

    Frame 1 (frame 0 where the numbers start there) is presented at 0; a missing number is a frame held longer.

    Raises:
        VideoError: most of the frames needed can't be read.
        ValueError: fewer than two frames, or names that don't number them.
    """
    numbers = {folder / name: number for number, name in number_frames(os.listdir(folder)).items()}
    files = list(numbers)
    origin = min(1, numbers[files[0]])
    unreadable: dict[Path, str] = {}
    decoded: dict[Path, Any] = {}
    while True:
        usable = [file for file in files if file not in unreadable]
        if 2 * len(usable) < len(files):
            raise fault(
                next(iter(unreadable)),
                f"{len(unreadable)} frames of the folder can't be read ({next(iter(unreadable.values()))})",
            )
        times = np.array([(numbers[file] - origin) / FOLDER_FPS for file in usable])
        choice = choose(timeline(times, FOLDER_FPS, 1 / FOLDER_FPS), budget, start, end, geometry)
        chosen = [usable[i] for i in choice.indices]
        for file in chosen:
            if file not in decoded and file not in unreadable:
                try:
                    decoded[file] = _image(file)
                except (av.error.FFmpegError, OSError) as error:
                    unreadable[file] = error.strerror or type(error).__name__
        if not any(file in unreadable for file in chosen):
            break
    painter = Painter(budget if fit else None, len(chosen), geometry=geometry)
    warnings = tuple(f"{file.name} can't be read ({why})" for file, why in unreadable.items())
    return [painter(decoded[file]) for file in chosen], choice, warnings


def unreadable(folder: Path) -> dict[str, str]:
    """Why, by name, of the frames that can't be read: all are looked at."""
    found = {}
    for name in number_frames(os.listdir(folder)).values():
        try:
            _image(folder / name)
        except (av.error.FFmpegError, OSError) as error:
            found[name] = error.strerror or type(error).__name__
    return found


def _image(file: Path) -> Any:
    with file.open("rb") as handle, av.open(handle, "r", options=dict(OPTIONS)) as container:
        for frame in container.decode(video=0):
            return frame
    raise OSError(0, "holds no picture")
