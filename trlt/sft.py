"""The supervised baseline: the gold completion's tokens, from the same prompts, clips and samples as GRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from trlt import prompt as prompts
from trlt.answer import AnswerFormat
from trlt.arguments import fit, for_sft
from trlt.broken import Broken
from trlt.checkpoints import latest_checkpoint
from trlt.errors import DataError
from trlt.faults import fault_of
from trlt.interruption import Interruption
from trlt.leaving import Leave
from trlt.model import Loaded, save_adapter, with_adapters
from trlt.order import FilledUp
from trlt.recipe import Recipe, Sft
from trlt.sample import Sample
from trlt.sharding import join
from trlt.shared_prefix import Group, TreeBatch, attach, collate
from trlt.training import Material, Report, ResumableTrainer, Watch


class Lesson(NamedTuple):
    """One target for one sample."""

    sample: int
    think: bool
    answer_format: AnswerFormat
    filler: bool = False
    """Only makes a batch whole; nothing is learned from it."""


class Lessons(Dataset[Lesson]):
    """Every sample's targets, as the recipe asks for them; behind the last come fillers, without end.

    Raises:
        DataError: reasoning is asked for and a sample has none.
    """

    def __init__(self, samples: Sequence[Sample], settings: Sft, seed: int) -> None:
        self._lessons: list[Lesson] = []
        thinking = {"answer": (False,), "reasoning": (True,), "mixed": (False, True)}[settings.targets]
        for index, sample in enumerate(samples):
            if True in thinking and not isinstance(sample.meta.get("reasoning"), str):
                raise DataError(
                    f"sample {sample.id!r}: meta.reasoning: train.sft.targets is {settings.targets}, which needs it "
                    "as text; use targets: answer"
                )
            rng = Random(f"{seed}:{sample.id}".encode("utf-8", "surrogatepass"))
            self._lessons += [Lesson(index, think, rng.choice(settings.answer_formats)) for think in thinking]

    def __len__(self) -> int:
        return len(self._lessons)

    def __getitem__(self, index: int) -> Lesson:
        if index < len(self._lessons):
            return self._lessons[index]
        return self._lessons[index % len(self._lessons)]._replace(filler=True)


class SftTrainer(ResumableTrainer, Trainer):
    """Transformers' trainer, with the mean negative log-likelihood of an optimizer step's target tokens as its loss.

    Args:
        material: Whose clips are loaded ahead.
        batch: Lessons an optimizer step, over all processes.
        **kwargs: Passed to transformers' trainer.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, material: Material, batch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._material, self._batch = material, batch

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Transformers' order, with whole batches to its end, and the clips of coming lessons announced."""
        lessons: Any = train_dataset if train_dataset is not None else self.train_dataset
        rows, order = self._train_batch_size, super()._get_train_sampler(train_dataset)
        assert order is not None, "lessons have a length"
        whole = FilledUp(order, len(lessons), self._batch)
        return self.announcing(
            whole, lambda coming: self._material.announce([lessons[row].sample for row in coming], most=4 * rows), rows
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
    """Lessons -> a tree batch with one completion each, and the mask (B, T) of the target's tokens.

    A lesson that can't be used is listed, and another takes its place, which depends on the seed and the lesson alone.

    Args:
        material: Where clips and prompts come from.
        lessons: Those that may take a place.
        broken: Where the others are listed.
        seed: Fixes which ones.
        step: How many optimizer steps are done.
    """

    def __init__(
        self, material: Material, lessons: Lessons, broken: Broken, *, seed: int = 0, step: Callable[[], int] = lambda: 0
    ) -> None:
        self._material, self._lessons, self._broken, self._seed, self._step = material, lessons, broken, seed, step

    def __call__(self, lessons: Sequence[Lesson]) -> dict[str, Any]:
        """The batch of some lessons."""
        groups = [self._group(lesson) for lesson in lessons]
        tree = collate(groups)
        lengths = [0 if lesson.filler else len(g.completions[0]) for lesson, g in zip(lessons, groups, strict=True)]
        return {"tree": tree, "mask": torch.arange(tree.completions.shape[2]) < torch.tensor(lengths)[:, None]}

    def _group(self, wanted: Lesson) -> Group:
        material = self._material
        for lesson in self._line(wanted):
            sample, form = material.samples[lesson.sample], lesson.answer_format
            try:
                clip, prompt = material.inputs(lesson.sample, think=lesson.think, answer_format=form)
                reasoning = sample.meta.get("reasoning") if lesson.think else None
                target = prompts.render_answer(sample, think=lesson.think, answer_format=form, reasoning=reasoning)
                return Group(clip, prompt, ((*material.builder.encode(target), material.builder.end_tokens[0]),))
            except Exception as error:  # of this sample alone
                self._broken.add(sample, fault_of(error), self._step())
        raise DataError("none of the samples can be used; `video.root` may be wrong")

    def _line(self, wanted: Lesson) -> Iterator[Lesson]:
        """The lesson, and those that may take its place."""
        yield wanted
        others = list(range(len(self._lessons)))
        name = f"{self._seed}:{self._material.samples[wanted.sample].id}:{wanted.think}"
        Random(name.encode("utf-8", "surrogatepass")).shuffle(others)
        yield from (self._lessons[index] for index in others)


def train(
    loaded: Loaded,
    material: Material,
    recipe: Recipe,
    folder: Path,
    report: Report | None = None,
    interruption: Interruption | None = None,
) -> int:
    """Trains `loaded.model` in place, from the last checkpoint where there is one.

    Args:
        loaded: The model and its processor; adapters are added where it has none yet.
        material: Samples and how their clips are had.
        recipe: As resolved.
        folder: The run's folder.
        report: Gets each step's figures.
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
    checkpoints = folder / "checkpoints"
    batch = fit(settings, len(material.samples), processes)
    values = for_sft(recipe, checkpoints, processes=processes, batch=batch)
    lessons = Lessons(material.samples, settings.sft, settings.seed)
    broken = Broken(folder, len(material.samples), settings.max_broken)
    trainer = SftTrainer(
        material,
        batch.step,
        model=loaded.trained or with_adapters(loaded.model, settings.lora, settings.seed),
        args=TrainingArguments(**values),
        processing_class=loaded.processor,
        train_dataset=lessons,
        data_collator=Collator(material, lessons, broken, seed=settings.seed, step=lambda: int(trainer.state.global_step)),
        callbacks=[Watch(folder, keep=settings.keep_checkpoints, limit=settings.max_new_tokens, report=report)],
    )
    trainer.remove_callback(PrinterCallback)
    leave = Leave(interruption or Interruption())
    trainer.add_callback(leave)
    checkpoint = latest_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    leave.go()
    if settings.lora:
        save_adapter(trainer.accelerator.unwrap_model(trainer.model), loaded.path, folder / "adapter")
    return int(trainer.state.global_step)
