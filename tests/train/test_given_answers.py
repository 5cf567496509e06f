"""Answers that the policy didn't draw: their weights by hand, and by the gradient of the objectives that they stand for."""

from __future__ import annotations

import pytest
import torch

from trlt.engine.forest import Completion
from trlt.train.given_answers import GivenAnswer, GivenWeights, drawn, ratios, shaped, source_of, told_logps, truncated

NAN = float("nan")


def test_weights_by_hand():
    ratio = torch.tensor([0.1, 0.9, 0.01, 4.0])
    wanted = [0.1 * 0.1 / 0.04, 0.1 * 0.9 / 1.0, 0.1 * 0.01 / 0.0121, 0.1 * 4 / 16.81]
    assert torch.allclose(shaped(0.1)(ratio), torch.tensor(wanted))
    assert truncated(3.0)(ratio).tolist() == pytest.approx([0.1, 0.9, 0.01, 3.0])


def test_shaped_weights_are_the_gradient_of_luffys_objective():
    """Of f(pi) A, with the f of its public code, p_div_p_0.1: pi / (pi + 0.1)."""
    logps = torch.tensor([-0.05, -1.0, -4.0, -9.0], dtype=torch.float64, requires_grad=True)
    (logps.exp() / (logps.exp() + 0.1)).sum().backward()
    assert torch.allclose(shaped(0.1)(ratios(logps.detach(), torch.full((4,), NAN))), logps.grad)


def test_an_unknown_writer_counts_as_certain():
    policy, writer = torch.tensor([[0.2, 0.4]]).log(), torch.tensor([[0.5, NAN]]).log()
    assert ratios(policy, writer).tolist() == [pytest.approx([0.4, 0.4])]


def test_rows_that_the_policy_drew_keep_their_weights_and_what_is_told_is_of_all_processes():
    other = torch.tensor([[0.5, 0.25, 2.0]], dtype=torch.float64)
    made = GivenWeights({"offline": truncated(2.0), "replay": shaped(1.0)}, lambda mine: torch.cat([mine, other]))
    policy = torch.tensor([[0.5, 0.5], [0.8, 0.4], [0.5, 0.25]]).log()
    behaviour = torch.tensor([[0.1, 0.1], [0.2, 0.8], [NAN, NAN]]).log()
    mask = torch.tensor([[1, 1], [1, 1], [1, 0]])
    weights = made.weigh(policy, behaviour, mask, ["", "offline", "replay"], torch.tensor([[0.7], [9.0], [9.0]]))
    assert torch.allclose(weights, torch.tensor([[0.7, 0.7], [2.0, 0.5], [0.5 / 2.25, 0.25 / 1.5625]]))
    told = made.exchange()
    assert told["given/weight"] == pytest.approx((2 + 0.5 + 0.5 / 2.25 + 0.5) / 5), "3 tokens here, 2 of another process"
    assert told["given/probability"] == pytest.approx((0.8 + 0.4 + 0.5 + 0.25) / 5)


def test_a_step_without_any_tells_nothing():
    made = GivenWeights({}, lambda mine: mine)
    own = torch.ones(1, 2)
    assert torch.equal(made.weigh(torch.zeros(1, 2), torch.zeros(1, 2), own, [""], own), own)
    assert made.exchange() == {}


def test_completions_tell_where_they_are_from():
    own, given = Completion("a", (1, 2), True, (-0.5, -0.25)), GivenAnswer("b", (3,), True)
    assert [source_of(one) for one in (own, given)] == ["", "offline"] and drawn([given, own]) == [1]
    told = told_logps([own, given], 3, torch.device("cpu"))
    assert told[0].tolist() == [-0.5, -0.25, 0] and told[1].isnan().tolist() == [True, False, False]
    with pytest.raises(ValueError, match="1 log-probabilities for 2 tokens"):
        told_logps([Completion("a", (1, 2), True, (-0.5,))], 3, torch.device("cpu"))
