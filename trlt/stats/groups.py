"""Weights by which a mean over questions becomes the mean of groups' means (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def group_weights(groups: Sequence[str | None]) -> list[float]:
    """Weights that turn a mean over questions into the mean of the groups' means: 1 on average; all 1 with one group.

    Args:
        groups: The group of each question. A name such as `direction/easy` is a group in a group: the mean of `direction` is
            that of its own groups' means.
    """
    paths = [tuple((group or "").split("/")) for group in groups]
    sizes = Counter(paths)
    beside: dict[tuple[str, ...], set[str]] = {}
    for path in sizes:
        for depth in range(len(path)):
            beside.setdefault(path[:depth], set()).add(path[depth])
    weights = {}
    for path, size in sizes.items():
        share = 1.0
        for depth in range(len(path)):
            share /= len(beside[path[:depth]])
        weights[path] = len(paths) * share / size
    return [weights[path] for path in paths]
