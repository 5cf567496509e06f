"""A training run on terminals of several sizes, and where there is none."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from trlt.report.live import LiveView, sparkline
from trlt.train.diagnostics import Finding


def row(step: int, of: int = 40, **changes: Any) -> dict[str, Any]:
    metrics = {"reward": step / 10, "reward/format": 0.9, "reward/accuracy": 0.5, "reward/tiou": 0.25}
    metrics |= {"reward_range": 0.5, "frac_zero_range": 0.2, "kl": 0.01, "length": 80.0, "truncated_frac": 0.05, "rounds": 1.0}
    metrics |= {"loss": 0.001, "grad_norm": 0.5, "clip_ratio/region_mean": 0.0}
    metrics |= {"time/video_wait_s": 1.0, "time/rollout_s": 4.0, "time/score_s": 0.5, "step_time": 10.0}
    return {"step": step, "of": of, "elapsed_s": 12.0 * step} | metrics | changes


def terminal(width: int = 100, height: int = 40, **options: Any) -> Console:
    options = dict(force_terminal=True, _environ={"TERM": "xterm"}) | options
    return Console(width=width, height=height, file=io.StringIO(), color_system=None, **options)


def make(console: Console, steps: range = range(1, 13), **options: Any) -> LiveView:
    ticks: Iterator[float] = iter(range(0, 1_000_000, 100))
    view = LiveView(console, "train (grpo)", clock=lambda: float(next(ticks)), **options)
    for step in steps:
        view.step(row(step))
    return view


def drawn(view: LiveView, console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(view.view())
    return captured.get().rstrip("\n").split("\n")


def cells(lines: list[str], label: str) -> list[str]:
    [line] = [line for line in lines if line.startswith(label)]
    return line.removeprefix(label).split()


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 1, 1, 0, 0], 3) == "▁█▁", "stretches have their mean"
    assert sparkline([0.5, 0.5], 9) == "▁▁", "no spread, and no more columns than values"
    assert sparkline([0.5, 2.0, -1.0], 9, 0.0, 1.0) == "▅█▁", "what passes the scale stays on it"
    assert len(sparkline(list(range(1000)), 60)) == 60 and sparkline([], 9) == sparkline([1.0], 0) == ""


def test_metrics_have_their_course_the_last_and_the_mean_of_ten() -> None:
    console = terminal()
    lines = drawn(make(console), console)
    assert re.fullmatch(r"train \(grpo\) █+▏?▎?▍?▌?▋?▊?▉?─+ 12/40 steps  1:40, 12.0 s/step, 5:36 left", lines[0]), lines[0]
    assert lines[1].split() == ["last", "last", "10"]
    spark, last, mean = cells(lines, "reward  ")
    assert len(spark) == 12 and spark[0] == "▁" and spark[-1] == "█" and (last, mean) == ("1.200", "0.750")
    assert cells(lines, "· format") == ["▇" * 12, "0.900", "0.900"], "a share's scale goes from 0 to 1"
    assert cells(lines, "zero range")[1:] == ["20%", "20%"] and cells(lines, "length")[1:] == ["80", "80"]
    assert cells(lines, "KL")[1] == "0.0100" and cells(lines, "truncated")[1] == "5%" and cells(lines, "clipped")[1] == "0.0%"
    assert lines[-2] == "█" * 60
    assert lines[-1].replace("\u00a0", " ") == "■ decode wait 1.00 s  ■ rollout 4.00 s  ■ score 0.50 s  ■ update 4.50 s"


def test_phases_are_a_stacked_bar_in_proportion() -> None:
    console = Console(width=100, height=40, file=io.StringIO(), force_terminal=True, color_system="standard", _environ={})
    view = make(console, range(1, 2))
    styled = "".join(drawn(view, console))
    pieces = {code: len(blocks) for code, blocks in re.findall(r"\x1b\[(\d+)m(█+)\x1b\[0m", styled)}
    assert {code: pieces[code] for code in ("33", "36", "35")} == {"33": 6, "36": 24, "35": 3}
    replaced = LiveView(console, "x")
    replaced.step(row(1, rounds=2.0, step_time=12.0))
    shown = "".join(drawn(replaced, console))
    assert "score\u00a01.00\u00a0s" in shown and "update\u00a01.00\u00a0s" in shown, "metrics are means over rounds"
    replaced.step(row(2, rounds=5.0, step_time=3.0))
    assert "update\u00a00.50\u00a0s" in "".join(drawn(replaced, console)), "never below 0; the mean of both steps"


@pytest.mark.parametrize("width", [16, 20, 34, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [8, 14, 24, 50])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    console = terminal(width, height)
    view = make(console)
    view.example(12, "what is shown? " * 30, "<think> " + "much " * 200 + "</think> <answer> A </answer>", 1.5)
    lines = drawn(view, console)
    assert all(cell_len(line) <= width for line in lines)
    assert any(line.startswith("reward") for line in lines) and "12/40" in lines[0]
    assert len(lines) <= max(height, 10 if width > 30 else 12), lines
    assert any("█" in line for line in lines) and ("▁" in "".join(lines)) == (width >= 60)
    assert any("1.200" in line for line in lines), "numbers come before sparklines"


def test_a_low_terminal_leaves_out_the_example_first_and_then_metrics() -> None:
    shown = {}
    for height in (40, 17, 12):
        console = terminal(height=height)
        view = make(console)
        view.finding(Finding("spread", 12, "no spread: all completions earn the same"))
        view.example(12, "the question", "the completion", 1.0)
        shown[height] = "\n".join(drawn(view, console))
        assert "no spread: all" in shown[height] and "rollout" in shown[height]
    assert "the completion" in shown[40] and "clipped" in shown[40]
    assert "the completion" not in shown[17] and "clipped" in shown[17]
    assert "clipped" not in shown[12] and "reward" in shown[12] and "· tIoU" in shown[12]


def test_a_resumed_run_shows_its_past() -> None:
    console = terminal()
    before = [row(step) for step in range(1, 6)]
    again = [row(step, elapsed_s=12.0 * (step - 5)) for step in range(6, 9)]
    view = make(console, range(0), rows=[*before, *again])
    lines = drawn(view, console)
    assert "8/40 steps  3:16, 12.0 s/step, 6:24 left" in lines[0], (
        "60 s and 36 s of the processes before, and 100 s of this one"
    )
    assert len(cells(lines, "reward  ")[0]) == 8
    view.step(row(9, elapsed_s=300.0))
    lines = drawn(view, console)
    assert len(cells(lines, "reward  ")[0]) == 9
    assert "6:12 left" in lines[0], "the first step counts from before it began, so not as the time of a step"


def test_before_the_first_step_and_with_other_metrics() -> None:
    console = terminal()
    view = make(console, range(0))
    assert drawn(view, console)[0] == "train (grpo)  1:40, no step is done yet"
    # The supervised baseline has neither rewards nor phases; metrics that aren't finite are left out.
    view.step({"step": 1, "of": 3, "elapsed_s": 9.0, "loss": 2.5, "grad_norm": float("nan")})
    view.step({"step": 2, "of": 3, "elapsed_s": 12.0, "loss": 2.0, "grad_norm": 1.0})
    lines = drawn(view, console)
    assert "2/3" in lines[0] and "0:03 left" in lines[0]
    assert [line.split()[0] for line in lines[2:]] == ["loss", "grad"] and cells(lines, "loss") == ["█▁", "2.0000", "2.2500"]


def test_troubles_are_told_in_words_the_newest_last() -> None:
    console = terminal(160)
    view = make(console, range(1, 2))
    for step in range(2, 5):
        view.finding(Finding("kind", step, f"trouble of step {step}"))
    view.step(row(5, findings=["[b]far[/b] from the base\x1b[2J", "cut off"]))
    lines = drawn(view, console)[-4:]
    assert lines == [
        "2 earlier warnings",
        "step 4: trouble of step 4",
        r"step 5: [b]far[/b] from the base\x1b[2J",
        "step 5: cut off",
    ]


def test_an_example_stays_for_some_steps() -> None:
    console = terminal()
    view = make(console, range(1, 2), every=5)
    for step in range(3, 9):
        view.example(step, f"question {step}", f"said {step}", 0.5)
    assert drawn(view, console)[-2:] == ["step 8, reward 0.50: question 8", "  said 8"]
    view.example(12, "later", "later", 0.5)
    assert "question 8" in drawn(view, console)[-2]


@pytest.mark.parametrize("width", [30, 100])
def test_strange_texts_show_as_they_are(width: int) -> None:
    console = terminal(width)
    view = LiveView(console, "[red]a\x1b[2J")
    view.step(row(1))
    view.example(1, "is [bold]this[/bold] \x1b[31mred\x07?", "<think>[/]\r\n</think> <answer>[link=x]\x9b2K</answer>", 2.0)
    shown = "\n".join(drawn(view, console))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    flat = "".join(shown.split())
    assert r"is[bold]this[/bold]\x1b[31mred\x07?" in flat and r"<answer>[link=x]\x9b2K</answer>" in flat and "[/]" in flat
    assert (r"[red]a\x1b[2J" in flat) == (width == 100)


def test_a_terminal_is_redrawn_and_left_as_it_was() -> None:
    console = terminal()
    with LiveView(console, "train") as view:
        view.step(row(1))
        console.print("a note")
    out = console.file.getvalue()  # type: ignore[attr-defined]
    assert out.count("\x1b[?25l") == out.count("\x1b[?25h") == 1, "the cursor is hidden, and shown again"
    assert "a note\n" in out and "1/40" in out[out.rindex("a note") :], "notes stand above the view"
    with pytest.raises(KeyboardInterrupt), LiveView(console, "train") as view:
        raise KeyboardInterrupt
    assert console.file.getvalue().endswith("\x1b[?25h")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "plain",
    [dict(force_terminal=False), dict(_environ={"TERM": "dumb"}), dict(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"))],
    ids=["a pipe", "a dumb terminal", "a terminal of ASCII"],
)
def test_where_nothing_can_be_redrawn_a_line_comes_now_and_then(plain: dict[str, Any]) -> None:
    options = dict(force_terminal=True, _environ={"TERM": "xterm"}, file=io.StringIO()) | plain
    console = Console(width=40, color_system=None, **options)
    now = [0.0]
    with LiveView(console, "train", rows=[row(step) for step in range(1, 4)], clock=lambda: now[0]) as view:
        for step in range(4, 26):
            now[0] += 5
            view.step(row(step, of=25))
            view.example(step, "a question", "an answer", 1.0)
        view.finding(Finding("spread", 25, "no spread: [b]\x1b"))
    if isinstance(console.file, io.StringIO):
        out = console.file.getvalue()
    else:
        console.file.flush()
        out = console.file.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    lines = out.splitlines()
    assert [line.partition(",")[0] for line in lines[:-1]] == [
        *("train 9/25 steps", "train 15/25 steps", "train 21/25 steps", "train 25/25 steps")
    ], "each half minute, and the last"
    assert lines[0].startswith(
        "train 9/25 steps, reward 0.900, format 0.900, accuracy 0.500, tIoU 0.250, range 0.500, zero range 20%"
    )
    assert lines[0].endswith("12.0 s/step, 3:12 left") and lines[-1] == r"step 25: no spread: [b]\x1b"
    assert "\x1b" not in out


def test_a_fresh_run_says_its_first_step_and_findings_of_rows() -> None:
    console = Console(width=40, file=io.StringIO(), force_terminal=False)
    with LiveView(console, "train") as view:
        for step in range(1, 4):
            view.step(row(step, findings=["trouble"] if step == 2 else []))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition(",")[0] for line in lines] == ["train 1/40 steps", "step 2: trouble"]


def test_answers_of_the_step_in_progress_are_counted() -> None:
    console = terminal()
    view = make(console, range(0))
    view.answers(3, 64)
    assert drawn(view, console)[0].endswith("no step is done yet, step 1: 3/64 answers")
    view.step(row(1))
    assert "answers" not in drawn(view, console)[0]
    view.answers(63, 64)
    assert drawn(view, console)[0].endswith(" left, step 2: 63/64 answers")
    view.answers(64, 64)
    assert "answers" not in drawn(view, console)[0], "what is learnt from them is no matter of answers"


def test_beside_json_a_log_has_lines_of_long_steps_alone() -> None:
    console = Console(width=40, file=io.StringIO(), force_terminal=False)
    now = [0.0]
    with LiveView(console, "train", terse=True, clock=lambda: now[0]) as view:
        for step in range(1, 4):
            now[0] += 14
            view.step(row(step, of=3, findings=["trouble"]))
        now[0] += 30
        view.answers(5, 8)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.partition(",")[0] for line in lines] == ["train 3/3 steps", "train step 4: 5 of 8 answers"]


@pytest.mark.parametrize("terminal_there", [True, False])
def test_a_quiet_console_stays_quiet(terminal_there: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal_there, quiet=True, _environ={"TERM": "xterm"})
    with LiveView(console, "train") as view:
        view.step(row(1, findings=["trouble"]))
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_a_part_that_the_recipe_adds_has_its_line() -> None:
    """Behind the parts that every reward has, also on plain lines; a name can't bring escapes."""
    console = terminal()
    view = LiveView(console, "train (grpo)", clock=lambda: 0.0)
    for step in range(1, 4):
        view.step(row(step, **{"reward/near": step / 4, "reward/overlong": -0.5}))
    lines = drawn(view, console)
    labels = [line[:10].strip() for line in lines[2:8]]
    assert labels == ["reward", "· format", "· accuracy", "· tIoU", "· near", "range"]
    assert cells(lines, "· near") == ["▁▅█", "0.750", "0.500"]
    plain = io.StringIO()
    LiveView(Console(file=plain, width=300), "train (grpo)", clock=lambda: 0.0).step(row(1, **{"reward/near": 0.25}))
    assert "tIoU 0.250, near 0.250, range 0.500" in plain.getvalue()
