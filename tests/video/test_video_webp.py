"""Pictures that move without being videos: animated WebP, GIF and PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coded import draw, numbers
from PIL import Image

from trlt.errors import VideoError
from trlt.task.sample import Span
from trlt.video.clip import Clip
from trlt.video.cut import cut
from trlt.video.decode import load_clip
from trlt.video.resolve import VideoIndex


def load(path: Path, **changes: Any) -> Clip:
    return load_clip(path, **{"fps": 2.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 2048, **changes})


def write(path: Path, lengths_ms: list[int], **options: Any) -> Path:
    first, *rest = (Image.fromarray(draw(number)) for number in range(len(lengths_ms)))
    more = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=lengths_ms, **more, **options)
    return path


@pytest.mark.parametrize("name", ["a.webp", "a.gif", "a.png", "a.apng"])
def test_animations_are_read_like_videos(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [100] * 20, **({"format": "PNG"} if name.endswith("png") else {}))
    clip = load(path)
    assert numbers(clip.frames) == [0, 6, 13, 19] and clip.times == pytest.approx([0, 0.6, 1.3, 1.9])
    assert clip.duration == pytest.approx(2) and clip.warnings == ()
    assert numbers(load(path, start=0.5, end=0.9, fps=10).frames) == [5, 6, 7, 8]


def test_webp_pictures_that_stay_for_different_times(tmp_path: Path) -> None:
    clip = load(write(tmp_path / "a.webp", [100] * 10 + [300] * 10), fps=10)
    # At 1.0 s number 10 begins, and each further one 0.3 s later; the last stays until 4.0 s.
    # No more frames than pictures: 20 moments, 0.2 s apart.
    assert clip.duration == pytest.approx(4) and clip.times == pytest.approx([0.2 * number for number in range(20)])
    assert numbers(clip.frames) == [0, 2, 4, 6, 8, 10, 10, 11, 12, 12, 13, 14, 14, 15, 16, 16, 17, 18, 18, 19]


def test_webp_pictures_without_a_time_stay_as_browsers_show_them(tmp_path: Path) -> None:
    assert load(write(tmp_path / "a.webp", [0] * 20)).duration == pytest.approx(2)


def test_what_a_webp_leaves_open_is_white(tmp_path: Path) -> None:
    pictures = [Image.new("RGBA", (112, 112), (0, 0, 200, 255)) for _ in range(4)]
    for number, picture in enumerate(pictures):
        picture.paste((0, 0, 0, 0), (0, 0, 56, 56 + number))
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=500, lossless=True)
    frame = load(tmp_path / "a.webp").frames[0]
    assert frame[:, 20, 20].tolist() == [255, 255, 255] and frame[:, 100, 100].tolist() == [0, 0, 200]


def test_webp_that_is_damaged_or_still(tmp_path: Path) -> None:
    data = write(tmp_path / "a.webp", [100] * 20).read_bytes()
    (tmp_path / "cut.webp").write_bytes(data[: len(data) // 2])
    (tmp_path / "zeroed.webp").write_bytes(data[:300] + bytes(600) + data[900:])
    (tmp_path / "head.webp").write_bytes(data[:30])
    for name in ("cut", "zeroed", "head"):
        with pytest.raises(VideoError, match=rf"{name}\.webp: (can't be decoded|holds no video)"):
            load(tmp_path / f"{name}.webp")
    Image.fromarray(draw(1)).save(tmp_path / "still.webp", lossless=True)
    with pytest.raises(VideoError, match=r"still\.webp: 1 frame, but at least 2"):
        load(tmp_path / "still.webp")
    with pytest.raises(VideoError, match="animated WebP can't be cut"):
        cut(tmp_path / "a.webp", Span(0, 1), tmp_path / "out.mp4")


def test_a_webp_that_moves_is_found_by_name_and_a_thumbnail_never_is(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "moving.webp", [100] * 4)
    (tmp_path / "b" / "v_abcde.mp4").touch()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "b" / "v_abcde.webp")
    index = VideoIndex(tmp_path)
    assert index.find("moving") == tmp_path / "b/moving.webp" and index.find("v_abcde") == tmp_path / "b/v_abcde.mp4"
    assert index.all() == ["b/moving.webp", "b/v_abcde.mp4"]
