"""What `trlt train` says of adapters on a mixture of experts."""

from __future__ import annotations

import pytest

from trlt.engine.families import family_named

RECIPE = """
name: mixture
model: {{path: {model}, dtype: float32, device: cpu}}
train: {{data: none.jsonl}}
"""


@pytest.fixture
def mixture(family_path, tmp_path):
    path = tmp_path / "mixture.yaml"
    path.write_text(RECIPE.format(model=family_path(family_named("qwen3_vl_moe"))))
    return path


def test_adapters_of_experts_are_there_where_they_are_asked_for(trlt, mixture):
    for said, targets in (("{}", "attention"), ("{targets: all}", "all"), ("{targets: attention}", "attention")):
        found = trlt("train", mixture, "--dry-run", "--set", f"train.lora={said}", "--json")
        assert found["recipe"]["train"]["lora"]["targets"] == targets


def test_what_experts_cannot_have_is_told_before_anything_is_loaded(trlt, mixture):
    told = trlt("train", mixture, "--dry-run", "--set", "train.lora={quantize: nf4}", code=2)
    assert told.startswith(
        "train.lora.quantize: nf4 holds linear layers in 4 bits, and the experts of Qwen3-VL-MoE, nearly all"
    )
    told = trlt("train", mixture, "--dry-run", "--set", "train.lora={targets: all, dropout: 0.1}", code=2)
    assert told.startswith("train.lora.dropout: adapters of the experts of Qwen3-VL-MoE")
