"""Qwen2-VL: a tower without windows, and positions that count temporal patches whatever time they cover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trlt.engine.families import keys, layouts
from trlt.engine.families.family import Family
from trlt.engine.families.qwen2_5_vl import CLIP_PIXELS, TEXT
from trlt.engine.families.shape import Architecture
from trlt.engine.families.tiny import tiny_qwen2

VISION = (
    *("depth", "embed_dim", "hidden_size", "num_heads", "mlp_ratio", "patch_size", "spatial_merge_size"),
    "temporal_patch_size",
)
"""Counts of the vision tower; its `hidden_size` is the width of its features."""


class Qwen2VL(Family):
    """Qwen2-VL, 2B to 72B."""

    name = "Qwen2-VL"
    model_types = ("qwen2_vl",)
    hub_names = ("qwen2-vl",)
    class_names = ("Qwen2VLConfig", "Qwen2VLForConditionalGeneration", "Qwen2VLProcessor")
    pixels = CLIP_PIXELS
    blocks = ("Qwen2VLDecoderLayer", "Qwen2VLVisionBlock")

    def check(self, config: Mapping[str, Any]) -> None:
        """See `Family.check`."""
        text, where = keys.text_section(config)
        vision = keys.section(config, "vision_config")
        keys.whole(text, TEXT, where)
        keys.whole(vision, VISION, "vision_config.")
        keys.function(text, where)
        # Published files leave the tower's function to the library: only there it is the right one.
        if vision.get("hidden_act") is not None:
            keys.function(vision, "vision_config.")
        heads = text["num_attention_heads"]
        keys.divides(text, "hidden_size", heads, f"{where}num_attention_heads", where)
        keys.divides(text, "num_attention_heads", text["num_key_value_heads"], f"{where}num_key_value_heads", where)
        keys.divides(vision, "embed_dim", 4 * vision["num_heads"], "4 x vision_config.num_heads", "vision_config.")
        keys.width_of_features(vision, text, where, "hidden_size")
        keys.number(text.get("rms_norm_eps"), f"{where}rms_norm_eps", most=1)
        keys.rope(text, where, text["hidden_size"] // heads)
        keys.no_sliding_window(text, where)

    def shape(self, config: Mapping[str, Any]) -> Architecture:
        """See `Family.shape`."""
        vision = config["vision_config"]
        return Architecture(
            **layouts.language(config),
            **layouts.patches(vision),
            vision_hidden=vision["embed_dim"],
            vision_intermediate=int(vision["embed_dim"] * vision["mlp_ratio"]),
            vision_gated=False,
        )

    def adapt(self, model: Any) -> None:
        """Places text after a video as the weights were trained; see `trlt.engine.mrope`."""
        from trlt.engine.mrope import follow_published_positions

        follow_published_positions(model)

    def tiny(self, tokenizer: Any, template: str, *, seed: int = 0, hidden: int = 128, layers: int = 4) -> tuple[Any, Any]:
        """See `Family.tiny`."""
        vision = {
            "initializer_range": 64**-0.5,
            "depth": 2,
            "embed_dim": 64,
            "hidden_size": hidden,
            "num_heads": 2,
            "mlp_ratio": 3,
        }
        return tiny_qwen2(self, tokenizer, template, vision, seed=seed, hidden=hidden, layers=layers)
