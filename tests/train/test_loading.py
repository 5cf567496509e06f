"""Models that are loaded in slices, or tensor by tensor, are those that Transformers loads."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from paths import TESTS
from safetensors.torch import load_file, save_file

from trlt.commands.launch.train_processes import launch_together
from trlt.engine.families import family_named
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load, with_adapters
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.errors import ModelError
from trlt.recipe import Lora, Model
from trlt.train.sharded_loading import find_sources, load_reference, skeleton

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def in_two(folder: Path, dtype: str, rank: int, out: Path) -> list[dict]:
    """What each of two processes finds; see `loaded_slices`."""
    script = TESTS / "loaded_slices.py"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}.items():
            patch.setenv(name, value)
        launch_together([sys.executable, str(script), str(folder), dtype, str(rank), str(out)], 2, "fsdp2")
    return [json.loads(Path(f"{out}{end}").read_text()) for end in ("", ".other")]


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, under the names that they have there."""
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "rank", "dtype"), [("3b", 0, "bfloat16"), ("7b", 0, "float32"), ("3b", 3, "float32"), ("7b", 1, "bfloat16")]
)
def test_slices_hold_what_the_library_loads(published, tmp_path, kind, rank, dtype):
    """Rank 1 leaves one of the two processes without a row of any A; 3 can't be halved."""
    folder = published(kind, "bfloat16")
    both = in_two(folder, dtype, rank, tmp_path / "found")
    for found in both:
        assert found["left"] == [True], "what a pass left gathered is let go"
        assert not found["policy"] and not found["copy"] and not found["reference"] and not found["settings"]
    for part in ("", "reference "):
        shares = [found[f"{part}held"] for found in both]
        whole = both[0][f"{part}whole"]
        assert whole <= sum(shares) < 1.001 * whole and max(shares) < 0.501 * whole
    if not rank:  # its slices, the pages of the files that they were read from, and one tensor on its way
        assert max(found["taken"] for found in both) < 0.8 * both[0]["whole"]
        published_, saved = stored(folder), stored(tmp_path / "found.saved")
        assert published_.keys() == saved.keys() and ("lm_head.weight" in saved) is (kind == "7b")
        assert all(torch.equal(value.float(), saved[name]) for name, value in published_.items())


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "rank"), [("qwen3_vl_moe", 0), ("qwen3_vl_moe", 3), ("qwen3_5", 0)])
def test_slices_of_other_families_hold_what_the_library_loads(family_path, tmp_path, model_type, rank):
    """Eight experts are halved, and lie the other way round in the file; of rank 3, each has adapters of its own."""
    folder = family_path(family_named(model_type))
    both = in_two(folder, "bfloat16", rank, tmp_path / "found")
    for found in both:
        assert found["left"] == [True] and max(found["held"] for found in both) < 0.6 * found["whole"]
        assert not found["policy"] and not found["copy"] and not found["reference"] and not found["settings"]
    if not rank:
        published_, saved = stored(folder), stored(tmp_path / "found.saved")
        assert published_.keys() == saved.keys() and all(torch.equal(value, saved[name]) for name, value in published_.items())


def test_weights_that_are_missing_are_named(tiny_path, tmp_path):
    """Transformers would draw them, and warn."""
    folder = shutil.copytree(tiny_path, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.input_layernorm.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"lacks 1 tensors of the model: model.language_model.layers.0.input_layernorm.weight"):
        find_sources(skeleton(str(folder), torch.float32, "cpu"), str(folder))


@pytest.mark.parametrize("kind", ["3b", "7b"])
def test_a_rounded_reference_gives_the_very_log_probabilities_of_the_policy(published, noise_clip, kind):
    """Autocast rounds the weights of linear layers and convolutions, and no others: so may the reference, without a trace."""
    path = str(published(kind, "float32"))
    loaded, reference = load(Model(path=path, dtype="float32", device="cpu")), load_reference(path, torch.bfloat16)
    builder = InputBuilder(loaded.model, loaded.processor)
    clip = builder.clip(noise_clip(frames=4))
    prompt = builder.prompt("", "Question: what moves left", clip)
    ids = torch.randint(20, 150_000, (2, 16), generator=torch.Generator().manual_seed(0)).tolist()
    batch = collate([Group(clip, prompt, tuple(map(tuple, ids)))])
    logps = []
    for model in (loaded.model, reference):
        attach(model)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logps.append(model(tree=batch).logps)
    assert torch.equal(*logps) and logps[0].std() > 1
    assert not any(weight.requires_grad for weight in reference.parameters())
    kinds = {name: weight.dtype for name, weight in reference.named_parameters()}
    half = {name for name, dtype in kinds.items() if dtype == torch.bfloat16}
    assert half == {name for name in kinds if "norm" not in name and "ln_q" not in name and "embed_tokens" not in name}


def test_a_reference_in_float32_is_the_model(tiny_path, tiny):
    reference = load_reference(str(tiny_path), torch.float32)
    ours, theirs = reference.state_dict(), tiny.model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert reference.lm_head.weight is reference.get_input_embeddings().weight


def test_adapters_begin_by_the_seed_alone(tiny_path):
    """In whatever order they are asked for; A within He et al.'s bound 1 / sqrt(in), B 0."""
    found = []
    for seed in (1, 1, 2):
        torch.rand(7)
        model = with_adapters(load(Model(path=str(tiny_path), dtype="float32", device="cpu")).model, Lora(rank=4), seed)
        found.append({name: w.detach() for name, w in model.named_parameters() if "lora_" in name})
    same, again, other = found
    for name, value in same.items():
        assert torch.equal(value, again[name])
        if ".lora_A." in name:
            bound = value.shape[1] ** -0.5
            assert not torch.equal(value, other[name]) and 0.8 * bound < float(value.abs().max()) <= bound
        else:
            assert not value.any()
