"""TVGBench: empty gold spans, the official rule with messy outputs, keys of its sources, files of another length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, file_warning, read_source
from trlt.data.datasets.tvgbench import metrics, official, values
from trlt.task.sample import Sample, Span

RAW = "./dataset/raw_data"


def record(**changes: Any) -> dict[str, Any]:
    fields = {"path": "./videos/aB3_dE-7hIj.mp4", "question": "q", "answer": "10.0-30.0", "start": None, "end": None}
    return fields | {"duration": 40.0, "source": f"{RAW}/anet_test.json", "qsemtype": "Human Pose"} | changes


def read(folder: Path, *records: Any) -> Reading:
    return read_source("tvgbench", write_files(folder, {"tvgbench.json": json.dumps(records)}), purpose="bench")


def sample(folder: Path, **changes: Any) -> Sample:
    return read(folder, record(**changes)).samples[0]


@pytest.mark.parametrize(
    ("source", "path", "key"),
    [
        ("anet_test", "v_aB3_dE-7hIj.mkv", "youtube:aB3_dE-7hIj"),  # as ActivityNet Captions spells it
        ("hirest_formated_moment_evaluation_gt", "aB3_dE-7hIj.mp4", "youtube:aB3_dE-7hIj"),  # as VTG-IT does
        ("Charades_sta_test", "QX7LK.mp4", "charades:QX7LK"),
        ("tacos_val", "s36-d27.avi", "tacos:s36-d27"),
        ("nlq_r1_val", "bbd99850-bcb0-460e-8a40-056f1e618f88.mp4", "ego4d:bbd99850-bcb0-460e-8a40-056f1e618f88"),
    ],
)
def test_footage_is_spelled_as_in_its_source(tmp_path: Path, source: str, path: str, key: str) -> None:
    one = sample(tmp_path, source=f"{RAW}/{source}.json", path=f"./videos/{path}")
    assert (one.video_key, one.video) == (key, path)


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    reading = read(tmp_path, record(), record(answer="30-10"), record(answer="ten to twelve"), record(source="x/other.json"))
    assert reading.dropped == {"malformed": 2, "unknown_source": 1} and [one.id for one in reading.samples] == ["0"]


def test_nothing_scores_where_the_gold_span_is_empty(tmp_path: Path) -> None:
    reading = read(tmp_path, record(), record(answer="12.5-12.5"))
    assert reading.repaired == {"empty_gold": 1}
    gold = item(reading.samples[1], "<answer> 12.5 to 12.501 </answer>")
    assert set(values(gold).values()) == {0.0} == set(official(gold).values())
    items = [item(one, "<answer> 10 to 30 </answer>") for one in reading.samples]
    assert set(metrics(items)["paper"].values()) == {50.0} == set(metrics(items)["official"].values())


@pytest.mark.parametrize(
    ("text", "iou"),
    [
        ("<answer> 10.0 to 30.0 </answer>", 1),
        ("10 to 30", 1),
        ("It is 20.00 to 30.00.", 0.5),
        ("From 10 to 30, for 20 seconds", 0),  # the last two are 30 and 20
        ("10 to 30, so the 2nd half", 0),
        ("0:10 - 0:30", 2 / 3),  # 0 and 30, of a clock's four numbers
        ("-10 to 30", 1),  # a sign is no number there
        ("30 to 10", 0),  # inverted
        ("1 2 10 30 </think>", 1),
        ("30", 0),
        ("", 0),
    ],
)
def test_the_last_two_numbers_are_the_official_span(tmp_path: Path, text: str, iou: float) -> None:
    assert official(item(sample(tmp_path), text))["mIoU"] == pytest.approx(iou)


def test_a_recall_needs_more_than_its_threshold_officially(tmp_path: Path) -> None:
    half = item(sample(tmp_path), "<answer> 20 to 30 </answer>")
    assert values(half) == {"mIoU": 0.5, "R1@0.3": 1.0, "R1@0.5": 1.0, "R1@0.7": 0.0}
    assert official(half) == {"mIoU": 0.5, "R1@0.3": 1.0, "R1@0.5": 0.0, "R1@0.7": 0.0}


def test_a_file_of_another_length_is_told(tmp_path: Path) -> None:
    """One name stands for several clips: a file can be one of them alone."""
    one = sample(tmp_path, start=100.0, end=140.0)
    assert one.clip is None and one.meta["bounds"] == [100.0, 140.0] and file_warning(one, 41.9) is None
    assert file_warning(one, 200.0) == (
        "its file is 200.0 s long and should be 40.0 s: it isn't the annotated clip, and its gold span may be elsewhere"
    )


def test_the_real_annotation(annotations: Path) -> None:
    """Counts, and what the official script gives for the whole video and for gold answers 5 s late."""
    reading = read_source("tvgbench", annotations / "tvgbench", purpose="bench")
    samples = reading.samples
    assert len(samples) == reading.read == 800 and len({one.video for one in samples}) == 462
    assert reading.repaired == {"empty_gold": 11} and not reading.dropped
    gold = {one.id: (Span(0, 0) if one.meta.get("empty") else one.spans[0]) for one in samples if one.spans}
    assert sum(gold[one.id].end > (one.duration or 0) for one in samples) == 27
    late = [item(one, f"<answer> {gold[one.id].start + 5} to {gold[one.id].end + 5} </answer>") for one in samples]
    assert metrics(late)["official"] == pytest.approx(
        {"mIoU": 28.24, "R1@0.3": 45.25, "R1@0.5": 25.375, "R1@0.7": 8.75}, abs=0.005
    )
    whole = metrics([item(one, f"<answer> 0 to {one.duration} </answer>") for one in samples])
    assert whole["official"] == pytest.approx({"mIoU": 17.40, "R1@0.3": 19.875, "R1@0.5": 3.875, "R1@0.7": 0.5}, abs=0.005)
    assert whole["paper"]["R1@0.5"] == 4.0
    assert whole["by"]["dataset"].keys() == {"charades", "activitynet", "tacos", "hirest", "ego4d"}
    assert len(whole["by"]["type"]) == 11
