"""What the comparison with the library must notice: each of these is wrong, and runs without an error."""

from __future__ import annotations

from dataclasses import replace

import by_library as library
import numpy as np
import pytest
import torch

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.engine.shared_prefix import Group, attach, collate
from trlt.errors import ModelError, ParityError
from trlt.recipe import Model

FILE = library.File(12, 2, 2, rate=24000 / 1001, step=41, first=3, seed=4)
SAMPLING = Sampling(temperature=1.0, top_p=0.99, max_new_tokens=8, seed=5)
DEEP = [family for family in FAMILIES if family.name.startswith("Qwen3-VL")]
TIMED = [family for family in FAMILIES if family.time_tokens]
NAMED = {"ids": lambda family: family.name}


def engine_of(family, family_path, **how):
    loaded = load(Model(path=str(family_path(family)), dtype="float32", device="cpu"))
    return Engine(loaded.model, loaded.processor, **how), loaded


def ask(engine, family, clip=None):
    clip = FILE.clip(family) if clip is None else clip
    return engine.generate([Tree(clip, (PromptRequest("k", "sys", "what is shown", n=2),))], SAMPLING)


def refused(engine, family, words):
    with pytest.raises(ParityError, match=words):
        ask(engine, family)
    assert engine.parity is None


def gap(family, loaded):
    """Of log-probabilities between the shared prefix and the library's full sequence."""
    attach(loaded.model)
    builder, clip = InputBuilder(loaded.model, loaded.processor), FILE.clip(family)
    inputs, tokens = builder.clip(clip), tuple(range(30, 50))
    group = Group(inputs, builder.prompt("sys", "what is shown", inputs), (tokens,))
    made = library.inputs(loaded.processor, FILE, clip, "sys", "what is shown")
    with torch.no_grad():
        ours = loaded.model(tree=collate([group])).logps[0]
        return float((ours - library.logps(loaded.model, made, tokens)).abs().max())


def test_nothing_is_refused_as_it_is(family, family_path):
    engine, loaded = engine_of(family, family_path, compare_first=True)
    ask(engine, family)
    assert engine.parity and engine.parity.largest < 1e-4 and gap(family, loaded) < 5e-5


@pytest.mark.parametrize("family", DEEP, **NAMED)
@pytest.mark.parametrize("change", ["dropped", "swapped", "one layer late"])
def test_deepstack_features_elsewhere(family, family_path, monkeypatch, change):
    honest = type(family).placed

    def placed(self, embeds, video, features):
        embeds, given = honest(self, embeds, video, features)
        deep = given["deepstack_visual_embeds"]
        changed = {"dropped": [], "swapped": deep[::-1], "one layer late": [torch.zeros_like(deep[0]), *deep]}
        return embeds, given | {"deepstack_visual_embeds": changed[change]}

    monkeypatch.setattr(type(family), "placed", placed)
    engine, loaded = engine_of(family, family_path, compare_first=True)
    refused(engine, family, "log-probabilities differ")
    assert gap(family, loaded) > 0.05


@pytest.mark.parametrize("family", TIMED, **NAMED)
def test_marks_around_a_whole_video(family, family_path, monkeypatch):
    honest = type(family).video_ids

    def video_ids(self, tokenizer, clip):
        start, end = tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|vision_end|>"])
        return [start, *honest(self, tokenizer, clip), end]

    monkeypatch.setattr(type(family), "video_ids", video_ids)
    engine, loaded = engine_of(family, family_path, compare_first=True)
    refused(engine, family, r"tokens differ .*: \d+ and \d+, of which number \d+ is the first that differs")
    assert gap(family, loaded) > 0.01


@pytest.mark.parametrize("family", TIMED, **NAMED)
def test_times_by_the_sampled_rate(family, family_path):
    """Frame 3 of a file isn't at its start, and the last stamp of a clip depends on the file's own rate."""
    engine, loaded = engine_of(family, family_path)
    clip = FILE.clip(family)
    wrong = replace(clip, stamps=np.arange(12) * round(clip.seconds_per_grid / 2, 1))
    made = [engine.builder.prompt("", "q", engine.builder.without_patches(one)).prefix.tolist() for one in (clip, wrong)]
    theirs = library.inputs(loaded.processor, FILE, clip, "", "q")["input_ids"][0].tolist()
    assert theirs[: len(made[0])] == made[0] and theirs[: len(made[1])] != made[1]


@pytest.mark.parametrize("family", TIMED, **NAMED)
def test_other_times_than_the_clips(family, family_path, monkeypatch):
    honest = InputBuilder.without_patches

    def without_patches(self, clip, features=None):
        made = honest(self, clip, features)
        return replace(made, stamps=tuple(t + 0.1 for t in made.stamps))

    monkeypatch.setattr(InputBuilder, "without_patches", without_patches)
    engine, _ = engine_of(family, family_path, compare_first=True)
    refused(engine, family, "tokens differ")


@pytest.mark.parametrize("name", ["Qwen2-VL", "Qwen2.5-VL"])
def test_text_after_a_video_by_the_librarys_rule(name, family_path, monkeypatch):
    [family] = [one for one in FAMILIES if one.name == name]
    monkeypatch.setattr("trlt.engine.mrope.follow_published_positions", lambda model: None)
    engine, _ = engine_of(family, family_path, compare_first=True)
    refused(engine, family, "positions .*differ")


def test_pixels_as_another_family_sees_them(family, family_path):
    """On the engine's side alone; a folder whose processor says so can't be loaded."""
    engine, loaded = engine_of(family, family_path, compare_first=True)
    other = load(Model(path=loaded.path, dtype="float32", device="cpu")).processor
    mean = 0.4 if family.pixels["image_mean"][0] == 0.5 else 0.5
    other.video_processor.image_mean = [mean] * 3
    engine.builder = InputBuilder(loaded.model, other)
    refused(engine, family, r"frames differ .*: pixels are up to \S+ apart after normalization")


def test_a_folder_with_another_familys_pixels_is_refused(family, family_path, tmp_path):
    _, loaded = engine_of(family, family_path)
    wrong = next(one for one in FAMILIES if one.pixels["image_mean"] != family.pixels["image_mean"])
    loaded.processor.video_processor.image_std = list(wrong.pixels["image_std"])
    loaded.model.save_pretrained(tmp_path)
    loaded.processor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="the processor's image_std is .* is published") as caught:
        load(Model(path=str(tmp_path), dtype="float32", device="cpu"))
    assert "processor_config.json again" in str(caught.value)


def test_a_clip_sized_for_another_family(family, family_path):
    """Of 224 pixels a side, which both cut into whole tokens."""
    engine, _ = engine_of(family, family_path)
    other = next(one for one in FAMILIES if one.geometry != family.geometry)
    clip = library.File(2, 7, 7).clip(other)
    with pytest.raises(AssertionError, match="sized for another family"):
        engine.builder.clip(clip)
