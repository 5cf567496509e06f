"""The real annotation files, where they stand beside the checkout: counts, and the whole video as the answer to everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dataset_helpers import item

from trlt.data.datasets import Reading, gold_text, load, read_source
from trlt.data.datasets._metrics import Item
from trlt.evaluate.summary import summary


def whole_video(name: str, reading: Reading) -> dict[str, float]:
    """The paper's metrics where each answer is the whole video."""
    items: list[Item] = []
    for sample in reading.samples:
        tag = "observe" if sample.task == "grounded_qa" else "answer"
        items.append(item(sample, f"<{tag}> 0 to {sample.duration} </{tag}>"))
    metrics: dict[str, float] = load(name).metrics(items)["paper"]
    return metrics


def test_charades_train(annotations: Path) -> None:
    reading = read_source("charades", annotations / "charades_sta")
    assert reading.read == 12_408 == load("charades").PAPER_COUNT
    # 1,805 ends pass the length; three of those belong to reversed spans.
    assert reading.dropped == {"reversed": 4} and reading.repaired["clamped_end"] == 1_802
    assert sum("#" in sample.question for sample in reading.samples) == 6
    assert len({sample.video for sample in reading.samples}) == 5_336


def test_charades_test(annotations: Path) -> None:
    reading = read_source("charades", annotations / "charades_sta", purpose="bench")
    assert len(reading.samples) == 3_720 and not reading.dropped and not reading.repaired
    assert len({sample.video for sample in reading.samples}) == 1_334
    assert sum(s.spans[0].end > s.duration for s in reading.samples if s.spans and s.duration) == 562
    assert whole_video("charades", reading)["mIoU"] == pytest.approx(26.99, abs=0.005)


def test_didemo_val(annotations: Path) -> None:
    reading = read_source("didemo", annotations / "didemo", "val")
    assert len(reading.samples) == reading.read == 4_180 and not reading.repaired
    assert len({sample.video for sample in reading.samples}) == 1_094
    assert len({sample.video_key for sample in reading.samples}) == 1_065
    assert all(sample.meta["agree"] >= 2 for sample in reading.samples)


def test_nextqa_val(annotations: Path) -> None:
    reading = read_source("nextqa", annotations / "nextqa", "val")
    assert len(reading.samples) == reading.read == 4_996 and reading.repaired == {"duplicate_options": 3}
    assert len({sample.video for sample in reading.samples}) == 570 and not reading.notes
    assert all("/" in sample.video for sample in reading.samples)


def test_nextgqa_val(annotations: Path) -> None:
    reading = read_source("nextgqa", annotations / "nextgqa")
    assert len(reading.samples) == reading.read == 3_358 == load("nextgqa").PAPER_COUNT
    assert reading.repaired["clamped_end"] == 3 and not reading.dropped
    assert sum(len(sample.spans or ()) > 1 for sample in reading.samples) == 339
    assert max(len(sample.spans or ()) for sample in reading.samples) == 11
    bench = read_source("nextgqa", annotations / "nextgqa", "val", purpose="bench")
    assert whole_video("nextgqa", bench)["mIoU"] == pytest.approx(21.34, abs=0.01)
    assert bench.samples[0].id == "4882821564:1"


def test_activitynet_val_1(annotations: Path) -> None:
    reading = read_source("activitynet", annotations / "activitynet", "val_1", purpose="bench")
    assert len(reading.samples) == reading.read == 17_505 and len({sample.video for sample in reading.samples}) == 4_917
    assert whole_video("activitynet", reading)["mIoU"] == pytest.approx(32.29, abs=0.005)


def test_footage_that_didemo_shares_with_nextqa(annotations: Path) -> None:
    """Both are Flickr's: 15 of DiDeMo's validation videos stand in NExT-QA's map."""
    didemo = {sample.video_key for sample in read_source("didemo", annotations / "didemo", "val").samples}
    known = json.loads((annotations / "nextqa/map_vid_vidorID.json").read_text(encoding="utf-8"))
    assert len(didemo & {f"flickr:{video}" for video in known}) == 15


GROUNDED = [("charades", "charades_sta", None), ("activitynet", "activitynet", "val_1"), ("nextgqa", "nextgqa", "val")]


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """IoU of two stretches, written once more so that the metric isn't compared with itself."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared / (max(a[1], b[1]) - min(a[0], b[0])) if shared > 0 else 0.0


@pytest.mark.parametrize(("name", "folder", "split"), GROUNDED)
def test_gold_is_right_and_shuffled_gold_as_arithmetic_says(
    name: str, folder: str, split: str | None, annotations: Path
) -> None:
    samples = read_source(name, annotations / folder, split, purpose="bench").samples
    gold = summary(name, [item(sample, gold_text(sample)) for sample in samples], bootstrap=100)
    assert set(gold["paper"].values()) == set(gold["official"].values()) == {100.0} and gold["unanswered"] == 0
    others = samples[1:] + samples[:1]
    mixed = summary(name, [item(a, gold_text(b)) for a, b in zip(samples, others, strict=True)], bootstrap=100)
    # Of several gold spans the first is the one that is told.
    ious = [
        max(overlap(b.spans[0], span) for span in a.spans) for a, b in zip(samples, others, strict=True) if a.spans and b.spans
    ]
    assert mixed["paper"]["mIoU"] == pytest.approx(100 * sum(ious) / len(samples), abs=1e-6)
    assert mixed["official"]["mIoU"] == pytest.approx(mixed["paper"]["mIoU"], abs=1e-6)
    if name == "nextgqa":
        told = [b.answer_index for b in others]
        right = [a.options is not None and a.answer == a.options[k or 0] for a, k in zip(samples, told, strict=True)]
        assert mixed["paper"]["acc"] == pytest.approx(100 * sum(right) / len(samples))
    else:
        for recall in (0.3, 0.5, 0.7):
            share = sum(iou >= recall for iou in ious) / len(samples)
            assert mixed["paper"][f"R1@{recall}"] == pytest.approx(100 * share)
