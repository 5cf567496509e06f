"""One question about one video, and the files that hold them. Knows no prompt and no frames."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from trlt.errors import DataError, did_you_mean, shown
from trlt.files import Faults, iter_jsonl, sample_files, write_jsonl
from trlt.task.mistakes import answer_fault, choices_fault, not_an_object, question_fault, shape_fault, video_fault
from trlt.task.numbers import parse_number

T = TypeVar("T")
Task = Literal["multi_choice", "grounding", "grounded_qa"]
TASKS: tuple[Task, ...] = get_args(Task)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Span(NamedTuple):
    """A time span in seconds, from `start` to `end`."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Seconds covered; negative if the span is inverted."""
        return self.end - self.start

    def tiou(self, other: Span) -> float:
        """Temporal IoU, Eq. 2 of the paper: 0 for a span that is empty, inverted or not finite."""
        values = (*self, *other)
        if not all(math.isfinite(v) for v in values) or self.length <= 0 or other.length <= 0:
            return 0.0
        inter = max(0.0, min(self.end, other.end) - max(self.start, other.start))
        return inter / (max(self.end, other.end) - min(self.start, other.start)) if inter else 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one video; times are seconds relative to `clip` if it is set, else to the file.

    Raises:
        DataError: a field contradicts the task; the message names id, field and value.
    """

    id: str
    source: str
    """Its data set, by the name of its file in `trlt/data/datasets/`."""
    split: str
    task: Task
    video: str
    """Path relative to the video root, with forward slashes."""
    question: str
    """The question; for grounding, the query."""
    video_key: str = ""
    """Origin of the footage (`youtube:<id>`, `flickr:<id>`, `charades:<id>`), for leakage checks."""
    clip: Span | None = None
    """The part of the file that the sample is about, half-open, in seconds of the file."""
    duration: float | None = None
    """Annotated seconds of the clip (of the file if `clip` is null)."""
    options: tuple[str, ...] | None = None
    """Answer texts without letters, which the prompt adds; null for a question that is answered in words."""
    answer: str | None = None
    answer_index: int | None = None
    answer_indices: tuple[int, ...] | None = None
    """Places of all right options, ascending, of a question that asks for all that apply; then `answer_index` is null, and
    `answer` has their texts, separated by `; `. Null where one option is right."""
    spans: tuple[Span, ...] | None = None
    """Gold spans; an answer with one of them is right, unless `several`."""
    several: bool = False
    """Whether the prompt asks for all spans of a grounding query, the most certain first, and not for one."""
    numeric: bool = False
    """Whether the answer is a number, which a near one earns a part of (`trlt.task.numbers`); for questions without options."""
    subtitles: str = ""
    """What is said in the video, which the prompt shows before the question: a line each, with its time (`1:05 Hello`)."""
    license: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    """Repairs and decisions made while reading; without effect on training."""

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault:
            raise DataError(f"sample {shown(self.id)}: {fault}")

    def to_json(self) -> dict[str, Any]:
        """The sample as JSON values, with keys in the documented order."""
        return {
            "id": self.id,
            "source": self.source,
            "split": self.split,
            "task": self.task,
            "video": self.video,
            "video_key": self.video_key,
            "clip": list(self.clip) if self.clip else None,
            "duration": self.duration,
            "question": self.question,
            "options": list(self.options) if self.options is not None else None,
            "answer": self.answer,
            "answer_index": self.answer_index,
            **({"answer_indices": list(self.answer_indices)} if self.answer_indices is not None else {}),
            "spans": [list(s) for s in self.spans] if self.spans is not None else None,
            **({"several": True} if self.several else {}),
            **({"numeric": True} if self.numeric else {}),
            **({"subtitles": self.subtitles} if self.subtitles else {}),
            "license": self.license,
            "meta": self.meta,
        }

    @classmethod
    def from_json(cls, obj: Any, where: str = "sample") -> Sample:
        """A sample from JSON values.

        Raises:
            DataError: a missing, unknown or contradictory field; `where` starts the message.
        """
        if not isinstance(obj, dict):
            raise DataError(f"{where}: {not_an_object(obj)}")
        named = f"{where}: sample {shown(obj['id'])}" if isinstance(obj.get("id"), str) else where
        if fault := shape_fault(obj, cls.__dataclass_fields__.keys()) or question_fault(obj):
            raise DataError(f"{named}: {fault}")
        values = dict(obj)
        try:
            key, form = "clip", "[start, end]"
            values[key] = _span(obj[key]) if obj.get(key) is not None else None
            key, form = "spans", "[[start, end], …]"
            values[key] = tuple(_span(s) for s in obj[key]) if obj.get(key) is not None else None
        except (ValueError, OverflowError) as error:
            raise DataError(f"{named}: {key}: {error}; expected {form} in seconds") from None
        values["options"] = tuple(obj["options"]) if obj.get("options") is not None else None
        if obj.get("answer_indices") is not None:
            values["answer_indices"] = tuple(obj["answer_indices"])
        try:
            return cls(**values)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None


def _span(value: Any) -> Span:
    numbers = isinstance(value, list) and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in value)
    if not numbers or len(value) != 2:
        raise ValueError(f"got {shown(value)}")
    return Span(float(value[0]), float(value[1]))


def _fault(s: Sample) -> str | None:
    """What contradicts the schema, or None."""
    if s.task not in TASKS:
        return f"task: {shown(s.task)} is unknown; {did_you_mean(str(s.task), TASKS)}"
    for name, text in (("source", s.source), ("split", s.split)):
        if _SURROGATE.search(text):  # JSON can hold it; files of UTF-8 can't
            return f"{name}: {shown(text)} must not hold half a surrogate pair; name it otherwise"
    if fault := video_fault(s.video):
        return fault
    number = isinstance(s.duration, (int, float)) and not isinstance(s.duration, bool)
    if s.duration is not None and not (number and 0 < s.duration < math.inf):
        return f"duration: {shown(s.duration)} must be a positive number of seconds, or null"
    if s.clip is not None and not (0 <= s.clip.start < s.clip.end < math.inf):
        return f"clip: {shown(list(s.clip))} must be 0 <= start < end"
    for span in s.spans or ():
        if not (0 <= span.start < span.end < math.inf):
            return f"spans: {shown(list(span))} must be finite with 0 <= start < end"
    if s.several not in (True, False) or (s.several and s.task != "grounding"):
        return f"several: {shown(s.several)} must be true or false, and true for grounding alone"
    if s.numeric not in (True, False):
        return f"numeric: {shown(s.numeric)} must be true or false"
    if s.numeric and (s.task == "grounding" or s.options is not None or parse_number(s.answer or "") is None):
        return f"numeric: needs a number for an answer, and no options; the answer is {shown(s.answer)}"
    if s.task != "multi_choice" and not s.spans:
        return f"spans: {s.task} needs at least one"
    if s.task == "multi_choice" and s.spans is not None:
        return "spans: must be null for multi_choice"
    if s.task == "grounding":
        given = s.options or s.answer is not None or s.answer_index is not None or s.answer_indices is not None
        return "options, answer, answer_index: must be null for grounding" if given else None
    if s.answer is not None and not isinstance(s.answer, str):
        return f"answer: {shown(s.answer)} must be a text"
    if s.options is None and s.answer_indices is not None:
        return "answer_indices: are places of options, and there are none; write the options"
    if s.options is None:
        if s.task == "multi_choice" and (not s.answer or s.answer_index is not None):
            return "options: multi_choice needs at least 2, or none, no answer_index, and an answer in words"
        return None if s.answer else "answer: grounded_qa needs one"
    if not all(isinstance(o, str) and o for o in s.options) or len(set(s.options)) < 2:
        return f"options: {shown(list(s.options))} must be at least 2 distinct, non-empty texts"
    if s.answer_indices is not None:
        return choices_fault(s.options, s.answer, s.answer_index, s.answer_indices)
    return answer_fault(s.options, s.answer, s.answer_index)


def iter_sample_lines(path: Path, check: Callable[[Any, str], T] | None = None) -> Iterator[tuple[str, str, T]]:
    """(place, id, JSON values) of each sample of a file, or of a folder of them.

    Args:
        path: The file or folder.
        check: Converts a sample's values, given their place, as `Sample.from_json` does; None leaves them as they are.

    Raises:
        DataError: unreadable lines, lines without an id, or duplicate ids; lists all of them, after the last line. Or a file
            that is named like a recipe.
    """
    seen: dict[str, str] = {}
    faults = Faults()

    def known(obj: Any, where: str) -> tuple[str, Any]:
        if not isinstance(obj, dict):
            raise DataError(f"{where}: {not_an_object(obj)}")
        if "id" not in obj:
            raise DataError(f"{where}: id: is missing; samples are what `trlt prepare` and `trlt select` write")
        id = obj["id"]
        if not isinstance(id, str):
            raise DataError(f"{where}: id: expected a string, got {shown(id)}")
        if id in seen:
            file, _, line = seen[id].rpartition(":")
            there = f"on line {line}" if file == where.rpartition(":")[0] else f"in {seen[id]}"
            raise DataError(f"{where}: id {shown(id)} stands already {there}; ids are unique")
        seen[id] = where
        return id, check(obj, where) if check else obj

    for file in sample_files(path):
        if file.suffix in (".yaml", ".yml") and file.is_file():
            raise DataError(f"{file}: a recipe by its name, not samples; give it with --recipe, and samples as JSONL")
        for number, (id, value) in iter_jsonl(file, known, faults):
            yield f"{file}:{number}", id, value
    faults.end()


def group_by_clip(samples: Iterable[Sample]) -> dict[tuple[str, Span | None], list[Sample]]:
    """Samples by video and bounds, in the order of first occurrence."""
    groups: dict[tuple[str, Span | None], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.video, sample.clip), []).append(sample)
    return groups


def read_samples(path: Path) -> list[Sample]:
    """All samples of a JSONL file, or of a folder of them, in their order.

    Raises:
        DataError: lines that can't be used (all of them are told), an empty file, or an id that occurs twice.
    """
    samples = [sample for _, _, sample in iter_sample_lines(path, Sample.from_json)]
    if not samples:
        raise DataError(f"{path}: holds no samples; make it with `trlt prepare` or `trlt select`")
    return samples


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Writes samples as JSONL, atomically, one at a time."""
    write_jsonl(path, (sample.to_json() for sample in samples))
