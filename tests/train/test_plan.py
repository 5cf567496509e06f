"""What the plan computes, held to what torch really holds; on the CPU, never on a GPU."""

from __future__ import annotations

import copy
import json
import shlex
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from measured_memory import Peak, lines, make_pass, recipe
from paths import ROOT

from trlt.engine import forest, sampling, shared_prefix
from trlt.engine.model import with_adapters
from trlt.errors import ModelError
from trlt.recipe import load_recipe
from trlt.train.memory_plan import GB, PUBLISHED, activations, advise, can_fit, estimate, find_architecture, lower_limits
from trlt.train.memory_plan import gpu_memory as formulas
from trlt.train.memory_plan import lines as constants
from trlt.train.memory_plan import sizes as filled

SIZES = {size: PUBLISHED[f"Qwen2.5-VL-{size}"] for size in ("3B", "7B", "32B", "72B")}


@pytest.fixture(scope="module")
def shape(tiny_path):
    return find_architecture(str(tiny_path))


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "billions"), [("3B", 3.75), ("7B", 8.29), ("32B", 33.45), ("72B", 73.41)])
def test_parameters_of_the_published_sizes(size, billions):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    a = SIZES[size]
    text = {"vocab_size": a.vocabulary, "hidden_size": a.hidden, "intermediate_size": a.intermediate}
    text |= {"num_hidden_layers": a.layers, "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads}
    vision = {"hidden_size": a.vision_hidden, "intermediate_size": a.vision_intermediate, "depth": a.vision_layers}
    vision |= {"num_heads": 16, "out_hidden_size": a.hidden}
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
    a = SIZES["3B"]
    config = {"model_type": "qwen2_5_vl", "hidden_size": a.hidden, "intermediate_size": a.intermediate}
    config |= {"num_hidden_layers": a.layers, "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads}
    config |= {
        "vocab_size": a.vocabulary,
        "tie_word_embeddings": True,
        "max_position_embeddings": 128_000,
        "hidden_act": "silu",
    }
    config |= {"rms_norm_eps": 1e-6, "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}
    config |= {"image_token_id": 151_655, "video_token_id": 151_656, "vision_start_token_id": 151_652}
    vision = {"depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3}
    vision |= {"out_hidden_size": 2048, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112}
    config["vision_config"] = vision | {"fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = find_architecture(str(tmp_path))
    assert read is not None and replace(read, source="") == a
    del config["hidden_size"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="hidden_size"):
        find_architecture(str(tmp_path))


# -- bytes -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_adapters_bytes_are_those_of_peft(shape, tiny):
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
    seven = SIZES["7B"]
    whole, half, quarter = (
        lines(estimate(seven, recipe("train.prompts_per_step=8", *sets), 1, 80 * GB))["weights"] / GB
        for sets in ([], ["train.lora={}"], ["train.lora={quantize: nf4}"])
    )
    assert whole == pytest.approx(33.2, abs=0.1) and half == pytest.approx(16.6, abs=0.1)
    assert quarter == pytest.approx(6.5 * 0.516 + 2 * (8.29 - 6.53), abs=0.2)
    big = SIZES["72B"]
    refused = recipe("train.prompts_per_step=8", "train.launch.processes=8")
    assert not estimate(big, refused, 8, 80 * GB).fits
    alone = recipe("train.prompts_per_step=8", "train.lora={quantize: nf4}", "train.launch.strategy=ddp")
    assert estimate(SIZES["32B"], alone, 8, 80 * GB).fits


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
    p = SIZES["7B"].parameters

    def held(strategy, processes=8, *sets):
        found = estimate(SIZES["7B"], recipe(f"train.launch.strategy={strategy}", *sets), processes, 80 * GB)
        return [round(size / p, 3) for size in lines(found).values()]

    kept = SIZES["7B"].unrounded / p
    assert held("fsdp2") == [0.5, 0.5, 1.0, 0.25]
    assert held("fsdp2", 8, "model.dtype=float32") == [0.5, 0.5, 1.0, 0.5]
    assert held("ddp") == [4, 8, 8, round(2 + 2 * kept, 3)], "DDP keeps its buckets beside the gradients"
    assert held("fsdp2", 1) == [4, 4, 8, round(2 + 2 * kept, 3)], "one process shares nothing"
    assert held("fsdp2", 1, "model.dtype=float32")[3] == 4
    assert held("zero2")[0] == 2.5 and held("zero2")[2:] == [1.0, 2.0] and held("zero3")[0] == 0.75
    assert held("fsdp2", 8, "train.beta=0") == [0.5, 0.5, 1.0], "no reference model"
    frozen = lines(estimate(SIZES["7B"], recipe("train.freeze_vision=true"), 8, 80 * GB))
    assert frozen["AdamW states"] == 8 * (p - SIZES["7B"].vision) // 8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_the_references_bytes_are_those_of_torch(tiny_path, published, kind, dtype):
    from trlt.train.sharded_loading import load_reference

    path = str(tiny_path if kind == "tied" else published("7b", "float32"))
    shape = find_architecture(path)
    found = estimate(shape, recipe(f"model.dtype={dtype}", "train.prompts_per_step=8"), 1, 80 * GB)
    assert lines(found)["reference model"] == sum(w.nbytes for w in load_reference(path, getattr(torch, dtype)).parameters())


def test_slices_of_4_bits_there_are_none():
    whole, adapters = recipe("train.lora={quantize: nf4}"), recipe("train.lora={}")
    assert (whole.train.strategy, adapters.train.strategy) == ("ddp", "fsdp2")
    alone, shared = (estimate(SIZES["7B"], one, n, 80 * GB) for one, n in ((whole, 1), (whole, 8)))
    assert lines(alone) == lines(shared)
    assert lines(estimate(SIZES["7B"], adapters, 8, 80 * GB))["weights"] == SIZES["7B"].parameters * 2 // 8


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


@pytest.fixture
def pass_of(tiny, shape, noise_clip, monkeypatch):
    """A pass of the tiny model as a recipe asks for it."""
    return partial(make_pass, tiny.model, tiny.processor, shape, noise_clip(frames=16, side=112), monkeypatch)


LORA = "train.lora={rank: 8}"


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("checkpointing", [True, False], ids=["checkpointing", "plain"])
@pytest.mark.parametrize(
    ("sets", "bf16", "full"),
    [([], True, False), ([], False, False), ([], True, True), ([LORA], True, False), ([LORA], False, False)],
    ids=["bf16", "float32", "full", "adapters-bf16", "adapters-float32"],
)
def test_a_pass_takes_what_the_formulas_say(pass_of, checkpointing, sets, bf16, full):
    """Measured: everything that lives during forward and backward pass, in real tensors."""
    made = pass_of(*sets, checkpointing=checkpointing, bf16=bf16, full=full)
    between = lines(made.told, "pass")
    saved, streams = made.saved()
    if checkpointing:
        assert 0.8 < between["activations, language"] / streams <= 1.2
    stays = between["activations, language"] + between["activations, vision"]
    # Autocast's copies of weights are saved where a layer isn't computed again; else they only live as long as autocast does.
    stays += 0 if checkpointing else between.get("weights in use", 0)
    sys.stdout.write(f"saved: formula {stays / saved:.2f} of what is measured\n")
    assert 0.8 < stays / saved < 1.2
    ratio = made.told.of("pass") / made.peak()
    sys.stdout.write(f"peak: formula {ratio:.2f} of what is measured\n")
    # Beside adapters there are no gradients of weights, and less lives at once than the formula counts.
    assert 0.8 < ratio < (1.3 if sets else 1.2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_drawing_takes_what_the_formulas_say(shape, dtype):
    wide = replace(shape, vocabulary=152_064)
    size, rows = filled.sizes(recipe(f"model.dtype={dtype}"), 1), 120
    logits = torch.randn(rows, wide.vocabulary, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    uniform, banned = torch.full((rows,), 0.5, dtype=torch.float64), torch.zeros(wide.vocabulary, dtype=torch.bool)
    with Peak(set()) as peak:
        sampling.draw(logits, uniform, sampling.Sampling(top_p=0.99), banned)
    measured = peak.peak + 2 * logits.nbytes  # those of each cohort, and all of them joined
    assert 0.8 < formulas.drawing_bytes(wide, size, rows) / measured < 1.2


def test_constants_are_the_modules():
    assert (constants.CHUNK_BYTES, constants.PER_LOGIT) == (shared_prefix.CHUNK_BYTES, shared_prefix.PER_LOGIT)
    assert all(activations.chunk_tokens(v) == shared_prefix.chunk_tokens(v) for v in (448, 151_936, 152_064, 10**9))
    assert constants.PREFILL_TOKENS == forest.PREFILL_TOKENS and constants.DRAWN == sampling.AT_ONCE


# -- verdict and advice ------------------------------------------------------------------------------------------------


def test_the_papers_setting_fits():
    found = estimate(SIZES["7B"], recipe(), 8, 80 * GB)
    assert found.fits and found.headroom == found.gpu - found.peak > 0
    assert found.peak > found.of("held") + max(found.of("pass"), found.of("rollout"))
    assert estimate(SIZES["7B"], load_recipe(ROOT / "recipes/32k.yaml"), 8, 80 * GB).peak <= 55 * GB
    assert not estimate(SIZES["7B"], recipe(), 1, 80 * GB).fits
    assert not estimate(SIZES["32B"], recipe(), 64, 80 * GB).fits, "each GPU samples with all weights"
    size = filled.sizes(recipe(), 8)
    assert size.tokens == 2048 + filled.TEXT_TOKENS + 8 * 768
    assert replace(size, shared=False).tokens == 8 * (2048 + filled.TEXT_TOKENS + 768)
    sft = estimate(SIZES["7B"], recipe("train.method=sft"), 8, 80 * GB)
    assert not sft.of("rollout") and "reference model" not in lines(sft)


def test_a_run_starts_with_slices():
    p, vd = SIZES["7B"].parameters, SIZES["7B"].embedding
    shared, whole = (estimate(SIZES["7B"], recipe(), n, 80 * GB) for n in (8, 1))
    assert shared.start == 4 * p // 8 + 2 * p // 8 and whole.start > 6 * p
    assert (shared.loading, whole.loading) == (4 * vd // 8, 4 * vd)
    assert shared.saving == 8 * p and not whole.saving


def pasted(change):
    """The recipe's settings of a line that is pasted behind the command, and how many processes it asks for."""
    flags = shlex.split(str(change))
    assert flags[::2] == ["--set"] * (len(flags) // 2)
    return flags[1::2], next((int(one.rpartition("=")[2]) for one in flags[1::2] if "launch.processes" in one), None)


@pytest.mark.parametrize(
    ("sets", "gpu", "expected"),
    [
        (["train.launch.strategy=ddp"], 80, "--set train.launch.strategy=fsdp2"),
        (["train.gradient_checkpointing=false"], 64, "--set train.gradient_checkpointing=true"),
        (["train.prompts_per_pass=6", "train.loss=bnpo"], 64, "--set train.prompts_per_pass=3"),
        (["train.gradient_checkpointing=false", "train.shared_prefix=false"], 80, "--set train.gradient_checkpointing=true"),
        (["train.beta=0"], 38, "--set train.launch.processes=12"),
    ],
)
def test_advice_makes_it_fit(sets, gpu, expected):
    tried = recipe(*sets)
    assert not can_fit(SIZES["7B"], tried, 8, gpu * GB)
    changes = advise(SIZES["7B"], tried, 8, gpu * GB)
    assert expected in [str(change) for change in changes]
    for change in changes:
        text, processes = pasted(change)
        assert can_fit(SIZES["7B"], recipe(*sets, *text), processes or 8, gpu * GB), str(change)


def test_several_changes_where_one_is_not_enough_and_none_where_nothing_helps():
    hard = recipe("train.launch.strategy=ddp", "train.gradient_checkpointing=false", "train.prompts_per_pass=6")
    changes = advise(SIZES["7B"], hard, 8, 60 * GB)
    assert changes and all(len(change.keys) > 1 for change in changes)
    assert any("train.launch.strategy=fsdp2" in str(change) for change in changes)
    assert advise(SIZES["72B"], recipe(), 8, 40 * GB) == []


def test_each_step_of_a_change_is_needed():
    """Pairs climb together, and each key is then taken back as far as it still fits."""
    tried, gpu = recipe("train.lora={}", "train.max_sequences=8"), 18 * GB
    [change, *_] = [one for one in advise(SIZES["7B"], tried, 1, gpu) if not pasted(one)[1]]
    assert str(change) == "--set train.lora.quantize=nf4 --set train.max_new_tokens=384"
    for milder in (["train.max_new_tokens=384", "train.lora={}"], ["train.max_new_tokens=512", "train.lora={quantize: nf4}"]):
        assert not can_fit(SIZES["7B"], recipe("train.max_sequences=8", *milder), 1, gpu)


def test_lines_leave_out_what_is_lowered_without_being_asked():
    """A line says no more than it has to: completions at once are fitted when it is pasted."""
    [change] = [one for one in advise(SIZES["7B"], recipe("train.lora={}"), 1, 24 * GB) if not pasted(one)[1]]
    assert str(change) == "--set train.lora.quantize=nf4"
    pasted_recipe = recipe("train.lora={quantize: nf4}")
    assert not estimate(SIZES["7B"], pasted_recipe, 1, 24 * GB).fits
    assert estimate(SIZES["7B"], lower_limits(SIZES["7B"], pasted_recipe, 1, 24 * GB), 1, 24 * GB).fits


ONE_GPU = {
    ("3B", "{}", 24): 64,
    ("3B", "{}", 48): 248,
    ("3B", "{}", 80): 256,
    ("3B", "{quantize: nf4}", 24): 96,
    ("3B", "{quantize: nf4}", 48): 256,
    ("3B", "{quantize: nf4}", 80): 256,
    ("7B", "{}", 24): "--set train.lora.quantize=nf4",
    ("7B", "{}", 48): 120,
    ("7B", "{}", 80): 256,
    ("7B", "{quantize: nf4}", 24): 56,
    ("7B", "{quantize: nf4}", 48): 176,
    ("7B", "{quantize: nf4}", 80): 256,
}
"""What becomes of the paper's recipe on one GPU with adapters: completions drawn at once, else the first line that is told."""


@pytest.mark.parametrize(("size", "lora", "gpu"), ONE_GPU)
def test_one_gpu_is_enough_or_is_told_what_makes_it_enough(size, lora, gpu):
    sets = [f"train.lora={lora}", "train.launch.processes=1"]
    tried, model = load_recipe(ROOT / "recipes/32k.yaml", sets=sets), SIZES[size]
    expected = ONE_GPU[size, lora, gpu]
    if isinstance(expected, int):
        taken = lower_limits(model, tried, 1, gpu * GB)
        assert taken.train.max_sequences == expected and estimate(model, taken, 1, gpu * GB).fits
        return
    changes = advise(model, tried, 1, gpu * GB)
    assert str(changes[0]) == expected and not can_fit(model, tried, 1, gpu * GB)
    for change in changes:
        text, processes = pasted(change)
        changed = load_recipe(ROOT / "recipes/32k.yaml", sets=[*sets, *text])
        assert can_fit(model, changed, processes or 1, gpu * GB), str(change)


def test_the_table_of_one_gpu_is_what_the_plan_says():
    text = (ROOT / "docs/scaling-out.md").read_text(encoding="utf-8")
    for (size, lora, gpu), expected in ONE_GPU.items():
        recipe_ = load_recipe(ROOT / "recipes/32k.yaml", sets=[f"train.lora={lora}", "train.launch.processes=1"])
        peak = estimate(SIZES[size], recipe_, 1, gpu * GB).peak / GB
        kind = "LoRA" if lora == "{}" else "QLoRA"
        told = f"with `{expected}`" if isinstance(expected, str) else f"with {expected} at once" if expected < 256 else "yes"
        assert f"| {size}, {kind} | {gpu} GB | {peak:.1f} GB | {told} |" in text
