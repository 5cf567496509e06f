"""Lost and damaged bytes are told, whatever the container; files that are well say nothing."""

import json
import random
from pathlib import Path

import av
import numpy as np
import pytest
from coded import add_sound, make
from paths import SHARED
from typer.testing import CliRunner

from trlt.cli import app
from trlt.errors import VideoError
from trlt.video import demuxer_log as complaints
from trlt.video.clip import Clip
from trlt.video.damage import gaps, told
from trlt.video.decode import load_clip

CASES = SHARED / "cases"
SETTINGS = {"fps": 2.0, "min_frames": 4, "max_frames": 768, "min_tokens": 4, "max_tokens": 64}
LARGE = {"qp": "8", "g": "30"}


def load(path: Path) -> Clip:
    return load_clip(path, **SETTINGS)  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", [16, 23, 40, 80])
def test_packets_that_a_transport_stream_lost(tmp_path: Path, lost: int) -> None:
    """16 and 80 are multiples of what its counter counts to: that many of one stream go unnoticed by it."""
    whole = make(tmp_path / "whole.ts", 200, 20, options=LARGE)
    assert load(whole).warnings == ()
    data = whole.read_bytes()
    begin = len(data) // 188 // 2
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    (tmp_path / "a.ts").write_bytes(b"".join(packets[:begin] + packets[begin + lost :]))
    warnings = " ".join(load(tmp_path / "a.ts").warnings)
    assert "damaged" in warnings or "lost" in warnings


def said(path: Path) -> str:
    try:
        return " ".join(load(path).warnings)
    except VideoError as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mkv", "libx264", LARGE),
        ("b.mkv", "libx265", {"log-level": "none", "x265-params": "log-level=none:lossless=1:keyint=10"}),
        ("c.webm", "libvpx-vp9", {"crf": "4", "g": "10"}),
        ("d.flv", "flv", {}),
    ],
)
def test_bytes_that_are_zeroed(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = make(tmp_path / name, 200, 20, codec=codec, options=options)
    assert said(path) == ""
    whole = path.read_bytes()
    for seed in range(3):
        data = bytearray(whole)
        at = random.Random(seed).randrange(len(data) // 4, len(data) * 3 // 4)
        size = len(data) // 16
        data[at : at + size] = bytes(size)
        path.write_bytes(data)
        assert "damaged" in said(path), (seed, at)
        assert "damaged" in said(path), "FFmpeg's same words once more"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.flv"])
def test_pictures_that_are_held_are_no_damage(tmp_path: Path, name: str) -> None:
    stamps = [*range(0, 3000, 50), *range(7000, 10000, 50)]
    assert load(make(tmp_path / name, stamps=stamps, rate=20)).warnings == ()
    uneven = np.cumsum(np.random.default_rng(0).integers(20, 900, 60)).tolist()
    assert load(make(tmp_path / f"uneven-{name}", stamps=uneven, rate=20)).warnings == ()


def test_a_sound_transport_stream_says_nothing(tmp_path: Path) -> None:
    silent = make(tmp_path / "silent.ts", 200, 20, options=LARGE)
    assert load(add_sound(silent, tmp_path / "a.ts", 10)).warnings == ()
    dropped = [stamp for stamp in range(0, 10_000, 50) if stamp not in (2000, 2050, 2100, 6000)]
    assert load(make(tmp_path / "b.ts", stamps=dropped, rate=20)).warnings == (), "an encoder left out a few pictures"


def test_gaps() -> None:
    even = np.arange(100) / 20
    assert len(gaps(even)) == 0 and len(gaps(np.cumsum(np.random.default_rng(1).random(100)))) == 0
    assert gaps(np.delete(even, [50, 51])).tolist() == [[pytest.approx(2.45), pytest.approx(2.6)]]
    nothing = {"joined": [], "torn": 0, "torn_s": [], "complains": False}
    hole = np.delete(even, range(40, 60))
    assert told("mpegts", hole, **nothing, steady=True) == ["at 1.95 s: no picture comes for 1.05 s; packets may be lost"]  # type: ignore[arg-type]
    assert told("matroska,webm", hole, **nothing, steady=False) == []  # type: ignore[arg-type]


def test_listening_leaves_the_log_as_it_was() -> None:
    outer: list[tuple[str, str]] = []
    inner: list[tuple[str, str]] = []
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    with complaints.listening(outer):
        with complaints.listening(inner):
            for _ in range(2):
                av.logging.log(av.logging.ERROR, "x", "a word\n")
        av.logging.log(av.logging.WARNING, "x", "less\n")
        av.logging.log(av.logging.ERROR, "x", "more\n")
    av.logging.log(av.logging.ERROR, "x", "too late\n")
    assert (inner, outer) == ([("x", "a word")] * 2, [("x", "more")])
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


@pytest.mark.skipif(not CASES.is_dir(), reason="no case files beside the repository")
def test_a_check_of_files_that_lost_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("hole.mkv", "lost_packets.ts", "ts_jump_back.ts", "held_frame.mp4", "vfr_held.mp4"):
        (copies / name).write_bytes((CASES / name).read_bytes())
    result = CliRunner().invoke(app, ["video", "check", str(copies)])
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "runs").rglob("video-check-copies.jsonl")
    found = {row["video"]: row["warnings"] for path in rows for row in map(json.loads, path.read_text().splitlines())}
    assert {name for name, warnings in found.items() if warnings} == {"hole.mkv", "lost_packets.ts", "ts_jump_back.ts"}
    assert "5.02 to 5.37 s" in found["hole.mkv"][0] and "5.02 to 5.87 s" in found["lost_packets.ts"][0]
    assert "2 parts are shown" in found["ts_jump_back.ts"][0]
