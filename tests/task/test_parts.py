"""Own parts of the reward: what a function is given, what it may give, and whom its exceptions concern."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest

from trlt.errors import OwnCodeError, RecipeError, RewardError
from trlt.files.own_code import load_file
from trlt.recipe import load_recipe
from trlt.task.grade import Grader
from trlt.task.parts import AT_ONCE, RewardPart, own_part
from trlt.task.prompt_form import PromptForm
from trlt.task.sample import Sample, Span

FORM = PromptForm(think=False, answer_format="letter")


def sample(id="a", spans=((0, 10),), **more):
    return Sample(id, "s", "train", "grounding", "v.mp4", "?", spans=tuple(Span(*one) for one in spans), **more)


def grades(*asked, **functions):
    """Outcomes with these functions as parts of weight 0.5."""
    parts = tuple(RewardPart(name, 0.5, function) for name, function in functions.items())
    return Grader(FORM, parts=parts).outcomes(asked)


HALF = "<answer> 0.0 to 5.0 </answer>"
"""Earns 1 + 0.5."""


def test_the_reward_is_the_papers_and_each_part_by_its_weight():
    def near(sample, text, answer, scores):
        assert (sample.id, text, answer.payload, scores.tiou) == ("a", HALF, "0.0 to 5.0", 0.5)
        return answer.span.end / 2  # 2.5

    [[one]] = grades((sample(), [HALF]), near=near, length=lambda sample, text, answer, scores: len(text), none=lambda *a: None)
    assert one.parts == {"near": 2.5, "length": 29.0, "none": None} and len(HALF) == 29
    assert one.reward == 1.5 + 0.5 * 2.5 + 0.5 * 29


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2), np.int64(2), Fraction(4, 2)])
def test_numbers_of_any_kind(value):
    [[one]] = grades((sample(), [HALF]), part=lambda *given: value)
    assert one.parts == {"part": 2.0} and type(one.parts["part"]) is float and one.reward == 2.5


def test_a_tensors_number_and_true():
    torch = pytest.importorskip("torch")
    [[one]] = grades(
        (sample(), [HALF]), true=lambda *a: True, tensor=lambda *a: torch.tensor(0.25), no=lambda *a: np.bool_(False)
    )
    assert one.parts == {"true": 1.0, "tensor": 0.25, "no": 0.0}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (np.float64("nan"), "nan"),
        (10**400, "1000"),
        (1.7e308 * 10, "inf"),
        ("3", "'3'"),
        ([1.0], r"\[1.0\]"),
        (np.array([1.0]), r"array\(\[1.\]\)"),
        (1j, "1j"),
        ({}, "{}"),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_what_is_no_reward_ends_the_run(value, shown, batch):
    function = (lambda samples, texts, answers, scores: [value] * len(texts)) if batch else (lambda *given: value)
    with pytest.raises(
        RewardError, match=rf"near gave (np.float64\()?{shown}.* for sample 'b', completion '<answer> 0.*finite"
    ):
        grades((sample("b"), [HALF]), near=function)


def test_a_batch_of_another_length_ends_the_run():
    def fewer(samples, texts, answers, scores):
        return [0.0] * (len(texts) - 1)

    with pytest.raises(RewardError, match=r"fewer was given 3 completions \('a' first\) and gave 2 values; give a list"):
        grades((sample("a"), [HALF]), (sample("b"), [HALF, HALF]), fewer=fewer)
    with pytest.raises(RewardError, match=r"gave 7; give a list"):
        grades((sample("a"), [HALF]), part=lambda samples, texts, answers, scores: 7)


def test_lists_hold_all_completions_of_a_call_in_order():
    seen = []

    def near(samples, texts, answers, scores):
        seen.append(([one.id for one in samples], texts, [one.payload for one in answers], [one.format for one in scores]))
        return np.arange(len(texts)) / 4

    found = grades((sample("a"), [HALF, "x"]), (sample("b"), ["y"]), near=near)
    assert seen == [(["a", "a", "b"], [HALF, "x", "y"], ["0.0 to 5.0", None, None], [1.0, 0.0, 0.0])]
    assert [[one.parts["near"] for one in some] for some in found] == [[0.0, 0.25], [0.5]]
    assert [[one.reward for one in some] for some in found] == [[1.5, 0.125], [0.25]]


@pytest.mark.parametrize("kind", ["plain", "batch", "async", "async batch"])
def test_one_samples_exception_is_its_own(kind, tmp_path):
    """With file, line and exception, and its traceback begins in the file."""
    plain = "near(sample, text, answer, scores):\n    return 1 / (len(text) - 1)\n"
    batch = "near(samples, texts, answers, scores):\n    return [1 / (len(text) - 1) for text in texts]\n"
    (tmp_path / "r.py").write_text(("async " if "async" in kind else "") + "def " + (batch if "batch" in kind else plain))
    part = own_part("near", 0.5, load_file(tmp_path / "r.py"))
    asked = [(sample("a"), ["xx", "xxx"]), (sample("b"), ["xx", "x"]), (sample("c"), ["xxx"])]
    a, b, c = Grader(FORM, parts=(part,)).outcomes(asked)
    assert [one.reward for one in a] == [0.5, 0.25] and [one.reward for one in c] == [0.25]
    assert isinstance(b, OwnCodeError)
    assert str(b) == f"reward part near: ZeroDivisionError: division by zero (at {tmp_path / 'r.py'}:2)"
    first = b.trace.splitlines()[1]
    assert b.trace.startswith("Traceback") and "r.py" in first and "trlt/task" not in b.trace
    with pytest.raises(OwnCodeError, match="division by zero"):
        Grader(FORM, parts=(part,)).grade(asked)


def test_the_machines_errors_are_no_samples():
    def full(sample, text, answer, scores):
        raise OSError(28, "No space left on device", "log.txt")

    with pytest.raises(OSError, match="No space left"):
        grades((sample(), [HALF]), full=full)


def test_completions_are_awaited_together_within_a_bound():
    """Each waits until as many others do; more than the bound never work at once."""
    at_once, most = 0, 0
    gate = asyncio.Barrier(AT_ONCE)

    async def near(sample, text, answer, scores):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1
        return len(text)

    found = grades(*((sample(str(i)), ["x" * i, "y"]) for i in range(1, AT_ONCE + 1)), near=near)
    assert most == AT_ONCE
    assert [[one.parts["near"] for one in some] for some in found] == [[i, 1] for i in range(1, AT_ONCE + 1)]


def test_a_client_lives_on_from_call_to_call_also_where_a_loop_is_running():
    """In a notebook, too, whose main thread has a loop."""
    loops, threads = set(), set()

    async def near(samples, texts, answers, scores):
        loops.add(asyncio.get_running_loop())
        threads.add(threading.current_thread())
        return [1] * len(texts)

    async def notebook():
        return grades((sample(), [HALF]), near=near)

    grades((sample(), [HALF]), near=near)
    [[one]] = asyncio.run(notebook())
    assert one.reward == 2.0 and len(loops) == len(threads) == 1 and threading.main_thread() not in threads


def test_what_is_given_cannot_change_the_sample():
    own = sample(meta={"tags": ["a"]})

    def greedy(sample, text, answer, scores):
        sample.meta["tags"].append("b")
        with pytest.raises(FrozenInstanceError):
            sample.question = "!"
        with pytest.raises(FrozenInstanceError):
            scores.tiou = 1.0
        return len(sample.meta["tags"])

    [[one]] = grades((own, [HALF]), greedy=greedy)
    assert one.parts == {"greedy": 2.0} and own.meta == {"tags": ["a"]}


def test_a_forgotten_await_is_told():
    async def judge():
        return 1

    with pytest.raises(RewardError, match=r"gave <coroutine .*; make the function an `async def` that awaits it"):
        grades((sample(), [HALF]), near=lambda *given: judge())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "def near(sample, text):\n    return 1\n",
            r"r\.py:1: near takes \(sample, text\); a part of the reward takes \(sample,",
        ),
        ("\n\ndef near(a, b, c, d, e):\n    return 1\n", r"r\.py:3: near takes \(a, b, c, d, e\)"),
        ("def near(sample, text, answer, scores, *, k):\n    return 1\n", "near takes"),
        ("def neer(a, b, c, d):\n    return 1\n", "has no function 'near'; did you mean neer"),
    ],
)
def test_a_function_of_another_kind_is_told_with_the_recipe(text, told, tmp_path):
    path = tmp_path / "r.py"
    path.write_text(text)
    recipe = load_recipe(None, sets=[f"reward.parts=[{{file: {path}, function: near}}]"])
    with pytest.raises(RecipeError, match=told):
        recipe.grader("probe")


def test_every_part_at_fault_is_told_at_once(tmp_path):
    parts = "[{file: gone.py, function: a}, {name: tiou}, {file: lost.py, function: b}]"
    with pytest.raises(RecipeError, match=r"(?s)gone\.py: can't be read.*\n.*lost\.py: can't be read"):
        load_recipe(None, sets=[f"reward.parts={parts}"]).grader("eval")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("{file: a.py}", "a part is a file with a function"),
        ("{function: a}", "a part is a file with a function"),
        ("{name: tiou, file: a.py, function: b}", "a part is a file with a function"),
        ("{name: tiou_from}", "threshold goes with name: tiou_from"),
        ("{name: tiou, threshold: 0.5}", "threshold goes with name: tiou_from"),
        ("{file: a.py, function: accuracy}", r"function \(accuracy\) would be taken for trlt's own part"),
        ("{file: a.py, function: b, weight: .inf}", "finite"),
        ("{name: tiuo}", "did you mean tiou"),
        ("{name: tiou}, {name: tiou, weight: 2}", "tiou stands twice"),
        ("{file: a.py, function: b, batch: true}", "unknown key"),
    ],
)
def test_parts_that_a_recipe_cannot_have(part, told):
    with pytest.raises(RecipeError, match=told):
        load_recipe(None, sets=[f"reward.parts=[{part}]"])


def test_parts_that_come_with_trlt():
    recipe = load_recipe(None, sets=["reward.parts=[{name: tiou_from, threshold: 0.5, weight: 0.25}, {name: accuracy}]"])
    [[half, less]] = Grader(FORM, parts=recipe.reward.load()).grade([(sample(), [HALF, "<answer> 0.0 to 4.0 </answer>"])])
    assert (half.reward, less.reward) == (1.5 + 0.25, 1.4)
    assert half.parts == {"tiou_from_0.5": 1.0, "accuracy": None} and less.parts == {"tiou_from_0.5": 0.0, "accuracy": None}
