"""Qwen2.5-VL: windows in the vision tower, and positions that count seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trlt.engine.families import keys, layouts
from trlt.engine.families.family import Family, Told
from trlt.engine.families.shape import Architecture
from trlt.engine.families.tiny import tiny_qwen2

if TYPE_CHECKING:
    from torch import Tensor

    from trlt.engine.inputs import ClipInputs
    from trlt.video.clip import Clip

TEXT = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"),
    "max_position_embeddings",
)
"""Counts of the language model."""
VISION = (
    *("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size", "patch_size", "spatial_merge_size"),
    *("temporal_patch_size", "window_size"),
)
"""Counts of the vision tower."""
CLIP_PIXELS = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
    "rescale_factor": (1 / 255,),
    "do_rescale": (True,),
    "do_normalize": (True,),
}
"""As CLIP has seen pixels."""


class Qwen25VL(Family):
    """Qwen2.5-VL, 3B to 72B."""

    name = "Qwen2.5-VL"
    model_types = ("qwen2_5_vl",)
    hub_names = ("qwen2.5-vl",)
    class_names = ("Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor")
    pixels = CLIP_PIXELS
    blocks = ("Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock")
    time_in = "positions"
    sglang = True

    def check(self, config: Mapping[str, Any]) -> None:
        """See `Family.check`."""
        text, where = keys.text_section(config)
        vision = keys.section(config, "vision_config")
        for found, counts, name in ((text, TEXT, where), (vision, VISION, "vision_config.")):
            keys.whole(found, counts, name)
            keys.function(found, name)
        heads = text["num_attention_heads"]
        keys.divides(text, "hidden_size", heads, f"{where}num_attention_heads", where)
        keys.divides(text, "num_attention_heads", text["num_key_value_heads"], f"{where}num_key_value_heads", where)
        keys.divides(vision, "hidden_size", 4 * vision["num_heads"], "4 x vision_config.num_heads", "vision_config.")
        cell = vision["patch_size"] * vision["spatial_merge_size"]
        keys.divides(vision, "window_size", cell, "vision_config.patch_size x spatial_merge_size", "vision_config.")
        keys.width_of_features(vision, text, where)
        keys.number(text.get("rms_norm_eps"), f"{where}rms_norm_eps", most=1)
        # 2 in all published files, and 4 in the library where nothing is said: it can't be left out.
        keys.number(vision.get("tokens_per_second"), "vision_config.tokens_per_second")
        keys.rope(text, where, text["hidden_size"] // heads)
        keys.indexes(vision, "fullatt_block_indexes", vision["depth"], "vision_config.")

    def shape(self, config: Mapping[str, Any]) -> Architecture:
        """See `Family.shape`."""
        vision = config["vision_config"]
        return Architecture(
            **layouts.language(config),
            **layouts.patches(vision),
            vision_hidden=vision["hidden_size"],
            vision_intermediate=vision["intermediate_size"],
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
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "tokens_per_second": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        }
        return tiny_qwen2(self, tokenizer, template, vision, seed=seed, hidden=hidden, layers=layers)

    def seconds(self, clip: ClipInputs) -> dict[str, Tensor]:
        """See `Family.seconds`; time counts in seconds x `tokens_per_second`."""
        import torch

        # As a fraction: in versions of the library that cut it to whole seconds, frames stand at other times.
        return {"second_per_grid_ts": torch.tensor([clip.seconds_per_grid])}

    def told_vllm(self, clip: Clip, config: Any = None) -> Told:
        """See `Family.told_vllm`; a rate at which both ways of rounding give the engine's positions."""
        from trlt.engine.told_rate import TOKENS_PER_SECOND, told_rate

        count = len(clip.frames)
        fps = told_rate(clip, float(config.vision_config.tokens_per_second) if config else TOKENS_PER_SECOND)
        return Told(fps, list(range(count)), count / fps)
