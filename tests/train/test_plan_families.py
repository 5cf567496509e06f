"""The plan of memory for each family beside the first, held to what torch holds for a tiny model of it; on the CPU."""

from __future__ import annotations

import copy
import inspect
import shlex
import sys

import numpy as np
import pytest
import torch
from measured_memory import Peak, lines, make_pass, recipe
from paths import ROOT

from trlt.engine.cohort import Recorder
from trlt.engine.families import FAMILIES
from trlt.engine.model import fit_adapters, load, with_adapters
from trlt.engine.request_queue import COPIES
from trlt.recipe import Lora, Model, load_recipe
from trlt.train.memory_plan import GB, PUBLISHED, activations, advise, can_fit, estimate, find_architecture
from trlt.train.memory_plan import gpu_memory as formulas
from trlt.train.memory_plan import lines as constants
from trlt.train.memory_plan import sizes as filled
from trlt.video.clip import Clip

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
LORA = "train.lora={rank: 8}"


@pytest.fixture(params=FAMILIES[1:], ids=lambda family: family.name, scope="module")
def family(request):
    return request.param


@pytest.fixture(scope="module")
def path(family, family_path):
    return str(family_path(family))


@pytest.fixture
def loaded(path):
    return load(Model(path=path, dtype="float32", device="cpu"))


@pytest.fixture(scope="module")
def shape(path):
    return find_architecture(path)


@pytest.fixture
def clip(family):
    side = 4 * family.geometry.side
    frames = np.random.default_rng(0).integers(0, 256, (16, 3, side, side), dtype=np.uint8)
    return Clip.of(frames, np.arange(16) / 2, sample_fps=2.0, duration=8.0, geometry=family.geometry)


def test_parameters_are_those_of_the_folder(shape, loaded):
    assert shape.parameters == sum(w.numel() for w in loaded.model.parameters())
    assert shape.source.endswith("config.json")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_references_bytes_are_those_of_torch(path, shape, dtype):
    from trlt.train.sharded_loading import load_reference

    found = estimate(shape, recipe(f"model.dtype={dtype}", "train.prompts_per_step=8"), 1, 80 * GB)
    assert lines(found)["reference model"] == sum(w.nbytes for w in load_reference(path, getattr(torch, dtype)).parameters())


@pytest.mark.parametrize("targets", ["all", "attention"])
def test_adapters_bytes_are_those_of_peft(shape, loaded, targets):
    model = with_adapters(copy.deepcopy(loaded.model), Lora(rank=4, targets=targets))
    trained = sum(w.nbytes for w in model.parameters() if w.requires_grad)
    sets = ["model.dtype=float32", f"train.lora={{rank: 4, targets: {targets}}}", "train.prompts_per_step=8"]
    held = lines(estimate(shape, recipe(*sets), 1, 80 * GB))
    assert held["adapters"] == held["gradients"] == trained and held["AdamW states"] == 2 * trained
    assert held["weights"] == sum(w.nbytes for w in loaded.model.parameters())


@pytest.mark.parametrize(
    ("sets", "bf16", "checkpointing"),
    [([], True, True), ([], True, False), ([], False, True), ([LORA], True, True)],
    ids=["bf16", "plain", "float32", "adapters"],
)
def test_a_pass_takes_what_the_formulas_say(loaded, shape, clip, monkeypatch, sets, bf16, checkpointing):
    made = make_pass(loaded.model, loaded.processor, shape, clip, monkeypatch, *sets, checkpointing=checkpointing, bf16=bf16)
    between = lines(made.told, "pass")
    saved, _ = made.saved()
    stays = between["activations, language"] + between["activations, vision"]
    stays += 0 if checkpointing else between.get("weights in use", 0)
    ratio = made.told.of("pass") / made.peak()
    sys.stdout.write(f"formula {stays / saved:.2f} of what is saved, {ratio:.2f} of the peak\n")
    assert 0.8 < stays / saved < 1.2
    assert 0.8 < ratio < (1.3 if sets else 1.2)


@pytest.mark.parametrize(
    "family", [one for one in FAMILIES if one.experts], ids=lambda one: one.name, scope="module", indirect=True
)
@pytest.mark.parametrize("checkpointing", [True, False], ids=["checkpointing", "plain"])
def test_experts_with_adapters_are_made_anew_in_each_layer(loaded, shape, clip, monkeypatch, checkpointing):
    settings = {"checkpointing": checkpointing, "bf16": True}
    lora = "train.lora={rank: 8, targets: all}"
    made = make_pass(loaded.model, loaded.processor, shape, clip, monkeypatch, lora, **settings)
    between = lines(made.told, "pass")
    stays = between["activations, language"] + between["activations, vision"]
    saved, _ = made.saved()
    ratio = made.told.of("pass") / made.peak()
    sys.stdout.write(f"formula {stays / saved:.2f} of what is saved, {ratio:.2f} of the peak\n")
    assert 0.8 < stays / saved < 1.2 and 0.8 < ratio < 1.3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reading_prompts_takes_what_the_formulas_say(family, loaded, shape, dtype):
    """Keys, values and states to the byte; what a layer takes while it works within a fifth."""
    model = loaded.model.to(getattr(torch, dtype))
    family.attach(model)
    ids, positions = torch.randint(20, 300, (2, 640)), torch.arange(640)[None, None].expand(3, 2, -1)
    recorder = Recorder()
    with torch.no_grad(), Peak({w.untyped_storage()._cdata for w in model.parameters()}) as peak:
        family.states(model, ids, positions, None, recorder)
    size = filled.sizes(recipe(f"model.dtype={dtype}", "train.lora={}"), 1, shape)
    held = sum(t.nbytes for kept in (recorder.keys, recorder.values) for t in kept.values())
    assert held == formulas.cache_bytes(shape, size, ids.numel())
    carried = sum(t.nbytes for state in recorder.states.values() for t in state)
    assert carried == 2 * shape.state(size.computed) == formulas.state_bytes(shape, size, 2, 0)
    ratio = ids.numel() * activations.prefill_work(shape, size) / (peak.peak - held - carried)
    sys.stdout.write(f"formula {ratio:.2f} of what is measured\n")
    assert 0.8 < ratio < 1.2


def test_times_are_counted_beside_the_video(family, shape):
    asked = recipe("video.max_frames=100", "video.max_tokens=1000", "train.group_size=4", "train.max_new_tokens=10")
    size = filled.sizes(asked, 1, shape)
    assert (size.video, size.times) == (1000, 50 * family.time_tokens)
    assert size.tokens == 1000 + 50 * family.time_tokens + filled.TEXT_TOKENS + 4 * 10


def test_constants_are_those_of_the_engine_and_of_the_library():
    from transformers.models.qwen3_5.modeling_qwen3_5 import torch_chunk_gated_delta_rule

    assert constants.COPIES == COPIES
    assert constants.CHUNK == inspect.signature(torch_chunk_gated_delta_rule).parameters["chunk_size"].default


# -- advice ------------------------------------------------------------------------------------------------------------

PUBLISHED_AS = {
    "Qwen3-VL-4B": "Qwen3-VL",
    "Qwen3-VL-8B": "Qwen3-VL",
    "Qwen3-VL-30B-A3B": "Qwen3-VL-MoE",
    "Qwen3.5-9B": "Qwen3.5",
}
CASES = [
    (name, processes, gpu, lora)
    for name in PUBLISHED_AS
    for processes, gpu in ((1, 24), (1, 80), (8, 80))
    for lora in (None, "{}", "{quantize: nf4}")
    if not ("A3B" in name and lora == "{quantize: nf4}")
]


@pytest.mark.parametrize(("name", "processes", "gpu", "lora"), CASES)
def test_lines_of_advice_can_be_pasted_and_make_it_fit(name, processes, gpu, lora):
    """Each line behind the command's own flags, and adapters as the family takes them."""
    family = next(one for one in FAMILIES if one.name == PUBLISHED_AS[name])

    def asked(*sets):
        flags = [f"train.launch.processes={processes}", *([] if lora is None else [f"train.lora={lora}"]), *sets]
        found = load_recipe(ROOT / "recipes/32k.yaml", sets=flags)
        train = found.train
        fitted = fit_adapters(train.lora, family) if train.lora else None
        return found.model_copy(update={"train": train.model_copy(update={"lora": fitted})})

    shape, size = PUBLISHED[name], gpu * GB
    if can_fit(shape, asked(), processes, size):
        return
    for change in advise(shape, asked(), processes, size):
        flags = shlex.split(str(change))[1::2]
        changed = asked(*flags)
        assert can_fit(shape, changed, changed.train.launch.processes, size), str(change)


def told(name, processes, gpu, *sets):
    tried = load_recipe(ROOT / "recipes/32k.yaml", sets=[f"train.launch.processes={processes}", *sets])
    return [str(change) for change in advise(PUBLISHED[name], tried, processes, gpu * GB)]


def test_experts_are_told_neither_4_bits_nor_adapters_of_their_own():
    found = told("Qwen3-VL-30B-A3B", 1, 80)
    assert found and all("'train.lora={rank: 64, targets: attention}'" in line for line in found)
    assert not any("nf4" in line for line in found)
    assert any("train.lora.targets=attention" in line for line in told("Qwen3-VL-30B-A3B", 8, 80, "train.lora={targets: all}"))


def test_beside_adapters_each_process_may_hold_the_base_whole():
    """A mixture's base, sampled with, doesn't fit beside its slice of the same."""
    found = told("Qwen3-VL-30B-A3B", 8, 80, "train.lora={targets: attention}")
    assert found[0] == "--set train.launch.strategy=ddp --set train.max_new_tokens=512"


def test_fewer_frames_are_told_where_each_costs_text():
    found = told("Qwen3-VL-8B", 1, 24, "train.lora={quantize: nf4}")
    assert "--set video.max_frames=512" in found
    assert not any("max_frames" in line for line in told("Qwen2.5-VL-7B", 1, 24, "train.lora={}"))


@pytest.mark.parametrize(
    ("name", "full", "lora", "qlora"),
    [
        ("Qwen3-VL-8B", True, True, True),
        ("Qwen3.5-9B", True, True, True),
        ("Qwen3.5-27B", False, False, True),
        ("Qwen3-VL-32B", False, False, True),
        ("Qwen2.5-VL-32B", False, False, True),
        ("Qwen2.5-VL-72B", False, False, False),
        ("Qwen3-VL-30B-A3B", False, False, None),
        ("Qwen3-VL-235B-A22B", False, False, None),
    ],
)
def test_what_the_readme_says_of_eight_gpus(name, full, lora, qlora):
    def fits(*sets):
        recipe_ = load_recipe(ROOT / "recipes/qwen3-vl-8b.yaml", sets=sets)
        return estimate(PUBLISHED[name], recipe_, 8, 80 * GB).fits

    assert (fits(), fits("train.lora={targets: attention}")) == (full, lora)
    assert qlora is None or fits("train.lora={quantize: nf4}") is qlora
    if name == "Qwen2.5-VL-72B":
        assert fits("train.lora={quantize: nf4}", "train.max_new_tokens=128"), "with short answers"
    if name == "Qwen3-VL-30B-A3B":
        assert fits("train.lora={targets: attention}", "train.launch.strategy=ddp", "train.max_sequences=16")
    if name == "Qwen3-VL-235B-A22B":
        assert not told(name, 8, 80)
