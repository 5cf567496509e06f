"""The recipe's section `reward`: what contradicts itself, phases, and which runs a key tells apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from trlt.errors import RecipeError
from trlt.lab.reproduce.identity import settings
from trlt.recipe import Recipe, changing, dump_recipe, load_recipe, tells_apart
from trlt.task.reward import Weights
from trlt.task.reward_rules import Rules, TaskWeight


def load(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return load_recipe(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{span: gio}", "reward.span: 'gio' is unknown; did you mean giou?"),
        ("{span_steps: [0.5]}", "reward.span_steps are thresholds of reward.span: steps, and reward.span is tiou; set both"),
        ("{span: giou, tiou_from: 0.5}", "reward.tiou_from (0.5) makes the tIoU discrete, and reward.span (giou) pays another"),
        (
            "{format_as: multiply, format: 0.5}",
            "reward.format (0.5) is a weight in a sum, and reward.format_as: multiply has no",
        ),
        (
            "{format_as: multiply, tasks: {grounding: {format: 2}}}",
            "reward.tasks.grounding.format (2) is a weight in a sum, and reward.format_as: multiply has no",
        ),
        ("{tasks: {groundin: {}}}", "'groundin' is unknown; did you mean grounding?"),
        ("{tasks: {grounding: {weight: 2.0}}}", "reward.tasks.grounding.weight (2) cancels out where advantages are divided"),
        ("{length: {low: 320, high: 300}}", "reward.length.low (320) is above reward.length.high (300); swap them"),
        ("{length: {low: 900, high: 999}}", "reward.length.low (900) is out of reach of train.max_new_tokens (768)"),
        ("{phases: [{after_steps: 9}]}", "reward.phases: after_steps 9 changes nothing; give it keys of reward"),
        ("{phases: [{after_steps: 9, span: gio}]}", "reward.phases: after_steps 9: span: Input should be 'tiou'"),
        ("{phases: [{after_steps: 9, spam: giou}]}", "reward.phases: after_steps 9: spam: unknown key; did you mean span?"),
        ("{phases: [{after_steps: 9, phases: []}]}", "reward.phases: after_steps 9: phases: unknown key"),
        (
            "{tiou_from: 0.5, phases: [{after_steps: 9, span: giou}]}",
            "reward.phases: after_steps 9: reward.tiou_from (0.5) makes the tIoU discrete",
        ),
        (
            "{phases: [{after_steps: 9, span: giou}, {after_steps: 9, span: diou}]}",
            "reward.phases: after_steps 9 comes after after_steps 9; give phases in their order, each once",
        ),
        (
            "{phases: [{after_steps: 20, span: giou}]}\ntrain: {max_steps: 20}",
            "reward.phases: after_steps 20 never begins in train.max_steps (20); lower it, or leave the phase out",
        ),
        (
            "{several: union, parts: [{file: a.py, function: span}]}",
            "reward.parts: span is what rows and logs call what a span is paid; call the function otherwise",
        ),
    ],
)
def test_what_contradicts_itself_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RecipeError) as raised:
        load(tmp_path, f"reward: {text}\n")
    assert told in str(raised.value)


def test_phases_change_what_they_name_and_nothing_else(tmp_path: Path) -> None:
    recipe = load(
        tmp_path,
        """
reward:
  span: steps
  span_steps: [0.5]
  grounded_tiou: 0.7
  phases:
    - {after_steps: 10, span: giou, span_steps: null, parts: [{name: tiou, weight: 0.5}]}
    - {after_steps: 20, length: {low: 5, high: 9}, tasks: {grounding: {format: 0.2}}}
""",
    )
    early, middle, late = (recipe.reward.at(step) for step in (9, 10, 20))
    assert (early.rules(), middle.rules()) == (Rules(span="steps", steps=(0.5,)), Rules(span="giou"))
    assert late.rules() == Rules(span="steps", steps=(0.5,), tasks={"grounding": TaskWeight(format=0.2)})
    assert early.weights() == middle.weights() == late.weights() == Weights(grounded_tiou=0.7)
    assert [len(one.parts) for one in (early, middle, late)] == [0, 1, 0] and late.length is not None and early.length is None
    assert recipe.grader("train", 15).rules.span == "giou" and recipe.grader("train", 15).noted == ("span", "tiou")
    assert {recipe.grader(stage, 15).rules.span for stage in ("probe", "eval")} == {"steps"}, "the first phase"
    (tmp_path / "saved.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "saved.yaml") == recipe


def test_a_task_may_weigh_more_where_advantages_keep_their_scale(tmp_path: Path) -> None:
    recipe = load(tmp_path, "reward: {tasks: {grounding: {weight: 2.0}}}\ntrain: {scale_rewards: none}\n")
    assert recipe.reward.rules().scale("grounding") == 2 and recipe.reward.rules().scale("multi_choice") == 1


def test_what_is_paid_in_training_alone_tells_apart_trainings_alone(tmp_path: Path) -> None:
    plain = Recipe()
    late = load(tmp_path, "reward: {length: {low: 5, high: 9}, phases: [{after_steps: 10, span: giou}]}")
    assert tells_apart("probe", plain, late) == tells_apart("eval", plain, late) == []
    assert {line.split(".")[1].partition(":")[0] for line in tells_apart("train", plain, late)} == {"length", "phases"}
    assert settings(late, ["probe", "reward"]) == settings(plain, ["probe", "reward"])
    assert settings(late, ["reward", "train"]) != settings(plain, ["reward", "train"])
    assert changing(plain, "reward") == {}, "keys at their defaults leave old runs what they were"
    other = load(tmp_path, "reward: {span: diou}")
    assert tells_apart("probe", plain, other) == ["reward.span: 'tiou' -> 'diou'"]


def test_a_phases_functions_count_by_their_files_content(tmp_path: Path) -> None:
    """And not by where these are, as `reward.parts`."""
    (tmp_path / "a.py").write_text("def one(sample, text, answer, scores):\n    return 1\n")
    (tmp_path / "b.py").write_text((tmp_path / "a.py").read_text())
    text = "reward: {{phases: [{{after_steps: 5, parts: [{{file: {}, function: one}}]}}]}}"
    a, b = (load(tmp_path, text.format(tmp_path / name)) for name in ("a.py", "b.py"))
    assert tells_apart("train", a, b) == [] and a != b
    assert a.reward.identity() == []
    [one], [other] = a.reward.identity(phases=True), b.reward.identity(phases=True)
    assert one["name"] == "one" and [*one["files"].values()] == [*other["files"].values()]
