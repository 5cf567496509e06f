"""A probed sample on the terminal, and two probes side by side, whatever the data holds."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from rich.console import Console

from trlt.recipe import Select
from trlt.report.answers import answers_view, said, visible
from trlt.report.shift_table import shift_notes, shift_view
from trlt.select.probe_shift import histograms, pair, shift


def text(what, width=160):
    console = Console(width=width)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def answer(**fields):
    blank = dict(text="", reasoning=None, payload=None, option=None, span=None, well_formed=True, right=None, tiou=None)
    return blank | dict(format=1.0, accuracy=None, reward=1.0, tokens=5, finished=True) | fields


def shown(**fields):
    sample = dict(id="s1", source="made", task="grounding", video="v.mp4", clip=None, duration=10.0, question="a cat sits")
    numbers = dict(n=2, correct=None, delta_iou=0.25, reward_range=0.5, mean=1.25, mean_iou=0.25, deviation=0.25, error=None)
    empty = dict(options=None, answer=None, answer_index=None, spans=[[0.0, 5.0]], answers=[])
    limits = dict(by="rules", hard=1, easy=7, delta_iou=0.3, grounded_delta_iou=0.1)
    return sample | numbers | empty | {"class": "flat", "select": limits} | fields


def test_spans_stand_under_the_gold_one():
    answers = [
        answer(text="<answer> 5.0 to 10.0 </answer>", span=[5.0, 10.0], tiou=0.0),
        answer(text="none", tiou=0.0, reward=0.0),
    ]
    lines = text(answers_view(shown(answers=answers))).splitlines()
    assert lines[:4] == ["s1", "grounding, made, v.mp4, 10.0 s", "Event: a cat sits", "Gold: 0.0 to 5.0 s"]
    gold, first, second, axis = lines[5:9]
    assert gold.split()[:2] == ["gold", "█" * 28 + "─" * 28] and first.split()[:2] == ["1", "─" * 28 + "█" * 28]
    assert gold.index("█") == first.index("─") and first.endswith("5.0 to 10.0 s  IoU 0.00")
    assert second.split()[2:] == ["no", "span", "IoU", "0.00"] and axis.split() == ["0", "2.5", "5", "7.5", "10", "s"]
    assert any(line.split() == "1 5.0 to 10.0 s 0.00 1 1.00 5 <answer> 5.0 to 10.0 </answer>".split() for line in lines)
    assert "mean IoU 0.25, max - mean 0.25, mean reward 1.25, reward range 0.50, deviation 0.25: flat" in lines
    assert lines[-1] == "  varied from max - mean = 0.3 on, else flat"
    by_variance = shown(answers=answers, select=shown()["select"] | {"by": "variance"})
    assert text(answers_view(by_variance)).rstrip().endswith("selection goes by variance: the rewards' deviation")


def test_a_choice_marks_the_gold_option_and_right_answers():
    answers = [
        answer(text="<answer> B </answer>", option=1, right=True, reward=2.0),
        answer(text="no tags", right=False, reward=0.0, format=0.0, finished=False),
    ]
    view = shown(
        task="multi_choice", spans=None, options=["red", "blue"], answer="blue", answer_index=1, correct=1, delta_iou=None,
        mean_iou=None, answers=answers, **{"class": "medium"},
    )  # fmt: skip
    lines = text(answers_view(view)).splitlines()
    assert "    A. red" in lines and "  > B. blue  (gold)" in lines and not any("█" in line for line in lines)
    assert any(line.split() == "1 B. blue right 1 2.00 5 <answer> B </answer>".split() for line in lines)
    assert any(line.split() == "2 no option wrong 0 0.00 5 no tags [cut off at the token limit]".split() for line in lines)
    assert any(line.startswith("1 of 2 right, mean reward 1.25") and line.endswith(": medium") for line in lines)


def test_an_open_question_and_a_clip_without_a_length():
    answers = [answer(text="<answer> a fox </answer>", payload="a fox", right=True, span=[30.0, 40.0], tiou=1.0)]
    view = shown(
        task="grounded_qa", duration=None, clip=[3.0, 50.0], answer="fox", spans=[[30.0, 40.0]], correct=1, answers=answers, n=1
    )
    out = text(answers_view(view))
    assert "v.mp4, seconds 3 to 50 of the file" in out and "  > fox  (gold)" in out and "a fox" in out
    assert "medium is flat below max - mean = 0.1" in out


def test_texts_are_neither_markup_nor_orders_to_the_terminal():
    bad = "[red]x[/red] \x1b[2J\x07 \ud800"
    answers = [answer(text=bad, payload=bad, right=False, tiou=0.0)]
    view = shown(id=bad, video=bad, question=bad, task="grounded_qa", answer=bad, source=bad, answers=answers, correct=0)
    out = text(answers_view(view), 200)
    assert out.count("[red]x[/red] \\x1b[2J\\x07 \\ud800") >= 5 and "\x1b[2J" not in out and "\x07" not in out
    assert "not probed: [b]gone[/b]" in text(answers_view(shown(error="[b]gone[/b]", answers=[])))


def test_reasoning_is_shortened_and_the_answer_stays():
    long = said(f"<think> {'word ' * 200}</think>\n<answer> B </answer>")
    assert long.startswith("<think> word") and long.endswith("… </think> <answer> B </answer>") and len(long) < 130
    assert said("<think> never closed " + "x" * 500).startswith("<think> never closed xx") and len(said("y" * 999)) == 240
    assert visible(" a\n b\tc ") == "a b c" and visible("abcdef", 4) == "abc…"


def row(id, correct):
    numbers = dict(n=8, correct=correct, mean=1 + correct / 8, ious=None, delta_iou=None, error=None)
    return dict(id=id, task="multi_choice", source="s") | numbers


def compared(a, b, videos, **fields):
    settings = Select()
    paired = pair(a, b, settings)
    sides = [histograms((one.row() for one in side), settings) for side in (paired.a, paired.b)]
    tasks = {task: asdict(one) for task, one in shift(paired, videos).items()}
    rest = dict(errors=0, only_a=0, only_b=0, warnings=[], select={"origin": "r.yaml"})
    return dict(tasks=tasks, histograms={"a": sides[0], "b": sides[1]}) | rest | fields


def test_two_probes_side_by_side():
    found = compared([row("a", 2), row("b", 4)], [row("a", 8), row("b", 1)], {"a": "x", "b": "y"})
    lines = [line.rstrip() for line in text(shift_view(found)).splitlines()]
    assert "multi_choice: 2 samples of both about 2 videos" in lines
    assert any(line.split() == "reward 1.375 1.562 +0.188 -0.375 to +0.750".split() for line in lines)
    table = lines.index("A down, B across     hard   medium     easy  all of A")
    assert [line.split() for line in lines[table + 1 : table + 5]] == [
        ["hard", "0", "0", "0", "0"],
        ["medium", "1", "0", "1", "2"],
        ["easy", "0", "0", "0", "0"],
        ["all", "of", "B", "1", "0", "1", "2"],
    ]
    bars = {line.split()[0]: line.split()[1:] for line in lines[table + 6 :] if line[:1].isdigit()}
    assert bars["2"] == ["█" * 18, "1", "50.0%", "0", "0.0%"] and bars["8"] == ["0", "0.0%", "█" * 18, "1", "50.0%"]


@pytest.mark.parametrize(("n", "bars"), [(16, 17), (17, 9), (64, 17)])
def test_many_answers_share_bars(n, bars):
    rows = [row(f"r{c}", c) | {"n": n} for c in range(n + 1)]
    lines = text(shift_view(compared(rows, rows, None))).splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("right answers     A"))
    assert len(lines) - first - 1 == bars
    assert sum(int(line.replace("█", " ").split()[-2]) for line in lines[first + 1 :] if line) == n + 1
    assert "multi_choice: " in lines[1] and "videos" not in lines[1]


def test_notes_say_what_was_left_out():
    notes = shift_notes(dict(errors=2, only_a=1234, only_b=0, warnings=["n: 8 in A"], select={"origin": "[x].yaml"}))
    assert notes == [
        "\nClasses by `select` of [x].yaml",
        "  only in A: 1,234 samples, left out",
        "  2 samples of both with an error in one of the probes, left out",
        "  warning: n: 8 in A",
    ]
