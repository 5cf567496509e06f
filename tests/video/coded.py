"""Made videos whose frames carry their own number in blocks of black and white, so that sampled frames are read off exactly."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BLOCK = 32
ROWS, COLUMNS = 3, 4


def draw(number: int) -> np.ndarray:
    """(96, 128, 3): the number's bits, lowest first, in 32-pixel blocks."""
    bits = np.array([number >> bit & 1 for bit in range(ROWS * COLUMNS)], np.uint8).reshape(ROWS, COLUMNS)
    return np.kron(bits * 255, np.ones((BLOCK, BLOCK), np.uint8))[..., None].repeat(3, axis=2)


def read(frame_CHW: np.ndarray) -> int:
    """The number that a frame of any size carries."""
    _, height, width = frame_CHW.shape
    rows = ((np.arange(ROWS) + 0.5) * height / ROWS).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) * width / COLUMNS).astype(int)
    bits = frame_CHW.mean(axis=0)[np.ix_(rows, columns)] > 127
    return int(sum(1 << bit for bit, value in enumerate(bits.ravel()) if value))


def make(
    path: Path,
    count: int = 0,
    rate: Fraction | int = 30,
    *,
    stamps: Iterable[int] | None = None,
    unit: Fraction = Fraction(1, 1000),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (128, 96),
    options: dict[str, str] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    container: dict[str, str] | None = None,
    form: str | None = None,
) -> Path:
    """Writes a video of `count` frames at a constant rate, or of one frame a stamp (in `unit`s); returns its path."""
    with av.open(str(path), "w", format=form, container_options=container or {}) as out:
        stream: Any = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        if stamps is not None:
            stream.time_base = stream.codec_context.time_base = unit
        for number, stamp in enumerate(range(count) if stamps is None else stamps):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            if size != (128, 96):
                frame = frame.reformat(*size, interpolation="POINT")
            frame.pts = stamp
            frame.time_base = 1 / Fraction(rate) if stamps is None else unit
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def numbers(frames_TCHW: np.ndarray) -> list[int]:
    """What the frames of a clip carry."""
    return [read(frame) for frame in frames_TCHW]


def add_sound(silent: Path, path: Path, seconds: float, rate: int = 44_100) -> Path:
    """The pictures of a file as they are, with sound from second 0 on."""
    with av.open(str(silent)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        audio: Any = out.add_stream("aac", rate=rate, layout="mono")
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for first in range(0, round(seconds * rate), 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            out.mux(audio.encode(frame))
        out.mux(audio.encode())
    return path


def spoil(path: Path, places: Iterable[int]) -> Path:
    """Overwrites packets of a file, by their number, with zeros."""
    with av.open(str(path)) as container:
        where = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for place in places:
        start, size = where[place]
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path
