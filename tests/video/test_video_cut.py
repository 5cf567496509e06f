"""Cutting a span: exact frames, at their times, with their sound."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from coded import make, numbers, read, spoil

from trlt.errors import UsageError, VideoError
from trlt.task.sample import Span
from trlt.video.cut import cut

RATE = 16_000
BEEP = 1.5
"""Seconds at which the sound begins."""


def frames_of(path):
    """(numbers, times) of every frame of a file."""
    with av.open(str(path)) as container:
        found = [(frame.to_ndarray(format="rgb24").transpose(2, 0, 1), frame.time) for frame in container.decode(video=0)]
    return numbers([picture for picture, _ in found]), [time for _, time in found]


@pytest.mark.parametrize(
    "options", [{"g": "12", "bf": "2"}, {"g": "250", "bf": "0"}, {"g": "8", "x264-params": "open-gop=1:bframes=3"}]
)
def test_exactly_the_frames_of_the_span_are_kept(tmp_path, options):
    source = make(tmp_path / "a.mp4", 60, 10, options=options)
    result = cut(source, Span(1.95, 3.5), tmp_path / "b.mp4")
    found, times = frames_of(tmp_path / "b.mp4")
    assert found == list(range(20, 35)), "half-open: the frame at 3.5 s isn't in it"
    assert times == pytest.approx([k / 10 for k in range(15)], abs=1e-4)
    assert (result.start, result.end, result.frames, result.sound) == (pytest.approx(2.0), 3.5, 15, False)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(1.5, abs=0.02)


def test_uneven_times_and_a_file_without_times(tmp_path):
    stamps = [0, 100, 150, 900, 1000, 1700, 1710, 2500]
    cut(make(tmp_path / "a.mkv", stamps=stamps), Span(0.1, 1.71), tmp_path / "b.mp4")
    found, times = frames_of(tmp_path / "b.mp4")
    assert found == [1, 2, 3, 4, 5] and times == pytest.approx([0, 0.05, 0.8, 0.9, 1.6], abs=1e-3)
    cut(make(tmp_path / "c.avi", 30, 10, codec="mpeg4"), Span(1, 2), tmp_path / "d.mp4")
    assert frames_of(tmp_path / "d.mp4")[0] == list(range(10, 20))


def test_a_turned_video_stands_upright_and_keeps_the_shape_of_its_pixels(tmp_path):
    source = make(tmp_path / "a.mp4", 10, 10, rotation=90, aspect=Fraction(4, 3))
    cut(source, Span(0, 1), tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        [stream] = container.streams.video
        assert (stream.width, stream.height) == (96, 128) and stream.sample_aspect_ratio == Fraction(3, 4)


def test_odd_sides_lose_a_line(tmp_path):
    cut(make(tmp_path / "a.mkv", 10, 10, codec="ffv1", pixels="bgr0", size=(127, 95)), Span(0, 0.5), tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height) == (126, 94) and read(frame.to_ndarray(format="rgb24").transpose(2, 0, 1)) == 0


def sounding(path):
    """Three seconds of numbered frames, and a tone from `BEEP` on."""
    silent = make(path.with_suffix(".silent.mp4"), 30, 10)
    times = np.arange(3 * RATE) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 440 * times) * (times >= BEEP)).astype(np.float32)[None]
    with av.open(str(silent)) as pictures, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(pictures.streams.video[0])
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        for packet in pictures.demux(pictures.streams.video[0]):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        for first in range(0, 3 * RATE, 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, first : first + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
            out.mux(audio.encode(frame))
        out.mux(audio.encode())
    return path


def test_sound_is_kept_at_its_time(tmp_path):
    result = cut(sounding(tmp_path / "a.mp4"), Span(1.0, 2.2), tmp_path / "b.mp4")
    assert result.sound and frames_of(tmp_path / "b.mp4")[0] == list(range(10, 22))
    with av.open(str(tmp_path / "b.mp4")) as container:
        parts = [(frame.time, frame.sample_rate, frame.to_ndarray()[0]) for frame in container.decode(audio=0)]
    heard = np.concatenate([samples for _, _, samples in parts])
    rate, loud = parts[0][1], np.abs(heard) > 0.1
    assert parts[0][0] + np.argmax(loud) / rate == pytest.approx(BEEP - 1.0, abs=0.03)
    assert loud[int(0.55 * rate) : int(1.15 * rate)].mean() > 0.5 and len(heard) / rate == pytest.approx(1.2, abs=0.06)


def test_what_cannot_be_cut_says_why_and_leaves_nothing(tmp_path):
    source = make(tmp_path / "a.mp4", 10, 10)
    with pytest.raises(VideoError, match=r"no frame is presented from 7 to 9 s; the last is at 0.90 s"):
        cut(source, Span(7, 9), tmp_path / "b.mp4")
    with pytest.raises(UsageError, match=r"ends in \.mp4"):
        cut(source, Span(0, 1), tmp_path / "b.mkv")
    with pytest.raises(UsageError, match="is the video itself"):
        cut(source, Span(0, 1), source)
    (tmp_path / "frames").mkdir()
    with pytest.raises(UsageError, match="folder of frames"):
        cut(tmp_path / "frames", Span(0, 1), tmp_path / "b.mp4")
    (tmp_path / "torn.mp4").write_bytes(source.read_bytes()[:400])
    with pytest.raises(VideoError, match=r"torn\.mp4"):
        cut(tmp_path / "torn.mp4", Span(0, 1), tmp_path / "b.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "frames", "torn.mp4"]


def test_a_cut_replaces_the_old_one_in_one_step(tmp_path):
    source = make(tmp_path / "a.mp4", 10, 10)
    (tmp_path / "b.mp4").write_bytes(b"old")
    with pytest.raises(VideoError):
        cut(source, Span(7, 9), tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_bytes() == b"old"
    assert cut(source, Span(0.2, 9), tmp_path / "b.mp4").end == pytest.approx(1.0), "where the video ends"
    cut(source, Span(0.2, 0.4), tmp_path / "b.mp4")
    assert frames_of(tmp_path / "b.mp4")[0] == [2, 3]


@pytest.mark.parametrize("group", ["1", "5"])
def test_a_middle_that_can_not_be_decoded_stays_on_the_picture_before(tmp_path, group):
    source = spoil(make(tmp_path / "a.mp4", 60, 10, options={"g": group, "bf": "0"}), range(20, 30))
    result = cut(source, Span(1, 4), tmp_path / "b.mp4")
    found, times = frames_of(tmp_path / "b.mp4")
    assert found == [*range(10, 20), *range(30, 40)]
    assert times == pytest.approx([k / 10 for k in (*range(10), *range(20, 30))], abs=1e-4), "each at its own time"
    said = (
        "at 2.00 s: damaged; 10 of 30 frames can't be decoded, the last at 2.90 s: those beside stay on screen in their place"
    )
    assert result.warnings == (said,) and (result.start, result.end, result.frames) == (1.0, 4.0, 20)
    cut(source, Span(2.5, 4), tmp_path / "b.mp4")
    assert frames_of(tmp_path / "b.mp4")[0] == [*range(30, 40)]
    assert cut(source, Span(4, 5), tmp_path / "b.mp4").warnings == ()


def test_of_damage_more_than_half_is_refused_with_where_it_ends(tmp_path):
    source = spoil(make(tmp_path / "a.mp4", 60, 10, options={"g": "1", "bf": "0"}), range(20, 36))
    with pytest.raises(VideoError, match=r"at 2.00 s: 16 of 30 .* the last at 3.50 s; the file is damaged there: cut what is"):
        cut(source, Span(1, 4), tmp_path / "b.mp4")
    assert cut(source, Span(1, 2), tmp_path / "b.mp4").frames == cut(source, Span(3.6, 4.6), tmp_path / "b.mp4").frames == 10
