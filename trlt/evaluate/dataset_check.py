"""Whether the file of a data set keeps what it promises: its example, its metrics, and its reading of real annotation.

The package's own data sets are held to the same list by its tests.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trlt.data.datasets import (
    Example,
    Item,
    Reading,
    dataset_name,
    entry_fault,
    gold_text,
    has_role,
    item_values,
    read_source,
    reading_faults,
    shape_faults,
    value_faults,
)
from trlt.errors import DataError, TrltError, shown
from trlt.evaluate.summary import summary
from trlt.recipe import Recipe
from trlt.task.answer import LETTERS
from trlt.task.numbers import parse_number
from trlt.task.sample import Sample

LABELS = ("Origin", "Splits")
"""Paragraphs that each docstring has."""
FAR_S = 9000.0
"""A moment far behind any video's end, in seconds."""
RESAMPLES = 100
"""Of the bootstrap, of which the check needs no precise interval."""
ODD = (
    *("<answer>", "</answer> <answer> 5.0 to 2.0 </answer>", "<answer> Z </answer>", "<answer> nan to inf </answer>"),
    *("1 2 3 " * 50, "…", "<observe> 1.0 to 2.0 <answer> (A) or (B) </answer>"),
)
"""Outputs of models that lost the thread."""
SHOWN = 3
"""Number of examples in a message."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    faults: tuple[str, ...]
    """Each with its remedy; none: all is well."""

    def to_json(self) -> dict[str, Any]:
        """As `trlt dataset check --json` gives it."""
        return {"name": self.name, "ok": not self.faults, "faults": list(self.faults)}


def check_dataset(module: ModuleType) -> list[Check]:
    """Everything that can be checked without real annotation.

    Checks whose ground is missing are left out: without an `EXAMPLE` that reads, there is nothing to score.

    Args:
        module: Of the data set, as `load` or `open_dataset` gives it.
    """
    checks = [
        Check("docstring", tuple(_docstring(module))),
        Check("constants", tuple([*shape_faults(module), *_example_faults(module)])),
    ]
    if checks[-1].faults:
        return checks
    example: Example = module.EXAMPLE
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for file, text in example.files.items():
            _write(place / file, text)
        readings, faults = _tried(lambda: [_read(module, example, place) for _ in range(2)])
    checks.append(Check("example is read", tuple(faults or _read_faults(module, example, readings[0]))))
    checks.append(Check("missing files are named", tuple(_missing_faults(module, example))))
    if checks[2].faults:
        return checks
    checks.append(Check("reading twice gives the same", tuple(read_twice(*readings))))
    if has_role(module, "bench"):
        checks += _metric_checks(module, readings[0].samples)
    return checks


def read_as(sample: Sample, text: str) -> Item:
    """What a model said, read as evaluations do in the no-think template."""
    return Item(sample, text, Recipe.model_validate({"eval": {"think": False}}).form("eval").read(sample, text))


def wrong_text(sample: Sample) -> str:
    """Another option (without options no word of the answer, or a number far off), and a moment far behind the video's end."""
    letter = LETTERS[((sample.answer_index or 0) + 1) % len(sample.options or "AB")]
    if sample.numeric:
        letter = f"{10 * abs(parse_number(sample.answer or '') or 0.0) + 1:f}"
    when = f"{FAR_S} to {FAR_S + 1}"
    return {
        "grounding": f"<answer> {when} </answer>",
        "multi_choice": f"<answer> {letter} </answer>",
        "grounded_qa": f"<observe> {when} </observe> <answer> {letter} </answer>",
    }[sample.task]


def _docstring(module: ModuleType) -> Iterator[str]:
    text = (module.__doc__ or "").strip()
    if not text:
        yield "is missing; begin the file with what the data set asks, and the paragraphs " + ", ".join(LABELS)
        return
    for label in (*LABELS, *(["Protocol"] if has_role(module, "bench") else [])):
        if f"{label}: " not in text and not (label == "Splits" and "Layouts: " in text):
            yield f"has no paragraph `{label}: …`; readers of results look for it"


def _example_faults(module: ModuleType) -> Iterator[str]:
    example = getattr(module, "EXAMPLE", None)
    if not isinstance(example, Example):
        yield "EXAMPLE: is missing; write invented files and the samples that they must give: the checks below need them"
        return
    if example.split not in getattr(module, "FILES", {}):
        yield f"EXAMPLE: its split {shown(example.split)} isn't in FILES"
    if example.purpose not in ("train", "bench") or not has_role(module, example.purpose):
        yield f"EXAMPLE: its purpose is {shown(example.purpose)}, which the file has no part for; write train or bench"
    if not example.samples:
        yield "EXAMPLE: states no samples; write those that its files must give"


def _write(path: Path, text: str) -> None:
    """One of an example's files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".parquet":
        path.write_text(text, encoding="utf-8")
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(json.loads(text)), path)


def _read(module: ModuleType, example: Example, folder: Path) -> Reading:
    return read_source(module, folder, example.split, purpose=example.purpose, allow_test=True)


def _tried(call: Callable[[], list[Reading]]) -> tuple[list[Reading], list[str]]:
    try:
        return call(), []
    except TrltError as error:
        return [], [str(error)]


def _read_faults(module: ModuleType, example: Example, reading: Reading) -> Iterator[str]:
    yield from reading_faults(reading, dataset_name(module), example.split)
    if reading.dropped:
        listed = ", ".join(f"{reason} ({reading.examples.get(reason, ['?'])[0]})" for reason in reading.dropped)
        yield f"drops records of its own example: {listed}"
    if len(reading.samples) != len(example.samples):
        yield f"gives {len(reading.samples)} samples, the example states {len(example.samples)}"
    for made, stated in zip(reading.samples, example.samples, strict=False):
        if made != stated:
            before, after = stated.to_json(), made.to_json()
            keys = [key for key in before if before[key] != after[key]]
            told = "; ".join(f"{key}: states {shown(before[key])}, read gives {shown(after[key])}" for key in keys[:SHOWN])
            yield f"sample {shown(stated.id)}: {told}; mend `read`, or the example"
    for sample in reading.samples:
        if not sample.license or not sample.video_key:
            key = "license" if not sample.license else "video_key"
            yield f"sample {shown(sample.id)}: has no {key}; leaks and duplicates are found by video_key, and licenses listed"
            break
    # A name in FILES may begin with folders.
    unused = sorted(file for file in example.files if not any(path.as_posix().endswith(f"/{file}") for path in reading.files))
    if unused:
        yield f"EXAMPLE: {', '.join(unused)} isn't read; name it in FILES as the split's"


def _missing_faults(module: ModuleType, example: Example) -> Iterator[str]:
    wanted = next(iter(example.files))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "other.bin").touch()
        try:
            _read(module, example, Path(folder))
        except DataError as error:
            if wanted not in str(error):
                yield f"a folder without the files gives an error that doesn't name {wanted}: {error}"
            return
    yield f"a folder without {wanted} is read; take it out of OPTIONAL, or let `read` refuse"


def read_twice(first: Reading, second: Reading) -> Iterator[str]:
    """What differs between two readings of the same files."""
    if first.samples != second.samples or first.dropped != second.dropped:
        differ = next((a.id for a, b in zip(first.samples, second.samples, strict=False) if a != b), "their number")
        yield f"reading the same files again gives others ({shown(differ)}): ids and order may not depend on chance or on a set"


def entry_of(module: ModuleType, samples: Sequence[Sample], text: Callable[[Sample], str]) -> dict[str, Any]:
    """The entry in `results.json` of what `text` says to each question."""
    return summary(module, [read_as(sample, text(sample)) for sample in samples], bootstrap=RESAMPLES)


def _metric_checks(module: ModuleType, samples: Sequence[Sample]) -> Iterator[Check]:
    """Gold, wrong and no answers, and answers that are no text of a model's kind."""
    for name, text, wanted, unanswered in (
        ("gold answers score 100", gold_text, 100.0, 0),
        ("wrong answers score 0", wrong_text, 0.0, 0),
        ("no answers score 0", lambda sample: "", 0.0, len(samples)),
    ):
        yield Check(name, tuple(_scored(module, samples, text, wanted, unanswered)))
    yield Check("values are from 0 to 1", tuple(_odd(module, samples)))
    yield Check("metrics follow the values", tuple(_means(module, samples)))
    yield Check("no question at all is an error", tuple(_none(module)))


def _scored(
    module: ModuleType, samples: Sequence[Sample], text: Callable[[Sample], str], wanted: float, unanswered: int
) -> Iterator[str]:
    try:
        entry = entry_of(module, samples, text)
    except TrltError as error:
        yield str(error)
        return
    for part in ("paper", "official"):
        for key, value in entry[part].items():
            if value != wanted:
                yield f"{part} {key} is {value:g}, not {wanted:g}, of {shown(text(samples[0]))}"
    if entry["unanswered"] != unanswered:
        counted = f"{entry['unanswered']} of {len(samples)} count as unanswered, not {unanswered}"
        yield f"{counted}; `answered` of benchmark_entry says which do"
    if not entry["paper"]:
        yield "there is no metric in `paper`"


def _odd(module: ModuleType, samples: Sequence[Sample]) -> Iterator[str]:
    """Texts as models give them that lost the thread."""
    for sample in samples:
        for text in (*ODD, gold_text(sample).replace("<answer>", "").replace("</answer>", "")):
            item = read_as(sample, text)
            for name in ("values", "official"):
                try:
                    given = getattr(module, name)(item)
                except TrltError as error:
                    yield str(error)
                    return
                for fault in value_faults(given):
                    yield f"{name} of {shown(text)}: {fault}"
                    return


def _means(module: ModuleType, samples: Sequence[Sample]) -> Iterator[str]:
    """The entry is whole, and another order of the questions gives the same."""
    items = [read_as(sample, gold_text(sample) if place % 2 else "") for place, sample in enumerate(samples)]
    try:
        entry, other = module.metrics(items), module.metrics(items[::-1])
    except TrltError as error:
        yield str(error)
        return
    if fault := entry_fault(entry, item_values(module, items)):
        yield fault
    for key, value in entry["paper"].items():
        if abs(value - other["paper"].get(key, -1)) > 1e-6:
            yield f"{key} is {value:g}, and {other['paper'].get(key)} with the questions in another order"


def _none(module: ModuleType) -> Iterator[str]:
    try:
        module.metrics([])
    except DataError:
        return
    except ZeroDivisionError:
        pass
    yield "metrics([]) must raise DataError; `benchmark_entry(…)` does"
