"""What a recipe says of the update: the learning rate's way, lengths that cost, ratios; by hand."""

from __future__ import annotations

import math
import shutil
from typing import Any

import pytest
import torch
from test_grpo import invented_rewards, pytestmark, recipe, run  # noqa: F401  (fixtures)
from test_sft import run as run_sft
from trl.rewards import get_soft_overlong_punishment

from trlt.errors import RecipeError
from trlt.files import read_log
from trlt.recipe import Recipe, Rewards, Train, load_recipe
from trlt.rollout.row import Generated, to_row
from trlt.task.reward import overlong
from trlt.train.completion_log import read_completions
from trlt.train.importance_weights import Correction, bounded, ratios
from trlt.train.rollouts import GroupRollouts

HONEST = GroupRollouts.score


def changed(recipe: Recipe, **train: Any) -> Recipe:  # noqa: F811
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=train)})


# -- the learning rate ------------------------------------------------------------------------------------------------

HALF = [0.5 * (1 + math.cos(math.pi * share)) for share in (0, 1 / 4, 2 / 4, 3 / 4)]
RATES = {
    ("constant", 0): [1, 1, 1, 1],
    ("constant", 2): [0, 1 / 2, 1, 1],
    ("linear", 0): [1, 3 / 4, 2 / 4, 1 / 4],
    ("linear", 2): [0, 1 / 2, 1, 1 / 2],
    ("cosine", 0): HALF,
    ("cosine", 0.25): [0, 1, *(0.5 * (1 + math.cos(math.pi * share)) for share in (1 / 3, 2 / 3))],
}
"""(scheduler, warm-up) -> what the rate of each of 4 steps is multiplied by."""


@pytest.mark.parametrize(("scheduler", "warmup"), RATES, ids=str)
def test_the_learning_rate_goes_the_way_that_is_said(tiny_path, training_data, recipe, tmp_path, scheduler, warmup):  # noqa: F811
    way = {"scheduler": scheduler, "warmup_steps": warmup, "learning_rate": 0.004}
    _, rows, _ = run(tiny_path, training_data, changed(recipe, **way), tmp_path / "run")
    assert [row["learning_rate"] for row in rows] == pytest.approx(
        [0.004 * share for share in RATES[scheduler, warmup]], abs=1e-7
    )


def test_it_goes_on_where_a_run_goes_on_and_by_epochs(tiny_path, training_data, recipe, tmp_path):  # noqa: F811
    way = {"scheduler": "linear", "warmup_steps": 1.0, "max_steps": None, "epochs": 1.0}
    weights, rows, _ = run(tiny_path, training_data, changed(recipe, **way), tmp_path / "run")
    assert [row["learning_rate"] for row in rows] == pytest.approx([0, 1e-3, 2 / 3 * 1e-3, 1 / 3 * 1e-3], abs=1e-7), (
        "16 samples, 4 a step"
    )
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "checkpoint-4")
    again, same, _ = run(tiny_path, training_data, changed(recipe, **way), tmp_path / "run")
    assert same == rows and all(torch.equal(value, again[key]) for key, value in weights.items())


def test_supervised_runs_have_it_too(tiny_path, training_data, tmp_path):
    sets = ["model.dtype=float32", "model.device=cpu", "train.method=sft", "train.max_steps=4", "train.sft.batch=4"]
    sets += ["train.learning_rate=2e-3", "train.gradient_checkpointing=false", "train.warmup_steps=2"]
    run_sft(tiny_path, training_data, load_recipe(None, sets=sets), tmp_path / "run")
    rates = [row["learning_rate"] for row in read_log(tmp_path / "run" / "log.jsonl")]
    assert rates == pytest.approx([0, 1e-3, 2e-3, 2e-3]), "the library's constant has no warm-up"


def test_recipes_that_say_it_of_supervised_runs_mean_the_same(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text("train: {method: sft, sft: {batch: 8, scheduler: cosine, warmup_steps: 20}}")
    found = load_recipe(path).train
    assert (found.scheduler, found.warmup_steps, found.sft.batch) == ("cosine", 20, 8)
    other = load_recipe(path, sets=["train.method=grpo"]).train
    assert (other.scheduler, other.warmup_steps) == ("constant", 0), "it was never said of GRPO"
    assert load_recipe(path, sets=["train.warmup_steps=20"]).train.warmup_steps == 20
    with pytest.raises(RecipeError, match=r"train\.sft\.warmup_steps \(20\) is train\.warmup_steps now, which is 5 here"):
        load_recipe(path, sets=["train.warmup_steps=5"])
    path.write_text("train: {method: sft, sft: {scheduler: cosin}}")
    with pytest.raises(RecipeError, match=r"train\.scheduler: 'cosin' is unknown; did you mean cosine\?"):
        load_recipe(path)


# -- what can't go together -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["warmup_steps=2.5"], r"warmup_steps \(2\.5\) must be a whole number of steps, or a share of all below 1"),
        (["warmup_steps=9", "max_steps=8"], r"warmup_steps \(9\) is above train\.max_steps \(8\)"),
        (["kl=k3_corrected", "beta=0"], r"kl \(k3_corrected\) says how .* train\.beta: 0 leaves it out"),
        (["loss=cispo"], r"loss: cispo takes train\.epsilon_high \(None\) .* at least 1; set it, e\.g\. to 5"),
        (["loss=cispo", "epsilon_high=0.28"], r"loss: cispo takes train\.epsilon_high \(0\.28\)"),
        (["ratio_level=sequence", "loss=dapo"], r"ratio_level: sequence \(GSPO\) .* take train\.loss: grpo"),
        (["ratio_level=sequence", "kl=k3_corrected"], r"kl: k3_corrected needs the ratio of each token.*take train\.kl: k3"),
        (["overlong_tokens=768"], r"overlong_tokens \(768\) must be below train\.max_new_tokens \(768\).*; lower it"),
        (["correction=token"], r"correction: 'token' is unknown; did you mean token_"),
        (["correction_cap=0.5"], r"correction_cap: Input should be greater than or equal to 1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_go_together_is_refused_with_the_recipe(sets, told):
    with pytest.raises(RecipeError, match=rf"train\.{told}"):
        load_recipe(None, sets=[f"train.{one}" for one in sets])


def test_who_draws_decides_whether_there_is_a_correction():
    assert Train().corrects == "none" and Train(rollouts="vllm").corrects == "token_truncate"
    assert Train(rollouts="vllm", correction="none").corrects == "none"
    assert Train(correction="sequence_mask").corrects == "sequence_mask"


# -- lengths ----------------------------------------------------------------------------------------------------------


def test_overlong_by_hand_and_as_trl_has_it():
    assert [overlong(n, 100, 20) for n in (1, 79, 80, 81, 90, 99, 100)] == [0, 0, 0, -0.05, -0.5, -0.95, -1]
    theirs = get_soft_overlong_punishment(max_completion_len=30, soft_punish_cache=7)
    assert [overlong(n, 30, 7) for n in range(1, 31)] == theirs([[0] * n for n in range(1, 31)])


@pytest.fixture
def honest_rewards(monkeypatch):
    """Instead of `test_grpo`'s invented ones; notes each group that was scored."""
    scored: list[Any] = []
    monkeypatch.setattr(GroupRollouts, "score", lambda *given: scored.append(HONEST(*given)) or scored[-1])
    return scored


def test_length_costs_in_training_and_is_told_apart(tiny_path, training_data, recipe, tmp_path, honest_rewards):  # noqa: F811
    settings = changed(recipe, overlong_tokens=4, max_steps=2, completions_every=1)
    _, rows, _ = run(tiny_path, training_data, settings, tmp_path / "run")
    for group in honest_rewards:
        for completion, reward, penalty in zip(group.completions, group.rewards, group.penalties, strict=True):
            wanted = {7: -0.25, 8: -0.5, 9: -0.75, 10: -1.0}.get(len(completion.tokens), 0.0)
            assert penalty == reward == wanted, "nothing else was earned"
    means = [sum(r for one in some for r in one.rewards) / 16 for some in (honest_rewards[:4], honest_rewards[4:])]
    assert [row["reward/overlong"] for row in rows] == [row["reward"] for row in rows] == pytest.approx(means, abs=1e-7)
    assert -1 < means[0] < 0 and [row["reward/format"] for row in rows] == [0, 0]
    table = read_completions(tmp_path / "run").to_pylist()
    assert {(row["tokens"], row["reward"], row["overlong"]) for row in table} == {(10, -1.0, -1.0), (8, -0.5, -0.5)}


def test_length_costs_nothing_elsewhere(training_data):
    """What a probe, a selection or an evaluation reads: the row of a completion that the limit of training would cut off."""
    costs = load_recipe(None, sets=["train.overlong_tokens=700", "probe.answer_format=letter", "eval.think=false"])
    sample = next(one for one in training_data.samples if one.task == "multi_choice")
    said = [Generated(f"<answer> {'ABCDE'[sample.answer_index]} </answer>", 768, True), Generated("no", 768, False)]
    for stage in ("probe", "eval"):
        row = to_row(sample, said, grader=costs.grader(stage), video_tokens=4)
        assert row["rewards"] == [2.0, 0.0]
    assert costs.reward == Rewards()


def test_a_step_of_completions_that_were_all_cut_off_teaches_nothing(tiny_path, training_data, recipe, tmp_path):  # noqa: F811
    recipe = changed(recipe, max_new_tokens=5, min_reward_range=0.1)  # noqa: F811  (none ends as soon as that)
    weights, rows, _ = run(tiny_path, training_data, changed(recipe, mask_truncated=True, max_steps=2), tmp_path / "run")
    assert [(row["truncated_frac"], row["frac_zero_range"], row["loss"], row["grad_norm"]) for row in rows] == [
        (1, 0, 0, 0)
    ] * 2
    assert all(bool(value.isfinite().all()) for value in weights.values())


# -- the correction ---------------------------------------------------------------------------------------------------


def test_ratios_and_weights_by_hand():
    trainer = torch.tensor([[0.8, 0.5, 0.9], [0.2, 0.4, 1.0]]).log()
    sampler = torch.tensor([[0.2, 0.5, 0.3], [0.4, float("nan"), 0.1]]).log()
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    token = ratios(trainer, sampler, mask, "token_truncate")
    assert torch.allclose(token, torch.tensor([[4.0, 1.0, 3.0], [0.5, 1.0, 1.0]])), (
        "no padding, and none where it can't be told"
    )
    sequence = ratios(trainer, sampler, mask, "sequence_mask")
    assert torch.allclose(sequence, torch.tensor([[12.0], [0.5]]))
    assert torch.allclose(bounded(token, "token_truncate", 3.5), torch.tensor([[3.5, 1.0, 3.0], [0.5, 1.0, 1.0]]))
    assert torch.allclose(bounded(token, "token_mask", 3.5), torch.tensor([[0.0, 1.0, 3.0], [0.5, 1.0, 1.0]]))
    assert torch.allclose(bounded(sequence, "sequence_truncate", 2.0), torch.tensor([[2.0], [0.5]]))
    assert torch.allclose(bounded(sequence, "sequence_mask", 2.0), torch.tensor([[0.0], [0.5]]))


def test_what_is_told_of_ratios_is_of_all_tokens_and_processes():
    other = [torch.tensor([[3.0, 2.0, 1.0, 0.25, 2.5]])]  # of another process: sum, count, above, least, most
    made = Correction("token_truncate", 2.0, lambda mine: torch.cat([mine, *other]))
    zero = torch.zeros(1, 3)
    made.weigh(torch.tensor([[4.0, 1.0, 9.0]]).log(), zero, torch.tensor([[1, 1, 0]]))
    made.weigh(torch.tensor([[0.5, 7.0, 7.0]]).log(), zero, torch.tensor([[1, 0, 0]]))
    told = made.exchange()
    assert told.pop("correction/ratio_mean") == pytest.approx((4 + 1 + 0.5 + 3) / 5)
    assert told == pytest.approx({"correction/ratio_min": 0.25, "correction/ratio_max": 4, "correction/above_cap": 2 / 5})
    made.weigh(zero, zero, torch.zeros(1, 3))
    other[0] = torch.tensor([[0.0, 0.0, 0.0, math.inf, -math.inf]])
    assert made.exchange() == {}, "nothing counted"


@pytest.mark.parametrize("mode", ["token_truncate", "sequence_mask"])
def test_the_engine_draws_as_the_trainer_scores(tiny_path, training_data, recipe, tmp_path, mode):  # noqa: F811
    hot = changed(recipe, temperature=0.7, top_p=0.9)
    _, rows, _ = run(tiny_path, training_data, hot, tmp_path / "without")
    _, others, _ = run(tiny_path, training_data, changed(hot, correction=mode), tmp_path / "with")
    for row, other in zip(rows, others, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=1e-5) and row["reward"] == other["reward"]
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)
        metrics = [other[f"correction/{name}"] for name in ("ratio_mean", "ratio_min", "ratio_max", "above_cap")]
        assert metrics == pytest.approx([1, 1, 1, 0], abs=1e-4) and not any("correction/" in name for name in row)


def test_a_draw_that_is_settled_alone_brings_its_own_log_probability(tiny, noise_clip, monkeypatch):
    from trlt.engine.forest import Engine, PromptRequest, Tree
    from trlt.engine.sampling import Draw, Sampling
    from trlt.engine.shared_prefix import Group, attach, collate, forward

    attach(tiny.model)
    engine = Engine(tiny.model, tiny.processor)
    from trlt.engine import forest

    honest, turn = forest.draw, []

    def unsure(logits, uniform, sampling, banned, *bound):
        """Every draw of a batch is told to be near a boundary, and falls on its wrong side."""
        found = honest(logits, uniform, sampling, banned, *bound)
        if len(logits) == 1:
            return found
        turn.append(1)
        wrong = (found.tokens + 1) % logits.shape[-1]
        return Draw(wrong, torch.ones_like(found.unsure), logits.float().log_softmax(-1).gather(-1, wrong[:, None])[:, 0])

    monkeypatch.setattr(forest, "draw", unsure)
    clip = engine.builder.clip(noise_clip())
    [[found]] = engine.generate([Tree(clip, (PromptRequest("a", "", "what moves left", 3),))], Sampling(max_new_tokens=4))
    prompt = engine.builder.prompt("", "what moves left", clip)
    logps = forward(tiny.model, collate([Group(clip, prompt, tuple(c.tokens for c in found))])).logps
    assert turn and engine.settled
    for row, completion in zip(logps.tolist(), found, strict=True):
        assert row[1 : len(completion.tokens)] == pytest.approx(completion.logps[1:], abs=1e-4), "the first is of the prompt"
