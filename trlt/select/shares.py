"""Numbers only: how a total is split among tasks, classes and sources, and which of them fill in for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, get_args

from trlt.recipe import Select
from trlt.select.classes import Class, Difficulty
from trlt.task.sample import TASKS, Task

Name = TypeVar("Name", bound=str)


def apportion(total: int, weights: Mapping[Name, int]) -> dict[Name, int]:
    """Splits a total in proportion to weights, rounded by largest remainder: the parts sum to the total, or all are 0.

    Of equal remainders, the first in order is rounded up.
    """
    whole = sum(weights.values())
    if not whole:
        return dict.fromkeys(weights, 0)
    parts = {name: total * weight // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: -(total * weights[name] % whole))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def water_fill(available: Mapping[str, int], total: int) -> dict[str, int]:
    """Splits a total evenly: every source gives the same until it runs dry, and the others share the rest.

    Remainders go to the sources that come first by name. The sum is `total`, or all there is.
    """
    taken = dict.fromkeys(sorted(available), 0)
    open_names = [name for name in taken if available[name] > 0]
    left = total
    while open_names and left > 0:
        share, extra = divmod(left, len(open_names))
        dry = [name for name in open_names if available[name] <= share]
        if not dry:
            return taken | {name: share + (place < extra) for place, name in enumerate(open_names)}
        for name in dry:
            taken[name] = available[name]
            left -= available[name]
        open_names = [name for name in open_names if name not in dry]
    return taken


def nested_fill(available: Mapping[tuple[str, ...], int], total: int) -> dict[tuple[str, ...], int]:
    """`water_fill` over the first names of keys, then within each over the second, and so on.

    Args:
        available: Key (of equal lengths) to what is there.
        total: To be split.
    """
    if not available or not next(iter(available)):
        return {key: min(total, there) for key, there in available.items()}
    first: dict[str, dict[tuple[str, ...], int]] = {}
    for (name, *rest), there in available.items():
        first.setdefault(name, {})[tuple(rest)] = there
    outer = water_fill({name: sum(inner.values()) for name, inner in first.items()}, total)
    return {(name, *rest): part for name, size in outer.items() for rest, part in nested_fill(first[name], size).items()}


def redistributed(shares: Mapping[Name, int], taken: Mapping[Name, int]) -> dict[Name, int]:
    """What was filled in: positive, what a name gave beyond its share; negative, what others gave in its place.

    The values sum to 0. If the others couldn't fill in everything, what they gave is split in proportion to what each lacked.
    """
    beyond = {name: max(0, taken[name] - share) for name, share in shares.items()}
    missing = {name: max(0, share - taken[name]) for name, share in shares.items()}
    filled = apportion(sum(beyond.values()), missing)
    return {name: beyond[name] - filled[name] for name in shares}


def by_class(task: Task, size: int, settings: Select) -> dict[Class, int]:
    """A task's size, split over its selected classes: multi-choice by the ratio (Table 4a of the paper)."""
    if settings.by in ("random", "all"):
        return {"any": size}
    if settings.by == "variance" or task == "grounding":
        return {"varied": size}
    if task == "grounded_qa":
        return {"medium": size}
    parts = (int(part) for part in settings.ratio.split(":"))
    levels: tuple[Class, ...] = get_args(Difficulty)
    return apportion(size, dict(zip(levels, parts, strict=True)))


def task_shares(settings: Select) -> dict[Task, int]:
    """Each task's target: its size, or its share of the budget in proportion to the sizes."""
    sizes: dict[Task, int] = {task: getattr(settings.sizes, task) for task in TASKS}
    return sizes if settings.budget is None else apportion(settings.budget, sizes)


def task_sizes(available: Mapping[Task, Mapping[Class, int]], settings: Select) -> dict[Task, int]:
    """The shares; with a budget, what a task can't fill is given to the others, again in proportion to their sizes.

    A task that runs out of a class is closed: it keeps what it has and takes over nothing, since more of its other classes
    would change the requested ratio. So the budget is reached, or every task has run out of one of its classes.

    Args:
        available: Rows by task and class.
        settings: Sizes, ratio and budget.
    """
    sizes = task_shares(settings)
    if settings.budget is None:
        return sizes
    weights = {task: int(getattr(settings.sizes, task)) for task in TASKS}
    still_open = [task for task in TASKS if weights[task]]
    while still_open:
        given = {task: _given(available[task], by_class(task, size, settings)) for task, size in sizes.items()}
        still_open = [task for task in still_open if given[task] == sizes[task]]
        left = settings.budget - sum(given.values())
        if not left:
            break
        for task, more in apportion(left, {task: weights[task] for task in still_open}).items():
            sizes[task] += more
    return sizes


def _given(available: Mapping[Class, int], wanted: Mapping[Class, int]) -> int:
    return sum(min(available[klass], size) for klass, size in wanted.items())
