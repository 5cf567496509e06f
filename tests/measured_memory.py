"""Memory of a pass, measured on the CPU with real tensors, beside what the plan's formulas say."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from trlt.engine import forest
from trlt.engine.families.shape import Architecture
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import with_adapters
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.recipe import Recipe, load_recipe
from trlt.train.memory_plan import GB, Memory, estimate
from trlt.train.memory_plan import sizes as filled


def recipe(*sets: str) -> Recipe:
    return load_recipe(None, sets=sets)


def lines(memory: Memory, when: str = "held") -> dict[str, int]:
    return {line.name: line.size for line in memory.lines if line.when == when}


class Peak(TorchDispatchMode):
    """Most bytes of tensors that live at once, but for those whose storage is in `skip`."""

    def __init__(self, skip: set[int]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()
        self._skip = skip

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        return out

    def _see(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._skip:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)

        def gone() -> None:
            self._known.discard(key)
            self.live -= size

        weakref.finalize(storage, gone)


@dataclass
class Pass:
    """A model, what goes through it, and what the plan says of that."""

    model: Any
    batch: Any
    told: Memory
    tokens: int
    width: int
    """Of the language model."""
    precision: Callable[[], Any]

    def held(self) -> set[int]:
        """Storages of weights and gradients."""
        both = [t for w in self.model.parameters() for t in (w, w.grad) if t is not None]
        return {t.untyped_storage()._cdata for t in both}

    def shown(self) -> int:
        """Bytes of pixels, or of features in their place, in float32."""
        return int(self.batch.pixels.nbytes if self.batch.pixels is not None else 4 * self.batch.features.numel())

    def saved(self) -> tuple[int, int]:
        """Bytes that the forward pass saves: all, and residual streams alone."""
        own, pixels = self.held(), self.batch.pixels
        saved, streams, kept = {0: self.shown()}, {}, []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor)
            storage = tensor.untyped_storage()
            if storage._cdata not in own and (pixels is None or storage._cdata != pixels.untyped_storage()._cdata):
                saved[storage._cdata] = storage.nbytes()
                if tensor.shape[-1] == self.width and tensor.numel() == self.tokens * self.width:
                    streams[storage._cdata] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), self.precision():
            self.model(tree=self.batch)
        return sum(saved.values()), sum(streams.values())

    def peak(self) -> int:
        """Most bytes that live at once in forward and backward pass, weights and gradients apart."""
        with Peak(self.held()) as peak:
            with self.precision():
                out = self.model(tree=self.batch)
            out.logps.sum().backward()
        return peak.peak + self.shown()


def make_pass(
    model: Any,
    processor: Any,
    shape: Architecture,
    clip: Any,
    monkeypatch: Any,
    *sets: str,
    checkpointing: bool,
    bf16: bool,
    full: bool = False,
) -> Pass:
    """A pass of one clip with 4 completions of 32 tokens, as a recipe asks for it."""
    settings = [
        "train.group_size=4",
        "train.max_new_tokens=32",
        f"train.gradient_checkpointing={str(checkpointing).lower()}",
    ]
    settings += [f"train.shared_prefix={str(not full).lower()}", f"model.dtype={'bfloat16' if bf16 else 'float32'}", *sets]
    builder = InputBuilder(model, processor)
    attach(model)
    shown = builder.clip(clip)
    prompt = builder.prompt("You answer questions about a video.", "Question: what moves left", shown)
    frames = 2 * int(shown.grid[0, 0])
    asked = recipe(*settings, f"video.max_tokens={shown.tokens}", f"video.max_frames={frames}")
    words = len(prompt.prefix) + len(prompt.suffix) - shown.tokens
    monkeypatch.setattr(filled, "TEXT_TOKENS", words - frames // 2 * shape.time_tokens)
    if asked.train.tower_is_frozen:  # its features come with the rollouts
        shown = replace(shown, pixels=None, features=forest.Engine(model, processor).encode(shown))
    if asked.train.lora:
        model = with_adapters(model.bfloat16() if bf16 else model, asked.train.lora)
    ids = np.random.default_rng(0).integers(20, 300, (4, 32)).tolist()
    batch = collate([Group(shown, prompt, tuple(map(tuple, ids)))], full=full)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if asked.train.lora:
            model.enable_input_require_grads()
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    precision = partial(torch.autocast, "cpu", torch.bfloat16, enabled=bf16)
    tokens = filled.sizes(asked, 1, shape).tokens
    return Pass(model, batch, estimate(shape, asked, 1, GB), tokens, shape.hidden, precision)
