"""TimeLens-Bench: the official extraction with its quirks, rounding, equal entries, and keys of the footage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_helpers import item, write_files

from trlt.data.datasets import Reading, load, read_source
from trlt.data.datasets._timelens import first_pair
from trlt.data.datasets.timelens_charades import metrics, official, values
from trlt.errors import DataError
from trlt.evaluate.summary import summary
from trlt.task.sample import Sample, Span

PARTS = ("charades", "activitynet", "qvhighlights")


def read(folder: Path, videos: dict[str, Any], part: str = "charades") -> Reading:
    files = {f"{part}-timelens.json": json.dumps(videos)}
    return read_source(f"timelens_{part}", write_files(folder, files), purpose="bench")


def video(*queries: str, spans: list[list[float]] | None = None, duration: float = 40.0) -> dict[str, Any]:
    return {"duration": duration, "spans": spans or [[10, 30]] * len(queries), "queries": list(queries)}


def sample(folder: Path, start: float = 10, end: float = 30) -> Sample:
    return read(folder, {"QX7LK": video("q", spans=[[start, end]])}).samples[0]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("The event happens in 10.2 - 30.5 seconds.", (10.2, 30.5)),
        ("the event happens FROM 10 TO 30", (10, 30)),
        ("0:10 - 0:30", (10, 30)),
        ("from 1:02:03.5 until 01:02:10", (3723.5, 3730)),
        ("0:10 to 0:30, then 5 - 6", (10, 30)),  # clock times come first
        ("5 - 6, at 0:10", (5, 6)),  # one clock time is no pair
        ("10 to 12, or 20 - 25", (20, 25)),  # `a - b` comes before `a to b`
        ("Starting time: 0.8 seconds. Ending time: 1.1 seconds", (0.8, 1.1)),
        ("The start is 0 seconds, and the end is 12 seconds.", (0, 12)),
        ("start: 4s, end: 8s", None),  # a unit that touches its number
        ("5.5s - 9s", None),
        ("<think> between 3 and 4, no: 7 - 9 </think> 10 - 30", (7, 9)),  # a think block's numbers are taken first
        ("20 - 12", (20, 12)),  # stays inverted
        ("5 - 6 - 7", (5, 6)),
        ("1.2.5 - 3", (2.5, 3)),
        ("12", None),
        ("", None),
    ],
)
def test_the_first_pair_counts(text: str, span: tuple[float, float] | None) -> None:
    assert first_pair(text) == (Span(*span) if span else None)


def test_long_rows_of_digits_take_no_time_and_are_no_error(tmp_path: Path) -> None:
    for text in ("1" * 30_000, f"{'9' * 500} - {'9' * 600}", "1 " * 20_000, " " * 30_000 + "1" + " " * 30_000):
        assert official(item(sample(tmp_path), text))["mIoU"] == 0


@pytest.mark.parametrize(
    ("text", "iou"),
    [
        ("10.4 - 30.4", 1),  # 10 and 30
        ("10.5 - 29.5", 1),  # half to even: 10 and 30
        ("11.5 - 30.5", 18 / 20),  # 12 and 30
        ("30 - 10", 0),  # inverted
        ("I can't tell.", 0),  # 50 to 60
        ("<answer> 10.4 to 30.4 </answer> 1 - 2", 1),  # inside the tags
        ("10 - 30 1 - 2", 1),
    ],
)
def test_both_ends_are_rounded_officially(tmp_path: Path, text: str, iou: float) -> None:
    assert official(item(sample(tmp_path), text))["mIoU"] == pytest.approx(iou)
    behind = item(sample(tmp_path, 38, 55), "I can't tell.")  # a gold span that passes the end: 50 to 60 overlaps it
    assert official(behind)["mIoU"] == pytest.approx(5 / 22)


def test_the_papers_protocol_does_not_round(tmp_path: Path) -> None:
    said = item(sample(tmp_path, 10.4, 30.4), "<answer> 10.4 to 30.4 </answer>")
    assert values(said) == {"mIoU": 1.0, "R1@0.3": 1.0, "R1@0.5": 1.0, "R1@0.7": 1.0}
    assert official(said)["mIoU"] == pytest.approx(19.6 / 20.4)


def test_equal_entries_count_once_officially(tmp_path: Path) -> None:
    spans = [[10, 30], [10, 30], [10, 20], [10, 30]]
    reading = read(tmp_path, {"QX7LK": video("Sits. ", "sits", "Sits", "Sits  ", spans=spans)})
    assert reading.repaired == {"repeated": 1} and [one.meta.get("repeated") for one in reading.samples] == [True, *[None] * 3]
    texts = ["1 - 2", "10 - 30", "1 - 2", "10 - 30"]
    items = [item(one, f"<answer> {text} </answer>") for one, text in zip(reading.samples, texts, strict=True)]
    entry = summary("timelens_charades", items)
    assert entry["n"] == 4 and entry["paper"]["mIoU"] == 50 and entry["official"]["mIoU"] == pytest.approx(200 / 3)
    assert entry["ci95"]["mIoU"] == [50, 50]


@pytest.mark.parametrize("part", PARTS)
def test_gold_answers_score_100_and_the_facts_are_of_this_part(part: str) -> None:
    module = load(f"timelens_{part}")
    items = [
        item(one, f"The event happens in {one.spans[0].start} - {one.spans[0].end} seconds") for one in module.EXAMPLE.samples
    ]
    assert set(module.metrics(items)["official"].values()) == {100.0}
    assert (module.FACTS.questions, module.FACTS.videos) == {
        "charades": (3363, 1313),
        "activitynet": (4500, 1455),
        "qvhighlights": (1541, 1511),
    }[part]
    assert "not in the European Union" in module.LICENSE and f"{part}-timelens.json" in module.FETCH.by_hand[0]


@pytest.mark.parametrize(
    ("part", "vid", "key"),
    [
        ("charades", "QX7LK", "charades:QX7LK"),
        ("activitynet", "v_aB3_dE-7hIj", "youtube:aB3_dE-7hIj"),
        ("qvhighlights", "v_B3_dE-7hI_60.0_210.0", "youtube:v_B3_dE-7hI"),
    ],
)
def test_footage_is_spelled_as_in_its_source(tmp_path: Path, part: str, vid: str, key: str) -> None:
    assert read(tmp_path, {vid: video("q")}, part).samples[0].video_key == key


def test_faulty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"charades-timelens.json: QX7LK: 1 spans and 2 queries; equal numbers are expected"):
        read(tmp_path, {"QX7LK": video("a", "b", spans=[[1, 2]])})
    with pytest.raises(DataError, match=r"QX7LK: spans\[0\]: expected \[start, end\]"):
        read(tmp_path, {"QX7LK": video("a", spans=[[[1, 2]]])})  # type: ignore[list-item]
    reading = read(tmp_path, {"QX7LK": video("a", "b", "..", spans=[[5, 2], [3, 9], [1, 2]])})
    assert reading.dropped == {"reversed": 1, "empty_question": 1} and len(reading.samples) == 1
    with pytest.raises(DataError, match="no question is left"):
        metrics([])
