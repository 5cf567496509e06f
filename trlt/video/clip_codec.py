"""A clip as bytes, for the frame store and for the pipe from a decoding process: a JSON header, then raw frames. No pickle."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trlt.video.clip import Clip
from trlt.video.geometry import Geometry

_HEAD = struct.Struct("<8sII")
"""Magic, CRC-32 of all else, length of the JSON header."""
MAGIC = b"TRLTCLP3"
"""Begins an entry; counts up with its form, so that one which lacks something counts as damaged, and is decoded again."""
_ALIGN = 64


class DamagedEntry(Exception):
    """The bytes are not a whole clip; caught by whoever can decode it again."""


def pack(clip: Clip) -> tuple[bytes, memoryview]:
    """Header and frames, to be written one after the other."""
    header = _header(clip)
    frames = np.ascontiguousarray(clip.frames).data.cast("B")
    return _HEAD.pack(MAGIC, _checksum(len(header), header, frames), len(header)) + header, frames


def packed_size(clip: Clip) -> int:
    """Bytes of a clip's entry."""
    return _HEAD.size + len(_header(clip)) + clip.frames.nbytes


def _header(clip: Clip) -> bytes:
    header = json.dumps(
        {
            "shape": clip.frames.shape,
            "times": clip.times.tolist(),
            "stamps": clip.stamps.tolist(),
            "sample_fps": clip.sample_fps,
            "duration": clip.duration,
            "geometry": asdict(clip.geometry),
            "warnings": clip.warnings,
        }
    ).encode()
    return header + b" " * (-(_HEAD.size + len(header)) % _ALIGN)


def _checksum(length: int, *parts: bytes | memoryview) -> int:
    """Of the header's length and what follows; the magic is compared as it is."""
    value = zlib.crc32(length.to_bytes(4, "little"))
    for part in parts:
        value = zlib.crc32(part, value)
    return value


def unpack(data: NDArray[np.uint8]) -> Clip:
    """The clip; its frames share memory with `data`.

    Raises:
        DamagedEntry: the bytes are cut off, changed, or something else.
    """
    if len(data) < _HEAD.size:
        raise DamagedEntry("cut off")
    magic, checksum, length = _HEAD.unpack(data[: _HEAD.size].tobytes())
    if magic != MAGIC or _checksum(length, data[_HEAD.size :].data) != checksum:
        raise DamagedEntry("checksum differs")
    body = _HEAD.size + length
    header: dict[str, Any] = json.loads(data[_HEAD.size : body].tobytes())
    return Clip.of(
        data[body:].reshape(header["shape"]),
        np.array(header["times"], np.float64),
        sample_fps=header["sample_fps"],
        duration=header["duration"],
        stamps=np.array(header["stamps"], np.float64),
        geometry=Geometry(**header["geometry"]),
        warnings=tuple(header["warnings"]),
    )
