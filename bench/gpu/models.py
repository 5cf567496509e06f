"""Qwen2.5-VL in its published shapes with random weights, made where it is to run, and what stands in for its processor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from trlt.engine.mrope import follow_published_positions
from trlt.engine.shared_prefix import attach

QUERY_BIAS, KEY_BIAS, LARGEST = 3.5, 27.0, 170.0
"""Standard deviations of the published models' biases, and about the largest: scores of attention reach the hundreds."""
SHARPNESS = 3.0
"""Standard deviation of the logits over the vocabulary."""
MARKS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
"""In the order of their ids."""


class Shape(NamedTuple):
    """What distinguishes models of the family."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    words: int = 151_643
    """Ids below this one are words; the marks follow."""
    sections: tuple[int, int, int] = (16, 24, 24)
    """Of half a head, by axis of M-RoPE."""
    depth: int = 32
    """Of the vision tower."""
    vision_hidden: int = 1280
    vision_mlp: int = 3420
    vision_heads: int = 16
    full: tuple[int, ...] = (7, 15, 23, 31)
    """Blocks of the tower that see whole frames."""


SHAPES = {
    "3b": Shape(2048, 11008, 36, 16, 2, 151_936, True),
    "7b": Shape(3584, 18944, 28, 28, 4, 152_064, False),
    "tiny": Shape(128, 256, 3, 4, 2, 512, True, 480, (4, 6, 6), 2, 64, 96, 2, (1,)),
}


def build(shape: Shape, device: torch.device, *, seed: int = 0) -> Any:
    """A model in float32, ready for the engine, for batches of groups and for the library's own use (`as_published`)."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    with torch.device(device):
        model: Any = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**_config(shape)))
    text = model.model.language_model
    with torch.no_grad():
        for layer in text.layers:
            attention = layer.self_attn
            for side, bias in ((attention.q_proj, QUERY_BIAS), (attention.k_proj, KEY_BIAS)):
                side.bias.normal_(0, bias).clamp_(-LARGEST, LARGEST)
            # All layers together add half as much as the embedding has: a deep net of noise would double every rounding.
            for side in (attention.o_proj, layer.mlp.down_proj):
                side.weight.normal_(0, 0.5 / (shape.hidden * shape.layers**0.5))
        # Logits of this deviation; by random signs, for a head that is the embedding would only repeat the last token.
        signs = torch.randint(0, 2, (shape.hidden,), device=device) * 2 - 1
        text.norm.weight.copy_(signs * (SHARPNESS / (0.02 * shape.hidden**0.5)))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = shape.words
    follow_published_positions(model)
    attach(model)
    return model.eval()


def cast(model: Any, dtype: torch.dtype) -> None:
    """Weights in another precision, in place; the frequencies of rotary positions stay in float32, as in a loaded model."""
    for weight in model.parameters():
        weight.grad = None
        weight.data = weight.data.to(dtype)


@contextmanager
def as_published(model: Any) -> Iterator[Any]:
    """The model with the library's own attention, in the tower, too, and its own forward."""
    configs = [model.model.language_model.config, model.model.visual.config]
    ours, forward = [config._attn_implementation for config in configs], model.__dict__.pop("forward")
    for config in configs:
        config._attn_implementation = "sdpa"
    try:
        yield model
    finally:
        model.forward = forward
        for config, name in zip(configs, ours, strict=True):
            config._attn_implementation = name


def _config(shape: Shape) -> dict[str, Any]:
    ids = {mark: shape.words + place for place, mark in enumerate(MARKS)}
    return {
        "text_config": {
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": 128_000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "mrope_section": [*shape.sections], "rope_theta": 1_000_000.0},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "tie_word_embeddings": shape.tied,
        },
        "vision_config": {
            "depth": shape.depth,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_mlp,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden,
            "tokens_per_second": 2,
            "window_size": 112,
            "fullatt_block_indexes": [*shape.full],
        },
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": shape.tied,
    }


class Words:
    """Stands in for a processor and its tokenizer, whose files aren't at hand: a word is the decimal number of a token id."""

    def __init__(self, shape: Shape) -> None:
        self._ids = {mark: shape.words + place for place, mark in enumerate(MARKS)}
        self._count = shape.words + len(MARKS)
        self.tokenizer = self
        self.video_token_id = self._ids["<|video_pad|>"]

    def __len__(self) -> int:
        return self._count

    def __call__(self, text: str, **unused: Any) -> dict[str, list[int]]:
        return {"input_ids": [self._ids.get(word) or int(word) for word in re.findall(r"<\|\w+\|>|\d+", text)]}

    def convert_tokens_to_ids(self, marks: Sequence[str]) -> list[int]:
        return [self._ids[mark] for mark in marks]

    def decode(self, tokens: Sequence[int], **unused: Any) -> str:
        return " ".join(map(str, tokens))

    def apply_chat_template(self, messages: Sequence[Any], **unused: Any) -> str:
        video = "<|vision_start|><|video_pad|><|vision_end|>"
        turns = (
            "".join(video if part["type"] == "video" else part["text"] for part in message["content"]) for message in messages
        )
        return "".join(f"<|im_start|>{turn}<|im_end|>" for turn in turns) + "<|im_start|>"
