"""The supervised baseline: the gold completion's tokens, from the same prompts, clips and samples as GRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from trlt.engine.model import LoadedModel, with_adapters
from trlt.engine.sharding import join
from trlt.engine.shared_prefix import Group, TreeBatch, attach, collate
from trlt.errors import DataError
from trlt.errors.faults import fault_of
from trlt.errors.interruption import Interruption
from trlt.recipe import Recipe, Sft
from trlt.task.answer import AnswerFormat
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample
from trlt.train.arguments import fit, for_sft
from trlt.train.samplers import PaddedSampler
from trlt.train.trainer import Report, ResumableTrainer, RunCallback, TrainingData
from trlt.train.unreadable_videos import BrokenSamples


class SftExample(NamedTuple):
    """One target for one sample."""

    sample: int
    think: bool
    answer_format: AnswerFormat
    filler: bool = False
    """Only fills a batch; nothing is learned from it."""


class SftDataset(Dataset[SftExample]):
    """Every sample's targets, as the recipe asks for them; the last is followed by endless fillers.

    Raises:
        DataError: reasoning is asked for and a sample has none.
    """

    def __init__(self, samples: Sequence[Sample], settings: Sft, seed: int) -> None:
        self._examples: list[SftExample] = []
        thinking = {"answer": (False,), "reasoning": (True,), "mixed": (False, True)}[settings.targets]
        for index, sample in enumerate(samples):
            if True in thinking and not isinstance(sample.meta.get("reasoning"), str):
                raise DataError(
                    f"sample {sample.id!r}: meta.reasoning: train.sft.targets is {settings.targets}, which needs it "
                    "as text; use targets: answer"
                )
            rng = Random(f"{seed}:{sample.id}".encode("utf-8", "surrogatepass"))
            self._examples += [SftExample(index, think, rng.choice(settings.answer_formats)) for think in thinking]

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> SftExample:
        if index < len(self._examples):
            return self._examples[index]
        return self._examples[index % len(self._examples)]._replace(filler=True)


class SftTrainer(ResumableTrainer, Trainer):
    """Transformers' trainer, with the mean negative log-likelihood of an optimizer step's target tokens as its loss.

    Args:
        training_data: Whose clips are loaded ahead.
        batch: Examples per optimizer step, over all processes.
        **kwargs: Passed to transformers' trainer.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, training_data: TrainingData, batch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._training_data, self._batch = training_data, batch

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Transformers' order, with whole batches to its end, and the clips of coming examples announced."""
        examples: Any = train_dataset if train_dataset is not None else self.train_dataset
        rows, order = self._train_batch_size, super()._get_train_sampler(train_dataset)
        assert order is not None, "examples have a length"
        whole = PaddedSampler(order, len(examples), self._batch)
        return self.announcing(
            whole, lambda coming: self._training_data.announce([examples[row].sample for row in coming], most=4 * rows), rows
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """An optimizer step's batches, and how many target tokens they have over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        tokens = torch.tensor(sum(int(batch["mask"].sum()) for batch in batches), device=device)
        return batches, self.accelerator.gather(tokens).sum()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-log p(target token), summed, over the step's tokens; the end mark is a target too."""
        tree: TreeBatch = inputs["tree"].to(self.args.device)
        mask: Tensor = inputs["mask"].to(self.args.device)
        # Gradients are averaged over the processes, and the logged loss is.
        loss = -(model(tree=tree).logps * mask).sum() * self.accelerator.num_processes / num_items_in_batch
        return (loss, None) if return_outputs else loss


class Collator:
    """Examples -> a tree batch with one completion each, and the mask (B, T) of the target's tokens.

    An example that can't be used is listed, and another takes its place, which depends on the seed and the example alone.

    Args:
        training_data: Where clips and prompts come from.
        examples: Those that may take a place.
        broken: Where the others are listed.
        form: How samples are asked, but for what each example says itself.
        seed: Fixes which ones.
        step: How many optimizer steps are done.
    """

    def __init__(
        self,
        training_data: TrainingData,
        examples: SftDataset,
        broken: BrokenSamples,
        form: PromptForm,
        *,
        seed: int = 0,
        step: Callable[[], int] = lambda: 0,
    ) -> None:
        self._training_data, self._examples, self._broken, self._form = training_data, examples, broken, form
        self._seed, self._step = seed, step

    def __call__(self, examples: Sequence[SftExample]) -> dict[str, Any]:
        """The batch of some examples."""
        groups = [self._group(example) for example in examples]
        tree = collate(groups)
        lengths = [0 if example.filler else len(g.completions[0]) for example, g in zip(examples, groups, strict=True)]
        return {"tree": tree, "mask": torch.arange(tree.completions.shape[2]) < torch.tensor(lengths)[:, None]}

    def _group(self, wanted: SftExample) -> Group:
        training_data = self._training_data
        for example in self._line(wanted):
            sample = training_data.samples[example.sample]
            form = replace(self._form, think=example.think, answer_format=example.answer_format)
            try:
                clip, prompt = training_data.inputs(example.sample, form)
                reasoning = sample.meta.get("reasoning") if example.think else None
                target = form.target(sample, reasoning)
                tokens = training_data.builder.encode(target, prompt.opening)
                return Group(clip, prompt, ((*tokens, training_data.builder.end_tokens[0]),))
            except Exception as error:  # of this sample alone
                self._broken.add(sample, fault_of(error), self._step())
        raise DataError("none of the samples can be used; `video.root` may be wrong")

    def _line(self, wanted: SftExample) -> Iterator[SftExample]:
        """The example, and those that may take its place."""
        yield wanted
        others = list(range(len(self._examples)))
        name = f"{self._seed}:{self._training_data.samples[wanted.sample].id}:{wanted.think}"
        Random(name.encode("utf-8", "surrogatepass")).shuffle(others)
        yield from (self._examples[index] for index in others)


def train(
    loaded: LoadedModel,
    training_data: TrainingData,
    recipe: Recipe,
    folder: Path,
    report: Report | None = None,
    interruption: Interruption | None = None,
) -> int:
    """Trains `loaded.model` in place, from the last checkpoint where there is one.

    Args:
        loaded: The model and its processor; adapters are added where it has none yet.
        training_data: Samples, and access to their clips.
        recipe: As resolved.
        folder: The run's folder.
        report: Gets each step's metrics.
        interruption: After which the step in progress is saved, and the run left.

    Returns:
        Optimizer steps done in all.

    Raises:
        DataError: batch arithmetic that doesn't fit, or videos that can't be read.
        Interrupted: the run was left early.
    """
    settings = recipe.train
    processes = join(recipe.model.device)
    attach(loaded.model)
    if settings.tower_is_frozen:
        loaded.model.model.visual.requires_grad_(False)
    batch = fit(settings, len(training_data.samples), processes)
    values = for_sft(recipe, folder / "checkpoints", processes=processes, batch=batch)
    examples = SftDataset(training_data.samples, settings.sft, settings.seed)
    broken = BrokenSamples(folder, len(training_data.samples), settings.max_broken)
    trainer = SftTrainer(
        training_data,
        batch.step,
        model=loaded.trained or with_adapters(loaded.model, settings.lora, settings.seed),
        args=TrainingArguments(**values),
        processing_class=loaded.processor,
        train_dataset=examples,
        data_collator=Collator(
            training_data,
            examples,
            broken,
            recipe.form("train"),
            seed=settings.seed,
            step=lambda: int(trainer.state.global_step),
        ),
        callbacks=[RunCallback(folder, keep=settings.keep_checkpoints, limit=settings.max_new_tokens, report=report)],
    )
    return trainer.train_run(recipe, loaded.path, folder, interruption)
