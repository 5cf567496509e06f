"""Times of a user's own table that lie beyond their video."""

from __future__ import annotations

import pytest
from made_clips import write_clip

from trlt.task.sample import read_samples

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def test_a_time_beyond_the_video_is_a_bad_row(trlt, tmp_path):
    write_clip(tmp_path / "videos/a.mp4", seed=1)  # 3 s
    path = tmp_path / "mine.csv"
    path.write_text("video,query,start,end\na.mp4,she bows,0:01,0:02\na.mp4,she runs,0:01,1:05\n", encoding="utf-8")
    given = ["prepare", path, "--videos", "videos", "--out", "s.jsonl"]
    message = trlt(*given, code=3)
    assert "1 question with times that don't fit the video:" in message and "--skip-bad" in message
    assert "mine:3: 1.0 to 65.0: overshoot: its video a.mp4 has 3.0 s; mend the times" in message
    assert not (tmp_path / "s.jsonl").exists()
    trlt(*given, "--skip-bad")
    assert [s.id for s in read_samples(tmp_path / "s.jsonl")] == ["mine:2"]
    assert (tmp_path / "s.bad_rows.txt").read_text(encoding="utf-8").startswith("mine:3: 1.0 to 65.0: overshoot: ")
