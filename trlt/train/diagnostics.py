"""Problems of training that the loss doesn't show: collapse, zero variance, growth, saturation; in plain words (pure).

Knows the metrics of each step as `trlt.train.grpo` logs them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trlt.recipe import advice

WINDOW = 10
"""Steps over which metrics are averaged; the first window is the baseline for later ones."""
COLLAPSED, FELL_BY = 0.5, 0.2
"""For well-formed answers: a share below the first value, after a fall by the second, is a collapse."""
SAME = 0.5
"""Share of zero-variance prompts at which training learns from too few."""
GREW_TO = 1.5
"""Multiple of the length at the start."""
CUT_OFF = 0.25
"""Share of completions that the token limit may cut off."""
SATURATED = 0.95
"""Share of a reward part's maximum."""
ALIKE, ROSE_BY = 0.5, 0.2
"""For answers to different questions: a share of one answer from the first value on, after a rise by the second."""
FAR = 1.0
"""KL in nats per token: far from the base for any task."""

Metrics = Mapping[str, float]
"""Means over a window of steps."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know while training runs."""

    kind: str
    step: int
    text: str


class Diagnostics:
    """Watches a run's steps; reports each problem when it begins, and again when it returns.

    Args:
        limit: `train.max_new_tokens`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._first: deque[Metrics] = deque(maxlen=WINDOW)
        self._last: deque[Metrics] = deque(maxlen=WINDOW)
        self._going: set[str] = set()

    def see(self, step: int, row: Mapping[str, object]) -> list[Finding]:
        """The findings of one more step.

        Args:
            step: Its number.
            row: Metrics by name; others than numbers are left out.
        """
        metrics = {name: float(value) for name, value in row.items() if isinstance(value, (int, float))}
        if len(self._first) < WINDOW:
            self._first.append(metrics)
        self._last.append(metrics)
        if len(self._last) < WINDOW:
            return []
        first, last = _means(self._first), _means(self._last)
        found: list[Finding] = []
        for kind, rule in RULES.items():
            text = rule(first, last, self._limit)
            if text and kind not in self._going:
                found.append(Finding(kind, step, text))
            (self._going.add if text else self._going.discard)(kind)
        return found


def _means(rows: deque[Metrics]) -> Metrics:
    names = {name for row in rows for name in row}
    return {name: sum(some) / len(some) for name in names if (some := [row[name] for row in rows if name in row])}


def _format(first: Metrics, last: Metrics, limit: int) -> str | None:
    before, now = first.get("reward/format"), last.get("reward/format")
    if before is None or now is None or now >= COLLAPSED or now > before - FELL_BY:
        return None
    return (
        f"format collapse: {now:.0%} of the answers have the form that was asked for, {before:.0%} had it in the first "
        f"{WINDOW} steps; look at the completions, and {advice('lower train.learning_rate or raise train.beta')}"
    )


def _spread(first: Metrics, last: Metrics, limit: int) -> str | None:
    share = last.get("frac_zero_range")
    if share is None or share < SAME:
        return None
    return (
        f"zero-variance groups: all completions earn the same in {share:.0%} of the prompts, which teach nothing; select "
        f"samples of medium difficulty (trlt select), or {advice('set train.min_reward_range, which replaces such prompts,')}"
    )


def _length(first: Metrics, last: Metrics, limit: int) -> str | None:
    cut, before, now = last.get("truncated_frac", 0.0), first.get("length"), last.get("length")
    if before is None or now is None or (cut < CUT_OFF and (now < GREW_TO * before or now < limit / 2)):
        return None
    return (
        f"length: completions have {now:.0f} tokens, {before:.0f} in the first {WINDOW} steps, and {cut:.0%} are cut off at "
        f"{limit}; look at what they are filled with, or {advice('raise train.max_new_tokens')}"
    )


def _saturation(first: Metrics, last: Metrics, limit: int) -> str | None:
    parts = {name: last[f"reward/{name}"] for name in ("format", "accuracy", "tiou") if f"reward/{name}" in last}
    if "accuracy" not in parts and "tiou" not in parts or min(parts.values()) < SATURATED:
        return None
    if any(name.startswith("reward/") and name[7:] not in (*parts, "overlong") for name in last):
        return None  # a part that the recipe adds: nobody knows how much it can give
    said = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
    return f"saturated: the rewards are nearly all that they can be ({said}); more steps on this data will hardly help"


def _distance(first: Metrics, last: Metrics, limit: int) -> str | None:
    kl = last.get("kl")
    if kl is None or kl < FAR:
        return None
    return f"far from the base: KL of {kl:.2f} nats per token; {advice('raise train.beta or lower train.learning_rate')}"


def _alike(first: Metrics, last: Metrics, limit: int) -> str | None:
    before, now = first.get("same_answer"), last.get("same_answer")
    if before is None or now is None or now < ALIKE or now < before + ROSE_BY:
        return None
    return (
        f"the same answer: {now:.0%} of the completions answer different questions alike, {before:.0%} did in the first "
        f"{WINDOW} steps; the reward may be had without watching (one letter, one span): look at the completions, and "
        f"{advice('train on more varied samples or with train.answer_format: open,')}"
    )


RULES: Mapping[str, Callable[[Metrics, Metrics, int], str | None]] = {
    "format": _format,
    "spread": _spread,
    "length": _length,
    "saturation": _saturation,
    "distance": _distance,
    "alike": _alike,
}
"""Kind of problem -> its text for means over the first and the last steps, and the token limit; None if all is well."""
