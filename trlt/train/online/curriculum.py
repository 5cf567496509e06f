"""A target difficulty that moves with the score (AdaRFT, arXiv 2504.05520). Knows numbers only."""

from __future__ import annotations

import math

from trlt.recipe import Curriculum


def moved(target: float, score: float, settings: Curriculum) -> float:
    """The target of the next step: T' = clip(T + eta tanh(alpha (R - beta)), 0, 1), the paper's rule.

    Its code (uscnlp-lime/verl, verl/trainer/ppo/ray_trainer.py) has difficulties from 0 to 100 and an eta of 50; here both are
    divided by 100.

    Args:
        target: T, of the step that is done.
        score: R, the mean score of its groups.
        settings: `train.online.curriculum`.
    """
    return min(max(target + settings.rate * math.tanh(settings.sensitivity * (score - settings.score)), 0.0), 1.0)
