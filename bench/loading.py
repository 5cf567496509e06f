"""Memory of the machine that each of several training processes takes until it trains, and while it does.

    python -m bench.loading --strategy fsdp2

Processes train one step of GRPO with `trlt train`'s own command, on a random Qwen2.5-VL with a large vocabulary, saved in BF16
as published ones are. Told is each process's high-water mark (VmHWM of Linux) once policy and reference model are loaded, once
rollouts and trainer have been compared (for which the policy is whole in each process), and after the step; without what the
libraries take by themselves. Weights stay on the CPU here, so they count as well.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import common  # noqa: F401  (quiet libraries)

RECIPE = """
model: {{path: {model}, dtype: {dtype}, device: cpu}}
video: {{root: {root}/videos, max_tokens: 32, max_frames: 4, workers: 0}}
train:
  data: {root}/samples.jsonl
  prompts_per_step: {prompts}
  group_size: 2
  think: false
  max_new_tokens: 4
  max_steps: 1
  beta: {beta}
  launch: {{processes: {processes}, strategy: {strategy}}}
"""


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--strategy", default="fsdp2", choices=["fsdp2", "ddp", "zero2", "zero3"])
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    made.add_argument("--vocabulary", type=int, default=152_064)
    made.add_argument("--hidden", type=int, default=1024)
    made.add_argument("--layers", type=int, default=2)
    made.add_argument("--passes", type=int, default=1, help="forward and backward passes of a process in the step")
    made.add_argument(
        "--save-checkpoint", dest="save", action="store_true", help="write a checkpoint, which the first process puts together"
    )
    made.add_argument("--tied", action="store_true", help="the head is the embedding, as that of the 3B")
    made.add_argument("--beta", type=float, default=0.01, help="0 leaves the reference model out")
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    return made.parse_args()


def write(args: argparse.Namespace, folder: Path) -> int:
    """A model and its samples; gives its parameters."""
    import torch

    from trlt.lab.miniature import tiny, warmup

    words = warmup.write(folder, 8, seed=1)
    from trlt.task.sample import read_samples

    model, processor = tiny.build(tiny.corpus(read_samples(words.samples)), hidden=args.hidden, layers=args.layers)
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = args.tied
    if not args.tied:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.resize_token_embeddings(args.vocabulary, mean_resizing=False)
    model.to(torch.bfloat16).save_pretrained(folder / "model", max_shard_size="250MB")
    processor.save_pretrained(folder / "model")
    return sum(weight.numel() for weight in model.parameters())


def high_water() -> int:
    """Bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def child(recipe: str, folder: str, save: bool) -> None:
    """One process: `trlt train`, with its high-water mark written down on the way."""
    from trlt.cli import app
    from trlt.train import grpo_run
    from trlt.train.grpo import VideoGRPOTrainer
    from trlt.train.trainer import ResumableTrainer

    marks = {"libraries": high_water()}
    make, check, train = VideoGRPOTrainer.__init__, grpo_run.check, ResumableTrainer.train

    def made(*args: Any, **kwargs: Any) -> None:
        make(*args, **kwargs)
        marks["loaded"] = high_water()

    def compared(*args: Any) -> Any:
        found = check(*args)
        marks["compared"] = high_water()
        return found

    def trained(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.args.save_strategy = "steps" if save else "no"
        found = train(self, *args, **kwargs)
        marks["step"] = high_water()
        Path(folder, f"marks-{os.environ['RANK']}.json").write_text(json.dumps(marks))
        return found

    VideoGRPOTrainer.__init__ = made  # type: ignore[method-assign]
    grpo_run.check = compared
    ResumableTrainer.train = trained  # type: ignore[method-assign]
    app(["train", recipe, "--out", f"{folder}/run"], standalone_mode=False)


def main() -> None:
    args = options()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        parameters = write(args, folder)
        recipe = folder / "recipe.yaml"
        values = {"model": folder / "model", "root": folder, "prompts": args.passes * args.processes, **vars(args)}
        recipe.write_text(RECIPE.format(**values), encoding="utf-8")
        from trlt.commands.launch.train_processes import launch_together

        command = [sys.executable, "-c", f"from bench.loading import child; child({str(recipe)!r}, {made!r}, {args.save})"]
        launch_together(command, args.processes, args.strategy)
        marks = [json.loads((folder / f"marks-{rank}.json").read_text()) for rank in range(args.processes)]
    base = marks[0]["libraries"]
    metrics: dict[str, Any] = {"parameters": parameters, "libraries_mb": round(base / 1e6)}
    for name in ("loaded", "compared", "step"):
        metrics[f"{name}_mb"] = [round((mark[name] - base) / 1e6) for mark in marks]
        metrics[f"{name}_bytes_a_weight"] = [round((mark[name] - base) / parameters, 2) for mark in marks]
    print(f"{parameters / 1e6:.0f}M weights, {args.strategy}, {args.processes} processes; libraries {base / 1e6:.0f} MB")
    for name in ("loaded", "compared", "step"):
        print(f"{name}: {metrics[f'{name}_mb']} MB, {metrics[f'{name}_bytes_a_weight']} bytes a weight")
    if args.json:
        print(json.dumps({**metrics, "settings": {name: value for name, value in vars(args).items() if name != "json"}}))


if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    main()
