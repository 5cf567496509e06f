"""One test goes over all data sets' files: each states an example, and a benchmark's metric knows gold from wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_helpers import item, lay_out

from trlt.data.datasets import gold_text, load, names, read_source
from trlt.errors import DataError, UsageError
from trlt.evaluate.summary import summary
from trlt.task.answer import LETTERS
from trlt.task.sample import TASKS, Sample


def read_example(name: str, folder: Path) -> tuple[Sample, ...]:
    example = load(name).EXAMPLE
    return read_source(name, lay_out(folder, example), example.split, purpose=example.purpose).samples


def wrong_text(sample: Sample) -> str:
    """Another letter, and a moment far behind the video's end."""
    letter = LETTERS[((sample.answer_index or 0) + 1) % len(sample.options or "AB")]
    when = "9000.0 to 9001.0"
    return {
        "grounding": f"<answer> {when} </answer>",
        "multi_choice": f"<answer> {letter} </answer>",
        "grounded_qa": f"<observe> {when} </observe> <answer> {letter} </answer>",
    }[sample.task]


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
def test_constants(name: str) -> None:
    module = load(name)
    assert module.TITLE and module.LICENSE and module.TASK in TASKS and len(module.__doc__.splitlines()) > 5
    assert module.WHERE and module.DOMAIN
    if name in names("bench"):
        assert module.TEST_SPLIT in module.FILES
    if name in names("train"):
        assert module.TRAIN_SPLIT in module.FILES and module.TRAIN_SPLIT != getattr(module, "TEST_SPLIT", None)
        assert module.PAPER_COUNT is None or module.PAPER_COUNT > 0
    assert set(getattr(module, "STREAMED", ())) <= {file for files in module.FILES.values() for file in files}
    everything = {file for files in module.FILES.values() for file in files}
    assert set(getattr(module, "OPTIONAL", ())) <= everything


@pytest.mark.parametrize("name", names())
def test_the_example_reads_as_stated(name: str, tmp_path: Path) -> None:
    example = load(name).EXAMPLE
    reading = read_source(name, lay_out(tmp_path, example), example.split, purpose=example.purpose)
    assert reading.samples == example.samples
    assert reading.read == len(example.samples) and not reading.dropped
    assert sorted(path.name for path in reading.files) == sorted(example.files)
    assert all(Sample.from_json(sample.to_json()) == sample for sample in reading.samples)
    assert all(sample.source == name and sample.license and sample.video_key for sample in reading.samples)


@pytest.mark.parametrize("name", names())
def test_a_folder_without_the_files_says_what_was_wanted(name: str, tmp_path: Path) -> None:
    example = load(name).EXAMPLE
    (tmp_path / "other.bin").touch()
    with pytest.raises(DataError, match=next(iter(example.files)).replace(".", r"\.")) as caught:
        read_source(name, tmp_path, example.split, purpose=example.purpose)
    assert "other.bin" in str(caught.value)


@pytest.mark.parametrize("name", names("bench"))
def test_gold_answers_score_full_marks(name: str, tmp_path: Path) -> None:
    items = [item(sample, gold_text(sample)) for sample in read_example(name, tmp_path)]
    entry = summary(name, items)
    assert all(one.answer.well_formed for one in items)
    assert (entry["n"], entry["unanswered"], entry["missing_videos"]) == (len(items), 0, 0)
    assert set(entry["paper"].values()) == set(entry["official"].values()) == {100.0}
    assert entry["ci95"] == {key: [100.0, 100.0] for key in entry["paper"]}


@pytest.mark.parametrize("name", names("bench"))
def test_wrong_answers_and_none_score_nothing(name: str, tmp_path: Path) -> None:
    samples = read_example(name, tmp_path)
    wrong = summary(name, [item(sample, wrong_text(sample)) for sample in samples])
    silent = summary(name, [item(sample, "") for sample in samples])
    assert set(wrong["paper"].values()) == set(wrong["official"].values()) == {0.0}
    assert set(silent["paper"].values()) == set(silent["official"].values()) == {0.0}
    assert (wrong["unanswered"], silent["unanswered"]) == (0, len(samples))


@pytest.mark.parametrize("name", names("bench"))
def test_no_items_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match="no question is left"):
        summary(name, [])


def test_only_a_benchmark_is_scored() -> None:
    with pytest.raises(UsageError, match="didemo is no benchmark; choose one of: activitynet"):
        summary("didemo", [])
