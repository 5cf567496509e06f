"""How far a mixture of experts is from itself in another batch: `python -m bench.experts`.

A row of 64 tokens alone, and among 15 others, through a tiny model of the real classes in float32; by the library's two ways of
computing experts on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch

from trlt.engine.families import family_named
from trlt.engine.routers import watched
from trlt.engine.sampling import NOISE
from trlt.lab.miniature.tiny import CHAT_TEMPLATE, train_tokenizer

ROWS, LENGTH, BATCHES = 16, 64, 6


@torch.no_grad()
def measure(model: Any, router: str) -> tuple[float, int, int]:
    """Largest difference of a logit, tokens whose logits differ by over 1e-4, and those that a router is undecided about."""
    generator, worst, apart, torn = torch.Generator().manual_seed(1), 0.0, 0, 0
    for _ in range(BATCHES):
        ids = torch.randint(20, model.config.text_config.vocab_size, (ROWS, LENGTH), generator=generator)
        with watched(model, router, NOISE) as undecided:
            together = model(input_ids=ids, use_cache=False).logits
        alone = torch.cat([model(input_ids=row[None], use_cache=False).logits for row in ids])
        differ = (together - alone).abs().amax(-1)
        worst, apart = max(worst, float(differ.max())), apart + int((differ > 1e-4).sum())
        torn += int(torch.stack(undecided).any(0).sum())
    return worst, apart, torn


def main() -> None:
    """Prints a row for each."""
    torch.set_num_threads(1)
    family = family_named("qwen3_vl_moe")
    assert family is not None
    model, _ = family.tiny(train_tokenizer(["which of them moves left ? A. the red circle"] * 40), CHAT_TEMPLATE, layers=4)
    model.train(False)
    for way in ("grouped_mm", "eager"):
        model.set_experts_implementation(way)
        worst, apart, torn = measure(model, family.router)
        print(f"{way:12} largest {worst:.1e}, {apart} of {BATCHES * ROWS * LENGTH} tokens apart, {torn} undecided")  # noqa: T201


if __name__ == "__main__":
    main()
