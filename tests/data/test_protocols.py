"""Protocols of other harnesses: the exact prompt, the frames, and how each reads odd outputs."""

from __future__ import annotations

from typing import Any

import pytest

from trlt.data.datasets import load, names
from trlt.data.protocols import NAMES, describe, find_protocol, protocols_of
from trlt.errors import UsageError
from trlt.recipe import Recipe
from trlt.task.sample import Sample, Span

OPTIONS = ("a cat", "a dog", "a bird", "a fish")


def sample(task: str = "multi_choice", **more: Any) -> Sample:
    fields: dict[str, Any] = {"options": OPTIONS, "answer": "a dog", "answer_index": 1}
    if task == "grounding":
        fields = {"spans": (Span(1, 2),)}
    return Sample(
        **{"id": "q", "source": "x", "split": "test", "task": task, "video": "v.mp4", "question": "What runs?"} | fields | more
    )


def prompt(name: str, bench: str, one: Sample) -> tuple[str, str]:
    said = find_protocol(name, [bench], asked=True)[bench].recipe(Recipe()).form("eval").prompt(one)
    return said.system, said.user


LETTERED = "A. a cat\nB. a dog\nC. a bird\nD. a fish"
BRACKETED = "(A) a cat\n(B) a dog\n(C) a bird\n(D) a fish\n"


@pytest.mark.parametrize(
    ("name", "bench", "user"),
    [
        (
            "lmms-eval",
            "videomme",
            "Select the best answer to the following multiple-choice question based on the video and the "
            "subtitles. Respond with "
            f"only the letter (A, B, C, or D) of the correct option.\nWhat runs?\n{LETTERED}\n\nAnswer with the "
            f"option's letter from "
            "the given choices directly.",
        ),
        ("lmms-eval", "mvbench", f"Question:What runs?\nOption:\n{BRACKETED}Only give the best option.\n"),
        (
            "lmms-eval",
            "mmvu",
            "\nQuestion:What runs?\nA: a cat\nB: a dog\nC: a bird\nD: a fish\nE: \nVisual Information: processed "
            "video\nDo not generate "
            "any intermediate reasoning process. Answer directly with the option letter from the\ngiven choices.\n",
        ),
        ("lmms-eval", "lvbench", f"What runs?\n{BRACKETED}Answer the question with the option letter"),
        (
            "lmms-eval",
            "longvideobench",
            f"What runs?\n{LETTERED}\nAnswer with the option's letter from the given choices directly.\n",
        ),
        (
            "vlmevalkit",
            "videomme",
            "\nThese are the frames of a video. Select the best answer to the following multiple-choice question "
            "based on the video. "
            f"Respond with only the letter (A, B, C, or D) of the correct option.\nQuestion: What runs?\n{LETTERED}\nAnswer: ",
        ),
        (
            "official",
            "videoholmes",
            "Based on the given video, reason and answer the single-choice question. Provide your reasoning "
            "between the <think> and "
            "</think> tags, and then give your final answer between the <answer> and </answer> tags. The question "
            "is: What runs?. "
            "The options are: A: a cat, B: a dog, C: a bird, D: a fish. Your answer:",
        ),
    ],
)
def test_a_prompt_is_the_harness_s_to_the_byte(name: str, bench: str, user: str) -> None:
    assert prompt(name, bench, sample()) == ("", user)


def test_other_kinds_of_questions_have_the_harness_s_words() -> None:
    assert prompt("vlmevalkit", "mvbench", sample())[1] == (
        f"Question: What runs?\nOptions:\n{BRACKETED}Only give the best option.Best option:("
    )
    time = sample("grounding", question="a dog runs")
    assert prompt("lmms-eval", "timelens_charades", time)[1] == (
        "Please find the visual event described by the sentence 'a dog runs', determining its starting and ending "
        "times. The format "
        "should be: 'The event happens in <start time> - <end time> seconds'."
    )
    assert prompt("lmms-eval", "charades", time)[1].endswith("sentence: a dog runs. Please return its start time and end time.")
    yes = sample(options=("yes", "no"), answer="no", meta={"task": "yes_no"})
    assert prompt("lmms-eval", "tempcompass", yes)[1] == "What runs?\nPlease answer yes or no:"
    labels = {"task": "caption_matching", "labels": ["Option 1", "Option 2", "Option 3", "Option 4"]}
    assert prompt("vlmevalkit", "tempcompass", sample(meta=labels))[1] == (
        "What runs?\nOption 1: a cat\nOption 2: a dog\nOption 3: a bird\nOption 4: a fish\nPlease directly give "
        "the best option:"
    )
    assert prompt("official", "tvgbench", time)[0] == "You are a video analysis expert."


def test_frames_tokens_and_decoding_are_the_harness_s() -> None:
    recipe = find_protocol("lmms-eval", ["videomme"], asked=True)["videomme"].recipe(Recipe())
    assert (recipe.video.min_frames, recipe.video.max_frames) == (32, 32)
    assert (recipe.video.min_tokens, recipe.video.max_tokens) == (256, 12_288)
    assert (recipe.eval.max_new_tokens, recipe.eval.think, recipe.eval.top_p) == (16, False, 0.001)
    official = find_protocol("official", ["timelens_charades"], asked=True)["timelens_charades"].recipe(Recipe())
    assert (official.video.fps, official.video.min_tokens, official.video.max_tokens) == (2.0, 64, 14_336)
    assert official.eval.max_new_tokens == 512


@pytest.mark.parametrize(
    ("name", "bench", "text", "option"),
    [
        ("vlmevalkit", "videomme", "Because it barks", 1),
        ("vlmevalkit", "videomme", "The best option is: C", 2),  # a lead-in without its comma holds no capital A to D
        ("lmms-eval", "videomme", "The answer is A. Because of it", 1),
        ("lmms-eval", "videomme", "(A) or (C)", 2),
        ("lmms-eval", "videomme", "B", 1),
        ("lmms-eval", "videomme", "none of them", None),
        ("lmms-eval", "mvbench", "It is a bird", 0),
        ("lmms-eval", "mvbench", "C. a bird", 2),
        ("lmms-eval", "mmvu", "either A or B", 1),
        ("lmms-eval", "mmvu", "C", 2),
        ("lmms-eval", "videoholmes", "I think (A), no, (D)", 3),
        ("vlmevalkit", "videoholmes", "B", None),
        ("vlmevalkit", "videoholmes", "<answer>D. A cat</answer>", 0),
        ("lmms-eval", "mlvu_test", "The one is E", None),
        ("vlmevalkit", "mlvu", "B) a dog", 1),
        ("vlmevalkit", "mvbench", "", None),
        ("vlmevalkit", "mvbench", "(b) a dog", 1),
        ("vlmevalkit", "mvbench", "Surely a fish", 3),
        ("lmms-eval", "longvideobench", "Because", 1),
    ],
)
def test_options_are_read_as_the_harness_reads_them(name: str, bench: str, text: str, option: int | None) -> None:
    read = find_protocol(name, [bench], asked=False)[bench].read
    assert read is not None
    assert read(sample(), text).option == option


@pytest.mark.parametrize(
    ("bench", "text", "span"),
    [
        ("timelens_charades", "The event happens in 5.4 - 9.6 seconds", Span(5.4, 9.6)),
        ("timelens_charades", "20 - 12", Span(20, 12)),
        ("timelens_charades", "from 0:10 until 1:05.5", Span(10, 65.5)),
        ("timelens_charades", "start: 4, end: 8", Span(4, 8)),
        ("timelens_charades", "5.5s - 9s", None),
        ("charades", "The event happens in 9.0 - 5.5 seconds", Span(5.5, 9)),
        ("charades", "It starts at 3 seconds\nIt ends at 8.5 seconds", Span(3, 8.5)),
        ("charades", "no idea", None),
    ],
)
def test_times_are_read_as_the_harness_reads_them(bench: str, text: str, span: Span | None) -> None:
    read = find_protocol("lmms-eval", [bench], asked=False)[bench].read
    assert read is not None
    assert read(sample("grounding"), text).span == span


def test_what_is_not_known_is_refused_at_once_with_what_is() -> None:
    with pytest.raises(UsageError) as refused:
        find_protocol("lmms-eval", ["activitynet_rtl", "videomme", "nextgqa", "mlvu"], asked=True)
    assert "no lmms-eval protocol is known for activitynet_rtl; known: paper" in str(refused.value)
    assert "for nextgqa" in str(refused.value) and "lmms-eval's prompt for mlvu can't be asked" in str(refused.value)
    assert find_protocol("paper", ["nextgqa"], asked=True) == {}
    assert set(protocols_of("videomme")) == {"lmms-eval", "vlmevalkit"} and NAMES[0] == "paper"


def test_every_packaged_benchmark_states_its_facts() -> None:
    for name in names("bench"):
        told = describe(load(name), [])
        assert told["questions"] and told["rule"] and told["published"], name
        assert told["where"] and told["license"], name
