"""The policy's weights on their way to vLLM: whole, with adapters added, in the precision it computes in, by files in memory.

Files because the other process may have another torch: handles of GPU memory and pickles don't promise to be read there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors.torch import save_file
from torch import Tensor

from trlt.engine.families import family_of
from trlt.engine.model.adapter import adapted, plain
from trlt.engine.vllm.together import together
from trlt.errors import ModelError
from trlt.recipe import advice

MEMORY = Path("/dev/shm")
"""Files here take memory and no disk; where there is none, or too little, the folder of temporary files serves."""
FILE_BYTES = 2 * 10**9
"""Weights of one file, and so what is held twice while it is written."""


@torch.no_grad()
def whole_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Each weight under its published name and in its published layout, once; adapters are added to theirs.

    Args:
        model: Of any family, whose layers may have PEFT's adapters; no slices. It stays as it is.
    """
    family = family_of(model)
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            continue
        value = weight.detach()
        for layer in _around(model, name):
            # Not merged in place: taken out again, a base in BF16 wouldn't be what it was.
            value = sum((layer.get_delta_weight(one).float() for one in layer.active_adapters), value.float())
        yield plain(name), family.as_published(plain(name), value)


def _around(model: Any, name: str) -> Iterator[Any]:
    """Layers of PEFT that add to a parameter, by its name in the model."""
    owner, _, leaf = name.rpartition(".")
    while owner.endswith(".base_layer"):
        owner = owner.removesuffix(".base_layer")
        layer = model.get_submodule(owner)
        if adapted(layer) == leaf:
            yield layer


def write_weights(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """Writes `whole_weights` as safetensors files of at most about `FILE_BYTES`."""
    held: dict[str, Tensor] = {}
    count = size = 0
    for name, value in whole_weights(model):
        held[name] = value.to(dtype).cpu().contiguous()
        size += held[name].nbytes
        if size >= FILE_BYTES:
            save_file(held, folder / f"{count:04d}.safetensors")
            held, count, size = {}, count + 1, 0
    if held:
        save_file(held, folder / f"{count:04d}.safetensors")


def hand_over(model: Any, dtype: torch.dtype, load: Callable[[Path], None]) -> None:
    """Gives weights to the vLLM processes of all training processes, which must come here together.

    One process of a machine writes them, all have them loaded, and the files go.

    Args:
        model: The same in every process.
        dtype: What vLLM computes in.
        load: Has this process's vLLM load a folder.

    Raises:
        ModelError: no place has room for the files.
        TrltError: writing or loading has failed in one of the processes.
    """
    state = PartialState()
    size = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize
    chosen = [_new_folder(size) if state.is_main_process else None]
    # None is broadcast, too: then all processes end with the same error, and none waits for the others.
    broadcast_object_list(chosen)
    if chosen[0] is None:
        raise ModelError(
            f"weights go to vLLM as files, and neither {MEMORY} nor {tempfile.gettempdir()} has {size / 1e9:.1f} GB free; "
            f"make room, name another folder as TMPDIR, or {advice('take train.rollouts: engine')}"
        )
    folder = Path(chosen[0])
    try:
        with together():
            if state.is_local_main_process:
                # The main process has made it on its own machine alone.
                folder.mkdir(mode=0o700, exist_ok=True)
                write_weights(model, folder, dtype)
        # Nobody loads before all files are written, and none is removed before all have loaded, or one has failed to.
        with together():
            load(folder)
    finally:
        if state.is_local_main_process:
            # Also after an error: what lies there takes memory.
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(size: int) -> str | None:
    """A new folder with room for so many bytes."""
    for place in (MEMORY, Path(tempfile.gettempdir())):
        if place.is_dir() and shutil.disk_usage(place).free > 1.05 * size:
            return tempfile.mkdtemp(prefix="trlt-weights-", dir=place)
    return None
