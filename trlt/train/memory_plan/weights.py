"""Weights and what goes with them: what is held all the time, and what a pass needs beside it. Symbols: see `lines`."""

from __future__ import annotations

from trlt.engine.families.shape import Architecture
from trlt.recipe import Lora
from trlt.train.memory_plan.lines import BUCKET, IN_4_BITS, LIVE, MemoryLine
from trlt.train.memory_plan.sizes import ModelSizes


def held(model: Architecture, size: ModelSizes, trained: int, *, reference: bool) -> list[MemoryLine]:
    """Weights, gradients, AdamW states and the reference model, where all weights are trained.

    FSDP2 holds slices: 4 P/N, 4 T/N, 8 T/N in float32, and c P/N of the reference. DDP and one process hold them whole, DDP
    with its buckets beside the gradients (4 T more); of their reference, what autocast rounds is held in c, and embedding and
    norms in float32. DeepSpeed computes in c and keeps float32 masters in slices: ZeRO-2 c P + 4 T/N, ZeRO-3 (c P + 4 T)/N;
    gradients 4 T/N and two buckets.
    """
    p, t, n, c = model.parameters, trained, size.processes, size.computed
    kept = model.unrounded
    rounded = (c * (p - kept) + 4 * kept, "c P + (4 - c) V d" if c < 4 else "4 P")
    weights, gradients, states, frozen = {
        "single": ((4 * p, "4 P"), (4 * t, "4 T"), (8 * t, "8 T"), rounded),
        "ddp": ((4 * p, "4 P"), (8 * t, "8 T, with buckets"), (8 * t, "8 T"), rounded),
        "fsdp2": ((4 * p // n, "4 P/N"), (4 * t // n, "4 T/N"), (8 * t // n, "8 T/N"), (c * p // n, "c P/N")),
        "zero2": (
            (c * p + 4 * t // n, "c P + 4 T/N"),
            (4 * t // n + 2 * c * min(t, BUCKET), "4 T/N + 2 buckets"),
            (8 * t // n, "8 T/N"),
            (c * p, "c P"),
        ),
        "zero3": (
            ((c * p + 4 * t) // n, "(c P + 4 T)/N"),
            (4 * t // n + 2 * c * min(t, BUCKET), "4 T/N + 2 buckets"),
            (8 * t // n, "8 T/N"),
            (c * p // n, "c P/N"),
        ),
    }[size.strategy]
    return [
        MemoryLine("held", "weights", *weights),
        MemoryLine("held", "gradients", *gradients),
        MemoryLine("held", "AdamW states", *states),
        MemoryLine("held", "reference model", *(frozen if reference else (0, ""))),
    ]


def held_with_adapters(model: Architecture, size: ModelSizes, lora: Lora) -> list[MemoryLine]:
    """What LoRA holds: the base, c P or matrices in 4 bits (`IN_4_BITS` each) and the rest in c, and A adapters' parameters.

    Adapters are float32, with gradients and AdamW states: 4 A, 4 A, 8 A. The reference is the base itself. FSDP2 cuts all of it
    into slices, but never 4 bits; ZeRO-2 the states.
    """
    a, c, n = model.adapters(lora.rank, mlp=lora.targets == "all"), size.computed, size.processes
    base, formula = c * model.parameters, "c P"
    if lora.quantize:
        base = int(IN_4_BITS * model.matrices) + c * (model.parameters - model.matrices)
        formula = "4 bits a matrix, c the rest"
    slices = n if size.strategy == "fsdp2" else 1
    states = n if size.strategy == "zero2" else slices
    over = "/N" if slices > 1 else ""
    return [
        MemoryLine("held", "weights", base // slices, f"({formula}){over}" if over else formula),
        MemoryLine("held", "adapters", 4 * a // slices, f"4 A{over}"),
        MemoryLine("held", "gradients", 4 * a // slices, f"4 A{over}"),
        MemoryLine("held", "AdamW states", 8 * a // states, "8 A/N" if states > 1 else "8 A"),
    ]


def copies(model: Architecture, size: ModelSizes, lora: Lora | None) -> tuple[int, str]:
    """Weights in c beside the held ones that one pass needs.

    Autocast (one process, DDP) keeps a copy of every matrix: c (P - V d), with a tied head c P; not of experts. FSDP2 gathers
    two layers at a time, and holds a layer's gradient until it is reduced, in float32: (3 c + 8) layer; likewise embedding and
    head: (3 c + 4) V d. ZeRO-3 keeps up to `LIVE` parameters. ZeRO-2 has them already. With adapters the base is in c already,
    which has no gradients; autocast copies the adapters, c A, and 4 bits are put back into c one matrix at a time, c d f. What
    adapters add to a layer's experts is made whole: c each.
    """
    p, c, vd = model.parameters, size.computed, model.embedding
    if lora:
        added = c * model.mlp if model.experts and lora.targets == "all" else 0
        if size.strategy == "fsdp2":
            return 2 * c * (model.layer + vd) + added, "2 c (layer + V d)" + (" + c experts" if added else "")
        copied = c * model.adapters(lora.rank, mlp=lora.targets == "all") if c < 4 else 0
        if added:
            return copied + added, "c A + c experts of a layer"
        if lora.quantize:
            return copied + c * model.hidden * model.intermediate, "c (A + d f)"
        return copied, "c A"
    match size.strategy:
        case "single" | "ddp" if c == 4:
            return 0, ""
        case "single" | "ddp":
            own, parts = c * (p - model.all_experts), " - experts" if model.experts else ""
            if model.tied:
                return own, f"c (P{parts})" if parts else "c P"
            return own - c * vd, f"c (P - V d{parts})"
        case "fsdp2":
            return (3 * c + 8) * model.layer + (3 * c + 4) * vd, "(3 c + 8) layer + (3 c + 4) V d"
        case "zero3":
            return c * min(p, LIVE), f"c min(P, {LIVE:.0e})"
    return 0, ""
