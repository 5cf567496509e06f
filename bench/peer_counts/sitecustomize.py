"""Counts the passes of Qwen2.5-VL's vision tower in whatever program has this folder on PYTHONPATH.

Python imports a module of this name before a program starts. Each pass adds a line to the file that BENCH_PASSES names: the
time (`time.monotonic`) and how many clips went through together.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import os
import sys
import time
from typing import Any

MODULE = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
TOWER = "Qwen2_5_VisionTransformerPretrainedModel"


def count(module: Any, path: str) -> None:
    """Makes the tower of the library's module write a line a pass."""
    tower = getattr(module, TOWER)
    forward = tower.forward

    @functools.wraps(forward)
    def counted(self: Any, hidden_states: Any, grid_thw: Any, *args: Any, **kwargs: Any) -> Any:
        with open(path, "a", encoding="utf-8") as out:  # noqa: PTH123  (runs in every program: imports little)
            out.write(f"{time.monotonic()} {len(grid_thw)}\n")
        return forward(self, hidden_states, grid_thw, *args, **kwargs)

    tower.forward = counted


class WhenImported(importlib.abc.MetaPathFinder):
    """Finds the library's module as always, and has it counted once it is loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            count(module, os.environ["BENCH_PASSES"])

        spec.loader.exec_module = exec_module
        return spec


if os.environ.get("BENCH_PASSES"):
    sys.meta_path.insert(0, WhenImported())
