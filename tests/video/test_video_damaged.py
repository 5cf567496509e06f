"""Files that are not well: a reason, or the frames that are there and a warning."""

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from coded import make, numbers

from trlt.errors import VideoError
from trlt.video import decode
from trlt.video.clip import Clip
from trlt.video.decode import load_clip


def load(path: Path, threads: int = 0) -> Clip:
    return load_clip(path, fps=2, min_frames=4, max_frames=768, min_tokens=4, max_tokens=512, threads=threads)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"just some text\n" * 20, "not a video"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (bytes(range(256)) * 40, "not a video"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.txt"])
def test_not_videos(tmp_path: Path, content: bytes, reason: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=name) as caught:
        load(path)
    assert reason in str(caught.value) or name != "a.mp4"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        load(tmp_path / "a.mp4")


def test_audio_only(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 16000, Fraction(1, 16000)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video stream, only audio"):
        load(path)


def test_cut_off(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", 100, 10).read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"a\.mp4: not a video that can be opened"):
        load(path)

    whole = make(tmp_path / "start.mp4", 100, 10, options={"g": "10"}, container={"movflags": "faststart"}).read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    clip = load(path)
    assert "cut off" in clip.warnings[0] and len(clip.times) >= 14
    assert numbers(clip.frames) == [round(time * 10) for time in clip.times]
    path.write_bytes(whole[: len(whole) * 4 // 10])
    with pytest.raises(VideoError, match=r"a\.mp4: cut off: \d+ of 100"):
        load(path)

    whole = make(tmp_path / "whole.mkv", 100, 10, options={"g": "10"}).read_bytes()
    path = tmp_path / "a.mkv"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    clip = load(path)
    assert numbers(clip.frames) == [round(time * 10) for time in clip.times] and clip.duration < 8


@pytest.mark.parametrize("threads", [1, 3])
def test_damaged_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(decode, "SMALL_PIXELS", 1)
    path = make(tmp_path / "a.mp4", 120, 10, options={"g": "10"}, container={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    third = (len(data) - begin) // 3
    data[begin + third : begin + 2 * third] = bytes(third)
    path.write_bytes(data)
    clip = load(path, threads)
    assert clip.warnings and "damaged" in clip.warnings[0]
    sound = [(number, time) for number, time in zip(numbers(clip.frames), clip.times, strict=True) if not 2 < time < 9]
    assert len(sound) > 6 and all(number == int(time * 10 + 1e-6) for number, time in sound)


def test_wild_damage_gives_frames_or_a_reason(tmp_path: Path) -> None:
    dice = random.Random(3)
    for name in ("a.mp4", "a.mkv", "a.avi", "a.gif"):
        codec, pixels = {"a.avi": ("mpeg4", "yuv420p"), "a.gif": ("gif", "rgb8")}.get(name, ("libx264", "yuv420p"))
        whole = make(tmp_path / name, 40, 10, codec=codec, pixels=pixels).read_bytes()
        for _ in range(25):
            data = bytearray(whole)
            for _ in range(dice.choice([1, 5, 50])):
                data[dice.randrange(len(data))] = dice.randrange(256)
            (tmp_path / name).write_bytes(data[: dice.choice([len(data), dice.randrange(len(data))])])
            try:
                clip = load(tmp_path / name)
            except VideoError as error:
                assert name in str(error)
            else:
                assert len(clip.times) == len(clip.frames) >= 2 and clip.duration > 0
