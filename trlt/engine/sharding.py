"""Several processes that train one model: how they find each other, and how its weights are sharded and gathered.

Under FSDP2 and ZeRO-3 each process holds a slice of every weight, and each layer's call gathers it: all processes must call
the same layers equally often. Decoding can't promise that, since completions differ in length. So the weights are gathered
once before it, into a copy of the model that knows nothing of slices, and decoding needs no exchange at all. The price is
memory while it lasts: one number per weight in the compute precision, 16.6 GB for 7B in BF16.

Accelerate is imported where several processes meet: a forward pass and the engine do without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled, unset_hf_deepspeed_config

from trlt.engine.families import family_of
from trlt.errors import RecipeError

T = TypeVar("T")
PATIENCE = timedelta(hours=6)
"""How long a process waits for the others, which may have longer completions or a series of broken videos."""


def join(device: str) -> int:
    """Joins the processes that a launcher started with this one.

    Args:
        device: `model.device` of the recipe.

    Returns:
        How many there are; 1 without a launcher.
    """
    from accelerate import PartialState

    # Each process reads its own slices (`trlt.train.sharded_loading`): Transformers and Accelerate have nothing to hand out.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    cpu = device == "cpu" or not torch.cuda.is_available()
    if cpu:
        # DeepSpeed reads this when it is imported.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # The first `PartialState` of a process fixes device and timeout for all later ones, the trainer's too.
    processes = int(PartialState(cpu=cpu, timeout=PATIENCE).num_processes)
    if cpu and processes > 1 and _asked("DEEPSPEED"):  # on GPUs, Accelerate does it
        import_module("deepspeed").init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    return processes


def gathered(value: T) -> list[T]:
    """What each of the processes joined by `join` has given, on all of them; `value` can be pickled."""
    from accelerate.utils import gather_object

    return list(gather_object([value]))


def leave() -> None:
    """Leaves the processes joined by `join`, once all have reached this point; not for one that ends in an error.

    A thread of Gloo that still holds a tensor while the interpreter ends aborts the process ("terminate called without an
    active exception"), after its work is done: the threads must end first.
    """
    from accelerate import PartialState

    if torch.distributed.is_initialized():
        PartialState().wait_for_everyone()
        torch.distributed.destroy_process_group()


def allow_sharding_on_cpu() -> None:
    """Lets Accelerate 1.15 use FSDP and DeepSpeed on the CPU; by itself it ignores requests for either there."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    if PartialState().distributed_type != DistributedType.MULTI_CPU:
        return
    # Accelerate turns MULTI_GPU into FSDP where FSDP is asked for, and never looks at MULTI_CPU.
    for name, kind in (("FSDP", DistributedType.MULTI_GPU), ("DEEPSPEED", DistributedType.DEEPSPEED)):
        if _asked(name):
            PartialState._shared_state["distributed_type"] = kind


def _asked(name: str) -> bool:
    """Whether a launcher, or the recipe, wants Accelerate to use FSDP or DEEPSPEED."""
    return os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"


def is_main() -> bool:
    """Whether this is the process that writes shared files."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def is_sharded(model: Any) -> bool:
    """Whether each process holds only a slice of the weights, by FSDP2 or ZeRO-3."""
    return any(isinstance(weight, DTensor) or _is_zero3(weight) for weight in model.parameters())


def by_fsdp() -> bool:
    """Whether FSDP was requested."""
    return _asked("FSDP")


def by_deepspeed() -> bool:
    """Whether DeepSpeed was requested, in any stage."""
    return _asked("DEEPSPEED")


def shard(model: nn.Module, computed: torch.dtype) -> None:
    """Cuts the weights of a model into slices by FSDP2, layer by layer, as Accelerate's settings say.

    Args:
        model: A model without weights, which stays on the meta device; its buffers go to the device.
        computed: Precision that a layer's weights are gathered in; gradients are added up in float32.

    Raises:
        RecipeError: the launcher asks for FSDP's first version, or for layers that the model hasn't.
    """
    from accelerate import FullyShardedDataParallelPlugin, PartialState
    from accelerate.utils import fsdp2_prepare_model

    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise RecipeError(
            f"FSDP_VERSION={plugin.fsdp_version}: trlt shares weights by FSDP2 alone; set fsdp_version: 2 in Accelerate's file"
        )
    # Accelerate's own policy for BF16 rounds what the model returns, log-probabilities too, and adds up gradients in BF16.
    plugin.mixed_precision_policy = gathered_in(computed)
    plugin.transformer_cls_names_to_wrap = _wrapped(model, plugin.transformer_cls_names_to_wrap)
    # What the function reads of an Accelerator, of which there is none before the trainer's.
    state = SimpleNamespace(fsdp_plugin=plugin)
    # mixed_precision "no", although a pass may compute in BF16: otherwise Accelerate casts trained weights to float32 here.
    fsdp2_prepare_model(
        SimpleNamespace(state=state, device=PartialState().device, is_main_process=is_main(), mixed_precision="no"), model
    )


def _wrapped(model: nn.Module, asked: list[str] | None) -> list[str]:
    """Classes of the modules that are gathered one at a time: those that a launcher names, else the family's."""
    own = family_of(model).blocks
    there = {type(module).__name__ for module in model.modules()}
    if odd := [name for name in asked or () if name not in there]:
        raise RecipeError(
            f"FSDP_TRANSFORMER_CLS_TO_WRAP: the model has no layer of class {odd[0]}; name {','.join(own)} in Accelerate's "
            "file (fsdp_transformer_layer_cls_to_wrap), or leave it out there"
        )
    return asked or list(own)


def gathered_in(computed: torch.dtype) -> MixedPrecisionPolicy | None:
    """FSDP's policy: weights gathered in `computed`, gradients added up in float32, outputs left as they are."""
    if computed == torch.float32:
        return None
    return MixedPrecisionPolicy(param_dtype=computed, reduce_dtype=torch.float32)


def let_go(model: nn.Module) -> None:
    """Frees what a forward pass of an FSDP2 model keeps for a backward pass; without one it would stay allocated."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def own_slice(whole: Any, weight: Tensor) -> Any:
    """This process's rows of a whole tensor, which may be a file's, as its slice of a weight has them."""
    if not isinstance(weight, DTensor):
        return whole[:]
    # As DTensor cuts: equal parts, the last of which are shorter or empty where rows don't suffice.
    rows = -(-weight.shape[0] // weight.device_mesh.size())
    start = rows * weight.device_mesh.get_local_rank()
    return whole[start : start + len(weight.to_local())]


def with_slice(weight: Tensor, own: Tensor) -> nn.Parameter:
    """The weight with this process's slice (or, where it isn't shared, all) of its values."""
    value = own
    if isinstance(weight, DTensor):
        # Without a check, which would exchange shapes: no process waits for another while it reads.
        # The whole shape is given, as it can't be told from slices of different lengths.
        value = DTensor.from_local(
            own, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
        )
    return nn.Parameter(value, requires_grad=weight.requires_grad)


@contextmanager
def in_zero3_slices(bf16: bool) -> Iterator[bool]:
    """With ZeRO-3, makes Transformers shard each weight while loading; yields whether it does."""
    if not by_deepspeed():
        yield False
        return
    from accelerate import DeepSpeedPlugin

    plugin = DeepSpeedPlugin()
    plugin.set_mixed_precision("bf16" if bf16 else "no")
    # Transformers keeps only a weak reference to the settings: `plugin` has to
    # live until the model is loaded, which this generator's frame sees to.
    plugin.set_deepspeed_weakref()
    try:
        yield bool(is_deepspeed_zero3_enabled())  # type: ignore[no-untyped-call]
    finally:
        forget_deepspeed()


def forget_deepspeed() -> None:
    """Models loaded from now on aren't sharded; else Transformers would shard each one over all processes."""
    unset_hf_deepspeed_config()  # type: ignore[no-untyped-call]


def most_calls(layer: nn.Module, calls: int) -> int:
    """Number of calls of a layer in a pass, so that all processes call it equally often.

    If a layer's weights are sharded, each call may gather them, and each backward pass through a call reduces gradients over
    all processes.

    Args:
        layer: One that is gathered by itself; all processes must come here together then.
        calls: As often as this process has to.

    Returns:
        The most of all processes where the layer is gathered by itself, else `calls`.
    """
    if not isinstance(layer, FSDPModule) and not any(map(_is_zero3, layer.parameters())):
        return calls
    from accelerate import PartialState

    most = torch.tensor(calls, device=PartialState().device)
    # With unequal numbers of calls, FSDP2 ended with a transport error and ZeRO-3 hung.
    torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
    return int(most)


class WholeCopy:
    """A model of the same shape without weights, which borrows those of a sharded model for a while.

    Args:
        model: On the meta device.
        dtype: Precision of the borrowed weights.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.model = model
        self._dtype = dtype

    @contextmanager
    def filled(self, model: nn.Module) -> Iterator[Any]:
        """The copy, with the weights that `model` has now; all processes must come here together."""
        whole: dict[int, nn.Parameter] = {}
        # Into a copy: unsharding in place takes the same memory, and depends on
        # private state of FSDP and on which module is called first.
        weights = dict(model.named_parameters(remove_duplicate=False))
        with torch.no_grad():
            # Every process gathers in the same order, and tied weights once: each gathering is an exchange.
            for weight in weights.values():
                if id(weight) not in whole:
                    whole[id(weight)] = _frozen(_whole(weight, self._dtype))
        self._put({name: whole[id(weight)] for name, weight in weights.items()})
        try:
            yield self.model
        finally:
            # Freed also when drawing has failed: for 7B in BF16 the copy takes 16.6 GB.
            self._put({name: _frozen(torch.empty_like(whole[id(w)], device="meta")) for name, w in weights.items()})

    def strays(self, model: nn.Module) -> list[str]:
        """Weights whose slice in this process differs from the filled copy in any bit; needs no other process.

        Under FSDP2 alone: ZeRO-3 keeps its slices to itself.
        """
        found = []
        for name, weight in model.named_parameters(remove_duplicate=False):
            if isinstance(weight, DTensor):
                whole = self.model.get_parameter(name).detach()
                if not torch.equal(own_slice(whole, weight), weight.to_local().detach().to(self._dtype)):
                    found.append(name)
        return found

    def _put(self, weights: dict[str, nn.Parameter]) -> None:
        for name, weight in weights.items():
            owner, _, leaf = name.rpartition(".")
            # Replaced, not filled: a weight on the meta device has no memory to copy into.
            setattr(self.model.get_submodule(owner), leaf, weight)


def whole_state(model: Any) -> dict[str, Tensor] | None:
    """All weights of a sharded model, on the CPU of the main process; None where the model holds them itself.

    All processes must come here together; the others get an empty dictionary.
    """
    if not is_sharded(model):
        return None
    weights = dict(model.named_parameters(remove_duplicate=False))
    state = _whole_state_zero3(weights) if any(map(_is_zero3, weights.values())) else _whole_state_fsdp2(model)
    first: dict[int, str] = {}
    for name, weight in weights.items():
        # One tensor for tied weights again, so that it is written once.
        if first.setdefault(id(weight), name) != name and name in state:
            state[name] = state[first[id(weight)]]
    return state


def _whole_state_fsdp2(model: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def _whole_state_zero3(weights: dict[str, nn.Parameter]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for name, weight in weights.items():
        # All processes gather, one keeps: weight by weight, so that the others never hold more than one whole weight.
        value = _whole(weight, weight.dtype)
        if is_main():
            state[name] = value.cpu()
    return state


def _is_zero3(weight: Tensor) -> bool:
    """Whether DeepSpeed has taken a slice of a weight and emptied the rest."""
    return hasattr(weight, "ds_id")


def _whole(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The whole value of a weight; all processes must come here together."""
    if _is_zero3(weight):
        # Not at the top: DeepSpeed is an extra.
        # A copy, because the gathered values are given up when the context ends.
        with import_module("deepspeed").zero.GatheredParameters([weight]):
            return weight.detach().to(dtype, copy=True)
    # Rounded before it is gathered: half the bytes travel, and the copy holds the very numbers that a pass gathers.
    value = weight.detach().to(dtype)
    return value.full_tensor() if isinstance(value, DTensor) else value


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
