"""What a training step pays: the phase of its step, and lengths, by hand."""

from __future__ import annotations

import pytest

from trlt.recipe import Recipe
from trlt.task.grade import Grade
from trlt.task.sample import Sample, Span
from trlt.train.reward_phases import RewardPhases

SAMPLE = Sample("g", "s", "train", "grounding", "a.mp4", "a dog barks", duration=50.0, spans=(Span(10, 20),))
TEXTS = ["<answer> 15.0 to 25.0 </answer>", "<answer> 40.0 to 50.0 </answer>"]


def recipe(**reward: object) -> Recipe:
    values = {"reward": reward, "train": {"think": False, "scale_rewards": "none"}}
    return Recipe.model_validate(values)


def grades(phases: RewardPhases, step: int) -> list[Grade]:
    [found] = phases.at(step).grader.grade([(SAMPLE, TEXTS)])
    return found


def test_a_phase_begins_when_its_steps_are_done() -> None:
    phases = RewardPhases(recipe(phases=[{"after_steps": 2, "span": "timestamp_iou"}, {"after_steps": 5, "format": 0.0}]))
    values = {step: [one.reward for one in grades(phases, step)] for step in (0, 1, 2, 4, 5, 99)}
    assert values[0] == values[1] == pytest.approx([1 + 1 / 3, 1])
    assert values[2] == values[4] == pytest.approx([1.27, 1])
    assert values[5] == values[99] == pytest.approx([1 / 3, 0]), "what a phase doesn't name is as in the section"
    assert phases.names == ["span"], "one column for the whole run"
    assert grades(phases, 0)[0].parts == {} and grades(phases, 2)[0].parts["span"] == pytest.approx(0.27)


def test_a_length_is_paid_in_training() -> None:
    reward = RewardPhases(recipe(length={"low": 10, "high": 20, "ramp": 10, "weight": 0.5}, tasks={"grounding": {"weight": 2}}))
    near, far = grades(reward, 0)
    paid = [reward.at(0).paid(SAMPLE, near, tokens) for tokens in (4, 10, 20, 25, 40)]
    assert [one.parts["length_band"] for one in paid] == pytest.approx([0.4, 1, 1, 0.5, 0])
    assert [one.reward for one in paid] == pytest.approx([2 * (4 / 3 + 0.5 * value) for value in (0.4, 1, 1, 0.5, 0)])
    assert reward.names == ["length_band"]
    above = RewardPhases(recipe(length={"low": 10, "high": 20, "above": 0.1}, span="timestamp_iou"))
    assert [above.at(0).paid(SAMPLE, one, 15).parts["length_band"] for one in grades(above, 0)] == [1, 0]
    plain = RewardPhases(recipe())
    assert plain.names == [] and plain.at(7).paid(SAMPLE, grades(plain, 7)[0], 15).parts == {}
