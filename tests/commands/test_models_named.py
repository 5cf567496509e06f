"""What `--model` takes: an adapter's folder, a run's, and a hub id in the cache; from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_clips import write_clip
from safetensors.torch import load_file, save_file

from trlt.engine.model import find, load, locate, resolve
from trlt.errors import ModelError
from trlt.recipe import Lora, Model
from trlt.rollout import model_identity
from trlt.train.sharded_loading import load_reference, skeleton

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")

FAST = ["--set", "model.dtype=float32", "--set", "model.device=cpu", "--set", "video.workers=0", "--set", "video.max_tokens=32"]


@pytest.fixture(scope="module")
def made(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base`, an adapter of it, `adapter`, and one on top of that, `second`."""
    from peft import LoraConfig, get_peft_model

    root = tmp_path_factory.mktemp("named")
    write_clip(root / "clip.mp4", 2, 0)
    shutil.copytree(tiny_path, root / "base")
    for seed, (name, base, layers) in enumerate((("adapter", "../base", "q_proj|up_proj"), ("second", "../adapter", "q_proj"))):
        torch.manual_seed(seed)
        model = load(Model(path=str(tiny_path), dtype="float32", device="cpu")).model
        config = LoraConfig(
            r=4, lora_alpha=8, target_modules=rf".*language_model\..*\.({layers})", init_lora_weights=False, use_dora=seed == 1
        )
        get_peft_model(model, config).save_pretrained(root / name)
        change(root / name, base_model_name_or_path=base)
    return root


def change(adapter: Path, **fields: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def by_peft(*adapters: Path, base: Path) -> dict[str, torch.Tensor]:
    """The sum as the library takes it, in float32."""
    from peft import PeftModel

    model = load(Model(path=str(base), dtype="float32", device="cpu")).model
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    return {name: value.clone() for name, value in model.named_parameters()}


def same(model: Any, wanted: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, wanted[name]) for name, value in model.named_parameters())


def test_an_adapter_is_added_as_peft_adds_it(made):
    base = by_peft(base=made / "base")
    for names in (("adapter",), ("adapter", "second")):
        wanted = by_peft(*(made / name for name in names), base=made / "base")
        path = str(made / names[-1])
        assert same(load(Model(path=path, dtype="float32", device="cpu")).model, wanted)
        assert same(load_reference(path, torch.float32), wanted), "read tensor by tensor"
        assert sum(not torch.equal(wanted[name], base[name]) for name in base) == 8


def test_commands_answer_by_an_adapter_as_by_the_merged_model(trlt, made, tmp_path):
    ask = ["infer", made / "clip.mp4", "a circle moves", *FAST, "--json"]
    trlt("train", "merge", made / "second", "--out", tmp_path / "merged")
    said = {name: trlt(*ask, "--model", path) for name, path in (("a", made / "second"), ("m", "merged"), ("b", made / "base"))}
    assert said["a"]["text"] == said["m"]["text"] != said["b"]["text"]
    wanted = by_peft(made / "adapter", made / "second", base=made / "base")
    assert same(load(Model(path="merged", dtype="float32", device="cpu")).model, wanted)


def test_an_adapter_in_bf16_is_rounded_as_its_base_is_saved(made, tmp_path):
    """A base in BF16: its sum with the adapter is a BF16 model, whatever it is computed in."""
    shutil.copytree(made / "base", tmp_path / "base")
    shutil.copytree(made / "adapter", tmp_path / "adapter")
    stored = load_file(tmp_path / "base/model.safetensors")
    save_file({name: w.bfloat16() for name, w in stored.items()}, tmp_path / "base/model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "base/config.json").read_text())
    (tmp_path / "base/config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    wanted = {name: w.bfloat16() for name, w in by_peft(tmp_path / "adapter", base=tmp_path / "base").items()}
    for dtype in ("bfloat16", "float32"):
        model = load(Model(path=str(tmp_path / "adapter"), dtype=dtype, device="cpu")).model
        assert same(model, {name: w.to(getattr(torch, dtype)) for name, w in wanted.items()})


def test_an_identity_covers_adapter_and_base(made, tmp_path):
    def identity(name: str) -> dict[str, Any]:
        return {key: value for key, value in model_identity(locate(str(tmp_path / name))).items() if key != "name"}

    for name in ("base", "adapter", "second"):
        shutil.copytree(made / name, tmp_path / name)
    base, adapter, second = map(identity, ("base", "adapter", "second"))
    assert "adapter" not in base and base == {key: value for key, value in adapter.items() if key != "adapter"}
    assert len({value.get("adapter") for value in (base, adapter, second)}) == 3
    change(tmp_path / "adapter", base_model_name_or_path=str(tmp_path / "base"))
    assert identity("adapter") == adapter, "where the base lies is no part of it"
    path = tmp_path / "adapter/adapter_model.safetensors"
    save_file({name: 2 * value for name, value in load_file(path).items()}, path)
    assert identity("adapter")["adapter"] != adapter["adapter"] and identity("second")["adapter"] != second["adapter"]
    assert identity("base") == base
    path = tmp_path / "base/model.safetensors"
    save_file({name: 2 * value for name, value in load_file(path).items()}, path, {"format": "pt"})
    assert identity("adapter")["sha256"] != adapter["sha256"]


def test_a_base_is_found_here_and_beside_the_adapter(trlt, made, tmp_path):
    adapter = tmp_path / "there/adapter"
    shutil.copytree(made / "adapter", adapter)
    config = adapter / "adapter_config.json"

    def refused(*words: str) -> None:
        said = trlt("infer", made / "clip.mp4", "what?", "--model", adapter, *FAST, code=5)
        assert all(word in said for word in words), said

    refused(f"{config}: base_model_name_or_path:", "'../base' is neither a folder nor a hub id", "--base")
    change(adapter, base_model_name_or_path="models/base")
    refused(f"{config}: base_model_name_or_path:", "models/base is not in the local cache and can't be fetched")
    shutil.copytree(made / "base", tmp_path / "models/base")  # where the command runs
    assert resolve(str(adapter)).base == "models/base"
    shutil.copytree(made / "base", adapter / "models/base")
    refused("'models/base' is there twice", str(tmp_path / "models/base"), str(adapter / "models/base"), "full path")
    shutil.rmtree(tmp_path / "models")
    assert Path(resolve(str(adapter)).base).samefile(adapter / "models/base")
    (adapter / "models/base/config.json").unlink()
    refused("models/base holds no config.json")
    change(adapter, base_model_name_or_path=None)
    refused(f"{config}: base_model_name_or_path: names no base (None)")
    change(adapter, base_model_name_or_path=str(adapter))
    refused("lead in a circle")


def test_a_run_stands_for_its_model(trlt, made, tmp_path):
    """`--model runs/mine`, of a folder with a training, a probe and an evaluation."""
    for name, kind in (("probe", "probe"), ("eval", "eval"), ("train", "train")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "manifest.json").write_text(json.dumps({"kind": kind}))
    ask = ["infer", made / "clip.mp4", "what?", *FAST, "--model"]
    assert "mine holds runs, and none of them has a model yet" in trlt(*ask, "mine", code=5)
    assert "mine/train is a run that has no model yet" in trlt(*ask, "mine/train", code=5)
    assert "mine/probe is a run of `trlt probe`, which makes no model" in trlt(*ask, "mine/probe", code=5)
    shutil.copytree(made / "adapter", tmp_path / "mine/train/adapter")
    shutil.copytree(made / "base", tmp_path / "mine/train/base")
    assert find("mine") == "mine/train/adapter", "a run that ended before its adapter was merged"
    shutil.copytree(made / "base", tmp_path / "mine/train/model")
    assert find("mine") == find("mine/train") == "mine/train/model"
    assert trlt(*ask, "mine") == trlt(*ask, made / "base")
    shutil.copytree(tmp_path / "mine/train", tmp_path / "mine/train-sft")
    assert "mine holds 2 models: mine/train/model, mine/train-sft/model; name one" in trlt(*ask, "mine", code=5)


def test_a_plan_and_a_dry_run_take_an_adapter(trlt, made, tmp_path, clips_and_samples):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"model: {{path: {made / 'second'}, device: cpu}}\n")
    shown = [
        trlt("train", recipe, "--data", clips_and_samples.samples, "--dry-run", "--json", *more)["plan"]["memory"]
        for more in ([], ["--model", made / "base"])
    ]
    assert shown[0]["peak_gb"] == shown[1]["peak_gb"]
    (tmp_path / "gone").mkdir()
    assert "gone holds no config.json" in trlt(
        "train", recipe, "--data", clips_and_samples.samples, "--dry-run", "--model", "gone", code=5
    )


def test_what_an_adapter_cannot_be_is_said(made, tiny_path, tmp_path):
    folder = tmp_path / "adapter"
    shutil.copytree(made / "adapter", folder)
    change(folder, base_model_name_or_path=str(tiny_path))

    def refused(words: str, **settings: Any) -> None:
        with pytest.raises(ModelError, match=words):
            load(Model(path=str(folder), dtype="float32", device="cpu"), **settings)

    refused("is an adapter, and can't be loaded in 4 bits; merge it first: trlt train merge", quantize="nf4")
    for fields, words in (
        ({"bias": "all"}, "bias: 'all' can't be merged"),
        ({"lora_bias": True}, "lora_bias: True can't be merged"),
        ({"target_modules": "nothing"}, "doesn't fit"),
        ({"r": 5}, r"lora_A.weight has shape \(4, 128\), and \(5, 128\) is expected \(16 such tensors\)"),
    ):
        kept = (folder / "adapter_config.json").read_text()
        change(folder, **fields)
        refused(words)
        (folder / "adapter_config.json").write_text(kept)
    change(folder, target_modules=["lm_head"])
    weights = {"base_model.model.lm_head.lora_A.weight": torch.ones(4, 128), "base_model.model.lm_head.lora_B.weight": None}
    rows = load_file(tiny_path / "model.safetensors")["model.embed_tokens.weight"].shape[0]
    weights["base_model.model.lm_head.lora_B.weight"] = torch.ones(rows, 4)
    save_file(weights, folder / "adapter_model.safetensors")
    refused("changes lm_head.weight, which is tied to another weight")


def test_an_adapter_that_training_saves_names_its_base_in_full(made, tmp_path, monkeypatch):
    from trlt.engine.model import save_adapter, with_adapters

    monkeypatch.chdir(made)
    model = with_adapters(load(Model(path="base", dtype="float32", device="cpu")).model, Lora(rank=2))
    save_adapter(model, "base", tmp_path / "adapter")
    for loaded in (load(Model(path="second", dtype="float32", device="cpu")).model, skeleton("second", torch.float32, "cpu")):
        noted = with_adapters(loaded, Lora(rank=2)).peft_config["default"].base_model_name_or_path
        assert noted == str(made / "second"), "in checkpoints, an adapter's base is the adapter that it began as"
    monkeypatch.chdir(tmp_path)
    assert resolve("adapter").base == str(made / "base")
