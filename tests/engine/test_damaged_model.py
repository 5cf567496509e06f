"""A model folder with a fault: an error that names the file, before the model is used."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from trlt.engine.model import load, locate
from trlt.errors import ModelError
from trlt.recipe import Model
from trlt.train.sharded_loading import load_reference


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4096])


def widen(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))


def tensors(change):
    """Changes what is stored, by name."""

    def go(folder):
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", {"format": "pt"})

    return go


NORM = "model.layers.0.input_layernorm.weight"
FAULTS = {
    "missing": (tensors(lambda held: held.pop(NORM)), r"lacks 1 tensors of the model: model.language_model.layers.0.input_"),
    "unexpected": (tensors(lambda held: held.update(stray=torch.ones(2))), "holds 1 tensors too many: stray"),
    "nan": (tensors(lambda held: held[NORM].__setitem__(3, float("nan"))), r"in 1 tensors: model.language_model.layers.0.in"),
    "infinite": (tensors(lambda held: held[NORM].__setitem__(3, -float("inf"))), "NaN or infinite numbers in 1 tensors"),
    "pickle": (
        lambda folder: (folder / "model.safetensors.index.json").write_text(
            '{"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}}'
        ),
        "names 'pytorch_model.bin'; only",
    ),
    "elsewhere": (
        lambda folder: (folder / "model.safetensors.index.json").write_text(
            '{"metadata": {}, "weight_map": {"a": "../a.safetensors"}}'
        ),
        "names '../a.safetensors'; only",
    ),
    "template": (lambda folder: (folder / "chat_template.jinja").unlink(), "holds no chat template"),
    "cut": (cut, r"model.safetensors is damaged or was cut off; download it again"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "no header": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x05" + bytes(30)),
        "model.safetensors is damaged",
    ),
    "index": (lambda folder: (folder / "model.safetensors.index.json").write_text("[]"), "index.json doesn't say which file"),
    "shard": (
        lambda folder: [
            (folder / "model.safetensors.index.json").write_text(
                '{"metadata": {}, "weight_map": {"a": "model-2.safetensors"}}'
            ),
            (folder / "model.safetensors").rename(folder / "model-1.safetensors"),
        ],
        "model-2.safetensors is missing; download the model again",
    ),
    "two models": (
        lambda folder: (folder / "model.safetensors.index.json").write_text(
            '{"metadata": {}, "weight_map": {"a": "model-2.safetensors"}}'
        ),
        "holds model.safetensors, and model.safetensors.index.json that names other files",
    ),
    "sizes": (
        widen,
        r"model.safetensors: model.layers.0.mlp.down_proj.weight has shape \(128, 384\), and \(128, 768\) is expected by "
        r"config.json \(12 such tensors\)",
    ),
    "tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
        "holds no tokenizer|processor can't be",
    ),
    "words": (lambda folder: (folder / "tokenizer.json").write_text("{"), r"tokenizer.json: not JSON"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_folder_is_named(tiny_path, tmp_path, fault):
    folder = tmp_path / "model"
    shutil.copytree(tiny_path, folder)
    change, message = FAULTS[fault]
    change(folder)
    with pytest.raises(ModelError, match=message) as raised:
        load(Model(path=str(folder), dtype="float32", device="cpu"))
    assert str(folder) in str(raised.value)


def test_a_published_folder_without_its_tokenizer(published, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(published("3b", "bfloat16"), folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load(Model(path=str(folder), dtype="bfloat16", device="cpu"))


def test_values_in_slices_are_looked_at_too(tiny_path, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_path, folder)
    FAULTS["nan"][0](folder)
    with pytest.raises(ModelError, match=f"NaN or infinite numbers in 1 tensors: {NORM}"):
        load_reference(str(folder), torch.float32)
    FAULTS["unexpected"][0](folder)
    with pytest.raises(ModelError, match="holds 1 tensors too many: stray"):
        load_reference(str(folder), torch.float32)


def test_the_folder_of_a_run_stands_for_its_model(tiny_path, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ModelError, match="is a run that has no model yet"):
        locate(str(tmp_path))
    shutil.copytree(tiny_path, tmp_path / "model")
    assert locate(str(tmp_path)) == str(tmp_path / "model")
