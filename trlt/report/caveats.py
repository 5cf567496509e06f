"""Caveats of a benchmark's metrics, one line each: what is left out, and surprising values (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from trlt.data.datasets import load, names
from trlt.errors import counted

GAP = 5.0
"""Points between the paper's and the official value of a metric above which the reason is given."""
UNANSWERED = 0.5
"""Share of outputs without an answer at which they are mentioned."""
_RECALL = ("R1@", "IoU@", "IoP@", "P@")


def left_out(entry: Mapping[str, Any]) -> int:
    """Number of questions left out because of their video."""
    return int(entry.get("protocol", {}).get("questions_left_out", 0))


def asked_of(entry: Mapping[str, Any], metric: str) -> int:
    """Number of questions that count in a metric: all, or those that have it (TempCompass's `acc_yes_no`, own questions)."""
    some = entry.get("questions", {})
    if metric in some:
        return int(some[metric])
    task = entry["by"].get("task", {}).get(metric.removeprefix("acc_"), {})
    return int(task.get("n", entry["n"]))


def interval(entry: Mapping[str, Any], metric: str, key: str = "ci95") -> tuple[float, float] | None:
    """The 95% interval of one of the paper's metrics; None if all resamples agree, which says nothing about other videos.

    `lenient_ci95` has those of the lenient protocol.
    """
    low, high = entry.get(key, {}).get(metric, (0.0, 0.0))
    return (low, high) if high > low else None


def notes_on(bench: str, entry: Mapping[str, Any]) -> list[str]:
    """Caveats of an entry of `results.json`, except about the official metrics."""
    return [*_samples(entry), *_left_out(entry), *_misfits(bench, entry), *_parts(entry), *_surprises(bench, entry)]


def _samples(entry: Mapping[str, Any]) -> list[str]:
    """What values are with several outputs per question, and whether agreement tells what is right."""
    found = entry.get("samples")
    if not found:
        return []
    return [
        f"means over {found['k']} outputs per question; pass@{found['k']} is the best of them, majority the answer of most; "
        f"the outputs agree to {100 * found['agreement']['mean']:.0f}%"
    ]


def official_notes(bench: str, entry: Mapping[str, Any]) -> list[str]:
    """Why the official value of a metric is far from the paper's; with several metrics, for the farthest."""
    gaps = {key: entry["official"][key] - value for key, value in entry["paper"].items() if key in entry["official"]}
    key = max(gaps, key=lambda one: abs(gaps[one]), default=None)
    if key is None or abs(gaps[key]) < GAP:
        return []
    rule = _rule(bench, entry, "official_lower" if gaps[key] < 0 else "official_higher")
    if rule is None and gaps[key] > 0:
        rule = "of an output without the tags that were asked for, the official rule reads the whole text, and `value` nothing"
    return [f"official {key} is {entry['official'][key]:.1f} beside {entry['paper'][key]:.1f}: {rule}"] if rule else []


def _rule(bench: str, entry: Mapping[str, Any], name: str) -> str | None:
    """What a data set says of its official rule; of one outside of the package, the results have it."""
    if bench not in names("bench"):
        return cast(str | None, entry.get("dataset", {}).get(name))
    return getattr(load(bench), name.upper(), None)


def _left_out(entry: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, one, what in (
        ("missing_videos", "is missing", "are missing"),
        ("broken_videos", "couldn't be read", "couldn't be read"),
    ):
        if entry.get(key):
            lines.append(
                f"{counted(entry[key], 'video')} {what if entry[key] != 1 else one}; their questions are left out of n"
            )
    if left_out(entry):
        lines.append(f"{left_out(entry):,} questions in all are left out of n")
    for key, what in (
        ("missing_predictions", "questions have no prediction; they count as wrong"),
        ("extra_predictions", "predictions belong to no question; they are left out"),
    ):
        if entry.get(key):
            lines.append(f"{entry[key]:,} {what}")
    if entry.get("missing_tasks"):
        lines.append(f"tasks that are missing: {', '.join(entry['missing_tasks'])}")
    if incomplete := entry.get("groups", {}).get("incomplete", 0):
        lines.append(f"{counted(incomplete, 'group')} of questions without a score, since not all of their questions are there")
    return [*lines, *_coverage(entry), *_subtitles(entry)]


def _coverage(entry: Mapping[str, Any]) -> list[str]:
    """How much of a benchmark is left whose videos disappear."""
    part = entry.get("coverage", {})
    if not part or part["questions"] >= part["of_questions"]:
        return []
    videos = f"{part['videos']:,} of its {part['of_videos']:,} videos"
    return [f"{part['questions']:,} of the benchmark's {part['of_questions']:,} questions, about {videos}"]


def _subtitles(entry: Mapping[str, Any]) -> list[str]:
    """How many prompts lack subtitles that were asked for, or some of their lines."""
    told = entry.get("subtitles", {})
    counts = (
        (told.get("questions_without", 0), "without any"),
        (told.get("questions_shortened", 0), "with a part of them"),
    )
    listed = ", ".join(f"{counted(count, 'question')} {what}" for count, what in counts if count)
    return [f"asked with subtitles; {listed}"] if listed else []


def _misfits(bench: str, entry: Mapping[str, Any]) -> list[str]:
    """How many questions don't fit the video that was shown."""
    count = entry.get("video_warnings", 0)
    if not count:
        return []
    where = f"`warning` in rows/{bench}.jsonl says how"
    return [f"{counted(count, 'question')} {'fits' if count == 1 else 'fit'} another file than the one that was shown; {where}"]


def _parts(entry: Mapping[str, Any]) -> list[str]:
    """How many questions count in each metric, where not all do."""
    counts: dict[int, list[str]] = {}
    for key, count in entry.get("questions", {}).items():
        counts.setdefault(count, []).append(key)
    listed = "; ".join(f"{count:,} in {', '.join(keys)}" for count, keys in counts.items())
    return [f"of the {entry['n']:,} questions count {listed}"] if listed else []


def _surprises(bench: str, entry: Mapping[str, Any]) -> list[str]:
    """Values that are correct but look wrong."""
    lines = []
    missing = entry.get("missing_predictions", 0)  # told of apart
    n, unread = entry["n"] - missing, entry["unanswered"] - missing
    if n > 0 and unread >= UNANSWERED * n:
        lines.append(
            f"{unread:,} of {n:,} outputs hold no answer in the form that was asked for, and count as "
            f"wrong; rows/{bench}.jsonl has their texts"
        )
    values = {**entry["official"], **entry["paper"]}
    reached = any(value > 0 for key, value in values.items() if key.startswith("mIo"))
    none = [key for key, value in values.items() if key.startswith(_RECALL) and value == 0]
    if reached and none:
        lines.append(f"{', '.join(none)} 0.0: no answer overlaps the gold span that far")
    if alike := [key for key in entry["paper"] if key in entry["ci95"] and interval(entry, key) is None]:
        lines.append(f"{', '.join(alike)}: no interval, since there is one video only or all videos agree")
    return lines
