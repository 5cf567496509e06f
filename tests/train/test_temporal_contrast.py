"""Temporal contrast: the rule by hand, the frames, and a run's steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_grpo import recipe, run  # noqa: F401  (fixtures)

from trlt.engine.forest import Engine
from trlt.errors import RecipeError
from trlt.recipe import TemporalContrast, load_recipe
from trlt.task.answer import Answer
from trlt.task.grade import Grade
from trlt.task.score import Scores
from trlt.train.dynamic_sampling import group_metrics
from trlt.train.memory_plan.sizes import sizes
from trlt.train.rollouts import GroupRollouts
from trlt.train.temporal_contrast import contrast, second_size, shuffled, with_contrast
from trlt.video.clip import Clip

warned = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize(
    ("ordered", "second", "bonuses"),
    [
        ([1, 0, 1, 1], [1, 1], (0.0,) * 4),  # 0.75 < 0.8
        ([1, 1, 1, 1, 0], [1, 1], (0.3, 0.3, 0.3, 0.3, 0.0)),  # 0.8 = 0.8 x 1: at least
        ([0, 0, 0, 1], [0, 0], (0.0, 0.0, 0.0, 0.3)),
        ([0, 0], [0, 0], (0.0, 0.0)),  # the condition holds, and nobody is right
        ([0.1, 0.2], [0, 0.1], (0.0, 0.3)),  # graded accuracy: right is above 0.1
    ],
)
def test_right_completions_earn_alpha_where_order_is_no_worse(ordered, second, bonuses) -> None:
    found = contrast(ordered, second, alpha=0.3, mu=0.8)
    assert found.bonuses == bonuses and found.passed == any(bonuses)
    assert found.ordered == pytest.approx(sum(ordered) / len(ordered))
    assert found.shuffled == pytest.approx(sum(second) / len(second))


def test_mu_demands_more_or_nothing() -> None:
    assert contrast([1, 0], [1, 0], alpha=0.5, mu=1.0).bonuses == (0.5, 0.0)
    assert contrast([1, 0], [1, 0], alpha=0.5, mu=1.1).bonuses == (0.0, 0.0)
    assert contrast([1, 0], [1, 1], alpha=0.5, mu=0.0).bonuses == (0.5, 0.0)


def test_frames_change_places_and_times_do_not() -> None:
    frames = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 28, 28), dtype=np.uint8)
    clip = Clip.of(frames, np.arange(6) / 2.0, sample_fps=2.0, duration=3.0)
    other = shuffled(clip, "0:a@3:shuffled")
    order = other.frames[:, 0, 0, 0].tolist()
    assert sorted(order) == [0, 1, 2, 3, 4, 5] != order
    assert other.times is clip.times and other.stamps is clip.stamps and other.grid == clip.grid
    assert shuffled(clip, "0:a@3:shuffled").frames[:, 0, 0, 0].tolist() == order
    assert len({tuple(shuffled(clip, f"0:a@{step}:shuffled").frames[:, 0, 0, 0].tolist()) for step in range(8)}) > 4
    pair = Clip.of(frames[:2], np.arange(2) / 2.0, sample_fps=2.0, duration=1.0)
    assert all(shuffled(pair, str(i)).frames[:, 0, 0, 0].tolist() == [1, 0] for i in range(8)), "an order is always changed"


def _grade(accuracy, tiou=None, **parts) -> Grade:
    return Grade(Answer("x", None, None, None, True), Scores(1.0, accuracy, tiou), 0.0, parts)


def test_the_judge_decides_where_there_is_one_and_grounding_goes_by_iou() -> None:
    from types import SimpleNamespace

    from trlt.train.dynamic_sampling import ScoredGroup

    by = TemporalContrast()
    scores = tuple(_grade(0.0).scores for _ in range(2))
    draws = tuple(SimpleNamespace(tokens=(1,), finished=True, text="a") for _ in range(2))
    scored = ScoredGroup(0, SimpleNamespace(clip=SimpleNamespace(tokens=8)), draws, scores, (1.0, 2.0))
    judged = with_contrast(scored, [_grade(0.0, judge=1.0), _grade(1.0, judge=0.0)], [_grade(1.0, judge=0.0)], by)
    assert judged.rewards == (1.3, 2.0)
    assert judged.parts == ({"temporal_contrast": 0.3}, {"temporal_contrast": 0.0})
    found = group_metrics([judged])
    assert found["contrast/ordered"] == [0.5] and found["contrast/shuffled"] == [0.0] and found["contrast/earned"] == [1.0, 0.0]
    spans = with_contrast(scored, [_grade(None, 0.05), _grade(None, 0.6)], [_grade(None, 0.1)], by)
    assert spans.rewards == (1.0, 2.3) and spans.contrast.ordered == pytest.approx(0.325)
    plain = with_contrast(scored, [_grade(1.0), _grade(1.0)], [], by)
    assert plain.rewards == scored.rewards and plain.parts == ({"temporal_contrast": None},) * 2 and plain.contrast is None


def test_half_a_group_is_drawn_besides_and_told(capsys) -> None:
    assert second_size(None, 8) == 0 and second_size(TemporalContrast(), 8) == 4 and second_size(TemporalContrast(), 3) == 1
    assert second_size(TemporalContrast(group_size=8), 8) == 8
    sets = ["train.temporal_contrast={}", "train.max_sequences=24"]
    size = sizes(load_recipe(None, sets=sets), 1)
    assert size.completions == 8 and size.per_clip == 6, "more prompts are held for as many completions"
    with pytest.raises(RecipeError, match=r"train.temporal_contrast compares groups of completions, and train.method: sft"):
        load_recipe(None, sets=["train.temporal_contrast={}", "train.method=sft"])


@warned
@pytest.mark.slow
def test_runs_draw_it_resume_and_leave_the_rest_as_it_was(tiny_path, training_data, recipe, tmp_path, monkeypatch):  # noqa: F811
    training_data = replace(training_data, samples=[s for s in training_data.samples if s.task != "grounding"][:6])
    update = {"max_steps": 3, "save_steps": 1, "freeze_vision": True, "features": str(tmp_path / "features")}
    plain = recipe.model_copy(update={"train": recipe.train.model_copy(update=update)})
    contrasted = plain.model_copy(
        update={"train": plain.train.model_copy(update={"temporal_contrast": TemporalContrast(mu=0.0)})}
    )
    asked, stream = [], Engine.stream

    def watched(self, trees, *args, **more):
        asked.append([(tree.requests[0].key, tree.requests[0].n) for tree in trees])
        return stream(self, trees, *args, **more)

    monkeypatch.setattr(Engine, "stream", watched)
    monkeypatch.setattr(GroupRollouts, "score", _rewarded(GroupRollouts.score))
    whole, rows, _ = run(tiny_path, training_data, contrasted, tmp_path / "whole")
    kept = sorted(path.name for path in (tmp_path / "features").rglob("*.safetensors"))
    drawn = [one for some in asked for one in some if "@" in one[0]]
    assert [n for key, n in drawn if key.endswith(":shuffled")] == [2] * 12
    assert [n for key, n in drawn if not key.endswith(":shuffled")] == [4] * 12
    assert all(0 <= row["contrast/shuffled"] <= 1 and row["contrast/earned"] == 0 for row in rows), (
        "a random model is never right"
    )
    first = drawn[:4]
    asked.clear()
    _, others, _ = run(tiny_path, training_data, plain, tmp_path / "plain")
    assert [one for some in asked for one in some if "@" in one[0]][:4] == first
    assert [row["loss"] for row in others] == [row["loss"] for row in rows], "without a bonus, the update is the same"
    assert kept == sorted(path.name for path in (tmp_path / "features").rglob("*.safetensors")), "no shuffled clip is kept"
    rolled = GroupRollouts.__call__

    def dies(self, wanted, step):
        if step == 2:
            raise KeyboardInterrupt
        return rolled(self, wanted, step)

    with monkeypatch.context() as patch:
        patch.setattr(GroupRollouts, "__call__", dies)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_path, training_data, contrasted, tmp_path / "killed")
    _, again, _ = run(tiny_path, training_data, contrasted, tmp_path / "killed")
    assert again == rows


def _rewarded(honest):
    """A random model earns nothing; here a completion earns by its tokens, so that weights move."""

    def score(self, index, group, completions, grades, step):
        rewards = tuple((sum(c.tokens) + 7 * index) % 11 / 10 for c in completions)
        return replace(honest(self, index, group, completions, grades, step), rewards=rewards)

    return score
