"""Qwen3.5, dense: three of four layers carry a state in place of keys and values, and chats open or close a thought.

Prompts and videos are those of Qwen3-VL; the tower has no DeepStack. See docs/decisions/linear-layers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trlt.engine.families import keys, layouts
from trlt.engine.families.family import Family
from trlt.engine.families.qwen3_vl import Qwen3VL
from trlt.engine.families.tiny import tiny_text

if TYPE_CHECKING:
    from torch import Tensor

    from trlt.engine.families.shape import Architecture

LINEAR = (
    *("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"),
    "linear_conv_kernel_dim",
)
"""Counts of the linear layers."""
KINDS = ("linear_attention", "full_attention")


class Qwen35(Qwen3VL):
    """Qwen3.5, 0.8B to 27B."""

    name = "Qwen3.5"
    model_types = ("qwen3_5",)
    hub_names = ("qwen3.5",)
    class_names = ("Qwen3_5Config", "Qwen3_5ForConditionalGeneration", "Qwen3VLProcessor")
    blocks = ("Qwen3_5DecoderLayer", "Qwen3_5VisionBlock")
    # A layer that drafts tokens.
    unloaded = ("mtp.",)
    attention_layers = (*Family.attention_layers, "in_proj_qkv", "in_proj_z", "out_proj")
    # Largest measured: 4e-5 (docs/decisions/linear-layers.md).
    rounding = 10.0

    # -- files ----------------------------------------------------------------------------------------------------

    def check_text(self, text: Mapping[str, Any], where: str) -> None:
        """See `Qwen3VL.check_text`."""
        super().check_text(text, where)
        keys.whole(text, LINEAR, where)
        heads = text["linear_num_key_heads"]
        keys.divides(text, "linear_num_value_heads", heads, f"{where}linear_num_key_heads", where)
        kinds, count = text.get("layer_types"), text["num_hidden_layers"]
        wanted = f"a list of {where}num_hidden_layers ({count}) is expected, of {' and '.join(KINDS)}"
        if not isinstance(kinds, list) or len(kinds) != count or not set(kinds) <= set(KINDS):
            raise keys.ConfigFault(f"{where}layer_types", kinds, wanted)
        # A prompt's length is that of its keys: a model of linear layers alone has none.
        if KINDS[1] not in kinds:
            raise keys.ConfigFault(f"{where}layer_types", kinds, f"one {KINDS[1]} at least is expected")

    def check_rope(self, text: Mapping[str, Any], where: str) -> None:
        """See `Qwen3VL.check_rope`; a part of each head is turned."""
        name = "rope_parameters" if text.get("rope_parameters") is not None else "rope_scaling"
        key = "partial_rotary_factor"
        found = keys.section(text, name, where)
        inner = found.get(key) is not None
        part = found[key] if inner else text.get(key)
        keys.number(part, f"{where}{name + '.' if inner else ''}{key}", most=1.0001)
        keys.rope(text, where, int(text["head_dim"] * part))

    def check_deepstack(self, vision: Mapping[str, Any], text: Mapping[str, Any], where: str) -> None:
        """See `Qwen3VL.check_deepstack`: there is none."""

    def shape(self, config: Mapping[str, Any]) -> Architecture:
        """See `Family.shape`."""
        return layouts.qwen3_5(config)

    def tiny_text(self, tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
        """Keys of a tiny language model; as published, every fourth layer has attention, or else the last alone."""
        interval = min(4, layers)
        return tiny_text(tokenizer, hidden, layers) | {
            "num_attention_heads": hidden // 16,
            "head_dim": 32,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 32,
            "linear_conv_kernel_dim": 4,
            "layer_types": [KINDS[(layer + 1) % interval == 0] for layer in range(layers)],
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [3, 3, 2],
                "mrope_interleaved": True,
                "partial_rotary_factor": 0.5,
                "rope_theta": 10000.0,
            },
        }

    def tiny_vision(self, hidden: int, layers: int) -> dict[str, Any]:
        """See `Qwen3VL.tiny_vision`."""
        vision = super().tiny_vision(hidden, layers)
        del vision["deepstack_visual_indexes"]
        return vision

    # -- passes ---------------------------------------------------------------------------------------------------

    def encode(self, model: Any, pixels: Tensor, grid: Tensor) -> list[Tensor]:
        """See `Family.encode`; those of the tower's end alone."""
        return Family.encode(self, model, pixels, grid)

    def placed(self, embeds: Tensor, video: Tensor, features: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """See `Family.placed`."""
        return Family.placed(self, embeds, video, features)

    def no_mask(self) -> Any:
        """See `Family.no_mask`; one for each kind of layer. Padding is on the right, where no true token reads its state."""
        return dict.fromkeys(KINDS)
