"""ActivityNet-RTL: hand-computed metrics and the official rule with messy outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, read_source
from trlt.data.datasets.activitynet_rtl import official, video_weights
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample, Span


def sample(number: int = 0, video: str = "v_a.mp4", end: float = 30) -> Sample:
    return Sample(
        id=str(number),
        source="activitynet_rtl",
        split="val",
        task="grounding",
        video=video,
        duration=40.0,
        question="q",
        spans=(Span(10, end),),
    )


def record(answer: str, **changes: Any) -> dict[str, Any]:
    return {"vid": "aB3_dE-7hIj", "question": "When?", "answer": answer, "duration": 40, "question_id": answer} | changes


def read(folder: Path, *records: Any) -> Reading:
    files = {"annot_val_1_q229.json": json.dumps(records)}
    return read_source("activitynet_rtl", write_files(folder, files), purpose="bench")


def test_paper_is_micro_and_official_is_macro() -> None:
    items = [
        item(sample(0), "<answer> 10.0 to 30.0 </answer>"),  # 1
        item(sample(1), "<answer> 20.0 to 30.0 </answer>"),  # 0.5
        item(sample(2), "<answer> 30.0 to 40.0 </answer>"),  # 0
        item(sample(3, "v_b.mp4"), "<answer> 10.0 to 30.0 </answer>"),  # 1
    ]
    entry = summary("activitynet_rtl", items, bootstrap=200)
    assert entry["paper"] == {"mIoU": 62.5, "R1@0.3": 75.0, "R1@0.5": 75.0, "R1@0.7": 50.0}
    assert entry["official"] == pytest.approx({"mIoU": 75.0, "P@0.5": 100 * (2 / 3 + 1) / 2})
    assert set(entry["ci95"]) == set(entry["paper"]) and entry["ci95"]["mIoU"] == [50.0, 100.0]
    assert video_weights(items) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


@pytest.mark.parametrize(
    ("text", "iou"),
    [
        ("<10> <30> She gets tired.", 1),
        ("From <10.0> to <30.>, then <35> to <40>", 1),  # the first two
        ("<30> <10>", 1),  # put in order
        ("<20> <99>", 1 / 3),  # clamped to 20 to 40: 10 of 30
        ("<.5> <30>", 20 / 29.5),
        ("<10> to the end", 0.5),  # one time: the whole video, 20 of 40
        ("I can't tell.", 0.5),
        ("10 to 30", 0.5),  # neither tags nor brackets: no time by the rule
        ("<-10> <30>", 0.5),  # a sign is no number there
        ("< 10 > <30>", 0.5),
        ("<answer> <10> <30> </answer> <0> <1>", 1),
        ("<answer> 10.0 to 30.0 </answer> <0> <1>", 1),  # our own form, inside the tags
        ("<answer> 20 to 99 </answer>", 1 / 3),
        ("<answer> sometime </answer> <10> <30>", 0.5),
        ("<answer> 9000.0 to 9001.0 </answer>", 0),
        ("", 0),
        ("  \n", 0),
        ("<answer> </answer> <10> <30>", 0),
    ],
)
def test_official_rule(text: str, iou: float) -> None:
    assert official(item(sample(), text)) == pytest.approx({"mIoU": iou, "P@0.5": float(iou >= 0.5)})


def test_the_gold_span_is_clamped_officially_only() -> None:
    entry = summary("activitynet_rtl", [item(sample(end=50), "<answer> 10.0 to 40.0 </answer>")], bootstrap=10)
    assert entry["paper"]["mIoU"] == 75.0 and entry["official"]["mIoU"] == 100.0


def test_rows(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        record("<1> to <5.5>"),
        record("<8> <2>"),
        record("at <8>"),
        record("<8> <8.0>"),
        record("<1> <2>", question=" "),
        record("<1> <2>", question_id=3, duration=0),
        record("<30> <41.5>", question_id=4),
    )
    assert [(one.id, one.spans) for one in reading.samples] == [
        ("<1> to <5.5>", (Span(1, 5.5),)),
        ("<8> <2>", (Span(2, 8),)),
        ("4", (Span(30, 41.5),)),
    ]
    assert reading.repaired == {"sorted_span": 1} and reading.read == 7
    assert reading.dropped == {"no_span": 1, "zero_length": 1, "empty_question": 1, "invalid": 1}


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"annot_val_1_q229.json\[0\]: duration: expected int/float"):
        read(tmp_path, record("<1> <2>", duration="40"))
    with pytest.raises(DataError, match="expected a list of records"):
        read_source("activitynet_rtl", write_files(tmp_path, {"annot_val_1_q229.json": "{}"}), purpose="bench")
