"""One of several processes that load a model in slices: `python loaded_slices.py FOLDER DTYPE LORA_RANK OUT`.

Writes what differs from the model as Transformers loads it, what this process holds, and saves a policy without adapters again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from trlt.engine.model import family_at, load, save, with_adapters
from trlt.engine.sharding import is_main, let_go
from trlt.recipe import load_recipe
from trlt.train.sharded_loading import load_policy, load_reference


def compare(ours: Any, theirs: Any) -> list[str]:
    """Names of weights and buffers that differ, that one side alone has, or whose settings differ."""
    faults = [str(set(dict(ours.named_modules())) ^ set(dict(theirs.named_modules())) or "")]
    for kind in ("named_parameters", "named_buffers"):
        mine, its = (dict(getattr(side, kind)(remove_duplicate=False)) for side in (ours, theirs))
        faults += sorted(mine.keys() ^ its.keys())
        for name in sorted(mine.keys() & its.keys()):  # equally ordered in all processes
            value = mine[name].full_tensor() if isinstance(mine[name], DTensor) else mine[name]
            same = value.dtype == its[name].dtype and torch.equal(value, its[name])
            if not same or mine[name].requires_grad != its[name].requires_grad:
                faults.append(name)
    tied = [side.get_input_embeddings().weight is side.get_output_embeddings().weight for side in (ours, theirs)]
    return [fault for fault in faults if fault] + (["tied"] if tied[0] != tied[1] else [])


def held(model: Any) -> int:
    """Bytes of weights that this process holds; each storage counts once."""
    weights = [w.to_local() if isinstance(w, DTensor) else w for w in model.parameters()]
    return sum({w.untyped_storage().data_ptr(): w.untyped_storage().nbytes() for w in weights}.values())


def high_water() -> int:
    """Most bytes of memory that this process has had."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main(folder: str, dtype: str, rank: str, out: str) -> None:
    sets = [f"model.path={folder}", f"model.dtype={dtype}", "model.device=cpu"]
    recipe = load_recipe(None, sets=[*sets, *([f"train.lora={{rank: {rank}}}"] if int(rank) else [])])
    computed = getattr(torch, dtype)
    family_at(folder).classes()  # imported now, or they would count as taken
    before = high_water()
    loaded = load_policy(recipe.model, recipe)
    taken = high_water() - before
    if not int(rank):
        save(loaded.model, loaded.processor, Path(out).with_suffix(".saved"))
    reference = load_reference(folder, computed)
    whole = load(recipe.model.model_copy(update={"dtype": dtype if int(rank) else "float32"}))
    adapted = with_adapters(whole.model, recipe.train.lora, recipe.train.seed)
    found: dict[str, Any] = {"policy": compare(loaded.trained, adapted), "held": held(loaded.trained), "taken": taken}
    found |= {"whole": held(adapted), "reference held": held(reference)}
    for weight in whole.model.requires_grad_(False).parameters():
        weight.data = weight.data.to(computed)
    with loaded.whole.filled(loaded.model) as copy:
        found["copy"] = compare(copy, whole.model)
    plain = load(recipe.model).model.requires_grad_(False)
    found |= {"reference": compare(reference, plain), "reference whole": held(plain)}
    with torch.no_grad():
        reference(input_ids=torch.tensor([[1, 2, 3]]))
    gathered = [name for name, weight in reference.named_parameters() if not isinstance(weight, DTensor)]
    let_go(reference)
    found["left"] = [bool(gathered), *(n for n, weight in reference.named_parameters() if not isinstance(weight, DTensor))]
    found["settings"] = [
        name
        for name in ("config", "generation_config")
        if getattr(loaded.model, name).to_dict() != getattr(whole.model, name).to_dict()
    ]
    Path(f"{out}{'' if is_main() else '.other'}").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
