"""How many completions of a step answer different questions with one and the same answer. Knows scored groups only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from trlt.train.dynamic_sampling import ScoredGroup

FEW = 4
"""Groups of a task below which the same answer to all of them says nothing."""


def answers_of(scored: Sequence[ScoredGroup]) -> list[dict[str, Any]]:
    """The answers to each question as JSON objects, to be exchanged by all processes.

    An answer is the text after the reasoning, here a hash of it.
    """
    found = []
    for one in (group.own for group in scored):
        task = [one.scores[0].accuracy is None, one.scores[0].tiou is None]
        said = [completion.text.rpartition("</think>")[2].strip() for completion in one.completions]
        found.append({"task": task, "said": [hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16] for text in said]})
    return found


def answers_alike(mine: Sequence[dict[str, Any]], every: Sequence[dict[str, Any]]) -> list[float]:
    """For each completion, whether its answer is the most frequent one over all questions of the same task.

    Args:
        mine: `answers_of` this process's groups, whose completions are told.
        every: Those of all processes; tasks of fewer than `FEW` groups there are left out.
    """
    tasks: dict[tuple[bool, ...], list[list[str]]] = {}
    for one in every:
        tasks.setdefault(tuple(one["task"]), []).append(one["said"])
    most = {
        task: Counter(text for said in groups for text in said).most_common(1)[0][0]
        for task, groups in tasks.items()
        if len(groups) >= FEW
    }
    return [float(text == most[task]) for one in mine if (task := tuple(one["task"])) in most for text in one["said"]]
