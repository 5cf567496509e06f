"""Qwen3-VL and its mixture of experts as published, with few layers and random weights.

What agrees with the published 4B and 30B-A3B: the files and their layout (`text_config`, tensor names, experts laid out the
other way round, shards with an index), the vocabulary with its added tokens, the chat template, head size, heads that are
together wider than the states, ratio of query to key heads, three DeepStack features, a head of its own (30B-A3B) or none (4B),
and norms of queries and keys that take attention scores beyond a hundred. See `published` for what makes answers likely.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from real_shapes import published as rig

MORE = ("<tool_response>", "</tool_response>", "<think>", "</think>")
"""Added behind those of Qwen2.5-VL: ids 151,665 to 151,668, not special."""
NORM = 3.0
"""Weights of the norms of queries and keys."""
LAYERS, DEPTH, DEEP = 4, 6, (1, 2, 4)
"""Published: 36 or 48, 24 or 27, and 5, 11, 17 or 8, 16, 24."""


class Shape(NamedTuple):
    """What distinguishes the two; the rest is alike."""

    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    tied: bool
    experts: int = 0
    expert_mlp: int = 0


SHAPES = {
    "4b": Shape(640, 2432, 8, 2, True),  # published: 2560, 9728, 32, 8
    "30b-a3b": Shape(512, 1536, 8, 1, False, 32, 192),  # published: 2048, 6144, 32, 4, 128 experts of 768
}


def write(kind: str, folder: Path, dtype: torch.dtype, *, seed: int = 0) -> Path:
    """Writes a model with its processor as published ones are laid out; gives the folder."""
    shape, words = SHAPES[kind], tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    build(shape, words, seed).to(dtype).save_pretrained(folder, max_shard_size="250MB")
    for name, value in {
        "config.json": _config(shape, dtype),
        "generation_config.json": GENERATION,
        "preprocessor_config.json": PIXELS | {"image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": PIXELS | {"video_processor_type": "Qwen3VLVideoProcessor"},
        "chat_template.json": {"chat_template": chat_template()},
    }.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    words.chat_template = chat_template()
    words.save_pretrained(folder)
    return folder


def chat_template() -> str:
    """The published one, which TRL ships."""
    return resources.files("trl").joinpath("chat_templates/qwen3_vl.jinja").read_text(encoding="utf-8")


def tokenizer() -> Any:
    """That of Qwen2.5-VL and the tokens that Qwen3 adds."""
    from tokenizers import AddedToken

    made = rig.tokenizer()
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in MORE], special_tokens=False)
    assert made.convert_tokens_to_ids("</think>") == 151_668
    return made


def build(shape: Shape, words: Any, seed: int = 0) -> Any:
    """The model in float32."""
    import transformers

    name = "Qwen3VLMoe" if shape.experts else "Qwen3VL"
    config, model = (getattr(transformers, f"{name}{end}") for end in ("Config", "ForConditionalGeneration"))
    torch.manual_seed(seed)
    made = model(config(**_config(shape, torch.float32)))
    with torch.no_grad():
        text = made.model.language_model
        for layer in text.layers:
            attention = layer.self_attn
            for norm in (attention.q_norm, attention.k_norm):
                norm.weight.normal_(NORM, NORM / 3)
            attention.o_proj.weight.mul_(0.05)
            if not shape.experts:
                layer.mlp.down_proj.weight.mul_(0.05)
        text.norm.weight.fill_(1.5)
        if not shape.experts:
            rig.remember(text, made.lm_head.weight, words)
    return made


GENERATION = rig.GENERATION | {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.0}
PIXELS = {
    "size": {"longest_edge": 25165824, "shortest_edge": 4096},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
}


def _config(shape: Shape, dtype: torch.dtype) -> dict[str, Any]:
    kind = "qwen3_vl_moe" if shape.experts else "qwen3_vl"
    text = {
        "model_type": f"{kind}_text",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "dtype": str(dtype).removeprefix("torch."),
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.mlp,
        "max_position_embeddings": 262144,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
        "rope_theta": 5000000,
        "use_cache": True,
        "vocab_size": 151_936,
    }
    if shape.experts:
        text |= {
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "moe_intermediate_size": shape.expert_mlp,
            "norm_topk_prob": True,
            "num_experts": shape.experts,
            "num_experts_per_tok": 8,
        }
    else:
        text["tie_word_embeddings"] = shape.tied
    return {
        "architectures": [f"Qwen3VL{'Moe' if shape.experts else ''}ForConditionalGeneration"],
        "image_token_id": 151655,
        "model_type": kind,
        "text_config": text,
        "tie_word_embeddings": shape.tied,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": 151656,
        "vision_config": {
            "model_type": kind,
            "deepstack_visual_indexes": list(DEEP),
            "depth": DEPTH,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 256,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": 1024,
            "num_heads": 4,
            "num_position_embeddings": 2304,
            "out_hidden_size": shape.hidden,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": 151653,
        "vision_start_token_id": 151652,
    }


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), getattr(torch, sys.argv[3]))
