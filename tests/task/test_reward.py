import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trlt.recipe import Recipe
from trlt.task.answer import Answer
from trlt.task.reward import SHIPPED, Weights, advantages, reward
from trlt.task.sample import Sample
from trlt.task.score import Scores

ANSWER = Answer(None, None, None, None, False)
TASKS = {
    "multi_choice": {"options": ["a", "b"], "answer": "a", "answer_index": 0},
    "grounding": {"spans": [[0, 1]]},
    "grounded_qa": {"answer": "a", "spans": [[0, 1]]},
}
SAMPLES = {
    task: Sample.from_json({"id": task, "source": "s", "split": "train", "task": task, "video": "v", "question": "?", **rest})
    for task, rest in TASKS.items()
}


def earned(scores: Scores, task: str, weights: Weights = Weights()) -> float:  # noqa: B008  (frozen)
    """The reward of a completion with these scores."""
    return reward(SAMPLES[task], "", ANSWER, scores, weights)


def test_rewards_by_hand() -> None:
    assert earned(Scores(1, 1, None), "multi_choice") == 2
    assert earned(Scores(1, 0, None), "multi_choice") == 1
    assert earned(Scores(0, 1, None), "multi_choice") == 1
    assert earned(Scores(1, None, 0.25), "grounding") == 1.25
    assert earned(Scores(0, None, 0.25), "grounding") == 0.25
    assert earned(Scores(1, 1, 0.5), "grounded_qa") == 1.75
    assert earned(Scores(1, 0, 0.5), "grounded_qa") == 1.25
    assert earned(Scores(0, 0, 0), "grounded_qa") == 0


def test_weights() -> None:
    weights = Weights(format=0.1, accuracy=2, tiou=3, grounded_accuracy=4, grounded_tiou=5)
    assert earned(Scores(1, 1, None), "multi_choice", weights) == pytest.approx(2.1)
    assert earned(Scores(1, None, 0.5), "grounding", weights) == pytest.approx(1.6)
    assert earned(Scores(1, 1, 0.5), "grounded_qa", weights) == pytest.approx(6.6)
    assert Recipe().reward.weights() == Weights()


def test_a_missing_score_is_a_bug() -> None:
    with pytest.raises(ValueError, match="grounding completion was scored without tiou"):
        earned(Scores(1, 1, None), "grounding")
    with pytest.raises(ValueError, match="without accuracy"):
        earned(Scores(1, None, 1), "grounded_qa")


def test_advantages_by_hand() -> None:
    # Mean 1, squares 1 + 1 + 0 + 0 over n - 1 = 3.
    std = math.sqrt(2 / 3)
    assert advantages([0, 2, 1, 1]) == pytest.approx([-1 / (std + 1e-4), 1 / (std + 1e-4), 0, 0])
    assert advantages([1, 2], eps=0) == pytest.approx([-1 / math.sqrt(2), 1 / math.sqrt(2)])


def test_advantages_without_spread() -> None:
    assert advantages([]) == []
    assert advantages([3.0]) == [0.0]
    assert advantages([0.1] * 8) == [0.0] * 8


@given(st.lists(st.floats(0, 3), min_size=2, max_size=16), st.floats(-2, 2))
def test_advantages(rewards: list[float], shift: float) -> None:
    values = advantages(rewards)
    assert math.fsum(values) == pytest.approx(0, abs=1e-6)
    order = sorted(range(len(rewards)), key=rewards.__getitem__)
    assert [values[i] for i in order] == sorted(values)
    assert advantages([r + shift for r in rewards]) == pytest.approx(values, abs=1e-6)
    assert math.fsum(v * v for v in values) <= len(rewards) - 1 + 1e-9


def test_a_threshold_makes_the_overlap_discrete():
    weights = Weights(tiou_from=0.5)
    assert [earned(Scores(1, None, tiou), "grounding", weights) for tiou in (0, 0.49, 0.5, 1)] == [1, 1, 2, 2]
    assert earned(Scores(1, 1, 0.6), "grounded_qa", weights) == 2
    assert earned(Scores(1, 1, 0.4), "grounded_qa", weights) == 1.5
    assert earned(Scores(1, 1, None), "multi_choice", weights) == 2


def test_each_part_is_a_function_of_a_completion():
    """None where the task has no such score."""
    choice, span = (
        (SAMPLES["multi_choice"], "", ANSWER, Scores(1, 0, None)),
        (SAMPLES["grounding"], "", ANSWER, Scores(0, None, 0.6)),
    )
    assert [SHIPPED[name](*choice) for name in ("format", "accuracy", "tiou")] == [1, 0, None]
    assert [SHIPPED[name](*span) for name in ("format", "accuracy", "tiou")] == [0, None, 0.6]
    assert [SHIPPED["tiou_from"](*span, threshold=limit) for limit in (0.6, 0.7)] == [1, 0]
    assert SHIPPED["tiou_from"](*choice, threshold=0.5) is None


def test_the_sum_is_that_of_the_formulas_to_the_last_digit():
    weights = Weights(0.1, 0.2, 0.3, 0.7, 0.9)
    for third in (1 / 3, 0.1, 0.7):
        scores = Scores(1 / 7, third, third / 3)
        assert earned(scores, "grounded_qa", weights) == 0.1 * (1 / 7) + 0.7 * third + 0.9 * (third / 3)
        assert earned(scores, "grounding", weights) == 0.1 * (1 / 7) + 0.3 * (third / 3)
