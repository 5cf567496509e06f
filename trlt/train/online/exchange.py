"""Lines of JSON that all processes of a run share. Knows JSON and tensors; not what the lines mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def exchanged(mine: Sequence[dict[str, Any]], gather: Callable[[Tensor], Tensor], device: torch.device) -> list[dict[str, Any]]:
    """The lines of all processes, those of the first one first.

    Args:
        mine: JSON objects of this process.
        gather: Stacks a tensor (1, ...) of each process to (processes, ...).
        device: Of the exchanged tensors.
    """
    written = json.dumps(mine).encode()
    sizes = gather(torch.tensor([len(written)], device=device)).tolist()
    line = torch.zeros(1, max(sizes), dtype=torch.uint8)
    line[0, : len(written)] = torch.frombuffer(bytearray(written), dtype=torch.uint8)
    every = gather(line.to(device)).cpu().numpy()
    return [row for size, text in zip(sizes, every, strict=True) for row in json.loads(text[:size].tobytes())]
