"""What is told of a reward before a run, while it is still cheap, and after it."""

from __future__ import annotations

import json

import pytest
from judging import FakeJudge
from made_clips import choice, event

from trlt.commands._train_reward import late_phases, refuse_unused, rewards_told
from trlt.errors import RecipeError, ServerError
from trlt.recipe import load_recipe
from trlt.task.sample import Span

SPANS = [event("a", "a.mp4", spans=(Span(0, 1),), duration=4.0)]
OPTIONS = [choice("b", "b.mp4", options=("red circle", "blue square"))]
JUDGE = "reward.judge={model: j, url: 'http://h:1'}"


def test_a_key_that_no_sample_is_for_is_refused() -> None:
    contrast = load_recipe(None, sets=["train.temporal_contrast={}"])
    refuse_unused(contrast, [*SPANS, *OPTIONS])
    with pytest.raises(RecipeError, match=r"only sample is of grounding, so none .*temporal_contrast.tasks=\[grounding\]"):
        refuse_unused(contrast, SPANS)
    judged = load_recipe(None, sets=[JUDGE])
    with pytest.raises(RecipeError, match=r"reward.judge: all 2 samples are .*reward.judge.questions=all"):
        refuse_unused(judged, [*SPANS, *OPTIONS])
    refuse_unused(load_recipe(None, sets=[JUDGE, "reward.judge.questions=all"]), OPTIONS)
    refuse_unused(load_recipe(None, sets=[JUDGE, "train.method=sft"]), SPANS)


def test_a_phase_that_a_run_is_too_short_for_is_told() -> None:
    phased = load_recipe(None, sets=["reward.phases=[{after_steps: 10, span: giou}, {after_steps: 20, span: diou}]"])
    assert late_phases(phased, 21) is None and late_phases(phased, None) is None
    told = late_phases(phased, 20)
    assert told and "after_steps 20 never begins in 20 steps" in told and "train.epochs" in told
    with pytest.raises(RecipeError, match=r"never begins in train.max_steps \(20\)"):
        load_recipe(None, sets=["train.max_steps=20", "reward.phases=[{after_steps: 20, span: diou}]"])


def test_phases_are_those_of_the_stages_that_earn_rewards() -> None:
    """Not of the supervised one, nor of the section itself, which is no training where there are stages."""
    phases = "reward.phases=[{after_steps: 80, span: giou}]"
    stages = "train.stages=[{method: sft, max_steps: 2}, {method: grpo, max_steps: 100}]"
    found = load_recipe(None, sets=[stages, "train.max_steps=56", phases])
    assert [found.train.stage(place).max_steps for place in (0, 1)] == [2, 100]
    with pytest.raises(RecipeError, match=r"never begins in train.stages.1.max_steps \(70\)"):
        load_recipe(None, sets=[stages.replace("100", "70"), phases])


def test_rewards_of_two_phases_are_told_apart_and_equal_ones_taught_nothing(tmp_path) -> None:
    phased = load_recipe(None, sets=["reward.phases=[{after_steps: 1, span: giou}]"])
    result = {"reward_first": 1.5, "reward_last": 0.25, "steps": 2}
    (tmp_path / "log.jsonl").write_text("".join(json.dumps({"step": s, "frac_zero_range": s - 1.0}) + "\n" for s in (1, 2)))
    told = "Reward: 1.500 over the first steps, 0.250 over the last"
    assert rewards_told(phased, tmp_path, result) == [f"{told}, of another phase of the reward (from step 2 on)"]
    assert rewards_told(load_recipe(None), tmp_path, result) == [told]
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1, "frac_zero_range": 1.0}) + "\n")
    [_, nothing] = rewards_told(load_recipe(None), tmp_path, result)
    assert nothing.startswith("Nothing was learned")


def test_the_judge_of_a_phase_is_tried_before_the_run() -> None:
    server = FakeJudge(lambda text: (401, "who are you"))
    try:
        judge = f"judge: {{model: j, url: '{server.url}'}}"
        phased = load_recipe(None, sets=[f"reward.phases=[{{after_steps: 1, {judge}}}, {{after_steps: 2, {judge}}}]"])
        with pytest.raises(ServerError, match="who are you"):
            phased.reward.ready()
        server.says = lambda text: "yes"
        server.seen.clear()
        phased.reward.ready()
        assert len(server.seen) == 1, "each once"
    finally:
        server.close()
