"""What the benchmarks share: a random model, a clip of noise, questions, and metrics of repeated timings."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from trlt.video.geometry import Geometry

if TYPE_CHECKING:
    from trlt.engine.families import Family
    from trlt.engine.inputs import InputBuilder
    from trlt.video.clip import Clip

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The libraries' advice on their coming versions would hide the metrics.
warnings.simplefilter("ignore")

CORPUS = (
    "You answer questions about a video.",
    "Question: what moves left\nA. the red circle\nB. the blue square",
    "Event: a green triangle is shown\nGive the event's start and end in seconds with one decimal",
    "<think> red circle 1.0 to 3.5 moves left . </think> <observe> 12.0 to 20.5 </observe> <answer> B </answer>",
)
SYSTEM = "You answer questions about a video."


def parser(description: str) -> argparse.ArgumentParser:
    """Options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--tokens", type=int, default=2048, help="video tokens of the clip")
    made.add_argument("--text", type=int, default=100, help="text tokens of the prompt, about")
    made.add_argument("--hidden", type=int, default=256, help="width of the language model, a multiple of 64")
    made.add_argument("--layers", type=int, default=6, help="depth of the language model")
    made.add_argument("--device", default="cpu", help="cpu (float32) or cuda (bfloat16)")
    made.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", action="store_true", help="end with one line of JSON")
    return made


def prepare(args: argparse.Namespace) -> None:
    """Threads, and quiet libraries."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if args.threads:
        torch.set_num_threads(args.threads)


def dtype(args: argparse.Namespace) -> str:
    """Precision, by device where there is no option for it: the CPU shows exactness, a GPU is used as in training."""
    return getattr(args, "dtype", None) or ("float32" if args.device == "cpu" else "bfloat16")


def build(args: argparse.Namespace, family: Family | None = None) -> tuple[Any, Any]:
    """(model, processor) with random weights, by default of Qwen2.5-VL; equal arguments give equal weights."""
    from trlt.engine.families import FAMILIES
    from trlt.lab.miniature.tiny import CHAT_TEMPLATE, train_tokenizer

    family = family or FAMILIES[0]
    tokenizer = train_tokenizer(CORPUS)
    model, processor = family.tiny(tokenizer, CHAT_TEMPLATE, seed=args.seed, hidden=args.hidden, layers=args.layers)
    family.adapt(model)  # the library's side too: the same model is compared
    return model, processor


def noise(geometry: Geometry, frames: int, rows: int, columns: int, fps: float, *, seed: int) -> Clip:
    """A clip of random pixels, of `rows` x `columns` tokens."""
    import numpy as np

    from trlt.video.clip import Clip

    shape = (frames, 3, geometry.side * rows, geometry.side * columns)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Clip.of(pixels, np.arange(frames) / fps, sample_fps=fps, duration=frames / fps, geometry=geometry)


def noise_clip(tokens: int, seed: int, geometry: Geometry = Geometry()) -> Clip:
    """A clip of random pixels with exactly `tokens` video tokens, in up to 32 frames at 2 a second."""
    steps = next(t for t in range(16, 0, -1) if tokens % t == 0)
    area = tokens // steps
    rows = next(r for r in range(int(area**0.5), 0, -1) if area % r == 0)
    clip = noise(geometry, 2 * steps, rows, area // rows, 2.0, seed=seed)
    assert clip.tokens == tokens
    return clip


def question(builder: InputBuilder, tokens: int, seed: int) -> str:
    """Random words that make a prompt of at least `tokens` text tokens, the chat's own included."""
    words, rng, text = " ".join(CORPUS).split(), Random(seed), f"{seed}:"
    around = builder._render(SYSTEM, "", None)
    head = len(builder.encode(around.head + around.tail))
    while head + len(builder.encode(text)) < tokens:
        text += " " + rng.choice(words)
    return text


def parameters(model: Any) -> int:
    """Number of weights; those that are shared count once."""
    return sum(p.numel() for p in model.parameters())


def synchronize() -> None:
    """Waits for a GPU, so that a clock read next is the work's end."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` took, and what it returned."""
    synchronize()
    began = time.perf_counter()
    result = work()
    synchronize()
    return time.perf_counter() - began, result


def peak_mib(device: str) -> float | None:
    """Peak memory in MiB that tensors took on the GPU since the last call; None on the CPU, where nobody counts it."""
    if device == "cpu":
        return None
    import torch

    mib = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return mib


def summary(seconds: Sequence[float]) -> str:
    """Median and range in words."""
    return f"{statistics.median(seconds):8.3f} s   ({min(seconds):.3f} to {max(seconds):.3f}, {len(seconds)} times)"


def finish(args: argparse.Namespace, metrics: dict[str, Any]) -> None:
    """Prints the JSON line where one is wanted: the metrics, then the settings."""
    if not args.json:
        return
    import torch

    settings = {name: value for name, value in vars(args).items() if name != "json"}
    settings |= {"threads": torch.get_num_threads(), "dtype": dtype(args), "torch": torch.__version__}
    print(json.dumps({k: round(v, 9) if isinstance(v, float) else v for k, v in metrics.items()} | {"settings": settings}))
