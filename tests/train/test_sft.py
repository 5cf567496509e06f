from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load
from trlt.errors import DataError, VideoError
from trlt.files import read_log
from trlt.lab.miniature.tiny import CHAT_TEMPLATE
from trlt.recipe import Model, Recipe, Sft, load_recipe
from trlt.task.answer import parse
from trlt.task.prompt_form import PromptForm
from trlt.train import sft
from trlt.train.checkpoints import latest_checkpoint
from trlt.train.trainer import TrainingData
from trlt.train.unreadable_videos import BrokenSamples, read_broken

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
FORM = Recipe().form("train")


def test_examples_are_each_sample_in_the_forms_asked_for(training_data):
    samples = training_data.samples
    assert len(sft.SftDataset(samples, Sft(), 0)) == len(samples)
    mixed = sft.SftDataset(samples, Sft(targets="mixed", answer_formats=("letter", "open")), 0)
    examples = [mixed[i] for i in range(len(mixed))]
    assert len(examples) == 2 * len(samples) and {example.think for example in examples} == {True, False}
    assert {example.answer_format for example in examples} == {"letter", "open"}


def test_reasoning_that_is_missing_is_named(training_data):
    bare = [replace(training_data.samples[0], meta={})]
    with pytest.raises(DataError, match=r"meta.reasoning.*targets: answer"):
        sft.SftDataset(bare, Sft(targets="reasoning"), 0)


def test_a_target_is_the_gold_completion_and_ends(training_data, tmp_path):
    examples = [sft.SftExample(i, think, "letter") for i in range(6) for think in (False, True)]
    every = sft.SftDataset(training_data.samples, Sft(), 0)
    batch = sft.Collator(training_data, every, BrokenSamples(tmp_path, len(every), 0.1), FORM)(examples)
    for row, example in enumerate(examples):
        sample = training_data.samples[example.sample]
        tokens = batch["tree"].completions[row, 0][batch["mask"][row]].tolist()
        assert tokens[-1] == training_data.builder.end_tokens[0]
        answer = parse(
            training_data.builder.decode(tokens[:-1]),
            task=sample.task,
            think=example.think,
            options=sample.options,
            answer_format="letter",
        )
        assert answer.well_formed and answer.option == sample.answer_index
        assert (answer.reasoning == sample.meta["reasoning"].strip()) if example.think else answer.reasoning is None


def test_a_target_has_the_layout_that_its_prompt_shows(training_data, tmp_path):
    tags = "[WHY]{reasoning}[/WHY] [TIME]{span}[/TIME] [SAY]{answer}[/SAY]"
    form = load_recipe(None, sets=[f"prompt.format='{tags}'", "prompt.template='{{ question }} Say {{ format }}'"]).form(
        "train"
    )
    examples = [sft.SftExample(i, think, "letter") for i in range(6) for think in (False, True)]
    every = sft.SftDataset(training_data.samples, Sft(), 0)
    batch = sft.Collator(training_data, every, BrokenSamples(tmp_path, len(every), 0), form)(examples)
    seen = set()
    for row, example in enumerate(examples):
        sample = training_data.samples[example.sample]
        tokens = batch["tree"].completions[row, 0][batch["mask"][row]].tolist()
        said, asked = training_data.builder.decode(tokens[:-1]), replace(form, think=example.think)
        answer = asked.read(sample, said)
        assert answer.well_formed and answer.option == sample.answer_index and (answer.reasoning is not None) is example.think
        assert said.startswith("[WHY]" if example.think else "[TIME]" if sample.task != "multi_choice" else "[SAY]")
        shown = training_data.builder.decode(training_data.inputs(example.sample, asked)[1].suffix.tolist())
        assert f"{sample.question} Say [" in shown and "[WHY]" * example.think in shown
        seen.add(sample.task)
    assert len(seen) == 3


@pytest.fixture
def recipe():
    sets = ["model.dtype=float32", "model.device=cpu", "train.method=sft", "train.max_steps=4", "train.save_steps=2"]
    sets += ["train.prompts_per_pass=2", "train.sft.batch=4", "train.learning_rate=3e-3", "train.gradient_checkpointing=false"]
    return load_recipe(None, sets=sets)


def run(tiny_path, training_data, recipe, folder):
    folder.mkdir(exist_ok=True)
    loaded = load(Model(path=str(tiny_path), dtype="float32", device="cpu"))
    sft.train(loaded, training_data, recipe, folder)
    rows = [(row["step"], row["loss"]) for row in read_log(folder / "log.jsonl")]
    return {k: v.clone() for k, v in loaded.model.state_dict().items()}, rows


@pytest.mark.parametrize(
    ("samples", "dies_at"),
    [(99, 3), (8, 3), (12, 5), (6, 5)],
    ids=["within an epoch", "at an epoch's end", "in a later epoch", "epochs that end in half a batch"],
)
def test_resumed_equals_uninterrupted(tiny_path, training_data, recipe, tmp_path, monkeypatch, samples, dies_at):
    training_data = replace(training_data, samples=training_data.samples[:samples])
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": dies_at + 1})})
    whole, rows = run(tiny_path, training_data, recipe, tmp_path / "whole")
    assert [step for step, _ in rows] == [*range(1, dies_at + 2)] and rows[-1][1] < rows[0][1]
    honest = sft.SftTrainer.compute_loss

    def dies(self, *args, **kwargs):
        if self.state.global_step == dies_at:
            raise KeyboardInterrupt
        return honest(self, *args, **kwargs)

    monkeypatch.setattr(sft.SftTrainer, "compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_path, training_data, recipe, tmp_path / "killed")
    with (tmp_path / "killed" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": dies_at, "loss": 0})[:-4])
    assert latest_checkpoint(tmp_path / "killed" / "checkpoints").name == f"checkpoint-{dies_at - 1}"
    monkeypatch.setattr(sft.SftTrainer, "compute_loss", honest)
    weights, again = run(tiny_path, training_data, recipe, tmp_path / "killed")
    assert again == rows
    assert all(torch.equal(value, weights[key]) for key, value in whole.items())


def test_broken_videos_are_replaced_and_listed(tiny_path, training_data, recipe, tmp_path, monkeypatch):
    honest, torn = TrainingData.clip, training_data.samples[0].video
    seen = []

    def clip(self, index):
        seen.append(index)
        if self.samples[index].video == torn:
            raise VideoError(f"{torn}: torn")
        return honest(self, index)

    monkeypatch.setattr(TrainingData, "clip", clip)
    some = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_broken": 0.5})})
    _, rows = run(tiny_path, training_data, some, tmp_path / "run")
    ids = {sample.id for sample in training_data.samples if sample.video == torn}
    read = [index for index in seen if training_data.samples[index].id not in ids]
    assert len(rows) == 4 and len(read) == 16 and len(set(read)) == 16 - len(ids), "an epoch of 16 examples all the same"
    assert read_broken(tmp_path / "run") == {id: f"{torn}: torn" for id in ids}
    few = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_broken": 0.0})})
    with pytest.raises(DataError, match=r"max_broken \(0\)"):
        run(tiny_path, training_data, few, tmp_path / "other")


def test_what_fills_up_a_batch_teaches_nothing(training_data, tmp_path):
    examples = sft.SftDataset(training_data.samples[:3], Sft(), 0)
    batch = sft.Collator(training_data, examples, BrokenSamples(tmp_path, 3, 0.1), FORM)([examples[2], examples[3]])
    assert examples[3] == examples[0]._replace(filler=True)
    assert batch["mask"][0].any() and not batch["mask"][1].any()


def test_the_loss_does_not_depend_on_how_a_batch_is_cut(tiny_path, training_data, recipe, tmp_path):
    """The mean is over the step's tokens, not over the means of its passes."""
    mixed = recipe.train.model_copy(update={"sft": recipe.train.sft.model_copy(update={"targets": "mixed"})})
    losses = []
    for passes in (1, 4):
        cut = recipe.model_copy(update={"train": mixed.model_copy(update={"prompts_per_pass": passes, "max_steps": 3})})
        _, rows = run(tiny_path, training_data, cut, tmp_path / str(passes))
        losses.append([loss for _, loss in rows])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


ASSISTANT = "assistant\n' }}"
BEGINS = {
    "always": (ASSISTANT.replace("\n'", "\n<think>\n'"), "reasoning"),
    "by a switch": (ASSISTANT + "{{- '<think>\n' if enable_thinking else '<think>\n\n</think>\n\n' }}", "mixed"),
}


@pytest.mark.parametrize("name", BEGINS)
def test_a_target_goes_on_from_what_the_template_has_begun(training_data, tiny, tmp_path, name):
    """`<think>` is the prompt's, so it isn't learned a second time; what is read is the gold completion all the same."""
    begins, targets = BEGINS[name]
    tiny.processor.chat_template = CHAT_TEMPLATE.replace(ASSISTANT, begins)
    training_data = replace(training_data, builder=InputBuilder(tiny.model, tiny.processor))
    every = sft.SftDataset(training_data.samples, Sft(targets=targets), 0)
    examples = [every[index] for index in range(6)]
    assert {example.think for example in examples} == ({True} if targets == "reasoning" else {True, False})
    batch = sft.Collator(training_data, every, BrokenSamples(tmp_path, len(every), 0), FORM)(examples)
    builder = training_data.builder
    for row, example in enumerate(examples):
        sample, think = training_data.samples[example.sample], example.think
        tokens = batch["tree"].completions[row, 0][batch["mask"][row]].tolist()
        said = builder.decode(tokens[:-1])
        assert said.startswith(sample.meta["reasoning"].strip() + " </think> <" if think else ("<answer>", "<observe>"))
        assert tokens[-1] == builder.end_tokens[0]
        prompt = training_data.inputs(example.sample, PromptForm(think, "letter"))[1]
        assert builder.decode(prompt.suffix.tolist()).endswith("<think>\n" if think else "</think>\n\n")
        after = [*prompt.suffix.tolist(), *tokens[:-1]]
        assert after == builder.encode(builder.decode(after)), "as the whole text is cut into tokens"
        whole = "<think>\n" * think + said
        answer = parse(whole, task=sample.task, think=think, options=sample.options, answer_format="letter")
        assert answer.well_formed and answer.option == sample.answer_index
