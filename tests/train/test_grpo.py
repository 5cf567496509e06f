from __future__ import annotations

import inspect
import json
from dataclasses import replace

import pytest
import torch
from trl import GRPOTrainer

from trlt.engine.model import load
from trlt.errors import DataError, ParityError, RecipeError
from trlt.files import read_log
from trlt.recipe import Model, Video, load_recipe
from trlt.train import grpo, grpo_run
from trlt.train.checkpoints import latest_checkpoint
from trlt.train.dynamic_sampling import PromptSlot, make_slots, resample
from trlt.train.rollouts import GroupRollouts
from trlt.train.unreadable_videos import read_broken
from trlt.video.decoder_handle import Decoder
from trlt.video.workers import ClipLoader

# The library's own advice about its next versions is none of a run's faults.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def recipe():
    return load_recipe(
        None,
        sets=[
            "model.dtype=float32",
            "model.device=cpu",
            "video.max_tokens=32",
            "train.prompts_per_step=4",
            "train.prompts_per_pass=2",
            "train.group_size=4",
            "train.max_steps=4",
            "train.max_new_tokens=10",
            "train.save_steps=2",
            "train.learning_rate=1e-3",
            "train.gradient_checkpointing=false",
        ],
    )


@pytest.fixture(autouse=True)
def invented_rewards(monkeypatch):
    """A random model earns nothing: here a completion earns by its token ids, so that there is something to learn."""
    honest = GroupRollouts.score

    def score(self, index, group, completions, grades, *step):
        rewards = tuple((sum(c.tokens) + 7 * index) % 11 / 10 for c in completions)
        return replace(honest(self, index, group, completions, grades, *step), rewards=rewards)

    monkeypatch.setattr(GroupRollouts, "score", score)


def run(tiny_path, training_data, recipe, folder, **more):
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    steps, parity = grpo_run.train(loaded, training_data, recipe, folder, **more)
    rows = [{k: v for k, v in row.items() if "time" not in k and k != "elapsed_s"} for row in read_log(folder / "log.jsonl")]
    return {k: v.clone() for k, v in loaded.model.state_dict().items()}, rows, parity


def test_the_loss_hands_on_what_the_groups_travel_under():
    source = inspect.getsource(GRPOTrainer._compute_loss)
    assert 'pixel_values=inputs.get("pixel_values")' in source, "the groups travel under this key"


def test_it_trains_and_logs(tiny_path, training_data, recipe, tmp_path):
    before = load(Model(path=str(tiny_path), dtype="float32", device="cpu")).model.state_dict()
    told = []
    after, rows, parity = run(tiny_path, training_data, recipe, tmp_path, told=lambda done, of: told.append((done, of)))
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [one for one in told if one[0] == one[1]] == [(16, 16)] * 4, "of each step: four prompts of four answers"
    assert told[0][0] < 16 and all(0 < done <= of for done, of in told), "before the step is drawn as a whole"
    assert rows[0]["kl"] == 0 and rows[-1]["kl"] > 0
    assert all(row["grad_norm"] > 0 and 0 < row["reward_range"] <= 1 for row in rows)
    assert any(not torch.equal(before[k], after[k]) for k in after if "visual" in k)
    assert any(not torch.equal(before[k], after[k]) for k in after if "language_model" in k)
    assert parity.largest < 1e-4 and parity.tokens > 20


def test_shared_prefix_and_full_sequences_learn_the_same(tiny_path, training_data, recipe, tmp_path):
    full = recipe.model_copy(update={"train": recipe.train.model_copy(update={"shared_prefix": False})})
    tree_weights, tree_rows, _ = run(tiny_path, training_data, recipe, tmp_path / "tree")
    full_weights, full_rows, _ = run(tiny_path, training_data, full, tmp_path / "full")
    for a, b in zip(tree_rows, full_rows, strict=True):
        assert a["reward"] == b["reward"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["kl"] == pytest.approx(b["kl"], abs=1e-4)
    for key, value in tree_weights.items():
        assert torch.allclose(value, full_weights[key], atol=1e-4), key


@pytest.mark.parametrize(
    ("samples", "dies_at"),
    [(99, 3), (9, 3), (13, 3), (9, 5), (5, 3)],
    ids=["within an epoch", "at an epoch's end", "before an epoch's end", "in a later epoch", "a step an epoch"],
)
def test_resumed_equals_uninterrupted(tiny_path, training_data, recipe, tmp_path, monkeypatch, samples, dies_at):
    training_data = replace(training_data, samples=training_data.samples[:samples])
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": dies_at + 1})})
    whole, rows, _ = run(tiny_path, training_data, recipe, tmp_path / "whole")
    assert [row["step"] for row in rows] == [*range(1, dies_at + 2)]
    rolled, asked = GroupRollouts.__call__, []

    def dies(self, wanted, step):
        if step == dies_at:
            raise KeyboardInterrupt
        asked.append(wanted)
        return rolled(self, wanted, step)

    monkeypatch.setattr(GroupRollouts, "__call__", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_path, training_data, recipe, tmp_path / "killed")
    assert latest_checkpoint(tmp_path / "killed" / "checkpoints").name == f"checkpoint-{dies_at - 1}"
    each = min(samples, len(training_data.samples)) // 4
    assert each >= dies_at or asked[0] != asked[each], "epochs differ in their order"
    # What a kill in the middle of saving leaves: a folder that isn't complete.
    (tmp_path / "killed" / "checkpoints" / f"checkpoint-{dies_at}").mkdir()
    monkeypatch.setattr(GroupRollouts, "__call__", rolled)
    weights, again, _ = run(tiny_path, training_data, recipe, tmp_path / "killed")
    assert again == rows
    for key, value in whole.items():
        assert torch.equal(value, weights[key]), key


def test_clips_loaded_ahead_give_the_same_run(tiny_path, training_data, recipe, tmp_path, monkeypatch):
    weights, rows, _ = run(tiny_path, training_data, recipe, tmp_path / "now")
    with ClipLoader(Video(max_tokens=32, workers=1)) as loader:
        decode, begun = Decoder.decode, []
        monkeypatch.setattr(Decoder, "decode", lambda *args: begun.append(args[1]) or decode(*args))
        again, same, _ = run(tiny_path, replace(training_data, loader=loader), recipe, tmp_path / "ahead")
    assert same == rows and all(torch.equal(weights[k], again[k]) for k in weights)
    parity = min(8, len(training_data.samples))
    assert len(begun) <= parity + 4 * 4 + 2 * 4, "each prompt's clip once a step, and what was announced beyond the last step"


def test_groups_without_spread_are_replaced_and_good_ones_kept(tiny_path, training_data, recipe, tmp_path, monkeypatch):
    dull = recipe.model_copy(update={"train": recipe.train.model_copy(update={"min_reward_range": 0.05, "max_steps": 1})})
    honest, asked = GroupRollouts.score, []

    def score(self, index, group, completions, grades, *step):
        asked.append(index)
        scored = honest(self, index, group, completions, grades, *step)
        return replace(scored, rewards=(0.5,) * 4) if len(asked) in (1, 2, 3, 5) else scored

    monkeypatch.setattr(GroupRollouts, "score", score)
    _, rows, _ = run(tiny_path, training_data, dull, tmp_path)
    assert len(asked) == len(set(asked)) == 4 + 3 + 1, "three dull ones replaced, of which one again"
    assert rows[0]["rounds"] == 3 and rows[0]["frac_zero_range"] == 0


def test_rounds_are_bounded(tiny_path, training_data, recipe, tmp_path, monkeypatch):
    dull = recipe.model_copy(update={"train": recipe.train.model_copy(update={"min_reward_range": 0.5, "max_steps": 1})})
    honest = GroupRollouts.score
    monkeypatch.setattr(GroupRollouts, "score", lambda *given: replace(honest(*given), rewards=(0.2,) * 4))
    _, rows, _ = run(tiny_path, training_data, dull, tmp_path)
    assert rows[0]["rounds"] == dull.train.max_tries and rows[0]["frac_zero_range"] == 1


def test_replacements_do_not_depend_on_how_many_processes_there_are():
    step, samples = [3, 1, 4, 15, 9, 2], 20
    lines = [list(slot.prompts) for slot in make_slots(step, range(6), samples, "0:7")]
    halves = [*make_slots(step, range(3), samples, "0:7"), *make_slots(step, range(3, 6), samples, "0:7")]
    assert [list(slot.prompts) for slot in halves] == lines
    assert [line[0] for line in lines] == step
    # 14 others: no two places want the same one of the first two that each would try.
    assert len({index for line in lines for index in line[1:3]} - set(step)) == 12
    for line in lines:
        assert sorted(line) == list(range(samples)), "everything may stand in for everything in the end"
        assert set(line[1:15]).isdisjoint(step), "but the step's own come last"
    assert lines != [list(slot.prompts) for slot in make_slots(step, range(6), samples, "0:8")]


def scored(index, rewards):
    return grpo.ScoredGroup(index, None, (), (), rewards)


def test_a_place_keeps_its_widest_spread_and_goes_on_past_broken_ones():
    spreads = {0: 0.1, 1: 0.3, 2: 0.2, 3: None, 4: None, 5: None, 6: 0.0, 7: None}
    asked = []

    def answer(indices):
        asked.append(list(indices))
        return [None if spreads[i] is None else scored(i, (0.0, spreads[i])) for i in indices]

    places = [PromptSlot(iter([0, 1, 2, 9])), PromptSlot(iter([3, 4, 5, 6])), PromptSlot(iter([7]))]
    found = resample(places, answer, min_reward_range=0.5, max_tries=3)
    assert [s.index for s in found] == [1, 6], "the third has no prompt left"
    assert asked == [[0, 3, 7], [1, 4], [2, 5], [6]]


@pytest.fixture
def damaged(training_data, clips_and_samples, tmp_path):
    """The material, with one clip broken; and the ids of its samples."""
    from trlt.video.resolve import VideoIndex

    videos = tmp_path / "videos"
    videos.mkdir()
    for path in clips_and_samples.videos.iterdir():
        (videos / path.name).write_bytes(path.read_bytes())
    broken = training_data.samples[0].video
    (videos / broken).write_bytes(b"not a video")
    ids = {sample.id for sample in training_data.samples if sample.video == broken}
    return replace(training_data, videos=VideoIndex(videos)), ids


def test_a_broken_video_is_replaced_and_listed(tiny_path, damaged, recipe, tmp_path):
    training_data, ids = damaged
    some = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 3, "max_broken": 0.5})})
    _, rows, _ = run(tiny_path, training_data, some, tmp_path / "run")
    assert len(rows) == 3
    listed = [json.loads(line) for line in (tmp_path / "run" / "broken.jsonl").read_text().splitlines()]
    assert read_broken(tmp_path / "run").keys() == {row["id"] for row in listed} <= ids and listed
    assert all("not a video" in row["error"] for row in listed)


def test_a_video_that_went_away_is_replaced_too(tiny_path, damaged, recipe, tmp_path):
    training_data, ids = damaged
    some = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 3, "max_broken": 0.5})})
    (tmp_path / "videos" / next(s.video for s in training_data.samples if s.id in ids)).unlink()
    run(tiny_path, training_data, some, tmp_path / "run")
    assert read_broken(tmp_path / "run").keys() <= ids


def test_too_many_broken_videos_end_the_run_and_are_named(tiny_path, damaged, recipe, tmp_path):
    training_data, _ = damaged
    few = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_broken": 0.0})})
    with pytest.raises(DataError, match=rf"1 of 16 .* above train.max_broken \(0\).*\n.*{training_data.samples[0].video}"):
        run(tiny_path, training_data, few, tmp_path / "run")
    assert len(read_broken(tmp_path / "run")) == 1


def test_batch_arithmetic_that_does_not_fit_is_refused(recipe, tmp_path):
    with pytest.raises(RecipeError, match="prompts_per_step: 4 can't be spread evenly over 3 processes"):
        grpo.config(recipe, tmp_path, processes=3)


@pytest.fixture
def sides(tiny_path, training_data):
    """An engine with a prompt and a function `check(clip, ...)` that compares it with a trainer; the model in float32."""
    from trlt.engine.forest import Engine
    from trlt.engine.sampling import Sampling
    from trlt.engine.shared_prefix import attach, collate
    from trlt.task.prompt import build
    from trlt.train import parity

    loaded = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    attach(loaded.model)
    engine = Engine(loaded.model, loaded.processor)
    words = build(training_data.samples[0], think=True, answer_format="letter")

    def plain(clip, prompt):
        inputs = engine.builder.clip(clip)
        return inputs, engine.builder.prompt(prompt.system, prompt.user, inputs)

    def check(*clips, make=plain, learnt=list, full=False, temperature=1.0, scored_at=None, off=0.0):
        def score(tree):
            return loaded.model(tree=tree, temperature=scored_at or temperature).logps + off

        trainer = parity.Trainer(loaded.model, lambda groups: collate(learnt(groups), full=full), score)
        named = [(f"s{slot}", clip, words) for slot, clip in enumerate(clips or [training_data.clip(0)])]
        sampling = Sampling(max_new_tokens=8, temperature=temperature)
        return parity.check(engine, loaded.processor, named, make, trainer, sampling)

    check.engine, check.words, check.plain, check.clip = engine, words, plain, training_data.clip
    return check


@pytest.mark.parametrize(
    ("what", "field", "change"),
    [
        ("frames", "pixels", lambda v: v * 1.01),
        ("positions", "seconds_per_grid", lambda v: v * 2),
    ],
)
def test_parity_names_what_differs(sides, what, field, change):
    """Training that preprocesses in another way than the library is stopped."""

    def make(clip, prompt):
        inputs = sides.engine.builder.clip(clip)
        inputs = replace(inputs, **{field: change(getattr(inputs, field))})
        return inputs, sides.engine.builder.prompt(prompt.system, prompt.user, inputs)

    with pytest.raises(ParityError, match=f"'s0': {what} .*differ between the engine and the library's forward: .* apart"):
        sides(make=make)


@pytest.mark.parametrize("what", ["frames", "positions", "tokens"])
def test_parity_names_what_differs_at_the_trainer_alone(sides, what):
    """Of the second of two samples, whose stretch stands behind the first's."""

    def changed(group):
        clip, prompt = group.clip, group.prompt
        if what == "frames":
            clip = replace(clip, pixels=clip.pixels + 0.01)
        elif what == "positions":
            prompt = replace(prompt, positions=prompt.positions + (prompt.positions > 20))
        else:
            prompt = replace(prompt, suffix=prompt.suffix.flip(0))
        return replace(group, clip=clip, prompt=prompt)

    with pytest.raises(ParityError, match=f"sample 's1': {what} .*differ between the trainer and the library's forward"):
        sides(sides.clip(0), sides.clip(1), learnt=lambda groups: [groups[0], changed(groups[1])])


@pytest.mark.parametrize("full", [False, True])
def test_parity_of_several_clips_in_one_pass(sides, noise_clip, full):
    measured = sides(noise_clip(seed=1), noise_clip(frames=40, seed=2, fps=0.05), noise_clip(side=84, seed=3), full=full)
    assert measured.samples == 3 and measured.tokens > 3 * (2 + 1 + 1) and measured.largest < 1e-4


def test_parity_notices_log_probabilities(sides):
    """The same inputs, scored in another way: here at another temperature than was sampled with."""
    with pytest.raises(ParityError, match="samples 's0': log-probabilities differ between rollout and trainer: up to"):
        sides(scored_at=2.0)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 2.0])
def test_parity_counts_alike_at_all_temperatures(sides, temperature):
    """At 0.01 logits are multiplied by 100, and so is an error in them: here one of 0.0001, at the trainer."""
    measured = sides(temperature=temperature, off=0.0001 / temperature)
    assert measured.largest == pytest.approx(0.0001, rel=0.1)
    assert measured.mean < 0.0001, "rollout and library agree"


def test_parity_holds_for_a_clip_that_is_longer_than_its_text(sides, noise_clip):
    """Counted in positions: the text behind it must stand where the library's full sequence has it."""
    clip = noise_clip(frames=40, seed=2, fps=0.05)
    prompt = sides.plain(clip, sides.words)[1]
    assert prompt.positions[0, len(prompt.prefix) - 2] > 400 > len(prompt.suffix)
    assert sides(clip).largest < 1e-4


def test_a_run_whose_last_step_is_saved_makes_no_other(tiny_path, training_data, recipe, tmp_path, monkeypatch):
    """Killed while the final model was written, in the middle of an epoch."""
    training_data = replace(training_data, samples=training_data.samples[:13])  # three steps an epoch
    whole, rows, _ = run(tiny_path, training_data, recipe, tmp_path)
    monkeypatch.setattr(GroupRollouts, "__call__", lambda *args: pytest.fail("a fifth step"))
    weights, again, _ = run(tiny_path, training_data, recipe, tmp_path)
    assert again == rows and [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(torch.equal(value, weights[key]) for key, value in whole.items())


@pytest.mark.parametrize("samples", [3, 1])
def test_an_interruption_ends_the_step_and_saves_it(tiny_path, training_data, recipe, tmp_path, monkeypatch, samples):
    import os
    import signal

    from trlt.errors import Interrupted
    from trlt.errors.interruption import Interruption

    train = recipe.train.model_copy(update={"prompts_per_step": samples, "prompts_per_pass": 1, "save_steps": 50})
    recipe, training_data = (
        recipe.model_copy(update={"train": train}),
        replace(training_data, samples=training_data.samples[:samples]),
    )
    whole, rows, _ = run(tiny_path, training_data, recipe, tmp_path / "whole")
    honest = GroupRollouts.__call__

    def interrupted(self, wanted, step):
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # as Slurm does; it changes nothing
        return honest(self, wanted, step)

    monkeypatch.setattr(GroupRollouts, "__call__", interrupted)
    (tmp_path / "run").mkdir()
    loaded = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    with Interruption() as interruption, pytest.raises(Interrupted) as caught:
        grpo_run.train(loaded, training_data, recipe, tmp_path / "run", interruption=interruption)
    assert caught.value.exit_code == 143
    assert latest_checkpoint(tmp_path / "run/checkpoints").name == "checkpoint-2"
    assert [row["step"] for row in read_log(tmp_path / "run/log.jsonl")] == [1, 2]
    assert len(list((tmp_path / "run/completions").iterdir())) == 2
    monkeypatch.setattr(GroupRollouts, "__call__", honest)
    weights, again, _ = run(tiny_path, training_data, recipe, tmp_path / "run")
    assert again == rows and all(torch.equal(value, weights[key]) for key, value in whole.items())
