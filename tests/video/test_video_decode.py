"""Which frames come out of made files, by the numbers they carry."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from coded import draw, make, numbers
from family_reader import register_backend
from paths import SHARED
from qwen_vl_utils import vision_process

from trlt.errors import VideoError
from trlt.video import container, decode
from trlt.video.clip import Clip
from trlt.video.decode import load_clip

SETTINGS = {"fps": 2.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 2048}
SHARED = SHARED / "data" / "videos"


def load(path: Path, **changes: float | None) -> Clip:
    return load_clip(path, **{**SETTINGS, **changes})  # type: ignore[arg-type]


def expected(total: int, rate: float, first: int = 0, **changes: float) -> list[int]:
    element = {key: {**SETTINGS, **changes}[key] for key in ("fps", "min_frames", "max_frames")}
    count = vision_process.smart_nframes(element, total, rate)
    return torch.linspace(first, first + total - 1, count).round().long().tolist()


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(30), Fraction(60), Fraction(25, 2)], ids=str
)
@pytest.mark.parametrize("count", [37, 150])
def test_frames_at_a_constant_rate(tmp_path: Path, rate: Fraction, count: int) -> None:
    clip = load(make(tmp_path / "a.mp4", count, rate))
    wanted = expected(count, float(rate))
    assert numbers(clip.frames) == wanted
    assert clip.times == pytest.approx([float(i / rate) for i in wanted], abs=1e-6)
    assert clip.duration == pytest.approx(float(count / rate), abs=1e-6)
    assert clip.sample_fps == pytest.approx(len(wanted) / count * float(rate))
    assert clip.seconds_per_grid == pytest.approx(2 / clip.sample_fps)
    assert clip.grid == (len(wanted) // 2, clip.frames.shape[2] // 14, clip.frames.shape[3] // 14)
    assert clip.tokens <= 2048 and clip.frames.dtype == np.uint8 and clip.warnings == ()


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("b.webm", "libvpx", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("b.avi", "libx264", "yuv420p"),
        ("c.avi", "mjpeg", "yuvj420p"),
        ("a.mov", "libx265", "yuv420p10le"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_containers_and_codecs(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    options = (
        {"auto-alt-ref": "1", "lag-in-frames": "16"}
        if codec == "libvpx"
        else {"log-level": "none"}
        if codec == "libx265"
        else {}
    )
    clip = load(make(tmp_path / name, 60, 10, codec=codec, pixels=pixels, options=options))
    assert numbers(clip.frames) == expected(60, 10.0)
    assert clip.times == pytest.approx([i / 10 for i in expected(60, 10.0)], abs=1e-3)
    assert clip.duration == pytest.approx(6.0, abs=0.02) and clip.warnings == ()


def test_bounds_are_half_open(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 100, 10)
    clip = load(path, start=2.0, end=4.0, fps=10)
    assert numbers(clip.frames) == list(range(20, 40))
    assert clip.times[0] == pytest.approx(2.0) and clip.duration == pytest.approx(2.0)
    assert numbers(load(path, start=2.01, end=4.01, fps=10).frames) == list(range(21, 41))
    assert numbers(load(path, start=9.0, end=50.0, fps=10).frames) == list(range(90, 100))
    assert numbers(load(path, end=3.0).frames) == expected(30, 10.0)
    assert numbers(load(path, start=7.0).frames) == expected(30, 10.0, first=70)


@pytest.mark.parametrize("bounds", [(11.0, 12.0), (10.0, 12.0), (4.0, 2.0), (-1.0, 2.0), (0.0, float("nan"))])
def test_bounds_without_frames(tmp_path: Path, bounds: tuple[float, float]) -> None:
    with pytest.raises(VideoError, match=r"a\.mp4.*clip"):
        load(make(tmp_path / "a.mp4", 100, 10), start=bounds[0], end=bounds[1])


def test_variable_rate_goes_by_presentation_time(tmp_path: Path) -> None:
    # 10 a second for 3 s, one frame held until 8 s, then 20 a second beyond 10 s
    stamps = [*range(0, 3000, 100), *range(8000, 10050, 50)]
    path = make(tmp_path / "a.mkv", stamps=stamps)
    clip = load(path)
    assert clip.duration == pytest.approx(10.033) and len(clip.times) == 20, "the file says that its last frame stays 33 ms"
    # What the model counts: evenly from the beginning, two frames a grid.
    moments = np.arange(20) * clip.seconds_per_grid / 2
    assert moments == pytest.approx(np.arange(20) * 10.033 / 20) and clip.times == pytest.approx(moments)
    assert numbers(clip.frames) == [max(i for i, stamp in enumerate(stamps) if stamp <= 1000 * moment) for moment in moments]
    bounded = load(path, start=8.0, end=9.0, fps=20)
    assert numbers(bounded.frames) == list(range(30, 50)) and bounded.sample_fps == pytest.approx(20)


def test_few_frames(tmp_path: Path) -> None:
    assert numbers(load(make(tmp_path / "two.mp4", 2)).frames) == [0, 1]
    assert numbers(load(make(tmp_path / "three.mp4", 3)).frames) == [0, 2]
    with pytest.raises(VideoError, match=r"one\.mp4: 1 frame, but at least 2"):
        load(make(tmp_path / "one.mp4", 1))


def test_sparse_frames_of_a_large_file_skip_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "KEEP_BYTES", 0)
    fed: list[list[tuple[int, int]]] = []
    plan = decode.plan
    monkeypatch.setattr(decode, "plan", lambda *args: fed.append(plan(*args)) or fed[-1])
    for options in ({"g": "30"}, {"g": "30", "x264-params": "open-gop=1"}):
        clip = load(make(tmp_path / "a.mp4", 600, 30, options=options), max_frames=4)
        assert numbers(clip.frames) == [0, 200, 399, 599] and clip.warnings == ()
        assert sum(last - first + 1 for first, last in fed.pop()) < 200


def test_rotation_and_pixel_aspect(tmp_path: Path) -> None:
    upright, turned = make(tmp_path / "a.mp4", 20, 10), make(tmp_path / "b.mp4", 20, 10, rotation=-90)
    plain, rotated = load(upright).frames, load(turned).frames
    assert rotated.shape[2:] == plain.shape[:1:-1]
    assert np.abs(np.rot90(plain, -1, axes=(2, 3)).astype(int) - rotated).mean() < 3
    wide = load(make(tmp_path / "c.mp4", 20, 10, aspect=Fraction(2))).frames.shape
    assert wide[3] / wide[2] == pytest.approx(256 / 96, rel=0.15)
    almost = load(make(tmp_path / "d.mp4", 20, 10, aspect=Fraction(704, 705))).frames.shape
    assert almost == plain.shape


@pytest.mark.parametrize("rate", [Fraction(50), Fraction(10), Fraction(30000, 1001)])
@pytest.mark.parametrize(
    ("suffix", "form", "codec", "pixels"),
    [
        ("h264", "h264", "libx264", "yuv420p"),
        ("h265", "hevc", "libx265", "yuv420p"),
        ("m4v", "m4v", "mpeg4", "yuv420p"),
        ("ivf", "ivf", "libvpx", "yuv420p"),
        ("y4m", "yuv4mpegpipe", "wrapped_avframe", "yuv420p"),
    ],
)
def test_bare_streams_run_at_their_own_rate(
    tmp_path: Path, suffix: str, form: str, codec: str, pixels: str, rate: Fraction
) -> None:
    options = {"log-level": "none"} if codec == "libx265" else {}
    written = make(tmp_path / f"a.{form}", 60, rate, codec=codec, pixels=pixels, options=options, form=form)
    clip = load(written.rename(tmp_path / f"a.{suffix}"))
    assert clip.duration == pytest.approx(float(60 / rate), rel=1e-3) and clip.warnings == ()
    assert numbers(clip.frames) == expected(60, float(rate))
    assert clip.times == pytest.approx([number / float(rate) for number in numbers(clip.frames)], abs=2e-3)


def test_a_bare_stream_that_tells_no_rate_is_read_with_a_warning(tmp_path: Path) -> None:
    clip = load(make(tmp_path / "a.mjpeg", 60, 50, codec="mjpeg", pixels="yuvj420p"))
    assert clip.duration == pytest.approx(60 / 25) and clip.warnings == ("tells no frame rate; read as 25 frames a second",)


def test_folder_of_frames(tmp_path: Path) -> None:
    for number in range(1, 31):
        with av.open(str(tmp_path / f"{number:05d}.jpg"), "w", format="image2", options={"update": "1"}) as out:
            stream = out.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number), format="rgb24")))
            out.mux(stream.encode(None))
    (tmp_path / "notes.txt").write_text("ignored", encoding="utf-8")
    clip = load(tmp_path)
    assert numbers(clip.frames) == [i + 1 for i in expected(30, 3.0)] and clip.duration == pytest.approx(10)
    bounded = load(tmp_path, start=2.0, end=4.0, fps=3)
    assert numbers(bounded.frames) == [7, 8, 9, 10, 11, 12]
    (tmp_path / "00016.jpg").write_bytes(b"broken")
    clip = load(tmp_path, fps=3)
    assert 16 not in numbers(clip.frames) and "00016.jpg" in clip.warnings[0]
    for number in range(1, 25):
        (tmp_path / f"{number:05d}.jpg").write_bytes(b"")
    with pytest.raises(VideoError, match="can't be read"):
        load(tmp_path)
    with pytest.raises(VideoError, match="without numbered frames"):
        load(Path(__file__).parent)


def test_as_a_backend_of_the_familys_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_process, "VIDEO_READER_BACKENDS", dict(vision_process.VIDEO_READER_BACKENDS))
    monkeypatch.setattr(vision_process, "FORCE_QWENVL_VIDEO_READER", None)
    register_backend()
    path = make(tmp_path / "a.mp4", 150, 30)
    for tokens in (128, 2048):
        element = {"video": str(path), "fps": 2.0, "total_pixels": tokens * 784, "min_pixels": 4 * 784}
        (video, metadata), fps = vision_process.fetch_video(element, return_video_sample_fps=True, return_video_metadata=True)
        clip = load(path, max_tokens=tokens)
        assert metadata["frames_indices"] == numbers(clip.frames) and fps == clip.sample_fps
        assert video.shape == clip.frames.shape and np.abs(video.numpy() - clip.frames).max() <= 1
    video = vision_process.fetch_video({"video": f"file://{path}", "nframes": 6})
    assert numbers(video.numpy()) == torch.linspace(0, 149, 6).round().long().tolist()
    with pytest.raises(VideoError, match="only files"):
        vision_process.fetch_video({"video": "https://example.org/a.mp4"})


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real videos beside the repository")
def test_real_videos() -> None:
    for path in sorted(SHARED.iterdir()):
        for changes in ({"max_tokens": 128}, {"fps": 8.0, "max_frames": 8, "start": 0.2, "end": 0.9}):
            clip = load(path, **changes)
            bounds = (changes.get("start", 0.0), changes.get("end", clip.duration))
            assert bounds[0] <= clip.times[0] and clip.times[-1] < bounds[1] and (np.diff(clip.times) >= 0).all()
            assert clip.frames.std() > 5 and clip.warnings == (), path
            assert clip.tokens <= max(changes.get("max_tokens", 2048), 4.2 * clip.grid[0]), path


def test_decoding_needs_no_torch() -> None:
    code = "import sys, trlt.video.decoder_process; sys.exit(any(name in sys.modules for name in ('torch', 'pydantic', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("b.mp4", "libx264", {"bf": "3", "x264-params": "b-pyramid=none"}),
        ("c.mp4", "libx265", {"log-level": "none", "x265-params": "bframes=4:log-level=none"}),
        ("d.mp4", "mpeg4", {"bf": "2"}),
        ("e.mpg", "mpeg2video", {"bf": "2"}),
        ("f.mkv", "libsvtav1", {"preset": "12"}),
        ("g.webm", "libvpx-vp9", {"deadline": "realtime"}),
    ],
)
def test_leaving_out_frames_that_nobody_needs_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, options: dict[str, str]
) -> None:
    try:
        path = make(tmp_path / name, 90, 25, codec=codec, options=options)
    except (av.error.FFmpegError, ValueError):
        pytest.skip(f"this build of FFmpeg has no encoder {codec}")
    came: list[int] = []
    frames = decode.decoded

    def counted(*args: Any) -> Any:
        for frame in frames(*args):
            came[-1] += 1
            yield frame

    monkeypatch.setattr(decode, "decoded", counted)
    for changes in ({"fps": 2.0}, {"fps": 7.0, "start": 0.5, "end": 2.9}, {"fps": 25.0}):
        came.append(0)
        lean = load(path, **changes)
        came.append(0)
        with monkeypatch.context() as patch:
            patch.setattr(decode, "LEAN", ())
            full = load(path, **changes)
        assert (lean.frames == full.frames).all() and (lean.times == full.times).all() and lean.warnings == ()
        assert len(numbers(lean.frames)) == len(lean.times)
    if codec in ("libx264", "libx265", "mpeg4", "mpeg2video"):
        assert came[0] < 0.8 * came[1], "frames that nobody refers to were decoded"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "12"}),
        ("b.mp4", "libx264", {"g": "12", "x264-params": "open-gop=1:bframes=3"}),
        ("c.mp4", "libx265", {"log-level": "none", "x265-params": "keyint=12:open-gop=1:log-level=none"}),
        ("d.mp4", "mpeg4", {"g": "12", "bf": "2"}),
        ("e.webm", "libvpx-vp9", {"g": "12", "deadline": "realtime"}),
        ("f.mkv", "ffv1", {}),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
def test_parts_that_are_decoded_side_by_side_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, options: dict[str, str], keep: bool
) -> None:
    path = make(tmp_path / name, 120, 25, codec=codec, options=options)
    if not keep:
        monkeypatch.setattr(container, "KEEP_BYTES", 0)
    monkeypatch.setattr(decode, "SMALL_PIXELS", 1)
    counts: list[int] = []
    split = decode.split
    monkeypatch.setattr(decode, "split", lambda *args: counts.append(len(made := split(*args))) or made)
    for changes in ({"fps": 2.0}, {"fps": 25.0}, {"fps": 9.0, "start": 0.5, "end": 3.9}):
        one, four = (load_clip(path, **{**SETTINGS, **changes}, threads=n) for n in (1, 4))  # type: ignore[arg-type]
        assert (one.frames == four.frames).all() and (one.times == four.times).all() and one.warnings == four.warnings == ()
    assert counts[0] == 1 and max(counts) >= 3


def test_parts_that_cannot_be_decoded_alone_cost_no_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 120, 25, options={"g": "250"})
    sound = load(path)
    split = decode.split

    def careless(listing: Any, runs: Any, wanted: set[int], parts: int) -> Any:
        """As if a packet in the middle of a group were a key frame."""
        listing.keys[60] = parts > 1
        return split(listing, runs, wanted, parts)

    monkeypatch.setattr(decode, "SMALL_PIXELS", 1)
    monkeypatch.setattr(decode, "split", careless)
    clip = load_clip(path, **SETTINGS, threads=2)  # type: ignore[arg-type]
    assert (clip.frames == sound.frames).all() and clip.warnings == ()


def test_parts_begin_where_decoding_can(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 200, 25, options={"g": "10", "x264-params": "open-gop=1:bframes=3"})
    with container.opened(path, 1) as (file, stream):
        listing = container.list_packets(path, file, stream)
    wanted = set(listing.names[::7])
    runs = decode.plan(listing, wanted)
    for count in (2, 3, 8, 100):
        parts = decode.split(listing, runs, wanted, count)
        assert 1 < len(parts) <= count
        stretches = [stretch for part, _ in parts for stretch in part]
        covered = [i for first, last in stretches for i in range(first, last + 1)]
        assert covered == [i for first, last in runs for i in range(first, last + 1)], "every packet once, in order"
        assert sorted(name for _, names in parts for name in names) == sorted(wanted)
        for part, names in parts[1:]:
            key = part[0][0]
            assert listing.keys[key] and not any(name < (listing.stamps[key] or 0) for name in names)


@pytest.mark.parametrize(
    "text",
    ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nother.mp4\n#EXT-X-ENDLIST\n"],
    ids=["concat", "hls"],
)
def test_a_playlist_does_not_show_its_neighbour(tmp_path: Path, text: str) -> None:
    make(tmp_path / "other.mp4", 8, 4)
    (tmp_path / "x.mp4").write_text(text)
    with pytest.raises(VideoError, match="x.mp4: not a video"):
        load(tmp_path / "x.mp4")
