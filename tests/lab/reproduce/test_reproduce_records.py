"""`runs.jsonl`: lines are added, never changed; the first of the very same run counts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from reproduce_plans import small

from trlt.errors import DataError
from trlt.lab.reproduce.records import RunRecord, append, counted, read_records, spent
from trlt.lab.reproduce.stages import runs


def record(run, value=1.0, error=None, **more):
    metrics = {} if error else {"eval.charades.mIoU": value}
    parts = {"reward": [0.5, 1.0], "seconds": {"train": 3.0}, "places": {"train": "x"}, "versions": {"trlt": "1"}}
    when = "2030-01-01T00:00:00+00:00"
    return RunRecord("small", run.arm, run.seed, run.id, metrics, **parts | more, when=when, error=error)


@pytest.fixture
def made(tmp_path):
    return runs(small(tmp_path), "plan", ["base", "tvg"], [0, 1])


def test_lines_are_added_and_read_back(tmp_path, made):
    path = tmp_path / "new" / "runs.jsonl"
    append(path, record(made[0]))
    first = path.read_bytes()
    append(path, record(made[1], error="train: no memory"))
    assert path.read_bytes().startswith(first)
    found = read_records(path)
    assert found == [record(made[0]), record(made[1], error="train: no memory")] and found[0].origin == str(path)
    assert "origin" not in json.loads(first)


def test_a_torn_line_is_cut_off(tmp_path, made):
    path = tmp_path / "runs.jsonl"
    append(path, record(made[0]))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    assert [one.arm for one in read_records(path)] == ["base"], "whoever reads meanwhile sees whole lines"
    append(path, record(made[1]))
    assert [one.arm for one in read_records(path)] == ["base", "tvg"]


def test_the_first_success_of_the_very_same_run_counts(made):
    base, tvg = made[0], made[1]
    outdated = replace(record(tvg, 9.0), run="0" * 64)
    records = [record(base, 1.0), outdated, record(tvg, error="broke"), record(tvg, 2.0), record(tvg, 3.0)]
    found = counted(records, made)
    assert {key: one.metrics["eval.charades.mIoU"] for key, one in found.items()} == {("base", 0): 1.0, ("tvg", 0): 2.0}


def test_equal_runs_of_two_seeds_are_two_runs(tmp_path):
    """The base model without probes is the same for all seeds."""
    made = runs(small(tmp_path, arms__base={}), "plan", ["base"], [0, 1])
    assert made[0].id == made[1].id
    assert set(counted([record(run) for run in made], made)) == {("base", 0), ("base", 1)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arm": 3}, "runs.jsonl:1: arm: input should be a valid string, got 3"),
        ({"run": None}, "runs.jsonl:1: run: input should be a valid string, got None"),
        ({"metrics": {"x": "1"}}, "runs.jsonl:1: metrics.x: input should be a valid number, got '1'"),
        ({"metrics": {"x": True}}, "metrics.x: input should be a valid number, got True"),
        ({"reward": [None]}, "runs.jsonl:1: reward.0: input should be a valid number, got None"),
    ],
)
def test_what_is_no_record(tmp_path, made, change, said):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(record(made[0]).to_json() | change) + "\n")
    with pytest.raises(DataError) as error:
        read_records(path)
    assert said in str(error.value)
    path.write_text("[]\n")
    with pytest.raises(DataError, match="no run"):
        read_records(path)
    path.write_text("{\n{}\n")
    with pytest.raises(DataError, match=r"runs\.jsonl:1: not JSON"):
        read_records(path)
    with pytest.raises(DataError, match=r"none\.jsonl: can't be read"):
        read_records(tmp_path / "none.jsonl")


def test_a_command_that_runs_share_is_counted_once(made):
    alone = record(made[0], seconds={"select": 1.0, "train": 60.0}, places={"select": "arms/tvg/s", "train": "arms/tvg/t"})
    other = record(made[1], seconds={"select": 1.0, "train": 30.0}, places={"select": "arms/tvg/s", "train": "arms/sft/t"})
    assert spent([alone, other]) == 91.0 and spent([]) == 0.0
