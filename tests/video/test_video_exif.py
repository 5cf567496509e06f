"""What lies beside the pixels (EXIF, which PyAV has no name for) turns pictures where it says so, and refuses none."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.packet
import numpy as np
import pytest
from paths import SHARED
from PIL import Image, ImageOps

from trlt.video.decode import load_clip

CASE = SHARED / "cases/exif_frames"
SETTINGS: dict[str, Any] = {"fps": 3.0, "min_frames": 4, "max_frames": 8, "min_tokens": 4, "max_tokens": 2048}
ORIENTATION = 0x0112


def picture(number: int) -> Image.Image:
    """168 x 112, another colour in each quarter, a little other in each number."""
    pixels = np.zeros((112, 168, 3), np.uint8)
    pixels[:56, :84], pixels[:56, 84:], pixels[56:, :84] = (200, 30, 30), (30, 200, 30), (30, 30, 200)
    pixels[56:, 84:] = 10 * number
    return Image.fromarray(pixels)


def coded(image: Image.Image, form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    image.save(buffer, form, exif=exif, **({"quality": 95, "subsampling": 0} if form == "JPEG" else {}))
    return buffer.getvalue()


def shown(data: bytes) -> np.ndarray:
    """(3, H, W) as Pillow turns it."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).transpose(2, 0, 1).astype(int)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("form", "suffix"), [("JPEG", "jpg"), ("PNG", "png")])
def test_frames_with_exif_are_turned_as_it_says(tmp_path: Path, form: str, suffix: str, orientation: int) -> None:
    files = [coded(picture(number), form, orientation) for number in range(4)]
    for number, data in enumerate(files):
        (tmp_path / f"{number:05d}.{suffix}").write_bytes(data)
    clip = load_clip(tmp_path, **SETTINGS)
    assert clip.warnings == () and clip.frames.shape[2:] == ((112, 168) if orientation < 5 else (168, 112))
    for frame, data in zip(clip.frames, files, strict=True):
        assert np.abs(frame - shown(data)).mean() < 1


@pytest.mark.parametrize("orientation", [1, 2, 5, 6])
def test_motion_jpeg_with_exif(tmp_path: Path, orientation: int) -> None:
    path, files = tmp_path / "a.mkv", [coded(picture(number), "JPEG", orientation) for number in range(6)]
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mjpeg", rate=3)
        stream.width, stream.height, stream.pix_fmt = 168, 112, "yuvj444p"
        for number, data in enumerate(files):
            packet = av.packet.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 3), number, number
            packet.is_keyframe = True
            out.mux(packet)
    clip = load_clip(path, **SETTINGS)
    assert clip.warnings == () and len(clip.frames) == 6
    for frame, data in zip(clip.frames, files, strict=True):
        assert np.abs(frame - shown(data)).mean() < 1.5


@pytest.mark.skipif(not CASE.is_dir(), reason="no shared/cases")
def test_the_case_of_four_frames_with_exif() -> None:
    clip = load_clip(CASE, **SETTINGS)
    assert len(clip.frames) == 4 and clip.warnings == ()
    for frame, name in zip(clip.frames, ("00000", "00001", "00002", "00003"), strict=True):
        with Image.open(CASE / f"{name}.jpg") as image:
            seen = ImageOps.exif_transpose(image).convert("RGB").resize(frame.shape[:0:-1], Image.Resampling.BICUBIC)
        assert np.abs(frame.astype(int) - np.asarray(seen).transpose(2, 0, 1)).mean() < 3
