"""Named algorithms (`train.algorithm`): the fields that each sets, as its paper has them. Knows neither files nor torch.

docs/algorithms.md has the equations, and where a paper says more than these fields do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Name = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "ema_grpo"]
ANY_RANGE = 1e-6
"""`min_reward_range` that replaces groups whose rewards are all the same, and no others."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What a name stands for."""

    paper: str
    """The arXiv id."""
    essence: Mapping[str, Any]
    """Fields without which it would be another algorithm; another value is a contradiction."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Fields that are set where the recipe says nothing."""
    overlong: float | None = None
    """Share of `max_new_tokens` that becomes `overlong_tokens`."""


ALGORITHMS: Mapping[str, Algorithm] = {
    "grpo": Algorithm(
        "2402.03300",
        {"loss": "grpo", "scale_rewards": "group", "baseline": "mean", "ratio_level": "token"},
        {"beta": 0.04, "epsilon": 0.2},
    ),
    "dr_grpo": Algorithm(
        "2503.20783",
        {"loss": "dr_grpo", "scale_rewards": "none", "baseline": "mean", "ratio_level": "token"},
        {"beta": 0.0, "epsilon": 0.2},
    ),
    # The final run of the paper and its released script: soft punishment, and no masking of what was cut off.
    "dapo": Algorithm(
        "2503.14476",
        {"loss": "dapo", "ratio_level": "token"},
        {
            "scale_rewards": "group",
            "beta": 0.0,
            "epsilon": 0.2,
            "epsilon_high": 0.28,
            "min_reward_range": ANY_RANGE,
            "max_tries": 10,
        },
        overlong=0.2,
    ),
    "gspo": Algorithm(
        "2507.18071",
        {"loss": "grpo", "ratio_level": "sequence"},
        {"scale_rewards": "group", "beta": 0.0, "epsilon": 3e-4, "epsilon_high": 4e-4},
    ),
    # MiniMax-M1 doesn't give its bound; 5 is ScaleRL's (arXiv 2510.13786).
    "cispo": Algorithm(
        "2506.13585", {"loss": "cispo", "ratio_level": "token"}, {"scale_rewards": "group", "beta": 0.0, "epsilon_high": 5.0}
    ),
    # A completion is one action, whose log-probability is the sum over its tokens: `dr_grpo` has that sum, times a constant.
    "rloo": Algorithm(
        "2402.14740", {"loss": "dr_grpo", "scale_rewards": "none", "baseline": "leave_one_out", "ratio_level": "token"}
    ),
    "ema_grpo": Algorithm(
        "2512.03043",
        {"scale_rewards": "task"},
        {"loss": "dapo", "task_decay": 0.99, "beta": 0.01, "epsilon": 0.2, "epsilon_high": 0.3},
    ),
}


def with_algorithm(values: Mapping[str, Any]) -> dict[str, Any]:
    """A section `train` with the fields that its algorithm sets; those that it says itself stay.

    Args:
        values: As read.

    Raises:
        ValueError: it says otherwise what makes the algorithm what it is.
    """
    named = ALGORITHMS.get(name) if isinstance(name := values.get("algorithm"), str) else None
    if named is None:
        return dict(values)
    for key, value in named.essence.items():
        if key in values and values[key] != value:
            raise ValueError(
                f"train.algorithm: {name} stands for train.{key}: {value}, and train.{key} is {values[key]}; leave one of the "
                "two out"
            )
    found = {**named.essence, **named.values, **values}
    limit = values.get("max_new_tokens", 768)
    if named.overlong is not None and isinstance(limit, int) and limit > 1:
        found.setdefault("overlong_tokens", max(1, int(limit * named.overlong)))
    return found


def stands_for(name: str, values: Mapping[str, Any]) -> str:
    """What an algorithm is in a recipe: its fields with the values they have, and which of them the recipe says itself.

    Args:
        name: Of the algorithm.
        values: Of the section `train`, as resolved.
    """
    named = ALGORITHMS[name]
    set_by_it = with_algorithm({"algorithm": name, "max_new_tokens": values["max_new_tokens"]})
    keys = [*named.essence, *named.values, *(["overlong_tokens"] if named.overlong else [])]
    words = [
        f"{key} {values[key]}" + ("" if values[key] == set_by_it[key] else f" (yours; {name} has {set_by_it[key]})")
        for key in keys
    ]
    return f"{name} (arXiv {named.paper}): {', '.join(words)}"
