"""Counts of parameters and bytes by formula, held to the library's modules for every published size; nothing has weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import transformers

from trlt.engine.families import family_named, layouts
from trlt.engine.families.published import PUBLISHED, published
from trlt.engine.model.which import published_family

COUNTS = {
    "Qwen2.5-VL-3B": 3_754_622_976,
    "Qwen2.5-VL-7B": 8_292_166_656,
    "Qwen2.5-VL-32B": 33_452_718_336,
    "Qwen2.5-VL-72B": 73_410_777_344,
    "Qwen2-VL-2B": 2_208_985_600,
    "Qwen2-VL-7B": 8_291_375_616,
    "Qwen2-VL-72B": 73_405_560_320,
    "Qwen3-VL-2B": 2_127_532_032,
    "Qwen3-VL-4B": 4_437_815_808,
    "Qwen3-VL-8B": 8_767_123_696,
    "Qwen3-VL-32B": 33_357_390_064,
    "Qwen3-VL-30B-A3B": 31_070_754_032,
    "Qwen3-VL-235B-A22B": 235_670_022_896,
    "Qwen3.5-0.8B": 852_985_920,
    "Qwen3.5-2B": 2_213_241_664,
    "Qwen3.5-4B": 4_539_265_536,
    "Qwen3.5-9B": 9_409_813_744,
    "Qwen3.5-27B": 27_356_728_560,
}
"""Of the library's modules, written down: what a version of the library changes is seen."""
CLASSES = {"Qwen2.5-VL": "Qwen2_5_VL", "Qwen2-VL": "Qwen2VL", "Qwen3-VL": "Qwen3VL", "Qwen3.5": "Qwen3_5"}


def kind(name: str) -> str:
    """The library's name of a size's classes."""
    return "Qwen3VLMoe" if PUBLISHED[name].experts else CLASSES[name.rpartition("-")[0]]


def config_of(name: str) -> Any:
    """The library's configuration of a published size, from its numbers."""
    a = PUBLISHED[name]
    text = {"vocab_size": a.vocabulary, "hidden_size": a.hidden, "intermediate_size": a.intermediate}
    text |= {"num_hidden_layers": a.layers, "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads}
    vision: dict[str, Any] = {"depth": a.vision_layers, "num_heads": 12 if a.vision_hidden == 768 else 16}
    if a.head_dim:
        text["head_dim"] = a.head_dim
    if a.experts:
        text |= {"num_experts": a.experts.count, "num_experts_per_tok": a.experts.chosen}
        text["moe_intermediate_size"] = a.experts.width
    if a.linear:
        text["linear_num_value_heads"] = a.linear.value_heads
    if kind(name) == "Qwen2VL":
        vision |= {"embed_dim": a.vision_hidden, "hidden_size": a.hidden, "mlp_ratio": 4}
    else:
        vision |= {"hidden_size": a.vision_hidden, "intermediate_size": a.vision_intermediate, "out_hidden_size": a.hidden}
    if a.deepstack:
        vision["deepstack_visual_indexes"] = list(range(a.deepstack))
    made = getattr(transformers, f"{kind(name)}Config")
    return made(text_config=text | {"tie_word_embeddings": a.tied}, vision_config=vision, tie_word_embeddings=a.tied)


@cache
def model_of(name: str) -> Any:
    with torch.device("meta"):
        return getattr(transformers, f"{kind(name)}ForConditionalGeneration")(config_of(name))


def count(module: Any) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_all_sizes_are_counted():
    assert COUNTS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_librarys_modules(name):
    shape, model = PUBLISHED[name], model_of(name)
    layers = model.model.language_model.layers
    assert count(model) == shape.parameters == COUNTS[name]
    assert count(model.model.visual) == shape.vision
    assert count(model.model.visual.blocks[0]) == shape.vision_layer
    assert max(map(count, layers)) == shape.layer
    assert count(layers[0].mlp) == shape.mlp
    attention = [layer.self_attn for layer in layers if hasattr(layer, "self_attn")]
    assert len(attention) == shape.attention_layers and count(attention[0]) == shape.attention


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_4_bits_and_autocast_take_are_linear_layers(name):
    shape, model = PUBLISHED[name], model_of(name)
    linear = [m for m in model.model.language_model.modules() if isinstance(m, torch.nn.Linear)]
    assert sum(m.weight.numel() for m in linear) == shape.matrices
    own = {id(w) for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv3d)) for w in m.parameters()}
    tied = {id(model.lm_head.weight)} if shape.tied else set()
    rest = sum(w.numel() for w in model.parameters() if id(w) not in own - tied)
    assert rest == shape.unrounded


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configurations_shape_is_the_published_one(name):
    config = config_of(name).to_dict()
    family = family_named(config["model_type"])
    assert family is not None and family.time_tokens == PUBLISHED[name].time_tokens
    assert family.shape(config) == PUBLISHED[name]
    assert published_family(f"Qwen/{name}-Instruct") is family, "its name tells the same family as its config.json"


def test_layers_without_experts_count_as_they_are():
    config = config_of("Qwen3-VL-30B-A3B")
    config.text_config.mlp_only_layers, config.text_config.decoder_sparse_step = [0, 3], 2
    shape = layouts.qwen3_vl(config.to_dict())
    with torch.device("meta"):
        model = transformers.Qwen3VLMoeForConditionalGeneration(config)
    assert shape.experts is not None and shape.experts.layers == 23
    assert shape.parameters == count(model)
    linear = [m for m in model.model.language_model.modules() if isinstance(m, torch.nn.Linear)]
    assert shape.matrices == sum(m.weight.numel() for m in linear)


def test_bytes_of_a_token_and_of_a_sequence():
    """By hand, in BF16: keys and values x layers with attention x KV heads x head size x 2 bytes."""
    kib, mib = 2**10, 2**20
    tokens = {"Qwen2.5-VL-7B": 56, "Qwen3-VL-2B": 112, "Qwen3-VL-4B": 144, "Qwen3-VL-8B": 144, "Qwen3-VL-32B": 256}
    tokens |= {"Qwen3-VL-30B-A3B": 96, "Qwen3-VL-235B-A22B": 188}
    tokens |= {"Qwen3.5-0.8B": 12, "Qwen3.5-4B": 32, "Qwen3.5-9B": 32, "Qwen3.5-27B": 64}
    assert {name: PUBLISHED[name].cache(2) / kib for name in tokens} == tokens
    # 24 layers x 32 heads x 128 x 128 x 4 bytes = 48 MiB, and 24 x 3 x (2 x 16 + 32) x 128 x 2 bytes of the convolution.
    assert PUBLISHED["Qwen3.5-9B"].state(2) == 48 * mib + 24 * 3 * 64 * 128 * 2
    assert PUBLISHED["Qwen3.5-27B"].state(2) == 144 * mib + 48 * 3 * 80 * 128 * 2
    assert PUBLISHED["Qwen3-VL-8B"].state(2) == 0
    assert PUBLISHED["Qwen3-VL-8B"].feature_width == 4 * 4096 and PUBLISHED["Qwen3.5-9B"].feature_width == 4096


def test_a_token_meets_few_experts():
    """As the names of these models say: 30B of which 3B, 235B of which 22B; embedding, head and tower included."""
    assert round(PUBLISHED["Qwen3-VL-30B-A3B"].active / 1e9, 1) == 3.9
    assert round(PUBLISHED["Qwen3-VL-235B-A22B"].active / 1e9, 1) == 22.8
    assert PUBLISHED["Qwen3-VL-8B"].active == PUBLISHED["Qwen3-VL-8B"].parameters


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", "Qwen3-VL-30B-A3B"),
        ("Qwen/Qwen3-VL-2B-Thinking", "Qwen3-VL-2B"),
        ("Qwen/Qwen3-VL-235B-A22B-Thinking", "Qwen3-VL-235B-A22B"),
        ("someone/qwen2-vl-72b-instruct", "Qwen2-VL-72B"),
        ("Qwen/Qwen3.5-27B", "Qwen3.5-27B"),
        ("Qwen/Qwen2.5-VL-32B-Instruct", "Qwen2.5-VL-32B"),
    ],
)
def test_a_name_finds_its_size_and_no_other(name, size):
    found = published(name)
    assert found is not None and found == (size, PUBLISHED[size])


@pytest.mark.parametrize("name", ["Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3-8B", "Qwen/Qwen2-VL-72", "Qwen3-VL-8B/other"])
def test_other_names_find_none(name):
    assert published(name) is None
