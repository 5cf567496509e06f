"""Qwen3-VL as a mixture of experts: a router sends each token to a few of a layer's MLPs.

Published files hold each matrix of a layer's experts in one tensor, (experts, in, out); the library holds (experts, out, in).
No loss balances the experts: the library adds one only where `output_router_logits` is set, in a forward that isn't ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any

from trlt.engine.families import keys
from trlt.engine.families.qwen3_vl import Qwen3VL

PUBLISHED = 128, 8
"""Experts of a layer, and those of a token."""
SHARD = "5GB"
"""Of a saved file: the weights of one are held twice while they are turned."""


class Qwen3VLMoe(Qwen3VL):
    """Qwen3-VL-30B-A3B and 235B-A22B."""

    name = "Qwen3-VL-MoE"
    model_types = ("qwen3_vl_moe",)
    hub_names = ("qwen3-vl-30b-a3b", "qwen3-vl-235b-a22b")
    class_names = ("Qwen3VLMoeConfig", "Qwen3VLMoeForConditionalGeneration", "Qwen3VLProcessor")
    blocks = ("Qwen3VLMoeTextDecoderLayer", "Qwen3VLMoeVisionBlock")
    experts = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
    turned = experts
    router = "Qwen3VLMoeTextTopKRouter"

    def check_text(self, text: Mapping[str, Any], where: str) -> None:
        """See `Qwen3VL.check_text`."""
        super().check_text(text, where)
        # The library writes the other name for it.
        count = "num_experts" if text.get("num_local_experts") is None else "num_local_experts"
        keys.whole(text, (count, "num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step"), where)
        if text.get("num_experts", text[count]) != text[count]:
            raise keys.ConfigFault(f"{where}num_experts", text["num_experts"], f"{where}{count} ({text[count]}) is expected")
        if text["num_experts_per_tok"] > text[count]:
            wanted = f"at most {where}{count} ({text[count]}) is expected"
            raise keys.ConfigFault(f"{where}num_experts_per_tok", text["num_experts_per_tok"], wanted)
        if text[count] == PUBLISHED[0]:
            keys.as_published(text, "num_experts_per_tok", PUBLISHED[1], where)
        keys.indexes(text, "mlp_only_layers", text["num_hidden_layers"], where)
        # The library always does so, other programs only where they are told to.
        if text.get("norm_topk_prob") not in (None, True):
            raise keys.ConfigFault(f"{where}norm_topk_prob", text["norm_topk_prob"], "true is expected, as published")
        width, inner = text["hidden_size"], text["moe_intermediate_size"]
        if width in (inner, 2 * inner):
            wanted = f"neither {where}hidden_size ({width}) nor half of it is expected"
            raise keys.ConfigFault(f"{where}moe_intermediate_size", inner, wanted, "the two layouts of experts look alike then")

    def adapt(self, model: Any) -> None:
        """Has the model saved as published ones are stored; see `_save_pretrained`."""
        model.save_pretrained = MethodType(_save_pretrained, model)

    def tiny(self, tokenizer: Any, template: str, *, seed: int = 0, hidden: int = 128, layers: int = 4) -> tuple[Any, Any]:
        """See `Family.tiny`."""
        model, processor = super().tiny(tokenizer, template, seed=seed, hidden=hidden, layers=layers)
        self.adapt(model)
        return model, processor

    def tiny_text(self, tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
        """See `Qwen3VL.tiny_text`; two of eight experts a token, each 3/4 as wide as the states."""
        return super().tiny_text(tokenizer, hidden, layers) | {
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": hidden * 3 // 4,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "norm_topk_prob": True,
        }


def _save_pretrained(self: Any, save_directory: Any, *, state_dict: Mapping[str, Any] | None = None, **options: Any) -> None:
    """The library's, with experts as they are published.

    Transformers 5.23 turns experts that lie the other way round when it loads them, and saves them as it holds them: vLLM and
    older versions would take them for something else. Its rules of names, which change none of this family's, are left out,
    as they would turn everything back.
    """
    state = self.state_dict() if state_dict is None else state_dict
    state = {name: Qwen3VLMoe().as_published(name, value) for name, value in state.items()}
    kept = {"save_original_format": False, "max_shard_size": SHARD} | options
    type(self).save_pretrained(self, save_directory, state_dict=state, **kept)
