"""Scene -> frames -> file. Knows nothing of questions or of data sets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trlt.files import new_folder, replacing
from trlt.lab.miniature.world import SIDE, Background, Colour, Kind, Scene, Style, along

FPS = 8
"""Frames a second of the videos."""

Frames = npt.NDArray[np.uint8]

RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (225, 30, 35),
    "green": (30, 185, 50),
    "blue": (40, 75, 240),
    "yellow": (240, 215, 30),
    "white": (245, 245, 245),
}
_GREY = 110
_NOISE_HZ = 2  # noise that changes in every frame would be most of a file's bytes


def render_frames(scene: Scene, *, fps: int = FPS, noise: bool = True) -> Frames:
    """The frames of a scene, uint8 (T, H, W, 3): frame k shows the time k / fps.

    Args:
        scene: The script.
        fps: Frames a second.
        noise: False leaves the pixel noise out, for tests of what is where.
    """
    count = round(scene.duration * fps)
    still = _still(scene)
    frames = np.empty((count, SIDE, SIDE, 3), np.uint8)
    grain = np.random.default_rng(abs(scene.seed))
    held = max(1, fps // _NOISE_HZ)
    grains = [grain.integers(-scene.noise, scene.noise + 1, (SIDE, SIDE, 1), np.int16) for _ in range(0, count, held)]
    for k in range(count):
        frames[k] = (still + grains[k // held] if noise else still).clip(0, 255)
    for decoy in scene.decoys:
        mask = _mask(decoy.kind, decoy.size)
        for k in range(count):
            x, y = along(decoy.path, k / count)
            left, top = round(x - decoy.size / 2), round(y - decoy.size / 2)
            frames[k, top : top + decoy.size, left : left + decoy.size][mask] = decoy.grey
    for show in scene.shows:
        mask = _mask(show.kind, show.size)
        paints = {c: _paint(c, scene.contrast) for c in show.colours}
        for k in range(count):
            time = k / fps
            if show.start <= time < show.end:
                x, y = show.centre_at(time)
                left, top = round(x - show.size / 2), round(y - show.size / 2)
                box = np.s_[top : top + show.size, left : left + show.size]
                paint = paints[show.colour_at(time)]
                if noise and scene.grade is not None:  # where visibility is graded, noise lies over the shapes as well
                    paint = (paint + grains[k // held][box][mask]).clip(0, 255)
                frames[k][box][mask] = paint
    return frames


class _Encoding(NamedTuple):
    codec: Literal["libx264", "libvpx", "mpeg4"]
    options: dict[str, str]
    bit_rate: int | None = None


_ENCODINGS = {
    ".mp4": _Encoding("libx264", {"preset": "superfast", "crf": "26"}),
    ".webm": _Encoding("libvpx", {"deadline": "realtime", "cpu-used": "8"}, 400_000),
    ".avi": _Encoding("mpeg4", {}, 400_000),
}
"""Suffix, which is also the container's name -> what is inside."""


def write_video(scene: Scene, path: Path) -> None:
    """Writes a scene as H.264 (.mp4), VP8 (.webm) or MPEG-4 part 2 (.avi); a kill leaves no half-written file of this name."""
    import av

    encoding = _ENCODINGS[path.suffix]
    with replacing(path) as new, av.open(str(new), "w", format=path.suffix[1:]) as container:
        stream = container.add_stream(encoding.codec, rate=FPS, options=dict(encoding.options))
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        if encoding.bit_rate:
            stream.bit_rate = encoding.bit_rate
        for pixels in render_frames(scene):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def write_frames(scene: Scene, folder: Path) -> None:
    """Writes a scene as a new folder of JPEG frames `00001.jpg`, `00002.jpg`, ... at 3 frames a second."""
    from PIL import Image

    with new_folder(folder) as new:
        for number, pixels in enumerate(render_frames(scene, fps=3), 1):
            Image.fromarray(pixels).save(new / f"{number:05d}.jpg", quality=90)


def _still(scene: Scene) -> npt.NDArray[np.int16]:
    """Background and marks, int16 (H, W, 3)."""
    back = scene.background
    grey = back.shade + back.depth * _pattern(back)
    still: npt.NDArray[np.int16] = (grey[..., None] + np.array(back.tint)).astype(np.int16)
    for mark in scene.marks:
        still[mark.y : mark.y + mark.size, mark.x : mark.x + mark.size] = mark.grey
    return still


def _pattern(back: Background) -> npt.NDArray[np.float64]:
    """The background's pattern from -1 to 1, (H, W)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    turn = 2 * np.pi / back.period
    middle = (SIDE - 1) / 2
    patterns: dict[Style, npt.NDArray[np.float64]] = {
        "gradient": y / middle - 1,
        "stripes": np.sign(np.sin(x * turn)),
        "vignette": 1 - np.hypot(x - middle, y - middle) / middle * 1.4,
        "checker": np.sign(np.sin(x * turn) * np.sin(y * turn)),
        "diagonal": np.sin((x + y) * turn),
        "waves": np.sin(x * turn + 2 * np.sin(y * turn)),
    }
    return patterns[back.style]


@lru_cache(maxsize=256)
def _mask(kind: Kind, size: int) -> npt.NDArray[np.bool_]:
    """Where a shape's pixels lie in its box, bool (size, size)."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    masks: dict[Kind, npt.NDArray[np.bool_]] = {
        "circle": x**2 + y**2 <= 1,
        "square": np.maximum(abs(x), abs(y)) <= 0.9,
        "triangle": abs(x) <= (y + 1) / 2,
        "cross": np.minimum(abs(x), abs(y)) <= 0.3,
    }
    return masks[kind]


def _paint(colour: Colour, contrast: float) -> npt.NDArray[np.uint8]:
    mixed = np.array(RGB[colour]) * contrast + _GREY * (1 - contrast)
    return mixed.astype(np.uint8)
