"""What the plan computes, held to what torch really holds; on the CPU, never on a GPU."""

from __future__ import annotations

import copy
import json
import weakref
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from trlt.engine import forest
from trlt.engine.inputs import InputBuilder
from trlt.errors import ModelError
from trlt.plan import GB, PUBLISHED, advise, estimate, find_architecture
from trlt.plan import memory as formulas
from trlt.plan import sizes as filled
from trlt.recipe import Recipe, load_recipe
from trlt.shared_prefix import CHUNK, Group, attach, collate, forward


def recipe(*sets: str) -> Recipe:
    return load_recipe(None, sets=sets)


@pytest.fixture(scope="module")
def shape(tiny_path):
    return find_architecture(str(tiny_path))


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "billions"), [("3B", 3.75), ("7B", 8.29), ("32B", 33.45), ("72B", 73.41)])
def test_parameters_of_the_published_sizes(size, billions):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    a = PUBLISHED[size]
    text = {"vocab_size": a.vocabulary, "hidden_size": a.hidden, "intermediate_size": a.intermediate}
    text |= {"num_hidden_layers": a.layers, "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads}
    vision = {"hidden_size": a.vision_hidden, "intermediate_size": a.vision_intermediate, "depth": a.vision_layers}
    vision |= {"num_heads": a.vision_heads, "out_hidden_size": a.hidden}
    config = Qwen2_5_VLConfig(
        text_config=text | {"tie_word_embeddings": a.tied}, vision_config=vision, tie_word_embeddings=a.tied
    )
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    assert sum(w.numel() for w in model.parameters()) == a.parameters
    assert sum(w.numel() for w in model.model.visual.parameters()) == a.vision
    assert sum(w.numel() for w in model.model.language_model.layers[0].parameters()) == a.layer
    assert round(a.parameters / GB, 2) == billions


def test_a_folders_own_config_counts(shape, tiny):
    assert shape.parameters == sum(w.numel() for w in tiny.model.parameters())
    assert shape.source.endswith("config.json") and shape.tied


def test_published_shapes_only_where_no_config_is_at_hand(tmp_path):
    found = find_architecture("Qwen/Qwen2.5-VL-3B-Instruct")
    assert found is not None and "that published for Qwen2.5-VL-3B" in found.source and found.parameters == 3_754_622_976
    assert find_architecture("someone/another-model") is None
    # The published layout, with the language model's keys at the top.
    a = PUBLISHED["3B"]
    config = {"model_type": "qwen2_5_vl", "hidden_size": a.hidden, "intermediate_size": a.intermediate}
    config |= {"num_hidden_layers": a.layers, "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads}
    config |= {"vocab_size": a.vocabulary, "tie_word_embeddings": True}
    config["vision_config"] = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "in_chans": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = find_architecture(str(tmp_path))
    assert read is not None and replace(read, source="") == a
    del config["hidden_size"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="hidden_size"):
        find_architecture(str(tmp_path))


# -- bytes -------------------------------------------------------------------------------------------------------------


def lines(memory, when="held"):
    return {line.name: line.size for line in memory.lines if line.when == when}


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_adapters_bytes_are_those_of_peft(shape, tiny):
    from trlt.model import with_adapters
    from trlt.recipe import Lora

    for targets in ("all", "attention"):
        model = with_adapters(copy.deepcopy(tiny.model), Lora(rank=4, targets=targets))
        trained = sum(w.nbytes for w in model.parameters() if w.requires_grad)
        sets = ["model.dtype=float32", f"train.lora={{rank: 4, targets: {targets}}}", "train.prompts_per_step=8"]
        found = estimate(shape, recipe(*sets), 1, 80 * GB)
        held = lines(found)
        assert held["adapters"] == held["gradients"] == trained and held["AdamW states"] == 2 * trained
        assert held["weights"] == sum(w.nbytes for w in tiny.model.parameters()) and "reference model" not in held
        assert not [line for line in found.lines if line.name == "activations, vision" and line.size > 4 * shape.hidden * 2048]


def test_four_bits_take_a_quarter_of_bf16():
    seven = PUBLISHED["7B"]
    whole, half, quarter = (
        lines(estimate(seven, recipe("train.prompts_per_step=8", *sets), 1, 80 * GB))["weights"] / GB
        for sets in ([], ["train.lora={}"], ["train.lora={quantize: nf4}"])
    )
    assert whole == pytest.approx(33.2, abs=0.1) and half == pytest.approx(16.6, abs=0.1)
    assert quarter == pytest.approx(6.5 * 0.516 + 2 * (8.29 - 6.53), abs=0.2)
    big = PUBLISHED["72B"]
    refused = recipe("train.prompts_per_step=8", "train.launch.processes=8")
    assert not estimate(big, refused, 8, 80 * GB).fits
    alone = recipe("train.prompts_per_step=8", "train.lora={quantize: nf4}", "train.launch.strategy=ddp")
    assert estimate(PUBLISHED["32B"], alone, 8, 80 * GB).fits


def test_packed_passes_hold_as_many_groups_as_fit():
    few = filled.sizes(recipe("train.tokens_per_pass=20000", "train.max_new_tokens=512"), 8)
    assert few.prompts == 20000 // (2048 + filled.TEXT_TOKENS + 8 * 512)
    assert filled.sizes(recipe("train.tokens_per_pass=10"), 8).prompts == 1


def test_held_bytes_are_those_of_torch(shape, tiny):
    model = tiny.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    held = lines(estimate(shape, recipe("model.dtype=float32", "train.prompts_per_step=8"), 1, 80 * GB))
    assert held["weights"] == held["reference model"] == sum(w.nbytes for w in model.parameters())
    assert held["gradients"] == sum(w.grad.nbytes for w in model.parameters())
    states = sum(t.nbytes for s in optimizer.state.values() for k, t in s.items() if k != "step")
    assert held["AdamW states"] == states


def test_strategies_share_what_they_should():
    p = PUBLISHED["7B"].parameters

    def held(strategy, processes=8, *sets):
        found = estimate(PUBLISHED["7B"], recipe(f"train.launch.strategy={strategy}", *sets), processes, 80 * GB)
        return [round(size / p, 3) for size in lines(found).values()]

    assert held("fsdp2") == [0.5, 0.5, 1.0, 0.5]
    assert held("ddp") == [4, 8, 8, 4], "DDP keeps its buckets beside the gradients"
    assert held("fsdp2", 1) == [4, 4, 8, 4], "one process shares nothing"
    assert held("zero2")[0] == 2.5 and held("zero2")[2:] == [1.0, 2.0] and held("zero3")[0] == 0.75
    assert held("fsdp2", 8, "train.beta=0") == [0.5, 0.5, 1.0], "no reference model"
    frozen = lines(estimate(PUBLISHED["7B"], recipe("train.freeze_vision=true"), 8, 80 * GB))
    assert frozen["AdamW states"] == 8 * (p - PUBLISHED["7B"].vision) // 8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keys_and_values_are_those_of_the_engine(shape, tiny, dtype):
    from trlt.engine.attention import use_branches

    use_branches(tiny.model)
    recorder = forest.Recorder()
    embeds = torch.randn(3, 7, shape.hidden)
    positions = torch.arange(7)[None, None].expand(3, 3, -1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        tiny.model.model.language_model(
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask={"full_attention": None},
            use_cache=False,
            branches=recorder,
        )
    keys, values = getattr(recorder, "keys"), getattr(recorder, "values")  # noqa: B009
    both = [*(keys.values() if isinstance(keys, dict) else keys), *(values.values() if isinstance(values, dict) else values)]
    size = filled.sizes(recipe(f"model.dtype={dtype}"), 1)
    assert sum(t.nbytes for t in both) == formulas.cache_bytes(shape, size, 3 * 7)


class Peak(TorchDispatchMode):
    """Most bytes of tensors that live at once, but for those whose storage is in `skip`."""

    def __init__(self, skip):
        super().__init__()
        self.live = self.peak = 0
        self._known, self._skip = set(), skip

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._see(tensor.untyped_storage())
        return out

    def _see(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._skip:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)

        def gone():
            self._known.discard(key)
            self.live -= size

        weakref.finalize(storage, gone)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("checkpointing", [True, False], ids=["checkpointing", "plain"])
@pytest.mark.parametrize(("shared", "bf16"), [(True, True), (True, False), (False, True)], ids=["bf16", "float32", "full"])
def test_a_pass_takes_what_the_formulas_say(tiny, shape, noise_clip, monkeypatch, checkpointing, shared, bf16):
    """Measured: everything that lives during forward and backward pass, in real tensors."""
    model, builder = tiny.model, InputBuilder(tiny.model, tiny.processor)
    attach(model)
    clip = builder.clip(noise_clip(frames=16, side=112))
    prompt = builder.prompt("You answer questions about a video.", "Question: what moves left", clip)
    ids = np.random.default_rng(0).integers(20, 300, (4, 32)).tolist()
    batch = collate([Group(clip, prompt, tuple(map(tuple, ids)))], full=not shared)
    monkeypatch.setattr(filled, "TEXT_TOKENS", len(prompt.prefix) + len(prompt.suffix) - clip.tokens)
    settings = ["train.group_size=4", "train.max_new_tokens=32", f"train.shared_prefix={str(shared).lower()}"]
    settings += [f"train.gradient_checkpointing={str(checkpointing).lower()}", f"video.max_tokens={clip.tokens}"]
    settings += [f"model.dtype={'bfloat16' if bf16 else 'float32'}"]
    told, tokens = estimate(shape, recipe(*settings), 1, GB), filled.sizes(recipe(*settings), 1).tokens
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    own = {t.untyped_storage()._cdata for w in model.parameters() for t in (w, w.grad)}
    saved = {batch.pixels.untyped_storage()._cdata: batch.pixels.nbytes}
    kept = []
    streams: dict[int, int] = {}

    def pack(tensor):
        kept.append(tensor)
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage.nbytes()
            if tensor.shape[-1] == shape.hidden and tensor.numel() == tokens * shape.hidden:
                streams[storage._cdata] = storage.nbytes()
        return tensor

    precision = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), precision:
        out = forward(model, batch)
    between = lines(told, "pass")
    if checkpointing:
        assert 0.8 < between["activations, language"] / sum(streams.values()) <= 1.2
    stays = between["activations, language"] + between["activations, vision"]
    # Autocast's copies of weights are saved where a layer isn't computed again; else they only live as long as autocast does.
    stays += 0 if checkpointing else between.get("weights in use", 0)
    assert 0.8 < stays / sum(saved.values()) < 1.2
    del out
    kept.clear()
    with Peak(own) as peak:
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            out = forward(model, batch)
        out.logps.sum().backward()
    assert 0.8 < told.of("pass") / (peak.peak + batch.pixels.nbytes) < 1.2


def test_constants_are_the_modules():
    assert formulas.CHUNK == CHUNK
    assert formulas.PREFILL_TOKENS == getattr(forest, "PREFILL_TOKENS", formulas.PREFILL_TOKENS)


# -- verdict and advice ------------------------------------------------------------------------------------------------


def test_the_papers_setting_fits():
    found = estimate(PUBLISHED["7B"], recipe(), 8, 80 * GB)
    assert found.fits and found.headroom == found.gpu - found.peak > 0
    assert found.peak > found.of("held") + max(found.of("pass"), found.of("rollout"))
    assert not estimate(PUBLISHED["7B"], recipe(), 1, 80 * GB).fits
    assert not estimate(PUBLISHED["32B"], recipe(), 64, 80 * GB).fits, "each GPU holds all weights while it starts"
    size = filled.sizes(recipe(), 8)
    assert size.tokens == 2048 + filled.TEXT_TOKENS + 8 * 768
    assert replace(size, shared=False).tokens == 8 * (2048 + filled.TEXT_TOKENS + 768)
    sft = estimate(PUBLISHED["7B"], recipe("train.method=sft"), 8, 80 * GB)
    assert not sft.of("rollout") and "reference model" not in lines(sft)


def written(value):
    return json.dumps(value.model_dump() if hasattr(value, "model_dump") else value)


@pytest.mark.parametrize(
    ("sets", "gpu", "expected"),
    [
        (["train.launch.strategy=ddp"], 80, "train.launch.strategy ddp -> fsdp2"),
        (["train.gradient_checkpointing=false"], 80, "train.gradient_checkpointing false -> true"),
        (["train.prompts_per_pass=6"], 80, "train.prompts_per_pass 6 -> 3"),
        (["train.gradient_checkpointing=false", "train.shared_prefix=false"], 80, "train.gradient_checkpointing false -> true"),
    ],
)
def test_advice_makes_it_fit(sets, gpu, expected):
    tried = recipe(*sets)
    assert not estimate(PUBLISHED["7B"], tried, 8, gpu * GB).fits
    changes = advise(PUBLISHED["7B"], tried, 8, gpu * GB)
    assert expected in [str(change) for change in changes]
    for change in changes:
        processes = next((int(new) for key, _, new in change.keys if key.endswith("processes")), 8)
        text = [f"{key}={written(new)}" for key, _, new in change.keys if not key.endswith("processes")]
        assert estimate(PUBLISHED["7B"], recipe(*sets, *text), processes, gpu * GB).fits, str(change)


def test_a_reference_model_is_whole_beside_the_policy_when_fsdp2_starts():
    with_it, without, zero3 = (
        estimate(PUBLISHED["7B"], recipe(*sets), 8, 80 * GB) for sets in ([], ["train.beta=0"], ["train.launch.strategy=zero3"])
    )
    assert with_it.start == 2 * without.start == 2 * zero3.start and with_it.host == without.host
    assert with_it.fits and not estimate(PUBLISHED["7B"], recipe(), 8, 64 * GB).fits


def test_several_changes_where_one_is_not_enough_and_none_where_nothing_helps():
    hard = recipe("train.launch.strategy=ddp", "train.gradient_checkpointing=false", "train.prompts_per_pass=6")
    changes = advise(PUBLISHED["7B"], hard, 8, 64 * GB)
    assert changes and all(len(change.keys) > 1 for change in changes)
    assert any("strategy ddp -> fsdp2, " in str(change) for change in changes)
    assert advise(PUBLISHED["72B"], recipe(), 8, 80 * GB) == []
