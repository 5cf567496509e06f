"""Progress of counted work: rates and times left by hand, on terminals of several widths, and where there is none."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console, Group

from trlt.commands._output import Output
from trlt.report.progress import ProgressView
from trlt.stats.pace import EVERY_S, Pace, Rhythm, clock_words, rate_words


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def terminal(width: int = 80, **options: object) -> Console:
    options = dict(force_terminal=True, color_system=None, _environ={"TERM": "xterm"}) | options
    return Console(width=width, height=20, file=io.StringIO(), **options)  # type: ignore[arg-type]


def log() -> Console:
    return Console(width=80, file=io.StringIO(), force_terminal=False, _environ={})


def said(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_a_rate_leaves_out_what_was_there_and_counts_the_time_since(clock: Clock) -> None:
    pace = Pace(clock)
    assert pace.words("answers") == "" and pace.total is None
    clock.later(50)  # a model is loaded
    pace.count(100, 400)
    clock.later(20)
    assert pace.per_s is None and pace.elapsed_s == 20, "nothing is done yet"
    pace.count(110, 400)
    assert pace.per_s == pytest.approx(0.5) and pace.left_s == pytest.approx(580)
    assert pace.words("answers") == "30.0 answers/min, 9:40 left"
    clock.later(20)
    assert pace.per_s == pytest.approx(0.25), "a standstill lowers the rate"
    pace.count(400, 400)
    assert pace.words("answers") == "7.5 answers/s", "300 in 40 s, and nothing is left"


def test_a_rate_looks_back_two_minutes_but_at_eight_changes_at_least(clock: Clock) -> None:
    pace = Pace(clock)
    pace.count(0, 10_000)
    for _ in range(100):
        clock.later(10)
        pace.count(pace.done + 1, 10_000)
    for _ in range(100):
        clock.later(2)
        pace.count(pace.done + 1, 10_000)
    assert pace.per_s == pytest.approx(0.5), "not the 200 in 1,200 s of the whole"
    for _ in range(8):
        clock.later(100)
        pace.count(pace.done + 1, 10_000)
    assert pace.per_s == pytest.approx(0.01)


def test_the_way_to_the_first_change_counts_until_there_are_eight_more(clock: Clock) -> None:
    pace = Pace(clock)
    pace.count(0, 100)
    clock.later(60)
    for _ in range(8):
        clock.later(1)
        pace.count(pace.done + 1, 100)
    assert pace.per_s == pytest.approx(8 / 68)
    clock.later(1)
    pace.count(9, 100)
    assert pace.per_s == pytest.approx(1) and pace.left_s == pytest.approx(91)


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1234.5, "1,234.5 clips/s"),
        (1, "1.0 clips/s"),
        (0.5, "30.0 clips/min"),
        (1 / 60, "1.0 clips/min"),
        (0.001, "3.6 clips/h"),
    ],
)
def test_rates_have_a_unit_in_which_they_are_readable(rate: float, words: str) -> None:
    assert rate_words(rate, "clips") == words


def test_times() -> None:
    assert [clock_words(seconds) for seconds in (0, 59.6, 3599, 7265)] == ["0:00", "1:00", "59:59", "2:01:05"]


def test_the_bar_moves_with_the_first_completion(clock: Clock) -> None:
    view = ProgressView(terminal(), "probe", "answers", clock=clock)
    assert view.view().plain == "", "nothing is known yet"
    view(0, 320)
    clock.later(75)
    assert view.view().plain == f"probe {'─' * 36} 0/320 answers  1:15, none is done yet"
    clock.later(5)
    view(1, 320)
    line = view.view().plain
    assert line.endswith(" 1/320 answers  1:20, 45.0 answers/h, 7:05:20 left") and "▏" in line and len(line) <= 80
    clock.later(80)
    view(160, 320)
    assert re.fullmatch(r"probe █+▌?─+ 160/320 answers  2:40, 1.0 answers/s, 2:40 left", view.view().plain)
    view(320, 320)
    assert re.fullmatch(r"probe █+ 320/320 answers  2:40, 2.0 answers/s", view.view().plain)


def test_what_was_there_before_is_no_progress(clock: Clock) -> None:
    view = ProgressView(terminal(), "eval charades", "answers", clock=clock)
    view(300, 308)
    assert view.view().plain.endswith("300/308 answers  0:00, no further one is done yet")
    view(308, 308)
    done = ProgressView(terminal(), "x", "answers", clock=clock)
    done(5, 5)
    assert done.view().plain.endswith("█ 5/5 answers  0:00")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_it_fits_every_terminal(width: int, clock: Clock) -> None:
    console = terminal(width)
    view = ProgressView(console, "eval activitynet_rtl", "answers", clock=clock)
    view(0, 17_031)
    clock.later(3600)
    view(1234, 17_031)
    with console.capture() as captured:
        console.print(Group(view.view()))
    [line] = captured.get().splitlines()
    assert len(line) <= width and ("1,234/17,031 answers" in line) == (width > 40)


def test_a_terminal_is_drawn_on_and_keeps_the_last_line(clock: Clock) -> None:
    console = terminal()
    with ProgressView(console, "probe", "answers", clock=clock) as view:
        view(0, 4)
        clock.later(2)
        view(4, 4)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4/4 answers  0:02, 2.0 answers/s" in shown and "\x1b[" in shown


def test_notes_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    output = Output(quiet=False)
    with output.progress("probe", "answers") as view:
        view(0, 4)
        assert view._live
        view._live.refresh()  # which time would bring
        output.note("a note")
        view(4, 4)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert "a note" in shown and "4/4 answers" in shown[shown.rindex("a note") :]
    assert re.search(r"\x1b\[2K[^\n]*a note", shown), "the bar is taken away before it"


def test_a_log_has_a_line_each_half_minute_and_the_last(clock: Clock) -> None:
    console = log()
    with ProgressView(console, "probe", "answers", clock=clock) as view:
        view(0, 320)
        for done in range(1, 241):
            clock.later(0.5)
            view(done, 320)
    lines = said(console)
    assert lines[:2] == [
        "probe: 60 of 320 answers, 2.0 answers/s, 2:10 left",
        "probe: 120 of 320 answers, 2.0 answers/s, 1:40 left",
    ]
    assert len(lines) == 4 and lines[-1] == "probe: 240 of 320 answers, 2.0 answers/s, 0:40 left", "120 s"
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_a_short_piece_of_work_has_one_line_in_a_log_and_none_beside_json(clock: Clock) -> None:
    for terse, wanted in ((False, ["render: 8 of 8 videos, 4.0 videos/s, 0:02 in all"]), (True, [])):
        console = log()
        with ProgressView(console, "render", "videos", terse=terse, clock=clock) as view:
            view(0, 8)
            clock.later(2)
            view(8, 8)
        assert said(console) == wanted
    console = log()
    with ProgressView(console, "render", "videos", terse=True, clock=clock) as view:
        view(0, 8)
        clock.later(EVERY_S)
        view(4, 8)
    assert said(console) == ["render: 4 of 8 videos, 8.0 videos/min, 0:30 left"], "what takes long is told of"


def test_work_that_was_done_before_has_no_line_in_a_log(clock: Clock) -> None:
    console = log()
    with ProgressView(console, "probe", "answers", clock=clock) as view:
        view(5, 5)
    with ProgressView(console, "frames", "clips", clock=clock):
        pass
    assert said(console) == []


@pytest.mark.parametrize("json_mode", [False, True])
def test_stages_end_with_a_plain_line_in_a_log_and_none_beside_json(json_mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with Output(json_mode, quiet=False).stages(["charades", "[b]"]) as stage:
        for place in (0, 1):
            stage(place, "reading")
            stage(place, "")
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert shown == ("" if json_mode else "charades: done, 0:00\n[b]: done, 0:00\n")


def test_stages_tell_a_log_of_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr("trlt.commands._output.Rhythm", lambda: Rhythm(0.0))
    with Output(True, quiet=False).stages(["charades"]) as stage:
        stage(0, "checking videos: 3 of 9, 1.0 videos/s, 0:06 left")
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert shown == "charades: checking videos: 3 of 9, 1.0 videos/s, 0:06 left, 0:00\n"


def test_a_long_state_leaves_room_for_names_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the width of the times."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": "60", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    with Output().stages(["a stage of the demo"]) as update:
        update(0, "train: 2 prompts x 8 completions per step over 1 process (single process), 2 steps")
    assert "a stage of the demo 0:00:00 train: 2 prompts x 8 completi…" in sys.stderr.getvalue()  # type: ignore[attr-defined]
