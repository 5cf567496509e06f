"""Shared by the three parts of TimeLens-Bench: reading, and the rule of its scripts. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trlt.data.datasets._common import Collector, Files, Reading, clean, get, holding, pair
from trlt.data.datasets._fetch import Fetch
from trlt.data.datasets._grounding import grounding_values, values
from trlt.data.datasets._metrics import Item, benchmark_entry, best_iou, is_answered, official_text
from trlt.data.datasets._spans import repair_span
from trlt.errors import DataError
from trlt.task.sample import Span

LICENSE = "TimeLens: academic use only, and not in the European Union"
WHERE = "huggingface.co/datasets/TencentARC/TimeLens-Bench"
OFFICIAL_LOWER = "both ends are rounded to whole seconds before they are scored, and the first pair of numbers counts"
RULE = (
    "Of the output in lower case the first pair counts: of clock times, else `a - b`, else `a to b`, else of bare numbers. The "
    "inference script rounds both ends to whole seconds, half to even; without a pair it takes a span 10 s behind the video's "
    "end. An inverted pair scores 0. R1 counts an IoU at or above the threshold; equal entries count once."
)
PUBLISHED = (
    "The authors' script: greedy, 512 new tokens, 2 frames a second, from 64 to 14,336 visual tokens for a video (of 28 x 28 "
    "pixels for Qwen2.5-VL, 32 x 32 for Qwen3-VL), no reasoning, and a prompt for `The event happens in X - Y seconds`."
)
DISAGREEMENTS = ("lmms-eval's task has the same parser without the rounding, and 50 new tokens: another figure for one model.",)
BEHIND_S = 10.0
"""Seconds behind the video's end at which the official script puts a span that it doesn't find, and its length."""

_CLOCK = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?\b")
# A number begins where its digits do, or a long row of digits would be tried from each of them.
_AMOUNT = r"(?<!\d)(\d+(?:\.\d*)?)"
_JOINED = (re.compile(rf"{_AMOUNT}\s*-\s*{_AMOUNT}"), re.compile(rf"{_AMOUNT}\s+to\s+{_AMOUNT}"))
_BARE = re.compile(r"\b\d+(?:\.\d+)?\b")


def fetch(part: str) -> Fetch:
    """How to get a part by hand; `part` is the first word of its files."""
    folder = f"{{data}}/timelens_{part}"
    get_it = "hf download TencentARC/TimeLens-Bench --repo-type dataset --include"
    return Fetch(
        by_hand=(
            f"annotation: {get_it} {part}-timelens.json --local-dir {folder}",
            f"videos: {get_it} 'video_shards/*' --local-dir {folder}, then unpack its archives: those of {part} belong in "
            f"{folder}/videos, as <vid>.mp4",
        )
    )


def read_timelens(files: Files, name: str, out: Collector, key: Callable[[str], str]) -> Reading:
    """Samples of a parsed `<part>-timelens.json`.

    Args:
        files: As parsed.
        name: The file's name.
        out: Collects the samples.
        key: The footage of a video's name.
    """
    for video, record in holding(files, name, dict, "an object of videos").items():
        where = f"{name}: {video}"
        duration = float(get(record, "duration", (int, float), where))
        spans, queries = get(record, "spans", list, where), get(record, "queries", list, where)
        if len(spans) != len(queries):
            raise DataError(f"{where}: {len(spans)} spans and {len(queries)} queries; equal numbers are expected")
        times = [pair(span, f"{where}: spans[{index}]") for index, span in enumerate(spans)]
        texts = [clean(str(query)).strip(".").strip() for query in queries]
        last = {entry: index for index, entry in enumerate(zip(texts, times, strict=True))}
        for index, (text, span) in enumerate(zip(texts, times, strict=True)):
            repair = repair_span(*span, duration, clip=False)
            if repair.span is None or not text:
                out.drop(repair.reason or "empty_question", f"{where}:{index}: {list(span)} {text}")
                continue
            repeated = last[text, span] != index
            out.keep(
                flags=(*repair.flags, "repeated") if repeated else repair.flags,
                id=f"{video}:{index}",
                video=f"{video}.mp4",
                video_key=key(video),
                duration=duration,
                question=text,
                spans=(repair.span,),
                meta={"repeated": True} if repeated else {},
            )
    return out.reading()


def official(item: Item) -> dict[str, float]:
    """A query's metrics by the official scripts; none where a later entry is equal, which takes its place there."""
    sample = item.sample
    if sample.meta.get("repeated"):
        return {}
    found = first_pair(official_text(item))
    if found is None:
        behind = (sample.duration or 0.0) + BEHIND_S
        found = Span(behind, behind + BEHIND_S)
    rounded = Span(*(float(round(time)) for time in found))
    return grounding_values(best_iou(rounded, sample.spans or ()))


def metrics(items: Sequence[Item]) -> dict[str, Any]:
    """The benchmark's part of `results.json`, in percent."""
    return benchmark_entry(items, paper=values, official=official, answered=is_answered)


def first_pair(text: str) -> Span | None:
    """The first pair of times in a text, as `extract_time` of TimeLens finds it (`timelens/utils.py`); maybe inverted."""
    said = text.lower()
    clocks = [match[0] for match in _CLOCK.finditer(said)]
    if len(clocks) >= 2:
        return _span(map(_clock, clocks[:2]))
    for pattern in _JOINED:
        if found := pattern.search(said):
            return _span(map(float, found.groups()))
    numbers = _BARE.findall(said)
    return _span(map(float, numbers[:2])) if len(numbers) >= 2 else None


def _span(times: Iterable[float]) -> Span:
    # No number of seconds has so many digits: an endless one, which can't be rounded, overlaps nothing.
    return Span(*(min(time, 1e15) for time in times))


def _clock(text: str) -> float:
    """Seconds of a clock time; its parts may be any two digits."""
    return sum(float(part) * 60.0**power for power, part in enumerate(reversed(text.split(":"))))
