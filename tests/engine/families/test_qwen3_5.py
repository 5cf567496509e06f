"""Qwen3.5: what its config.json has to say, how chats open or close a thought, its files, and BF16."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trl

from trlt.engine import memory
from trlt.engine.agreement import TOLERANCES
from trlt.engine.families import FAMILIES, family_named
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.library_forward import score
from trlt.engine.model import load, save, with_adapters
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.errors import ModelError
from trlt.recipe import Lora, Model
from trlt.video.clip import Clip

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
FAMILY = family_named("qwen3_5")
TEMPLATES = Path(trl.__file__).parent / "chat_templates"
CLOSED = "<think>\n\n</think>\n\n"


@pytest.fixture
def folder(family_path, tmp_path):
    return Path(shutil.copytree(family_path(FAMILY), tmp_path / "model"))


def opened(folder, dtype="float32"):
    return load(Model(path=str(folder), dtype=dtype, device="cpu"))


def noise(frames=4, seed=0):
    side = FAMILY.geometry.side
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 3, side, 2 * side), dtype=np.uint8)
    return Clip.of(pixels, np.arange(frames) / 2, sample_fps=2.0, duration=frames / 2, geometry=FAMILY.geometry)


# -- chats ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3_5_think", "qwen3_5_nothink"])
@pytest.mark.parametrize("think", [True, False, None])
def test_published_templates_open_or_close_a_thought(folder, name, think):
    """Templates as TRL ships them; without a word on thinking, each has its own way."""
    (folder / "chat_template.jinja").write_text((TEMPLATES / f"{name}.jinja").read_text())
    loaded = opened(folder)
    builder = InputBuilder(loaded.model, loaded.processor)
    inputs = builder.clip(noise())
    prompt = builder.prompt("sys", "which first?", inputs, think=think)
    opens = think if think is not None else name == "qwen3_5_think"
    assert prompt.opening == ("<think>\n" if opens else "")
    times = "".join(f"<{t} seconds><|vision_start|><|video_pad|><|video_pad|><|vision_end|>" for t in ("0.2", "1.2"))
    expected = (
        f"<|im_start|>system\nsys<|im_end|>\n<|im_start|>user\n{times}which first?<|im_end|>\n<|im_start|>assistant\n"
        + ("<think>\n" if opens else CLOSED)
    )
    ids = torch.cat([prompt.prefix, prompt.suffix]).tolist()
    assert loaded.processor.tokenizer.decode(ids) == expected
    assert ids == loaded.processor.tokenizer(expected, add_special_tokens=False)["input_ids"]
    library = score(loaded.model, loaded.processor, noise(), "sys", "which first?", (5, 6), think=think)
    assert library.entered.ids.tolist() == [*ids, 5]


def test_completions_are_read_with_their_opening(folder):
    (folder / "chat_template.jinja").write_text((TEMPLATES / "qwen3_5_think.jinja").read_text())
    loaded = opened(folder)
    requests = tuple(PromptRequest(str(think), "", "q", think=think) for think in (True, False))
    [[[asked], [unasked]]] = Engine(loaded.model, loaded.processor).generate(
        [Tree(noise(), requests)], Sampling(max_new_tokens=4)
    )
    assert asked.text.startswith("<think>\n") and not unasked.text.startswith("<think>")


# -- files ------------------------------------------------------------------------------------------------------------


def put(key, value):
    def change(config):
        section, _, name = key.rpartition(".")
        holder = config[section] if section else config
        if value is None:
            del holder[name]
        else:
            holder[name] = value

    return change


KINDS = "a list of text_config.num_hidden_layers (4) is expected, of linear_attention and full_attention"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("text_config.linear_num_value_heads", 3), "a multiple of text_config.linear_num_key_heads (2) is expected, not 3"),
        (put("text_config.linear_conv_kernel_dim", None), "text_config.linear_conv_kernel_dim: missing"),
        (put("text_config.layer_types", None), "text_config.layer_types: missing"),
        (put("text_config.layer_types", ["full_attention"] * 3), KINDS),
        (put("text_config.layer_types", ["sliding_attention"] * 4), KINDS),
        (put("text_config.layer_types", ["linear_attention"] * 4), "text_config.layer_types: one full_attention at least"),
        (put("text_config.head_dim", None), "text_config.head_dim: missing"),
        (put("model_type", "qwen3_5_moe"), "says model_type 'qwen3_5_moe'; trlt tunes qwen2_5_vl (Qwen2.5-VL)"),
    ],
)
def test_what_a_config_must_say(folder, change, words):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert words in str(error.value) and str(folder / "config.json") in str(error.value)


def test_the_share_of_a_head_that_is_turned_must_be_told(folder):
    """A quarter in published models; the library would take a quarter for granted."""
    config = json.loads((folder / "config.json").read_text())
    rope = config["text_config"]["rope_parameters"]
    for part, words in ((None, "partial_rotary_factor: missing"), (1.0, "numbers that add up to 16 are expected")):
        rope["partial_rotary_factor"] = part
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=words):
            opened(folder)


def test_saved_and_loaded_again_it_says_the_same(folder, tmp_path):
    first = opened(folder)
    attach(first.model)
    save(first.model, first.processor, tmp_path / "again")
    second = opened(tmp_path / "again")
    ids = torch.arange(70)[None] + 5
    with torch.no_grad():
        assert torch.equal(first.model(input_ids=ids).logits, second.model(input_ids=ids).logits)
    assert type(second.processor.tokenizer) is type(first.processor.tokenizer)
    words = "Which of 12 events (0.5 to 3.25 s) isn't shown?\n\n<think>\nA. dog's runs</think>"
    assert first.processor.tokenizer(words)["input_ids"] == second.processor.tokenizer(words)["input_ids"]
    assert second.processor.tokenizer.decode(second.processor.tokenizer(words)["input_ids"]) == words
    assert second.processor.chat_template == first.processor.chat_template
    kept = (tmp_path / "again" / "config.json").read_text()
    assert "trlt" not in kept and json.loads(kept)["text_config"]["layer_types"][:3] == ["linear_attention"] * 3


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_engine_counts_as_the_plan_does(family, family_path):
    config = json.loads((family_path(family) / "config.json").read_text())
    text = family.classes().config(**config).text_config
    shape = family.shape(config)
    for dtype in (torch.float32, torch.bfloat16):
        assert memory.token_bytes(text, dtype) == shape.cache(dtype.itemsize)
        assert memory.state_bytes(text, dtype) == shape.state(dtype.itemsize)
    assert (shape.state(2) > 0) == (family is FAMILY)


# -- training and precision -------------------------------------------------------------------------------------------


def groups_of(builder):
    made = []
    for seed, (frames, words, lengths) in enumerate(((2, "q", (3, 1)), (6, "what is shown here", (7, 66)))):
        inputs = builder.clip(noise(frames, seed))
        completions = tuple(tuple(torch.arange(n).add(30).tolist()) for n in lengths)
        made.append(Group(inputs, builder.prompt("", words, inputs), completions))
    return made


def test_adapters_of_linear_layers_learn_over_a_shared_prefix(folder):
    loaded = opened(folder)
    model = with_adapters(loaded.model, Lora(rank=2), seed=1)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            weight.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
    attach(loaded.model)
    groups = groups_of(InputBuilder(loaded.model, loaded.processor))

    def gradients(**how):
        model.zero_grad()
        loaded.model(tree=collate(groups, **how)).logps.sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    tree, full = gradients(), gradients(full=True)
    linear = [name for name in full if ".linear_attn." in name]
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in linear} == {"in_proj_qkv", "in_proj_z", "out_proj"}
    for name, reference in full.items():
        assert reference.norm() > 0 and (tree[name] - reference).norm() <= 1e-3 * reference.norm() + 1e-6, name


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copied", "pickled"])
def test_a_copy_runs_its_own_linear_layers(folder, how):
    loaded = opened(folder)
    attach(loaded.model)
    batch = collate(groups_of(InputBuilder(loaded.model, loaded.processor)))
    twin = how(loaded.model)
    with torch.no_grad():
        mine = loaded.model(tree=batch).logps
        assert torch.equal(twin(tree=batch).logps, mine)
        for name, weight in twin.named_parameters():
            if "linear_attn.out_proj" in name:
                weight.zero_()
        theirs = twin(tree=batch).logps
        assert torch.equal(loaded.model(tree=batch).logps, mine) and not torch.allclose(theirs, mine, atol=0.1)


@pytest.mark.parametrize("how", ["bfloat16", "autocast"])
def test_in_bf16_the_engine_the_trainer_and_full_sequences_agree(folder, how):
    """Prompts of unequal length in one pass, two of them below one clip; decoded step by step."""
    loaded = opened(folder, "float32" if how == "autocast" else how)
    engine = Engine(loaded.model, loaded.processor, exact=False)
    attach(loaded.model)
    words = ("q", "what is shown here")
    trees = [Tree(noise(n, n), tuple(PromptRequest(f"{n}{w}", "", w, n=3) for w in words)) for n in (2, 6)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        drawn = engine.generate(trees, Sampling(max_new_tokens=24, seed=1))
        groups = []
        for tree, answers in zip(trees, drawn, strict=True):
            inputs = engine.builder.clip(tree.clip)
            for request, completions in zip(tree.requests, answers, strict=True):
                prompt = engine.builder.prompt("", request.user, inputs)
                groups.append(Group(inputs, prompt, tuple(one.tokens for one in completions)))
        rows = [torch.tensor(one.logps) for answers in drawn for some in answers for one in some]
        for form in ({}, {"full": True}):
            scored = loaded.model(tree=collate(groups, **form)).logps
            gaps = torch.cat([(mine - row[: len(mine)]).abs() for mine, row in zip(rows, scored, strict=True)])
            assert gaps.isfinite().all() and len(gaps) > 100
            assert gaps.max() < TOLERANCES["bfloat16"].largest and gaps.mean() < TOLERANCES["bfloat16"].mean, form
            # Under autocast, the library's chunks round ten times as much: both our sides keep the rule in float32.
            assert form or gaps.mean() < 0.008
