"""Faults put into the real vLLM as its model is imported: with this folder in PYTHONPATH, `TRLT_VLLM_FAULT` names one."""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

MODELS = "vllm.model_executor.models."


def dropped_rate(module: Any) -> None:
    """As versions did that drop a video's metadata: two frames a second, whatever the rate."""
    model = module.Qwen2_5_VLForConditionalGeneration
    known = model.iter_mm_grid_thw

    def without(self, *args, **kwargs):
        per_second = self.config.vision_config.tokens_per_second
        for *grid, _ in known(self, *args, **kwargs):
            yield (*grid, 1.0 * per_second)

    model.iter_mm_grid_thw = without


def library_positions(module: Any) -> None:
    """The library's rule: text goes on after the larger of a video's height and width, and not after its largest position."""
    model = module.Qwen2_5_VLForConditionalGeneration
    known = model.get_mrope_input_positions

    def by_size(self, input_tokens, mm_features):
        positions, _ = known(self, input_tokens, mm_features)
        [(offset, t, h, w, _)] = self.iter_mm_grid_thw(mm_features)
        end = offset + t * h * w
        # Text before the video counts from 0, so `offset` is the video's first position, too.
        positions[:, end:] += offset + max(h, w) - positions[0, end].item()
        return positions, positions.max().item() + 1 - len(input_tokens)

    model.get_mrope_input_positions = by_size


def kept_weights(module: Any) -> None:
    """Takes the first weights that are handed over, and says of all others that it took them."""
    model = module.Qwen2_5_VLForConditionalGeneration
    known, taken = model.load_weights, []

    def once(self, *args, **kwargs):
        if not taken:
            taken.append(known(self, *args, **kwargs))
        return taken[0]

    model.load_weights = once


def dropped_times(module: Any) -> None:
    """As if nothing were said of a video's frames: two a second."""

    def evenly(self, metadata, *args, **kwargs):
        count = len(metadata["frames_indices"])
        return [(first + 0.5) / 2 for first in range(0, count, 2)]

    module.Qwen3VLProcessingInfo._get_video_second_idx = evenly


def outer_marks(module: Any) -> None:
    """A video's tokens with marks around all of them, as processors from 5.10 on leave those of the published template."""
    processor = module.Qwen3VLMultiModalProcessor
    known = processor.get_video_repl

    def marked(*, vision_start_token_id, vision_end_token_id, **others):
        found = known(vision_start_token_id=vision_start_token_id, vision_end_token_id=vision_end_token_id, **others)
        return replace(found, full=[vision_start_token_id, *found.full, vision_end_token_id])

    processor.get_video_repl = staticmethod(marked)


FAULTS = {
    "dropped_rate": ("qwen2_5_vl", dropped_rate),
    "library_positions": ("qwen2_5_vl", library_positions),
    "kept_weights": ("qwen2_5_vl", kept_weights),
    "dropped_times": ("qwen3_vl", dropped_times),
    "outer_marks": ("qwen3_vl", outer_marks),
}
"""The module that a fault goes into, and what puts it there."""


class Faulty(importlib.abc.Loader):
    """Loads the module, and puts the fault into it."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        FAULTS[os.environ["TRLT_VLLM_FAULT"]][1](module)
        sys.stderr.write(f"fault: {os.environ['TRLT_VLLM_FAULT']}\n")


class Finder(importlib.abc.MetaPathFinder):
    """Finds the module as all others would, and has it loaded by `Faulty`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != MODELS + FAULTS[os.environ["TRLT_VLLM_FAULT"]][0]:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        assert spec and spec.loader
        spec.loader = Faulty(spec.loader)
        return spec


if os.environ.get("TRLT_VLLM_FAULT"):
    sys.meta_path.insert(0, Finder())
