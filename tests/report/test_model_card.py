from __future__ import annotations

from pathlib import Path

from trlt.engine.families import FAMILIES
from trlt.recipe import load_recipe
from trlt.recipe._yaml import from_yaml
from trlt.report.model_card import adapter_card, add_results, model_card, write_card

MANIFEST = {
    "model": {"name": "base", "sha256": "ab12"},
    "inputs": {"data": {"samples": 3200, "sha256": "cd34", "path": "x.jsonl"}},
    "protocol": {"prompt": "2"},
}
OUTCOME = {"steps": 66, "reward_first": 0.5, "reward_last": 0.75, "parity": None}


def test_a_card_tells_base_data_recipe_and_protocol() -> None:
    recipe = load_recipe(Path("recipes/32k.yaml"), sets=["model.path=Qwen/a|b"])
    text = model_card(recipe, MANIFEST, OUTCOME, FAMILIES[0])
    head = from_yaml(text.split("---")[1], "x")
    assert head["base_model"] == "Qwen/a|b" and head["library_name"] == "transformers" and "grpo" in head["tags"]
    for said in ("| base | Qwen/a\\|b |", "| samples | 3200 |", "| optimizer steps | 66 |", "48 x 8", "cd34", "ab12"):
        assert said in text, said
    assert "| reward | 0.500 over the first fifth, 0.750 over the last |" in text
    assert f"| frames a second | {recipe.video.fps} |" in text and "| video tokens at most | 2048 |" in text
    assert from_yaml(text.split("```yaml")[1].split("```")[0], "x")["train"]["group_size"] == 8


def test_a_supervised_models_card_speaks_of_lessons() -> None:
    text = model_card(load_recipe(Path("recipes/sft.yaml")), MANIFEST, {"steps": 5}, FAMILIES[0])
    assert "with SFT" in text and "| targets |" in text and "KL weight" not in text


def test_cards_of_adapters_tell_method_rank_and_base() -> None:
    recipe = load_recipe(None, sets=["model.path=some/base", "train.lora={rank: 16, alpha: 8, quantize: nf4}"])
    text = model_card(recipe, MANIFEST, OUTCOME, FAMILIES[0])
    assert "Low-rank adapters (LoRA, rank 16) were trained, and are added to the weights of the base." in text
    row = "low-rank adapters (LoRA) of the language model's attention and MLPs: rank 16, alpha 8, on a base in nf4"
    assert f"| trained | {row} |" in text and "| base | some/base |" in text
    assert from_yaml(text.split("---")[1], "x")["tags"][-3:] == ["grpo", "lora", "trlt"]
    adapters = adapter_card(recipe, MANIFEST, OUTCOME, FAMILIES[0])
    head = from_yaml(adapters.split("---")[1], "x")
    assert head["base_model"] == "some/base" and head["library_name"] == "peft"
    assert "(LoRA, rank 16) of the Qwen2.5-VL `some/base`, trained on videos with GRPO" in adapters
    assert (
        f"| trained | {row} |" in adapters
        and "| optimizer steps | 66 |" in adapters
        and "More Information Needed" not in adapters
    )
    whole = model_card(load_recipe(None), MANIFEST, OUTCOME, FAMILIES[0])
    assert "LoRA" not in whole.split("## Recipe")[0] and "| trained | all weights" in whole


def test_results_are_put_in_and_replaced(tmp_path: Path) -> None:
    assert not add_results(tmp_path, {"benchmarks": {}}), "no card, nothing to do"
    write_card(tmp_path, model_card(load_recipe(None), MANIFEST, OUTCOME, FAMILIES[0]))
    card = tmp_path / "README.md"
    before = card.read_text()
    assert "None yet" in before
    assert add_results(tmp_path, {"benchmarks": {}})
    once = card.read_text()
    assert "None yet" not in once and once.count("## Results") == 1 and "| benchmark |" in once
    assert once.split("## Recipe")[1] == before.split("## Recipe")[1]
    add_results(tmp_path, {"benchmarks": {}})
    assert card.read_text() == once
    (tmp_path / "README.md").write_text("a card of somebody else's")
    assert not add_results(tmp_path, {"benchmarks": {}}) and card.read_text() == "a card of somebody else's"


def test_a_card_names_the_family_and_what_the_library_leaves_out() -> None:
    class Drafting(type(FAMILIES[0])):  # type: ignore[misc]
        name = "Qwen9-VL"
        unloaded = ("mtp.",)

    text = model_card(load_recipe(None), MANIFEST, OUTCOME, Drafting())
    assert "A Qwen9-VL, tuned on videos with GRPO" in text and "tensors `mtp.*` aren't in it" in text
    assert "aren't in it" not in model_card(load_recipe(None), MANIFEST, OUTCOME, FAMILIES[0])
