from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from trlt.engine.forest import Completion
from trlt.task.score import Scores
from trlt.train.answers_alike import FEW, answers_alike, answers_of
from trlt.train.diagnostics import WINDOW, Diagnostics, Finding
from trlt.train.dynamic_sampling import ScoredGroup

WELL = {
    "reward/format": 0.95,
    "reward/accuracy": 0.4,
    "frac_zero_range": 0.2,
    "length": 60.0,
    "truncated_frac": 0.0,
    "kl": 0.01,
    "same_answer": 0.2,
}


def watch(*stretches: tuple[int, dict[str, float]], limit: int = 100) -> list[Finding]:
    """Findings over stretches of (steps, what differs from a healthy step)."""
    health, found, step = Diagnostics(limit), list[Finding](), 0
    for steps, changes in stretches:
        for _ in range(steps):
            step += 1
            found += health.see(step, WELL | changes | {"note": "text"})
    return found


def test_a_healthy_run_is_left_alone() -> None:
    assert watch((100, {})) == []


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (
            "format",
            {"reward/format": 0.2},
            r"format collapse: [34]\d% of the answers have the form that was asked for, 95% had it",
        ),
        ("spread", {"frac_zero_range": 0.75}, r"all completions earn the same in 5\d% of the prompts"),
        (
            "length",
            {"length": 95.0, "truncated_frac": 0.5},
            r"7\d tokens, 60 in the first 10 steps, and 2\d% are cut off at 100;",
        ),
        ("length", {"length": 91.0}, "91 tokens, 60 in the first"),
        ("saturation", {"reward/format": 1.0, "reward/accuracy": 0.97}, "format 1.00, accuracy 0.97"),
        ("distance", {"kl": 1.5}, r"KL of 1\.\d\d nats"),
        ("alike", {"same_answer": 0.9}, r"[56]\d% of the completions answer different questions alike, 20% did"),
    ],
)
def test_each_trouble_is_told_once_when_it_begins(kind: str, changes: dict[str, float], words: str) -> None:
    [found] = watch((20, {}), (60, changes))
    assert found.kind == kind and 20 < found.step <= 20 + WINDOW
    assert re.search(words, found.text), found.text


def test_a_trouble_that_comes_back_is_told_again() -> None:
    bad = {"frac_zero_range": 0.9}
    found = watch((20, {}), (20, bad), (20, {}), (20, bad))
    assert [one.kind for one in found] == ["spread", "spread"] and found[1].step > 60


def test_what_was_so_from_the_start_is_no_collapse() -> None:
    """A base that doesn't know the form yet has nothing to lose."""
    assert watch((50, {"reward/format": 0.1})) == []


def test_a_few_steps_prove_nothing() -> None:
    assert watch((WINDOW - 1, {"frac_zero_range": 1.0})) == []
    assert watch((30, {}), (3, {"frac_zero_range": 1.0}), (30, {})) == []


def test_grounding_alone_saturates_too() -> None:
    health = Diagnostics(100)
    row = {"reward/format": 1.0, "reward/tiou": 0.96, "frac_zero_range": 0.1, "length": 10.0, "truncated_frac": 0.0}
    found = [one for step in range(12) for one in health.see(step, row)]
    assert [one.kind for one in found] == ["saturation"]
    assert Diagnostics(100).see(1, {}) == []
    for part, kinds in (("near", []), ("overlong", ["saturation"])):
        health = Diagnostics(100)
        found = [one for step in range(12) for one in health.see(step, row | {f"reward/{part}": 0.2})]
        assert [one.kind for one in found] == kinds, "what a recipe's own part can give isn't known"


def scored(task: str, *texts: str) -> ScoredGroup:
    """A group of completions with these texts."""
    score = {"multi_choice": Scores(1, 1, None), "grounding": Scores(1, None, 0.5)}[task]
    completions = tuple(Completion(text, (1,), True) for text in texts)
    group: Any = SimpleNamespace(clip=SimpleNamespace(tokens=4))
    return ScoredGroup(0, group, completions, (score,) * len(texts), (1.0,) * len(texts))


def test_the_commonest_answer_is_counted_for_each_task_and_behind_the_reasoning() -> None:
    letters = [scored("multi_choice", "<think>left</think><answer>A</answer>", "<answer>A</answer>") for _ in range(3)]
    spans = [scored("grounding", f"from {k} to 9", "from 0 to 9") for k in range(1, FEW + 1)]
    other = scored("multi_choice", "<answer>B</answer>", "<answer>C</answer>")
    every = answers_of([*letters, other, *spans])
    assert answers_alike(every, every) == [1.0] * 6 + [0.0] * 2 + [0.0, 1.0] * FEW
    few = answers_of([*letters, *spans])
    assert answers_alike(few, few) == [0.0, 1.0] * FEW, "three groups of letters say nothing"
    assert answers_alike([], []) == []
    first, second = answers_of([*letters[:2], *spans[:2]]), answers_of([letters[2], other, *spans[2:]])
    halves = [answers_alike(one, [*first, *second]) for one in (first, second)]
    assert halves == [[1.0] * 4 + [0.0, 1.0] * 2, [1.0] * 2 + [0.0] * 2 + [0.0, 1.0] * 2], "of two processes, as of one"
