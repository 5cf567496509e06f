"""Our side of `bench.peers`, a process of its own: GRPO steps of the product's trainer on real files, two epochs.

The frame store is empty at first: the first epoch decodes (cold), the second reads what is stored (warm).

    python -m bench.our_steps SETTINGS_JSON

Prints one line of JSON. `bench.peer_counts` and `bench.decodes` count; BENCH_PASSES and BENCH_DECODES name their files.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench import common  # isort: skip  (first: it quietens the libraries)

import torch
from transformers import PrinterCallback, TrainerCallback

from bench.decodes import DECODER
from bench.peer_sides import PARTS, Settings
from trlt.commands._setup import limit_threads
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load
from trlt.engine.shared_prefix import attach
from trlt.recipe import Recipe, load_recipe
from trlt.task.sample import read_samples
from trlt.train import grpo
from trlt.train.trainer import TrainingData
from trlt.video.resolve import VideoIndex
from trlt.video.workers import ClipLoader


class Clock(TrainerCallback):
    """When training began and each step ended, by `time.monotonic`."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        self.marks.append(time.monotonic())

    def on_step_end(self, args: Any, state: Any, control: Any, **unused: Any) -> None:
        self.marks.append(time.monotonic())


def make_recipe(settings: Settings) -> Recipe:
    """The product's defaults, but for what both sides are given."""
    values: dict[str, object] = {
        "model.path": settings.model,
        "model.dtype": "float32",
        "model.device": "cpu",
        "video.max_tokens": settings.tokens,
        "video.store": f"{settings.folder}/store",
        "video.workers": settings.workers,
        "train.prompts_per_step": 1,
        "train.group_size": settings.group,
        "train.max_new_tokens": settings.length,
        "train.max_steps": 2 * settings.clips,
        "train.learning_rate": 1e-5,
        "train.beta": 0.0,
        "train.gradient_checkpointing": "false",
        "train.freeze_vision": "true",
        "train.seed": settings.seed,
    }
    if settings.features:
        values["train.features"] = f"{settings.folder}/features"
    return load_recipe(None, sets=[f"{key}={value}" for key, value in values.items()])


def run(settings: Settings) -> dict[str, Any]:
    """Trains two epochs as `trlt train` does; no completion ends early."""
    recipe, folder, clock = make_recipe(settings), Path(settings.folder), Clock()
    loaded = load(recipe.model)
    limit_threads(loaded.model)
    attach(loaded.model)
    loaded.model.model.visual.requires_grad_(False)
    arguments = grpo.config(recipe, folder, processes=1)
    arguments.save_strategy = "no"
    with ClipLoader(recipe.video, decoder=DECODER) as loader:
        builder = InputBuilder(loaded.model, loaded.processor)
        training_data = TrainingData(read_samples(Path(settings.samples)), VideoIndex(settings.videos), loader, builder)
        trainer = grpo.VideoGRPOTrainer(loaded, training_data, recipe, folder, arguments, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.group_rollouts.engine.banned[builder.end_tokens] = True
        trainer.train()
        _, prompt = training_data.inputs(0, recipe.form("train"))
    logged = [row for row in trainer.state.log_history if "length" in row]
    assert {row["length"] for row in logged} == {settings.length}, "completions of unequal length"
    return {
        "marks": clock.marks,
        "parts": {part: [row[f"time/{part}_s"] for row in logged] for part in PARTS},
        "video_tokens": int(logged[0]["video_tokens"]),
        "prompt_tokens": len(prompt.prefix) + len(prompt.suffix),
        "parameters": common.parameters(loaded.model),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    torch.set_num_threads(settings.threads)
    print(json.dumps(run(settings)))


if __name__ == "__main__":
    main()
