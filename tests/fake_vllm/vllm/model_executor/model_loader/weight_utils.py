"""What a start without weights puts into a model."""

from __future__ import annotations

import torch


def initialize_single_dummy_weight(param: torch.Tensor) -> None:
    if param.is_floating_point():
        param.uniform_(-1e-3, 1e-3, generator=torch.Generator().manual_seed(1234))
