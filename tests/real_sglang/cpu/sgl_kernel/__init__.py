"""In place of SGLang's kernels, which aren't published for CPUs: their names exist, and raise when they are called.

With `--device cpu --attention-backend torch_native`, SGLang takes torch's operators for a Qwen2.5-VL and calls none of them.
"""

from __future__ import annotations

from typing import Any

import torch

__version__ = "0.4.10"


class _Absent:
    def __init__(self, name: str) -> None:
        self.name = name
        self.default = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"sgl_kernel.{self.name}")


class _Operators:
    def __getattr__(self, name: str) -> _Absent:
        # Some modules take operators for CPUs by name as they are imported; of others SGLang asks whether they exist.
        if not name.endswith("_cpu"):
            raise AttributeError(name)
        return _Absent(name)


torch.ops.__dict__["sgl_kernel"] = _Operators()


def __getattr__(name: str) -> _Absent:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Absent(name)
