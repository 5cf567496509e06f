"""Which groups of a step share a forward pass. Knows their sizes; neither groups nor models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trlt.recipe import Train


def share_passes(sizes: Sequence[int], ranks: Sequence[int], train: Train, most: Callable[[int], int]) -> list[list[int]]:
    """The passes of this process, each a list of places; every process makes equally many.

    Args:
        sizes: Tokens of each group.
        ranks: By which groups of a size are ordered, so that the order doesn't depend on which process has them.
        train: The recipe's section.
        most: The largest of a number over all processes, which come here together.
    """
    if train.tokens_per_pass is None:
        order = sorted(range(len(sizes)), key=lambda i: (sizes[i], ranks[i]))
        return [order[i : i + train.prompts_per_pass] for i in range(0, len(order), train.prompts_per_pass)]
    passes = pack_groups(sizes, train.tokens_per_pass)
    # Where weights are sharded each pass gathers them, so a process with fewer passes would leave the others waiting.
    return split_passes(passes, sizes, most(len(passes)))


def pack_groups(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Which groups share a forward pass of at most `most` tokens, or are one alone: first fit, large ones first.

    Args:
        sizes: Tokens of each group.
        most: Tokens of a pass.
    """
    passes: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        fit = next((some for some in passes if sum(sizes[j] for j in some) + sizes[i] <= most), None)
        if fit is None:
            passes.append([i])
        else:
            fit.append(i)
    return passes


def split_passes(passes: Sequence[Sequence[int]], sizes: Sequence[int], count: int) -> list[list[int]]:
    """The same groups in exactly `count` passes, by halving the largest: all processes must make equally many.

    Args:
        passes: At most `count`.
        sizes: Tokens of each group.
        count: At most as many as there are groups.
    """
    made = [list(some) for some in passes]
    while len(made) < count:
        # A pass of one group can't be halved. Those sort first, so the last is the largest that can be.
        made.sort(key=lambda some: (len(some) > 1, sum(sizes[i] for i in some)))
        largest = made.pop()
        # Every other one: the groups of a pass are ordered by size, and the halves come out alike.
        made += [largest[::2], largest[1::2]]
    return made
