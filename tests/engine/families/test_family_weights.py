"""Each family's weights under the names and in the layout that they are published with, and back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trlt.engine.families import Family
from trlt.engine.model import load, match, published_family, save
from trlt.engine.model.tensors import blank
from trlt.errors import ModelError
from trlt.recipe import Model
from trlt.train.sharded_loading import fill, find_sources, skeleton

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
EXPERTS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")


def as_on_the_hub(family: Family, name: str, value: Tensor) -> tuple[str, Tensor]:
    """Name and layout of a module's weight in the files of the family's makers.

    Qwen2-VL and Qwen2.5-VL: `model.` and `visual.` side by side. Qwen3-VL-30B-A3B: (128, 2048, 1536) and (128, 768, 2048),
    where the library holds (128, 1536, 2048) and (128, 2048, 768).
    """
    if family.model_types[0] in ("qwen2_vl", "qwen2_5_vl"):
        name = name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
    if name.endswith(EXPERTS):
        value = value.permute(0, 2, 1)
    return name, value.contiguous()


@pytest.fixture
def hub(family: Family, family_path: Any, tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    """A folder of the family as published, and the weights of its model by their modules."""
    from trlt.engine.model import load_processor
    from trlt.lab.miniature.tiny import CHAT_TEMPLATE

    folder = shutil.copytree(family_path(family), tmp_path / "hub")
    model, _ = family.tiny(load_processor(str(folder)).tokenizer, CHAT_TEMPLATE, seed=7)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    stored = dict(as_on_the_hub(family, name, value) for name, value in weights.items())
    for start in family.unloaded:
        stored[f"{start}layers.0.mlp.up_proj.weight"] = torch.ones(3, 2)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder, weights


def equal(one: Any, weights: dict[str, Tensor]) -> list[str]:
    """Names of weights that differ; a model has all of them."""
    mine = dict(one.named_parameters())
    return [name for name in mine.keys() | weights.keys() if not torch.equal(mine[name], weights[name])]


def test_a_published_folder_is_loaded_whole_and_in_slices(hub, family):
    folder, weights = hub
    loaded = load(Model(path=str(folder), dtype="float32", device="cpu")).model
    assert not equal(loaded, weights)
    model = skeleton(str(folder), torch.float32, "cpu")
    sources = find_sources(model, str(folder))
    published = set(load_file(folder / "model.safetensors"))
    assert {source.key for source in sources} == {name for name in published if not name.startswith(family.unloaded)}
    fill(sources, torch.device("cpu"))
    assert not equal(model, weights)
    assert all(weight.is_contiguous() for weight in model.parameters()), "products of other layouts round otherwise"
    assert model.get_input_embeddings().weight is model.lm_head.weight, "tied"


def test_what_is_saved_is_laid_out_as_published(hub, family, tmp_path):
    folder, weights = hub
    loaded = load(Model(path=str(folder), dtype="float32", device="cpu"))
    before = load_file(folder / "model.safetensors")
    for how, write in (
        ("a run's model", lambda to: save(loaded.model, loaded.processor, to)),
        ("a checkpoint", lambda to: loaded.model.save_pretrained(to, state_dict=loaded.model.state_dict())),
    ):
        write(tmp_path / how)
        after = load_file(tmp_path / how / "model.safetensors")
        assert after.keys() == {name for name in before if not name.startswith(family.unloaded)}, how
        assert all(torch.equal(before[name], value) for name, value in after.items()), how
    assert not equal(load(Model(path=str(tmp_path / "a run's model"), dtype="float32", device="cpu")).model, weights)


def test_a_folder_that_transformers_has_saved_is_loaded_too(hub):
    """In the library's own names and layout."""
    folder, weights = hub
    kept = {name: value.contiguous() for name, value in weights.items()}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert not equal(load(Model(path=str(folder), dtype="float32", device="cpu")).model, weights)


def test_tensors_that_do_not_belong_are_named(hub):
    folder, _ = hub
    held = load_file(folder / "model.safetensors")
    save_file(held | {"mtp_head.weight": torch.ones(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="holds 1 tensors too many: mtp_head.weight"):
        match(blank(folder), folder)
    odd = next(name for name in sorted(held) if name.endswith("down_proj.weight") or name.endswith("experts.down_proj"))
    shape = held[odd].shape
    held[odd] = torch.ones(*shape[:-1], shape[-1] + 1)
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"{odd} has shape .* is expected by config.json \(1 such tensors\)"):
        match(blank(folder), folder)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL"),
        ("Qwen/Qwen3-VL-8B-Thinking", "Qwen3-VL"),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", "Qwen3-VL-MoE"),
        ("Qwen/Qwen3-VL-235B-A22B-Thinking", "Qwen3-VL-MoE"),
        ("Qwen/Qwen3-30B-A3B", None),
    ],
)
def test_families_go_by_their_published_names(name, known):
    found = published_family(name)
    assert (found and found.name) == known


def test_a_frozen_tower_is_all_but_the_language_model(loaded):
    """With the mergers of DeepStack."""
    loaded.model.model.visual.requires_grad_(False)
    trained = {name: weight.requires_grad for name, weight in loaded.model.named_parameters()}
    assert trained == {name: not name.startswith("model.visual.") for name in trained}
    assert {name.split(".")[1] for name in trained if name.startswith("model.")} == {"visual", "language_model"}


def test_four_bits_hold_the_language_models_linear_layers(family, family_path):
    if family.experts:
        pytest.skip("refused: see test_adapters.py")
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = load(Model(path=str(family_path(family)), dtype="float32", device="cpu"), quantize="nf4").model
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    held = {name for name, module in linear.items() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    assert held == {name for name in linear if name.startswith("model.language_model.")}
    layers = family.attention_layers + family.mlp_layers
    # In Qwen3.5, two numbers a head are computed by layers that get no adapters.
    assert {name.rpartition(".")[2] for name in held} - {"in_proj_a", "in_proj_b"} == set(layers)
    with torch.no_grad():
        assert model(input_ids=torch.arange(20)[None] + 5).logits.isfinite().all()
