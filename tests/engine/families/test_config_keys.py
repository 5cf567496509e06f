"""Keys of a config.json that neither names nor shapes of tensors show: a damaged one is refused by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trlt.engine.families import FAMILIES, family_named
from trlt.engine.model.config import read_config
from trlt.errors import ModelError

ODD: dict[str, list[Any]] = {
    "text_config.hidden_act": ["gelu", "x", None],
    "text_config.rms_norm_eps": [1e-3, 1e-5, 1, None],
    "vision_config.hidden_act": ["silu", "gelu", None],
}
"""Of Qwen3-VL and all that are built on it."""
EXPERTS: dict[str, list[Any]] = {
    "text_config.num_experts_per_tok": [0, -1, 9, 2.0, True, None],
    "text_config.num_local_experts": [0, "8", False],
    "text_config.num_experts": [4],
    "text_config.moe_intermediate_size": [128, 64, 0, None],
    "text_config.decoder_sparse_step": [0, None],
    "text_config.mlp_only_layers": [[4], [-1], 0, None],
    "text_config.norm_topk_prob": [False, 0, "true"],
}
"""Of eight experts, of which a token takes two, in four layers 128 wide."""


@pytest.fixture
def put(family_path, tmp_path):
    """Reads a family's config.json with one key changed, named with its section."""

    def go(family: Any, key: str, value: Any, **others: Any) -> None:
        config = json.loads((family_path(family) / "config.json").read_text())
        for name, one in {key: value, **others}.items():
            section, _, last = name.rpartition(".")
            inner = config[section] if section else config
            inner.pop(last, None)
            if one is not None:
                inner[last] = one
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert read_config(tmp_path / "config.json")[1] is family

    return go


CASES = [
    *((family, key, value) for family in FAMILIES[2:] for key, values in ODD.items() for value in values),
    *((family_named("qwen3_vl_moe"), key, value) for key, values in EXPERTS.items() for value in values),
]


@pytest.mark.parametrize(("family", "key", "value"), CASES, ids=lambda one: getattr(one, "name", str(one)))
def test_a_damaged_key_is_named(put, family, key, value):
    with pytest.raises(ModelError, match=rf"config.json: {key}: "):
        put(family, key, value)


def test_towers_turn_as_the_library_has_them_turn(family, put):
    """The library writes down at which base, and takes any other that it reads."""
    put(family, "vision_config.rope_parameters", {"rope_theta": 10000.0, "rope_type": "axial"})
    put(family, "vision_config.rope_parameters", None)
    for odd in ({"rope_theta": 1000.0, "rope_type": "axial"}, {"rope_theta": 10000.0}, {"rope_type": "axial"}, [], 3):
        with pytest.raises(ModelError, match=r"vision_config.rope_parameters: .* is expected, not .*; leave it out"):
            put(family, "vision_config.rope_parameters", odd)


def test_published_towers_are_known_by_their_width_and_depth(put):
    family = family_named("qwen3_vl")
    widths = {"vision_config.hidden_size": 1024, "vision_config.depth": 24}
    blocks = "vision_config.deepstack_visual_indexes"
    put(family, "vision_config.num_heads", 16, **widths, **{blocks: [5, 11, 17]})
    with pytest.raises(ModelError, match=r"vision_config.num_heads: 16 is expected, as published, not 8"):
        put(family, "vision_config.num_heads", 8, **widths, **{blocks: [5, 11, 17]})
    with pytest.raises(ModelError, match=r"deepstack_visual_indexes: \[5, 11, 17\] is expected, as published, not"):
        put(family, "vision_config.num_heads", 16, **widths, **{blocks: [5, 11, 16]})
    put(family_named("qwen3_vl_moe"), "text_config.num_local_experts", 128, **{"text_config.num_experts_per_tok": 8})
    with pytest.raises(ModelError, match=r"num_experts_per_tok: 8 is expected, as published, not 4"):
        put(family_named("qwen3_vl_moe"), "text_config.num_local_experts", 128, **{"text_config.num_experts_per_tok": 4})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_quantized_weights_are_advised_what_the_family_can_have(put, family):
    """4 bits of a mixture of experts would be refused in turn."""
    with pytest.raises(ModelError, match="quantization_config: weights that aren't quantized") as caught:
        put(family, "quantization_config", {"quant_method": "fp8"})
    assert ("nf4" in str(caught.value)) is not bool(family.experts)


def test_a_model_type_that_is_missing_is_said_to_be(put):
    with pytest.raises(ModelError, match="config.json has no model_type; trlt tunes qwen2_5_vl"):
        put(FAMILIES[0], "model_type", None)
