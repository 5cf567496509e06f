"""Log-probabilities of the same tokens by the engine that drew them, the trainer's forward pass, and the library's own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from bench.gpu.bench import Bench, Out
from bench.gpu.inputs import Asked, library_logps
from bench.gpu.models import as_published
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, collate

PROMPTS = 2
PAIRS = (("engine", "blocks"), ("engine", "library"), ("blocks", "library"), ("full", "blocks"))
"""Whose difference is told."""

Tokens = list[list[tuple[int, ...]]]
"""Prompt by prompt, completion by completion."""


@torch.no_grad()
def parity(bench: Bench, name: str, precision: str, out: Out) -> None:
    """Differences between the sides, and each side's error against the library's forward pass in float32."""
    asked = bench.asked(name, PROMPTS)
    around = bench.enter(name, precision)
    model = bench.model(name)
    tokens, engine = _drawn(bench, name, asked, around)
    with around:
        sides = {
            "engine": engine,
            "blocks": _by_trainer(model, asked, tokens, full=False),
            "full": _by_trainer(model, asked, tokens, full=True),
            "library": _by_library(model, asked, tokens),
        }
    out["tokens"], out["mean_logp"] = engine.numel(), float(engine.mean())
    out["differences"] = {f"{a}/{b}": gap(sides[a], sides[b]) for a, b in PAIRS}
    if precision != "float32":
        bench.enter(name, "float32")
        exact = _by_library(model, asked, tokens)
        out["errors"] = {side: gap(logps, exact) for side, logps in sides.items()}


def gap(one: Tensor, other: Tensor) -> dict[str, float]:
    """Largest and mean difference.

    Raises:
        ValueError: there is a number that isn't finite.
    """
    apart = (one.double() - other.double()).abs()
    if not apart.isfinite().all():
        raise ValueError(f"{int((~apart.isfinite()).sum())} of {apart.numel()} differences aren't finite")
    return {"largest": float(apart.max()), "mean": float(apart.mean())}


def _drawn(bench: Bench, name: str, asked: list[Asked], around: AbstractContextManager[Any]) -> tuple[Tokens, Tensor]:
    """Completions by the engine, and (prompts x completions, T) what it says of them."""
    new = bench.size.new // 2  # enough tokens for a mean, in half the time
    with around:
        drawn = bench.engine(name).generate([one.tree() for one in asked], Sampling(max_new_tokens=new))
    rows = [completion for [completions] in drawn for completion in completions]
    assert {len(row.tokens) for row in rows} == {new}, "completions of unequal length"
    tokens = [[completion.tokens for completion in completions] for [completions] in drawn]
    return tokens, torch.tensor([row.logps for row in rows])


def _by_trainer(model: Any, asked: list[Asked], tokens: Tokens, *, full: bool) -> Tensor:
    groups = [Group(one.clip, one.prompt, tuple(some)) for one, some in zip(asked, tokens, strict=True)]
    logps: Tensor = model(tree=collate(groups, full=full).to(model.device)).logps
    return logps.cpu()


def _by_library(model: Any, asked: list[Asked], tokens: Tokens) -> Tensor:
    with as_published(model):
        return torch.cat([library_logps(model, one, some) for one, some in zip(asked, tokens, strict=True)])
