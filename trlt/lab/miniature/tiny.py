"""A tiny Qwen2.5-VL from nothing: the real classes and special tokens, its own tokenizer, random weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trlt.task import prompt as prompts
from trlt.task.answer import LETTERS, AnswerFormat
from trlt.task.sample import Sample

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCABULARY = 768
FORMS: tuple[AnswerFormat, ...] = ("letter", "open")

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- else %}{{- part.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def corpus(samples: Sequence[Sample]) -> Iterator[str]:
    """Every prompt and target that the samples can give rise to: what the tokenizer learns from."""
    for sample in samples[:4000]:
        for think in (False, True):
            for form in FORMS:
                words = prompts.build(sample, think=think, answer_format=form)
                reasoning = str(sample.meta.get("reasoning", ""))
                yield words.system
                yield words.user
                yield prompts.render_answer(sample, think=think, answer_format=form, reasoning=reasoning)


def train_tokenizer(corpus: Iterable[str]) -> Any:
    """A `Qwen2Tokenizer` whose merges come from `corpus`; digits and letters of options stay single tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX, Qwen2Tokenizer

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([*corpus, " ".join(LETTERS)], trainer)
    learned = bpe.get_vocab()
    tokenizer = Qwen2Tokenizer(
        vocab=learned,
        merges=_merges(bpe),
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIAL),
        padding_side="left",
    )
    tokenizer.model_max_length = 32768
    return tokenizer


def _merges(bpe: Any) -> Any:
    import json

    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]


def build(corpus: Iterable[str], *, seed: int = 0, hidden: int = 128, layers: int = 4) -> tuple[Any, Any]:
    """(model, processor) with random weights.

    Args:
        corpus: Texts that the tokenizer learns from.
        seed: Of the weights.
        hidden: Width of the language model, a multiple of 32.
        layers: Its depth.
    """
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = train_tokenizer(corpus)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": hidden,
            "intermediate_size": hidden * 3,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // 32,
            "num_key_value_heads": hidden // 64,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
            # 1 / sqrt(width): the published 0.02 suits models that are thirty times as wide.
            "initializer_range": hidden**-0.5,
        },
        vision_config={
            "initializer_range": 64**-0.5,
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "tokens_per_second": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.update(  # type: ignore[no-untyped-call]
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]],
        pad_token_id=ids["<|endoftext|>"],
    )
    processor = Qwen2_5_VLProcessor(  # type: ignore[no-untyped-call]
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(cap_pixels_per_frame=False), chat_template=CHAT_TEMPLATE
    )
    return model, processor


def sharpen(model: Any, factor: float) -> None:
    """Multiplies all logits by `factor`, in place, through the weight of the last norm: greedy answers stay as they are.

    A model fresh from supervised training hedges: at temperature 1 it is rarely right eight times of eight where it knows.
    Released models don't, and a probe that finds no easy samples would show nothing of selection.
    """
    import torch

    with torch.no_grad():
        model.model.language_model.norm.weight.mul_(factor)
