"""Folders of frames under the names that tools give them, and those whose names say times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coded import draw, numbers
from PIL import Image

from trlt.errors import VideoError
from trlt.video.decode import load_clip
from trlt.video.numbering import holds_frames, number_frames
from trlt.video.resolve import VideoIndex

SETTINGS: dict[str, Any] = {"fps": 3.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 2048}


def put(folder: Path, *names: str) -> Path:
    """Frames that carry their places, 0 and on, under these names."""
    folder.mkdir(parents=True)
    for place, name in enumerate(names):
        Image.fromarray(draw(place)).save(folder / name, format="JPEG" if name.lower().endswith(("jpg", "jpeg")) else None)
    return folder


@pytest.mark.parametrize(
    "form",
    [
        "{:05d}.jpg",
        "{:04d}.JPG",
        "{}.png",
        "frame_{:04d}.png",
        "img{:05d}.jpg",
        "frame-{}.jpeg",
        "shot 1.{:04d}.webp",
        "{:03d}.bmp",
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_common_names_in_the_order_of_their_numbers(tmp_path: Path, form: str, first: int) -> None:
    # Twelve, so that 10 sorts before 2 as a text.
    folder = put(tmp_path / "a" / "clip", *(form.format(number) for number in range(first, first + 12)))
    assert VideoIndex(tmp_path).find("a/clip") == folder == VideoIndex(tmp_path).find("clip")
    clip = load_clip(folder, **SETTINGS)
    assert numbers(clip.frames) == list(range(12)) and clip.duration == pytest.approx(4)
    assert clip.times == pytest.approx([place / 3 for place in range(12)]) and clip.warnings == ()


@pytest.mark.parametrize(
    "names",
    [
        ["0.0.jpg", "0.5.jpg", "1.0.jpg", "1.5.jpg"],
        ["0.jpg", "0.5.jpg", "1.jpg", "1.5.jpg"],
        ["0s.jpg", "2s.jpg", "4s.jpg"],
        ["frame_0.0s.png", "frame_0.5s.png", "frame_1.0s.png"],
        ["500ms.jpg", "1000ms.jpg", "1500ms.jpg"],
        ["000000.jpg", "000500.jpg", "001000.jpg", "001500.jpg"],
        ["frame_0.jpg", "frame_30.jpg", "frame_60.jpg"],
        ["00-00-01.jpg", "00-00-02.jpg", "00-00-03.jpg"],
        ["clip_00:00:01.500.png", "clip_00:00:02.000.png"],
        ["20240131_120500.jpg", "20240131_120501.jpg"],
        ["1706702700.jpg", "1706702701.jpg", "1706702702.jpg"],
        ["1706702700123.jpg", "1706702700456.jpg"],
    ],
)
def test_frames_named_by_times_are_refused_with_the_reason(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path / "clip", *names)
    folder = VideoIndex(tmp_path).find("clip")  # it is there, and what is wrong with it is told
    with pytest.raises(VideoError, match=r"clip: its frames('| are).*(times).*read at one rate; name frames by number from 1"):
        load_clip(folder, **SETTINGS)


def test_what_else_lies_in_the_folder() -> None:
    frames = [f"{number:05d}.jpg" for number in (3, 1, 2)]
    wanted = {1: "00001.jpg", 2: "00002.jpg", 3: "00003.jpg"}
    assert number_frames([*frames, "notes.txt", "cover1.jpg", "thumb_1.png", "thumb_2.png"]) == wanted
    assert list(number_frames(frames)) == [1, 2, 3], "rising"
    # Numbers that are missing here and there are frames held longer.
    assert list(number_frames(f"f{number}.png" for number in (1, 2, 5, 6, 7))) == [1, 2, 5, 6, 7]
    with pytest.raises(ValueError, match=r"several names \(left_\*, right_\*\)"):
        number_frames(["left_1.png", "left_2.png", "right_1.png", "right_2.png"])
    with pytest.raises(ValueError, match=r"frame 1 is there more than once \(001.jpg, 1.jpg\)"):
        number_frames(["1.jpg", "001.jpg", "2.jpg"])
    with pytest.raises(ValueError, match="without numbered frames"):
        number_frames(["cover1.jpg", "back2.jpg", "notes.txt"])


def test_pictures_that_lie_about_are_no_video() -> None:
    assert not holds_frames(["cover1.jpg", "video.mp4", "poster.png", "frame_0001.txt"])
    assert holds_frames(["00001.jpg"]) and holds_frames(["img1.jpg", "img2.jpg"]) and holds_frames(["0.5s.jpg", "1.0s.jpg"])


def test_a_frame_that_is_a_playlist_shows_no_other_file(tmp_path: Path) -> None:
    folder = put(tmp_path / "clip", *(f"{number}.png" for number in range(1, 9)))
    (folder / "3.png").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n4.png\n#EXT-X-ENDLIST\n", encoding="utf-8")
    clip = load_clip(folder, **SETTINGS)
    assert 2 not in numbers(clip.frames) and clip.warnings[0].startswith("3.png can't be read")
