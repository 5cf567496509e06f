"""What rules see of a sample: numbers of its probe row, and facts of the sample itself, kept compactly."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from trlt.errors import DataError, counted, did_you_mean
from trlt.recipe import META, Select
from trlt.select.classes import deviation, field_of
from trlt.task.numbers import parse_number

_ARTICLES = {"a", "an", "the"}
_WORD = re.compile(r"\w+")
REMEDY = "give the samples that were probed (--data)"


class SampleFacts(NamedTuple):
    """What rules need of a sample beyond its row: of half a million, only this is kept."""

    video: str
    """`video_key`, else the file."""
    clip: tuple[str, float, float] | None
    """Video and bounds; None for a whole video."""
    duration: float | None
    """Seconds of the clip, else of the file."""
    question: str
    """`normalized`."""
    middle: float | None
    """Middle of the first gold span in seconds of the file."""
    answer_type: str
    meta: tuple[Any, ...]
    """Values of the fields that rules name, in the order of `Select.meta_names`; None where there is none."""


def row_measure(row: Mapping[str, Any], name: str) -> float:
    """A measure of a probe's row (`trlt.recipe.RowMeasure`).

    `pass_rate` is right answers / n; `mean_iou` and `best_iou` are over the answers' IoUs, `mean_reward` and `deviation`
    (of the population) over their rewards, as they were probed.

    Raises:
        DataError: a row that lacks what the measure needs.
    """
    if name == "pass_rate":
        return float(field_of(row, "correct", int)) / float(max(1, field_of(row, "n", int)))
    if name == "mean_reward":
        return float(field_of(row, "mean", float))
    if name in ("mean_iou", "best_iou"):
        ious = field_of(row, "ious", list)
        if not ious or not all(type(value) in (float, int) and math.isfinite(value) for value in ious):
            raise DataError(f"probe row {row.get('id')!r}: ious: expected numbers, got {ious!r}; rows come from `trlt probe`")
        return float(max(ious)) if name == "best_iou" else math.fsum(ious) / len(ious)
    return deviation(row) if name == "deviation" else float(field_of(row, name, float))


def fact_measure(facts: SampleFacts, name: str, settings: Select, id: str) -> float | None:
    """`duration`, or a number of `meta`; None where the sample has none.

    Raises:
        DataError: a value of `meta` that is no number.
    """
    if name == "duration":
        return facts.duration
    value = facts.meta[settings.meta_names().index(name.removeprefix(META))]
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value):
        raise DataError(f"sample {id!r}: {name}: expected a number, got {value!r}; bounds and targets go by numbers")
    return float(value)


def normalized(question: str) -> str:
    """A question's words in lower case, without punctuation and articles."""
    return " ".join(word for word in _WORD.findall(question.casefold()) if word not in _ARTICLES)


def facts_of(sample: Mapping[str, Any], metas: Collection[str]) -> SampleFacts:
    """The facts of a sample, given as the JSON values of a file of samples."""
    video = str(sample.get("video_key") or sample.get("video"))
    clip = sample.get("clip")
    duration = sample.get("duration") or (clip[1] - clip[0] if clip else None)
    spans = sample.get("spans")
    meta = sample.get("meta") or {}
    return SampleFacts(
        video=video,
        clip=(video, clip[0], clip[1]) if clip else None,
        duration=duration,
        question=normalized(str(sample.get("question", ""))),
        middle=(spans[0][0] + spans[0][1]) / 2 + (clip[0] if clip else 0.0) if spans else None,
        answer_type=_answer_type(sample),
        meta=tuple(meta.get(name) for name in metas),
    )


def _answer_type(sample: Mapping[str, Any]) -> str:
    """`span`, `yes or no`, `number`, `one word` or `words`."""
    answer = sample.get("answer")
    if answer is None:
        return "span"
    said = normalized(str(answer))
    if said in ("yes", "no", "true", "false"):
        return "yes or no"
    if parse_number(str(answer)) is not None:
        return "number"
    return "words" if " " in said else "one word"


def read_facts(samples: Iterable[Mapping[str, Any]] | None, ids: Collection[str], settings: Select) -> dict[str, SampleFacts]:
    """The facts of the samples of some ids, in one pass over all samples.

    Raises:
        DataError: there are no samples, or one is missing.
    """
    if samples is None:
        rules = ", ".join(key for key in settings.told() if key not in Select().told())
        raise DataError(f"select: rules ({rules}) need the samples' videos, questions or meta, which rows lack; {REMEDY}")
    metas = settings.meta_names()
    known: dict[str, str] = {}
    found: dict[str, SampleFacts] = {}
    names: set[str] = set()
    for sample in samples:
        if sample["id"] in ids:
            facts = facts_of(sample, metas)
            shared = known.setdefault(facts.video, facts.video)  # one text per video, not per sample
            found[sample["id"]] = facts._replace(video=shared)
            names.update(sample.get("meta") or () if metas else ())
    if len(found) < len(ids):
        first = next(id for id in ids if id not in found)
        raise DataError(
            f"{counted(len(ids) - len(found), 'probed sample')} of the rows not found (the first: {first!r}); {REMEDY}"
        )
    for name in metas if found else ():
        if name not in names:
            there = f"; {did_you_mean(name, names)}" if names else ", nor any other field of meta"
            raise DataError(f"select: {META}{name}: no sample has it{there}")
    return found
