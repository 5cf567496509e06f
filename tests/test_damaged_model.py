"""A model folder with a fault: an error that names the file, before the model is used."""

from __future__ import annotations

import json
import shutil

import pytest

from trlt.errors import ModelError
from trlt.model import load
from trlt.recipe import Model


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4096])


def widen(folder):
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))


FAULTS = {
    "cut": (cut, r"model.safetensors is damaged or was cut off; download it again"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "no header": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x05" + bytes(30)),
        "model.safetensors is damaged",
    ),
    "index": (lambda folder: (folder / "model.safetensors.index.json").write_text("[]"), "index.json doesn't say which file"),
    "shard": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}'),
        "model-2.safetensors is missing; download the model again",
    ),
    "sizes": (widen, "its weights don't have the sizes that its config.json states"),
    "tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
        "holds no tokenizer|processor can't be",
    ),
    "words": (lambda folder: (folder / "tokenizer.json").write_text("{"), "processor can't be loaded"),
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
