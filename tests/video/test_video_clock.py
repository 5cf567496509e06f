"""One clock, a player's: what the model sees at a second is what bounds, durations and cuts call that second."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from coded import add_sound, make, numbers

from trlt.task.sample import Span
from trlt.video import clock, container
from trlt.video.budget import Budget
from trlt.video.clip import Clip
from trlt.video.cut import cut
from trlt.video.decode import load_clip
from trlt.video.timeline import choose, timeline

SETTINGS = {"fps": 2.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 512}
HELD = [*range(0, 3000, 50), *range(7000, 10000, 50)]
"""Stamps in ms: 20 a second, picture 59 is on screen from 2.95 to 7 s."""


def load(path: Path, **changes: float | None) -> Clip:
    return load_clip(path, **{**SETTINGS, **changes})  # type: ignore[arg-type]


def told(clip: Clip, begin: float = 0.0) -> list[tuple[float, int]]:
    """(second that the model takes a frame for, number of the picture)."""
    step = clip.seconds_per_grid / 2
    return [(begin + i * step, number) for i, number in enumerate(numbers(clip.frames))]


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 pictures, 20 a second, from second 1.5 of the sound on."""
    folder = tmp_path_factory.mktemp("late")
    silent = make(folder / "silent.mp4", stamps=range(1500, 11500, 50), rate=20, options={"g": "40"})
    return add_sound(silent, folder / "late.mp4", 10)


def test_a_picture_that_comes_after_the_sound(late: Path, tmp_path: Path) -> None:
    whole = load(late)
    assert whole.duration == pytest.approx(11.5) and whole.warnings == ()
    assert [number for _, number in told(whole)] == [max(0, int((time - 1.5) * 20 + 1e-6)) for time, _ in told(whole)]
    dense = load(late, fps=20)
    assert dict((round(time, 3), number) for time, number in told(dense))[4.0] == 50
    assert numbers(load(late, start=4.0, end=6.0, fps=20).frames) == list(range(50, 90)), "bounds mean the same second"
    early = load(late, start=0.5, end=2.5, fps=10)
    assert told(early, 0.5) == [(pytest.approx(0.5 + k / 10), max(0, 2 * (k - 10))) for k in range(20)]
    made = cut(late, Span(0.5, 2.5), tmp_path / "cut.mp4")
    assert (made.start, made.end, made.sound) == (0.5, 2.5, True)
    pieces = load(made.path, fps=10)
    assert numbers(pieces.frames) == numbers(early.frames), "second 0 of the cut is second 0.5 of the file"
    with av.open(str(made.path)) as file:
        assert [float(s.start_time * s.time_base) for s in file.streams.audio] == [pytest.approx(0, abs=0.03)]


@pytest.mark.parametrize("name", ["held.mp4", "held.mkv"])
def test_a_picture_that_is_held_is_seen(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, stamps=HELD, rate=20)
    clip = load(path, start=4.0, end=6.0)
    assert told(clip, 4.0) == [(4.0, 59), (4.5, 59), (5.0, 59), (5.5, 59)] and clip.duration == 2.0
    assert clip.times.tolist() == [4.0, 4.5, 5.0, 5.5] and clip.warnings == ()
    moving = load(path, start=6.0, end=8.0, fps=4)
    assert told(moving, 6.0) == [(6 + k / 4, 59 if k < 4 else 60 + 5 * (k - 4)) for k in range(8)]
    made = cut(path, Span(4.0, 6.0), tmp_path / "cut.mp4")
    with av.open(str(made.path)) as file:
        assert file.duration == pytest.approx(2e6, abs=2e4), "held to the end"
    assert set(numbers(load(made.path).frames)) == {59}


def test_a_clip_between_two_pictures_of_a_slide_show(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 10, Fraction(1, 2))
    assert numbers(load(path, start=4.5, end=5.5).frames) == [2, 2]
    assert numbers(load(path, start=4.5, end=6.5, fps=2).frames) == [2, 2], "each moment's picture"
    assert numbers(load(path, start=4.0, end=12.0).frames) == [2, 3, 4, 5], "by number, as the family counts"


def test_a_recording_that_begins_amid_a_group_of_pictures(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.ts", 120, 20, options={"g": "40", "bf": "0"}).read_bytes()
    path = tmp_path / "amid.ts"
    packets = [whole[i : i + 188] for i in range(0, len(whole), 188)]
    tables = b"".join(packets[:3])  # what names the streams
    path.write_bytes(tables + b"".join(packets[len(packets) // 6 :]))
    stamps = []
    for file in (tmp_path / "whole.ts", path):
        with av.open(str(file)) as source:
            stamps.append(min(packet.pts for packet in source.demux(video=0) if packet.pts is not None))
    cut_off = (stamps[1] - stamps[0]) // 4500
    assert 3 < cut_off < 35
    clip = load(path)
    assert "can't be decoded" in clip.warnings[-1]
    assert [number for _, number in told(clip)] == [max(40, cut_off + int(time * 20 + 1e-6)) for time, _ in told(clip)]
    assert numbers(load(path, start=3.0, end=4.0, fps=20).frames) == [cut_off + k for k in range(60, 80)]
    assert cut(path, Span(0, 3.0), tmp_path / "cut.mp4").start == 0
    assert numbers(load(tmp_path / "cut.mp4", start=2.5, end=3.0, fps=20).frames) == [cut_off + k for k in range(50, 60)]


def test_sound_that_begins_a_moment_early_changes_no_frame(tmp_path: Path) -> None:
    # As coders of sound leave it: 1,024 samples before the first picture.
    silent = make(tmp_path / "silent.mkv", 100, 20)
    path = add_sound(make(tmp_path / "later.mkv", stamps=range(23, 5023, 50), rate=20), tmp_path / "a.mkv", 5)
    assert load(path).times[0] == pytest.approx(0.023)
    for bounds in ({}, {"start": 1.0, "end": 3.0}):
        one, other = load(path, **bounds), load(silent, **bounds)
        assert numbers(one.frames) == numbers(other.frames) and one.sample_fps == other.sample_fps


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.webm", "a.mpg"])
def test_parts_whose_clock_begins_anew(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = {"a.webm": "libvpx-vp9", "a.mpg": "mpeg2video"}.get(name, "libx264")
    parts = [make(tmp_path / f"{n}{name}", n, 25, codec=codec, options={"g": "12"}).read_bytes() for n in (50, 70)]
    path = tmp_path / name
    path.write_bytes(b"".join(parts))
    for keep in (container.KEEP_BYTES, 0):
        monkeypatch.setattr(container, "KEEP_BYTES", keep)
        clip = load(path, fps=25)
        assert numbers(clip.frames) == [*range(50), *range(70)]
        assert clip.times == pytest.approx(np.arange(120) / 25, abs=2e-3) and clip.duration == pytest.approx(4.8, abs=0.01)
        assert "at 2.00 s: the clock begins anew; 2 parts" in clip.warnings[0]
        assert numbers(load(path, start=1.8, end=2.2, fps=25).frames) == [45, 46, 47, 48, 49, 0, 1, 2, 3, 4]
    cut(path, Span(1.8, 2.2), tmp_path / "cut.mp4")
    assert numbers(load(tmp_path / "cut.mp4", fps=25).frames) == [45, 46, 47, 48, 49, 0, 1, 2, 3, 4]


def test_a_clock_that_jumps_ahead(tmp_path: Path) -> None:
    first = make(tmp_path / "a.ts", 50, 25).read_bytes()
    second = make(tmp_path / "b.ts", stamps=range(500_000, 502_000, 40), rate=25).read_bytes()
    (tmp_path / "c.ts").write_bytes(first + second)
    clip = load(tmp_path / "c.ts", fps=25)
    assert numbers(clip.frames) == [*range(50), *range(50)] and clip.duration == pytest.approx(4.0, abs=0.01)
    held = load(make(tmp_path / "d.mp4", stamps=[*range(0, 2000, 40), *range(500_000, 502_000, 40)], rate=25))
    assert held.duration == pytest.approx(502, abs=0.1) and held.warnings == (), "elsewhere, a picture is held"


def test_reordered_pictures_are_no_jump() -> None:
    # Decoding order of I P B B around a picture that is held for 4 s: the last two lie far before what was decoded.
    stamps: list[int | None] = [0, 150, 50, 100, 4300, 4150, 4200, 4450, 4350, 4400]
    assert clock.parts(stamps, [True, *[False] * 9], 50, None) == [(0, 0)]
    # A part that begins amid a group: after more pictures than can be reordered.
    late = [*range(0, 1000, 50), *range(100, 1000, 50)]
    assert clock.parts(late, [True, *[False] * 37], 50, None) == [(0, 0), (20, 900)]
    assert clock.moved(late, [(0, 0), (20, 900)]) == [*range(0, 1900, 50)]


def test_moments_at_a_varying_rate() -> None:
    line = timeline(np.array([0.0, 0.1, 0.2, 5.0, 5.1, 9.0]), None, 1.0)
    choice = choose(line, Budget(fps=1.0, min_frames=4), 1.0, 9.0)
    # 10 s for 6 pictures are 0.6 a second: 8 s hold 5 at most, an even 4; from 1 s on every 2 s
    assert choice.times.tolist() == [1.0, 3.0, 5.0, 7.0] and choice.indices.tolist() == [2, 2, 3, 4]
    assert choice.sample_fps == 0.5 and choice.duration == 8.0
    with pytest.raises(ValueError, match="holds no picture"):
        choose(line, Budget(), 10.0, 11.0)
