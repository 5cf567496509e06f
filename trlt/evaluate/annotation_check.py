"""What the file of a data set makes of real annotation: counts, and what gold answers and simple baselines score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from trlt.data.datasets import Purpose, Reading, dataset_name, gold_text, has_role, read_source, reading_faults
from trlt.evaluate.dataset_check import Check, entry_of, read_twice
from trlt.task.sample import Sample, Span


@dataclass(frozen=True, slots=True)
class RealReading:
    """What real annotation gives."""

    split: str
    reading: Reading
    baselines: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Baseline -> protocol (`paper`, `official`) -> metrics in percent; none of a training split."""
    checks: list[Check]


def check_annotation(module: ModuleType, annotations: Path, split: str | None) -> RealReading:
    """Reads real annotation, and scores its gold answers and some baselines.

    Raises:
        TrltError: files that can't be used.
    """
    bench = has_role(module, "bench") and (split is None or split != getattr(module, "TRAIN_SPLIT", None))
    purpose: Purpose = "bench" if bench else "train"
    first, second = (read_source(module, annotations, split, purpose=purpose) for _ in range(2))
    found = first.samples[0].split
    faults = list(reading_faults(first, dataset_name(module), found))
    checks = [
        Check("annotation is read", tuple(faults)),
        Check("reading it twice gives the same", tuple(read_twice(first, second))),
    ]
    if purpose == "train" or faults:
        return RealReading(found, first, {}, checks)
    texts: dict[str, Callable[[Sample], str]] = {
        "gold answers": gold_text,
        "whole video, first option": _whole,
        "answers of other questions": _shuffled(first.samples),
    }
    scored = {name: entry_of(module, first.samples, text) for name, text in texts.items()}
    baselines = {name: {part: entry[part] for part in ("paper", "official")} for name, entry in scored.items()}
    gold = baselines["gold answers"]
    above = [
        f"{part} {key}: {name} have {values[part][key]:.2f}, gold answers {gold[part].get(key, 0):.2f}; "
        "is the metric about the right answer?"
        for name, values in baselines.items()
        for part in values
        for key in values[part]
        if values[part][key] > gold[part].get(key, 0) + 1e-6
    ]
    return RealReading(found, first, baselines, [*checks, Check("gold answers score most", tuple(above))])


def _whole(sample: Sample) -> str:
    """The whole video, and the first option."""
    end = sample.duration or max((span.end for span in sample.spans or ()), default=1.0)
    whole = replace(sample, spans=(Span(0.0, end),)) if sample.spans is not None else sample
    options = sample.options
    return gold_text(replace(whole, answer=options[0], answer_index=0) if options else whole)


def _shuffled(samples: Sequence[Sample]) -> Callable[[Sample], str]:
    """Gold answers of the question halfway through the list from one's own."""
    others = {sample.id: samples[(place + len(samples) // 2) % len(samples)] for place, sample in enumerate(samples)}

    def text(sample: Sample) -> str:
        other = others[sample.id]
        return gold_text(other if other.task == sample.task else sample)

    return text
