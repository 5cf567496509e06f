"""Answers that are numbers: reading one, and how near it is to the gold one (pure)."""

from __future__ import annotations

import math
import re

_UNIT = r"(?:\s?(?!(?:or|and|to|vs|x)\b)[^\W\d_]+[²³]?|\s?[%°$€£]){0,2}"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?: \d{3})+|\d{1,18})?(?:\.\d{1,18})?(?:e[-+]?\d{1,2})?"
_TIMES = {"dozen": 12, "hundred": 100, "k": 1_000, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_SCALE = r"(?:(k)\b|\s?(dozen|hundred|thousand|million|billion)\b)?"
_NUMBER = re.compile(rf"[$€£]?([-+]?{_DIGITS}){_SCALE}{_UNIT}\.?", re.IGNORECASE)

_STEP = (0.95 - 0.5) / 9
THRESHOLDS = (*(0.5 + place * _STEP for place in range(9)), 0.95)
"""The confidence thresholds of the mean relative accuracy, 0.5 to 0.95, as `numpy.linspace` rounds them."""


def parse_number(text: str) -> float | None:
    """The number that a text is: `3`, `-2.5`, `1,200`, `1 200`, `12 cm`, `2.9 m²`, `40%`, `2k`, `3 million`; None for others.

    A unit is at most two words behind it, and isn't compared: `3 km` is 3, and `50%` is 50. `about 3`, `3 to 4` and `three` are
    for the lenient reading.
    """
    found = _NUMBER.fullmatch(" ".join(text.split()).replace("\N{MINUS SIGN}", "-"))
    if not found or not any(sign.isdigit() for sign in found[1]):
        return None
    value = float(found[1].replace(",", "").replace(" ", "")) * _TIMES.get((found[2] or found[3] or "").lower(), 1)
    return value if math.isfinite(value) else None


def relative_accuracy(said: float | None, gold: float) -> float:
    """Mean relative accuracy: the share of thresholds t with |said - gold| / |gold| <= 1 - t; 0 without a number.

    Of Yang et al., "Thinking in Space" (2024), in the floating-point arithmetic of their script: 8 for 10 has 0.6. Of a gold 0
    only 0 itself is near.

    Args:
        said: The answer's number.
        gold: The right one.
    """
    if said is None:
        return 0.0
    if gold == 0:
        return float(said == 0)
    apart = abs(said - gold) / abs(gold)
    return sum(apart <= 1 - threshold for threshold in THRESHOLDS) / len(THRESHOLDS)


def plain_relative_accuracy(said: float | None, gold: float) -> float:
    """1 - |said - gold| / |gold|, at least 0: the "regression" reward of Video-R1; 0 without a number.

    Of a gold 0 only 0 itself is near.

    Args:
        said: The answer's number.
        gold: The right one.
    """
    if said is None:
        return 0.0
    if gold == 0:
        return float(said == 0)
    return max(0.0, 1 - abs(said - gold) / abs(gold))
