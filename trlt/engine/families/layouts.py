"""Shapes as a config.json says them, one function for each way of saying it; the config.json has been checked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trlt.engine.families.keys import text_section
from trlt.engine.families.shape import Architecture, Experts, LinearAttention


def language(config: Mapping[str, Any]) -> dict[str, Any]:
    """What all language models say alike, as arguments of `Architecture`; a model of experts has no MLP's width."""
    text, _ = text_section(config)
    return {
        "hidden": text["hidden_size"],
        "intermediate": text.get("intermediate_size", 0),
        "layers": text["num_hidden_layers"],
        "heads": text["num_attention_heads"],
        "kv_heads": text["num_key_value_heads"],
        "vocabulary": text["vocab_size"],
        "tied": bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        "head_dim": text.get("head_dim") or 0,
    }


def patches(vision: Mapping[str, Any]) -> dict[str, Any]:
    """How a tower cuts frames, as arguments of `Architecture`."""
    channels = vision.get("in_chans", vision.get("in_channels", 3))
    return {
        "vision_layers": vision["depth"],
        "patch_values": channels * vision["temporal_patch_size"] * vision["patch_size"] ** 2,
        "merged": vision["spatial_merge_size"] ** 2,
    }


def qwen2_5_vl(config: Mapping[str, Any]) -> Architecture:
    """Qwen2.5-VL: a tower of gated MLPs."""
    vision = config["vision_config"]
    return Architecture(
        **language(config),
        **patches(vision),
        vision_hidden=vision["hidden_size"],
        vision_intermediate=vision["intermediate_size"],
    )


def qwen2_vl(config: Mapping[str, Any]) -> Architecture:
    """Qwen2-VL: its tower's width is `embed_dim`, and `hidden_size` what it gives to the language model."""
    vision = config["vision_config"]
    return Architecture(
        **language(config),
        **patches(vision),
        vision_hidden=vision["embed_dim"],
        vision_intermediate=int(vision["embed_dim"] * vision["mlp_ratio"]),
        vision_gated=False,
    )


def tower3(vision: Mapping[str, Any]) -> dict[str, Any]:
    """The tower of Qwen3-VL and Qwen3.5, as arguments of `Architecture`."""
    return patches(vision) | {
        "vision_hidden": vision["hidden_size"],
        "vision_intermediate": vision["intermediate_size"],
        "vision_gated": False,
        "patch_bias": True,
        "vision_positions": vision["num_position_embeddings"],
        "deepstack": len(vision.get("deepstack_visual_indexes") or ()),
        "biases": False,
        "head_norms": True,
    }


def qwen3_vl(config: Mapping[str, Any]) -> Architecture:
    """Qwen3-VL, dense or of experts."""
    text, _ = text_section(config)
    experts = None
    if "num_experts" in text or "num_local_experts" in text:
        count = text.get("num_experts", text.get("num_local_experts"))
        experts = Experts(count, text["num_experts_per_tok"], text["moe_intermediate_size"])
    return Architecture(**language(config), **tower3(config["vision_config"]), experts=experts)


def qwen3_5(config: Mapping[str, Any]) -> Architecture:
    """Qwen3.5: one layer in four has attention, which is gated; its tower has no DeepStack."""
    text, _ = text_section(config)
    linear = LinearAttention(
        layers=linear_layers(text),
        key_heads=text["linear_num_key_heads"],
        value_heads=text["linear_num_value_heads"],
        key_head=text["linear_key_head_dim"],
        value_head=text["linear_value_head_dim"],
        kernel=text["linear_conv_kernel_dim"],
    )
    return Architecture(**language(config), **tower3(config["vision_config"]), gated=True, linear=linear)


def linear_layers(text: Mapping[str, Any]) -> int:
    """Layers without keys and values, by `layer_types`, or else all but one in `full_attention_interval`."""
    if text.get("layer_types"):
        return sum(kind == "linear_attention" for kind in text["layer_types"])
    layers: int = text["num_hidden_layers"]
    return layers - layers // int(text.get("full_attention_interval", 4))
