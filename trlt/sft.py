"""The supervised baseline: the gold completion's tokens, from the same prompts, clips and samples as GRPO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from trlt import prompt as prompts
from trlt.answer import AnswerFormat
from trlt.errors import DataError
from trlt.model import Loaded
from trlt.recipe import Recipe, Sft
from trlt.sample import Sample
from trlt.shared_prefix import Group, TreeBatch, attach, collate
from trlt.training import Material, Report, ResumableTrainer, Watch, arguments, latest_checkpoint


class Lesson(NamedTuple):
    """One target for one sample."""

    sample: int
    think: bool
    answer_format: AnswerFormat


class Lessons(Dataset[Lesson]):
    """Every sample's targets, as the recipe asks for them.

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
            rng = Random(f"{seed}:{sample.id}")
            self._lessons += [Lesson(index, think, rng.choice(settings.answer_formats)) for think in thinking]

    def __len__(self) -> int:
        return len(self._lessons)

    def __getitem__(self, index: int) -> Lesson:
        return self._lessons[index]


class SftTrainer(ResumableTrainer, Trainer):
    """Transformers' trainer, with the mean negative log-likelihood of the target's tokens as its loss.

    Args:
        material: Whose clips are loaded ahead.
        **kwargs: Passed to transformers' trainer.
    """

    def __init__(self, material: Material, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._material = material

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Transformers' order, with the clips of coming lessons announced."""
        lessons: Any = train_dataset if train_dataset is not None else self.train_dataset
        rows, order = self._train_batch_size, super()._get_train_sampler(train_dataset)
        return order and self._announcing(
            order, lambda coming: self._material.announce([lessons[row].sample for row in coming], most=4 * rows), rows
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-mean log p(target token); the end mark is a target too."""
        tree: TreeBatch = inputs["tree"].to(self.args.device)
        mask: Tensor = inputs["mask"].to(self.args.device)
        loss = -(model(tree=tree).logps * mask).sum() / mask.sum()
        return (loss, None) if return_outputs else loss


def collator(material: Material) -> Any:
    """Lessons -> a tree batch with one completion each, and the mask (B, T) of the target's tokens."""
    end = material.builder.end_tokens[0]

    def collect(lessons: Sequence[Lesson]) -> dict[str, Any]:
        groups = []
        for lesson in lessons:
            sample, form = material.samples[lesson.sample], lesson.answer_format
            clip, prompt = material.inputs(lesson.sample, think=lesson.think, answer_format=form)
            reasoning = sample.meta.get("reasoning") if lesson.think else None
            target = prompts.render_answer(sample, think=lesson.think, answer_format=form, reasoning=reasoning)
            groups.append(Group(clip, prompt, ((*material.builder.encode(target), end),)))
        tree = collate(groups)
        lengths = torch.tensor([len(g.completions[0]) for g in groups])
        return {"tree": tree, "mask": torch.arange(tree.completions.shape[2]) < lengths[:, None]}

    return collect


def train(loaded: Loaded, material: Material, recipe: Recipe, folder: Path, report: Report | None = None) -> int:
    """Trains `loaded.model` in place, from the last checkpoint where there is one.

    Returns:
        Optimizer steps done in all.
    """
    settings = recipe.train
    attach(loaded.model)
    if settings.freeze_vision:
        loaded.model.model.visual.requires_grad_(False)
    checkpoints = folder / "checkpoints"
    each = PartialState().num_processes * min(settings.sft.batch, settings.prompts_per_pass)
    if settings.sft.batch % each:
        raise DataError(
            f"train.sft.batch ({settings.sft.batch}) must be a multiple of train.prompts_per_pass x processes ({each} in all)"
        )
    values = arguments(
        recipe,
        checkpoints,
        rows=each // PartialState().num_processes,
        accumulate=settings.sft.batch // each,
        total_steps=settings.max_steps,
    )
    values |= {"lr_scheduler_type": settings.sft.scheduler, "warmup_steps": settings.sft.warmup_steps}
    trainer = SftTrainer(
        material,
        model=loaded.model,
        args=TrainingArguments(**values),
        processing_class=loaded.processor,
        train_dataset=Lessons(material.samples, settings.sft, settings.seed),
        data_collator=collator(material),
        callbacks=[Watch(folder, report)],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = latest_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return int(trainer.state.global_step)
