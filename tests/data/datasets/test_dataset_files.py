"""All data sets' files are held to `trlt dataset check`."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_helpers import item, lay_out

from trlt.data.datasets import gold_text, load, names, read_source
from trlt.errors import UsageError
from trlt.evaluate.dataset_check import check_dataset
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample

TRAIN = ["docstring", "constants", "example is read", "missing files are named", "reading twice gives the same"]
BENCH = [
    *("gold answers score 100", "wrong answers score 0", "no answers score 0", "values are from 0 to 1"),
    *("metrics follow the values", "no question at all is an error"),
]


def test_names() -> None:
    assert {"charades", "didemo", "nextqa", "nextgqa"} <= set(names("train"))
    assert {"charades", "activitynet", "mvbench", "nextgqa"} <= set(names("bench"))
    assert set(names()) == set(names("train")) | set(names("bench"))
    assert not any(name.startswith("_") for name in names())


@pytest.mark.parametrize("name", ["nextgaq", "../recipe", "_common", "charades.py", "trlt.data.datasets.charades", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown data set .*; (did you mean nextgqa|choose one of|did you mean)"):
        load(name)


@pytest.mark.parametrize("name", names())
def test_the_check_finds_no_fault(name: str) -> None:
    checks = check_dataset(load(name))
    assert [one for one in checks if one.faults] == []
    assert [one.name for one in checks] == TRAIN + (BENCH if name in names("bench") else [])


@pytest.mark.parametrize("name", names())
def test_samples_survive_their_file(name: str, tmp_path: Path) -> None:
    example = load(name).EXAMPLE
    reading = read_source(name, lay_out(tmp_path, example), example.split, purpose=example.purpose)
    assert reading.samples == example.samples
    assert all(Sample.from_json(sample.to_json()) == sample for sample in reading.samples)
    if name in names("bench"):
        items = [item(sample, gold_text(sample)) for sample in reading.samples]
        entry = summary(name, items)
        assert all(one.answer.well_formed for one in items)
        assert entry["ci95"] == {key: [100.0, 100.0] for key in entry["paper"]}


def test_only_a_benchmark_is_scored() -> None:
    with pytest.raises(UsageError, match="didemo is no benchmark; choose one of: activitynet"):
        summary("didemo", [])
