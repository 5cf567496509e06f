"""Shared by GRPO and SFT: samples become model inputs, checkpoints are complete or ignored, progress is shown and logged.

Knows samples, clips and the transformers Trainer; neither rewards nor losses.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from accelerate import PartialState
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trlt.data.datasets import outside_words
from trlt.engine.inputs import ClipInputs, InputBuilder, PromptInputs
from trlt.engine.model import match, save_adapter
from trlt.engine.sharding import allow_sharding_on_cpu, by_fsdp, forget_deepspeed
from trlt.errors import ResumeError, VideoError, shown
from trlt.errors.faults import fault_of
from trlt.errors.interruption import Interruption
from trlt.errors.system import named
from trlt.files import append_jsonl
from trlt.recipe import Recipe
from trlt.task.prompt import unaskable
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample
from trlt.train.checkpoints import COMPLETE, checkpoints, latest_checkpoint, seal
from trlt.train.diagnostics import Diagnostics
from trlt.train.graceful_stop import Leave
from trlt.train.samplers import PrefetchSampler
from trlt.train.step_notes import LOG, forget_after
from trlt.video.clip import Clip
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader, ClipRequest

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainingData:
    """The samples of a run and the way from each to model inputs."""

    samples: Sequence[Sample]
    videos: VideoIndex
    loader: ClipLoader
    builder: InputBuilder
    on_event: Callable[[str], None] | None = None
    """Is told of the first gold span that lies outside its video."""
    outside: dict[str, str] = field(default_factory=dict)
    """What is said of such samples, by id: those among the samples that this process has taken so far."""

    def request(self, index: int) -> ClipRequest:
        """Which clip a sample needs.

        Raises:
            VideoError: the video isn't there, or the sample is one that no model can be asked.
        """
        sample = self.samples[index]
        if reason := unaskable(sample):
            raise VideoError(reason)
        start, end = sample.clip or (None, None)
        try:
            return ClipRequest(self.videos.find(sample.video), start, end, index)
        except Exception as error:  # of this name alone
            raise fault_of(error) from None

    def announce(self, indices: Sequence[int], most: int) -> None:
        """Begins to load the clips of samples that will be asked for, at most `most` at a time; misses are told later."""
        requests = []
        for index in indices:
            with contextlib.suppress(VideoError):
                requests.append(self.request(index))
        self.loader.announce(requests, most=most)

    def clip(self, index: int) -> Clip:
        """A sample's frames.

        Raises:
            VideoError: they are unavailable.
        """
        [found] = self.clips([index])
        if isinstance(found, VideoError):
            raise found
        return found

    def clips(self, indices: Sequence[int]) -> list[Clip | VideoError]:
        """Frames of samples, or why there are none, in order."""
        found: dict[int, Clip | VideoError] = {}
        requests = []
        for place, index in enumerate(indices):
            try:
                # By its place, not by its sample: a replacement may be the prompt of another slot.
                requests.append(replace(self.request(index), key=place))
            except VideoError as error:
                found[place] = error
        for loaded in self.loader.map(requests):
            outcome = loaded.clip or loaded.error
            assert outcome is not None
            found[loaded.request.key] = outcome
            if loaded.clip:
                self._look(self.samples[indices[loaded.request.key]], loaded.clip.duration)
        return [found[place] for place in range(len(indices))]

    def _look(self, sample: Sample, length_s: float) -> None:
        if words := outside_words(sample, length_s):
            if self.on_event and not self.outside:
                self.on_event(f"train: {shown(sample.id)}: {words}; `trlt video check` lists all such samples")
            self.outside[sample.id] = words

    def inputs(self, index: int, form: PromptForm) -> tuple[ClipInputs, PromptInputs]:
        """Model inputs of a sample's clip and prompt, as the engine makes them.

        Raises:
            VideoError: they are unavailable.
        """
        frames = self.clip(index)
        try:
            clip = self.builder.clip(frames)
            words = form.prompt(self.samples[index])
            return clip, self.builder.prompt(words.system, words.user, clip, think=words.think)
        except Exception as error:  # of this sample alone
            raise fault_of(error) from None

    def faults(self) -> dict[str, str]:
        """Why samples can't be used, by id, as far as that is known without opening a video."""
        found = {}
        for index, sample in enumerate(self.samples):
            try:
                self.request(index)
            except VideoError as error:
                found[sample.id] = str(error)
        return found


class _AllDone(Exception):
    """The checkpoint that a run goes on from is that of its last step."""


class ResumableTrainer:
    """A mix-in for transformers' Trainer: resuming really loads the weights, and goes on in the same order of samples.

    Qwen2.5-VL, for one, is saved under its published tensor names, which differ from the module's; transformers 5.23 maps them
    back in `from_pretrained`, but its trainer loads them as they are, finds none, warns, and trains on from the base.

    A sampler's generator moves on from epoch to epoch and isn't part of a checkpoint, so a run resumed in its second
    epoch would get the first one's order again. Here an epoch's order depends on the seed and the epoch alone.
    """

    def announcing(self, order: Any, announce: Callable[[Sequence[int]], None], rows: int, every: int = 1) -> PrefetchSampler:
        """The trainer's order of rows, with the clips of coming ones announced; see `PrefetchSampler`."""
        state: Any = self.accelerator  # type: ignore[attr-defined]
        process = (state.process_index, state.num_processes)
        return PrefetchSampler(order, announce, rows, every=every, process=process, reseed=self._reseed)

    def _reseed(self, order: Any) -> None:
        """Fixes the order of the epoch that begins.

        Not by `set_epoch`: behind the samplers that shard and skip batches, accelerate 1.15 doesn't hand it on.
        """
        args, state = self.args, self.state  # type: ignore[attr-defined]
        order.generator = torch.Generator()
        # At the end of an epoch, in a checkpoint too, `state.epoch` is a whole number: the one that begins.
        order.generator.manual_seed(args.seed + 1_000_003 * int(state.epoch or 0))

    def create_accelerator_and_postprocess(self) -> None:
        """With sharding on the CPU; slices aren't cut again, and DeepSpeed doesn't round gradients' sums to BF16."""
        allow_sharding_on_cpu()
        if by_fsdp():
            # Else the gradients of all weights, whole, add up in each process until a step's last pass: up to 33 GB for 7B.
            self.args.accelerator_config.gradient_accumulation_kwargs = {"sync_each_batch": True}  # type: ignore[attr-defined]
        super().create_accelerator_and_postprocess()  # type: ignore[misc]
        state: Any = self.accelerator.state  # type: ignore[attr-defined]
        if (deepspeed := getattr(state, "deepspeed_plugin", None)) is not None:
            # `setdefault`: what a configuration file of the user's says comes first. Otherwise
            # gradients of a BF16 model would be added up in BF16, over passes and processes.
            deepspeed.deepspeed_config.setdefault("data_types", {"grad_accum_dtype": "fp32"})
            deepspeed.deepspeed_config.setdefault("communication_data_type", "fp32")
        if (fsdp := getattr(state, "fsdp_plugin", None)) is not None:
            fsdp.auto_wrap_policy = None  # the model's layers came as slices, and under other names

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Transformers' optimizer, whose weights are noted."""
        optimizer = super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
        self._optimized = [list(group["params"]) for group in optimizer.param_groups]
        return optimizer

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Transformers' scheduler; it is made once the optimizer was prepared, which gets its weights back here.

        Preparing, accelerate 1.15 finds the slice of a weight by its address, and all empty slices have the same: a weight with
        fewer rows than there are processes has some.
        """
        if isinstance(self.model, FSDPModule):  # type: ignore[attr-defined]
            for group, weights in zip(self.optimizer.param_groups, self._optimized, strict=True):  # type: ignore[attr-defined]
                group["params"] = weights
        return super().create_scheduler(*args, **kwargs)  # type: ignore[misc]

    def resumed(self, step: int) -> None:
        """Called before training goes on from the checkpoint of a step."""

    def train_run(self, recipe: Recipe, base: str, folder: Path, interruption: Interruption | None) -> int:
        """Trains from the last checkpoint on, and saves adapters; gives the optimizer steps done in all.

        Raises:
            Interrupted: the run was left early.
        """
        trainer: Any = self
        trainer.remove_callback(PrinterCallback)
        leave = Leave(interruption or Interruption())
        trainer.add_callback(leave)
        checkpoint = latest_checkpoint(Path(trainer.args.output_dir))
        if checkpoint:
            self.resumed(int(checkpoint.name.rpartition("-")[2]))
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        leave.go()
        if recipe.train.lora:
            save_adapter(trainer.accelerator.unwrap_model(trainer.model), base, folder / "adapter")
        return int(trainer.state.global_step)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Transformers' training; models that are loaded after it are whole again.

        From the checkpoint of the last step, transformers 5.23 would make another one where that step ends no epoch.

        Raises:
            ResumeError: a file of the checkpoint is a pickle of more than tensors, numbers and texts, which isn't read.
        """
        try:
            return super().train(*args, **kwargs)  # type: ignore[misc]
        except _AllDone:
            return None
        except UnpicklingError as error:
            raise ResumeError(
                f"{self.args.output_dir}: the checkpoint holds a pickle that isn't trlt's and could run code, so it isn't "  # type: ignore[attr-defined]
                f"read; start anew with --fresh ({str(error).partition('. ')[0]})"
            ) from None
        finally:
            forget_deepspeed()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Transformers' checkpoint; a full disk is one, whatever the libraries say that write into it."""
        with named(Path(self.args.output_dir)):  # type: ignore[attr-defined]
            super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Weights of a checkpoint into the model, by the same way that any model is loaded."""
        target = model if model is not None else self.model  # type: ignore[attr-defined]
        # A PEFT model, or one that is sharded: the names agree there.
        if not isinstance(target, PreTrainedModel) or isinstance(target, FSDPModule):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
            return
        # Names and shapes first: `from_pretrained` draws at random what it doesn't find.
        match(target, Path(resume_from_checkpoint))
        saved = type(target).from_pretrained(
            resume_from_checkpoint, dtype=target.dtype, use_safetensors=True, trust_remote_code=False
        )
        # Strict, so that a name that doesn't match is an error, and no weight stays that of the base.
        target.load_state_dict(saved.state_dict(), strict=True)


class RunCallback(TrainerCallback):
    """Marks complete checkpoints, appends every step's metrics to `log.jsonl`, and tells a listener.

    Args:
        folder: The run's folder.
        keep: Complete checkpoints that are kept.
        limit: `train.max_new_tokens`.
        report: Gets each step's metrics, for a progress view; what `Diagnostics` finds stands under `findings`.
    """

    def __init__(self, folder: Path, *, keep: int, limit: int, report: Report | None = None) -> None:
        self._folder, self._log = folder, folder / LOG
        self._keep = keep
        self._health = Diagnostics(limit)
        self._report = report
        self._began = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Cuts off what a killed run had noted after its last checkpoint, and removes half a checkpoint."""
        if state.is_world_process_zero:
            # A kill in the middle does no harm: each file is replaced or removed in one step, and the next start cuts again.
            for row in forget_after(self._folder, state.global_step):
                self._health.see(row["step"], row)
            # The run writes a checkpoint of that name again, and files
            # that were left in it would be sealed with the new ones.
            for path in Path(str(args.output_dir)).glob("checkpoint-*"):
                if not (path / COMPLETE).is_file():
                    shutil.rmtree(path)
        PartialState().wait_for_everyone()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ends a training that has nothing left to do: its weights are loaded, and nothing was drawn yet."""
        if state.global_step >= state.max_steps:
            raise _AllDone

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Once all processes have written their files, the checkpoint counts, and older ones may go."""
        # The checkpoint holds files of all processes: none may still be written to when checksums are taken.
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir))
            # Before older ones go: a kill in between leaves one checkpoint too many, and never none.
            seal(folder / f"checkpoint-{state.global_step}")
            for old in checkpoints(folder)[: -self._keep]:
                # Unmarked first: half a checkpoint must not count as one.
                (old / COMPLETE).unlink()
                shutil.rmtree(old)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One line a step."""
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        # JSON has no NaN and no infinity.
        metrics = {k: round(v, 8) for k, v in logs.items() if isinstance(v, (int, float)) and math.isfinite(v)}
        elapsed = round(time.monotonic() - self._began, 2)
        row: dict[str, Any] = {"step": state.global_step, "of": state.max_steps, "elapsed_s": elapsed}
        row |= metrics
        if findings := self._health.see(state.global_step, metrics):
            row["findings"] = [finding.text for finding in findings]
        append_jsonl(self._log, row)
        if self._report:
            self._report(row)
