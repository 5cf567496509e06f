"""Several processes that train one model: how they find each other, and how weights that they share become whole again.

Under FSDP2 each process holds a slice of every weight, and each layer's call gathers it: all processes must call the same
layers equally often. Decoding can't promise that, since completions differ in length. So the weights are gathered once before
it, into a copy of the model that knows nothing of slices, and decoding needs no exchange at all. The price is memory while
it lasts: one number a weight in the precision that is computed in, 16.6 GB for 7B in BF16.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

PATIENCE = timedelta(hours=6)
"""How long a process waits for the others, which may have longer answers to write or a run of broken videos to get past."""


def join(device: str) -> int:
    """Joins the processes that a launcher started with this one.

    Args:
        device: `model.device` of the recipe.

    Returns:
        How many there are; 1 without a launcher.
    """
    # Each process reads the weights itself: the reference model gets no others' weights later.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    cpu = device == "cpu" or not torch.cuda.is_available()
    return int(PartialState(cpu=cpu, timeout=PATIENCE).num_processes)


def allow_sharding_on_cpu() -> None:
    """Lets Accelerate 1.15 use FSDP on the CPU, where PyTorch has it and Accelerate takes no notice that it is asked for."""
    state = PartialState()
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" and state.distributed_type == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def is_main() -> bool:
    """Whether this is the process that writes what all share."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def is_sharded(model: Any) -> bool:
    """Whether each process holds only a slice of the weights."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


class WholeCopy:
    """A model of the same shape without weights, which borrows those of a sharded model for a while.

    Args:
        model: Before it is sharded.
        dtype: Precision of the borrowed weights.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self._dtype = dtype
        empty = {id(w): _frozen(torch.empty_like(w, device="meta")) for w in model.parameters()}
        self._model = copy.deepcopy(model, dict(empty))
        # `shared_prefix.attach` has bound the model's forward to the model that was copied.
        self._model.__dict__.pop("forward", None)

    @contextmanager
    def filled(self, model: nn.Module) -> Iterator[Any]:
        """The copy, with the weights that `model` has now; all processes must come here together."""
        whole: dict[int, nn.Parameter] = {}
        weights = dict(model.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            for weight in weights.values():
                if id(weight) not in whole:
                    value = weight.detach().to(self._dtype)
                    whole[id(weight)] = _frozen(value.full_tensor() if isinstance(value, DTensor) else value)
        self._put({name: whole[id(weight)] for name, weight in weights.items()})
        try:
            yield self._model
        finally:
            self._put({name: _frozen(torch.empty_like(whole[id(w)], device="meta")) for name, w in weights.items()})

    def _put(self, weights: dict[str, nn.Parameter]) -> None:
        for name, weight in weights.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self._model.get_submodule(owner), leaf, weight)


def whole_state(model: Any) -> dict[str, Tensor] | None:
    """All weights of a sharded model, on the CPU of the main process; None where the model holds them itself.

    All processes must come here together; the others get an empty dictionary.
    """
    if not is_sharded(model):
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    state: dict[str, Any] = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    first: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        # One tensor for tied weights again, so that it is written once.
        if first.setdefault(id(weight), name) != name and name in state:
            state[name] = state[first[id(weight)]]
    return state


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
