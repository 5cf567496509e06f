"""Memory available for keys and values, and detection of out-of-memory errors."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from trlt.engine.families import layouts

SHARE = 0.5
"""Share of the free memory for keys and values; the rest is for intermediate results."""
MEMINFO = Path("/proc/meminfo")

T = TypeVar("T")


def token_bytes(text: Any, dtype: torch.dtype) -> int:
    """Bytes of one token's keys and values in all layers; linear layers have none.

    Args:
        text: The `text_config` of a model.
        dtype: What they are held in.
    """
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    linear = layouts.linear(vars(text))
    layers = text.num_hidden_layers - (linear.layers if linear else 0)
    return int(2 * layers * text.num_key_value_heads * head * dtype.itemsize)


def state_bytes(text: Any, dtype: torch.dtype) -> int:
    """Bytes that linear layers carry on from one sequence, whatever its length; arguments as for `token_bytes`."""
    linear = layouts.linear(vars(text))
    return linear.layers * linear.state(dtype.itemsize) if linear else 0


def free_bytes(device: torch.device) -> float:
    """Free memory of the GPU or of the machine; infinite if unknown."""
    if device.type == "cuda":
        # To the driver, what torch's allocator keeps for later use is taken; for us it is free.
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return math.inf


def room_for_tokens(model: Any) -> float:
    """Tokens whose keys and values may be held; states of linear layers take of the same room (`state_tokens`)."""
    return SHARE * free_bytes(model.device) / token_bytes(model.config.text_config, model.dtype)


def state_tokens(model: Any) -> float:
    """Tokens whose keys and values would take as much memory as what linear layers carry on from one sequence."""
    text = model.config.text_config
    return state_bytes(text, model.dtype) / token_bytes(text, model.dtype)


def fits(work: Callable[[], T]) -> T | None:
    """The result of `work`; None if memory doesn't suffice, and then all that it had allocated is freed."""
    try:
        return work()
    except torch.OutOfMemoryError:
        pass
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # the CPU's allocator has no error class of its own
            raise
    # Not before here: the error's traceback held on to the frames, and these to their tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # blocks that are kept in the sizes of the failed try wouldn't serve a smaller one
    return None
