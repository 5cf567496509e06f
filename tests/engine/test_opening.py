"""Chat templates that begin the completion: what the model is given, and what is read, learned and counted."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

import pytest
import real_shapes.published as rig
import torch

from trlt.engine.families import FAMILIES, chat
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.inputs import InputBuilder
from trlt.engine.library_forward import score
from trlt.engine.model.template import try_out
from trlt.engine.opening import opening_of, without_opening
from trlt.engine.sampling import Sampling
from trlt.errors import ModelError
from trlt.lab.miniature.tiny import CHAT_TEMPLATE
from trlt.serve.streaming import EngineAnswerer
from trlt.task import prompt as prompts
from trlt.task.grade import Grader
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample, Span

ALWAYS = CHAT_TEMPLATE.replace("assistant\n' }}", "assistant\n<think>\n' }}")
SWITCH = CHAT_TEMPLATE.replace(
    "assistant\n' }}",
    "assistant\n' }}{% if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}"
    "{% else %}{{- '<think>\n' }}{% endif %}",
)
OF_TASK = {
    "multi_choice": {},
    "grounding": {"options": None, "answer": None, "answer_index": None, "spans": (Span(2.5, 7.0),)},
    "grounded_qa": {"spans": (Span(2.5, 7.0),)},
}
SPECIAL = (("eos_token", "<|im_end|>"), ("pad_token", "<|endoftext|>"))
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
THINKS = PromptForm(think=True, answer_format="letter")
SAMPLE = Sample(
    id="s",
    source="x",
    split="",
    task="multi_choice",
    video="v.mp4",
    question="what moves left",
    options=("the red circle", "the blue square"),
    answer="the blue square",
    answer_index=1,
    spans=None,
    meta={"reasoning": "(1) The square is seen at 2.5 s, then it moves left."},
)
REASONED = "The square moves.\n</think>\n\n<answer> B </answer>"


def shipped(name: str) -> str:
    """A published template, as TRL ships it."""
    return resources.files("trl").joinpath(f"chat_templates/{name}.jinja").read_text(encoding="utf-8")


LAST = "{{- '<|im_start|>assistant\\n' }}\n{%- endif %}"
THINKING_VL = shipped("qwen3_vl").replace(LAST, LAST.replace("\\n'", "\\n<think>\\n'"))
"""As Qwen3-VL-Thinking's ends."""


@pytest.fixture(scope="module")
def vocabulary():
    """Qwen3's: Qwen2.5's with four more tokens at its end."""
    from tokenizers import AddedToken

    words = rig.tokenizer()
    more = ["<tool_response>", "</tool_response>", "<think>", "</think>"]
    words.add_tokens([AddedToken(token, special=False, normalized=False) for token in more], special_tokens=False)
    assert words.convert_tokens_to_ids(["<think>", "</think>"]) == [151_667, 151_668]
    return words


@pytest.mark.parametrize(
    ("name", "template", "openings"),
    [
        ("Qwen2.5-VL", shipped("qwen2_5_vl"), ("", "", "")),
        ("Qwen3-VL-Instruct", shipped("qwen3_vl"), ("", "", "")),
        ("Qwen3-VL-Thinking", THINKING_VL, ("<think>\n",) * 3),
        ("Qwen3.5", shipped("qwen3_5_think"), ("<think>\n", "<think>\n", "")),
        ("Qwen3.5, small", shipped("qwen3_5_nothink"), ("", "<think>\n", "")),
    ],
)
def test_what_published_templates_begin(vocabulary, name, template, openings):
    """By whether reasoning is left to them, asked for, or not; in the try-out, and as prompts are made."""
    assert template != shipped("qwen3_vl") or name == "Qwen3-VL-Instruct"
    vocabulary.chat_template = template
    family = FAMILIES[0]
    made = [family.chat(vocabulary, chat("", "What moves left?"), think) for think in (None, True, False)]
    assert tuple(map(opening_of, made)) == openings
    assert all(text.count(VIDEO) == 1 for text in made)
    tried = try_out(template, SPECIAL, VIDEO, name)
    assert len(tried) == (12 if "enable_thinking" in template else 4)
    assert {opening_of(text) for text in tried} == set(openings)
    if "Qwen3.5" in name:
        assert made[2].endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n"), "a block that is closed is no opening"


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "qwen3_5_think", "qwen3_5_nothink", "qwen3_6"])
def test_published_templates_pass_also_as_they_mark_what_is_learned(name):
    """With `{% generation %}`, in the form that TRL trains with: the same texts."""
    assert try_out(shipped(f"{name}_training"), SPECIAL, VIDEO, name) == try_out(shipped(name), SPECIAL, VIDEO, name)


@pytest.mark.parametrize("think", [None, True, False])
def test_a_template_that_does_harm_when_it_is_asked_to_reason_is_refused(think):
    when = "enable_thinking is not defined" if think is None else f"enable_thinking is defined and enable_thinking == {think}"
    template = CHAT_TEMPLATE + "{% if " + when + " %}{{ nothing.there }}{% endif %}"
    with pytest.raises(ModelError, match="UndefinedError"):
        try_out(template, SPECIAL, VIDEO, "x")


@pytest.mark.parametrize("task", ["multi_choice", "grounding", "grounded_qa"])
@pytest.mark.parametrize("template", [THINKING_VL, shipped("qwen3_5_think")], ids=["Qwen3-VL-Thinking", "Qwen3.5"])
def test_a_target_is_what_generation_would_go_on_with(vocabulary, template, task):
    """Prompt and target are, token by token, the whole text that is read: nothing stands in it twice, nothing is missing."""
    sample = replace(SAMPLE, task=task, **OF_TASK[task])
    vocabulary.chat_template = template
    words = prompts.build(sample, think=True, answer_format="letter")
    prompt = FAMILIES[0].chat(vocabulary, chat(words.system, words.user), words.think)
    opening = opening_of(prompt)
    gold = prompts.render_answer(sample, think=True, answer_format="letter", reasoning=sample.meta["reasoning"])
    left = without_opening(gold, opening)
    ids = vocabulary.encode(left, add_special_tokens=False)
    assert ids[0] == vocabulary.convert_tokens_to_ids("(") and ids.count(151_668) == 1 and 151_667 not in ids
    before = vocabulary.encode(prompt, add_special_tokens=False)
    assert before[-2:] == [151_667, 198]
    assert before + ids == vocabulary.encode(prompt + left, add_special_tokens=False)
    answer = THINKS.read(sample, opening + vocabulary.decode(ids))
    assert answer.well_formed and answer.reasoning == sample.meta["reasoning"]
    assert answer == THINKS.read(sample, gold), "as it is read where the model writes the tag itself"


def test_a_text_that_begins_otherwise_has_no_rest():
    assert without_opening("<answer> B </answer>", "") == "<answer> B </answer>"
    assert without_opening("<think> </think> <answer> B </answer>", "<think>\n") == "</think> <answer> B </answer>"
    with pytest.raises(ValueError, match="doesn't begin with '<think>'"):
        without_opening("<answer> B </answer>", "<think>\n")


def _grade(text):
    [[one]] = Grader(THINKS).grade([(SAMPLE, [text])])
    return one


def test_a_thinking_models_completion_is_well_formed_and_earns_what_another_does():
    opened = _grade("<think>\n" + REASONED)
    assert (opened.answer.well_formed, opened.answer.reasoning, opened.reward) == (True, "The square moves.", 2.0)
    torn = _grade(REASONED)
    assert (torn.answer.well_formed, torn.reward) == (False, 1.0)


@pytest.mark.parametrize("template", [ALWAYS, SWITCH], ids=["always", "by a switch"])
def test_the_opening_is_the_prompts_in_tokens_and_the_completions_in_text(tiny, noise_clip, template):
    tiny.processor.chat_template = template
    engine = Engine(tiny.model, tiny.processor)
    request = PromptRequest("k", "", "what moves left", 2, think=True)
    clip = noise_clip()
    [[completions]] = engine.generate([Tree(clip, (request,))], Sampling(max_new_tokens=6, seed=2))
    builder = engine.builder
    prompt = builder.prompt("", "what moves left", builder.clip(clip), think=True)
    assert prompt.opening == "<think>\n" and builder.decode(prompt.suffix.tolist()).endswith("assistant\n<think>\n")
    for one in completions:
        drawn = one.tokens[:-1] if one.finished else one.tokens
        assert one.text == "<think>\n" + builder.decode(list(drawn))
        assert len(one.tokens) == len(one.logps) <= 6
    # The same weights, asked by ids: what is drawn goes on from the opening, and its probabilities are those of that prompt.
    ids = torch.cat([prompt.prefix, prompt.suffix, torch.tensor(completions[0].tokens)])
    library = score(tiny.model, tiny.processor, clip, "", "what moves left", completions[0].tokens, think=True)
    assert torch.equal(library.entered.ids, ids[:-1])
    torch.testing.assert_close(torch.tensor(completions[0].logps), library.logps, atol=1e-4, rtol=0)


def test_a_switch_that_is_off_closes_the_reasoning_in_the_prompt(tiny, noise_clip):
    tiny.processor.chat_template = SWITCH
    builder = InputBuilder(tiny.model, tiny.processor)
    clip = builder.clip(noise_clip())
    ends = {
        think: builder.decode(builder.prompt("", "what", clip, think=think).suffix.tolist()) for think in (None, True, False)
    }
    assert ends[None] == ends[True] and ends[True].endswith("assistant\n<think>\n")
    assert ends[False].endswith("assistant\n<think>\n\n</think>\n\n")
    assert builder.prompt("", "what", clip, think=False).opening == ""


@pytest.mark.parametrize("stops", [(), ("<think>",), ("e",)])
def test_an_opening_is_streamed_first_and_no_stop_text_is_found_in_it(tiny, noise_clip, stops):
    tiny.processor.chat_template = ALWAYS
    clip, sampling = noise_clip(), Sampling(max_new_tokens=16, seed=5)
    request = PromptRequest("k", "", "what moves left", 2)
    [[plain]] = Engine(tiny.model, tiny.processor).generate([Tree(clip, (request,))], sampling)
    pieces = {0: [], 1: []}
    answerer = EngineAnswerer(Engine(tiny.model, tiny.processor))
    reply = answerer.answer(clip, request, sampling, lambda n, text: pieces[n].append(text), lambda: False, stops)
    assert [some[0].startswith("<think>\n") for some in pieces.values()] == [True, True]
    assert ["".join(some) for some in pieces.values()] == [one.text for one in reply.completions]
    cut = [one.text.removeprefix("<think>\n") for one in plain]
    for stop in stops:
        cut = [text.partition(stop)[0] for text in cut]
    assert [one.text for one in reply.completions] == ["<think>\n" + text for text in cut]
