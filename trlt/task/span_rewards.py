"""What a stated time span earns beside its temporal IoU, and what a list of spans earns (pure).

Every value is from 0 to 1, and a span that is empty or inverted earns 0 from each. Knows spans and seconds; neither samples nor
recipes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from trlt.task.sample import Span

Pay = Callable[[Span, Span], float]
"""What a stated span earns with a gold one."""

STEPS = (0.3, 0.5, 0.7)
"""Thresholds of `stepped` where none are given: those of the benchmarks' R1@m."""


def timestamp_iou(said: Span, gold: Span, duration: float) -> float:
    """IoU x (1 - |ds| / T) x (1 - |de| / T): the timestamp-aware IoU of Time-R1 (its tIoU reward, `iou_v2` in its code).

    A factor below 0, of a time more than T away from the gold one, counts as 0; in the authors' code it makes the reward
    negative.

    Args:
        said: The answer's span.
        gold: The right one.
        duration: T, seconds of the clip.
    """
    starts, ends = (max(0.0, 1 - abs(a - b) / duration) for a, b in zip(said, gold, strict=True))
    return said.tiou(gold) * starts * ends


def giou(said: Span, gold: Span) -> float:
    """(1 + GIoU) / 2, with GIoU = IoU - gap / hull: generalized IoU (Rezatofighi et al., 2019) on a line.

    Spans that overlap have (1 + IoU) / 2; disjoint ones earn by how much of their hull is no gap, less than a half.
    """
    if not _both_cover(said, gold):
        return 0.0
    hull = max(said.end, gold.end) - min(said.start, gold.start)
    gap = max(0.0, max(said.start, gold.start) - min(said.end, gold.end))
    return (1 + said.tiou(gold) - gap / hull) / 2


def diou(said: Span, gold: Span) -> float:
    """(1 + DIoU) / 2, with DIoU = IoU - (distance of the centres / hull)^2 (Zheng et al., 2020) on a line."""
    if not _both_cover(said, gold):
        return 0.0
    hull = max(said.end, gold.end) - min(said.start, gold.start)
    apart = abs((said.start + said.end) - (gold.start + gold.end)) / 2
    return (1 + said.tiou(gold) - (apart / hull) ** 2) / 2


def stepped(tiou: float, thresholds: Sequence[float] = STEPS) -> float:
    """The share of thresholds that a tIoU reaches."""
    return sum(tiou >= threshold for threshold in thresholds) / len(thresholds)


def union_iou(said: Sequence[Span], gold: Sequence[Span]) -> float:
    """|P and G| / |P or G| in seconds, of what the spans of each list cover together (`iou_glue_reward` of VideoChat-R1)."""
    covered, wanted = _merged(said), _merged(gold)
    both = math.fsum(max(0.0, min(a.end, b.end) - max(a.start, b.start)) for a in covered for b in wanted)
    either = math.fsum([one.length for one in (*covered, *wanted)]) - both
    return min(1.0, both / either) if both else 0.0


def matched(said: Sequence[Span], gold: Sequence[Span], pay: Pay) -> float:
    """What stated spans earn with the gold ones, each with one at most: the best sum over the longer list's length.

    So a span that is missing, stated twice or too many costs its share. As the segment matching of MUSEG (r_L of r_M), which
    pairs spans by their order instead.

    Args:
        said: The answer's spans, in any order.
        gold: The right ones; one that several annotators gave alike counts once.
        pay: What a pair earns, from 0 to 1.
    """
    gold = list(dict.fromkeys(gold))
    if not said or not gold:
        return 0.0
    values = [[pay(one, other) for other in gold] for one in said]
    chosen = best_assignment(values)
    return math.fsum(values[row][column] for row, column in chosen) / max(len(said), len(gold))


def best_assignment(values: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """The pairs (row, column) whose values have the largest sum, no row or column twice; as many as the shorter side has.

    The Hungarian method with potentials: O(n^2 m) for n rows of m columns, n the shorter side.
    """
    turned = len(values) > len(values[0])
    cost = [[-value for value in row] for row in (zip(*values, strict=True) if turned else values)]
    rows, columns = len(cost), len(cost[0])
    # Counted from 1: row 0 and column 0 are where a search begins.
    of_row, of_column = [0.0] * (rows + 1), [0.0] * (columns + 1)
    holder = [0] * (columns + 1)
    for row in range(1, rows + 1):
        holder[0], column = row, 0
        least, before, used = [math.inf] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
        while holder[column]:
            used[column] = True
            now, step, nearest = holder[column], math.inf, 0
            for other in range(1, columns + 1):
                if used[other]:
                    continue
                slack = cost[now - 1][other - 1] - of_row[now] - of_column[other]
                if slack < least[other]:
                    least[other], before[other] = slack, column
                if least[other] < step:
                    step, nearest = least[other], other
            for other in range(columns + 1):
                if used[other]:
                    of_row[holder[other]] += step
                    of_column[other] -= step
                else:
                    least[other] -= step
            column = nearest
        while column:
            holder[column], column = holder[before[column]], before[column]
    pairs = [(holder[column] - 1, column - 1) for column in range(1, columns + 1) if holder[column]]
    return sorted((b, a) if turned else (a, b) for a, b in pairs)


def _merged(spans: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(one for one in spans if one.length > 0):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def _both_cover(said: Span, gold: Span) -> bool:
    return all(map(math.isfinite, (*said, *gold))) and said.length > 0 and gold.length > 0
