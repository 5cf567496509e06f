"""Terminal reports say what they should, whatever the data holds."""

from __future__ import annotations

import pytest
from rich.console import Console

from trlt.recipe import Select
from trlt.report import gain_table, histogram_table, reading_table, results_table, selection_table, timeline
from trlt.report.bars import bar
from trlt.select import select
from trlt.task.sample import Span


def text(what):
    console = Console(width=140)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, ""), (1, "████"), (0.5, "██"), (0.001, "▏"), (0.28125, "█▏"), (7, "████"), (-1, "")]
)
def test_bars(share, drawn):
    assert bar(share, 4) == drawn


def test_timeline_places_spans():
    lines = text(
        timeline(10, [("gold", [Span(0, 5), Span(9, 12)]), ("[b]mine[/b]", [Span(3, 3.01)]), ("c", [])], width=20)
    ).splitlines()
    assert lines[0].split()[1] == "█" * 10 + "─" * 8 + "██>"
    assert lines[1].startswith("[b]mine[/b] ") and lines[1].split()[1] == "─" * 6 + "█" + "─" * 13
    assert lines[2].endswith("no span")
    assert lines[3].split() == ["0", "2.5", "5", "7.5", "10", "s"]


def test_timeline_of_a_span_past_the_end():
    assert "───█>" in text(timeline(10, [("a", [Span(30, 40)])], width=20))


def row(id, correct, source="a"):
    return dict(id=id, source=source, task="multi_choice", n=8, correct=correct, mean=1.0, error=None, delta_iou=None)


def test_histogram_and_selection():
    rows = [row(f"r{c}", c, source="[x]") for c in range(9)] + [row("bad", 0) | {"error": "gone"}]
    selection = select(rows, Select(sizes={"multi_choice": 3, "grounding": 0, "grounded_qa": 0}))
    shown = text(histogram_table(selection.report.to_json()["histograms"]))
    assert "10 samples" in shown and "multi_choice: 9, mean reward 1.000" in shown and "11.1%" in shown
    shown = text(selection_table(selection.report))
    assert "[x]" in shown and "1 row with an error left out" in shown
    assert [line for line in shown.splitlines() if "medium" in line][0].split("│")[-3:-1] == ["         5 ", "     3 "]


def test_a_histogram_leaves_out_runs_of_empty_bars():
    task = {"rows": 5, "mean_reward": None, "classes": {"varied": 5, "flat": 0}, "correct": {}}
    counts = [1, 0, 1, 0, 0, 0, 0, 2, 1, 0]
    lines = text(histogram_table({"rows": 1, "tasks": {"grounding": task | {"delta_iou": counts, "mean_iou": [0] * 9 + [5]}}}))
    head, *bars = [line.split("  ")[0].strip() for line in lines.splitlines()]
    assert head == "Difficulty: 1 sample"
    spread = ["0.0 to 0.1", "0.1 to 0.2", "0.2 to 0.3", "0.7 to 0.8", "0.8 to 0.9", "0.9 to 1.0"]
    assert bars[2:] == ["class", "varied", "flat", "IoU, max - mean", *spread, "IoU, mean", "0.9 to 1.0"]


def test_reading_names_reasons_with_an_example():
    entry = dict(dataset="d", split="train", read=1200, kept=1000, repaired={"end_clamped": 7}, dropped={"no_span": 200})
    shown = text(reading_table([entry | {"examples": {"no_span": ["[line] 3"]}, "paper": None}]))
    assert "1,200" in shown and "end_clamped" in shown and "[line] 3" in shown


def entry(value, **more):
    metrics = {"paper": {"mIoU": value}, "official": {"mIoU": value, "P": 5.0}, "ci95": {"mIoU": [value - 1, value + 1]}}
    return dict(n=40, unanswered=3, missing_videos=0, by={}, **metrics) | more


def test_results_and_gain():
    base = {"benchmarks": {"charades": entry(20.0, missing_videos=2, broken_videos=1), "other": entry(1.0)}}
    tuned = {"benchmarks": {"charades": entry(31.5), "new": entry(1.0)}}
    shown = text(results_table(base, paper=True))
    assert "19.0 to 21.0" in shown and "28.0, 43.0, 57.0" in shown
    assert "2 videos are missing" in shown and "1 video couldn't" in shown
    assert "paper" not in text(results_table(base))
    shown = text(gain_table(base, tuned))
    assert "31.5 (30.5 to 32.5)" in shown and "+11.5" in shown and "new" not in shown
