"""A tiny Qwen2.5-VL from nothing: the real classes and special tokens, its own tokenizer, random weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trlt.engine.families import FAMILIES
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
    return FAMILIES[0].tiny(train_tokenizer(corpus), CHAT_TEMPLATE, seed=seed, hidden=hidden, layers=layers)


def sharpen(model: Any, factor: float) -> None:
    """Multiplies all logits by `factor`, in place, through the weight of the last norm: greedy answers stay as they are.

    A model fresh from supervised training hedges: at temperature 1 it is rarely right eight times of eight where it knows.
    Released models don't, and a probe that finds no easy samples would show nothing of selection.
    """
    import torch

    with torch.no_grad():
        model.model.language_model.norm.weight.mul_(factor)
