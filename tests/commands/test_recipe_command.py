"""`trlt recipe`, and recipes by their names in other commands."""

from __future__ import annotations

import shutil

from trlt.recipe.names import FOLDER


def test_commands_take_names(trlt, tmp_path):
    found = trlt("train", "32k", "--dry-run", "--json")
    assert found["plan"]["model"] == "Qwen/Qwen2.5-VL-7B-Instruct" and found["recipe"]["name"] == "32k"
    assert "did you mean 32k?" in trlt("train", "32", "--dry-run", code=2)
    assert "did you mean full-490k?" in trlt("prepare", "full-490", code=2)
    assert "did you mean charades?" in trlt("prepare", "charade", code=2), "a data set stays a data set"
    assert "looked for data/activitynet" in trlt("prepare", "full-490k", code=2)
    shutil.copy(FOLDER / "32k.yaml", tmp_path / "mine.yaml")
    assert trlt("train", "mine.yaml", "--dry-run", "--json")["recipe"]["name"] == "32k"
    runs = trlt("reproduce", "--plan", "ablations/plans/follow-up", "--dry-run", "--json")["runs"]
    assert {run["seed"] for run in runs} == {5, 6, 7, 8, 9}
