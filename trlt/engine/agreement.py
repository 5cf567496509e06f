"""How far two sides' log-probabilities of the same tokens are apart, and how far they may be. Knows numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The most that rounding explains of differences of log-probabilities at temperature 1."""

    largest: float
    """Of one token."""
    mean: float
    """Over all tokens."""


TOLERANCES = {"float32": Tolerance(1e-3, 1e-4), "bfloat16": Tolerance(0.5, 0.05)}
"""By the precision that is computed in; see docs/decisions/parity-tolerances.md."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Largest and mean difference of a token's log-probability at temperature 1 between two sides."""

    samples: int
    tokens: int
    largest: float
    mean: float

    @property
    def words(self) -> str:
        """In a line, for a command's output."""
        return (
            f"parity with the library's forward: {self.largest:.1e} at most, {self.mean:.1e} in the mean, "
            f"over {self.tokens} tokens"
        )

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def join(parts: Sequence[Mapping[str, Any]]) -> Agreement | None:
    """What several processes measured, as one; None where none did.

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
