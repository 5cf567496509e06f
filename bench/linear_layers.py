"""Linear layers with forked states: how far the engine's steps and a shared prefix are from full sequences, and what they take.

python -m bench.linear_layers [--steps 48] [--completions 4] [--hidden 128] [--layers 4] [--json]

A random Qwen3.5 in float32 on the CPU, with Qwen3-VL and Qwen2.5-VL beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from trlt.engine import sampling
from trlt.engine.families import family_named
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import PromptInputs
from trlt.engine.memory import state_bytes, token_bytes
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.lab.miniature.tiny import CHAT_TEMPLATE, train_tokenizer
from trlt.video.clip import Clip

MODEL_TYPES = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
CORPUS = [
    "Question: what moves left\nA. the red circle\nB. the blue square",
    "<think> 1.0 to 3.5 </think> <answer> B </answer>",
] * 3
FRAMES = (2, 10, 40)


def gaps_of(engine: Engine, trees: list[Tree], settings: Sampling) -> np.ndarray:
    """Largest differences between the logits of each step and those of the same completion alone.

    Every draw is settled alone, so that each step's logits are followed by those of its rows, one by one.
    """
    found: list[float] = []
    waiting: list[torch.Tensor] = []
    rows = sum(request.n for tree in trees for request in tree.requests)

    def see(module: Any, args: Any, logits: torch.Tensor) -> None:
        if len(logits) == rows:
            assert not waiting, "a draw wasn't settled"
            waiting[:] = logits.log_softmax(-1)
        elif waiting:
            found.append(float((logits[0].log_softmax(-1) - waiting.pop(0)).abs().max()))

    hook, before = engine.model.lm_head.register_forward_hook(see), sampling.NOISE
    sampling.NOISE = 1.0
    try:
        engine.generate(trees, settings)
    finally:
        hook.remove()
        sampling.NOISE = before
    return np.array(found)


def measure(model_type: str, args: argparse.Namespace) -> dict[str, Any]:
    """One family's row."""
    family = family_named(model_type)
    assert family is not None
    model, processor = family.tiny(train_tokenizer(CORPUS), CHAT_TEMPLATE, seed=3, hidden=args.hidden, layers=args.layers)
    side = family.geometry.side
    trees = []
    for seed, frames in enumerate(FRAMES):
        pixels = np.random.default_rng(seed).integers(0, 256, (frames, 3, side, 2 * side), dtype=np.uint8)
        clip = Clip.of(pixels, np.arange(frames) / 2, sample_fps=2.0, duration=frames / 2, geometry=family.geometry)
        trees.append(Tree(clip, (PromptRequest(str(seed), "", "what moves left", n=args.completions),)))
    engine = Engine(model.eval(), processor)
    engine.ends = frozenset()  # all take all steps
    settings = Sampling(max_new_tokens=args.steps, seed=1)
    drawn = engine.generate(trees, settings)
    settled = engine.settled
    gaps = gaps_of(engine, trees, settings)
    attach(model)
    groups = [_group(engine, tree, [one.tokens for one in answers[0]]) for tree, answers in zip(trees, drawn, strict=True)]
    times, logps = {}, {}
    for form, how in (("tree", {}), ("full", {"full": True})):
        begun = time.perf_counter()
        logps[form] = model(tree=collate(groups, **how)).logps
        logps[form].sum().backward()
        times[form] = time.perf_counter() - begun
    text = model.config.text_config
    return {
        "family": family.name,
        "engine: largest": float(gaps.max()),
        "median": float(np.median(gaps)),
        "beyond the bound of attention": float((gaps > sampling.NOISE).mean()),
        "bound": sampling.NOISE * family.rounding,
        "draws settled": settled / (len(trees) * args.completions * args.steps),
        "tree and full sequences": float((logps["tree"] - logps["full"]).detach().abs().max()),
        "seconds of a step, tree": times["tree"],
        "full": times["full"],
        "bytes a token": token_bytes(text, torch.float32),
        "a state": state_bytes(text, torch.float32),
    }


def _group(engine: Engine, tree: Tree, completions: list[tuple[int, ...]]) -> Group:
    inputs = engine.builder.clip(tree.clip)  # type: ignore[arg-type]
    prompt: PromptInputs = engine.builder.prompt("", tree.requests[0].user, inputs)
    return Group(inputs, prompt, tuple(completions))


def main() -> None:
    """Prints one row a family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 48), ("completions", 4), ("hidden", 128), ("layers", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    for model_type in MODEL_TYPES:
        row = measure(model_type, args)
        print(json.dumps(row) if args.json else "\n".join(f"{name}: {value}" for name, value in row.items()) + "\n")


if __name__ == "__main__":
    main()
