"""Routers of a mixture of experts, watched for tokens that they are undecided about.

Rounding may send such a token to another expert, and what comes of it is another number, not one that differs in its last bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def watched(model: Any, router: str, bound: float) -> Iterator[list[Tensor]]:
    """The tokens (T,) that each router is undecided about, a tensor for each of its calls.

    Args:
        model: With routers that give logits (T, experts) first.
        router: Their class; none is watched where this is empty.
        bound: On the difference of two evaluations of a logit: the last expert that is chosen and the first that isn't may
            change places where they are closer.
    """
    found: list[Tensor] = []

    def look(module: Any, given: Any, out: tuple[Tensor, ...]) -> None:
        logits, chosen = out[0], module.top_k
        if chosen < logits.shape[-1]:
            first = logits.float().topk(chosen + 1, dim=-1).values
            found.append(first[:, -2] - first[:, -1] < bound)

    with ExitStack() as hooks:
        for module in model.modules() if router else ():
            if type(module).__name__ == router:
                hooks.callback(module.register_forward_hook(look).remove)
        yield found
