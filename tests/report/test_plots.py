"""Pictures hold the counts that they are given, keep their size, and are the same bytes each time."""

from __future__ import annotations

import struct

import pytest

from trlt.recipe import Select
from trlt.report.plots import difficulty_figure, difficulty_png, shift_figure, shift_png

ZERO = [0] * 10


def task(n, **by_class):
    """One task's entry as `trlt.select.probe_shift.histograms` gives it."""
    rows = sum(map(sum, next(iter(by_class.values())).values()))
    return {"n": n, "rows": rows, "by_class": by_class}


def steps(**counts):
    return [counts.get(f"s{i}", 0) for i in range(10)]


CHOICE = task(4, correct={"easy": [0, 0, 0, 0, 3], "medium": [0, 0, 5, 2, 0], "hard": [7, 1, 0, 0, 0]})
GROUNDING = task(
    4,
    delta_iou={"varied": steps(s3=4, s5=1), "flat": steps(s0=2)},
    mean_iou={"varied": steps(s1=5), "flat": steps(s1=1, s9=1)},
)
BOTH = task(
    4,
    correct={"medium": [0, 0, 1, 0, 0], "flat": [0, 0, 2, 0, 0], "easy": [0] * 5, "hard": [4, 0, 0, 0, 0]},
    delta_iou={"medium": steps(s2=1), "flat": steps(s0=2), "easy": ZERO, "hard": steps(s2=4)},
    mean_iou={"medium": steps(s2=1), "flat": steps(s0=2), "easy": ZERO, "hard": steps(s2=4)},
)


def probe(errors=0, **tasks):
    return {"rows": sum(found["rows"] for found in tasks.values()) + errors, "errors": errors, "tasks": tasks}


FULL = probe(multi_choice=CHOICE, grounding=GROUNDING, grounded_qa=BOTH)


def heights(ax):
    """Middle of each bar, rounded, to the height of all that is stacked there."""
    found = {}
    for bar in ax.patches:
        middle = round(bar.get_x() + bar.get_width() / 2, 3)
        found[middle] = found.get(middle, 0) + bar.get_height()
    return found


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_bars_are_the_counts():
    figure = difficulty_figure(FULL)
    assert figure.get_suptitle() == "Difficulty of 32 probed samples"
    titles = [(ax.get_title(), ax.get_xlabel()) for ax in figure.axes]
    assert titles[:2] == [
        ("Multiple choice (n = 18)", "right answers of 4"),
        ("Temporal grounding (n = 7)", "IoU of 4 answers, max - mean"),
    ]
    assert len(titles) == 6 and {ax.get_ylabel() for ax in figure.axes} == {"samples"}
    assert heights(figure.axes[0]) == {0: 7, 1: 1, 2: 5, 3: 2, 4: 3}
    assert heights(figure.axes[1]) == {round(0.05 + 0.1 * i, 3): n for i, n in enumerate([2, 0, 0, 4, 0, 1, 0, 0, 0, 0])}
    assert heights(figure.axes[2])[0.15] == 6 and heights(figure.axes[2])[0.95] == 1
    assert heights(figure.axes[3])[2] == 3 and heights(figure.axes[4])[0.25] == 5
    for ax in figure.axes:
        assert ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > max(heights(ax).values())
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["hard", "flat", "medium, varied", "easy"]
    hard, easy = (next(b for b in figure.axes[0].patches if b.get_x() > x and b.get_height()) for x in (-1, 3.5))
    assert hard.get_facecolor() != easy.get_facecolor()


def test_pairs_of_bars_are_the_counts_of_both():
    after = probe(multi_choice=task(4, correct={"easy": [0, 0, 0, 2, 9], "medium": [0, 0, 4, 0, 0], "hard": [3, 0, 0, 0, 0]}))
    figure = shift_figure(probe(multi_choice=CHOICE), after, names=("base", "tuned"))
    found = heights(figure.axes[0])
    assert list(found.values()) == [7, 1, 5, 2, 3, 3, 0, 4, 2, 9]
    places = list(found)
    assert all(before < c < late for c, before, late in zip(range(5), places[:5], places[5:], strict=True))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "tuned"]
    assert figure.get_suptitle() == "18 samples, probed twice" and figure.axes[0].get_ylabel() == "samples"


def test_probes_of_different_size_are_shown_as_shares():
    half = probe(multi_choice=task(8, correct={"easy": [0] * 8 + [3], "medium": [0, 0, 0, 1] + [0] * 5, "hard": [0] * 9}))
    figure = shift_figure(FULL, half)
    assert len(figure.axes) == 1, "only tasks of both"
    assert figure.axes[0].get_ylabel() == "share of samples, %" and "n = 18 and 4" in figure.axes[0].get_title()
    found = list(heights(figure.axes[0]).values())
    assert found[0] == pytest.approx(100 * 7 / 18) and found[9 + 8] == 75 and sum(found) == pytest.approx(200)


@pytest.mark.parametrize(
    ("name", "found", "size"),
    [
        ("all", FULL, (1575, 990)),
        (
            "one",
            probe(multi_choice=task(8, correct={"easy": [0] * 9, "medium": [0, 0, 1] + [0] * 6, "hard": [0] * 9})),
            (750, 585),
        ),
        ("two", probe(multi_choice=CHOICE, grounded_qa=BOTH), (1575, 990)),
        ("grounding", probe(grounding=GROUNDING), (1050, 585)),
        (
            "large",
            probe(3, multi_choice=task(64, correct={"easy": [10**6] * 65, "medium": [1] * 65, "hard": [0] * 65})),
            (750, 585),
        ),
        ("none", {"rows": 2, "errors": 2, "tasks": {}}, (750, 585)),
    ],
)
def test_pictures_keep_their_size_and_bytes(tmp_path, name, found, size):
    first, again, both = tmp_path / f"{name}.png", tmp_path / "again.png", tmp_path / "both.png"
    difficulty_png(found, first)
    difficulty_png(found, again)
    assert png_size(first) == size and first.read_bytes() == again.read_bytes()
    assert b"Matplotlib" not in first.read_bytes() and b"Creation" not in first.read_bytes()
    shift_png(found, found, both)
    assert png_size(both) == size and max(size) <= 1600


def test_what_was_left_out_is_said():
    assert difficulty_figure(probe(3, multi_choice=CHOICE)).get_suptitle().endswith("(3 more left out: video unreadable)")


def test_any_name_can_be_drawn(tmp_path):
    names = ("A: $\\frac{", f"B: \u6f22\u5b57 {'x' * 300}/end")
    shift_png(FULL, FULL, tmp_path / "a.png", names=names)
    assert png_size(tmp_path / "a.png") == (1575, 990)
    shown = shift_figure(FULL, FULL, names=names).legends[0].get_texts()[1].get_text()
    assert len(shown) == 40 and shown.startswith("…") and shown.endswith("/end")


def test_the_users_settings_change_nothing(tmp_path):
    import matplotlib

    difficulty_png(FULL, tmp_path / "a.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 20}):
        difficulty_png(FULL, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_histograms_of_rows_can_be_drawn(tmp_path):
    from trlt.select.probe_shift import histograms

    row = dict(id="a", task="grounding", source="s", n=2, correct=None, mean=1.2, ious=[0.0, 0.4], delta_iou=0.2, error=None)
    difficulty_png(histograms([row], Select()), tmp_path / "a.png")
    assert png_size(tmp_path / "a.png") == (1050, 585)
