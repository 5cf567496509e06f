"""A GRPO forward and backward pass of groups: shared prefix against full sequences."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from bench.gpu.bench import Bench, Out
from bench.gpu.inputs import group
from bench.gpu.models import SHAPES
from bench.gpu.parity import gap
from trlt.engine.shared_prefix import TreeBatch, collate

SECONDS = 12.0
"""After which a pass isn't repeated."""


def batch_of(bench: Bench, name: str, groups: int, side: str) -> TreeBatch:
    """Groups of random completions, on the device; `side` is either tree mask of a shared prefix, or `full`."""
    asked = bench.asked(name, groups)
    made = [group(one, SHAPES[name], bench.size, seed) for seed, one in enumerate(asked)]
    how: dict[str, Any] = {"full": True} if side == "full" else {"attention": side}
    return collate(made, **how).to(bench.device)


def step(model: Any, batch: TreeBatch, around: AbstractContextManager[Any]) -> Tensor:
    """Gradients of the clipped objective where the policy is still the one that drew: all ratios are 1, none is clipped.

    Returns:
        (rows, T) log-probabilities.
    """
    with around:
        logps: Tensor = model(tree=batch).logps
    gains = torch.randn(len(logps), generator=torch.Generator().manual_seed(0)).to(logps.device)
    ratios = (logps - logps.detach()).exp()
    (-(ratios * gains[:, None]).sum() / len(batch.targets)).backward()  # type: ignore[no-untyped-call]
    return logps.detach()


def grpo(bench: Bench, name: str, groups: int, side: str, out: Out) -> None:
    """Seconds and peak memory of forward and backward, in the precision of training on one GPU."""
    around = bench.enter(name, "autocast" if bench.half else "float32")
    batch = batch_of(bench, name, groups, side)
    out |= {"groups": groups, "side": side, "prompt_tokens": batch.row[0].prompt, "new_tokens": bench.size.new}
    with bench.training(name) as model:

        def work() -> None:
            model.zero_grad(set_to_none=True)
            step(model, batch, around)

        out |= bench.measure(work, most=1, seconds=0)  # warms up: compiles, too
        if "out_of_memory" not in out:
            out["first_s"] = out["seconds"]
            out |= bench.measure(work, most=3, seconds=SECONDS)


Way = tuple[str, str]
"""Side and precision."""


def agreement(bench: Bench, name: str, reference: Way, others: Sequence[Way], out: Out) -> None:
    """How far log-probabilities and gradients of one group lie from those of a reference.

    Of the gradients the norm of the difference over the norm, all parameters together.
    """
    out["reference"] = "/".join(reference)
    with bench.training(name) as model:
        logps, exact = _gradients(bench, name, model, reference)
        for way in others:
            found, gradients = _gradients(bench, name, model, way)
            out["/".join(way)] = gap(found, logps) | {"gradients": apart(gradients, exact)}
            del gradients


def _gradients(bench: Bench, name: str, model: Any, way: Way) -> tuple[Tensor, dict[str, Tensor]]:
    side, precision = way
    logps = step(model, batch_of(bench, name, 1, side), bench.enter(name, precision))
    found = {key: weight.grad for key, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad(set_to_none=True)
    return logps, found


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Norm of the difference over the norm of `other`."""
    assert one.keys() == other.keys(), "gradients of other parameters"
    gaps = torch.stack([(one[key] - exact).norm().double() for key, exact in other.items()])
    norms = torch.stack([exact.norm().double() for exact in other.values()])
    return float(gaps.norm() / norms.norm())
