"""Token ids of prompts with the published vocabulary and chat templates: those of the library's pass over the whole text."""

from __future__ import annotations

from importlib import resources

import by_library as library
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_shapes.published import tokenizer

from trlt.engine.families import FAMILIES, chat
from trlt.engine.inputs import InputBuilder
from trlt.engine.marks import VISION_TOKENS

TEMPLATES = {"Qwen2.5-VL": "qwen2_5_vl", "Qwen2-VL": "qwen2_5_vl", "Qwen3.5": "qwen3_5_think"}
"""The others have that of Qwen3-VL."""
RATES = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 48.0, 50.0, 60000 / 1001, 60.0)
TEXTS = (
    "",
    "You answer questions about a video.",
    "<0.2 seconds>",
    "> seconds",
    "  two spaces before and behind  ",
    "\n\nlines\r\n",
    "\u0301 an accent without its letter, e\u0301, \u1112\u1161\u11ab",
    "23.976 to 60 <1.0",
    "視頻裡有什麼？",
    "🎥👩‍👩‍👧 emoji\u200d",
    "\ttabs\tand\u00a0hard spaces\u3000",
    "<|object_ref_start|> and <think>",
    "'s it's 'LL",
)


@pytest.fixture(scope="module")
def words():
    """The published vocabulary."""
    return tokenizer()


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def built(request, words):
    """(family, processor, builder), with the published vocabulary and template."""
    family = request.param
    name = TEMPLATES.get(family.name, "qwen3_vl")
    template = resources.files("trl").joinpath(f"chat_templates/{name}.jinja").read_text(encoding="utf-8")
    model, processor = family.tiny(words, template, hidden=64, layers=1)
    family.adapt_processor(processor, {})
    return family, processor, InputBuilder(model, processor)


def both(built, file, system, user):
    """Ids by the engine's parts, and by the library's processor."""
    family, processor, builder = built
    clip = file.clip(family)
    prompt = builder.prompt(system, user, builder.without_patches(clip))
    theirs = library.inputs(processor, file, clip, system, user)
    return [*prompt.prefix.tolist(), *prompt.suffix.tolist()], theirs["input_ids"][0].tolist()


def test_without_a_system_text_the_chat_template_decides(built):
    family, processor, builder = built
    own = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" if family.name.startswith("Qwen2") else ""
    assert family.chat(processor, chat("", "when?"), None).startswith(f"{own}<|im_start|>user\n")
    clip = builder.without_patches(library.File(4, 1, 1, rate=2.0, step=1).clip(family))
    prompt = builder.prompt("", "when?", clip)
    assert builder.decode(prompt.prefix.tolist()).startswith(f"{own}<|im_start|>user\n")


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{rate:.3f}")
def test_times_are_the_processors_at_every_rate(built, rate):
    for count, step, first in ((2, 1, 0), (6, 7, 0), (40, 15, 3), (16, 12, 0), (10, 1000, 0)):
        ours, theirs = both(built, library.File(count, 1, 1, rate=rate, step=step, first=first), "sys", "when?")
        assert ours == theirs, (count, step, first)


@pytest.mark.parametrize("count", [1, 5, 39])
def test_a_last_frame_that_is_alone_has_its_own_time(built, count):
    """The library shows it twice; so do our clips, whose frames are even."""
    family, processor, builder = built
    file = library.File(count, 1, 2, rate=24000 / 1001, step=11)
    clip = file.clip(family)
    theirs = library.inputs(processor, file, clip, "", "when?")["input_ids"][0].tolist()
    file.numbers.append(file.numbers[-1])
    file.count += 1
    twice = file.clip(family)
    prompt = builder.prompt("", "when?", builder.without_patches(twice))
    assert [*prompt.prefix.tolist(), *prompt.suffix.tolist()] == theirs


@pytest.mark.parametrize("system", TEXTS)
def test_parts_are_tokenized_as_the_whole(built, system):
    for user in TEXTS:
        ours, theirs = both(built, library.File(4, 1, 2), system, user)
        assert ours == theirs, (system, user)


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40).filter(
    lambda text: not any(mark in text for mark in VISION_TOKENS)
)


@settings(max_examples=60)
@given(system=TEXT, user=TEXT, step=st.integers(1, 3000), rate=st.sampled_from(RATES))
def test_parts_of_any_text_are_tokenized_as_the_whole(built, system, user, step, rate):
    ours, theirs = both(built, library.File(4, 1, 1, rate=rate, step=step), system, user)
    assert ours == theirs


def test_times_by_hand(built):
    """Half-way between two frames, to one decimal of the binary value: 0.25 gives 0.2, and 0.75 gives 0.8."""
    family, processor, builder = built
    clip = library.File(6, 1, 1, rate=100).clip(family)
    clip.stamps[:] = (0.0, 0.5, 0.5, 1.0, 86399.8, 86400.0)
    ids = family.video_ids(processor.tokenizer, builder.without_patches(clip))
    pair = "<|vision_start|><|video_pad|><|vision_end|>"
    told = "<|vision_start|><|video_pad|><|video_pad|><|video_pad|><|vision_end|>"
    if family.time_tokens:
        told = f"<0.2 seconds>{pair}<0.8 seconds>{pair}<86399.9 seconds>{pair}"
    assert processor.tokenizer.decode(ids) == told
    longest = len(processor.tokenizer("<86399.9 seconds>")["input_ids"]) + 2
    assert family.time_tokens in (0, longest)
