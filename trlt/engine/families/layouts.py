"""What a config.json says of a model's shape, where several families say it alike; it has been checked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trlt.engine.families.keys import text_section
from trlt.engine.families.shape import TIME_TOKENS, Architecture, Experts, LinearAttention


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


def qwen3_vl(config: Mapping[str, Any]) -> Architecture:
    """Qwen3-VL, dense or of experts."""
    text, _ = text_section(config)
    experts = _experts(text) if "num_experts_per_tok" in text else None
    return Architecture(**_third(config), experts=experts)


def qwen3_5(config: Mapping[str, Any]) -> Architecture:
    """Qwen3.5: most layers keep a state, and the others' attention is gated; its tower has no DeepStack."""
    text, _ = text_section(config)
    return Architecture(**_third(config), gated=True, float_norms=True, linear=linear(text))


def _third(config: Mapping[str, Any]) -> dict[str, Any]:
    """What these two say alike, as arguments of `Architecture`."""
    vision = config["vision_config"]
    return {
        **language(config),
        **patches(vision),
        "vision_hidden": vision["hidden_size"],
        "vision_intermediate": vision["intermediate_size"],
        "vision_gated": False,
        "patch_bias": True,
        "vision_positions": vision["num_position_embeddings"],
        "deepstack": len(vision.get("deepstack_visual_indexes") or ()),
        "time_tokens": TIME_TOKENS,
        "biases": False,
        "head_norms": True,
    }


def _experts(text: Mapping[str, Any]) -> Experts:
    # Transformers 5 writes the second name.
    count = text.get("num_experts") or text["num_local_experts"]
    every, plain = text.get("decoder_sparse_step") or 1, set(text.get("mlp_only_layers") or ())
    layers = sum((layer + 1) % every == 0 and layer not in plain for layer in range(text["num_hidden_layers"]))
    return Experts(layers, count, text["num_experts_per_tok"], text["moe_intermediate_size"])


def linear(text: Mapping[str, Any]) -> LinearAttention | None:
    """The linear layers of a language model, from its keys; None where there are none."""
    if "linear_num_key_heads" not in text:
        return None
    return LinearAttention(
        layers=_linear_layers(text),
        key_heads=text["linear_num_key_heads"],
        value_heads=text["linear_num_value_heads"],
        key_head=text["linear_key_head_dim"],
        value_head=text["linear_value_head_dim"],
        kernel=text["linear_conv_kernel_dim"],
    )


def _linear_layers(text: Mapping[str, Any]) -> int:
    """Layers without keys and values, by `layer_types`, or else all but one in `full_attention_interval`."""
    if text.get("layer_types"):
        return sum(kind == "linear_attention" for kind in text["layer_types"])
    layers: int = text["num_hidden_layers"]
    return layers - layers // int(text.get("full_attention_interval", 4))
