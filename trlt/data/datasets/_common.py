"""Shared by all readers: the result of reading, and small cleaning helpers. Pure; opens no file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trlt.errors import DataError
from trlt.task.sample import Sample, Span

Purpose = Literal["train", "bench"]
"""`train` repairs spans and names samples `<source>:<split>:…`; `bench` keeps gold spans and has the benchmark's ids."""

Files = Mapping[str, Any]
"""Official file name to its parsed content: lines of .txt, rows of .csv and .tsv (dicts of text) and .parquet, the value of
.json, the values of .jsonl.

For a file in a module's `STREAMED`, one record after the other (`Records`), whatever its size.
"""

EXAMPLES_KEPT = 5


@dataclass(frozen=True)
class Reading:
    """The result of reading a data set's files: nothing is lost without a count and a reason."""

    samples: tuple[Sample, ...]
    read: int
    """Records seen; `read == len(samples) + dropped.total()`."""
    repaired: Counter[str]
    """Samples kept after a repair or with a flag, by reason."""
    dropped: Counter[str]
    """Records left out, by reason."""
    examples: dict[str, list[str]]
    """The first few records of each reason, in a form that a person can look up."""
    notes: tuple[str, ...] = ()
    """Notes for the user, such as an optional file that is missing."""
    files: tuple[Path, ...] = ()
    """The files that were read, for checksums."""


@dataclass(frozen=True)
class Example:
    """An invented set of official files with the samples it must become."""

    split: str
    purpose: Purpose
    files: Mapping[str, str]
    """Official file name to its raw text; of .parquet, the rows as a JSON list."""
    samples: tuple[Sample, ...]


class Collector:
    """Gathers a `Reading` while a reader walks its records.

    Args:
        shared: Fields that all samples share: source, split, task and license.
    """

    def __init__(self, **shared: Any) -> None:
        self._shared = shared
        self.samples: dict[str, Sample] = {}
        self.read = 0
        self.repaired: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def drop(self, reason: str, where: str) -> None:
        """Leaves a record out."""
        self.read += 1
        self.dropped[reason] += 1
        keep_example(self.examples, reason, where)

    def keep(self, flags: Sequence[str] = (), **fields: Any) -> None:
        """Makes a sample of a record; one that contradicts the schema, repeats an id, or holds a placeholder is dropped.

        Args:
            flags: Repairs and peculiarities; they are counted and written to `meta.flags`.
            fields: Of the `Sample`, besides the shared ones; spans and the clip may be pairs, and options a list.
        """
        if flags:
            fields["meta"] = {**fields.get("meta", {}), "flags": sorted(set(flags))}
        for name, made in (("spans", _spans), ("clip", _span), ("options", tuple)):
            if fields.get(name) is not None:
                fields[name] = made(fields[name])
        try:
            sample = Sample(**self._shared, **fields)
        except DataError as error:
            self.drop("invalid", str(error))
            return
        if sample.id in self.samples:
            self.drop("duplicate_id", sample.id)
            return
        if any(left_over(text) for text in (sample.question, *(sample.options or ()))):
            self.drop("placeholder_left", f"{sample.id}: {sample.question:.80}")
            return
        self.read += 1
        self.samples[sample.id] = sample
        for flag in set(flags):
            self.repaired[flag] += 1
            keep_example(self.examples, flag, sample.id)

    def reading(self, *notes: str) -> Reading:
        """The result; empty notes are left out."""
        kept = tuple(self.samples.values())
        return Reading(kept, self.read, self.repaired, self.dropped, self.examples, tuple(note for note in notes if note))


def _span(times: Sequence[float]) -> Span:
    return Span(*times)


def _spans(several: Iterable[Sequence[float]]) -> tuple[Span, ...]:
    return tuple(Span(*times) for times in several)


def keep_example(examples: dict[str, list[str]], reason: str, example: str) -> None:
    """Adds an example to those of its reason, unless there are enough."""
    shown = examples.setdefault(reason, [])
    if len(shown) < EXAMPLES_KEPT:
        shown.append(example)


_TAG = re.compile(r"</?(?:image|video|speech|audio)>", re.IGNORECASE)
# How to answer, as the last line or sentence: "Please provide your answer by stating the letter followed by the full option."
_INSTRUCTION = re.compile(
    r"(?:^\s*|(?<=[.?!:])\s+|\s+(?=(?-i:Please)\b))(?:please\s+|only\s+)*(?:provide|give|answer|respond|reply|select|choose|pick|output|write|state)\b"
    r"[^?\n]*\b(?:letter|option|choice|word|phrase|sentence)s?\b[^?\n]*$",
    re.IGNORECASE,
)
_LEFT_OVER = re.compile(r"<(?:[se]\d+|TIME_[A-Z]+|image|video|\d+(?:\.\d+)?)>|\[[SE]\d+\]", re.IGNORECASE)


def clean(text: str) -> str:
    """A text without media tags and without stray white space."""
    return " ".join(_TAG.sub(" ", text).split())


def without_instruction(text: str) -> str:
    """A question without the answer instruction at its end; line breaks stay."""
    stripped = text.rstrip()
    last = max(0, stripped.rfind("\n"))  # it is part of the last line
    shorter = (stripped[:last] + _INSTRUCTION.sub("", stripped[last:])).rstrip()
    return shorter or text  # a text that is nothing but an instruction is no question with a tail


def left_over(text: str) -> bool:
    """Whether a placeholder that a reader should have replaced is still there: `<s0>`, `<TIME_ONE>`, `<12.5>`, `<image>`."""
    return _LEFT_OVER.search(text) is not None


_TOO_MANY = 1e9
"""No number of seconds or frames; integers that are far larger are no floats at all."""

_YOUTUBE = re.compile(r"(?:ytb_|video-|v_)?([A-Za-z0-9_-]{11})(?:_\d+(?:\.\d+)?_\d+(?:\.\d+)?)?")


def youtube_key(name: str) -> str:
    """`youtube:<id>` for all spellings: `ytb_<id>`, `video-<id>`, `v_<id>`, `<id>_<start>_<end>` and the bare id.

    A name without a YouTube id stays, less a `v_`.
    """
    found = _YOUTUBE.fullmatch(name)
    return f"youtube:{found[1] if found else name.removeprefix('v_')}"


_WATCH = re.compile(r"(?:[?&]v=|youtu\.be/|/(?:shorts|embed|live)/)([A-Za-z0-9_-]{11})(?![A-Za-z0-9_-])")


def watched(address: str) -> str | None:
    """The id in a web address of YouTube; None without one."""
    found = _WATCH.search(address)
    return found[1] if found else None


_EXTENSION = re.compile(r"\.\w+$")
_DIDEMO = re.compile(r".+_(\d+)_[0-9a-f]+")


def didemo_key(video: str) -> str:
    """`flickr:<id>` of DiDeMo's `<user>_<flickr id>_<hash>`, with or without an extension; else the name without extension.

    Data sets with DiDeMo's videos must spell the key alike, or duplicates go unnoticed.
    """
    stem = _EXTENSION.sub("", video)
    found = _DIDEMO.fullmatch(stem)
    return f"flickr:{found[1]}" if found else f"didemo:{stem}"


def columns(files: Files, name: str, wanted: Sequence[str], hint: str = "") -> list[dict[str, str]]:
    """Rows of a parsed csv file that must have these columns.

    Raises:
        DataError: a column is missing; names it, and those that are there.
    """
    rows: list[dict[str, str]] = files[name]
    have = list(rows[0]) if rows else []
    missing = [column for column in wanted if column not in have]
    if missing:
        raise DataError(f"{name}: no column {', '.join(missing)}; found {', '.join(have) or 'no rows'}. {hint}".rstrip())
    return rows


def holding(files: Files, name: str, kind: type, wanted: str) -> Any:
    """A parsed JSON file that must be of a type; `wanted` names it in words.

    Raises:
        DataError: it has another type.
    """
    if not isinstance(files[name], kind):
        raise DataError(f"{name}: expected {wanted}, got {type(files[name]).__name__}; is this the official file?")
    return files[name]


def get(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """A field of a JSON record.

    Raises:
        DataError: not an object, or the field is missing or of another type.
    """
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected an object, got {type(record).__name__}")
    if key not in record:
        raise DataError(f"{where}: no field {key!r}; found {', '.join(map(str, record)) or 'none'}")
    value = record[key]
    # bool is an int to Python, but true is no number of seconds.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = "/".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise DataError(f"{where}: {key}: expected {names}, got {value!r:.60}")
    return value


def amount(value: Any) -> float | None:
    """A JSON value as a number of seconds or frames, from 0; None where it is something else, or absurdly large."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < _TOO_MANY else None


def pair(value: Any, where: str) -> tuple[float, float]:
    """Two numbers of a JSON list.

    Raises:
        DataError: anything else.
    """
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    ):
        raise DataError(f"{where}: expected [start, end] in seconds, got {value!r:.60}")
    return float(value[0]), float(value[1])
