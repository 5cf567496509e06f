"""The frame store: same clip again, damage noticed, bounded, shared by processes."""

import hashlib
import json
import logging
import os
import subprocess
import sys
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from trlt.errors import VideoError
from trlt.video.budget import Budget
from trlt.video.clip import Clip
from trlt.video.clip_cache import ClipCache, store_key
from trlt.video.decode import VERSION
from trlt.video.geometry import Geometry


def clip(seed: int = 0, count: int = 4) -> Clip:
    frames = np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 64), dtype=np.uint8)
    return Clip.of(
        frames,
        7 + np.arange(count) / 3,
        sample_fps=1.9,
        duration=0.1 + 0.2,
        stamps=np.arange(count) * 5 / (30000 / 1001),
        geometry=Geometry(16),
        warnings=("at 0.10 s: örks",),
    )


def same(a: Clip | None, b: Clip) -> bool:
    return (
        a is not None
        and (a.frames == b.frames).all()
        and (a.times == b.times).all()
        and (a.stamps == b.stamps).all()
        and (a.sample_fps, a.duration, a.geometry, a.warnings) == (b.sample_fps, b.duration, b.geometry, b.warnings)
    )


def entry(store: ClipCache, key: str) -> Path:
    return store.root / key[:2] / f"{key}.clip"


def test_a_clip_comes_back_as_it_was(tmp_path: Path) -> None:
    store = ClipCache(tmp_path / "deep" / "store", 10**6)
    assert store.get("ab1") is None
    store.put("ab1", clip())
    assert same(store.get("ab1"), clip()) and same(ClipCache(store.root, 10**6).get("ab1"), clip())
    assert store.info().entries == 1 and store.info().bytes == entry(store, "ab1").stat().st_size
    found = store.get("ab1")
    assert found is not None and found.grid == (2, 2, 4) and found.tokens == 4, "by 16-pixel patches"
    store.clear()
    assert store.get("ab1") is None and store.info().bytes == 0


def test_an_entry_without_stamps_counts_as_missing(tmp_path: Path) -> None:
    """As an earlier version wrote it, whole: its clip is decoded again, and no times are made up for it."""
    store = ClipCache(tmp_path, 10**6)
    values = {"shape": [2, 3, 28, 28], "times": [0.0, 0.5], "sample_fps": 2.0, "duration": 1.0, "warnings": []}
    header = json.dumps(values).encode()
    header += b" " * (-(16 + len(header)) % 64)
    rest = header + bytes(2 * 3 * 28 * 28)
    check = zlib.crc32(rest, zlib.crc32(len(header).to_bytes(4, "little")))
    store.write("ab1", b"TRLTCLP2" + check.to_bytes(4, "little") + len(header).to_bytes(4, "little") + rest)
    assert not store.has("ab1") and not store.has("ab2")
    assert store.get("ab1") is None and not entry(store, "ab1").exists()
    store.put("ab1", clip())
    assert store.has("ab1") and same(store.get("ab1"), clip())


@pytest.mark.parametrize("damage", ["flip", "head", "cut", "empty", "text"])
def test_damaged_entries_are_dropped(tmp_path: Path, damage: str) -> None:
    store = ClipCache(tmp_path, 10**6)
    store.put("ab1", clip())
    path = entry(store, "ab1")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-100] ^= 1
    elif damage == "head":
        data[40] ^= 1
    changed = {"cut": data[: len(data) // 2], "empty": b"", "text": b"nothing of the kind, but longer than a head"}.get(
        damage, data
    )
    path.write_bytes(changed)
    assert store.get("ab1") is None and not path.exists()


def test_an_entry_with_any_bit_flipped_is_dropped(tmp_path: Path) -> None:
    """Each bit of the head, whose last 4 bytes tell how long the header is, of the header, and some of the frames."""
    store = ClipCache(tmp_path, 10**6)
    store.put("ab1", clip())
    path = entry(store, "ab1")
    whole = path.read_bytes()
    frames = len(whole) - clip().frames.nbytes
    bits = [*range(8 * frames), *range(8 * frames, 8 * len(whole), 1009), 8 * len(whole) - 1]
    for bit in bits:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert store.get("ab1") is None and not path.exists(), f"bit {bit % 8} of byte {bit // 8}"
    path.write_bytes(whole)
    assert same(store.get("ab1"), clip())


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    ClipCache(tmp_path, 10**9).put("xx", clip())
    size = ClipCache(tmp_path, 10**9).info().bytes
    store = ClipCache(tmp_path / "small", 5 * size)
    for number in range(5):
        store.put(f"k{number}", clip(number))
        os.utime(entry(store, f"k{number}"), ns=(number, number))
    assert store.get("k0") is not None
    store.put("k5", clip(5))
    assert store.info().bytes <= 5 * size
    assert store.get("k1") is None and store.get("k0") is not None and store.get("k5") is not None


def test_a_clip_larger_than_the_store_is_not_kept(tmp_path: Path) -> None:
    store = ClipCache(tmp_path, 1000)
    store.put("ab1", clip())
    assert store.info().entries == 0


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".new-old", tmp_path / ".new-new"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    ClipCache(tmp_path, 10**6).put("ab1", clip())
    assert not old.exists() and new.exists()


def test_a_store_that_cant_be_written_costs_speed_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = ClipCache(tmp_path, 10**6)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with caplog.at_level(logging.WARNING):
        store.put("ab1", clip())
        store.put("ab2", clip())
    assert len(caplog.records) == 1 and "No space left" in caplog.text and not list(tmp_path.glob(".new-*"))
    (tmp_path / "file").touch()
    with pytest.raises(VideoError, match=r"video\.store"):
        ClipCache(tmp_path / "file", 10)


def test_processes_share_a_store(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_video_store import *\n"
        "store = ClipCache(sys.argv[2], 60_000)\n"
        "for i in range(150):\n"
        "    store.put(f'k{i % 12}', clip(i % 12))\n"
        "    found = store.get(f'k{(i * 5) % 12}')\n"
        "    assert found is None or same(found, clip((i * 5) % 12))\n"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert not list(tmp_path.glob(".new-*"))
    info = ClipCache(tmp_path, 60_000).info()
    assert info.entries >= 2 and info.bytes <= 60_000 and int((tmp_path / ".total").read_text(encoding="utf-8")) == info.bytes


def test_the_key_follows_all_that_the_frames_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"1")
    keys = [
        store_key(path, Budget(), None, None),
        store_key(path, Budget(), 0.0, 2.0),
        store_key(path, Budget(max_tokens=128), None, None),
        store_key(path, Budget(), None, None, Geometry(16)),
    ]
    assert store_key(path, Budget(), None, None, Geometry(14)) == keys[0]
    stat = path.stat()
    named = [os.path.realpath(path), stat.st_size, stat.st_mtime_ns, None, None, asdict(Budget()), VERSION]
    assert keys[0] == hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest(), "as before there was a geometry"
    assert store_key(tmp_path / "." / "a.mp4", Budget(), None, None) == keys[0]
    os.utime(path, (1, 1))
    keys.append(store_key(path, Budget(), None, None))
    path.write_bytes(b"12")
    os.utime(path, (1, 1))
    keys.append(store_key(path, Budget(), None, None))
    keys.append(store_key(tmp_path, Budget(), None, None))
    (tmp_path / "a.mp4").write_bytes(b"123")
    keys.append(store_key(tmp_path, Budget(), None, None))
    assert len(set(keys)) == len(keys)
    with pytest.raises(VideoError, match="no such file"):
        store_key(tmp_path / "b.mp4", Budget(), None, None)
