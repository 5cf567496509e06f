"""Frames as a player shows them: turned, mirrored, stretched, opaque, without combs, in the right colours."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from coded import draw, make, numbers

from trlt.video.decode import load_clip
from trlt.video.picture import opaque, upright

SETTINGS: dict[str, Any] = {"fps": 2.0, "min_frames": 4, "max_frames": 8, "min_tokens": 4, "max_tokens": 2048}


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("side", [False, True])
def test_display_matrices(signs: tuple[int, int], side: bool) -> None:
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    one, other = (value << 16 for value in signs)
    matrix = np.array([[0, one], [other, 0]] if side else [[one, 0], [0, other]], np.int32)
    (a, b), (c, d) = (matrix >> 16).tolist()
    places = {(a * x + c * y, b * x + d * y): image[y, x] for y in range(5) for x in range(7)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    wanted = np.zeros((7, 5, 3) if side else (5, 7, 3), np.uint8)
    for (x, y), value in places.items():
        wanted[y - top, x - left] = value
    assert (upright(image, matrix) == wanted).all()


def test_a_mirrored_file(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 20, 10)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of a version 0 track header
    assert data[at : at + 4] == (1 << 16).to_bytes(4, "big")
    data[at : at + 4] = (-(1 << 16)).to_bytes(4, "big", signed=True)
    (tmp_path / "b.mp4").write_bytes(data)
    seen, mirrored = (load_clip(tmp_path / name, **SETTINGS).frames for name in ("a.mp4", "b.mp4"))
    assert numbers(mirrored[..., ::-1]) == numbers(seen) and (mirrored[..., ::-1] == seen).mean() > 0.99


def test_a_clean_aperture_hides_nothing(tmp_path: Path) -> None:
    """A `clap` of the middle 64 x 48 pixels: decided to be left aside (docs/decisions/frames-as-shown.md)."""
    data = bytearray(make(tmp_path / "a.mp4", 20, 10).read_bytes())
    box = (40).to_bytes(4, "big") + b"clap" + b"".join(n.to_bytes(4, "big") for n in (64, 1, 48, 1, 0, 1, 0, 1))
    place = data.rindex(b"moov") - 4
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.index(name, place) - 4
        end = place + int.from_bytes(data[place : place + 4], "big")
        data[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") + len(box)).to_bytes(4, "big")
    (tmp_path / "b.mp4").write_bytes(data[:end] + box + data[end:])
    whole, cropped = (load_clip(tmp_path / name, **SETTINGS).frames for name in ("a.mp4", "b.mp4"))
    assert cropped.shape == whole.shape and (cropped == whole).all()


def test_stretched_pixels_of_a_turned_file(tmp_path: Path) -> None:
    # 128 x 96 of pixels twice as wide, on their side: shown as 96 wide and 256 high
    shape = load_clip(make(tmp_path / "a.mp4", 20, 10, rotation=90, aspect=Fraction(2)), **SETTINGS).frames.shape
    assert shape[2] / shape[3] == pytest.approx(256 / 96, rel=0.15)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[0] = (200, 100, 0, 255)
    rgba[1] = (200, 100, 0, 51)
    assert opaque(rgba)[0].tolist() == [[200, 100, 0]] * 3 and opaque(rgba)[1].tolist() == [[244, 224, 204]] * 3
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("png", rate=2)
        stream.width, stream.height, stream.pix_fmt = 112, 112, "rgba"
        pixels = np.full((112, 112, 4), (0, 0, 255, 255), np.uint8)
        pixels[:, :56] = 0
        for _ in range(6):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        out.mux(stream.encode(None))
    frame = load_clip(path, **SETTINGS).frames[0]
    assert frame[:, 50, 10].tolist() == [255, 255, 255] and frame[:, 50, 100].tolist() == [0, 0, 255]


def test_interlaced_pictures_are_freed_of_combs(tmp_path: Path) -> None:
    combs = np.full((112, 112, 3), 60, np.uint8)
    combs[1::2] = 200
    spread = {}
    for name, options in (("fields", {"x264-params": "tff=1", "qp": "0"}), ("frames", {"qp": "0"})):
        path = tmp_path / f"{name}.mp4"
        with av.open(str(path), "w") as out:
            stream: Any = out.add_stream("libx264", rate=10, options=options)
            stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv420p"
            for _ in range(20):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(combs, format="rgb24")))
            out.mux(stream.encode(None))
        clip = load_clip(path, **SETTINGS)
        assert clip.frames.shape[1:] == (3, 112, 112) and len(clip.times) == 4 and clip.warnings == ()
        spread[name] = (float(clip.frames.std()), float(clip.frames.mean()))
    assert spread["frames"][0] > 60, "a progressive picture stays as it is"
    assert spread["fields"][0] < 6 and min(abs(spread["fields"][1] - value) for value in (60, 200)) < 8, (
        "one field's lines only"
    )


COLOURS = [(200, 30, 60), (20, 180, 90), (250, 250, 250), (5, 5, 5), (120, 128, 140)]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(("space", "matrix"), [("ITU709", 1), ("ITU601", 6)])
@pytest.mark.parametrize(("area", "code"), [("MPEG", 1), ("JPEG", 2)])
def test_colours(tmp_path: Path, colour: tuple[int, int, int], space: str, matrix: int, area: str, code: int) -> None:
    """BT.709 and BT.601, limited and full range: what was put in comes out."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=2, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, code
        picture = av.VideoFrame.from_ndarray(np.full((112, 112, 3), colour, np.uint8), format="rgb24")
        for _ in range(6):
            out.mux(stream.encode(picture.reformat(format="yuv444p", dst_colorspace=space, dst_color_range=area)))
        out.mux(stream.encode(None))
    frames = load_clip(path, **SETTINGS).frames
    assert np.abs(frames.mean(axis=(0, 2, 3)) - colour).max() <= 2.5


@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv420p10le"), ("libx265", "yuv422p10le"), ("ffv1", "yuv444p16le")])
def test_deep_colour(tmp_path: Path, codec: str, pixels: str) -> None:
    options = {"log-level": "none"} if codec == "libx265" else {}
    path = make(tmp_path / "a.mkv", 20, 10, codec=codec, pixels=pixels, options=options)
    frames = load_clip(path, **SETTINGS).frames
    assert numbers(frames) == [0, 6, 13, 19]
    assert frames[-1].mean() == pytest.approx(draw(19).mean(), abs=4)
