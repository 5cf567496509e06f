"""What makes a run the same run, and which commands make it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reproduce_plans import small

from trlt.lab.reproduce import recipes
from trlt.lab.reproduce.launch import Launcher, words
from trlt.lab.reproduce.plan_sections import World
from trlt.lab.reproduce.stages import runs
from trlt.recipe import Recipe, load_recipe
from trlt.task.sample import Sample, Span, write_samples

OUT = Path("here")


def grounded(id, span):
    return Sample(id=id, source="s", split="train", task="grounding", video=f"{id}.mp4", question="when", spans=(Span(*span),))


def made(tmp_path, *, arm="tvg", seed=0, **changes):
    return runs(small(tmp_path, **changes), "plan", [arm], [seed])[0]


def ids(run):
    return {name: stage.id for name, stage in run.parts.items()}


def changed(a, b):
    return {name for name in ids(a) if ids(a)[name] != ids(b)[name]}


def test_all_of_a_seed_come_before_the_next(tmp_path):
    found = runs(small(tmp_path), "plan", ["base", "tvg"], [0, 2])
    assert [(run.arm, run.seed) for run in found] == [("base", 0), ("tvg", 0), ("base", 2), ("tvg", 2)]


def test_a_run_by_its_commands(tmp_path):
    run = made(tmp_path, seed=2)
    kinds = [stage.kind for stage in run.stages]
    assert kinds == ["world", "pool", "probe", "select", "train", "eval", "eval", "probe", "probe", "subset", "probe"]
    places = {name: recipes.filled(stage.place, OUT) for name, stage in run.parts.items()}
    train = words(run.parts["train"], OUT)
    assert train[:1] == ["train"] and train[1] == f"{places['train']}.recipe.yaml"
    assert train[2:] == ["--data", places["select"], "--model", "miniature", "--out", places["train"]]
    asked = words(run.parts["eval.default"], OUT)
    assert asked[:5] == ["eval", "--bench", "charades", "--bench", "mvbench"]
    assert asked[-4:] == ["--model", f"{places['train']}/model", "--out", places["eval.default"]]
    after, again, blind = (words(run.parts[f"probe.{name}"], OUT) for name in ("after", "again", "blind"))
    assert after[2] == again[2] == places["select"] and "samples" in blind[2]
    assert after[6] == f"{places['train']}/model" and again[6] == "miniature"
    assert all("{" not in word for stage in run.stages for word in words(stage, OUT))


def test_seeds_reach_the_stage_that_draws(tmp_path):
    run = made(tmp_path, seed=2)
    recipe = {name: stage.recipe for name, stage in run.parts.items()}
    assert recipe["select"].select.seed == recipe["train"].train.seed == recipe["probe.after"].probe.seed == 2
    assert recipe["probe.again"].probe.seed == 1002 and run.parts["probe.blind"].needs[0].subset.seed == 2
    assert recipe["eval.default"].eval.seed == 0 and recipe["eval.more"].eval.max_tokens_video == 64
    assert recipe["select"].select.sizes.multi_choice == 0 and recipe["select"].select.sizes.grounding == 6


def test_the_base_is_evaluated_once_and_probed_for_every_seed(tmp_path):
    one, other = (made(tmp_path, arm="base", seed=seed) for seed in (0, 1))
    assert one.parts["eval.default"] == other.parts["eval.default"]
    assert changed(one, other) == {"probe.blind"} and "train" not in one.parts and "select" not in one.parts


def test_an_arm_can_train_on_the_selection_of_another(tmp_path):
    tvg, sft = made(tmp_path), made(tmp_path, arm="sft")
    assert sft.parts["select"] == tvg.parts["select"] and sft.parts["train"].id != tvg.parts["train"].id
    assert sft.parts["train"].recipe.train.method == "sft"


def test_an_arm_can_go_on_from_another(tmp_path):
    before, after = made(tmp_path, arm="mixed"), made(tmp_path, arm="mixed", arms__mixed__start="sft")
    sft, train = made(tmp_path, arm="sft").parts["train"], after.parts["train"]
    line = words(train, OUT)
    assert line[line.index("--model") + 1] == recipes.filled(f"{sft.place}/model", OUT) and sft.place in {
        stage.place for stage in after.stages
    }
    assert changed(before, after) == {"train", "eval.default"} and train.needs[0] == before.parts["select"]
    assert [stage.label for stage in after.stages].index(sft.label) < [stage.label for stage in after.stages].index(train.label)


def test_a_recipe_can_name_gold_answers_to_its_samples(tmp_path):
    """In the form of training, of the selection of the same seed; they are written without a command."""
    changes = {"arms__tvg__overlay": {"train": {"data": "{gold}"}}, "claims": []}
    run = made(tmp_path, **changes)
    train, select = run.parts["train"], run.parts["select"]
    gold = train.needs[1]
    assert (gold.kind, gold.needs, train.recipe.train.data) == ("gold", (select,), gold.place)
    path = Path(recipes.filled(select.place, tmp_path))
    path.parent.mkdir(parents=True)
    write_samples(path, [grounded("a", (1.0, 2.5)), grounded("b", (0.0, 4.0))])
    assert Launcher(tmp_path, World()).start(gold).poll() == ""
    lines = Path(recipes.filled(gold.place, tmp_path)).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b"]
    assert json.loads(lines[0])["text"] == run.recipe.form("train").target(grounded("a", (1.0, 2.5)))
    other = made(tmp_path, **changes, recipe__train__think=True)
    assert other.parts["train"].needs[1].id != gold.id


def test_a_recipe_can_name_the_probe_of_its_samples(tmp_path):
    named = made(tmp_path, arms__tvg__overlay={"train": {"data": "{probe}/x"}}, claims=[])
    probe = named.parts["select"].needs[0]
    assert probe.kind == "probe" and named.parts["train"].recipe.train.data == f"{probe.place}/x"
    assert "{out}" in probe.place, "which is filled in when the recipe is written"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, set()),
        ({"recipe__video__workers": 2, "recipe__video__store_gb": 9, "recipe__train__save_steps": 7}, set()),
        ({"recipe__train__beta": 0.01, "recipe__eval__seed": 0}, set()),  # as the defaults are
        ({"name": "other", "seeds": [0, 9], "arms__mixed": ..., "claims": []}, set()),
        ({"evals__more__overlay": {"eval": {"max_tokens_video": 32}}}, {"eval.more"}),
        ({"evals__default__benchmarks": ["charades"], "claims": [], "metrics": {}, "tables": {}}, {"eval.default"}),
        ({"probes__again__overlay": {"probe": {"n": 9}}}, {"probe.again"}),
        ({"probes__blind__limit": 6}, {"probe.blind"}),
        ({"recipe__train__beta": 0}, {"train", "eval.default", "eval.more", "probe.after", "probe.blind"}),
        ({"recipe__probe__temperature": 0.9}, "all"),
        ({"world__seed": 1}, "all"),
    ],
)
def test_what_changes_a_run(tmp_path, changes, parts):
    """Exactly those parts, and what is made of them, are other work; a run is known by all of its parts."""
    before, after = made(tmp_path), made(tmp_path, **changes)
    assert changed(before, after) == (set(before.parts) if parts == "all" else parts)
    assert (before.id != after.id) == bool(parts)
    places = [{stage.place for stage in run.parts.values()} for run in (before, after)]
    assert len(places[0] - places[1]) == len(changed(before, after)), "what was there isn't written over"


def test_thresholds_count_as_metrics_are_made_of_them(tmp_path):
    claims = {"claims": [], "tables": {}}
    before = made(tmp_path, arm="base", **claims)
    after = made(tmp_path, arm="base", arms__base__overlay={"select": {"hard": 2}}, **claims)
    assert not changed(before, after) and before.id != after.id


def test_a_recipe_is_the_same_wherever_it_lies(tmp_path):
    run = made(tmp_path)
    path = tmp_path / "recipe.yaml"
    recipes.write(run.parts["train"].recipe, path, OUT)
    found = load_recipe(path)
    assert found.video.store == "here/frames"
    assert found.prepare.sources[0].annotations == "here/data/train/charades/annotations"
    assert found.eval.benchmarks["mvbench"].videos == "here/data/bench/mvbench/videos"
    assert "{out}" not in path.read_text()


def test_overlays_go_over_each_other_key_by_key():
    below = {"a": {"x": 1, "y": {"z": 2}}, "b": [1]}
    assert recipes.merged(below, {"a": {"y": {"w": 3}}, "b": [2], "c": None}) == {
        "a": {"x": 1, "y": {"z": 2, "w": 3}},
        "b": [2],
        "c": None,
    }
    assert below == {"a": {"x": 1, "y": {"z": 2}}, "b": [1]}
    assert recipes.filled({"a": ["{out}/x", 3, None]}, OUT) == {"a": ["here/x", 3, None]}


def test_sources_and_benchmarks_can_be_named(tmp_path):
    source = {"dataset": "charades", "annotations": "mine"}
    plan = small(
        tmp_path, recipe__prepare={"sources": [source]}, recipe__eval={"benchmarks": {"mvbench": {"annotations": "m"}}}
    )
    recipe = recipes.resolve(plan, "plan")
    assert isinstance(recipe, Recipe) and [one.annotations for one in recipe.prepare.sources] == ["mine"]
    assert recipe.eval.benchmarks["mvbench"].annotations == "m" and "charades" in recipe.eval.benchmarks
