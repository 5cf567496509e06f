"""QVHighlights: average precision by hand, lengths, official predictions, splits, and the official script's figures for val."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import write_files

from trlt.data.datasets import Item, Reading, by_task, load, read_source
from trlt.data.datasets._windows import average_precision, window_values
from trlt.data.datasets.qvhighlights import EXAMPLE, metrics, official, prediction, values
from trlt.errors import DataError, UsageError
from trlt.task.prompt import render_spans
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample, Span

A, B, JUNK = Span(10, 20), Span(40, 60), Span(100, 101)
FORM = PromptForm(think=False, answer_format="letter")


def sample(*gold: Span) -> Sample:
    return replace(EXAMPLE.samples[0], spans=gold or (A, B))


def read_as(one: Sample, text: str) -> Item:
    return Item(one, text, FORM.read(one, text))


def said(one: Sample, *windows: Span) -> Item:
    return read_as(one, f"<answer> {render_spans(windows)} </answer>")


@pytest.mark.parametrize(
    ("windows", "ap"),
    [
        ((A, B), 1),
        ((B, A), 1),
        ((A, JUNK, B), (1 + 2 / 3) / 2),
        ((JUNK, A, B), 2 / 3),  # of the envelope: 1/2, then 2/3
        ((A, A, B), (1 + 2 / 3) / 2),  # a gold window is matched once
        ((A,), 1 / 2),
        ((JUNK,), 0),
        ((), 0),
        ((*[JUNK] * 9, A, B), (1 / 10) / 2),  # the eleventh doesn't count
    ],
)
def test_average_precision_by_hand(windows: Sequence[Span], ap: float) -> None:
    found = window_values(windows, (A, B))
    assert [found["mAP"], found["mAP@0.5"], found["mAP@0.75"]] == pytest.approx([ap] * 3)
    assert found["R1@0.5"] == found["R1@0.7"] == float(bool(windows) and windows[0] != JUNK), "of the first in the list"


def test_each_threshold_is_matched_by_itself_and_an_equal_iou_reaches_it() -> None:
    # IoU 0.8 with A, then 0.5 with it: the second is right at no threshold, the first at 0.5 to 0.8, 7 of 10.
    found = window_values((Span(12, 20), Span(15, 20)), (A,))
    assert found == {"R1@0.5": 1, "R1@0.7": 1, "mAP": pytest.approx(0.7), "mAP@0.5": 1, "mAP@0.75": 1}
    # 0.5 with A first: at 0.5 it takes the gold window, above that the second has it, at rank 2.
    found = window_values((Span(15, 20), Span(12, 20)), (A,))
    assert found["mAP"] == pytest.approx((1 + 6 * 0.5) / 10) and (found["R1@0.5"], found["R1@0.7"]) == (1, 0)
    assert average_precision([[0.5, 0.4], [0.6, 0.55]], 0.5) == pytest.approx(1), "the second takes what is free"


def test_scores_rank_the_first_ten_of_the_list_and_recalls_are_of_its_first() -> None:
    found = window_values((JUNK, A, B), (A, B), (0.1, 0.9, 0.5))
    assert found["mAP"] == 1 and found["R1@0.5"] == 0
    assert window_values((*[JUNK] * 10, A), (A,), (*[0.1] * 10, 0.9))["mAP"] == 0, "the eleventh of the list, first by score"
    assert window_values((JUNK, A), (A,), (0.5, 0.5))["mAP"] == 0.5, "equal scores keep their order"


def test_windows_that_are_none_overlap_nothing() -> None:
    for window in (Span(10, 10), Span(20, 10), Span(0, 0)):
        assert set(window_values((window,), (A, B)).values()) == {0.0}


def test_lengths_filter_gold_windows_alone() -> None:
    """Windows of 10 s are short and those of 30 s middle; right windows of another length are false there."""
    short, middle, long = Span(0, 10), Span(20, 50), Span(60, 100)
    one = sample(short, middle, long)
    by = metrics([said(one, short, middle, long), said(sample(short), short)])["by"]["length"]
    assert {name: part["n"] for name, part in by.items()} == {"short": 2, "middle": 1, "long": 1}
    assert by["short"]["mAP"] == pytest.approx(100) and by["middle"]["mAP"] == pytest.approx(50)
    assert by["long"]["mAP"] == pytest.approx(100 / 3) and by["long"]["R1@0.5"] == 0
    assert list(metrics([said(sample(short), short)])["by"]["length"]) == ["short"]


def test_official_predictions_become_texts_with_scores() -> None:
    record = {"qid": 90001, "query": "q", "vid": "v", "pred_relevant_windows": [[0.5, 70, 0.1], [78, 146, 1e-7]]}
    id, text = prediction(record, "p.jsonl:1") or ("", "")
    assert (id, text) == ("90001", "<answer> 0.5 to 70; 78 to 146 </answer> <scores> 0.1; 0.0000001 </scores>")
    assert prediction({"id": "1", "text": "x"}, "p.jsonl:1") is None
    wrong_order = prediction(record | {"pred_relevant_windows": [[*JUNK, 0.1], [*A, 0.9], [*B, 0.5]]}, "")
    one = read_as(sample(), (wrong_order or ("", ""))[1])
    assert official(one)["mAP"] == 1 and official(one)["R1@0.5"] == 0 and values(one)["mAP"] == pytest.approx(2 / 3)
    plain = prediction(record | {"pred_relevant_windows": [[10, 20], [40, 60]]}, "")
    assert plain == ("90001", "<answer> 10 to 20; 40 to 60 </answer>")
    empty = prediction(record | {"pred_relevant_windows": []}, "")
    assert empty == ("90001", "<answer>  </answer>") and set(official(read_as(sample(), empty[1])).values()) == {0.0}
    negative = prediction(record | {"pred_relevant_windows": [[-0.5, 20, 0.5], [40, 60, 0.4]]}, "")
    assert official(read_as(sample(Span(0, 20), B), (negative or ("", ""))[1]))["mAP@0.75"] == 1


@pytest.mark.parametrize("windows", [[[1, 2, 3, 4]], [[1]], [[1, 2], [1, 2, 3]], [["1", 2, 3]], ["x"], [[1, float("nan"), 1]]])
def test_windows_of_another_form_are_named(windows: Any) -> None:
    with pytest.raises(DataError, match=r"^p.jsonl:7: pred_relevant_windows\[[01]\]: expected \[start, end, score\] or"):
        prediction({"qid": 1, "pred_relevant_windows": windows}, "p.jsonl:7")


def test_outputs_without_tags() -> None:
    text = "It happens from 10.0 to 20.0 seconds, and from 40.0 to 60.0 seconds."
    one = read_as(sample(), text)
    assert set(values(one).values()) == {0.0} and official(one)["mAP"] == 1
    assert official(read_as(sample(), "10 to 20; 40 to 60"))["mAP"] == 1


def test_own_questions_of_several_spans_have_the_average_precision_too() -> None:
    one = replace(sample(), source="mine")
    plain = replace(one, id="2", several=False)
    entry = by_task.metrics([said(one, B, A), said(plain, A)])
    assert entry["paper"]["mAP"] == 100 == entry["official"]["mAP"] and entry["paper"]["mIoU"] == 100
    assert entry["questions"] == {"mAP": 1, "mAP@0.5": 1, "mAP@0.75": 1}
    loose = by_task.metrics([read_as(one, "From 10 to 20 seconds, then from 40 to 60 seconds.")])
    assert (loose["paper"]["mAP"], loose["official"]["mAP"]) == (0, 100)


def read(folder: Path, split: str, purpose: Any, *records: dict[str, Any], allow: bool = False) -> Reading:
    name = load("qvhighlights").FILES[split][0]
    files = {name: "".join(f"{json.dumps(record)}\n" for record in records)}
    return read_source("qvhighlights", write_files(folder, files), split, purpose=purpose, allow_test=allow)


def record(**changes: Any) -> dict[str, Any]:
    fields = {
        "qid": 7,
        "query": "q",
        "duration": 150,
        "vid": "aB3_dE-7hIj_60.0_210.0",
        "relevant_windows": [[0, 10], [140, 151]],
    }
    return fields | changes


def test_training_samples_ask_for_all_windows_and_are_repaired(tmp_path: Path) -> None:
    (one,) = read(tmp_path, "train", "train", record()).samples
    assert one.id == "qvhighlights:train:7" and one.several and one.spans == (Span(0, 10), Span(140, 150))
    assert one.meta["raw_spans"] == [[0, 10], [140, 151]] and one.meta["flags"] == ["clamped_end"]
    assert FORM.target(one) == "<answer> 0.0 to 10.0; 140.0 to 150.0 </answer>"
    (gold,) = read(tmp_path, "train", "bench", record()).samples
    assert gold.spans == (Span(0, 10), Span(140, 151)) and gold.id == "7"
    assert read(tmp_path, "train", "train", record(), record(qid=8, relevant_windows=[])).dropped == {"no_span": 1}


@pytest.mark.parametrize("split", ["val", "test"])
def test_both_test_splits_are_kept_from_training(tmp_path: Path, split: str) -> None:
    with pytest.raises(UsageError, match=f"qvhighlights: '{split}' is its test split, and training on it spoils"):
        read(tmp_path, split, "train", record())
    assert len(read(tmp_path, split, "train", record(), allow=True).samples) == 1


def test_faulty_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"highlight_val_release.jsonl:2: relevant_windows\[0\]: expected \[start, end\]"):
        read(tmp_path, "val", "bench", record(), record(qid=8, relevant_windows=[[1]]))
    with pytest.raises(DataError, match=r"highlight_val_release.jsonl:1: no field 'relevant_windows'"):
        read(tmp_path, "val", "bench", {key: value for key, value in record().items() if key != "relevant_windows"})


def fixed(windows: Callable[[Sample], Sequence[Span]], samples: Sequence[Sample]) -> list[Item]:
    return [said(one, *windows(one)) for one in samples]


def test_the_real_validation_split(annotations: Path) -> None:
    """What `standalone_eval/eval.py` gives for the same windows."""
    samples = read_source("qvhighlights", annotations / "qvhighlights", purpose="bench").samples
    assert len(samples) == 1550 and len({one.video for one in samples}) == 1519
    assert sum(len(one.spans or ()) for one in samples) == 2803
    gold = metrics(fixed(lambda one: one.spans or (), samples))
    assert gold["paper"] == pytest.approx(
        {"R1@0.5": 100, "R1@0.7": 100, "mAP": 99.76, "mAP@0.5": 99.76, "mAP@0.75": 99.76}, abs=0.005
    )
    assert {name: part["mAP"] for name, part in gold["by"]["length"].items()} == pytest.approx(
        {"short": 79.75, "middle": 89.80, "long": 92.73}, abs=0.005
    )
    whole = metrics(fixed(lambda one: (Span(0, one.duration or 0),), samples))
    assert whole["official"] == pytest.approx(
        {"R1@0.5": 9.03, "R1@0.7": 6.06, "mAP": 5.58, "mAP@0.5": 8.01, "mAP@0.75": 5.17}, abs=0.005
    )
    assert whole["secondary"]["mIoU"] == pytest.approx(23.89, abs=0.005)
    hull = metrics(fixed(lambda one: (Span(one.spans[0].start, one.spans[-1].end),) if one.spans else (), samples))["paper"]
    assert (hull["R1@0.5"], hull["mAP"]) == pytest.approx((81.55, 68.59), abs=0.005)
    late = metrics(fixed(lambda one: [Span(span.start + 4, span.end + 4) for span in one.spans or ()], samples))["paper"]
    assert (late["R1@0.5"], late["mAP"]) == pytest.approx((83.61, 41.80), abs=0.005)
    best = metrics(fixed(lambda one: one.spans[:1] if one.spans else (), samples))["paper"]
    assert best["mAP"] == pytest.approx(78.86, abs=0.005), "one window at most"
