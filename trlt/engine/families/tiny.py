"""What tiny models of all families share: counts of the language model, token ids, and random weights by a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trlt.engine.families.family import Family


def tiny_text(tokenizer: Any, hidden: int, layers: int) -> dict[str, Any]:
    """Keys of a language model with heads of 32 numbers, two of which share keys and values.

    Args:
        tokenizer: Its tokens, filled up to a multiple of 64, are the embedding's rows.
        hidden: Width, a multiple of 64.
        layers: Depth.
    """
    end, ended = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    return {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": hidden,
        "intermediate_size": hidden * 3,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 32,
        "num_key_value_heads": hidden // 64,
        "max_position_embeddings": 32768,
        "bos_token_id": ended,
        "eos_token_id": end,
        "pad_token_id": ended,
        "tie_word_embeddings": True,
        # 1 / sqrt(width): the published 0.02 suits models that are thirty times as wide.
        "initializer_range": hidden**-0.5,
    }


def tiny_model(family: Family, tokenizer: Any, text: Mapping[str, Any], vision: Mapping[str, Any], seed: int) -> Any:
    """A family's model with random weights, which ends a completion as published ones do."""
    import torch

    image, video, start, stop, end, ended = tokenizer.convert_tokens_to_ids(
        ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_end|>", "<|endoftext|>"]
    )
    classes = family.classes()
    config = classes.config(
        text_config=dict(text),
        vision_config=dict(vision),
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=stop,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = classes.model(config)
    model.generation_config.update(bos_token_id=ended, eos_token_id=[end, ended], pad_token_id=ended)
    return model


def tiny_qwen2(
    family: Family, tokenizer: Any, template: str, vision: Mapping[str, Any], *, seed: int, hidden: int, layers: int
) -> tuple[Any, Any]:
    """(model, processor) of Qwen2-VL's and Qwen2.5-VL's kind, which differ in their towers (`vision`); see `Family.tiny`."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    text = tiny_text(tokenizer, hidden, layers) | {
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0}
    }
    model = tiny_model(family, tokenizer, text, vision, seed)
    processor = family.classes().processor(
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(cap_pixels_per_frame=False), chat_template=template
    )
    return model, processor
