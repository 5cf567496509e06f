"""Verdicts on files, looked at once."""

from __future__ import annotations

import json
import os

import pytest
from made_clips import write_clip

from trlt.errors import DataError
from trlt.recipe import Video
from trlt.video.scan import Scan

SETTINGS = Video(timeout_s=60)


def test_sound_and_broken_files(tmp_path):
    write_clip(tmp_path / "a.mp4", 3)
    (tmp_path / "b.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "c.mp4").write_bytes(whole[: len(whole) // 3])
    paths = [tmp_path / f"{name}.mp4" for name in "abc"]
    told = []
    found = Scan(tmp_path / "scan.jsonl", SETTINGS).look(paths, lambda done, of: told.append((done, of)))
    assert found[paths[0]].duration_s == pytest.approx(3, abs=0.2) and found[paths[0]].error is None
    assert "Git LFS" in found[paths[1]].error and found[paths[1]].duration_s is None
    assert found[paths[2]].error is not None
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_file_is_looked_at_once(tmp_path, monkeypatch):
    write_clip(tmp_path / "a.mp4", 2)
    paths = [tmp_path / "a.mp4"]
    first = Scan(tmp_path / "scan.jsonl", SETTINGS).look(paths)
    with monkeypatch.context() as patch:
        patch.setattr("trlt.video.scan.ClipLoader", None)
        assert Scan(tmp_path / "scan.jsonl", SETTINGS).look(paths) == first
    os.utime(paths[0], ns=(1, 1))
    Scan(tmp_path / "scan.jsonl", SETTINGS).look(paths)
    assert len((tmp_path / "scan.jsonl").read_text().splitlines()) == 2, "a changed file is another file"


def test_a_verdict_of_another_loader_is_not_taken_over(tmp_path):
    write_clip(tmp_path / "a.mp4", 2)
    cache = tmp_path / "scan.jsonl"
    true = Scan(cache, SETTINGS).look([tmp_path / "a.mp4"])
    row = json.loads(cache.read_text())
    for loader in ({"loader": row["loader"] - 1}, {}):
        old = {key: value for key, value in row.items() if key != "loader"} | {"duration_s": 99.0} | loader
        cache.write_text(json.dumps(old) + "\n")
        assert Scan(cache, SETTINGS).look([tmp_path / "a.mp4"]) == true


def test_a_torn_cache_goes_on_and_another_file_is_refused(tmp_path):
    write_clip(tmp_path / "a.mp4", 2)
    write_clip(tmp_path / "b.mp4", 2)
    cache = tmp_path / "scan.jsonl"
    Scan(cache, SETTINGS).look([tmp_path / "a.mp4", tmp_path / "b.mp4"])
    cache.write_bytes(cache.read_bytes()[:-20])
    told = []
    Scan(cache, SETTINGS).look([tmp_path / "a.mp4", tmp_path / "b.mp4"], lambda done, of: told.append(of))
    assert told == [1, 1] and [len(json.loads(line)) for line in cache.read_text().splitlines()] == [7, 7]
    cache.write_text('{"id": 3}\n')
    with pytest.raises(DataError, match=r"scan\.jsonl:1: .*no verdict"):
        Scan(cache, SETTINGS)
