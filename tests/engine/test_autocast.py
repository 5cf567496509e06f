"""Float32 weights under autocast are cast once a rollout, not once a token."""

from __future__ import annotations

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.sampling import Sampling


class Casts(TorchDispatchMode):
    """Counts, by place in memory, what is made BF16."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and (kwargs or {}).get("dtype") == torch.bfloat16:
            self.counts[args[0].data_ptr()] += 1
        return func(*args, **(kwargs or {}))


def test_weights_are_cast_once_for_all_tokens(tiny, noise_clip):
    engine = Engine(tiny.model, tiny.processor, exact=False)
    trees = [Tree(noise_clip(), (PromptRequest("a", "", "what moves?", 4),))]
    with torch.autocast("cpu", dtype=torch.bfloat16), Casts() as casts:
        [[drawn]] = engine.generate(trees, Sampling(max_new_tokens=8))
    assert max(len(one.tokens) for one in drawn) > 3
    matrices = [weight for name, weight in tiny.model.named_parameters() if "proj.weight" in name]
    assert len(matrices) > 20 and {casts.counts[weight.data_ptr()] for weight in matrices} == {1}
