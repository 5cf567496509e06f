"""What a training step saves, or leaves out: packed passes, a frozen tower's features, adapters, samples that have left."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_grpo import invented_rewards, pytestmark, recipe, run  # noqa: F401  (fixtures)

from trlt.engine.features import FrozenTower
from trlt.engine.shared_prefix import TreeBatch
from trlt.errors import RecipeError
from trlt.recipe import Lora, load_recipe
from trlt.task.reward import advantages
from trlt.train.dynamic_sampling import make_slots
from trlt.train.passes import pack_groups, split_passes
from trlt.train.retirement import Retirement, Visit, cut_visits


def changed(recipe, **train):  # noqa: F811
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=train)})


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(1, 120), st.integers(0, 5))
def test_passes_hold_every_group_once_and_keep_to_their_tokens(sizes: list[int], most: int, more: int) -> None:
    passes = pack_groups(sizes, most)
    assert sorted(i for some in passes for i in some) == list(range(len(sizes)))
    assert all(len(some) == 1 or sum(sizes[i] for i in some) <= most for some in passes)
    count = min(len(sizes), len(passes) + more)
    split = split_passes(passes, sizes, count)
    assert len(split) == count and all(split)
    assert sorted(i for some in split for i in some) == list(range(len(sizes)))
    assert max(sum(sizes[i] for i in some) for some in split) <= max(sum(sizes[i] for i in some) for some in passes)


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_packed_passes_learn_what_single_ones_learn(tiny_path, training_data, recipe, tmp_path, monkeypatch, loss):  # noqa: F811
    single = changed(recipe, prompts_per_pass=1, loss=loss)
    weights, rows, _ = run(tiny_path, training_data, single, tmp_path / "single")
    packed, made = changed(single, tokens_per_pass=440), TreeBatch.to
    sizes = []
    monkeypatch.setattr(
        TreeBatch, "to", lambda self, device: sizes.append([len(self.ids), len(self.row)]) or made(self, device)
    )
    same, others, _ = run(tiny_path, training_data, packed, tmp_path / "packed")
    del sizes[0]  # the comparison before the first step, of two samples in one pass without gradients
    assert len(sizes) < 16 and any(groups > 1 for _, groups in sizes), "fewer passes than groups"
    assert all(tokens <= 440 or groups == 1 for tokens, groups in sizes)
    for a, b in zip(rows, others, strict=True):
        assert a["reward"] == b["reward"] and a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    for key, value in weights.items():
        assert torch.allclose(value, same[key], atol=1e-4), key


@pytest.mark.parametrize("loss", ["bnpo", "dr_grpo", "dapo"])
def test_other_losses_weigh_tokens_otherwise(tiny_path, training_data, recipe, tmp_path, loss):  # noqa: F811
    recipe = changed(recipe, max_steps=2)  # noqa: F811
    _, rows, _ = run(tiny_path, training_data, recipe, tmp_path / "grpo")
    _, others, _ = run(tiny_path, training_data, changed(recipe, loss=loss), tmp_path / loss)
    assert rows[0]["reward"] == others[0]["reward"] and all(row["grad_norm"] > 0 for row in others)
    assert rows[0]["grad_norm"] != pytest.approx(others[0]["grad_norm"], rel=1e-3)


def test_advantages_without_scale() -> None:
    assert advantages([1.0, 0.0, 0.5, 0.5], scale=False) == [0.5, -0.5, 0.0, 0.0]


def test_a_frozen_tower_runs_once_a_clip(tiny_path, training_data, recipe, tmp_path, monkeypatch):  # noqa: F811
    frozen = changed(recipe, freeze_vision=True)
    towers, made = [], FrozenTower.__init__
    monkeypatch.setattr(FrozenTower, "__init__", lambda self, *args: towers.append(self) or made(self, *args))
    weights, rows, parity = run(tiny_path, training_data, frozen, tmp_path / "anew")
    kept = changed(frozen, features=str(tmp_path / "features"))
    same, others, _ = run(tiny_path, training_data, kept, tmp_path / "kept")
    again, third, _ = run(tiny_path, training_data, kept, tmp_path / "again")
    assert rows == others == third
    assert all(torch.equal(value, same[key]) and torch.equal(value, again[key]) for key, value in weights.items())
    asked = len({sample.video for sample in training_data.samples})
    # The check before the first step takes its clips by the same way.
    most = 16 + parity.samples
    assert towers[0].passes == most and 0 < towers[1].passes <= min(most, asked) and towers[2].passes == 0


def test_adapters_alone_are_trained_and_resumed(tiny_path, training_data, recipe, tmp_path, monkeypatch):  # noqa: F811
    from trlt.train.rollouts import GroupRollouts

    lora = changed(recipe, lora=Lora(rank=4, alpha=8), learning_rate=1e-2)
    weights, rows, parity = run(tiny_path, training_data, lora, tmp_path / "whole")
    plain, _, _ = run(tiny_path, training_data, changed(recipe, max_steps=1), tmp_path / "plain")
    assert parity.largest < 1e-4 and rows[0]["kl"] == 0 and rows[-1]["kl"] > 0
    moved = {key for key in weights if "lora_B" in key and bool(weights[key].any())}
    assert len(moved) == sum("lora_B" in key for key in weights) > 7, "adapters of every layer have moved"
    base = {key.replace(".base_layer", ""): value for key, value in weights.items() if "lora_" not in key}
    assert base.keys() == plain.keys()
    rolled = GroupRollouts.__call__

    def dies(self, wanted, step):
        if step == 3:
            raise KeyboardInterrupt
        return rolled(self, wanted, step)

    with monkeypatch.context() as patch:
        patch.setattr(GroupRollouts, "__call__", dies)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_path, training_data, lora, tmp_path / "killed")
    again, others, _ = run(tiny_path, training_data, lora, tmp_path / "killed")
    assert others == rows and all(torch.equal(value, again[key]) for key, value in weights.items())


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["train.features=x"], r"train.features \(x\) needs train.freeze_vision"),
        (["train.tokens_per_pass=9", "train.prompts_per_pass=2"], "both say how many groups share a pass"),
        (["train.attention=flex", "train.shared_prefix=false"], "it needs train.shared_prefix: true"),
    ],
)
def test_fields_that_cannot_go_together(sets, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(None, sets=sets)


def test_samples_leave_after_visits_without_spread(tmp_path) -> None:
    made = Retirement(tmp_path, ["a", "b", "c"], 2, writes=True)
    assert made.see(0, [Visit(0, 1.0, 0.0), Visit(1, 0.5, 0.5)]) == []
    assert made.see(1, [Visit(0, 1.0, 0.5), Visit(1, 0.0, 0.0)]) == [], "a visit with spread begins anew"
    assert made.see(2, [Visit(1, 0.0, 0.0), Visit(0, 1.0, 0.0)]) == ["b"]
    assert made.left == {1}
    lines = [json.loads(line) for line in (tmp_path / "difficulty.jsonl").read_text().splitlines()]
    assert [(row["step"], row["id"], "left" in row) for row in lines[-2:]] == [(2, "a", False), (2, "b", True)]
    assert made.see(3, [Visit(0, 1.0, 0.0), Visit(1, 0.0, 0.0)]) == ["a"], "one leaves once"
    resumed = Retirement(tmp_path, ["a", "b", "c"], 2, writes=True)
    resumed.resume(3)
    assert resumed.left == {1} and resumed.see(3, [Visit(0, 1.0, 0.0)]) == ["a"]
    cut_visits(tmp_path, 2)
    assert {json.loads(line)["step"] for line in (tmp_path / "difficulty.jsonl").read_text().splitlines()} == {0, 1}
    assert Retirement(tmp_path, ["a"], None, writes=False).see(9, [Visit(0, 1.0, 0.0)]) == []


def test_a_resumed_run_counts_the_visits_that_the_first_counted(tmp_path) -> None:
    """The file has six digits: a range that it holds as 0 is 0 for the run that wrote it, too."""
    made = Retirement(tmp_path, ["a"], 2, writes=True)
    gone = [made.see(step, [Visit(0, 1.0, 3e-7)]) for step in (0, 1)]
    resumed = Retirement(tmp_path, ["a"], 2, writes=True)
    resumed.resume(2)
    assert gone == [[], ["a"]] and resumed.left == made.left == {0}


def test_places_prefer_samples_that_have_not_left() -> None:
    lines = [list(place.prompts) for place in make_slots([0, 1, 2], range(3), 9, "seed", {1, 4, 5})]
    assert lines[0][0] == 0 and lines[1][0] not in (0, 1, 2, 4, 5) and lines[2][0] == 2
    for place, line in enumerate(lines):
        rest = [index for index in line if index > 2]
        assert sorted(rest) == [3, 4, 5, 6, 7, 8] and set(rest[-2:]) == {4, 5}
        assert sorted(set(line)) == list(range(9)), place


def test_what_left_is_not_asked_again(tiny_path, training_data, recipe, tmp_path, monkeypatch):  # noqa: F811
    from dataclasses import replace

    from trlt.train.rollouts import GroupRollouts

    honest = GroupRollouts.score
    bored = {0, 1, 2, 3}

    def score(self, index, group, completions, grades, *step):
        scored = honest(self, index, group, completions, grades, *step)
        return replace(scored, rewards=(0.5,) * 4) if index in bored else scored

    monkeypatch.setattr(GroupRollouts, "score", score)
    asked, call = [], GroupRollouts.__call__
    monkeypatch.setattr(
        GroupRollouts, "__call__", lambda self, wanted, step: asked.append((step, wanted)) or call(self, wanted, step)
    )
    few = replace(training_data, samples=training_data.samples[:8])
    _, rows, _ = run(tiny_path, few, changed(recipe, retire_after=1, max_steps=6), tmp_path)
    left = {}
    for line in (tmp_path / "difficulty.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "left" in row:
            left[[sample.id for sample in few.samples].index(row["id"])] = row["step"]
    assert set(left) == bored
    assert all(step <= left[index] for step, wanted in asked for index in wanted if index in left)
    assert rows[-1]["left"] == 4
