"""Every frame of a clip is looked at, not only those that a run takes."""

from __future__ import annotations

import json

import pytest
from coded import draw, make, spoil
from PIL import Image
from typer.testing import CliRunner

from trlt.cli import app
from trlt.video.decode import load_clip
from trlt.video.deep import damage
from trlt.video.deep import load_clip as load_deep

BUDGET = {"fps": 0.5, "min_frames": 4, "max_frames": 4, "min_tokens": 4, "max_tokens": 64}
"""Of six seconds, the frames of 0, 2, 4 and 5.9 s."""


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_between_the_frames_that_a_run_takes(tmp_path, codec):
    path = make(tmp_path / "a.mp4", 60, 10, codec=codec, options={"g": "1", "bf": "0"})
    assert damage(path, None, None, 1) == ()
    spoil(path, range(25, 30))
    assert load_clip(path, **BUDGET).warnings == (), "what isn't taken isn't seen"
    clip = load_deep(path, **BUDGET)
    assert clip.warnings == ("at 2.50 s: damaged; 5 of 60 frames can't be decoded, the last at 2.90 s",)
    assert clip.times.tolist() == load_clip(path, **BUDGET).times.tolist()
    assert damage(path, 0.0, 2.5, 1) == () == damage(path, 3.0, None, 2), "of a stretch, its own frames alone"
    assert damage(path, 2.8, 4.0, 1) == ("at 2.80 s: damaged; 2 of 12 frames can't be decoded, the last at 2.90 s",)


def test_what_a_run_meets_is_told_once(tmp_path):
    path = spoil(make(tmp_path / "a.mp4", 60, 10, options={"g": "1", "bf": "0"}), range(18, 24))
    assert load_clip(path, **BUDGET).warnings == ("at 2.00 s: damaged; 6 of 60 frames can't be decoded",)
    assert load_deep(path, **BUDGET).warnings == ("at 1.80 s: damaged; 6 of 60 frames can't be decoded, the last at 2.30 s",)


def test_a_check_goes_by_what_was_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos/shown").mkdir(parents=True)
    spoil(make(tmp_path / "videos/a.mp4", 60, 10, options={"g": "1", "bf": "0"}), range(25, 30))
    for number in range(1, 31):  # 3 a second
        Image.fromarray(draw(number)).save(tmp_path / f"videos/shown/{number:05d}.png")
    (tmp_path / "videos/shown/00003.png").write_bytes(b"torn")
    command = ["video", "check", "videos", "--out", "rows.jsonl", "--set", "video.store=store"]
    command += ["--set", "video.fps=0.5", "--set", "video.max_frames=4", "--set", "video.workers=1"]
    told = ["at 2.50 s: damaged; 5 of 60 frames can't be decoded, the last at 2.90 s"]
    for more, warnings in (
        ([], [[], []]),
        (["--deep"], [told, ["00003.png can't be read (Invalid data found when processing input)"]]),
        ([], [[], []]),
    ):
        result = CliRunner().invoke(app, [*command, *more])
        assert result.exit_code == 0, result.output
        rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
        assert [row["warnings"] for row in rows] == warnings and [row["video"] for row in rows] == ["a.mp4", "shown"]
