"""Videos that the benchmarks of the loader read: made once, of textures that move, and kept in a folder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

GOP = 250


def make(
    path: Path, size: tuple[int, int], frames: int, rate: Fraction, *, times: int = 1, options: dict[str, str] | None = None
) -> Path:
    """An H.264 file of `frames` frames, repeated `times` times without encoding again; left alone where it is there.

    Args:
        path: Where it goes; the folder is made.
        size: Width and height in pixels.
        frames: Frames to encode.
        rate: Frames a second.
        times: Repetitions of the encoded stretch.
        options: Of the encoder; x264's medium preset with a key frame every 250 frames where not said otherwise.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    packets: list[tuple[bytes, int, int, bool]] = []
    with av.open(str(partial), "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=rate, options={"preset": "medium", "g": str(GOP), **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(_picture(size, number), format="rgb24")
            picture.pts, picture.time_base = number, 1 / rate
            packets += [_kept(packet) for packet in stream.encode(picture)]
        packets += [_kept(packet) for packet in stream.encode(None)]
        for turn in range(times):
            for data, pts, dts, key in packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / rate, key
                packet.pts, packet.dts = pts + turn * frames, dts + turn * frames
                out.mux(packet)
    partial.rename(path)
    return path


def _kept(packet: Any) -> tuple[bytes, int, int, bool]:
    return bytes(packet), packet.pts, packet.dts, packet.is_keyframe


def _picture(size: tuple[int, int], number: int) -> NDArray[np.uint8]:
    """A soft texture that drifts, two that move over it, and a little noise: neither a cartoon nor static."""
    width, height = size
    ground = _texture(height, width, 0)
    picture = np.roll(ground, (number // 2, number), axis=(0, 1)).copy()
    side = min(width, height) // 3
    for seed, (vertical, horizontal) in enumerate(((3, 5), (-2, 7)), 1):
        top = (vertical * number + 40 * seed) % (height - side)
        left = (horizontal * number + 90 * seed) % (width - side)
        picture[top : top + side, left : left + side] = _texture(side, side, seed)
    noise = np.random.default_rng(number % 64).integers(0, 7, (height, width, 1), dtype=np.uint8)
    return np.minimum(picture, 248) + noise


_TEXTURES: dict[tuple[int, int, int], NDArray[np.uint8]] = {}


def _texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    key = (height, width, seed)
    if key not in _TEXTURES:
        rng = np.random.default_rng(seed)
        total = np.zeros((height, width, 3), np.float32)
        for cell in (8, 24, 72):
            coarse = rng.random((-(-height // cell) + 1, -(-width // cell) + 1, 3), dtype=np.float32)
            frame = av.VideoFrame.from_ndarray((coarse * 255).astype(np.uint8), format="rgb24")
            fine = frame.reformat(width=coarse.shape[1] * cell, height=coarse.shape[0] * cell, interpolation="BICUBIC")
            total += fine.to_ndarray()[:height, :width] * np.float32(cell)
        _TEXTURES[key] = (total / (8 + 24 + 72)).astype(np.uint8)
    return _TEXTURES[key]
