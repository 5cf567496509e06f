"""How far two sides' log-probabilities of the same tokens differ, and how far they may. Knows only numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest differences of log-probabilities at temperature 1 that rounding explains."""

    largest: float
    """Of a single token."""
    mean: float
    """Mean over many tokens."""
    deviation: float
    """Standard deviation of a token's difference: the mean of few tokens may be four of its standard errors above `mean`."""

    def mean_of(self, tokens: int) -> float:
        """Limit of the mean over a number of tokens."""
        # The mean of few tokens is uncertain itself: in BF16 it may be 0.15 for 4 tokens, and 0.075 for 64.
        return self.mean + 4 * self.deviation / math.sqrt(tokens)

    def allows(self, found: Agreement) -> bool:
        """Whether rounding explains the measured differences; NaN is never explained."""
        return found.largest <= self.largest and found.mean <= self.mean_of(found.tokens)

    def words(self, tokens: int, precision: str) -> str:
        """The end of a message about a difference that is too large."""
        return f"the most that {precision} explains is {self.largest:.2g} and {self.mean_of(tokens):.2g}"


# Wide in BF16, since a check mustn't stop a run that is right: log-probabilities show gross errors
# only there. The main faults are found by what enters the model, which has to be equal.
TOLERANCES = {"float32": Tolerance(1e-3, 1e-4, 1e-4), "bfloat16": Tolerance(1.0, 0.05, 0.05)}
"""By compute precision, as measured: docs/decisions/parity-tolerances.md."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Largest and mean difference of a token's log-probability at temperature 1 between two sides."""

    samples: int
    tokens: int
    largest: float
    mean: float

    @property
    def words(self) -> str:
        """One line for a command's output."""
        return (
            f"parity with the library's forward: {self.largest:.1e} at most, {self.mean:.1e} on average, "
            f"over {self.tokens} tokens"
        )

    def to_json(self) -> dict[str, Any]:
        """The metrics by name."""
        return asdict(self)


def join(parts: Sequence[Mapping[str, Any]]) -> Agreement | None:
    """Combines the measurements of several processes; None if there are none.

    Args:
        parts: As `Agreement.to_json` gives them.
    """
    if not parts:
        return None
    tokens = sum(one["tokens"] for one in parts)
    return Agreement(
        sum(one["samples"] for one in parts),
        tokens,
        max(one["largest"] for one in parts),
        sum(one["mean"] * one["tokens"] for one in parts) / tokens,
    )
