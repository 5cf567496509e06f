"""A run's metrics, from files as the commands leave them, against numbers worked out by hand."""

from __future__ import annotations

import json

import pytest
from reproduce_plans import small

from trlt.errors import DataError
from trlt.lab.reproduce.recipes import filled
from trlt.lab.reproduce.run_metrics import metrics_of, rewards_of
from trlt.lab.reproduce.stages import runs


def lines(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def said(id, task, option=None, span=None, error=None):
    answer = {"payload": None, "option": option, "span": span, "well_formed": True}
    return {"id": id, "task": task, "answers": [] if error else [answer], "error": error}


@pytest.fixture
def run(tmp_path):
    changes = {"arms__tvg__evals": ["default", "more"], "arms__tvg__probes": ["after"], "claims": [], "tables": {}}
    return runs(small(tmp_path, **changes), "plan", ["tvg"], [0])[0]


@pytest.fixture
def place(run, tmp_path):
    return {name: tmp_path / filled(stage.place, tmp_path) for name, stage in run.parts.items()}


@pytest.fixture
def files(run, place):
    report = {"taken": 6, "tasks": [{"task": "grounding", "taken": 6}, {"task": "multi_choice", "taken": 0}]}
    place["select"].parent.mkdir(parents=True)
    place["select"].with_suffix(".report.json").write_text(json.dumps(report))
    log = [{"step": n, "elapsed_s": float(n), "reward": n / 10, "kl": 0.1 * n, "reward/format": 1.0} for n in range(1, 13)]
    log[11] |= {"elapsed_s": 0.5, "reward/tiou": 0.25}  # resumed before the last step: 11 s and half a second
    lines(place["train"] / "log.jsonl", log)
    (place["train"] / "result.json").write_text(json.dumps({"reward_first": 0.15, "reward_last": 1.15, "steps": 12}))
    for name in ("eval.default", "eval.more"):
        benches = {
            "charades": {"n": 4, "unanswered": 1, "paper": {"mIoU": 40.0, "R1@0.5": 25.0}},
            "mvbench": {"n": 3, "unanswered": 0, "paper": {"acc": 60.0}},
        }
        lines(place[name] / "results.json", [{"benchmarks": benches}])
        spans = [[1.0, 3.1], [1.1, 2.9], [4, 5], None]  # 1 to 3, twice, to the half second
        rows = [said(str(n), "grounding", span=span) for n, span in enumerate(spans)]
        lines(place[name] / "rows" / "charades.jsonl", [*rows, said("x", "grounding", error="broken")])
        lines(
            place[name] / "rows" / "mvbench.jsonl", [said(str(n), "multi_choice", option) for n, option in enumerate((2, 2, 0))]
        )
    probed = [
        {
            **{"id": "a", "source": "s", "task": "grounding", "n": 2, "mean": 1.6, "correct": None, "error": None},
            **iou(0.5, 0.7),
        },
        {
            **{"id": "b", "source": "s", "task": "grounding", "n": 2, "mean": 1.2, "correct": None, "error": None},
            **iou(0.0, 0.6),
        },
        {"id": "c", "source": "s", "task": "multi_choice", "n": 8, "mean": 1.5, "correct": 4, "error": None},
        {"id": "d", "source": "s", "task": "multi_choice", "n": 8, "mean": 1.0, "correct": 0, "error": None},
        {"id": "e", "source": "s", "task": "multi_choice", "n": 8, "mean": None, "correct": None, "error": "broken"},
    ]
    lines(place["probe.after"] / "rows" / "probe.jsonl", probed)


def iou(*values):
    return {"ious": list(values), "delta_iou": max(values) - sum(values) / len(values)}


def test_metrics_by_hand(run, files, tmp_path):
    found = metrics_of(run, tmp_path)
    expected = {
        **{"select.taken": 6, "select.taken.grounding": 6, "select.taken.multi_choice": 0},
        **{"train.reward_first": 0.15, "train.reward_last": 1.15, "train.steps": 12, "train.seconds": 11.5},
        # The last ten steps are 3 to 12; one of them had grounding samples.
        **{"train.completions": 12 * 2 * 4, "train.reward_equal": 0.75},
        **{"train.kl": 0.75, "train.reward/format": 1, "train.reward/tiou": 0.25},
        **{"eval.charades.mIoU": 40, "eval.charades.R1@0.5": 25, "eval.charades.unanswered": 0.25},
        **{"eval.charades.top_span": 0.5, "eval.mvbench.acc": 60, "eval.mvbench.unanswered": 0},
        **{"eval.mvbench.top_share": 2 / 3, "eval.more.mvbench.acc": 60, "eval.more.charades.top_span": 0.5},
        # max - mean is 0.1 and 0.3, of which the second reaches the plan's 0.2.
        **{"probe.after.grounding.n": 2, "probe.after.grounding.mean_reward": 1.4, "probe.after.grounding.varied": 0.5},
        **{"probe.after.grounding.flat": 0.5, "probe.after.grounding.mean_iou": 0.45, "probe.after.grounding.delta_iou": 0.2},
        **{"probe.after.multi_choice.n": 2, "probe.after.multi_choice.right": 0.25, "probe.after.multi_choice.medium": 0.5},
        **{
            "probe.after.multi_choice.hard": 0.5,
            "probe.after.multi_choice.easy": 0,
            "probe.after.multi_choice.mean_reward": 1.25,
        },
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert {key for key in found if not key.startswith("eval.more.")} == {k for k in expected if not k.startswith("eval.more.")}
    assert rewards_of(run, tmp_path) == pytest.approx([n / 10 for n in range(1, 13)])


def test_what_is_missing_is_told(run, files, place, tmp_path):
    (place["train"] / "result.json").unlink()
    with pytest.raises(DataError, match=r"result\.json: can't be read .*remove its folder"):
        metrics_of(run, tmp_path)
    (place["train"] / "result.json").write_text("{")
    with pytest.raises(DataError, match=r"result\.json: not JSON"):
        metrics_of(run, tmp_path)


@pytest.mark.parametrize(
    ("columns", "completions", "equal"),
    [
        ([{}, {}, {}, {}], 32, 0.4),
        # 12 completions a step in the place of 8: of the 32 that four steps would draw, 24 are drawn in two.
        ([{"asked": 1.5}] * 4, 48, 0.2),
        ([{"asked": 1.0, "online/completions": 8.0}, {"asked": 1.0, "online/completions": 16.0}, {}, {}], 40, 0.3),
        ([{"asked": 5.0}] * 4, 160, 0.1),
    ],
)
def test_what_was_drawn(run, files, place, tmp_path, columns, completions, equal):
    lines(
        place["train"] / "log.jsonl",
        [{"step": n, "elapsed_s": n, "reward": 0.1 + 0.2 * n, **more} for n, more in enumerate(columns)],
    )
    found = metrics_of(run, tmp_path)
    assert (found["train.completions"], found["train.reward_equal"]) == pytest.approx((completions, equal))


def test_supervised_steps_draw_nothing(run, files, place, tmp_path):
    lines(place["train"] / "log.jsonl", [{"step": 1, "elapsed_s": 1.0, "loss": 0.5}])
    assert not {"train.completions", "train.reward_equal"} & metrics_of(run, tmp_path).keys()


def test_a_log_without_a_clock_has_no_seconds(run, files, place, tmp_path):
    lines(place["train"] / "log.jsonl", [{"step": 1, "reward": 0.5}])
    found = metrics_of(run, tmp_path)
    assert "train.seconds" not in found and found["train.reward_equal"] == 0.5
