"""Files of the version before: names that were changed are read as today's, with one warning a file."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from made_clips import choice
from typer.testing import CliRunner

from trlt.cli import app
from trlt.errors import RecipeError
from trlt.files import renamed
from trlt.lab.reproduce import identity
from trlt.recipe import load_recipe
from trlt.rollout.rows_file import encode
from trlt.task.sample import write_samples
from trlt.train.retirement import Retirement
from trlt.train.step_notes import forget_after


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_run_goes_on_from_a_log_of_before(tmp_path, capsys):
    old = {"reward": 1.0, "reward_spread": 0.5, "zero_spread": 0.25, "cut_off": 0.75}
    log = lines(tmp_path / "log.jsonl", {"step": 1} | old, {"step": 2} | old)
    visits = lines(tmp_path / "difficulty.jsonl", {"step": 0, "id": "a", "mean": 2.0, "spread": 0.0})
    new = {"step": 1, "reward": 1.0, "reward_range": 0.5, "frac_zero_range": 0.25, "truncated_frac": 0.75}
    assert forget_after(tmp_path, 1) == [new] and json.loads(log.read_text()) == new
    assert json.loads(visits.read_text()) == {"step": 0, "id": "a", "mean": 2.0, "reward_range": 0.0}
    told = Counter(line.partition(": ")[0] for line in capsys.readouterr().err.splitlines())
    assert told == {str(log): 1, str(visits): 1}, "once for a file, not for a line"
    forget_after(tmp_path, 1)
    assert capsys.readouterr().err == ""


def test_visits_of_before_count(tmp_path):
    lines(tmp_path / "difficulty.jsonl", {"step": 0, "id": "a", "mean": 2.0, "spread": 0.0})
    made = Retirement(tmp_path, ["a"], 1, writes=False)
    made.resume(1)
    assert made.left == {0}


def test_a_row_of_before_is_shown(tmp_path):
    """Its checksum is over the name that it was written with."""
    write_samples(tmp_path / "pool.jsonl", [choice("c0", "a.mp4")])
    answer = {"payload": "B", "option": 1, "span": None, "well_formed": True}
    row = {
        "id": "c0",
        "source": "made",
        "task": "multi_choice",
        "error": None,
        "texts": ["<answer> B </answer>"],
        "answers": [answer],
    }
    row |= {
        "scores": [{"format": 1.0, "accuracy": 1.0, "tiou": None}],
        "rewards": [2.0],
        "tokens": [5],
        "finished": [True],
        "n": 1,
    }
    row |= {"correct": 1, "ious": None, "delta_iou": None, "spread": 0.5, "mean": 2.0, "format_rate": 1.0, "video_tokens": 9}
    (tmp_path / "rows.jsonl").write_bytes(encode(row))
    given = ["probe", "show", "c0", "--probe", str(tmp_path / "rows.jsonl"), "--data", str(tmp_path / "pool.jsonl"), "--json"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["reward_range"] == 0.5
    assert done.stderr.count("spread is reward_range now") == 1 and "rows.jsonl" in done.stderr


def test_todays_name_counts_where_both_stand(tmp_path):
    row = {"figures": {"x": 1.0}, "metrics": {"x": 2.0}, "plan": "p"}
    assert renamed.renew(row, renamed.RUN, tmp_path) == {"metrics": {"x": 2.0}, "plan": "p"}


def test_a_recipe_of_before_is_the_same_recipe(tmp_path, capsys):
    before, now = tmp_path / "before.yaml", tmp_path / "now.yaml"
    before.write_text("train: {min_spread: 0.1}\n")
    now.write_text("train: {min_reward_range: 0.1}\n")
    assert load_recipe(before) == load_recipe(now) != load_recipe(None)
    assert capsys.readouterr().err.count(f"{before}: names of an older version (min_spread is min_reward_range now)") == 1
    for one in ("train.min_spread=0.1", "train={min_spread: 0.1}"):
        assert load_recipe(None, sets=[one]) == load_recipe(now)
        assert f"--set {one.partition('=')[0]}: names of an older version" in capsys.readouterr().err
    assert load_recipe(now, sets=["train.min_spread=0.5"]).train.min_reward_range == 0.5
    with pytest.raises(RecipeError, match="^--set train.min_spread: train.min_reward_range: "):
        load_recipe(now, sets=["train.min_spread=abc"])


def test_a_recorded_run_is_found_by_the_name_that_its_key_had():
    recipe = load_recipe(None, sets=["train.min_reward_range=0.1"])
    assert identity.settings(recipe, ["train"]) == {"train": {"min_spread": 0.1}}
