"""Shared by the two sets of MLVU: samples of its records, and M-Avg, the mean of the tasks' accuracies. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trlt.data.datasets._common import Collector, amount, clean, get
from trlt.data.datasets._metrics import Item, Values, benchmark_entry, paper_accuracy
from trlt.task.answer import token_f1
from trlt.task.sample import Sample, Task

TASK: Task = "multi_choice"
LICENSE = "MLVU: CC BY-NC-SA 4.0, research only; videos belong to their owners"
DOMAIN = "long videos: films, cartoons, egocentric, surveillance, sports, tutorials"
MICRO = ("acc",)


def keep(out: Collector, record: Any, where: str, *, id: str, task: str, video: str, others: Sequence[str], gold: str) -> None:
    """Keeps one record.

    The official script compares the gold text with each candidate and keeps the last that is equal. Where none is, no letter
    is ever right: the question stays in the denominator, with the nearest option in the gold's place and the gold in
    `meta.gold_no_option`. Some candidates are empty; a model is shown their place instead, since the letter still counts.
    """
    given = [str(text) for text in get(record, "candidates", list, where)]
    options = [clean(text) or f"(empty {place + 1})" for place, text in enumerate(given)]
    right = [place for place, text in enumerate(given) if text == gold] or [
        place for place, text in enumerate(given) if clean(text) == clean(gold)
    ]
    flags = ["empty_option"] * (not all(clean(text) for text in given)) + ["gold_no_option"] * (not right)
    flags += ["duplicate_options"] * (len(set(options)) < len(options))
    question = clean(get(record, "question", str, where))
    flags += ["empty_question"] * (not question)
    near = max(range(len(options)), key=lambda place: token_f1(options[place], gold), default=0)
    place = right[-1] if right else near
    out.keep(
        flags=flags,
        id=id,
        video=video,
        video_key=f"mlvu:{video.rpartition('/')[2].rpartition('.')[0]}",
        duration=amount(record.get("duration")) or None,
        question=question or "(empty)",
        options=options,
        answer=options[place] if options else None,
        answer_index=place,
        meta={"task": task, "alternatives": [{"video": other, "cut": False} for other in others]}
        | ({} if right else {"gold_no_option": gold}),
    )


def values(item: Item) -> dict[str, float]:
    """Whether one question is right, from the tags; never where the gold text is no option."""
    return named(0.0 if "gold_no_option" in item.sample.meta else paper_accuracy(item))


def named(right: float) -> dict[str, float]:
    """The metrics that every question counts in."""
    return {"m_avg": right, "acc": right}


def group(sample: Sample) -> str:
    """The task: `m_avg` is the mean over the available tasks."""
    return str(sample.meta["task"])


def entry(items: Sequence[Item], official: Values, tasks: Mapping[str, str]) -> dict[str, Any]:
    """M-Avg and the accuracy over all questions, in percent; by task; tasks without a question by title.

    Args:
        items: All questions.
        official: The set's own rule.
        tasks: Its tasks, with their titles.
    """
    made = benchmark_entry(
        items,
        paper=values,
        official=official,
        answered=lambda item: item.answer.option is not None,
        by={"task": group},
        group=group,
        micro=MICRO,
    )
    for part in made["by"]["task"].values():
        del part["m_avg"]  # of one task it is the accuracy
    return made | {"missing_tasks": [title for task, title in tasks.items() if task not in made["by"]["task"]]}
